//! Which next links are obeyed: those to the endpoint that was asked. Any other would be given the bearer token.
//!
//! Scheme, host and port must be the API's, and the path the endpoint's or below it, in any case, `v1.0` or not: the service
//! gives links with either. What the query says is the service's business.

use url::Url;

use crate::api::pages::error::PagesError;
use crate::http::safe_url::bare;

/// Bytes of the longest next link: servers refuse longer request lines.
const MAX_LINK: usize = 16 * 1024;

/// The URL of a next link that the endpoint gave.
///
/// # Errors
/// [`PagesError::NextLinkRefused`], with the host and nothing else of the link.
pub(super) fn accept(endpoint: &Url, link: &str) -> Result<Url, PagesError> {
    let refused = |host: &str, reason| PagesError::NextLinkRefused {
        url: bare(endpoint),
        host: host.to_owned(),
        reason,
    };
    if link.len() > MAX_LINK {
        return Err(refused("an unknown host", "and is too long"));
    }
    // Joined, so that a link without scheme is judged as what it leads to.
    let Ok(url) = endpoint.join(link) else {
        return Err(refused("an unknown host", "and is not a URL"));
    };
    let host = url.host_str().unwrap_or("no host");
    if url.scheme() != endpoint.scheme() {
        return Err(refused(host, "by another scheme"));
    }
    if url.host() != endpoint.host() {
        return Err(refused(host, "which is not the API's"));
    }
    if url.port_or_known_default() != endpoint.port_or_known_default() {
        return Err(refused(host, "at another port"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused(host, "with a user name"));
    }
    if url.fragment().is_some() {
        return Err(refused(host, "with a fragment"));
    }
    if !is_below(endpoint, &url) {
        return Err(refused(host, "but not to the endpoint that was asked"));
    }
    Ok(url)
}

fn is_below(endpoint: &Url, url: &Url) -> bool {
    // Encoded slashes and dots mean one thing here and another at a server.
    if url.path().contains('%') {
        return false;
    }
    let (endpoint, path) = (segments(endpoint), segments(url));
    path.starts_with(&endpoint)
}

/// In lower case, without the optional version.
fn segments(url: &Url) -> Vec<String> {
    let path = url.path().trim_matches('/').to_ascii_lowercase();
    let segments = path.split('/').filter(|segment| *segment != "v1.0");
    segments.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: &str = "https://api.example/api/machines/SoftwareByMachine";

    fn accepted(link: &str) -> Result<Url, PagesError> {
        accept(&Url::parse(ENDPOINT).unwrap(), link)
    }

    #[test]
    fn links_to_the_endpoint_are_obeyed_as_they_are() {
        for link in [
            "https://api.example/api/machines/SoftwareByMachine?pageSize=5&$skiptoken=a%2Bb%3D",
            "https://API.example:443/api/Machines/softwarebymachine?$skiptoken=eyJ9=",
            "https://api.example/api/v1.0/machines/SoftwareByMachine?x",
            "https://api.example/api/machines/SoftwareByMachine/more?x",
            "?$skiptoken=1",
        ] {
            assert!(accepted(link).is_ok(), "{link}");
        }
        let link = "https://api.example/api/machines/SoftwareByMachine?a=%2B%2f+/=";
        assert_eq!(accepted(link).unwrap().as_str(), link);
    }

    #[test]
    fn links_elsewhere_are_refused_by_their_host_alone() {
        let endless = format!("{ENDPOINT}?$skiptoken={}", "s3cr3t".repeat(4096));
        for (link, host) in [
            (
                "https://evil.example/api/machines/SoftwareByMachine?t=s3cr3t",
                "evil.example",
            ),
            (
                "https://evil.api.example/api/machines/SoftwareByMachine?t=s3cr3t",
                "evil.api.example",
            ),
            (
                "https://api.example.evil/api/machines/SoftwareByMachine?t=s3cr3t",
                "api.example.evil",
            ),
            (
                "//evil.example/api/machines/SoftwareByMachine?t=s3cr3t",
                "evil.example",
            ),
            (
                "\\\\evil.example/api/machines/SoftwareByMachine?t=s3cr3t",
                "evil.example",
            ),
            (
                "https:\t//evil.example/api/machines/SoftwareByMachine?t=s3cr3t",
                "evil.example",
            ),
            (
                "http://api.example/api/machines/SoftwareByMachine?t=s3cr3t",
                "another scheme",
            ),
            (
                "https://api.example:8443/api/machines/SoftwareByMachine?t=s3cr3t",
                "another port",
            ),
            (
                "https://api.example@evil.example/api/machines/SoftwareByMachine",
                "evil.example",
            ),
            (
                "https://s3cr3t:s3cr3t@api.example/api/machines/SoftwareByMachine",
                "a user name",
            ),
            (
                "https://api.example/api/machines/SoftwareByMachine#s3cr3t",
                "a fragment",
            ),
            (
                "https://api.example/api/machines/OtherByMachine?t=s3cr3t",
                "not to the endpoint",
            ),
            (
                "https://api.example/api/machines/SoftwareByMachines?t=s3cr3t",
                "not to the endpoint",
            ),
            (
                "https://api.example/api/machines/SoftwareByMachine/../../users",
                "not to the endpoint",
            ),
            (
                "https://api.example/api/machines/SoftwareByMachine/%2e%2e/users",
                "not to the endpoint",
            ),
            (
                "https://api.example/api/machines/SoftwareByMachine/..%2f..%2fx",
                "not to the endpoint",
            ),
            (
                "https://api.example/api//machines/SoftwareByMachine",
                "not to the endpoint",
            ),
            ("file:///etc/s3cr3t", "another scheme"),
            ("https://", "not a URL"),
            (&endless, "too long"),
        ] {
            let error = accepted(link).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(
                text.contains(host) && !text.contains("s3cr3t"),
                "{link}: {text}"
            );
        }
    }
}
