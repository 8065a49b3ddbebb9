//! What is to be read: asks the API, or looks for files, and finds the one snapshot that the blobs are of.
//!
//! The only part of the pipeline that calls the API. Downloads nothing.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use dataset::{BlobPath, Snapshot, SnapshotId};

use extractor::{
    ApiSettings, BlobSource, BlobStoreClient, Clock, Credential, ExportApi, HttpClient,
    HttpSettings, Jitter, ListingRequest, RateBudget, RateBudgetSettings, RetryPolicy, SpoolBudget,
    UrlSource, Wait, WaitObserver, discover, prepare_state_folder,
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::error::PipelineError;
use crate::events::{Event, Observer};
use crate::gate::Refusal;
use crate::plan::PlannedBlob;
use crate::settings::{ApiSource, Auth, Retry, Settings, SourceKind};

/// Blobs that are asked for their size at once.
const SIZES_AT_ONCE: usize = 16;
/// A signed URL is replaced this long before it expires.
const REFRESH_BEFORE: Duration = Duration::from_secs(120);
const RATE_BUDGET_FILE: &str = "rate-budget.json";

/// The blobs of one snapshot, and how to bring them.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) snapshot: Snapshot,
    pub(crate) blobs: Vec<PlannedBlob>,
    pub(crate) source: BlobSource,
}

/// Finds the snapshot and the sizes of its blobs. Tells of waits, then and whenever the source lists again.
pub(crate) async fn list(
    settings: &Settings,
    observer: &Observer,
) -> Result<Listed, PipelineError> {
    match &settings.source.from {
        SourceKind::Api(api) => list_api(settings, api, observer).await,
        SourceKind::Files(pattern) => list_files(settings, pattern),
        SourceKind::Unresolved => Err(PipelineError::SourceUnresolved),
    }
}

async fn list_api(
    settings: &Settings,
    api: &ApiSource,
    observer: &Observer,
) -> Result<Listed, PipelineError> {
    let (clock, jitter) = (Clock::system(), Jitter::from_entropy());
    let http = HttpClient::new(HttpSettings {
        connect_timeout: api.timeouts.connect,
        no_progress_timeout: api.timeouts.no_progress,
        request_timeout: api.timeouts.request,
    });
    let state_file = api.state_dir.join(RATE_BUDGET_FILE);
    prepare_state_folder(&state_file)?;
    let budget = RateBudgetSettings {
        per_minute: NonZeroU32::new(api.calls_per_minute).unwrap_or(NonZeroU32::MIN),
        per_hour: NonZeroU32::new(api.calls_per_hour).unwrap_or(NonZeroU32::MIN),
        max_wait: api.max_wait,
        state_file: Some(state_file),
    };
    let export_api = ExportApi::new(
        ApiSettings {
            base_url: api.base.to_string(),
            allowed_blob_hosts: api.blob_hosts.clone(),
            retry: policy(&api.api_retry),
        },
        credential(&api.auth),
        RateBudget::new(budget, clock.clone()).observed_by(waits_told_to(observer)),
        http.clone(),
        clock.clone(),
        jitter.clone(),
    )?;
    let export_api = Arc::new(export_api);
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
    let mut snapshots = by_snapshot(settings, paths.iter().cloned(), listing.generated_time)?;
    // A listing is one answer about one snapshot: mixed, it is not chosen from but refused.
    let snapshot = match snapshots.len() {
        0 => empty_snapshot(settings, listing.generated_time)?,
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

    let spool_memory = settings.work.spool_memory.as_usize();
    let spools = SpoolBudget::new(spool_memory, settings.work.spool_directory());
    let source = BlobSource::Service {
        store: BlobStoreClient::new(http, policy(&api.blob_retry), spools, clock.clone(), jitter),
        urls: Arc::new(UrlSource::new(
            export_api,
            request,
            listing,
            REFRESH_BEFORE,
            clock,
        )),
    };
    let sizes = paths.into_iter().map(|path| {
        let source = source.clone();
        async move {
            let bytes = source.size(&path).await?;
            Ok::<_, PipelineError>(PlannedBlob::new(&path, bytes))
        }
    });
    let blobs: Vec<PlannedBlob> = stream::iter(sizes)
        .buffered(SIZES_AT_ONCE)
        .try_collect()
        .await?;
    Ok(Listed {
        snapshot,
        blobs,
        source,
    })
}

fn waits_told_to(observer: &Observer) -> WaitObserver {
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

fn policy(retry: &Retry) -> RetryPolicy {
    RetryPolicy {
        max_attempts: retry.attempts,
        base_delay: retry.delay,
        max_delay: retry.max_delay,
        max_total_delay: retry.time,
    }
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

fn list_files(settings: &Settings, pattern: &str) -> Result<Listed, PipelineError> {
    let files = discover(pattern)?;
    let source = BlobSource::files(&files);
    let sizes: BTreeMap<&str, u64> = files
        .iter()
        .map(|file| (file.path.as_str(), file.size))
        .collect();
    let snapshots = by_snapshot(settings, files.iter().map(|file| file.path.clone()), None)?;
    let found = ids(&snapshots);
    let chosen = match &settings.source.snapshot {
        Some(wanted) => snapshots
            .into_iter()
            .find(|(snapshot, _)| snapshot.id() == *wanted),
        None if snapshots.len() > 1 => return Err(PipelineError::SeveralSnapshots { found }),
        None => snapshots.into_iter().next(),
    };
    match (chosen, &settings.source.snapshot) {
        (Some((snapshot, paths)), _) => {
            let blobs = paths
                .iter()
                .map(|path| PlannedBlob::new(path, sizes.get(path.as_str()).copied().unwrap_or(0)));
            Ok(Listed {
                snapshot,
                blobs: blobs.collect(),
                source,
            })
        }
        (None, Some(wanted)) => Err(PipelineError::SnapshotNotFound {
            wanted: wanted.clone(),
            found,
        }),
        (None, None) => Err(Refusal::EmptyListing.into()),
    }
}

/// The snapshot of a listing without blobs, where that may be published and is known.
fn empty_snapshot(
    settings: &Settings,
    listed_time: Option<DateTime<Utc>>,
) -> Result<Snapshot, Refusal> {
    if !settings.gate.allow_empty {
        return Err(Refusal::EmptyListing);
    }
    let unknown = |what| Refusal::EmptyListingOfUnknown { what };
    let org_id = settings.source.org_id.clone();
    Ok(Snapshot {
        dataset: settings.dataset.name.clone(),
        org_id: org_id.ok_or(unknown("which organisation"))?,
        generated_time: listed_time
            .or(settings.source.generated_time)
            .ok_or(unknown("which time"))?,
    })
}

type BlobsOfSnapshot = (Snapshot, Vec<BlobPath>);

/// The snapshots that blobs are of, oldest first. What the API says of the time goes before what a path says, and both before
/// the settings; a path's organisation goes before the settings'.
fn by_snapshot(
    settings: &Settings,
    paths: impl Iterator<Item = BlobPath>,
    listed_time: Option<DateTime<Utc>>,
) -> Result<Vec<BlobsOfSnapshot>, PipelineError> {
    let mut groups: BTreeMap<_, Vec<BlobPath>> = BTreeMap::new();
    for path in paths {
        let blob = || path.to_string();
        if let Some(found) = path
            .export_name()
            .filter(|name| *name != settings.dataset.export_name)
        {
            return Err(PipelineError::OtherExport {
                blob: blob(),
                found: found.to_owned(),
                dataset: settings.dataset.name.clone(),
                expected: settings.dataset.export_name.clone(),
            });
        }
        let time = listed_time
            .or(path.generated_time())
            .or(settings.source.generated_time);
        let time = time.ok_or_else(|| PipelineError::UnknownTime { blob: blob() })?;
        let time = checked_time(time, || format!("blob {path}"))?;
        let org_id = path.org_id().or(settings.source.org_id.as_ref()).cloned();
        let org_id = org_id.ok_or_else(|| PipelineError::UnknownOrganisation { blob: blob() })?;
        // Paths of different times are of different snapshots, whatever the listing says of its own.
        groups
            .entry((time, org_id, path.generated_time()))
            .or_default()
            .push(path);
    }
    let snapshot = |generated_time, org_id| Snapshot {
        dataset: settings.dataset.name.clone(),
        org_id,
        generated_time,
    };
    Ok(groups
        .into_iter()
        .map(|((time, org_id, _), paths)| (snapshot(time, org_id), paths))
        .collect())
}

/// Refuses a time whose snapshot could not be read back, before anything is written.
fn checked_time(
    time: DateTime<Utc>,
    origin: impl FnOnce() -> String,
) -> Result<DateTime<Utc>, PipelineError> {
    Snapshot::checked_time(time).map_err(|source| PipelineError::ImpossibleTime {
        origin: origin(),
        source,
    })
}

fn ids(snapshots: &[BlobsOfSnapshot]) -> Vec<SnapshotId> {
    snapshots
        .iter()
        .map(|(snapshot, _)| snapshot.id())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::Place;

    #[test]
    fn an_empty_listing_is_a_snapshot_only_if_allowed_and_of_a_known_organisation_and_time() {
        let place = Place::new();
        let time: DateTime<Utc> = "2022-07-26T10:01:00Z".parse().unwrap();
        let empty = |overrides: &[&str], listed_time| {
            empty_snapshot(&place.settings(overrides), listed_time)
        };
        let (allowed, org_id) = (
            "gate.allow_empty=true",
            "source.org_id=47d41a0c-188d-46d3-bbea-a93dbc0bfcaa",
        );
        assert_eq!(empty(&[org_id], Some(time)), Err(Refusal::EmptyListing));
        let unknown = |what| Err(Refusal::EmptyListingOfUnknown { what });
        assert_eq!(empty(&[allowed], Some(time)), unknown("which organisation"));
        assert_eq!(empty(&[allowed, org_id], None), unknown("which time"));
        let known = empty(&[allowed, org_id], Some(time)).unwrap();
        assert_eq!(known.id().as_str(), "20220726T100100Z-47d41a0c");
        let set = "source.generated_time=2022-07-27T10:01:00Z";
        let known = empty(&[allowed, org_id, set], None).unwrap();
        assert_eq!(known.id().as_str(), "20220727T100100Z-47d41a0c");
    }

    #[test]
    fn a_blob_path_of_an_impossible_time_is_refused() {
        let place = Place::new();
        let of_date = |date: &str| {
            let path = format!(
                "{date}/1001/InfoGatheringExport/json/OrgId=47d41a0c-188d-46d3-bbea-a93dbc0bfcaa/part.json.gz"
            );
            let paths = [BlobPath::parse(&path).unwrap()].into_iter();
            by_snapshot(&place.settings(&[]), paths, None)
        };
        assert_eq!(of_date("2000-01-01").unwrap().len(), 1);
        for date in ["1999-12-31", "0000-01-01", "-0001-1-01", "+10000-1-1"] {
            let error = of_date(date).unwrap_err();
            assert!(
                matches!(error, PipelineError::ImpossibleTime { .. }),
                "{date}: {error}"
            );
            assert!(error.to_string().contains(date), "{error}");
            assert!(!error.is_configuration());
        }
    }
}
