//! The export call: one GET that answers with a listing, within the rate budget, its refusals explained.
//!
//! | answer | what is done |
//! |---|---|
//! | 400 with `sasValidHours` set to something else than 6 | asked once more with 6, the documented maximum |
//! | 401 with a token that can be renewed | asked once more with a new token |
//! | 429 | `Retry-After` is kept in the rate budget; asked again when that allows it |
//! | 408, 5xx, broken connection | asked again after a backoff, few times: every call costs a part of the budget |
//! | anything else but 200 | an error |

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, Response};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::api::credentials::{Claims, Credential};
use crate::api::listing::{self, BlobHosts, Listing};
use crate::api::rate_budget::RateBudget;
use crate::api::token_source::TokenSource;
use crate::error::ExtractorError;
use crate::http::client::HttpClient;
use crate::http::clock::Clock;
use crate::http::headers::{date, retry_after};
use crate::http::response::{redirected, refusal, transport_error};
use crate::http::retry::{Attempts, RetryPolicy, Setback, can_pass};
use crate::http::safe_url::{bare, origin, secure_base};
use crate::service_answer::scrub;

/// The longest wait for a whole listing: 512 MiB at 1 MB a second.
const LISTING_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// The documented maximum of `sasValidHours` (older documents said 24).
const SAS_VALID_HOURS: u32 = 6;
/// The wait after a 429 that names none: the shorter of the service's two windows.
const UNNAMED_WAIT: Duration = Duration::from_secs(60);
/// A difference of the clocks from which on it is worth a warning.
const NOTABLE_SKEW: TimeDelta = TimeDelta::seconds(60);

/// Where the API is, and where its blobs may be.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Base URL: https, or http on loopback.
    pub base_url: String,
    /// Blob hosts to allow beside the service's own: `host` or `*.domain`.
    pub allowed_blob_hosts: Vec<String>,
    /// How often a failed call is tried again.
    pub retry: RetryPolicy,
}

/// What to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListingRequest {
    /// Path of the dataset's export call, from the base URL.
    pub endpoint: String,
    /// The application permission that the call needs, for the words of a refusal.
    pub permission: String,
    /// For how many hours the signed URLs shall be valid; the service's default if `None`.
    pub sas_valid_hours: Option<u32>,
}

/// The export API.
#[derive(Debug)]
pub struct ExportApi {
    base_url: Url,
    blob_hosts: BlobHosts,
    retry: RetryPolicy,
    tokens: Arc<TokenSource>,
    budget: RateBudget,
    http: HttpClient,
    clock: Clock,
}

impl ExportApi {
    /// Checks the settings; makes no request. The base URL must be https, or http on loopback.
    pub fn new(
        settings: ApiSettings,
        tokens: Arc<TokenSource>,
        budget: RateBudget,
        http: HttpClient,
        clock: Clock,
    ) -> Result<Self, ExtractorError> {
        let base_url = secure_base("api", &settings.base_url)?;
        Ok(Self {
            blob_hosts: BlobHosts::new(&base_url, &settings.allowed_blob_hosts),
            base_url,
            retry: settings.retry,
            tokens,
            budget,
            http,
            clock,
        })
    }

    /// Asks for a listing of the newest snapshot. Waits for the rate budget, and tries again what can pass.
    pub async fn list(&self, request: &ListingRequest) -> Result<Listing, ExtractorError> {
        let endpoint = format!(
            "{}/{}",
            self.base_url.as_str().trim_end_matches('/'),
            request.endpoint.trim_start_matches('/')
        );
        let mut url = secure_base("endpoint", &endpoint)?;
        let budget_key = format!("{}@{}", self.tokens.credential().caller(), bare(&url));
        let mut hours = request.sas_valid_hours;
        let mut token_renewed = false;
        let mut attempts = Attempts::new(&self.retry);
        let mut throttled = 0;
        loop {
            url.set_query(
                hours
                    .map(|hours| format!("sasValidHours={hours}"))
                    .as_deref(),
            );
            let token = self.tokens.token().await?;
            self.budget.acquire(&budget_key).await?;
            tracing::debug!(url = %bare(&url), sas_valid_hours = hours, "asking for a listing");
            let setback = match self.call(&url, &token, request).await {
                Ok(listing) => {
                    let generated_time = listing.generated_time.map(tracing::field::display);
                    tracing::info!(
                        blobs = listing.blobs.len(),
                        generated_time,
                        "listing received"
                    );
                    return Ok(listing);
                }
                Err(setback) => setback,
            };
            match setback {
                Setback::Final(ExtractorError::BadRequest { .. })
                    if hours.is_some_and(|hours| hours != SAS_VALID_HOURS) =>
                {
                    tracing::warn!(refused = hours, "asking again with sasValidHours=6");
                    hours = Some(SAS_VALID_HOURS);
                }
                Setback::Final(error @ ExtractorError::Unauthorized { .. }) => {
                    if token_renewed || !self.tokens.forget(&token).await {
                        return Err(error);
                    }
                    token_renewed = true;
                }
                Setback::Passing {
                    error: ExtractorError::Unavailable { url, answer },
                    retry_after,
                } if answer.status == 429 => {
                    throttled += 1;
                    if throttled >= self.retry.max_attempts {
                        return Err(ExtractorError::Unavailable { url, answer });
                    }
                    let wait = retry_after.unwrap_or(UNNAMED_WAIT);
                    self.budget.postpone(&budget_key, wait).await;
                }
                setback => tokio::time::sleep(attempts.after(setback)?).await,
            }
        }
    }

    async fn call(
        &self,
        url: &Url,
        token: &SecretString,
        request: &ListingRequest,
    ) -> Result<Listing, Setback> {
        let asked_at = self.clock.now();
        let response = self
            .http
            .blob_request(Method::GET, url)?
            .timeout(LISTING_TIMEOUT)
            .header(AUTHORIZATION, bearer(token)?)
            .send()
            .await
            .map_err(|error| transport_error(url, &error))?;
        if let Some(error) = redirected(url, &response) {
            return Err(Setback::Final(error));
        }
        if response.status().as_u16() != 200 {
            return Err(self.refused(url, response, token, request).await);
        }
        let answered_at = self.clock.now();
        let midpoint = asked_at + (answered_at - asked_at) / 2;
        let skew = date(response.headers()).map_or_else(TimeDelta::zero, |date| date - midpoint);
        if skew.abs() >= NOTABLE_SKEW {
            let seconds = skew.num_seconds();
            tracing::warn!(
                seconds,
                "the service's clock is ahead of this machine's (behind, if negative)"
            );
        }
        Ok(listing::read(url, response, &self.blob_hosts, answered_at, skew).await?)
    }

    async fn refused(
        &self,
        url: &Url,
        response: Response,
        token: &SecretString,
        request: &ListingRequest,
    ) -> Setback {
        let retry_after = retry_after(response.headers(), self.clock.now());
        let challenge = response.headers().get("www-authenticate").cloned();
        let mut answer = refusal(response, &[token.expose_secret()]).await;
        let (status, url) = (answer.status, bare(url));
        if can_pass(status) {
            let error = ExtractorError::Unavailable { url, answer };
            return Setback::Passing { error, retry_after };
        }
        Setback::Final(match status {
            400 => ExtractorError::BadRequest {
                url,
                answer,
                hint: "see `sas_valid_hours` (whole hours, 1 to 6) and the dataset's endpoint"
                    .to_owned(),
            },
            401 => {
                // The body of a 401 can be empty; the header then has the reason.
                if answer.message.is_none() {
                    let challenge = challenge.as_ref().and_then(|value| value.to_str().ok());
                    answer.message = challenge.map(|text| scrub(text, &[token.expose_secret()]));
                }
                ExtractorError::Unauthorized {
                    url,
                    answer,
                    hint: self.audience_hint(token),
                }
            }
            403 if answer.code.as_deref() == Some("DisabledFeature") => ExtractorError::Forbidden {
                url,
                answer,
                hint: "the tenant's licence does not include this export".to_owned(),
            },
            403 => ExtractorError::Forbidden {
                url,
                hint: format!(
                    "grant the application permission {} on WindowsDefenderATP and give admin consent \
                     (permissions in the token: {}); {}",
                    request.permission,
                    Claims::of(token).permissions(),
                    self.audience_hint(token)
                ),
                answer,
            },
            _ => ExtractorError::UnexpectedAnswer { url, answer },
        })
    }

    fn audience_hint(&self, token: &SecretString) -> String {
        let audience = match (Claims::of(token).aud, self.tokens.credential()) {
            (Some(audience), _) => audience,
            (None, Credential::ClientSecret { audience, .. }) => audience.clone(),
            (None, Credential::Token(_)) => "an unknown audience".to_owned(),
        };
        let made_for = scrub(&audience, &[]);
        format!(
            "the token was made for {made_for}: see `audience`, which is that of the cloud's securitycenter API \
             and not always the host {}",
            origin(&self.base_url)
        )
    }
}

fn bearer(token: &SecretString) -> Result<HeaderValue, ExtractorError> {
    let mut value =
        HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(|_| {
            ExtractorError::InvalidSetting {
                setting: "token",
                reason: "has characters that no HTTP header may have".to_owned(),
            }
        })?;
    value.set_sensitive(true);
    Ok(value)
}
