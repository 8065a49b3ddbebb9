//! The end of what runs leave for people: reports, and quarantined records of snapshots that were not published.

use chrono::{DateTime, TimeDelta, Utc};
use dataset::SnapshotId;

use crate::error::Result;
use crate::layout;
use crate::table::latest::Latest;
use crate::table::state::{Table, TableState};

/// How long a run report is kept: nobody asks for it after three months.
const REPORTS_KEPT_FOR: TimeDelta = TimeDelta::days(90);
/// How long quarantined records are kept of a snapshot that was refused.
const REFUSED_KEPT_FOR: TimeDelta = TimeDelta::days(30);
/// The same where a later run of the snapshot was refused, too, and left its own.
const REFUSED_AGAIN_KEPT_FOR: TimeDelta = TimeDelta::days(1);
/// Old reports are looked for with every commit that makes this many: a listing each time would cost more than they do.
const COMMITS_BETWEEN: u64 = 10;

/// Whether an object is a run report that nobody asks for any more.
pub(crate) fn is_old_report(dataset: &str, path: &str, now: DateTime<Utc>) -> bool {
    let run = path
        .strip_prefix(&layout::run_reports(dataset))
        .and_then(|name| name.strip_prefix('/')?.strip_suffix(".json"));
    run.and_then(|run| age_of(run, now))
        .is_some_and(|age| age > REPORTS_KEPT_FOR)
}

/// Whether an object has quarantined records that nobody looks at any more, if their snapshot is not published.
pub(crate) fn is_old_quarantine(dataset: &str, path: &str, now: DateTime<Utc>) -> bool {
    quarantined(dataset, path, now).is_some_and(|(_, age)| age > REFUSED_KEPT_FOR)
}

/// The snapshot whose quarantined records an object has, and how long ago their run began.
fn quarantined(dataset: &str, path: &str, now: DateTime<Utc>) -> Option<(SnapshotId, TimeDelta)> {
    let (snapshot, run) = layout::run_of_quarantined(dataset, path)?;
    Some((snapshot, age_of(run, now)?))
}

fn age_of(run_id: &str, now: DateTime<Utc>) -> Option<TimeDelta> {
    let (begun, _) = layout::time_and_rest(run_id)?;
    Some(now.signed_duration_since(begun))
}

/// Deletes old reports, now and then.
pub(crate) async fn delete_old_reports(table: &Table<'_>, state: &TableState) -> Result<()> {
    let commits = match state.log.version {
        Some(version) => version + 1,
        None => state.latest.snapshots.len() as u64,
    };
    if !commits.is_multiple_of(COMMITS_BETWEEN) {
        return Ok(());
    }
    let reports = table.lake.list(&layout::run_reports(table.dataset)).await?;
    let paths = reports.into_iter().map(|report| report.path);
    let old: Vec<String> = paths
        .filter(|path| is_old_report(table.dataset, path, table.now))
        .collect();
    table.lake.delete(&old).await
}

/// Deletes what earlier runs have quarantined of a snapshot that was refused again now, and old records of others that were never
/// published: a service that sends nonsense must not fill the lake.
///
/// # Errors
/// What the store answers.
pub async fn delete_old_quarantine(table: &Table<'_>, refused: &SnapshotId) -> Result<()> {
    let (lake, dataset) = (table.lake, table.dataset);
    let found = lake.list(&layout::quarantines(dataset)).await?.into_iter();
    let old = found.filter_map(|object| {
        let (snapshot, age) = quarantined(dataset, &object.path, table.now)?;
        let kept_for = match snapshot == *refused {
            true => REFUSED_AGAIN_KEPT_FOR,
            false => REFUSED_KEPT_FOR,
        };
        (age > kept_for).then_some((snapshot, object.path))
    });
    let old: Vec<(SnapshotId, String)> = old.collect();
    if old.is_empty() {
        return Ok(());
    }
    let latest = Latest::read(lake, dataset).await?;
    let is_unpublished = |of: &SnapshotId| !latest.is_current(of) && latest.retired(of).is_none();
    let unpublished = old.into_iter().filter(|(of, _)| is_unpublished(of));
    let paths: Vec<String> = unpublished.map(|(_, path)| path).collect();
    lake.delete(&paths).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{committed, lakes, now, snapshot, table};

    #[test]
    fn reports_are_old_by_the_time_in_their_name() {
        let of = |run_id: &str| layout::run_report("devices", run_id);
        let is_old = |path: &str| is_old_report("devices", path, now());
        assert!(is_old(&of("20250901T100000Z-0a1b2c3d")));
        assert!(!is_old(&of("20251101T100000Z-0a1b2c3d")));
        assert!(!is_old(&of("by hand")));
        assert!(!is_old(
            "_lake/devices/snapshots/20210401T100000Z-0a1b2c3d.json"
        ));
    }

    #[tokio::test]
    async fn the_tenth_commit_deletes_old_reports() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            let (old, young) = ("20250101T000000Z-0a1b2c3d", "20251225T000000Z-0a1b2c3d");
            for run_id in [old, young] {
                let path = layout::run_report("devices", run_id);
                lake.put(&path, "{}".into()).await.unwrap();
            }
            let is_there = async |run_id: &str| {
                let path = layout::run_report("devices", run_id);
                lake.get(&path).await.unwrap().is_some()
            };
            for day in 11..=19 {
                committed(&lake, &snapshot(day, 10), &format!("run {day}"), 2).await;
            }
            assert!(is_there(old).await);
            committed(&lake, &snapshot(20, 10), "run 20", 2).await;
            assert!(!is_there(old).await);
            assert!(is_there(young).await);
        }
    }

    #[tokio::test]
    async fn what_refused_runs_quarantined_goes_by_age_and_what_is_published_stays() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            let (published, refused) = (snapshot(26, 10), snapshot(27, 10));
            committed(&lake, &published, "run", 2).await;
            let of = |snapshot: &dataset::Snapshot, run_id: &str| {
                layout::quarantine_file("devices", &snapshot.id(), run_id, "part-00000-0000")
            };
            let (long_ago, days_ago) = ("20251101T000000Z-0a1b2c3d", "20251229T000000Z-0a1b2c3d");
            let today = "20251231T230000Z-0a1b2c3d";
            let gone = [
                of(&refused, long_ago),
                of(&refused, days_ago),
                of(&snapshot(25, 10), long_ago),
            ];
            let kept = [
                of(&published, long_ago),
                of(&refused, today),
                of(&snapshot(25, 10), days_ago),
            ];
            for path in gone.iter().chain(&kept) {
                lake.put(path, "{}".into()).await.unwrap();
            }
            delete_old_quarantine(&table(&lake), &refused.id())
                .await
                .unwrap();
            for path in gone {
                assert_eq!(lake.get(&path).await.unwrap(), None, "{path}");
            }
            for path in kept {
                assert!(lake.get(&path).await.unwrap().is_some(), "{path}");
            }
        }
    }
}
