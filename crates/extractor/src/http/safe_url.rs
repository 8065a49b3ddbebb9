//! The safety rules of URLs: https except on loopback, nothing secret in a setting, nothing secret printed. Makes no request.

use url::{Host, Url};

use crate::error::ExtractorError;

/// Parses the URL of a setting, which must be secure and hold no user name, query or fragment.
pub(crate) fn secure_base(setting: &'static str, text: &str) -> Result<Url, ExtractorError> {
    let invalid = |reason: &str| ExtractorError::InvalidSetting {
        setting,
        reason: reason.to_owned(),
    };
    let url = Url::parse(text).map_err(|error| invalid(&format!("not a URL: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("a URL with a user name or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("a URL with a query or fragment"));
    }
    require_secure(&url)?;
    Ok(url)
}

/// Refuses everything but https, and http on loopback.
pub(crate) fn require_secure(url: &Url) -> Result<(), ExtractorError> {
    match url.scheme() {
        "https" if url.has_host() => Ok(()),
        "http" if is_loopback(url) => Ok(()),
        _ => Err(ExtractorError::InsecureUrl { url: bare(url) }),
    }
}

/// Whether the URL's host is this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(domain)) => domain == "localhost",
        None => false,
    }
}

/// The URL without user, query and fragment: safe to print.
pub(crate) fn bare(url: &Url) -> String {
    format!("{}{}", origin(url), url.path())
}

/// Scheme, host and port.
pub(crate) fn origin(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}"));
    format!(
        "{}://{}{}",
        url.scheme(),
        url.host_str().unwrap_or_default(),
        port.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_accepted_for_loopback_only() {
        for url in [
            "https://api.example",
            "http://127.0.0.1:8080",
            "http://localhost:1",
            "http://[::1]:1/",
            "http://127.8.9.1/",
        ] {
            assert!(secure_base("api", url).is_ok(), "{url}");
        }
        for url in [
            "http://api.example",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://10.0.0.1/",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
        ] {
            let error = secure_base("api", url).unwrap_err();
            assert!(
                matches!(error, ExtractorError::InsecureUrl { .. }),
                "{url}: {error}"
            );
        }
        for url in [
            "https://user:hidden@api.example",
            "https://api.example?sig=hidden",
            "api",
        ] {
            let error = secure_base("api", url).unwrap_err().to_string();
            assert!(
                !error.contains("hidden") && error.starts_with("api: "),
                "{error}"
            );
        }
    }
}
