//! The export API as a source: one listing, within the rate budget.
//!
//! The only part of the pipeline that calls the API. Downloads nothing, and asks the blob store nothing.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use dataset::{BlobPath, Snapshot};
use extractor::{
    ApiSettings, BlobSource, BlobStoreClient, Credential, ExportApi, HttpClient, ListingRequest,
    RateBudgetSettings, RetryPolicy, UrlSource, Wait, WaitObserver, prepare_state_folder,
};

use crate::error::PipelineError;
use crate::events::{Event, JobObserver};
use crate::plan::PlannedBlob;
use crate::resources::Resources;
use crate::settings::{ApiSource, Auth, Settings};
use crate::source::listed::Listed;
use crate::source::snapshots::{by_snapshot, checked_time, empty_snapshot};

/// A signed URL is replaced this long before it expires.
const REFRESH_BEFORE: Duration = Duration::from_secs(120);
const RATE_BUDGET_FILE: &str = "rate-budget.json";

/// Asks the API for the listing.
pub(super) async fn list_api(
    resources: &Resources,
    settings: &Settings,
    api: &ApiSource,
    observer: &JobObserver,
) -> Result<Listed, PipelineError> {
    let http = resources.http(api.no_progress_timeout)?;
    let export_api = Arc::new(export_api(resources, api, &http, observer)?);
    let request = ListingRequest {
        endpoint: settings.dataset.endpoint.clone(),
        permission: settings.dataset.permission.clone(),
        sas_valid_hours: api.sas_valid_hours,
    };
    let listing = export_api.list(&request).await?;
    if let Some(time) = listing.generated_time {
        checked_time(time, || "the listing's generatedTime".to_owned())?;
    }

    let paths: Vec<BlobPath> = listing
        .blobs
        .iter()
        .map(|url| url.blob_path().clone())
        .collect();
    let snapshot = snapshot_of(settings, &paths, listing.generated_time)?;

    let asked_at = listing.listed_at + listing.clock_skew;
    let clock = resources.clock().clone();
    let retry = RetryPolicy::of_blobs(api.blob_attempts);
    let spools = resources.spools().clone();
    let source = BlobSource::Service {
        store: BlobStoreClient::new(http, retry, spools, clock.clone()),
        urls: Arc::new(UrlSource::new(
            export_api,
            request,
            listing,
            REFRESH_BEFORE,
            clock,
        )),
    };
    let blobs = paths
        .into_iter()
        .map(|path| PlannedBlob { path, bytes: None });
    Ok(Listed {
        snapshot,
        blobs: blobs.collect(),
        source,
        asked_at,
    })
}

fn export_api(
    resources: &Resources,
    api: &ApiSource,
    http: &HttpClient,
    observer: &JobObserver,
) -> Result<ExportApi, PipelineError> {
    let state_file = api.state_dir.join(RATE_BUDGET_FILE);
    prepare_state_folder(&state_file)?;
    let budget = RateBudgetSettings {
        per_minute: api.calls_per_minute,
        per_hour: api.calls_per_hour,
        max_wait: api.max_wait,
        state_file: Some(state_file),
    };
    let budget = resources.rate_budget(budget)?;
    let retry = RetryPolicy::of_calls(api.api_attempts);
    Ok(ExportApi::new(
        ApiSettings {
            base_url: api.base.to_string(),
            allowed_blob_hosts: api.blob_hosts.clone(),
            retry: retry.clone(),
        },
        resources.tokens(credential(&api.auth), http, retry)?,
        budget.observed_by(wait_observer(observer)),
        http.clone(),
        resources.clock().clone(),
    )?)
}

/// The one snapshot that a listing's blobs are of.
fn snapshot_of(
    settings: &Settings,
    paths: &[BlobPath],
    listed_time: Option<DateTime<Utc>>,
) -> Result<Snapshot, PipelineError> {
    let mut snapshots = by_snapshot(settings, paths.iter().cloned(), listed_time)?;
    // A listing is one answer about one snapshot: mixed, it is not chosen from but refused.
    let snapshot = match snapshots.len() {
        0 => empty_snapshot(settings, listed_time)?,
        1 => snapshots.remove(0).0,
        _ => return Err(PipelineError::MixedListing),
    };
    if let Some(wanted) = settings
        .source
        .snapshot
        .as_ref()
        .filter(|id| **id != snapshot.id())
    {
        let (wanted, found) = (wanted.clone(), vec![snapshot.id()]);
        return Err(PipelineError::SnapshotNotFound { wanted, found });
    }
    Ok(snapshot)
}

fn wait_observer(observer: &JobObserver) -> WaitObserver {
    let observer = Arc::clone(observer);
    Arc::new(move |wait| {
        observer(match wait {
            Wait::Begins(wait) => Event::Waiting {
                reason: "the API's rate budget",
                wait,
            },
            Wait::Ends => Event::WaitOver,
        });
    })
}

fn credential(auth: &Auth) -> Credential {
    match auth {
        Auth::ClientSecret {
            tenant_id,
            client_id,
            client_secret,
            authority,
            audience,
        } => Credential::ClientSecret {
            authority: authority.to_string(),
            tenant_id: tenant_id.clone(),
            client_id: client_id.clone(),
            client_secret: client_secret.clone(),
            audience: audience.clone(),
        },
        Auth::Token { token } => Credential::Token(token.clone()),
    }
}
