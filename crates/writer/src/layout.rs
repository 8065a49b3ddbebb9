//! Where everything is in a lake, as paths from its root with `/` between the names. Pure; touches no store.
//!
//! | path | what |
//! |---|---|
//! | `<dataset>/generated_date=…/<partition column>=…/part-<snapshot id>-<number>.parquet` | the table |
//! | `<dataset>/_delta_log/…` | its log, with `format = "delta"`; else nothing is below `<dataset>` |
//! | `_lake/<dataset>/latest.json` | the current snapshot of each organisation and date; of recent dates where there are many |
//! | `_lake/<dataset>/latest/<time>-<random>.json` | those of older dates, in the one document that `latest.json` names |
//! | `_lake/<dataset>/snapshots/<snapshot id>.json` | manifest; `<snapshot id>.<run id>.json` after an append |
//! | `_lake/<dataset>/intents/<run id>.json` | what a commit is about to publish; gone when it is done |
//! | `_lake/<dataset>/refused/…` | what stood in the place of an intent and is none |
//! | `_lake/<dataset>/begun/<run id>.json` | the same, of version 1 of this layout |
//! | `_lake/<dataset>/layout.json` | the version of this layout; version 1 had no such document |
//! | `_lake/<dataset>/quarantine/<snapshot id>/…` | bad records |
//! | `_lake/<dataset>/runs/<run id>.json` | run report |
//! | `_lake/<dataset>/staging/<run id>/…` | files not yet visible on local disk; notes of open uploads on S3 |
//! | `_lake/<dataset>/staging/<run id>.lock` | held while a run lives on local disk; its lease elsewhere |
//! | `_lake/<dataset>/commit.lock` | held while a commit runs, on local disk only |

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use dataset::{GENERATED_DATE, Partition, SnapshotId};
use uuid::Uuid;

use crate::error::{Error, Result};

/// Version of the table's files, written into every Parquet footer.
pub const LAYOUT_VERSION: u32 = 1;

/// Version of the control documents, in `layout.json`. A writer refuses a lake with a later one.
pub(crate) const CONTROL_VERSION: u32 = 2;

/// How a time stands in the names of runs and documents.
const TIME: &str = "%Y%m%dT%H%M%SZ";

/// Folder of the control documents of all datasets.
pub const CONTROL: &str = "_lake";

/// Folder of a dataset's table.
pub fn table(dataset: &str) -> String {
    dataset.to_owned()
}

/// Folder of all partitions of one date.
pub fn date_folder(dataset: &str, date: NaiveDate) -> String {
    format!("{}/{GENERATED_DATE}={date}", table(dataset))
}

/// Folder of the table's Delta log.
pub fn delta_log(dataset: &str) -> String {
    format!("{}/_delta_log", table(dataset))
}

/// The folder of an object.
pub(crate) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The snapshot that a Parquet file of the table is part of, by its name.
pub fn snapshot_of_part(path: &str) -> Option<SnapshotId> {
    let name = path.rsplit('/').next()?;
    let stem = name.strip_prefix("part-")?.strip_suffix(".parquet")?;
    let (snapshot, number) = stem.rsplit_once('-')?;
    number.parse::<u32>().ok()?;
    snapshot.parse().ok()
}

/// Whether a path is that of a file that some snapshot of a table can have.
pub(crate) fn is_part_of_table(dataset: &str, path: &str) -> bool {
    let below = path.strip_prefix(&table(dataset));
    below.is_some_and(|below| below.starts_with('/'))
        && is_within_lake(path)
        && snapshot_of_part(path).is_some()
}

/// Whether a path is that of a file that a snapshot can have in a partition.
pub(crate) fn is_part(
    dataset: &str,
    partition: &Partition,
    snapshot: &SnapshotId,
    path: &str,
) -> bool {
    let number = path
        .strip_suffix(".parquet")
        .and_then(|stem| stem.rsplit_once('-'))
        .and_then(|(_, number)| number.parse().ok());
    number.is_some_and(|number| path == part(dataset, partition, snapshot, number))
}

/// A Parquet file of the table. The number has at least five digits.
pub fn part(dataset: &str, partition: &Partition, snapshot: &SnapshotId, number: u32) -> String {
    format!(
        "{}/{partition}/part-{snapshot}-{number:05}.parquet",
        table(dataset)
    )
}

/// Folder of a dataset's control documents.
pub fn control(dataset: &str) -> String {
    format!("{CONTROL}/{dataset}")
}

/// Folder of the manifests.
pub fn manifests(dataset: &str) -> String {
    format!("{}/snapshots", control(dataset))
}

/// The manifest of a snapshot.
pub fn manifest(dataset: &str, snapshot: &SnapshotId) -> String {
    format!("{}/{snapshot}.json", manifests(dataset))
}

/// Whether a path is that of a manifest that a snapshot can have.
pub(crate) fn is_manifest(dataset: &str, snapshot: &SnapshotId, path: &str) -> bool {
    let name = path
        .strip_prefix(&manifests(dataset))
        .and_then(|name| name.strip_prefix('/')?.strip_suffix(".json"));
    let below = name.and_then(|name| name.strip_prefix(snapshot.as_str()));
    let is_of_run_id =
        |c: char| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '/' | '\\' | '"' | '\'');
    below.is_some_and(|below| {
        let run = below.strip_prefix('.');
        below.is_empty() || run.is_some_and(|run| !run.is_empty() && run.chars().all(is_of_run_id))
    })
}

/// Folder of the intents of commits under way.
pub(crate) fn intents(dataset: &str) -> String {
    format!("{}/intents", control(dataset))
}

/// Where version 1 of this layout had them.
pub(crate) fn old_intents(dataset: &str) -> String {
    format!("{}/begun", control(dataset))
}

/// The intent of a run's commit.
pub(crate) fn intent(dataset: &str, run_id: &str) -> String {
    format!("{}/{run_id}.json", intents(dataset))
}

/// The same in version 1 of this layout.
pub(crate) fn old_intent(dataset: &str, run_id: &str) -> String {
    format!("{}/{run_id}.json", old_intents(dataset))
}

/// Where what was found in the place of an intent is kept for people.
pub(crate) fn refused_intent(dataset: &str, path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    format!("{}/refused/{name}", control(dataset))
}

/// The version of this layout.
pub(crate) fn version(dataset: &str) -> String {
    format!("{}/layout.json", control(dataset))
}

/// Folders whose documents are replaced by way of temporary files, on local disk.
pub(crate) fn folders_of_documents(dataset: &str) -> [String; 6] {
    [
        control(dataset),
        older_folder(dataset),
        manifests(dataset),
        intents(dataset),
        old_intents(dataset),
        run_reports(dataset),
    ]
}

/// The manifest of a snapshot that a run appended to. `latest` tells which manifest is current.
pub fn appended_manifest(dataset: &str, snapshot: &SnapshotId, run_id: &str) -> String {
    format!("{}/{snapshot}.{run_id}.json", manifests(dataset))
}

/// The pointer to the current snapshots.
pub fn latest(dataset: &str) -> String {
    format!("{}/latest.json", control(dataset))
}

/// Folder of what the pointer does not hold itself.
fn older_folder(dataset: &str) -> String {
    format!("{}/latest", control(dataset))
}

/// A new document of current snapshots of older dates.
pub(crate) fn older(dataset: &str, now: DateTime<Utc>) -> String {
    let random = Uuid::new_v4().simple().to_string();
    let (folder, time) = (older_folder(dataset), now.format(TIME));
    format!("{folder}/{time}-{}.json", &random[..8])
}

/// When such a document was written. `None`: the path is not one of these.
pub(crate) fn older_written_at(dataset: &str, path: &str) -> Option<DateTime<Utc>> {
    let name = path
        .strip_prefix(&older_folder(dataset))?
        .strip_prefix('/')?;
    let (time, random) = time_and_rest(name.strip_suffix(".json")?)?;
    let is_random = random.len() == 8 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_random.then_some(time)
}

/// The time with which the names of runs and documents begin, and what comes after it.
pub(crate) fn time_and_rest(name: &str) -> Option<(DateTime<Utc>, &str)> {
    let (time, rest) = name.split_once('-')?;
    let time = NaiveDateTime::parse_from_str(time, TIME).ok()?;
    Some((time.and_utc(), rest))
}

/// Folder of the quarantined records of all snapshots.
pub fn quarantines(dataset: &str) -> String {
    format!("{}/quarantine", control(dataset))
}

/// Folder of a snapshot's quarantined records.
pub fn quarantine(dataset: &str, snapshot: &SnapshotId) -> String {
    format!("{}/{snapshot}", quarantines(dataset))
}

/// A file of records that a run's part has quarantined: several numbered ones where there are many.
pub fn quarantine_file(dataset: &str, snapshot: &SnapshotId, run_id: &str, name: &str) -> String {
    format!("{}/{run_id}-{name}.jsonl", quarantine(dataset, snapshot))
}

/// The snapshot whose records a quarantine file holds, and the run that wrote it.
pub(crate) fn run_of_quarantined<'a>(
    dataset: &str,
    path: &'a str,
) -> Option<(SnapshotId, &'a str)> {
    let below = path
        .strip_prefix(&quarantines(dataset))?
        .strip_prefix('/')?;
    let (snapshot, name) = below.split_once('/')?;
    let (run, _) = name.split_once("-part-")?;
    if !is_within_lake(path) || name.contains('/') {
        return None;
    }
    Some((snapshot.parse().ok()?, run))
}

/// Folder of the reports of runs.
pub(crate) fn run_reports(dataset: &str) -> String {
    format!("{}/runs", control(dataset))
}

/// The report of a run.
pub fn run_report(dataset: &str, run_id: &str) -> String {
    format!("{}/{run_id}.json", run_reports(dataset))
}

/// Folder of what runs stage.
pub(crate) fn staging_folder(dataset: &str) -> String {
    format!("{}/staging", control(dataset))
}

/// What a run that stages files holds: a lock on local disk, else a lease.
pub(crate) fn run_lock(dataset: &str, run_id: &str) -> String {
    format!("{}.lock", staging(dataset, run_id))
}

/// The run that staged an object.
pub(crate) fn run_of_staged<'a>(dataset: &str, path: &'a str) -> Option<&'a str> {
    let below = path
        .strip_prefix(&staging_folder(dataset))?
        .strip_prefix('/')?;
    match below.split_once('/') {
        Some((run, _)) => Some(run),
        None => below.strip_suffix(".lock"),
    }
}

/// What a run tries conditional puts on.
pub(crate) fn probe(dataset: &str, run_id: &str) -> String {
    format!("{}/probe-{run_id}", control(dataset))
}

/// Folder of a run's staged files on local disk, and of notes of its open uploads on S3.
pub fn staging(dataset: &str, run_id: &str) -> String {
    format!("{}/staging/{run_id}", control(dataset))
}

/// A run's staged file, on local disk. One flat folder a run: partitions go into the name.
pub fn staged_part(
    dataset: &str,
    run_id: &str,
    partition: &Partition,
    snapshot: &SnapshotId,
    number: u32,
) -> String {
    let value = partition.value;
    format!(
        "{}/{value}-part-{snapshot}-{number:05}.parquet",
        staging(dataset, run_id)
    )
}

/// The lock that a commit holds, on local disk.
pub(crate) fn commit_lock(dataset: &str) -> String {
    format!("{}/commit.lock", control(dataset))
}

/// Refuses a path that leads out of the lake.
pub(crate) fn check(path: &str) -> Result<()> {
    match is_within_lake(path) {
        true => Ok(()),
        false => Err(Error::Malformed {
            path: path.to_owned(),
            message: "path leads out of the lake".to_owned(),
        }),
    }
}

/// Whether a path stays within the lake: no empty, `.` or `..` name, no backslash, no leading `/`.
pub(crate) fn is_within_lake(path: &str) -> bool {
    path.split('/')
        .all(|name| !matches!(name, "" | "." | "..") && !name.contains('\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> Partition {
        Partition {
            generated_date: NaiveDate::from_ymd_opt(2022, 7, 26).unwrap(),
            column: "rbac_group_id".into(),
            value: 1001,
        }
    }

    #[test]
    fn paths_are_those_of_the_documented_layout() {
        let id: SnapshotId = "20220726T100100Z-47d41a0c".parse().unwrap();
        let dataset = "info_gathering";
        assert_eq!(
            part(dataset, &partition(), &id, 5),
            "info_gathering/generated_date=2022-07-26/rbac_group_id=1001/part-20220726T100100Z-47d41a0c-00005.parquet"
        );
        assert_eq!(
            manifest(dataset, &id),
            "_lake/info_gathering/snapshots/20220726T100100Z-47d41a0c.json"
        );
        assert_eq!(latest(dataset), "_lake/info_gathering/latest.json");
        assert_eq!(
            quarantine(dataset, &id),
            "_lake/info_gathering/quarantine/20220726T100100Z-47d41a0c"
        );
        let run = "20220726T110000Z-0a1b2c3d";
        let file = quarantine_file(dataset, &id, run, "part-00005-0000");
        assert_eq!(
            file,
            "_lake/info_gathering/quarantine/20220726T100100Z-47d41a0c/20220726T110000Z-0a1b2c3d-part-00005-0000.jsonl"
        );
        assert_eq!(run_of_quarantined(dataset, &file), Some((id.clone(), run)));
        assert_eq!(
            run_report(dataset, "r1"),
            "_lake/info_gathering/runs/r1.json"
        );
        assert!(
            part(dataset, &partition(), &id, 5)
                .starts_with(&date_folder(dataset, partition().generated_date))
        );
        assert!(
            staged_part(dataset, "r1", &partition(), &id, 5)
                .starts_with("_lake/info_gathering/staging/r1/")
        );
    }

    #[test]
    fn a_part_names_its_snapshot() {
        let id: SnapshotId = "20220726T100100Z-47d41a0c".parse().unwrap();
        let path = part("info_gathering", &partition(), &id, 123_456);
        assert_eq!(snapshot_of_part(&path), Some(id));
        for foreign in [
            "t/part-00000-3c5f0b1c-c000.snappy.parquet",
            "t/part-20220726T100100Z-47d41a0c.parquet",
        ] {
            assert_eq!(snapshot_of_part(foreign), None);
        }
    }

    #[test]
    fn only_paths_that_the_layout_makes_are_those_of_a_snapshot() {
        let id: SnapshotId = "20220726T100100Z-47d41a0c".parse().unwrap();
        let (dataset, partition) = ("info_gathering", partition());
        let path = part(dataset, &partition, &id, 5);
        assert!(is_part(dataset, &partition, &id, &path));
        let other: SnapshotId = "20220726T110100Z-47d41a0c".parse().unwrap();
        for foreign in [
            part(dataset, &partition, &other, 5),
            part("devices", &partition, &id, 5),
            path.replace("1001", "1002"),
            path.replace("-00005", "-5"),
            delta_log(dataset) + "/00000000000000000000.json",
        ] {
            assert!(!is_part(dataset, &partition, &id, &foreign), "{foreign}");
        }
        for path in [manifest(dataset, &id), appended_manifest(dataset, &id, "r")] {
            assert!(is_manifest(dataset, &id, &path), "{path}");
            assert!(!is_manifest(dataset, &other, &path), "{path}");
            assert!(!is_manifest("devices", &id, &path), "{path}");
        }
        let nested = manifest(dataset, &id).replace(".json", "./x.json");
        for foreign in [latest(dataset), manifests(dataset), nested] {
            assert!(!is_manifest(dataset, &id, &foreign), "{foreign}");
        }
    }

    #[test]
    fn a_quarantine_file_names_its_snapshot_and_its_run() {
        let id: SnapshotId = "20220726T100100Z-47d41a0c".parse().unwrap();
        let path = format!(
            "{}/20220726T1105Z-9-part-00001-0000.jsonl",
            quarantine("x", &id)
        );
        assert_eq!(
            run_of_quarantined("x", &path),
            Some((id, "20220726T1105Z-9"))
        );
        assert_eq!(run_of_quarantined("y", &path), None);
    }

    #[test]
    fn paths_that_leave_the_lake_are_seen() {
        for path in ["", "/etc/passwd", "a/../b", "a//b", "..", "a/.", "a\\b"] {
            assert!(!is_within_lake(path), "{path}");
        }
        assert!(is_within_lake("a/b=c/d-1.parquet"));
    }
}
