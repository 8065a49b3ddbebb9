use super::*;
use crate::fixtures::{committed, dataset, lakes, now, snapshot, table, table_of};
use crate::read_manifest;
use crate::table::manifest::Manifest;
use crate::table::settings::TableFormat;

type Told = (Option<u64>, BTreeSet<String>, Option<Value>, Option<i64>);

/// What a state tells: version, files with partition and size, columns, and the last transaction.
async fn told(log: &DeltaLog, state: &LogState) -> Told {
    let files = state.files().unwrap().iter();
    let files = files.map(|file| format!("{} {} {}", file.path, file.partition, file.size));
    let metadata = state.table.as_ref();
    let metadata = metadata.map(|table| log.in_json(&table.metadata).unwrap());
    let transaction = log.transaction(state, "app").await.unwrap();
    (state.version, files.collect(), metadata, transaction)
}

fn entry<'a>(
    columns: &'a Dataset,
    add: &'a Manifest,
    remove: Vec<SnapshotId>,
    transaction: i64,
) -> LogEntry<'a> {
    LogEntry {
        columns: Some(columns),
        retire_after: Duration::ZERO,
        of: Some(add.snapshot.clone()),
        add: add.files.iter().collect(),
        remove,
        removed: Vec::new(),
        transaction: Some(("app".to_owned(), transaction)),
        operation: "WRITE",
        info: Map::new(),
        committed_at: now(),
    }
}

/// Manifests of two snapshots of a table without a log.
async fn manifests(lake: &Lake) -> [Manifest; 2] {
    let mut manifests = Vec::new();
    for hour in [10, 11] {
        let run_id = format!("run {hour}");
        let request = crate::fixtures::staged(lake, &snapshot(26, hour), &run_id, 150).await;
        let table = table_of(lake, TableFormat::Parquet, Duration::ZERO);
        match crate::publish(&table, &request).await.unwrap() {
            crate::PublishOutcome::Committed { manifest, .. } => manifests.push(*manifest),
            other => panic!("not committed: {other:?}"),
        }
    }
    manifests.try_into().unwrap()
}

#[tokio::test]
async fn the_state_after_an_entry_is_what_reading_the_log_gives() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let log = table(&lake).log;
        let ([first, second], columns) = (manifests(&lake).await, dataset());
        let mut state = LogState::default();
        let entries = [
            entry(&columns, &first, Vec::new(), 1),
            entry(&columns, &second, vec![first.snapshot.clone()], 2),
        ];
        for (version, entry) in (0..).zip(entries) {
            let written = log.commit(&mut state, entry).await.unwrap();
            assert_eq!(
                (written, state.version),
                (ConditionalPut::Done, Some(version))
            );
            let read = log.read(None).await.unwrap();
            assert_eq!(told(&log, &state).await, told(&log, &read).await);
        }
        assert_eq!(
            state
                .paths_by_snapshot()
                .unwrap()
                .into_keys()
                .collect::<Vec<_>>(),
            [&second.snapshot]
        );
    }
}

/// Ten entries, each of which replaces what the one before added; the last gives the table properties.
async fn ten_entries(lake: &Lake, log: &DeltaLog, properties: Value) -> [Manifest; 2] {
    let (manifests, columns) = (manifests(lake).await, dataset());
    let mut state = LogState::default();
    for version in 0..9 {
        let [added, removed] = [version % 2, 1 - version % 2].map(|index| &manifests[index]);
        let removed = vec![removed.snapshot.clone()];
        let entry = entry(&columns, added, removed, version as i64);
        assert_eq!(
            log.commit(&mut state, entry).await.unwrap(),
            ConditionalPut::Done
        );
    }
    let table = state.table.as_ref().unwrap();
    let mut metadata = log.in_json(&table.metadata).unwrap();
    metadata["configuration"] = properties;
    let last = json!({"metaData": metadata}).to_string();
    let path = format!("{}/{:020}.json", layout::delta_log(&log.dataset), 9);
    lake.put(&path, last.into()).await.unwrap();
    // The log's files are of a time before what comes next.
    tokio::time::sleep(Duration::from_millis(5)).await;
    manifests
}

/// Names of what the log's folder holds.
async fn names(lake: &Lake, log: &DeltaLog) -> BTreeSet<String> {
    let folder = layout::delta_log(&log.dataset);
    let files = lake.list(&folder).await.unwrap().into_iter();
    files
        .map(|file| file.path[folder.len() + 1..].to_owned())
        .collect()
}

#[tokio::test]
async fn a_checkpoint_tells_what_its_entries_told() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let log = table(&lake).log;
        let kept_for = json!({"delta.logRetentionDuration": "interval 0 seconds"});
        let [in_table, _] = ten_entries(&lake, &log, kept_for).await;
        let before = log.read(None).await.unwrap();
        let before = told(&log, &before).await;
        let before_checkpoint = names(&lake, &log).await;
        log.maintain(Some(8)).await;
        assert_eq!(names(&lake, &log).await, before_checkpoint);
        log.maintain(Some(9)).await;
        let checkpoint = "00000000000000000009.checkpoint.parquet";
        let expected = ["00000000000000000009.json", checkpoint, "_last_checkpoint"];
        assert_eq!(
            names(&lake, &log).await,
            expected.map(str::to_owned).into_iter().collect()
        );
        let after = log.read(None).await.unwrap();
        assert_eq!(told(&log, &after).await, before);

        let folder = layout::delta_log(&log.dataset);
        let file = async |name| lake.get(&format!("{folder}/{name}")).await.unwrap();
        let told: Value = serde_json::from_slice(&file("_last_checkpoint").await.unwrap()).unwrap();
        let bytes = file(checkpoint).await.unwrap();
        let added = in_table.files.len();
        assert_eq!(told["version"], 9);
        // With protocol, metadata and transaction.
        assert_eq!(
            (&told["size"], &told["numOfAddFiles"]),
            (&json!(3 + added), &json!(added))
        );
        assert_eq!(told["sizeInBytes"], bytes.len());
    }
}

#[tokio::test]
async fn entries_stay_while_they_are_young_or_the_table_keeps_them() {
    let none = "interval 0 seconds";
    for properties in [
        json!({}),
        json!({"delta.logRetentionDuration": none, "delta.enableExpiredLogCleanup": "false"}),
        json!({"delta.logRetentionDuration": "interval 99999999999 weeks"}),
    ] {
        let (_folder, [lake, ..]) = lakes();
        let log = DeltaLog::new(&lake, "devices", false);
        ten_entries(&lake, &log, properties).await;
        let mut expected = names(&lake, &log).await;
        log.maintain(Some(9)).await;
        expected.extend([
            "00000000000000000009.checkpoint.parquet".to_owned(),
            "_last_checkpoint".to_owned(),
        ]);
        assert_eq!(names(&lake, &log).await, expected);
    }
}

#[tokio::test]
async fn a_lost_race_leaves_the_state_as_it_was() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let log = table(&lake).log;
        let ([first, second], columns) = (manifests(&lake).await, dataset());
        let mut loser = LogState::default();
        let won = entry(&columns, &first, Vec::new(), 1);
        let won = log.commit(&mut LogState::default(), won).await.unwrap();
        assert_eq!(won, ConditionalPut::Done);
        let lost = entry(&columns, &second, Vec::new(), 2);
        assert_ne!(
            log.commit(&mut loser, lost).await.unwrap(),
            ConditionalPut::Done
        );
        assert_eq!(
            told(&log, &loser).await,
            (None, BTreeSet::new(), None, None)
        );
    }
}

#[tokio::test]
async fn a_table_of_an_earlier_version_gets_its_statistics_columns() {
    let (_folder, [lake, ..]) = lakes();
    let log = table(&lake).log;
    let theirs = json!({"delta.logRetentionDuration": "interval 1 day"});
    let [first, second] = ten_entries(&lake, &log, theirs.clone()).await;
    let mut state = log.read(None).await.unwrap();
    let columns = dataset();
    let entry = entry(&columns, &second, vec![first.snapshot.clone()], 10);
    let written = log.commit(&mut state, entry).await.unwrap();
    assert_eq!(written, ConditionalPut::Done);
    let state = log.read(None).await.unwrap();
    let metadata = log.in_json(&state.table.unwrap().metadata).unwrap();
    let mut expected = theirs;
    expected[STATISTICS_COLUMNS] = json!("device_id,count,seen_time,birthday,generated_time");
    expected[REMOVED_FILES_KEPT] = json!("interval 3600 seconds");
    assert_eq!(metadata["configuration"], expected);
}

#[test]
fn how_long_removed_files_are_kept_is_declared_and_never_shortened() {
    const HOUR: u64 = 60 * 60;
    for (declared, retire_after, expected) in [
        (None, 0, Some(HOUR)),
        (None, 2 * HOUR, Some(2 * HOUR)),
        (Some("interval 3600 seconds"), 2 * HOUR, Some(2 * HOUR)),
        (Some("interval 7200 seconds"), HOUR, None),
        (Some("interval 3600 seconds"), 0, None),
        // Not in this program's form: somebody else's word.
        (Some("interval 1 week"), 2 * HOUR, None),
    ] {
        let declared = declared.map(Value::from).unwrap_or_default();
        let expected = expected.map(|seconds| format!("interval {seconds} seconds"));
        assert_eq!(
            removed_files_kept(&declared, Duration::from_secs(retire_after)),
            expected,
            "{declared} {retire_after}"
        );
    }
}

#[tokio::test]
async fn a_table_that_asks_for_more_of_its_writers_is_refused() {
    let (_folder, [lake, ..]) = lakes();
    let snapshot = snapshot(26, 10);
    committed(&lake, &snapshot, "run", 150).await;
    let id = snapshot.id();
    let manifest = read_manifest(&lake, "devices", &id).await.unwrap();
    let manifest = manifest.unwrap();
    let log = DeltaLog::new(&lake, "devices", false);
    let columns = dataset();
    let append_only = json!({"configuration": {"delta.appendOnly": "true"}});
    for (protocol, metadata, expected) in [
        (
            json!({"minReaderVersion": 1, "minWriterVersion": 4}),
            json!({}),
            "`minWriterVersion` 4",
        ),
        (
            json!({"minReaderVersion": 2, "minWriterVersion": 5}),
            json!({}),
            "`minReaderVersion` 2",
        ),
        (
            json!({"minReaderVersion": 3, "minWriterVersion": 7,
                "readerFeatures": ["columnMapping"], "writerFeatures": ["columnMapping"]}),
            json!({}),
            "`columnMapping`",
        ),
        (
            json!({"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["rowTracking"]}),
            json!({}),
            "`rowTracking`",
        ),
        (
            json!({"minReaderVersion": 1, "minWriterVersion": 2}),
            append_only,
            "append-only",
        ),
        (
            json!({"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["appendOnly"]}),
            json!({}),
            "",
        ),
    ] {
        let mut state = log.read(None).await.unwrap();
        let table = state.table.as_mut().unwrap();
        table.protocol = serde_json::from_value(protocol).unwrap();
        let mut changed = serde_json::to_value(&table.metadata).unwrap();
        if let (Some(changed), Some(metadata)) = (changed.as_object_mut(), metadata.as_object()) {
            changed.extend(metadata.clone());
        }
        table.metadata = serde_json::from_value(changed).unwrap();
        let entry = entry(&columns, &manifest, vec![snapshot.id()], 2);
        match log.commit(&mut state, entry).await {
            Ok(version) => assert_eq!((version, expected), (ConditionalPut::Done, "")),
            Err(error) => assert!(error.to_string().contains(expected), "{error}"),
        }
    }
}

#[test]
fn bounds_are_widened_to_milliseconds_and_stay_within_year_9999() {
    const END: i64 = 253_402_300_800_000_000; // 10000-01-01T00:00:00Z, in microseconds
    let times = |min, max| in_json(&Bounds::Timestamp { min, max });
    assert_eq!(
        times(-1_500, 1_500),
        Some((
            json!("1969-12-31T23:59:59.998Z"),
            json!("1970-01-01T00:00:00.002Z")
        ))
    );
    let last = "9999-12-31T23:59:59.999Z";
    assert_eq!(
        times(END - 1_001, END - 1_000),
        Some((json!("9999-12-31T23:59:59.998Z"), json!(last)))
    );
    for before_the_end in [999, 1] {
        let (min, max) = times(END - 1, END - before_the_end).unwrap();
        assert_eq!(min, last);
        assert_eq!(
            max,
            json!(format!(
                "9999-12-31T23:59:59.{:06}Z",
                1_000_000 - before_the_end
            ))
        );
    }
    assert_eq!(times(0, END), None);
    assert_eq!(times(i64::MIN, i64::MAX), None);
    let dates = |min, max| in_json(&Bounds::Date { min, max });
    assert_eq!(
        dates(-1, 2_932_896),
        Some((json!("1969-12-31"), json!("9999-12-31")))
    );
    assert_eq!(dates(0, 2_932_897), None);
    assert_eq!(dates(i32::MIN, 0), None);
}

#[test]
fn checkpoints_of_long_logs_are_further_apart() {
    let due_after = |last: u64| {
        (last + 1..)
            .find(|version| is_due(*version, Some(last)))
            .unwrap()
            - last
    };
    assert!(is_due(9, None));
    assert_eq!(
        [9, 199, 399, 999, 9_999].map(due_after),
        [10, 10, 19, 49, 50]
    );
}
