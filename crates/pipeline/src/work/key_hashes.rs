//! Whether the unique key is unique: a hash of every row's key, compared over the whole snapshot before the commit.
//!
//! The hashes, 8 bytes a row, are stored in an unnamed temporary file, so that memory does not grow with the snapshot. Two different keys are
//! taken for one with a chance below 3e-8 for a million rows and below 3e-6 for ten million. The keys themselves are not kept:
//! the report names blobs, and a query of the table the keys.

use std::collections::BTreeSet;
use std::fs::File;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use dataset::Dataset;

use crate::error::PipelineError;
use crate::report::DuplicateKeyReport;

/// Keys that are given as examples.
const EXAMPLES: usize = 5;
/// Blobs that are named for one key.
const BLOBS_OF_EXAMPLE: usize = 4;
/// Ranges of hashes that can be compared one after another.
const RANGES: usize = 64;
/// Hashes, about, up to which several ranges are compared at once: 256 KiB.
const HASHES_AT_ONCE: usize = 16 << 10;
const RANGE_SHIFT: u32 = KeyHash::BITS - RANGES.ilog2();
/// Hashes after which a run of them goes to the file: 64 KiB.
const RUN_HASHES: usize = 8 << 10;
const HASH_BYTES: usize = size_of::<KeyHash>();

/// Hash of a row's key.
type KeyHash = u64;

/// The file of the hashes, for all blobs of a run.
#[derive(Debug)]
pub(crate) struct KeySpool {
    directory: PathBuf,
    file: Mutex<File>,
}

/// A sorted run of hashes in the file.
#[derive(Debug)]
struct Run {
    /// Where it begins, bytes.
    offset: u64,
    /// How many of its hashes come before the end of each range.
    ends: [u32; RANGES],
}

/// The hashes of one blob's keys: those in the file, and those on their way.
#[derive(Debug, Default)]
pub(crate) struct BlobKeys {
    runs: Vec<Run>,
    waiting: Vec<KeyHash>,
}

impl BlobKeys {
    /// How many are in the file.
    fn hashes(&self) -> usize {
        let in_run = |run: &Run| run.ends[RANGES - 1] as usize;
        self.runs.iter().map(in_run).sum()
    }
}

impl KeySpool {
    /// An empty file in that directory, which goes with the process.
    pub(crate) fn new(directory: &Path) -> Result<Self, PipelineError> {
        let file = tempfile::tempfile_in(directory).map_err(|error| failed(directory, error))?;
        Ok(Self {
            directory: directory.to_owned(),
            file: Mutex::new(file),
        })
    }

    /// Moves what waits into the file.
    fn flush(&self, keys: &mut BlobKeys) -> Result<(), PipelineError> {
        if keys.waiting.is_empty() {
            return Ok(());
        }
        keys.waiting.sort_unstable();
        let mut ends = [0; RANGES];
        for (range, end) in ends.iter_mut().enumerate() {
            let before = |hash: &KeyHash| (hash >> RANGE_SHIFT) as usize <= range;
            *end = keys.waiting.partition_point(before) as u32;
        }
        let bytes: Vec<u8> = keys
            .waiting
            .iter()
            .flat_map(|hash| hash.to_le_bytes())
            .collect();
        keys.waiting.clear();
        let write = || {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            let offset = file.seek(SeekFrom::End(0))?;
            file.write_all(&bytes)?;
            Ok(offset)
        };
        let offset = write().map_err(|error| failed(&self.directory, error))?;
        keys.runs.push(Run { offset, ends });
        Ok(())
    }

    /// The bytes of a run's hashes in some ranges, of which there is one at least.
    fn read(&self, run: &Run, ranges: Range<usize>, bytes: &mut Vec<u8>) -> io::Result<()> {
        let start = match ranges.start {
            0 => 0,
            first => run.ends[first - 1],
        };
        bytes.resize((run.ends[ranges.end - 1] - start) as usize * HASH_BYTES, 0);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(
            run.offset + u64::from(start) * HASH_BYTES as u64,
        ))?;
        file.read_exact(bytes)
    }
}

fn failed(directory: &Path, source: io::Error) -> PipelineError {
    let what = format!("keep hashes of unique keys in {}", directory.display());
    PipelineError::Machine { what, source }
}

/// Hashes the unique keys of rows. Keeps its buffer from batch to batch.
#[derive(Debug)]
pub(crate) struct KeyHasher {
    columns: Vec<String>,
    converter: RowConverter,
    /// The keys of the batch at hand.
    of_batch: Rows,
    spool: Arc<KeySpool>,
}

impl KeyHasher {
    pub(crate) fn new(dataset: &Dataset, spool: &Arc<KeySpool>) -> Result<Self, PipelineError> {
        let schema = dataset.file_schema();
        let fields = dataset.unique_key.iter().map(|name| {
            let field = schema.field_with_name(name)?;
            Ok(SortField::new(field.data_type().clone()))
        });
        let fields = fields.collect::<Result<_, ArrowError>>();
        let converter = fields
            .and_then(RowConverter::new)
            .map_err(|error| defect(&error))?;
        Ok(Self {
            of_batch: converter.empty_rows(0, 0),
            converter,
            columns: dataset.unique_key.clone(),
            spool: Arc::clone(spool),
        })
    }

    /// Adds the hash of every row's key.
    pub(crate) fn add(
        &mut self,
        rows: &RecordBatch,
        keys: &mut BlobKeys,
    ) -> Result<(), PipelineError> {
        let hasher = BuildHasherDefault::<DefaultHasher>::new();
        let schema = rows.schema();
        let columns = self.columns.iter().map(|name| {
            let index = schema.index_of(name)?;
            Ok(rows.column(index).clone())
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>, ArrowError>>();
        self.of_batch.clear();
        columns
            .and_then(|columns| self.converter.append(&mut self.of_batch, &columns))
            .map_err(|error| defect(&error))?;
        for key in &self.of_batch {
            keys.waiting.push(hasher.hash_one(key.as_ref()));
        }
        if keys.waiting.len() >= RUN_HASHES {
            self.spool.flush(keys)?;
        }
        Ok(())
    }

    /// The keys of a blob that was read to its end, none of them in memory.
    pub(crate) fn finish(&self, mut keys: BlobKeys) -> Result<BlobKeys, PipelineError> {
        self.spool.flush(&mut keys)?;
        keys.waiting = Vec::new();
        Ok(keys)
    }
}

fn defect(error: &ArrowError) -> PipelineError {
    PipelineError::Defect(error.to_string())
}

/// Keys that come more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Duplicates {
    /// Rows whose key another row has: of three rows with one key, two.
    pub(crate) rows: u64,
    /// A few of the keys: the blobs that they are in.
    pub(crate) examples: Vec<DuplicateKeyReport>,
}

/// Finds the keys that come more than once, of blobs and what [`KeyHasher::finish`] gave for each.
pub(crate) fn duplicates(
    spool: &KeySpool,
    blobs: &[(String, BlobKeys)],
) -> Result<Duplicates, PipelineError> {
    let mut found = Duplicates::default();
    let (mut of_range, mut bytes) = (Vec::new(), Vec::new());
    let hashes = blobs.iter().map(|(_, keys)| keys.hashes()).sum::<usize>();
    let ranges_at_once = (RANGES * HASHES_AT_ONCE / hashes.max(1)).clamp(1, RANGES);
    for first in (0..RANGES).step_by(ranges_at_once) {
        let ranges = first..(first + ranges_at_once).min(RANGES);
        of_range.clear();
        for (blob, (_, keys)) in blobs.iter().enumerate() {
            for run in &keys.runs {
                let read = spool.read(run, ranges.clone(), &mut bytes);
                read.map_err(|error| failed(&spool.directory, error))?;
                let (hashes, _) = bytes.as_chunks::<HASH_BYTES>();
                of_range.extend(
                    hashes
                        .iter()
                        .map(|hash| (KeyHash::from_le_bytes(*hash), blob)),
                );
            }
        }
        of_range.sort_unstable();
        let same_key = |one: &(KeyHash, usize), other: &(KeyHash, usize)| one.0 == other.0;
        for rows in of_range.chunk_by(same_key).filter(|rows| rows.len() > 1) {
            found.rows += rows.len() as u64 - 1;
            if found.examples.len() < EXAMPLES {
                // Blobs come in the order in which they were done, which is chance.
                let with_it: BTreeSet<&str> =
                    rows.iter().map(|(_, blob)| &*blobs[*blob].0).collect();
                let names = with_it.into_iter().take(BLOBS_OF_EXAMPLE);
                found.examples.push(DuplicateKeyReport {
                    rows: rows.len() as u64,
                    blobs: names.map(str::to_owned).collect(),
                });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, StringArray, new_null_array};

    use super::*;

    fn hashed(spool: &Arc<KeySpool>, keys: &[&str]) -> BlobKeys {
        let dataset = Dataset::built_in("info_gathering").unwrap();
        let schema = dataset.file_schema();
        let columns = schema.fields().iter().map(|field| {
            if field.name() == "device_id" {
                Arc::new(StringArray::from(keys.to_vec())) as Arc<dyn Array>
            } else {
                new_null_array(field.data_type(), keys.len())
            }
        });
        let nullable: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        let schema = Arc::new(arrow::datatypes::Schema::new(nullable));
        let rows = RecordBatch::try_new(schema, columns.collect()).unwrap();
        let mut hasher = KeyHasher::new(&dataset, spool).unwrap();
        let mut keys = BlobKeys::default();
        hasher.add(&rows, &mut keys).unwrap();
        hasher.finish(keys).unwrap()
    }

    fn duplicates_of(blobs: &[(&str, &[&str])]) -> Duplicates {
        let folder = tempfile::tempdir().unwrap();
        let spool = Arc::new(KeySpool::new(folder.path()).unwrap());
        let blobs = blobs
            .iter()
            .map(|(name, keys)| ((*name).to_owned(), hashed(&spool, keys)));
        duplicates(&spool, &blobs.collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn keys_that_come_twice_are_counted_with_the_blobs_that_they_are_in() {
        let mut found = duplicates_of(&[
            ("one", &["a", "b", "c"]),
            ("two", &["d", "a", "e"]),
            ("three", &["a", "f", "f"]),
        ]);
        assert_eq!(found.rows, 3);
        found.examples.sort_by_key(|example| example.rows);
        assert_eq!(
            found.examples,
            [
                DuplicateKeyReport {
                    rows: 2,
                    blobs: vec!["three".to_owned()]
                },
                DuplicateKeyReport {
                    rows: 3,
                    blobs: ["one", "three", "two"].map(str::to_owned).to_vec()
                },
            ]
        );
    }

    #[test]
    fn different_keys_are_no_duplicates_and_examples_are_few() {
        let keys: Vec<String> = (0..RUN_HASHES + 2000)
            .map(|number| format!("{number:040x}"))
            .collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        assert_eq!(duplicates_of(&[("one", &keys)]), Duplicates::default());
        let found = duplicates_of(&[("one", &keys), ("two", &keys[1000..3000])]);
        assert_eq!((found.rows, found.examples.len()), (2000, EXAMPLES));
        assert!(found.examples.iter().all(|key| key.blobs == ["one", "two"]));
        // More than are compared at once, and as many as make the ranges uneven.
        let many: Vec<(&str, &[&str])> = vec![("one", &keys[..]); 7];
        assert_eq!(duplicates_of(&many).rows, 6 * keys.len() as u64);
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = KeySpool::new(Path::new("/nonexistent/spool")).unwrap_err();
        let PipelineError::Machine { what, .. } = error else {
            panic!("{error}");
        };
        assert!(what.ends_with("/nonexistent/spool"), "{what}");
    }
}
