//! The export call: one GET that answers with a listing. What all calls share is in `call.rs`.
//!
//! | answer | what is done |
//! |---|---|
//! | 400 with `sasValidHours` set to something else than 6 | asked once more with 6, the documented maximum |
//! | anything else | as for every call |

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::api::call::{Answer, Api};
use crate::api::listing::{self, BlobHosts, Listing};
use crate::api::rate_budget::RateBudget;
use crate::api::token_source::TokenSource;
use crate::error::ExtractorError;
use crate::http::client::HttpClient;
use crate::http::clock::Clock;
use crate::http::retry::{RetryPolicy, Setback};
use crate::http::safe_url::secure_base;

/// The longest wait for a whole listing: 512 MiB at 1 MB a second.
const LISTING_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// The documented maximum of `sasValidHours` (older documents said 24).
const SAS_VALID_HOURS: u32 = 6;
const BAD_REQUEST_HINT: &str =
    "see `sas_valid_hours` (whole hours, 1 to 6) and the dataset's endpoint";

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
    api: Api,
    blob_hosts: BlobHosts,
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
            api: Api {
                base_url,
                retry: settings.retry,
                tokens,
                budget,
                http,
                clock,
            },
        })
    }

    /// Asks for a listing of the newest snapshot. Waits for the rate budget, and tries again what can pass.
    pub async fn list(&self, request: &ListingRequest) -> Result<Listing, ExtractorError> {
        let endpoint = self.api.endpoint(
            &request.endpoint,
            &request.permission,
            BAD_REQUEST_HINT,
            LISTING_TIMEOUT,
        )?;
        let mut url = endpoint.url.clone();
        let mut hours = request.sas_valid_hours;
        let mut call = self.api.call(&endpoint);
        loop {
            let query = hours.map(|hours| format!("sasValidHours={hours}"));
            url.set_query(query.as_deref());
            let listed = match call.send(&url).await {
                Ok(answer) => self.read(&url, answer).await.map_err(Setback::from),
                Err(setback) => Err(setback),
            };
            match listed {
                Ok(listing) => {
                    let generated_time = listing.generated_time.map(tracing::field::display);
                    tracing::info!(
                        blobs = listing.blobs.len(),
                        generated_time,
                        "listing received"
                    );
                    return Ok(listing);
                }
                Err(Setback::Final(ExtractorError::BadRequest { .. }))
                    if hours.is_some_and(|hours| hours != SAS_VALID_HOURS) =>
                {
                    tracing::warn!(refused = hours, "asking again with sasValidHours=6");
                    hours = Some(SAS_VALID_HOURS);
                }
                Err(setback) => call.recover(setback).await?,
            }
        }
    }

    async fn read(&self, url: &Url, answer: Answer) -> Result<Listing, ExtractorError> {
        listing::read(
            url,
            answer.response,
            &self.blob_hosts,
            answer.answered_at,
            answer.clock_skew,
            self.api.http.no_progress_timeout(),
        )
        .await
    }
}
