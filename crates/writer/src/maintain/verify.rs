//! Proves a published snapshot: reads every file back and compares it with the manifest and the dataset.
//!
//! Memory: one batch of rows, and 16 bytes for each row of the snapshot: uniqueness of the key is decided on
//! the first 128 bits of its SHA-256, so that two different keys are taken for one with a chance below 1e-24
//! for ten million rows. Disk: one file at a time is spooled to the temporary folder.

use std::collections::{HashMap, HashSet};
use std::fs::File;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dataset::Dataset;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::layout;
use crate::parquet::data_file::DataFile;
use crate::store::lake::Lake;
use crate::store::object::sha256;
use crate::table::manifest::Manifest;

const BATCH_ROWS: usize = 8192;
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

/// Reads every file of the manifest back: present, size, checksum, schema, rows, partition in its path, key
/// without nulls and unique over the snapshot, but for the duplicates that the manifest counts; and looks for files under the snapshot's names that the manifest
/// does not list.
///
/// # Errors
/// What the store answers, except that a file is missing: that is a problem in the report.
pub async fn verify(lake: &Lake, manifest: &Manifest, dataset: &Dataset) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let manifest_path = layout::manifest(&manifest.dataset, &manifest.snapshot);
    check_manifest(manifest, dataset, &manifest_path, &mut report.problems);
    check_unlisted(lake, manifest, &mut report.problems).await?;

    let mut keys = Keys::default();
    for file in &manifest.files {
        check_partition(file, manifest, &mut report.problems);
        let spooled = match lake.spool(&file.path).await {
            Err(Error::NotFound { .. }) => {
                report
                    .problems
                    .push(problem(&file.path, "is missing".to_owned()));
                continue;
            }
            spooled => spooled?,
        };
        let (file, dataset) = (file.clone(), dataset.clone());
        let read =
            tokio::task::spawn_blocking(move || FileCheck::new(&file, keys).run(spooled, &dataset))
                .await;
        let read = read.map_err(|error| Error::task(&error))??;
        report.files += 1;
        report.rows += read.rows;
        report.bytes += read.bytes;
        report.problems.extend(read.problems);
        keys = read.keys;
    }
    if keys.duplicates != manifest.duplicate_keys {
        report.problems.append(&mut keys.examples);
        report.problems.push(problem(
            &manifest_path,
            format!(
                "has {} rows whose key another row has where the files have {}",
                manifest.duplicate_keys, keys.duplicates
            ),
        ));
    }
    Ok(report)
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
    let mut check = FileCheck::new(file, Keys::default());
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

fn check_partition(file: &DataFile, manifest: &Manifest, problems: &mut Vec<Problem>) {
    let folder = format!("{}/{}/", layout::table(&manifest.dataset), file.partition);
    if !file.path.starts_with(&folder) {
        problems.push(problem(
            &file.path,
            format!("does not lie in the folder of its partition, `{folder}`"),
        ));
    }
    let date = manifest.identity().generated_date();
    if file.partition.generated_date != date {
        let got = file.partition.generated_date;
        problems.push(problem(
            &file.path,
            format!("is of date {got} where the snapshot is of {date}"),
        ));
    }
}

/// Hash of every key seen so far, and the rows whose key was seen before.
#[derive(Debug, Default)]
struct Keys {
    seen: HashSet<u128>,
    duplicates: u64,
    examples: Vec<Problem>,
}

/// The check of one file.
#[derive(Debug)]
struct FileCheck {
    path: String,
    listed: DataFile,
    rows: u64,
    bytes: u64,
    keys: Keys,
    problems: Vec<Problem>,
}

impl FileCheck {
    fn new(file: &DataFile, keys: Keys) -> Self {
        Self {
            path: file.path.clone(),
            listed: file.clone(),
            rows: 0,
            bytes: 0,
            keys,
            problems: Vec::new(),
        }
    }

    fn found(&mut self, what: String) {
        self.problems.push(problem(&self.path, what));
    }

    fn run(mut self, mut spooled: File, dataset: &Dataset) -> Result<Self> {
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
        if checksum != self.listed.sha256 {
            self.found(format!(
                "has SHA-256 {checksum} where the manifest has {}",
                self.listed.sha256
            ));
        }
        if let Err(error) = self.rows(spooled, dataset) {
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
        Ok(self)
    }

    fn rows(
        &mut self,
        spooled: File,
        dataset: &Dataset,
    ) -> Result<(), parquet::errors::ParquetError> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(spooled)?;
        self.schema(reader.schema(), &dataset.file_schema());
        for batch in reader.with_batch_size(BATCH_ROWS).build()? {
            let batch = batch?;
            self.batch(&batch, &dataset.unique_key)?;
            self.rows += batch.num_rows() as u64;
        }
        Ok(())
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

    fn batch(
        &mut self,
        batch: &RecordBatch,
        unique_key: &[String],
    ) -> Result<(), parquet::errors::ParquetError> {
        let columns: Vec<&ArrayRef> = unique_key
            .iter()
            .filter_map(|name| batch.column_by_name(name))
            .collect();
        if columns.len() < unique_key.len() {
            // Reported with the schema.
            return Ok(());
        }
        let options = FormatOptions::default();
        let formatters: Vec<ArrayFormatter<'_>> = columns
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            let row_number = self.rows + row as u64;
            if let Some((name, _)) = unique_key
                .iter()
                .zip(&columns)
                .find(|(_, column)| column.is_null(row))
            {
                self.found(format!("row {row_number} has null in key column `{name}`"));
                continue;
            }
            let values: Vec<String> = formatters
                .iter()
                .map(|formatter| formatter.value(row).to_string())
                .collect();
            if !self.keys.seen.insert(key_hash(&values)) {
                let key = values.join(", ");
                self.keys.duplicates += 1;
                if self.keys.examples.len() < PROBLEMS_LISTED {
                    let what = format!(
                        "row {row_number} has key `{key}`, which an earlier row of the snapshot has"
                    );
                    self.keys.examples.push(problem(&self.path, what));
                }
            }
        }
        Ok(())
    }
}

fn key_hash(values: &[String]) -> u128 {
    let mut hash = Sha256::new();
    for value in values {
        // The length keeps ("a", "bc") apart from ("ab", "c").
        hash.update((value.len() as u64).to_le_bytes());
        hash.update(value);
    }
    hash.finalize()
        .iter()
        .take(16)
        .fold(0, |bits, byte| bits << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::fixtures::{committed, dataset, lakes, request, snapshot, stage};
    use crate::read_manifest;

    async fn published(lake: &Lake) -> Manifest {
        committed(lake, &snapshot(26, 10), "run", 150).await;
        read_manifest(lake, "devices", &snapshot(26, 10).id())
            .await
            .unwrap()
            .unwrap()
    }

    async fn problems(lake: &Lake, manifest: &Manifest) -> String {
        let report = verify(lake, manifest, &dataset()).await.unwrap();
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
            let report = verify(&lake, &manifest, &dataset()).await.unwrap();
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
    async fn every_row_group_of_a_damaged_file_is_still_counted_or_reported() {
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
        manifest.files[0].partition.rbac_group_id = 9;
        let found = problems(&lake, &manifest).await;
        assert!(found.contains("folder of its partition"), "{found}");
    }

    #[tokio::test]
    async fn a_key_that_comes_twice_in_the_snapshot_is_found() {
        let (_folder, [lake, ..]) = lakes();
        let snapshot = snapshot(26, 10);
        let one = stage(&lake, &snapshot, "run", 1, 0, 0..10).await.unwrap();
        let two = stage(&lake, &snapshot, "run", 2, 1, 9..20).await.unwrap();
        let request = request(&snapshot, "run", vec![one, two]);
        crate::fixtures::commit(&lake, request).await;
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
            found.contains(&format!("row 0 has key `{:040x}`", 9)),
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
        let report = verify(&lake, &manifest, &other).await.unwrap();
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
    async fn files_under_the_names_of_the_snapshot_that_are_not_listed_are_found() {
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
        let other = Dataset {
            unique_key: vec!["device_id".to_owned(), "count".to_owned()],
            ..dataset()
        };
        let report = verify(&lake, &manifest, &other).await.unwrap();
        let of_first: Vec<_> = report
            .problems
            .iter()
            .filter(|problem| problem.file == manifest.files[0].path)
            .collect();
        assert_eq!(of_first[0].what, "row 0 has null in key column `count`");
        assert_eq!(of_first.last().unwrap().what, "has 2 more problems");
        assert_eq!(of_first.len(), PROBLEMS_LISTED + 1);
    }

    #[test]
    fn parts_of_a_key_are_kept_apart() {
        let hash = |values: [&str; 2]| key_hash(&values.map(str::to_owned));
        assert_ne!(hash(["a", "bc"]), hash(["ab", "c"]));
        assert_eq!(hash(["a", "bc"]), hash(["a", "bc"]));
    }
}
