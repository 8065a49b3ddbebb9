//! The end of run reports: nobody asks for them after three months.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use crate::error::Result;
use crate::layout;
use crate::table::state::{Table, TableState};

/// How long a run report is kept.
const KEPT_FOR: TimeDelta = TimeDelta::days(90);
/// Old reports are looked for with every commit that makes this many: a listing each time would cost more than they do.
const COMMITS_BETWEEN: u64 = 10;

/// Whether an object is a run report that nobody asks for any more. Ids of runs begin with their time.
pub(crate) fn is_old(dataset: &str, path: &str, now: DateTime<Utc>) -> bool {
    let name = path
        .strip_prefix(&layout::run_reports(dataset))
        .and_then(|name| name.strip_prefix('/')?.strip_suffix(".json"));
    let time = name
        .and_then(|run_id| run_id.split_once('-'))
        .map(|(time, _)| time);
    let time = time.and_then(|time| NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%SZ").ok());
    time.is_some_and(|time| now.signed_duration_since(time.and_utc()) > KEPT_FOR)
}

/// Deletes old reports, now and then.
pub(crate) async fn delete_old(table: &Table<'_>, state: &TableState) -> Result<()> {
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
        .filter(|path| is_old(table.dataset, path, table.now))
        .collect();
    table.lake.delete(&old).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{committed, lakes, now, snapshot};

    #[test]
    fn reports_are_old_by_the_time_in_their_name() {
        let of = |run_id: &str| layout::run_report("devices", run_id);
        let is_old = |path: &str| is_old("devices", path, now());
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
}
