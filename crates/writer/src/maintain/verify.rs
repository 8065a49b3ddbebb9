//! Proves a published snapshot: reads every file back and compares it with the manifest, the table's log and the dataset.
//!
//! Memory: one batch of rows. Disk: one file at a time, and 8 bytes for each row, are spooled to the temporary folder.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Schema, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dataset::{Dataset, GENERATED_TIME, ORG_ID, Snapshot};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout;
use crate::maintain::statistics_check::StatisticsCheck;
use crate::parquet::data_file::DataFile;
use crate::stage::key_hashes::{DuplicateKey, KeyHasher, KeyHashes, KeySpool, duplicate_keys};
use crate::store::lake::Lake;
use crate::store::object::sha256;
use crate::table::current_snapshot::CurrentSnapshot;
use crate::table::manifest::Manifest;
use crate::table::state::{Table, TableState};

const BATCH_ROWS: usize = 8192;
/// Files that are fetched and read side by side, each by way of a temporary file.
const FILES_AT_ONCE: usize = 8;
/// Problems listed for one file; the rest is counted.
const PROBLEMS_LISTED: usize = 20;

/// What was read and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Files read to their end.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Everything that differs from the manifest or the dataset. Empty: the snapshot is proven.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Path of the file, or of the manifest.
    pub file: String,
    /// What is wrong with it.
    pub what: String,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_proven(&self) -> bool {
        self.problems.is_empty()
    }
}

/// What published snapshots of one table are compared with.
#[derive(Debug)]
pub struct Verifier<'a> {
    lake: &'a Lake,
    dataset: &'a Dataset,
    state: TableState,
}

impl<'a> Verifier<'a> {
    /// Reads what the table holds, and its log if it has one.
    ///
    /// # Errors
    /// What the store answers, and [`Error::DeltaLog`].
    pub async fn open(table: &Table<'a>, dataset: &'a Dataset) -> Result<Self> {
        Ok(Self {
            lake: table.lake,
            dataset,
            state: table.read().await?,
        })
    }

    /// The snapshots that the table holds.
    pub fn current(&self) -> &[CurrentSnapshot] {
        &self.state.latest.snapshots
    }

    /// The manifest of one of them. `None`: it is missing.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn manifest(&self, current: &CurrentSnapshot) -> Result<Option<Manifest>> {
        let is_it = |manifest: &&Manifest| manifest.path() == current.manifest;
        match self.state.rewritten.iter().find(is_it) {
            Some(rewritten) => Ok(Some(rewritten.clone())),
            None => Manifest::read_at(self.lake, &current.manifest).await,
        }
    }

    /// Reads every file of the manifest back: present, size, checksum, schema, rows, statistics; partition as in its path, in the log and in
    /// its rows; key unique over the snapshot, but for the duplicates that the manifest counts, and without nulls where it
    /// takes none; and looks for files under the snapshot's names that the manifest or the log does not list.
    ///
    /// # Errors
    /// What the store answers, except that a file is missing: that is a problem in the report.
    pub async fn verify(&self, manifest: &Manifest) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        let manifest_path = layout::manifest(&manifest.dataset, &manifest.snapshot);
        check_manifest(manifest, self.dataset, &manifest_path, &mut report.problems);
        // What maintenance replaced stays until a vacuum.
        if manifest.files.iter().all(|file| !file.sha256.is_empty()) {
            check_unlisted(self.lake, manifest, &mut report.problems).await?;
        }
        self.check_log(manifest, &mut report.problems)?;

        let temporary = std::env::temp_dir();
        let spool = Arc::new(KeySpool::new(&temporary)?);
        let (snapshot, mut keys) = (manifest.identity(), Vec::new());
        let mut reads = Vec::with_capacity(manifest.files.len());
        for file in &manifest.files {
            reads.push(self.check_file(file, &snapshot, &spool).boxed());
        }
        // In the manifest's order, so that the report is the same each time.
        let mut reads = stream::iter(reads).buffered(FILES_AT_ONCE);
        for file in &manifest.files {
            let checked = reads.try_next().await?.flatten();
            self.check_partition(file, manifest, &mut report.problems);
            let Some((read, of_file)) = checked else {
                let missing = problem(&file.path, "is missing".to_owned());
                report.problems.push(missing);
                continue;
            };
            report.files += 1;
            report.rows += read.rows;
            report.bytes += read.bytes;
            report.problems.extend(read.problems);
            keys.push((file.path.clone(), of_file));
        }
        drop(reads);
        let found = tokio::task::spawn_blocking(move || duplicate_keys(&keys)).await;
        let found = found.map_err(|error| Error::task(&error))??;
        if found.rows != manifest.duplicate_keys {
            for duplicate in &found.examples {
                report.problems.push(self.show(duplicate, manifest).await?);
            }
            report.problems.push(problem(
                &manifest_path,
                format!(
                    "has {} rows whose key another row has where the files have {}",
                    manifest.duplicate_keys, found.rows
                ),
            ));
        }
        Ok(report)
    }

    /// Reads one file to its end. `None`: it is missing.
    async fn check_file(
        &self,
        file: &DataFile,
        snapshot: &Snapshot,
        spool: &Arc<KeySpool>,
    ) -> Result<Option<(FileCheck, KeyHashes)>> {
        let spooled = match self.lake.spool(&file.path).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            spooled => spooled?,
        };
        let check = FileCheck::new(file, snapshot);
        let (dataset, keys) = (self.dataset.clone(), KeyHashes::new(spool));
        let read = tokio::task::spawn_blocking(move || check.run(spooled, &dataset, keys)).await;
        read.map_err(|error| Error::task(&error))?.map(Some)
    }

    /// Compares a manifest's files with those that the log has of its snapshot.
    fn check_log(&self, manifest: &Manifest, problems: &mut Vec<Problem>) -> Result<()> {
        let log = &self.state.log;
        if log.version.is_none() {
            return Ok(());
        }
        let mut logged = log.partitions_of(&manifest.snapshot)?;
        for file in &manifest.files {
            let what = match logged.remove(file.path.as_str()) {
                None => "is not in the table's log".to_owned(),
                Some(partition) if *partition != file.partition => {
                    format!("is of partition `{partition}` in the table's log")
                }
                Some(_) => continue,
            };
            problems.push(problem(&file.path, what));
        }
        for path in logged.into_keys() {
            let what = "is in the table's log and not in the manifest".to_owned();
            problems.push(problem(path, what));
        }
        Ok(())
    }

    fn check_partition(&self, file: &DataFile, manifest: &Manifest, problems: &mut Vec<Problem>) {
        let partition = &file.partition;
        let folder = format!("{}/{partition}/", layout::table(&manifest.dataset));
        if !file.path.starts_with(&folder) {
            let what = format!("is not in the folder of its partition, `{folder}`");
            problems.push(problem(&file.path, what));
        }
        let declared = &self.dataset.partition.column;
        if *partition.column != **declared {
            let found = &partition.column;
            let what = format!("is partitioned by `{found}` where the dataset has `{declared}`");
            problems.push(problem(&file.path, what));
        }
        let date = manifest.identity().generated_date();
        if partition.generated_date != date {
            let found = partition.generated_date;
            let what = format!("is of date {found} where the snapshot is of {date}");
            problems.push(problem(&file.path, what));
        }
    }

    /// A key that comes more than once, as it is in one of its files.
    async fn show(&self, duplicate: &DuplicateKey, manifest: &Manifest) -> Result<Problem> {
        let (rows, files) = (duplicate.rows, duplicate.origins.join("`, `"));
        let first = |file: &&DataFile| duplicate.origins.first() == Some(&file.path);
        let Some(file) = manifest.files.iter().find(first) else {
            return Ok(problem(&files, format!("has a key that {rows} rows have")));
        };
        let columns = &self.dataset.unique_key;
        let batches = read_columns(self.lake, manifest, file, columns).await?;
        let mut hasher = KeyHasher::new(columns);
        for batch in &batches {
            let hashes = hasher.hash(batch)?;
            if let Some(row) = hashes.iter().position(|hash| *hash == duplicate.hash) {
                let key = key_in_words(batch, columns, row)
                    .map_err(|error| Error::parquet(&manifest.dataset, &error))?;
                let what = format!(
                    "has key `{key}`, which {rows} rows of the snapshot have, in `{files}`"
                );
                return Ok(problem(&file.path, what));
            }
        }
        Ok(problem(
            &file.path,
            format!("has a key that {rows} rows have"),
        ))
    }
}

fn key_in_words(
    batch: &RecordBatch,
    columns: &[String],
    row: usize,
) -> Result<String, ParquetError> {
    let options = FormatOptions::default().with_null("null");
    let values = columns.iter().filter_map(|name| batch.column_by_name(name));
    let values = values.map(|column| {
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
        Ok(formatter.value(row).to_string())
    });
    Ok(values.collect::<Result<Vec<_>, ParquetError>>()?.join(", "))
}

/// How the columns of a published snapshot differ from the dataset's; looks at one of its files, if the schema's fingerprint
/// is another at all.
///
/// # Errors
/// What the store answers.
pub async fn differing_columns(
    lake: &Lake,
    manifest: &Manifest,
    dataset: &Dataset,
) -> Result<Vec<Problem>> {
    let smallest = manifest.files.iter().min_by_key(|file| file.bytes);
    let Some(file) = smallest.filter(|_| manifest.schema_fingerprint != dataset.fingerprint())
    else {
        return Ok(Vec::new());
    };
    let spooled = lake.spool(&file.path).await?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(spooled)
        .map_err(|error| Error::parquet(&manifest.dataset, &error))?;
    let mut check = FileCheck::new(file, &manifest.identity());
    check.schema(reader.schema(), &dataset.file_schema());
    Ok(check.problems)
}

/// Reads some columns of a published file, whole.
///
/// # Errors
/// What the store or Parquet answers.
pub async fn read_columns(
    lake: &Lake,
    manifest: &Manifest,
    file: &DataFile,
    columns: &[String],
) -> Result<Vec<RecordBatch>> {
    let spooled = lake.spool(&file.path).await?;
    let (dataset, columns) = (manifest.dataset.clone(), columns.to_vec());
    let read = tokio::task::spawn_blocking(move || {
        let reader = ParquetRecordBatchReaderBuilder::try_new(spooled)?;
        let names = columns.iter().map(String::as_str);
        let mask = ProjectionMask::columns(reader.parquet_schema(), names);
        let batches = reader.with_projection(mask).build()?;
        batches
            .map(|batch| batch.map_err(ParquetError::from))
            .collect::<Result<Vec<_>, ParquetError>>()
    });
    let read = read.await.map_err(|error| Error::task(&error))?;
    read.map_err(|error| Error::parquet(&dataset, &error))
}

fn problem(file: &str, what: String) -> Problem {
    Problem {
        file: file.to_owned(),
        what,
    }
}

fn check_manifest(manifest: &Manifest, dataset: &Dataset, path: &str, problems: &mut Vec<Problem>) {
    let mut differ = |what: &str, listed: &dyn std::fmt::Display, found: &dyn std::fmt::Display| {
        problems.push(problem(
            path,
            format!("{what} {listed} where {found} is expected"),
        ));
    };
    let fingerprint = dataset.fingerprint();
    if manifest.dataset != dataset.name {
        differ("is of dataset", &manifest.dataset, &dataset.name);
    }
    if manifest.schema_fingerprint != fingerprint {
        differ(
            "has schema fingerprint",
            &manifest.schema_fingerprint,
            &fingerprint,
        );
    }
    let rows: u64 = manifest.files.iter().map(|file| file.rows).sum();
    if manifest.rows != rows {
        differ("has rows", &manifest.rows, &rows);
    }
    let records = rows + manifest.records_quarantined;
    if manifest.records_read != records {
        differ("has records read", &manifest.records_read, &records);
    }
}

async fn check_unlisted(
    lake: &Lake,
    manifest: &Manifest,
    problems: &mut Vec<Problem>,
) -> Result<()> {
    let folder = layout::date_folder(&manifest.dataset, manifest.identity().generated_date());
    let own_name = format!("/part-{}-", manifest.snapshot);
    let listed: HashSet<&str> = manifest
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    for object in lake.list(&folder).await? {
        if object.path.contains(&own_name) && !listed.contains(object.path.as_str()) {
            problems.push(problem(&object.path, "is not in the manifest".to_owned()));
        }
    }
    Ok(())
}

/// The check of one file.
#[derive(Debug)]
struct FileCheck {
    path: String,
    listed: DataFile,
    snapshot: Snapshot,
    rows: u64,
    bytes: u64,
    problems: Vec<Problem>,
}

impl FileCheck {
    fn new(file: &DataFile, snapshot: &Snapshot) -> Self {
        Self {
            path: file.path.clone(),
            listed: file.clone(),
            snapshot: snapshot.clone(),
            rows: 0,
            bytes: 0,
            problems: Vec::new(),
        }
    }

    fn found(&mut self, what: String) {
        self.problems.push(problem(&self.path, what));
    }

    /// What was found, and the hashes of the file's keys.
    fn run(
        mut self,
        mut spooled: File,
        dataset: &Dataset,
        mut keys: KeyHashes,
    ) -> Result<(Self, KeyHashes)> {
        let hashed =
            sha256(&mut spooled).map_err(|error| Error::disk("spool", &self.path, &error))?;
        let (checksum, bytes) = hashed;
        self.bytes = bytes;
        if self.bytes != self.listed.bytes {
            self.found(format!(
                "has {} bytes where the manifest has {}",
                self.bytes, self.listed.bytes
            ));
        }
        // Of a file into which another program rewrote rows, none is known.
        if checksum != self.listed.sha256 && !self.listed.sha256.is_empty() {
            self.found(format!(
                "has SHA-256 {checksum} where the manifest has {}",
                self.listed.sha256
            ));
        }
        if let Err(error) = self.rows(spooled, dataset, &mut keys)? {
            self.found(format!("is not readable: {error}"));
        } else if self.rows != self.listed.rows {
            self.found(format!(
                "has {} rows where the manifest has {}",
                self.rows, self.listed.rows
            ));
        }
        if self.problems.len() > PROBLEMS_LISTED {
            let more = self.problems.len() - PROBLEMS_LISTED;
            self.problems.truncate(PROBLEMS_LISTED);
            self.found(format!("has {more} more problems"));
        }
        Ok((self, keys.finish()?))
    }

    /// Reads the rows. The inner error is Parquet's, of a file that cannot be read.
    fn rows(
        &mut self,
        spooled: File,
        dataset: &Dataset,
        keys: &mut KeyHashes,
    ) -> Result<Result<(), ParquetError>> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(spooled).and_then(|reader| {
            self.schema(reader.schema(), &dataset.file_schema());
            reader.with_batch_size(BATCH_ROWS).build()
        });
        let reader = match reader {
            Ok(reader) => reader,
            Err(error) => return Ok(Err(error)),
        };
        let mut hasher = KeyHasher::new(&dataset.unique_key);
        let listed = self.listed.column_statistics.clone();
        let mut statistics = StatisticsCheck::new(&listed);
        for batch in reader {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => return Ok(Err(error.into())),
            };
            self.nulls_in_key(&batch, dataset);
            self.snapshot_columns(&batch);
            statistics.add(&batch);
            match hasher.add(&batch, keys) {
                // Reported with the schema.
                Ok(()) | Err(Error::KeyColumn { .. }) => {}
                Err(error) => return Err(error),
            }
            self.rows += batch.num_rows() as u64;
        }
        for what in statistics.problems() {
            self.found(what);
        }
        Ok(Ok(()))
    }

    fn schema(&mut self, found: &Schema, expected: &Schema) {
        let columns = |schema: &Schema| -> Vec<(String, DataType)> {
            schema
                .fields()
                .iter()
                .map(|field| (field.name().clone(), field.data_type().clone()))
                .collect()
        };
        let (found, expected) = (columns(found), columns(expected));
        if found == expected {
            return;
        }
        let types: HashMap<&String, &DataType> = found
            .iter()
            .map(|(name, data_type)| (name, data_type))
            .collect();
        for (name, data_type) in &expected {
            match types.get(name) {
                None => self.found(format!("lacks column `{name}`")),
                Some(found) if *found != data_type => {
                    self.found(format!(
                        "column `{name}` is {found} where the dataset has {data_type}"
                    ));
                }
                Some(_) => {}
            }
        }
        let known: HashSet<&String> = expected.iter().map(|(name, _)| name).collect();
        for (name, _) in found.iter().filter(|(name, _)| !known.contains(name)) {
            self.found(format!("has column `{name}`, which the dataset has not"));
        }
        if self.problems.is_empty() {
            self.found("has its columns in another order than the dataset".to_owned());
        }
    }

    /// Key columns that take no null have none.
    fn nulls_in_key(&mut self, batch: &RecordBatch, dataset: &Dataset) {
        let is_required =
            |name: &&String| dataset.column(name).is_some_and(|column| !column.nullable);
        for name in dataset.unique_key.iter().filter(is_required) {
            let Some(column) = batch
                .column_by_name(name)
                .filter(|column| column.null_count() > 0)
            else {
                continue;
            };
            for row in (0..batch.num_rows()).filter(|row| column.is_null(*row)) {
                let row = self.rows + row as u64;
                self.found(format!("row {row} has null in key column `{name}`"));
            }
        }
    }

    /// Every row is of the snapshot, and so of the partition's date.
    fn snapshot_columns(&mut self, batch: &RecordBatch) {
        let time = self.snapshot.generated_time.timestamp_micros();
        let times = batch
            .column_by_name(GENERATED_TIME)
            .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let org_id = self.snapshot.org_id.as_str();
        let org_ids = batch
            .column_by_name(ORG_ID)
            .and_then(|column| column.as_string_opt::<i32>());
        let others = [
            (
                GENERATED_TIME,
                times.and_then(|times| times.iter().position(|found| found != Some(time))),
            ),
            (
                ORG_ID,
                org_ids.and_then(|ids| ids.iter().position(|found| found != Some(org_id))),
            ),
        ];
        for (column, row) in others {
            if let Some(row) = row {
                let row = self.rows + row as u64;
                self.found(format!(
                    "row {row} has another `{column}` than the snapshot"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::fixtures::{committed, dataset, lakes, request, snapshot, stage, table};
    use crate::read_manifest;

    async fn published(lake: &Lake) -> Manifest {
        committed(lake, &snapshot(26, 10), "run", 150).await;
        read_manifest(lake, "devices", &snapshot(26, 10).id())
            .await
            .unwrap()
            .unwrap()
    }

    async fn verify(lake: &Lake, manifest: &Manifest, dataset: &Dataset) -> VerifyReport {
        let verifier = Verifier::open(&table(lake), dataset).await.unwrap();
        verifier.verify(manifest).await.unwrap()
    }

    async fn problems(lake: &Lake, manifest: &Manifest) -> String {
        let report = verify(lake, manifest, &dataset()).await;
        report
            .problems
            .iter()
            .map(|problem| format!("{} {}\n", problem.file, problem.what))
            .collect()
    }

    #[tokio::test]
    async fn a_published_snapshot_is_proven() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            let manifest = published(&lake).await;
            let report = verify(&lake, &manifest, &dataset()).await;
            assert!(report.is_proven(), "{report:?}");
            assert_eq!(
                (report.files, report.rows, report.bytes),
                (2, 300, manifest.bytes)
            );
        }
    }

    #[tokio::test]
    async fn a_flipped_byte_and_a_missing_file_are_found() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            let manifest = published(&lake).await;
            let [one, two] = [&manifest.files[0].path, &manifest.files[1].path];
            let mut content = lake.get(one).await.unwrap().unwrap().to_vec();
            content[100] ^= 1;
            lake.put(one, Bytes::from(content)).await.unwrap();
            lake.delete(std::slice::from_ref(two)).await.unwrap();
            let found = problems(&lake, &manifest).await;
            assert!(found.contains(&format!("{one} has SHA-256")), "{found}");
            assert!(found.contains(&format!("{two} is missing")), "{found}");
        }
    }

    #[tokio::test]
    async fn every_row_group_of_a_damaged_file_is_counted_or_reported() {
        let (_folder, [lake, ..]) = lakes();
        let manifest = published(&lake).await;
        lake.put(
            &manifest.files[0].path,
            Bytes::from_static(b"PAR1 is not enough"),
        )
        .await
        .unwrap();
        let found = problems(&lake, &manifest).await;
        assert!(found.contains("is not readable"), "{found}");
        assert!(found.contains("has 18 bytes"), "{found}");
    }

    #[tokio::test]
    async fn counts_that_differ_from_the_manifest_are_found() {
        let (_folder, [lake, ..]) = lakes();
        let mut manifest = published(&lake).await;
        manifest.files[0].rows += 1;
        let found = problems(&lake, &manifest).await;
        assert!(
            found.contains("has 150 rows where the manifest has 151"),
            "{found}"
        );
        assert!(
            found.contains("snapshots/20220726T100100Z-47d41a0c.json has rows 300 where 301"),
            "{found}"
        );
        manifest.files[0].partition.value = 9;
        let found = problems(&lake, &manifest).await;
        assert!(found.contains("folder of its partition"), "{found}");
    }

    #[tokio::test]
    async fn statistics_that_differ_from_the_rows_are_found() {
        use crate::{Bounds, ColumnStatistics};
        let (_folder, [lake, ..]) = lakes();
        let published = published(&lake).await;
        let changed = async |column: &str, change: fn(&mut ColumnStatistics)| {
            let mut manifest = published.clone();
            let mut statistics = manifest.files[0].column_statistics.to_vec();
            change(
                statistics
                    .iter_mut()
                    .find(|of| *of.column == *column)
                    .unwrap(),
            );
            manifest.files[0].column_statistics = statistics.into();
            problems(&lake, &manifest).await
        };
        let found = changed("count", |count| count.nulls += 1).await;
        assert!(
            found.contains("nulls in `count` where the manifest has"),
            "{found}"
        );
        for column in ["count", "seen_time", "birthday", "device_id"] {
            let found = changed(column, |statistics| {
                match statistics.bounds.as_mut().unwrap() {
                    Bounds::Integer { min, .. } | Bounds::Timestamp { min, .. } => *min += 1,
                    Bounds::Date { max, .. } => *max -= 1,
                    Bounds::String(bounds) => bounds.max.clear(),
                }
            });
            let found = found.await;
            let expected = format!("has values of `{column}` beyond the manifest's bounds");
            assert!(found.contains(&expected), "{found}");
        }
    }

    #[tokio::test]
    async fn a_key_that_comes_twice_in_the_snapshot_is_found() {
        let (_folder, [lake, ..]) = lakes();
        let snapshot = snapshot(26, 10);
        let one = stage(&lake, &snapshot, "run", 1, 0, 0..10).await.unwrap();
        let two = stage(&lake, &snapshot, "run", 2, 1, 9..20).await.unwrap();
        let request = request(&snapshot, "run", vec![one, two]);
        crate::fixtures::publish(&lake, request).await;
        let mut manifest = read_manifest(&lake, "devices", &snapshot.id())
            .await
            .unwrap()
            .unwrap();
        let found = problems(&lake, &manifest).await;
        assert!(
            found.contains("has 0 rows whose key another row has where the files have 1"),
            "{found}"
        );
        assert!(
            found.contains(&format!("has key `{:040x}`, which 2 rows", 9)),
            "{found}"
        );
        // Those that the run counted and kept are none of verify's business.
        manifest.duplicate_keys = 1;
        assert_eq!(problems(&lake, &manifest).await, "");
    }

    #[tokio::test]
    async fn columns_that_differ_from_the_dataset_are_found() {
        let (_folder, [lake, ..]) = lakes();
        let manifest = published(&lake).await;
        let mut other = dataset();
        other.columns[4].column_type = dataset::ColumnType::String;
        other.columns[5].name = "points".to_owned();
        let report = verify(&lake, &manifest, &other).await;
        let found: Vec<&str> = report
            .problems
            .iter()
            .map(|problem| problem.what.as_str())
            .collect();
        assert!(
            found.iter().any(|what| what.contains("schema fingerprint")),
            "{found:?}"
        );
        assert!(
            found.contains(&"column `count` is Int64 where the dataset has Utf8"),
            "{found:?}"
        );
        assert!(found.contains(&"lacks column `points`"), "{found:?}");
        assert!(
            found.contains(&"has column `score`, which the dataset has not"),
            "{found:?}"
        );
    }

    #[tokio::test]
    async fn unlisted_files_under_the_snapshots_names_are_found() {
        let (_folder, [lake, ..]) = lakes();
        let mut manifest = published(&lake).await;
        let unlisted = manifest.files.pop().unwrap();
        let found = problems(&lake, &manifest).await;
        assert!(
            found.contains(&format!("{} is not in the manifest", unlisted.path)),
            "{found}"
        );
    }

    #[tokio::test]
    async fn nulls_in_the_key_are_found_and_listed_up_to_a_limit() {
        let (_folder, [lake, ..]) = lakes();
        let manifest = published(&lake).await;
        let mut other = dataset();
        other.unique_key.push("count".to_owned());
        assert!(verify(&lake, &manifest, &other).await.is_proven());
        let count = other
            .columns
            .iter_mut()
            .find(|column| column.name == "count");
        count.unwrap().nullable = false;
        let report = verify(&lake, &manifest, &other).await;
        let of_first: Vec<_> = report
            .problems
            .iter()
            .filter(|problem| problem.file == manifest.files[0].path)
            .collect();
        assert_eq!(of_first[0].what, "row 0 has null in key column `count`");
        assert_eq!(of_first.last().unwrap().what, "has 2 more problems");
        assert_eq!(of_first.len(), PROBLEMS_LISTED + 1);
    }

    #[tokio::test]
    async fn a_partition_that_path_log_or_rows_deny_is_found() {
        let (_folder, [lake, ..]) = lakes();
        let manifest = published(&lake).await;
        let mut other = dataset();
        other.partition.column = "site".to_owned();
        let found = verify(&lake, &manifest, &other).await.problems;
        let what = "is partitioned by `rbac_group_id` where the dataset has `site`";
        assert!(
            found.iter().any(|problem| problem.what == what),
            "{found:?}"
        );

        let mut moved = manifest.clone();
        moved.files[0].partition.value = 9;
        moved.generated_time += chrono::TimeDelta::minutes(1);
        let found = problems(&lake, &moved).await;
        for what in [
            "folder of its partition",
            "row 0 has another `generated_time`",
        ] {
            assert!(found.contains(what), "{found}");
        }
    }
}
