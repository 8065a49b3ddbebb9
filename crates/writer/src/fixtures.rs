//! What the tests of this crate share: a dataset with every column type, snapshots, batches, lakes of both kinds.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, ListBuilder, MapBuilder,
    MapFieldNames, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, TimeZone, Utc};
use dataset::{Dataset, Partition, Snapshot};
use object_store::memory::InMemory;
use object_store::path::Path;

use crate::parquet::format::Compatibility;
use crate::store::backend::Store;
use crate::store::local_disk::LocalDisk;
use crate::store::remote::Remote;
use crate::{
    BlobCounts, FileFormat, Lake, Manifest, ParquetSettings, PublishOutcome, PublishRequest,
    RowGroupEncoder, SmallFileSpool, StagedFile, StagedFileWriter, Table, TableFormat,
    TableSettings, Verifier, VerifyReport,
};

pub(crate) const ORG: &str = "47d41a0c-188d-46d3-bbea-a93dbc0bfcaa";
pub(crate) const OTHER_ORG: &str = "58e52b1d-188d-46d3-bbea-a93dbc0bfcaa";
/// Small, so that a few rows make several row groups.
pub(crate) const ROW_GROUP_ROWS: usize = 100;

/// `device_id` and a column of every type.
pub(crate) fn dataset() -> Dataset {
    let mut text =
        "name = 'devices'\nmeaning = ''\nendpoint = '/x'\nexport_name = 'X'\npermission = ''\n\
                    unique_key = ['device_id']\n\
                    [partition]\ncolumn = 'rbac_group_id'\nwire = 'RbacGroupId'\nmeaning = ''\n"
            .to_owned();
    let columns = [
        ("tags", "list<string>"),
        ("rules", "map<string, string>"),
        ("device_id", "string"),
        ("is_on", "bool"),
        ("count", "int64"),
        ("score", "float64"),
        ("seen_time", "timestamp"),
        ("birthday", "date"),
        ("raw", "json"),
    ];
    for (name, column_type) in columns {
        let nullable = name != "device_id";
        text += &format!(
            "[[column]]\nname = '{name}'\nwire = 'W{name}'\ntype = '{column_type}'\nnullable = {nullable}\n\
             meaning = 'm'\n"
        );
    }
    Dataset::parse(&text, "devices.toml").unwrap()
}

pub(crate) fn snapshot_of(org: &str, day: u32, hour: u32) -> Snapshot {
    Snapshot {
        dataset: "devices".to_owned(),
        org_id: org.parse().unwrap(),
        generated_time: Utc.with_ymd_and_hms(2022, 7, day, hour, 1, 0).unwrap(),
    }
}

pub(crate) fn snapshot(day: u32, hour: u32) -> Snapshot {
    snapshot_of(ORG, day, hour)
}

pub(crate) fn partition(snapshot: &Snapshot, group: i64) -> Partition {
    Partition {
        generated_date: snapshot.generated_date(),
        column: "rbac_group_id".into(),
        value: group,
    }
}

/// A row of [`dataset`].
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// A list may be null and have items all the same.
    pub(crate) tags: (bool, Vec<Option<String>>),
    pub(crate) rules: (bool, Vec<(String, Option<String>)>),
    pub(crate) device_id: String,
    pub(crate) is_on: Option<bool>,
    pub(crate) count: Option<i64>,
    pub(crate) score: Option<f64>,
    pub(crate) seen_time: Option<i64>,
    pub(crate) birthday: Option<i32>,
    pub(crate) raw: Option<String>,
    pub(crate) rescued_data: Option<String>,
}

/// Rows with the given device numbers. Every seventh value of a nullable column is null.
pub(crate) fn batch(snapshot: &Snapshot, devices: Range<u64>) -> RecordBatch {
    let rows = devices.map(|device| {
        let (present, number) = (device % 7 != 0, device as i64);
        let tag = |tag| (tag != 1).then(|| format!("tag {tag}"));
        let rule = |rule| {
            (
                format!("rule {rule}"),
                (rule != 2).then(|| "block".to_owned()),
            )
        };
        Row {
            tags: (present, (0..device % 3).map(tag).collect()),
            rules: (present, (0..device % 4).map(rule).collect()),
            device_id: format!("{device:040x}"),
            is_on: present.then_some(device % 2 == 0),
            count: present.then_some(-number),
            score: present.then_some(number as f64 / 3.0),
            seen_time: present.then_some(1_658_829_660_123_456 + number),
            birthday: present.then_some(device as i32),
            raw: present.then(|| format!(r#"{{"ü":{device}}}"#)),
            rescued_data: (device % 5 == 0).then(|| r#"{"New":1}"#.to_owned()),
        }
    });
    batch_of(snapshot, rows)
}

pub(crate) fn batch_of(snapshot: &Snapshot, rows: impl IntoIterator<Item = Row>) -> RecordBatch {
    let schema = dataset().file_schema();
    let (mut ids, mut org_ids, mut rescued) = (
        StringBuilder::new(),
        StringBuilder::new(),
        StringBuilder::new(),
    );
    let (mut is_on, mut count, mut score) = (
        BooleanBuilder::new(),
        Int64Builder::new(),
        Float64Builder::new(),
    );
    let mut seen = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let mut generated = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let (mut birthday, mut raw) = (Date32Builder::new(), StringBuilder::new());
    let element = Arc::new(arrow::datatypes::Field::new(
        "element",
        arrow::datatypes::DataType::Utf8,
        true,
    ));
    let mut tags = ListBuilder::new(StringBuilder::new()).with_field(element);
    let names = MapFieldNames {
        entry: "key_value".into(),
        key: "key".into(),
        value: "value".into(),
    };
    let mut rules = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for row in rows {
        ids.append_value(row.device_id);
        org_ids.append_value(snapshot.org_id.as_str());
        rescued.append_option(row.rescued_data);
        is_on.append_option(row.is_on);
        count.append_option(row.count);
        score.append_option(row.score);
        seen.append_option(row.seen_time);
        generated.append_value(snapshot.generated_time.timestamp_micros());
        birthday.append_option(row.birthday);
        raw.append_option(row.raw);
        for tag in row.tags.1 {
            tags.values().append_option(tag);
        }
        tags.append(row.tags.0);
        for (key, value) in row.rules.1 {
            rules.keys().append_value(key);
            rules.values().append_option(value);
        }
        rules.append(row.rules.0).unwrap();
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(tags.finish()),
        Arc::new(rules.finish()),
        Arc::new(ids.finish()),
        Arc::new(is_on.finish()),
        Arc::new(count.finish()),
        Arc::new(score.finish()),
        Arc::new(seen.finish()),
        Arc::new(birthday.finish()),
        Arc::new(raw.finish()),
        Arc::new(generated.finish()),
        Arc::new(org_ids.finish()),
        Arc::new(rescued.finish()),
    ];
    RecordBatch::try_new(schema, columns).unwrap()
}

pub(crate) fn format(snapshot: &Snapshot) -> Arc<FileFormat> {
    let settings = ParquetSettings {
        row_group_rows: ROW_GROUP_ROWS,
        zstd_level: 1,
        compatibility: Compatibility::Modern,
    };
    Arc::new(FileFormat::new(&dataset(), snapshot, "0.0.0", &settings).unwrap())
}

/// Stages one file with those devices, in row groups of at most [`ROW_GROUP_ROWS`].
pub(crate) async fn stage(
    lake: &Lake,
    snapshot: &Snapshot,
    run_id: &str,
    group: i64,
    number: u32,
    devices: Range<u64>,
) -> Option<StagedFile> {
    let format = format(snapshot);
    let mut file = StagedFileWriter::new(
        lake,
        &format,
        run_id,
        partition(snapshot, group),
        number,
        &small_files(),
    )
    .unwrap();
    for start in devices.clone().step_by(ROW_GROUP_ROWS) {
        let mut row_group = RowGroupEncoder::new(&format).unwrap();
        row_group
            .write(&batch(
                snapshot,
                start..devices.end.min(start + ROW_GROUP_ROWS as u64),
            ))
            .unwrap();
        file.append(row_group.finish().unwrap()).await.unwrap();
    }
    let staged = file.finish().await.unwrap();
    if staged.is_some() {
        lease(lake, run_id).await;
    }
    staged
}

/// In the folder for temporary files.
pub(crate) fn small_files() -> Arc<SmallFileSpool> {
    Arc::new(SmallFileSpool::new(&std::env::temp_dir()))
}

/// The run's lease, where lakes have such.
pub(crate) async fn lease(lake: &Lake, run_id: &str) {
    if let Store::Remote(_) = &lake.store {
        crate::store::lease::put_lease(lake, "devices", run_id)
            .await
            .unwrap();
    }
}

pub(crate) fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap()
}

/// A request that holds all invariants.
pub(crate) fn request(snapshot: &Snapshot, run_id: &str, files: Vec<StagedFile>) -> PublishRequest {
    let rows = files.iter().map(|file| file.data.rows).sum();
    let blob = BlobCounts {
        path: "blob".to_owned(),
        bytes: 1,
        records: rows + 2,
        rows,
        quarantined: 2,
    };
    PublishRequest {
        snapshot: snapshot.clone(),
        dataset: dataset(),
        run_id: run_id.to_owned(),
        program_version: "0.0.0".to_owned(),
        files,
        blobs: vec![blob],
        duplicate_keys: 0,
        column_nulls: BTreeMap::new(),
        quarantine_files: Vec::new(),
        backfill: false,
    }
}

/// Stages groups 1 and 2 of `rows` devices each.
pub(crate) async fn staged(
    lake: &Lake,
    snapshot: &Snapshot,
    run_id: &str,
    rows: u64,
) -> PublishRequest {
    let one = stage(lake, snapshot, run_id, 1, 0, 0..rows).await.unwrap();
    let two = stage(lake, snapshot, run_id, 2, 1, rows..2 * rows)
        .await
        .unwrap();
    request(snapshot, run_id, vec![one, two])
}

pub(crate) async fn committed(
    lake: &Lake,
    snapshot: &Snapshot,
    run_id: &str,
    rows: u64,
) -> PublishOutcome {
    let lease_time = table(lake).lease_time();
    let _staging = crate::begin_run(lake, &snapshot.dataset, run_id, lease_time)
        .await
        .unwrap();
    let request = staged(lake, snapshot, run_id, rows).await;
    publish(lake, request).await
}

/// The table of [`dataset`] in one of [`lakes`], whose names tell the format. Nothing is kept of a replaced snapshot.
pub(crate) fn table(lake: &Lake) -> Table<'_> {
    let format = match lake.to_string().ends_with("parquet") {
        true => TableFormat::Parquet,
        false => TableFormat::Delta,
    };
    table_of(lake, format, Duration::ZERO)
}

pub(crate) fn table_of(lake: &Lake, format: TableFormat, retire_after: Duration) -> Table<'_> {
    let settings = TableSettings {
        format,
        retire_after,
        keep: None,
        dead_after: Duration::from_secs(1200),
        single_writer: false,
    };
    Table::new(lake, "devices", settings, now())
}

/// [`table`], which keeps replaced snapshots for so long.
pub(crate) fn table_keeping(lake: &Lake, retire_after: Duration) -> Table<'_> {
    table_of(lake, table(lake).settings.format, retire_after)
}

/// [`table`] at another time.
pub(crate) fn table_at(lake: &Lake, now: DateTime<Utc>) -> Table<'_> {
    Table { now, ..table(lake) }
}

pub(crate) async fn publish(lake: &Lake, request: PublishRequest) -> PublishOutcome {
    lease(lake, &request.run_id).await;
    crate::publish(&table(lake), &request).await.unwrap()
}

/// A lake on local disk and one in memory that behaves as S3 does. The folder lives as long as the first value.
/// One of each for tables with a log, and one for tables without.
pub(crate) fn lakes() -> (tempfile::TempDir, [Lake; 4]) {
    let folder = tempfile::tempdir().unwrap();
    let local = |name: &str| Store::Local(LocalDisk::new(folder.path().join(name)));
    let remote = || {
        let objects = Arc::new(InMemory::new());
        Store::Remote(Remote::new(objects, Path::from("some/prefix")))
    };
    let lakes = [
        Lake::new("local, delta".to_owned(), local("delta")),
        Lake::new("memory, delta".to_owned(), remote()),
        Lake::new("local, parquet".to_owned(), local("parquet")),
        Lake::new("memory, parquet".to_owned(), remote()),
    ];
    (folder, lakes)
}

/// Paths of all objects below a folder.
pub(crate) async fn paths(lake: &Lake, folder: &str) -> Vec<String> {
    lake.list(folder)
        .await
        .unwrap()
        .into_iter()
        .map(|object| object.path)
        .collect()
}

pub(crate) async fn verify(lake: &Lake, manifest: &Manifest) -> VerifyReport {
    let dataset = dataset();
    let verifier = Verifier::open(&table(lake), &dataset).await.unwrap();
    verifier.verify(manifest).await.unwrap()
}
