//! The one HTTP client, and the safety rules that hold for every request: https except on loopback, no redirects,
//! no automatic decompression (gzip is the payload), bounded waits. Does not retry.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, redirect};
use url::{Host, Url};

use crate::service_answer::scrub;
use crate::{ExtractorError, ServiceAnswer};

/// The waits of the HTTP client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// For a connection, TLS included.
    pub connect_timeout: Duration,
    /// For the next byte of an answer.
    pub no_progress_timeout: Duration,
    /// For a whole answer of the API or the sign-in authority. Blobs have no such limit: they may be large.
    pub request_timeout: Duration,
}

/// Connections to the API, the authority and the blob store. Cheap to clone: clones share the connections.
#[derive(Debug, Clone)]
pub struct HttpClient {
    settings: HttpSettings,
    clients: Arc<Clients>,
}

/// Built when they are first used: each reads some hundred files of root certificates, and a run needs one of them.
#[derive(Debug, Default)]
struct Clients {
    remote: OnceLock<Client>,
    /// Loopback is never reached through the proxy of the environment, which would see plain-text tokens.
    loopback: OnceLock<Client>,
    /// Loopback without TLS: has no use for certificates.
    plain_loopback: OnceLock<Client>,
}

impl HttpClient {
    /// A client that has read nothing yet. The first request reads the system's root certificates and proxy variables
    /// (`HTTPS_PROXY`, `NO_PROXY`); that they are of no use is its error.
    pub fn new(settings: HttpSettings) -> Self {
        Self {
            settings,
            clients: Arc::default(),
        }
    }

    /// A request of a blob.
    pub(crate) fn blob_request(
        &self,
        method: Method,
        url: &Url,
    ) -> Result<RequestBuilder, ExtractorError> {
        Ok(self.for_url(url)?.request(method, url.clone()))
    }

    /// A request of a short answer.
    pub(crate) fn short_request(
        &self,
        method: Method,
        url: &Url,
    ) -> Result<RequestBuilder, ExtractorError> {
        let request = self.blob_request(method, url)?;
        Ok(request.timeout(self.settings.request_timeout))
    }

    fn for_url(&self, url: &Url) -> Result<&Client, ExtractorError> {
        let (is_loopback, is_plain) = (is_loopback(url), url.scheme() == "http");
        let client = match (is_loopback, is_plain) {
            (false, _) => &self.clients.remote,
            (true, false) => &self.clients.loopback,
            (true, true) => &self.clients.plain_loopback,
        };
        if let Some(client) = client.get() {
            return Ok(client);
        }
        let mut builder = self.builder();
        if is_loopback {
            builder = builder.no_proxy().tls_built_in_root_certs(!is_plain);
        }
        let built = builder.build();
        let built = built.map_err(|error| ExtractorError::InvalidSetting {
            setting: "HTTP client",
            reason: reason(&error),
        })?;
        // Of two that are built at once, one is kept.
        Ok(client.get_or_init(|| built))
    }

    fn builder(&self) -> ClientBuilder {
        Client::builder()
            .user_agent(concat!("defender-lake/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .http1_only()
            .connect_timeout(self.settings.connect_timeout)
            .read_timeout(self.settings.no_progress_timeout)
    }
}

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

/// The error of a request or a body, without the URL that `reqwest` would print.
pub(crate) fn transport_error(url: &Url, error: &reqwest::Error) -> ExtractorError {
    let (url, reason) = (bare(url), reason(error));
    if error.is_timeout() {
        ExtractorError::Timeout { url, reason }
    } else {
        ExtractorError::Connection { url, reason }
    }
}

/// The causes of the error. The outermost level alone would print the URL: it is left out where it has a cause.
fn reason(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    if causes.is_empty() {
        causes.push("request failed".to_owned());
    }
    causes.dedup();
    scrub(&causes.join(": "), &[])
}

/// A redirect, as the error that it is.
pub(crate) fn redirected(url: &Url, response: &Response) -> Option<ExtractorError> {
    let status = response.status();
    status.is_redirection().then(|| {
        let location = response
            .headers()
            .get(reqwest::header::LOCATION)
            .and_then(|value| url.join(value.to_str().ok()?).ok());
        ExtractorError::Redirected {
            url: bare(url),
            status: status.as_u16(),
            location: location.map_or_else(|| "nowhere".to_owned(), |target| origin(&target)),
        }
    })
}

/// The body of a short answer, refused when it is longer than `limit` bytes.
pub(crate) async fn bounded_body(
    url: &Url,
    mut response: Response,
    limit: usize,
) -> Result<Vec<u8>, ExtractorError> {
    let too_large = || ExtractorError::AnswerTooLarge {
        url: bare(url),
        limit,
    };
    if response
        .content_length()
        .is_some_and(|length| length > limit as u64)
    {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| transport_error(url, &error))?
    {
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The words of an answer that is not a success. A body that cannot be read leaves the status alone.
pub(crate) async fn refusal(mut response: Response, secrets: &[&str]) -> Box<ServiceAnswer> {
    const LIMIT: usize = 64 * 1024;
    let status = response.status().as_u16();
    let code = response
        .headers()
        .get("x-ms-error-code")
        .and_then(|code| code.to_str().ok())
        .map(|code| scrub(code, secrets));
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > LIMIT {
            body.truncate(LIMIT);
            break;
        }
    }
    let mut answer = ServiceAnswer::parse(status, &body, secrets);
    answer.code = answer.code.or(code);
    Box::new(answer)
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
