//! Whether the unique key is unique: a hash of every row's key, compared over the whole snapshot.
//!
//! The hashes, 8 bytes a row, are stored in an unnamed temporary file, so that memory does not grow with the snapshot. Two different keys are
//! taken for one with a chance below 3e-8 for a million rows and below 3e-6 for ten million. The keys themselves are not kept.

use std::collections::BTreeSet;
use std::fs::File;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float64Type, Int64Type, TimestampMicrosecondType,
    UInt16Type,
};
use arrow::record_batch::RecordBatch;
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// Keys that are given as examples.
const EXAMPLES: usize = 5;
/// Origins that are named for one key.
const ORIGINS_OF_EXAMPLE: usize = 4;
/// Ranges of hashes that can be compared one after another.
const RANGES: usize = 64;
/// Hashes, about, up to which several ranges are compared at once: 256 KiB.
const HASHES_AT_ONCE: usize = 16 << 10;
const RANGE_SHIFT: u32 = KeyHash::BITS - RANGES.ilog2();
/// Hashes after which a run of them goes to the file: 64 KiB.
const RUN_HASHES: usize = 8 << 10;
const HASH_BYTES: usize = size_of::<KeyHash>();

/// Hash of a row's key.
pub(crate) type KeyHash = u64;

/// The file of the hashes of a snapshot.
#[derive(Debug)]
pub struct KeySpool {
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

/// The hashes of the keys of one blob or file: those in a [`KeySpool`], and those in memory.
///
/// Serialised, all of them are in the record, 8 bytes each in base64, so that another process can compare them.
#[derive(Debug, Default)]
pub struct KeyHashes {
    spool: Option<Arc<KeySpool>>,
    runs: Vec<Run>,
    waiting: Vec<KeyHash>,
}

impl KeyHashes {
    /// No hashes yet; those to come go into the spool.
    pub fn new(spool: &Arc<KeySpool>) -> Self {
        Self {
            spool: Some(Arc::clone(spool)),
            ..Self::default()
        }
    }

    fn count(&self) -> usize {
        let in_run = |run: &Run| run.ends[RANGES - 1] as usize;
        self.waiting.len() + self.runs.iter().map(in_run).sum::<usize>()
    }

    /// Moves what waits into the spool. Without one, nothing.
    fn flush(&mut self) -> Result<()> {
        if let Some(spool) = self.spool.as_ref().filter(|_| !self.waiting.is_empty()) {
            let run = spool.append(&mut self.waiting)?;
            self.runs.push(run);
        }
        Ok(())
    }

    /// The hashes of a blob or file that was read to its end, none of them in memory.
    ///
    /// # Errors
    /// What writing the spool answers.
    pub fn finish(mut self) -> Result<Self> {
        self.flush()?;
        self.waiting = Vec::new();
        Ok(self)
    }

    /// Gives the hashes in some ranges, of which there is one at least.
    fn read(&self, ranges: Range<usize>, mut take: impl FnMut(KeyHash)) -> Result<()> {
        let mut bytes = Vec::new();
        if let Some(spool) = &self.spool {
            for run in &self.runs {
                let read = spool.read(run, ranges.clone(), &mut bytes);
                read.map_err(|error| failed(&spool.directory, &error))?;
                let (hashes, _) = bytes.as_chunks::<HASH_BYTES>();
                hashes
                    .iter()
                    .for_each(|hash| take(KeyHash::from_le_bytes(*hash)));
            }
        }
        let is_in = |hash: &&KeyHash| ranges.contains(&((**hash >> RANGE_SHIFT) as usize));
        self.waiting
            .iter()
            .filter(is_in)
            .for_each(|hash| take(*hash));
        Ok(())
    }
}

impl Serialize for KeyHashes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(self.count() * HASH_BYTES);
        let read = self.read(0..RANGES, |hash| bytes.extend(hash.to_le_bytes()));
        read.map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for KeyHashes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD.decode(text).map_err(D::Error::custom)?;
        let (hashes, []) = bytes.as_chunks::<HASH_BYTES>() else {
            return Err(D::Error::custom("a hash of a key is cut"));
        };
        let hashes = hashes.iter().map(|hash| KeyHash::from_le_bytes(*hash));
        Ok(Self {
            waiting: hashes.collect(),
            ..Self::default()
        })
    }
}

impl KeySpool {
    /// An empty file in that directory, which goes with the process.
    ///
    /// # Errors
    /// [`Error::Store`] and its like, with the directory.
    pub fn new(directory: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(directory).map_err(|error| failed(directory, &error))?;
        Ok(Self {
            directory: directory.to_owned(),
            file: Mutex::new(file),
        })
    }

    /// Moves hashes into the file.
    fn append(&self, hashes: &mut Vec<KeyHash>) -> Result<Run> {
        hashes.sort_unstable();
        let mut ends = [0; RANGES];
        for (range, end) in ends.iter_mut().enumerate() {
            let before = |hash: &KeyHash| (hash >> RANGE_SHIFT) as usize <= range;
            *end = hashes.partition_point(before) as u32;
        }
        let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
        hashes.clear();
        let write = || {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            let offset = file.seek(SeekFrom::End(0))?;
            file.write_all(&bytes)?;
            Ok(offset)
        };
        let offset = write().map_err(|error| failed(&self.directory, &error))?;
        Ok(Run { offset, ends })
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

fn failed(directory: &Path, error: &io::Error) -> Error {
    Error::disk(
        "keep hashes of unique keys in",
        &directory.display().to_string(),
        error,
    )
}

/// Hashes the unique keys of rows. Keeps its buffer from batch to batch.
#[derive(Debug, Clone)]
pub struct KeyHasher {
    columns: Vec<String>,
    /// Of the batch at hand.
    hashes: Vec<KeyHash>,
}

impl KeyHasher {
    /// A hasher of a dataset's unique key.
    pub fn new(unique_key: &[String]) -> Self {
        Self {
            columns: unique_key.to_vec(),
            hashes: Vec::new(),
        }
    }

    /// Adds the hash of every row's key. Null is a value of a column, and a string hashes as it does in a dictionary.
    ///
    /// # Errors
    /// Those of the spool; [`Error::KeyColumn`].
    pub fn add(&mut self, rows: &RecordBatch, keys: &mut KeyHashes) -> Result<()> {
        keys.waiting.extend_from_slice(self.hash(rows)?);
        if keys.waiting.len() >= RUN_HASHES {
            keys.flush()?;
        }
        Ok(())
    }

    /// The hashes of the rows' keys.
    pub(crate) fn hash(&mut self, rows: &RecordBatch) -> Result<&[KeyHash]> {
        self.hashes.clear();
        self.hashes.resize(rows.num_rows(), 0);
        for name in &self.columns {
            let hashed = match rows.column_by_name(name) {
                Some(column) => hash_column(column, &mut self.hashes),
                None => Err("is missing".to_owned()),
            };
            hashed.map_err(|message| Error::KeyColumn {
                column: name.clone(),
                message,
            })?;
        }
        Ok(&self.hashes)
    }
}

/// Mixes the values of one more key column into the hashes of its rows.
fn hash_column(column: &ArrayRef, hashes: &mut [KeyHash]) -> Result<(), String> {
    match column.data_type() {
        DataType::Utf8 => mix(hashes, column.as_string::<i32>().iter()),
        DataType::Dictionary(_, values) if **values == DataType::Utf8 => {
            let Some(column) = column.as_dictionary_opt::<UInt16Type>() else {
                return Err(no_key(column.data_type()));
            };
            let values = column.values().as_string::<i32>();
            let known: Vec<KeyHash> = values.iter().map(hash).collect();
            let null = hash(None::<&str>);
            for (row_hash, key) in hashes.iter_mut().zip(column.keys()) {
                let value = key.and_then(|key| known.get(usize::from(key)).copied());
                *row_hash = mixed(*row_hash, value.unwrap_or(null));
            }
        }
        DataType::Boolean => mix(hashes, column.as_boolean().iter()),
        DataType::Int64 => mix_numbers::<Int64Type>(hashes, column.as_primitive()),
        DataType::Date32 => mix_numbers::<Date32Type>(hashes, column.as_primitive()),
        DataType::Timestamp(..) => {
            mix_numbers::<TimestampMicrosecondType>(hashes, column.as_primitive());
        }
        DataType::Float64 => {
            let numbers = column.as_primitive::<Float64Type>();
            mix(
                hashes,
                numbers.iter().map(|number| number.map(f64::to_bits)),
            );
        }
        other => return Err(no_key(other)),
    }
    Ok(())
}

fn no_key(data_type: &DataType) -> String {
    format!("is of type {data_type}, which no key column has")
}

fn mix_numbers<T: ArrowPrimitiveType<Native: Hash>>(
    hashes: &mut [KeyHash],
    numbers: &PrimitiveArray<T>,
) {
    mix(hashes, numbers.iter());
}

fn mix(hashes: &mut [KeyHash], values: impl Iterator<Item = Option<impl Hash>>) {
    for (row_hash, value) in hashes.iter_mut().zip(values) {
        *row_hash = mixed(*row_hash, hash(value));
    }
}

fn hash(value: Option<impl Hash>) -> KeyHash {
    BuildHasherDefault::<DefaultHasher>::new().hash_one(value)
}

/// The hash of a key that goes on with one more value.
fn mixed(hash: KeyHash, value: KeyHash) -> KeyHash {
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(value)
}

/// Keys that come more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Duplicates {
    /// Rows whose key another row has: of three rows with one key, two.
    pub rows: u64,
    /// A few of the keys.
    pub examples: Vec<DuplicateKey>,
}

/// A key that comes more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuplicateKey {
    /// Hash of the key.
    pub hash: u64,
    /// Rows with it.
    pub rows: u64,
    /// Names of the blobs or files with such rows, or of a few of them.
    pub origins: Vec<String>,
}

/// Finds the keys that come more than once, of blobs or files and what [`KeyHashes::finish`] gave for each.
///
/// # Errors
/// What reading the spool answers.
pub fn duplicate_keys(origins: &[(String, KeyHashes)]) -> Result<Duplicates> {
    let mut found = Duplicates::default();
    let mut of_range = Vec::new();
    let hashes = origins.iter().map(|(_, keys)| keys.count()).sum::<usize>();
    let ranges_at_once = (RANGES * HASHES_AT_ONCE / hashes.max(1)).clamp(1, RANGES);
    for first in (0..RANGES).step_by(ranges_at_once) {
        let ranges = first..(first + ranges_at_once).min(RANGES);
        of_range.clear();
        for (origin, (_, keys)) in origins.iter().enumerate() {
            keys.read(ranges.clone(), |hash| of_range.push((hash, origin)))?;
        }
        of_range.sort_unstable();
        let same_key = |one: &(KeyHash, usize), other: &(KeyHash, usize)| one.0 == other.0;
        for rows in of_range.chunk_by(same_key).filter(|rows| rows.len() > 1) {
            found.rows += rows.len() as u64 - 1;
            if found.examples.len() < EXAMPLES {
                // Blobs come in the order in which they were done, which is chance.
                let with_it: BTreeSet<&str> = rows
                    .iter()
                    .map(|(_, origin)| &*origins[*origin].0)
                    .collect();
                let names = with_it.into_iter().take(ORIGINS_OF_EXAMPLE);
                found.examples.push(DuplicateKey {
                    hash: rows[0].0,
                    rows: rows.len() as u64,
                    origins: names.map(str::to_owned).collect(),
                });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{DictionaryArray, Float64Array, Int64Array, StringArray};

    use super::*;

    fn rows(columns: Vec<ArrayRef>) -> RecordBatch {
        let names = ["device_id", "os_platform"];
        RecordBatch::try_from_iter_with_nullable(
            names
                .into_iter()
                .zip(columns)
                .map(|(name, column)| (name, column, true)),
        )
        .unwrap()
    }

    fn hashed(spool: &Arc<KeySpool>, keys: &[&str]) -> KeyHashes {
        let mut hasher = KeyHasher::new(&["device_id".to_owned()]);
        let mut hashes = KeyHashes::new(spool);
        let rows = rows(vec![Arc::new(StringArray::from(keys.to_vec()))]);
        hasher.add(&rows, &mut hashes).unwrap();
        hashes.finish().unwrap()
    }

    fn duplicates_of(blobs: &[(&str, &[&str])]) -> Duplicates {
        let folder = tempfile::tempdir().unwrap();
        let spool = Arc::new(KeySpool::new(folder.path()).unwrap());
        let blobs = blobs
            .iter()
            .map(|(name, keys)| ((*name).to_owned(), hashed(&spool, keys)));
        let blobs = blobs.collect::<Vec<_>>();
        let found = duplicate_keys(&blobs).unwrap();
        // Another process finds the same.
        let record = serde_json::to_string(&blobs).unwrap();
        let blobs: Vec<(String, KeyHashes)> = serde_json::from_str(&record).unwrap();
        assert_eq!(duplicate_keys(&blobs).unwrap(), found);
        found
    }

    #[test]
    fn keys_that_come_twice_are_counted_with_their_blobs() {
        let mut found = duplicates_of(&[
            ("one", &["a", "b", "c"]),
            ("two", &["d", "a", "e"]),
            ("three", &["a", "f", "f"]),
        ]);
        assert_eq!(found.rows, 3);
        found.examples.sort_by_key(|example| example.rows);
        let found: Vec<_> = found
            .examples
            .iter()
            .map(|example| (example.rows, example.origins.join(" ")))
            .collect();
        assert_eq!(
            found,
            [(2, "three".to_owned()), (3, "one three two".to_owned())]
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
        let mut examples = found.examples.iter();
        assert!(examples.all(|key| key.origins == ["one", "two"]));
        // More than are compared at once, and as many as make the ranges uneven.
        let many: Vec<(&str, &[&str])> = vec![("one", &keys[..]); 7];
        assert_eq!(duplicates_of(&many).rows, 6 * keys.len() as u64);
    }

    #[test]
    fn a_key_of_two_columns_keeps_its_values_and_nulls_apart() {
        let columns = ["device_id", "os_platform"].map(str::to_owned);
        let mut hasher = KeyHasher::new(&columns);
        let ids = ["a", "ab", "a", "a", "a", "a"];
        let platforms = [Some("bc"), Some("c"), None, Some(""), Some("bc"), None];
        let plain = StringArray::from(platforms.to_vec());
        let dictionary: DictionaryArray<UInt16Type> = platforms.into_iter().collect();
        let ids: ArrayRef = Arc::new(StringArray::from(ids.to_vec()));
        let plain = rows(vec![Arc::clone(&ids), Arc::new(plain)]);
        let hashes = hasher.hash(&plain).unwrap().to_vec();
        let distinct: BTreeSet<_> = hashes[..4].iter().collect();
        assert_eq!(distinct.len(), 4);
        assert_eq!((hashes[0], hashes[2]), (hashes[4], hashes[5]));
        let by_dictionary = rows(vec![ids, Arc::new(dictionary)]);
        assert_eq!(hasher.hash(&by_dictionary).unwrap(), hashes);
    }

    #[test]
    fn numbers_are_key_columns_and_a_missing_column_is_named() {
        let columns = ["device_id", "os_platform"].map(str::to_owned);
        let mut hasher = KeyHasher::new(&columns);
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(1)]));
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.5), Some(0.5), None]));
        let hashes = hasher.hash(&rows(vec![Arc::clone(&ids), numbers])).unwrap();
        assert_eq!(hashes.iter().collect::<BTreeSet<_>>().len(), 3);
        let error = hasher.hash(&rows(vec![ids])).unwrap_err();
        assert!(error.to_string().contains("`os_platform`"), "{error}");
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = KeySpool::new(Path::new("/nonexistent/spool")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/spool"), "{error}");
    }
}
