//! The blob store: requests with a signed URL, and what its refusals mean. Never sees the API's token.
//!
//! | answer | meaning here |
//! |---|---|
//! | 403 `AuthenticationFailed`, URL past its end | [`ExtractorError::UrlExpired`] |
//! | 403 `AuthenticationFailed`, URL not past its end | the key's time may begin late: can pass, then as above |
//! | 403 otherwise, or a signature that did not match | [`ExtractorError::BlobRefused`] |
//! | 404 in the first minute after the listing | the copy has not begun: can pass |
//! | 200 with no byte, or while `x-ms-copy-status` is `pending` | the copy has not ended: can pass |
//! | 408, 409, 429, 5xx | can pass |
//! | 412, another `ETag` | [`ExtractorError::BlobChanged`] |

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::{CONTENT_LENGTH, DATE, ETAG, HeaderMap};
use reqwest::{Method, RequestBuilder, Response};

use crate::download::{Progress, Transfer};
use crate::http_client::{bare, redirected, refusal, transport_error};
use crate::md5_lanes::Md5Lanes;
use crate::retry::{Attempts, Jitter, RetryPolicy, Setback, can_pass, http_date, retry_after};
use crate::service_answer::scrub;
use crate::{Clock, ExtractorError, HttpClient, ServiceAnswer, SignedUrl, Spool, SpoolBudget};

/// How long after the listing a blob may not be there yet.
const SETTLING: TimeDelta = TimeDelta::seconds(60);

/// What the blob store says of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobHead {
    /// Bytes of the compressed body.
    pub size: u64,
    /// Version of the blob in its container. Another listing's container has another.
    pub etag: Option<String>,
    /// MD5 of the whole body, where the blob store has one.
    pub content_md5: Option<[u8; 16]>,
}

/// The download side. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BlobStoreClient {
    http: HttpClient,
    pub(crate) retry: RetryPolicy,
    pub(crate) jitter: Jitter,
    pub(crate) spools: SpoolBudget,
    pub(crate) md5: Md5Lanes,
    clock: Clock,
}

impl BlobStoreClient {
    /// A client that spools into `spools`.
    pub fn new(
        http: HttpClient,
        retry: RetryPolicy,
        spools: SpoolBudget,
        clock: Clock,
        jitter: Jitter,
    ) -> Self {
        Self {
            http,
            retry,
            jitter,
            spools,
            md5: Md5Lanes::default(),
            clock,
        }
    }

    /// Size, version and checksum of a blob. Waits for a copy that has not ended.
    pub async fn head(&self, url: &SignedUrl) -> Result<BlobHead, ExtractorError> {
        let mut attempts = Attempts::new(&self.retry, &self.jitter);
        loop {
            match self.ask_head(url).await {
                Ok(head) => return Ok(head),
                Err(setback) => tokio::time::sleep(attempts.after(setback)?).await,
            }
        }
    }

    /// The whole body of a blob, resumed after cuts and checked. `expected_size` is that of the blob's head, where
    /// known. An expired URL is [`ExtractorError::UrlExpired`]; [`crate::BlobSource`] gets another.
    pub async fn download(
        &self,
        url: &SignedUrl,
        expected_size: Option<u64>,
        progress: &Progress<'_>,
    ) -> Result<Spool, ExtractorError> {
        let mut transfer = Transfer::new(url.blob_path(), expected_size, progress);
        transfer.run(self, url).await?;
        transfer.finish().await
    }

    async fn ask_head(&self, url: &SignedUrl) -> Result<BlobHead, Setback> {
        let response = self
            .send(url, self.http.short_request(Method::HEAD, url.expose())?)
            .await?;
        if response.status().as_u16() != 200 {
            return Err(self.refused(url, response).await);
        }
        let Some(size) = content_length(response.headers()) else {
            return Err(unexpected(url, 200, "no Content-Length"));
        };
        require_content(url, response.headers(), size)?;
        Ok(head_of(response.headers(), size))
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

    /// What an answer means that brings no content.
    pub(crate) async fn refused(&self, url: &SignedUrl, response: Response) -> Setback {
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), self.clock.now());
        let store_time = date(response.headers()).unwrap_or_else(|| self.clock.now());
        let answer = refusal(response, &[]).await;
        let blob = url.blob_path().to_string();
        match status {
            412 => Setback::Final(ExtractorError::BlobChanged { blob }),
            404 if self.clock.now() - url.listed_at() < SETTLING => {
                Setback::passing(ExtractorError::BlobMissing { blob })
            }
            404 => Setback::Final(ExtractorError::BlobMissing { blob }),
            403 if may_be_expiry(&answer) => {
                let expired = url.expires_at().is_none_or(|end| store_time >= end);
                let settling = self.clock.now() - url.listed_at() < SETTLING;
                let error = ExtractorError::UrlExpired { blob };
                if settling && !expired {
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

/// A 403 that another signature would cure. The answer to HEAD has a code at most.
fn may_be_expiry(answer: &ServiceAnswer) -> bool {
    matches!(answer.code.as_deref(), None | Some("AuthenticationFailed"))
        && !answer.mentions("did not match")
}

pub(crate) fn unexpected(url: &SignedUrl, status: u16, what: &str) -> Setback {
    Setback::Final(ExtractorError::UnexpectedAnswer {
        url: bare(url.expose()),
        answer: ServiceAnswer::of(status, what),
    })
}

/// Refuses a blob without content: its copy on the server has not ended, or failed.
pub(crate) fn require_content(
    url: &SignedUrl,
    headers: &HeaderMap,
    size: u64,
) -> Result<(), Setback> {
    let status = text(headers, "x-ms-copy-status");
    if size > 0 && status != Some("pending") {
        return Ok(());
    }
    let error = ExtractorError::BlobEmpty {
        blob: url.blob_path().to_string(),
        copy_status: scrub(status.unwrap_or("none"), &[]),
    };
    Err(match status {
        Some("failed" | "aborted") => Setback::Final(error),
        _ => Setback::passing(error),
    })
}

/// Version and checksum of the whole blob, whose size is in another header for a range than for the whole.
pub(crate) fn head_of(headers: &HeaderMap, size: u64) -> BlobHead {
    // On a range, Content-MD5 is that of the range.
    let md5 = text(headers, "x-ms-blob-content-md5").or_else(|| {
        let whole = !headers.contains_key("content-range");
        whole.then(|| text(headers, "content-md5")).flatten()
    });
    BlobHead {
        size,
        // A weak ETag does not promise the same bytes.
        etag: text(headers, ETAG.as_str())
            .filter(|etag| !etag.starts_with("W/"))
            .map(str::to_owned),
        content_md5: md5.and_then(|md5| BASE64_STANDARD.decode(md5).ok()?.try_into().ok()),
    }
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_LENGTH.as_str())?.parse().ok()
}

/// First byte and size of the whole of `bytes 5-9/10`.
pub(crate) fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let (range, total) = text(headers, "content-range")?
        .strip_prefix("bytes ")?
        .split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total): (u64, u64, u64) =
        (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (last.checked_add(1) == Some(total)).then_some((first, total))
}

fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    http_date(text(headers, DATE.as_str())?)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
