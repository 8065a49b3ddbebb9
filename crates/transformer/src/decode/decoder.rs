//! One line to one row: decodes a record's JSON straight into growing columns, through the JSON strings inside it, with no
//! value tree in between.
//!
//! | on the wire                                             | in the table                                                |
//! |---------------------------------------------------------|-------------------------------------------------------------|
//! | a key that the schema names, a value that fits its type | the value                                                   |
//! | null, or no such key                                    | null                                                        |
//! | a value that does not fit its type                      | null, and the value in `_rescued_data` under its wire path  |
//! | a key that the schema does not name                     | in `_rescued_data` under its wire path                      |
//! | null under a key that the schema does not name          | nothing: it carries no value, and is not counted as drift   |
//! | a string that should hold an object and does not        | the string in `_rescued_data` under its wire path           |
//! | a key twice in one object                               | the last value, as in `serde_json`                          |
//! | no JSON object, or no unique key                        | quarantined, whole                                          |
//!
//! Speed comes from expecting keys in the order of the last record (a comparison in place of a search) and from reading a nested
//! JSON string in place. One that is not written plainly is unescaped first, into a buffer that is kept; both ways give the
//! same row.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use dataset::{Dataset, Snapshot};

use super::group_source::GroupSource;
use super::record_walk::RecordWalk;
use super::rescue::DriftKind;
use super::scanner::{Scanner, check};
use super::wire_tree::WireTree;
use crate::columns::{Column, ConstantColumns, TextColumn, of_type};
use crate::quarantine::Reason;

/// Decodes the records of one snapshot, line by line.
#[derive(Debug)]
pub struct RecordDecoder {
    tree: WireTree,
    pub(super) walk: RecordWalk,
    file_schema: SchemaRef,
    /// That of the last batch.
    batch_schema: SchemaRef,
    unique_key: Vec<RequiredColumn>,

    constant: ConstantColumns,
    rescued_data: TextColumn,
    rescued_json: Vec<u8>,
    rbac_group_ids: Vec<i64>,
    /// Of the blob before, for the next one.
    line_buffer: Vec<u8>,

    rows_rescued: u64,
    drift: HashMap<(String, DriftKind), u64>,
}

#[derive(Debug)]
struct RequiredColumn {
    index: usize,
    name: String,
}

/// A batch of rows.
#[derive(Debug)]
pub struct DecodedBatch {
    /// The rows, with the columns of [`Dataset::file_schema`]; strings may be by dictionary.
    pub rows: RecordBatch,
    /// Each row's device group.
    pub rbac_group_ids: Vec<i64>,
}

/// What records held beyond their columns, since last asked.
#[derive(Debug, Default)]
pub struct Drift {
    /// Rows with something in `_rescued_data`.
    pub rows_rescued: u64,
    /// In how many records each wire path was rescued.
    pub paths: HashMap<(String, DriftKind), u64>,
}

impl RecordDecoder {
    /// A decoder for the records of `snapshot`.
    pub fn new(dataset: &Dataset, snapshot: &Snapshot) -> Self {
        let tree = WireTree::new(dataset);
        let hash_seed = RandomState::new().hash_one(0_u8);
        let required = dataset
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| !column.nullable);
        Self {
            walk: RecordWalk::new(dataset, &tree, hash_seed),
            tree,
            file_schema: dataset.file_schema(),
            batch_schema: dataset.file_schema(),
            unique_key: required
                .map(|(index, column)| RequiredColumn {
                    index,
                    name: column.name.clone(),
                })
                .collect(),
            constant: ConstantColumns::new(snapshot),
            rescued_data: TextColumn::new(None),
            rescued_json: Vec::new(),
            rbac_group_ids: Vec::new(),
            line_buffer: Vec::new(),
            rows_rescued: 0,
            drift: HashMap::new(),
        }
    }

    /// Says where the following records' device group comes from.
    pub fn set_group_source(&mut self, group_source: GroupSource) {
        self.walk.group_source = group_source;
    }

    /// Whether strings that repeat come as dictionary arrays, in columns, lists and maps, from the next batch on; at first they
    /// do not. Batches with dictionaries differ in their types: one is by dictionary what another is not.
    pub fn allow_dictionaries(&mut self, are_allowed: bool) {
        for value in &mut self.walk.columns {
            value.column.allow_dictionary(are_allowed);
        }
        self.constant.allow_dictionary(are_allowed);
    }

    /// Rows decoded since the last batch.
    pub fn rows(&self) -> usize {
        self.walk.rows
    }

    /// Decodes one line, which is not blank, into one row; if it cannot be a row, says why and leaves no trace of it.
    pub fn decode(&mut self, line: &[u8]) -> Result<(), Reason> {
        if self.walk.rows == 0 {
            for value in &mut self.walk.columns {
                value.column.begin();
            }
            self.rescued_data.begin();
        }
        self.walk.rescue.clear();
        self.walk.record_group = None;
        let decoded = self.decode_record(line);
        if decoded.is_err() {
            for value in &mut self.walk.columns {
                value.column.clear(self.walk.rows);
            }
        }
        decoded
    }

    fn decode_record(&mut self, line: &[u8]) -> Result<(), Reason> {
        if let Err(error) = simdutf8::compat::from_utf8(line) {
            return Err(Reason::InvalidUtf8 {
                column: error.valid_up_to() + 1,
            });
        }
        let mut scanner = Scanner::new(line);
        if scanner.peek() != Some(b'{') {
            check(line)?;
            return Err(Reason::NotAnObject);
        }
        self.walk.object(&self.tree, 0, &mut scanner, 0, 0)?;
        scanner.end()?;

        for required in &self.unique_key {
            let column = &self.walk.columns[required.index].column;
            let empty = |column: &Column| match column {
                // An empty text is as good as none.
                Column::Text(texts) => texts.get(self.walk.rows).is_empty(),
                _ => false,
            };
            if !column.has_value(self.walk.rows) || empty(column) {
                return Err(Reason::MissingKey {
                    column: required.name.clone(),
                });
            }
        }
        let group = self.walk.group_source.group(self.walk.record_group);
        let group = group.ok_or(Reason::MissingPartition)?;

        if !self.walk.rescue.is_empty()
            && self
                .walk
                .rescue
                .finish(&mut self.rescued_json, &mut self.drift)
        {
            self.rescued_data.set(self.walk.rows, &self.rescued_json);
            self.rows_rescued += 1;
        }
        self.rbac_group_ids.push(group);
        self.walk.rows += 1;
        Ok(())
    }

    /// The rows decoded since the last batch.
    pub fn take_batch(&mut self) -> Result<DecodedBatch, ArrowError> {
        let rows = self.walk.rows;
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.file_schema.fields().len());
        for (value, field) in self.walk.columns.iter_mut().zip(self.file_schema.fields()) {
            arrays.push(value.column.finish(rows, field.data_type())?);
        }
        arrays.extend(self.constant.of_rows(rows)?);
        arrays.push(self.rescued_data.finish(rows)?);
        self.walk.rows = 0;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = self.schema_of(&arrays);
        Ok(DecodedBatch {
            rows: RecordBatch::try_new_with_options(schema, arrays, &options)?,
            rbac_group_ids: std::mem::take(&mut self.rbac_group_ids),
        })
    }

    /// The file's columns with the types of these arrays: strings, or dictionaries of them.
    fn schema_of(&mut self, arrays: &[ArrayRef]) -> SchemaRef {
        let fields = self.batch_schema.fields().iter().zip(arrays);
        let as_last = fields
            .clone()
            .all(|(field, array)| field.data_type() == array.data_type());
        if !as_last {
            let fields = fields.map(|(field, array)| of_type(field, array.data_type()));
            self.batch_schema = Arc::new(Schema::new(fields.collect::<Fields>()));
        }
        Arc::clone(&self.batch_schema)
    }

    /// A buffer for lines, to be given back; none is an empty one.
    pub(crate) fn take_line_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.line_buffer)
    }

    /// Keeps the buffer for the next blob's lines.
    pub(crate) fn keep_line_buffer(&mut self, buffer: Vec<u8>) {
        self.line_buffer = buffer;
    }

    /// What was rescued since last asked.
    pub fn take_drift(&mut self) -> Drift {
        Drift {
            rows_rescued: std::mem::take(&mut self.rows_rescued),
            paths: std::mem::take(&mut self.drift),
        }
    }
}
