//! The one HTTP client, and what holds for every request: no redirects, no automatic decompression (gzip is the payload),
//! bounded waits, no proxy for loopback. Does not retry.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Method, RequestBuilder, redirect};
use url::Url;

use crate::error::ExtractorError;
use crate::http::response::reason;
use crate::http::safe_url::is_loopback;

/// The longest wait for a connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait for a whole answer of the API or the sign-in authority. Blobs have no such limit: they may be large.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Connections to the API, the authority and the blob store. Cheap to clone: clones share the connections.
#[derive(Debug, Clone)]
pub struct HttpClient {
    /// The longest wait for the next byte of an answer.
    no_progress_timeout: Duration,
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
    /// (`HTTPS_PROXY`, `NO_PROXY`); that they are of no use is its error. `no_progress_timeout` is the longest wait for the
    /// next byte of an answer.
    pub fn new(no_progress_timeout: Duration) -> Self {
        Self {
            no_progress_timeout,
            clients: Arc::default(),
        }
    }

    /// The longest wait for the next byte of an answer.
    pub(crate) fn no_progress_timeout(&self) -> Duration {
        self.no_progress_timeout
    }

    /// A request whose answer may be long, such as a blob: no limit to the time for all of it.
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
        Ok(request.timeout(REQUEST_TIMEOUT))
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
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(self.no_progress_timeout)
    }
}
