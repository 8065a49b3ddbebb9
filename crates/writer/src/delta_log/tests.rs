use super::*;
use crate::fixtures::{committed, dataset, lakes, now, settings_of, snapshot, table_settings};
use crate::manifest::Manifest;
use crate::table::TableFormat;

type Told = (Option<u64>, BTreeSet<String>, Option<Value>, Option<i64>);

/// What a state tells: version, files with partition and size, columns, and the last transaction.
async fn told(log: &DeltaLog, state: &LogState) -> Told {
    let files = state.files.iter();
    let files = files.map(|file| format!("{} {} {}", file.path, file.partition, file.size));
    let metadata = state.table.as_ref();
    let metadata = metadata.map(|table| log.in_json(&table.metadata).unwrap());
    let transaction = state.transaction("devices", "app").await.unwrap();
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
        add: add.files.iter().collect(),
        remove,
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
        let request = crate::CommitRequest {
            table: table_settings(TableFormat::Parquet),
            ..crate::fixtures::staged(lake, &snapshot(26, hour), &format!("run {hour}"), 150).await
        };
        match crate::commit(lake, &request).await.unwrap() {
            crate::CommitOutcome::Committed { manifest, .. } => manifests.push(*manifest),
            other => panic!("not committed: {other:?}"),
        }
    }
    manifests.try_into().unwrap()
}

#[tokio::test]
async fn the_state_after_an_entry_is_what_reading_the_log_gives() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let log = DeltaLog::new(&lake, "devices", settings_of(&lake).single_writer);
        let ([first, second], columns) = (manifests(&lake).await, dataset());
        let mut state = LogState::default();
        let entries = [
            entry(&columns, &first, Vec::new(), 1),
            entry(&columns, &second, vec![first.snapshot.clone()], 2),
        ];
        for (version, entry) in (0..).zip(entries) {
            let written = log.commit(&mut state, entry).await.unwrap();
            assert_eq!(written, Some(version));
            let read = log.read(LogState::default()).await.unwrap();
            assert_eq!(told(&log, &state).await, told(&log, &read).await);
        }
        assert_eq!(
            state.snapshots().into_iter().collect::<Vec<_>>(),
            [&second.snapshot]
        );
    }
}

#[tokio::test]
async fn a_lost_race_leaves_the_state_as_it_was() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let log = DeltaLog::new(&lake, "devices", settings_of(&lake).single_writer);
        let ([first, second], columns) = (manifests(&lake).await, dataset());
        let mut loser = LogState::default();
        let won = entry(&columns, &first, Vec::new(), 1);
        log.commit(&mut LogState::default(), won).await.unwrap();
        let lost = entry(&columns, &second, Vec::new(), 2);
        assert_eq!(log.commit(&mut loser, lost).await.unwrap(), None);
        assert_eq!(
            told(&log, &loser).await,
            (None, BTreeSet::new(), None, None)
        );
    }
}

#[tokio::test]
async fn a_table_that_asks_for_more_of_its_writers_is_refused() {
    let (_folder, [lake, ..]) = lakes();
    let snapshot = snapshot(26, 10);
    committed(&lake, &snapshot, "run", 150).await;
    let id = snapshot.id();
    let manifest = Manifest::read(&lake, "devices", &id).await.unwrap();
    let manifest = manifest.unwrap();
    let log = DeltaLog::new(&lake, "devices", false);
    let columns = dataset();
    let append_only = json!({"configuration": {"delta.appendOnly": "true"}});
    for (protocol, metadata, expected) in [
        (
            json!({"minReaderVersion": 1, "minWriterVersion": 4}),
            json!({}),
            "writer version 4",
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
        let mut state = log.read(LogState::default()).await.unwrap();
        let table = state.table.as_mut().unwrap();
        table.protocol = serde_json::from_value(protocol).unwrap();
        let mut changed = serde_json::to_value(&table.metadata).unwrap();
        if let (Some(changed), Some(metadata)) = (changed.as_object_mut(), metadata.as_object()) {
            changed.extend(metadata.clone());
        }
        table.metadata = serde_json::from_value(changed).unwrap();
        let entry = entry(&columns, &manifest, vec![snapshot.id()], 2);
        match log.commit(&mut state, entry).await {
            Ok(version) => assert_eq!((version, expected), (Some(1), "")),
            Err(error) => assert!(error.to_string().contains(expected), "{error}"),
        }
    }
}
