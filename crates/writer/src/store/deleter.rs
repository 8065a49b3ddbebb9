//! Deletes objects by a request each. `object_store` knows the requests that delete many at once alone, which OneLake refuses,
//! Azure takes by some credentials and not by others, and not every store that speaks S3 has.
//!
//! The requests are signed as `object_store` signs its own, and tried again as long as it does.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::azure::{AzureAuthorizer, AzureCredentialProvider};
use object_store::client::{HttpClient, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{Result, RetryConfig};
use thiserror::Error;

use crate::store::http::beginning;

/// What deletes the objects of a store.
pub(crate) struct Deleter {
    client: HttpClient,
    /// A store whose credentials are made up: it knows where objects are.
    urls: Arc<dyn Signer>,
    signature: Signature,
    retries: RetryConfig,
}

/// How requests are signed.
pub(crate) enum Signature {
    /// Not at all.
    None,
    S3 {
        credentials: AwsCredentialProvider,
        region: String,
        requester_pays: bool,
    },
    Azure {
        credentials: AzureCredentialProvider,
        account: String,
    },
}

#[derive(Debug, Error)]
#[error("DELETE was answered with {status}: {message}")]
struct Answered {
    status: u16,
    message: String,
}

#[derive(Debug, Error)]
#[error("the object's URL: {0}")]
struct NoUrl(String);

/// What became of a request.
enum Attempt {
    Done,
    /// Perhaps it is answered otherwise the next time.
    Retry(object_store::Error),
}

impl fmt::Debug for Deleter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deleter").finish_non_exhaustive()
    }
}

impl Deleter {
    /// `urls` is a store like the one to delete from, whose requests nobody sends.
    pub(crate) fn new(
        client: HttpClient,
        urls: impl Signer + 'static,
        signature: Signature,
        retries: RetryConfig,
    ) -> Self {
        Self {
            client,
            urls: Arc::new(urls),
            signature,
            retries,
        }
    }

    /// Deletes an object; one that is not there is no error.
    pub(crate) async fn delete(&self, object: &Path) -> Result<()> {
        let began = Instant::now();
        let (backoff, mut retries) = (&self.retries.backoff, 0);
        let mut pause = backoff.init_backoff;
        loop {
            let error = match self.attempt(object).await? {
                Attempt::Done => return Ok(()),
                Attempt::Retry(error) => error,
            };
            if retries >= self.retries.max_retries || began.elapsed() > self.retries.retry_timeout {
                return Err(error);
            }
            retries += 1;
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = pause.mul_f64(backoff.base).min(backoff.max_backoff);
        }
    }

    async fn attempt(&self, object: &Path) -> Result<Attempt> {
        let request = self.request(object).await?;
        match self.client.execute(request).await {
            Ok(answer) => judge(object, answer).await,
            Err(error) => {
                let may_pass = matches!(
                    error.kind(),
                    HttpErrorKind::Connect
                        | HttpErrorKind::Request
                        | HttpErrorKind::Timeout
                        | HttpErrorKind::Interrupted
                );
                let error = failed(error);
                match may_pass {
                    true => Ok(Attempt::Retry(error)),
                    false => Err(error),
                }
            }
        }
    }

    /// A request for the object's deletion, signed.
    async fn request(&self, object: &Path) -> Result<HttpRequest> {
        let unusable = |error: &dyn fmt::Display| failed(NoUrl(error.to_string()));
        let method = "DELETE".parse().map_err(|error| unusable(&error))?;
        let an_hour = Duration::from_secs(3600);
        let mut url = self.urls.signed_url(method, object, an_hour).await?;
        // The signature is nobody's.
        url.set_query(None);
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = "DELETE".parse().map_err(|error| unusable(&error))?;
        *request.uri_mut() = url.as_str().parse().map_err(|error| unusable(&error))?;
        match &self.signature {
            Signature::None => {}
            Signature::S3 {
                credentials,
                region,
                requester_pays,
            } => {
                let credential = credentials.get_credential().await?;
                AwsAuthorizer::new(&credential, "s3", region)
                    .with_request_payer(*requester_pays)
                    .authorize(&mut request, None);
            }
            Signature::Azure {
                credentials,
                account,
            } => {
                let credential = credentials.get_credential().await?;
                AzureAuthorizer::new(&credential, account).authorize(&mut request);
            }
        }
        Ok(request)
    }
}

async fn judge(object: &Path, answer: HttpResponse) -> Result<Attempt> {
    let status = answer.status().as_u16();
    if answer.status().is_success() || status == 404 {
        return Ok(Attempt::Done);
    }
    let message = beginning(answer.into_body()).await;
    let (path, source) = (object.to_string(), Box::new(Answered { status, message }));
    match status {
        401 => Err(object_store::Error::Unauthenticated { path, source }),
        403 => Err(object_store::Error::PermissionDenied { path, source }),
        408 | 429 | 500.. => Ok(Attempt::Retry(failed(*source))),
        _ => Err(failed(*source)),
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic {
        store: "lake",
        source: Box::new(error),
    }
}
