//! Whether the unique key is unique: a hash of every row's key, compared over the whole snapshot before the commit.
//!
//! Memory: 8 bytes a row. Two different keys are taken for one with a chance below 3e-8 for a million
//! rows and below 3e-6 for ten million. The keys themselves are not kept: the report names blobs, and a query of the table the
//! keys.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use dataset::Dataset;
use rayon::slice::ParallelSliceMut;

use crate::report::DuplicateKeyReport;

/// Keys that are told as examples.
const EXAMPLES: usize = 5;
/// Blobs that are told of one key.
const BLOBS_OF_EXAMPLE: usize = 4;
/// Ranges of hashes that are compared one after another.
const RANGES: KeyHash = 64;
const RANGE_SHIFT: u32 = KeyHash::BITS - RANGES.ilog2();
/// Hash of a row's key.
pub(crate) type KeyHash = u64;

/// Hashes the unique keys of rows.
#[derive(Debug)]
pub(crate) struct KeyHasher {
    columns: Vec<String>,
    converter: RowConverter,
}

impl KeyHasher {
    pub(crate) fn new(dataset: &Dataset) -> Result<Self, ArrowError> {
        let schema = dataset.file_schema();
        let fields = dataset.unique_key.iter().map(|name| {
            let field = schema.field_with_name(name)?;
            Ok(SortField::new(field.data_type().clone()))
        });
        Ok(Self {
            converter: RowConverter::new(fields.collect::<Result<_, ArrowError>>()?)?,
            columns: dataset.unique_key.clone(),
        })
    }

    /// Adds the hash of every row's key.
    pub(crate) fn add(
        &self,
        rows: &RecordBatch,
        hashes: &mut Vec<KeyHash>,
    ) -> Result<(), ArrowError> {
        let hasher = BuildHasherDefault::<DefaultHasher>::new();
        let schema = rows.schema();
        let columns = self.columns.iter().map(|name| {
            let index = schema.index_of(name)?;
            Ok(rows.column(index).clone())
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>, ArrowError>>()?;
        let keys = self.converter.convert_columns(&columns)?;
        hashes.extend(keys.iter().map(|key| hasher.hash_one(key.as_ref())));
        Ok(())
    }
}

/// Keys that come more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Duplicates {
    /// Rows whose key another row has: of three rows with one key, two.
    pub(crate) rows: u64,
    /// A few of the keys: the blobs that they are in.
    pub(crate) examples: Vec<DuplicateKeyReport>,
}

/// Finds the keys that come more than once, of blobs and the hashes of their keys. Runs on the threads that it is called on.
///
/// The hashes are sorted where they are and compared range by range, so that no second copy of all of them is made.
pub(crate) fn duplicates(mut blobs: Vec<(String, Vec<KeyHash>)>) -> Duplicates {
    for (_, of_blob) in &mut blobs {
        of_blob.par_sort_unstable();
    }
    let mut found = Duplicates::default();
    let mut of_range = Vec::new();
    for range in 0..RANGES {
        of_range.clear();
        for (_, of_blob) in &blobs {
            let start = of_blob.partition_point(|hash| hash >> RANGE_SHIFT < range);
            let rest = &of_blob[start..];
            let length = rest.partition_point(|hash| hash >> RANGE_SHIFT == range);
            of_range.extend_from_slice(&rest[..length]);
        }
        of_range.sort();
        for rows in of_range.chunk_by(KeyHash::eq).filter(|rows| rows.len() > 1) {
            found.rows += rows.len() as u64 - 1;
            if found.examples.len() < EXAMPLES {
                let with_it = blobs
                    .iter()
                    .filter(|(_, of_blob)| of_blob.binary_search(&rows[0]).is_ok());
                let mut names: Vec<String> = with_it.map(|(name, _)| name.clone()).collect();
                // They come in the order in which their parts were done.
                names.sort_unstable();
                names.truncate(BLOBS_OF_EXAMPLE);
                found.examples.push(DuplicateKeyReport {
                    rows: rows.len() as u64,
                    blobs: names,
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, StringArray, new_null_array};

    use super::*;

    fn hashes(keys: &[&str]) -> Vec<KeyHash> {
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
        let mut hashes = Vec::new();
        KeyHasher::new(&dataset)
            .unwrap()
            .add(&rows, &mut hashes)
            .unwrap();
        hashes
    }

    #[test]
    fn keys_that_come_twice_are_counted_with_the_blobs_that_they_are_in() {
        let blobs = vec![
            ("one".to_owned(), hashes(&["a", "b", "c"])),
            ("two".to_owned(), hashes(&["d", "a", "e"])),
            ("three".to_owned(), hashes(&["a", "f", "f"])),
        ];
        let mut found = duplicates(blobs);
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
        let keys: Vec<String> = (0..2000).map(|number| format!("{number:040x}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let once = vec![("one".to_owned(), hashes(&keys))];
        assert_eq!(duplicates(once), Duplicates::default());
        let twice = vec![
            ("one".to_owned(), hashes(&keys)),
            ("two".to_owned(), hashes(&keys)),
        ];
        let found = duplicates(twice);
        assert_eq!((found.rows, found.examples.len()), (2000, EXAMPLES));
    }
}
