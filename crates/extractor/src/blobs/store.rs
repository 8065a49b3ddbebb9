//! The blob store: requests with a signed URL, and what its refusals mean. Never sees the API's token.
//!
//! | answer | meaning here |
//! |---|---|
//! | 403 `AuthenticationFailed`, URL past its end | [`ExtractorError::UrlExpired`] |
//! | 403 `AuthenticationFailed`, URL not past its end | the key's time may begin late: can pass, then as above |
//! | 403 that says nothing, as of a proxy, URL past its end | [`ExtractorError::UrlExpired`] |
//! | 403 otherwise, or a signature that did not match | [`ExtractorError::BlobRefused`] |
//! | 404 in the first minute after the listing | the copy has not started: can pass |
//! | 200 with no byte, or while `x-ms-copy-status` is `pending` | the copy has not ended: can pass |
//! | 408, 409, 429, 5xx | can pass |
//! | 412, another `ETag` | [`ExtractorError::BlobChanged`] |

use chrono::TimeDelta;
use reqwest::header::RANGE;
use reqwest::{Method, RequestBuilder, Response};

use crate::api::signed_url::SignedUrl;
use crate::blobs::head::{content_length, require_content, size_of_whole};
use crate::blobs::spool::SpoolBudget;
use crate::error::ExtractorError;
use crate::http::client::HttpClient;
use crate::http::clock::Clock;
use crate::http::headers::{date, retry_after};
use crate::http::response::{redirected, refusal, transport_error};
use crate::http::retry::{Attempts, RetryPolicy, Setback, can_pass};
use crate::http::safe_url::bare;
use crate::service_answer::ServiceAnswer;

/// How long after the listing a blob may not be there yet.
const COPY_GRACE: TimeDelta = TimeDelta::seconds(60);

/// The download side. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BlobStoreClient {
    pub(super) http: HttpClient,
    pub(crate) retry: RetryPolicy,
    pub(crate) spools: SpoolBudget,
    clock: Clock,
}

impl BlobStoreClient {
    /// A client that spools into `spools`.
    pub fn new(http: HttpClient, retry: RetryPolicy, spools: SpoolBudget, clock: Clock) -> Self {
        Self {
            http,
            retry,
            spools,
            clock,
        }
    }

    /// Compressed bytes of a blob; `None` if the store does not say. Waits for a copy that has not ended.
    pub(crate) async fn size(&self, url: &SignedUrl) -> Result<Option<u64>, ExtractorError> {
        let mut attempts = Attempts::new(&self.retry);
        loop {
            match self.ask_size(url).await {
                Ok(size) => return Ok(size),
                Err(setback) => tokio::time::sleep(attempts.after(setback)?).await,
            }
        }
    }

    /// Asks for the first byte alone.
    pub(crate) async fn ask_size(&self, url: &SignedUrl) -> Result<Option<u64>, Setback> {
        let request = self.http.short_request(Method::GET, url.expose())?;
        let response = self.send(url, request.header(RANGE, "bytes=0-0")).await?;
        let headers = response.headers();
        let size = match response.status().as_u16() {
            206 => size_of_whole(headers),
            // The range is ignored, and the body not read.
            200 => content_length(headers),
            // There is no first byte.
            416 => Some(0),
            _ => return Err(self.refused(url, response).await),
        };
        require_content(url, headers, size)?;
        if content_length(headers) == Some(1) {
            // For the connection to be used again.
            let _ = response.bytes().await;
        }
        Ok(size)
    }

    /// A request for the body, to which the caller adds a range.
    pub(crate) fn get(&self, url: &SignedUrl) -> Result<RequestBuilder, ExtractorError> {
        self.http.blob_request(Method::GET, url.expose())
    }

    pub(crate) async fn send(
        &self,
        url: &SignedUrl,
        request: RequestBuilder,
    ) -> Result<Response, Setback> {
        let response = request
            .send()
            .await
            .map_err(|error| transport_error(url.expose(), &error))?;
        match redirected(url.expose(), &response) {
            Some(error) => Err(Setback::Final(error)),
            None => Ok(response),
        }
    }

    /// What an answer without content means.
    pub(crate) async fn refused(&self, url: &SignedUrl, response: Response) -> Setback {
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), self.clock.now());
        let store_time = date(response.headers()).unwrap_or_else(|| self.clock.now());
        let answer = refusal(response, &[]).await;
        let blob = url.blob_path().to_string();
        let expired = url.expires_at().is_none_or(|end| store_time >= end);
        match status {
            412 => Setback::Final(ExtractorError::BlobChanged { blob }),
            404 if self.clock.now() - url.listed_at() < COPY_GRACE => {
                Setback::passing(ExtractorError::BlobMissing { blob })
            }
            404 => Setback::Final(ExtractorError::BlobMissing { blob }),
            403 if may_be_expiry(&answer, expired) => {
                let in_grace = self.clock.now() - url.listed_at() < COPY_GRACE;
                let error = ExtractorError::UrlExpired { blob };
                if in_grace && !expired {
                    Setback::passing(error)
                } else {
                    Setback::Final(error)
                }
            }
            409 => Setback::passing(ExtractorError::Unavailable {
                url: bare(url.expose()),
                answer,
            }),
            status if can_pass(status) => {
                let error = ExtractorError::Unavailable {
                    url: bare(url.expose()),
                    answer,
                };
                Setback::Passing { error, retry_after }
            }
            _ => Setback::Final(ExtractorError::BlobRefused { blob, answer }),
        }
    }
}

/// A 403 that another signature would cure: each costs a call of the API, so one that does not even say to be the store's counts
/// only where the URL's own times agree.
fn may_be_expiry(answer: &ServiceAnswer, expired: bool) -> bool {
    match answer.code.as_deref() {
        Some("AuthenticationFailed") => !answer.mentions("did not match"),
        Some(_) => false,
        None => expired,
    }
}

pub(crate) fn unexpected(url: &SignedUrl, status: u16, what: &str) -> Setback {
    Setback::Final(ExtractorError::UnexpectedAnswer {
        url: bare(url.expose()),
        answer: ServiceAnswer::of(status, what),
    })
}
