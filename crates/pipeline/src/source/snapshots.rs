//! Which snapshots blobs are of: by what the API says, their paths and the settings.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use dataset::{BlobPath, Snapshot, SnapshotId};

use crate::error::PipelineError;
use crate::refusal::Refusal;
use crate::settings::Settings;

/// The snapshot of a listing without blobs, where that may be published and is known.
pub(super) fn empty_snapshot(
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

/// A snapshot and its blobs.
pub(super) type BlobsOfSnapshot = (Snapshot, Vec<BlobPath>);

/// The snapshots that blobs are of, oldest first. What the API says of the time goes before what a path says, and both before
/// the settings; a path's organisation goes before the settings'.
pub(super) fn by_snapshot(
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
pub(super) fn checked_time(
    time: DateTime<Utc>,
    origin: impl FnOnce() -> String,
) -> Result<DateTime<Utc>, PipelineError> {
    Snapshot::checked_time(time).map_err(|source| PipelineError::ImpossibleTime {
        origin: origin(),
        source,
    })
}

pub(super) fn ids(snapshots: &[BlobsOfSnapshot]) -> Vec<SnapshotId> {
    snapshots
        .iter()
        .map(|(snapshot, _)| snapshot.id())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_kind::ErrorKind;
    use crate::fixtures::Place;

    #[test]
    fn an_empty_listing_is_a_snapshot_only_if_allowed_and_known() {
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
            assert!(error.kind() != ErrorKind::Configuration);
        }
    }
}
