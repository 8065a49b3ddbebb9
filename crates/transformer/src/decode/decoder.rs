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
//! | an empty text for another type, `Unknown` for a bool    | null; counted as drift                                      |
//! | a string that should hold an object and does not        | the string in `_rescued_data` under its wire path           |
//! | a key twice in one object                               | the last value, as in `serde_json`                          |
//! | a key of the schema in another case                     | as that key, and counted as drift                           |
//! | several spellings of one key that have a value          | the best one's; the others' in `_rescued_data`              |
//! | half a surrogate pair, or bytes that are no UTF-8       | U+FFFD; the original value in `_rescued_data`, in base64    |
//! | no JSON object, or null in a column that takes none     | quarantined, whole                                          |
//!
//! Speed comes from expecting keys in the order of the last record (a comparison in place of a search) and from reading a nested
//! JSON string in place. One that is not written plainly is unescaped first, into a buffer that is kept; both ways give the
//! same row.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use dataset::{Dataset, Snapshot};

use super::damage::Repaired;
use super::group_source::GroupSource;
use super::record_walk::RecordWalk;
use super::rescue::{Drift, DriftKind};
use super::scanner::{Scanner, check};
use super::wire_tree::{Target, WireTree};
use crate::columns::{Column, ConstantColumns, TextColumn, of_type};
use crate::quarantine::Reason;

/// Decodes the records of one snapshot, line by line.
#[derive(Debug)]
pub struct RecordDecoder {
    tree: WireTree,
    pub(super) walk: RecordWalk,
    columns: Vec<Column>,
    /// Records that are rows; the open one becomes the next.
    rows: usize,
    file_schema: SchemaRef,
    /// That of the last batch.
    batch_schema: SchemaRef,
    required: Vec<RequiredColumn>,

    constant: ConstantColumns,
    rescued_data: TextColumn,
    rescued_json: Vec<u8>,
    rbac_group_ids: Vec<i64>,
    /// Of the blob before, for the next one.
    line_buffer: Vec<u8>,

    drift: Drift,
}

/// A column that has a value in every row.
#[derive(Debug)]
struct RequiredColumn {
    index: usize,
    name: String,
    /// Whether it is a column of the unique key: an empty text is then as good as none.
    is_key: bool,
}

/// A batch of rows.
#[derive(Debug)]
pub struct DecodedBatch {
    /// The rows, with the columns of [`Dataset::file_schema`]; strings may be by dictionary.
    pub rows: RecordBatch,
    /// Each row's device group.
    pub rbac_group_ids: Vec<i64>,
}

impl RecordDecoder {
    /// A decoder for the records of `snapshot`.
    pub fn new(dataset: &Dataset, snapshot: &Snapshot) -> Self {
        let tree = WireTree::new(&dataset.columns, Some(&dataset.partition.wire));
        let hash_seed = RandomState::new().hash_one(0_u8);
        let required = dataset
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| !column.nullable);
        Self {
            walk: RecordWalk::new(&dataset.columns, &tree),
            tree,
            columns: dataset
                .columns
                .iter()
                .map(|column| {
                    // What is unique by itself never repeats.
                    let may_repeat = dataset.unique_key != [column.name.as_str()];
                    Column::new(&column.column_type, may_repeat.then_some(hash_seed))
                })
                .collect(),
            rows: 0,
            file_schema: dataset.file_schema(),
            batch_schema: dataset.file_schema(),
            required: required
                .map(|(index, column)| RequiredColumn {
                    index,
                    name: column.name.clone(),
                    is_key: dataset.unique_key.contains(&column.name),
                })
                .collect(),
            constant: ConstantColumns::new(snapshot),
            rescued_data: TextColumn::new(None),
            rescued_json: Vec::new(),
            rbac_group_ids: Vec::new(),
            line_buffer: Vec::new(),
            drift: Drift::default(),
        }
    }

    /// Says where the following records' device group comes from.
    pub fn set_group_source(&mut self, group_source: GroupSource) {
        self.walk.group_source = group_source;
    }

    /// Whether strings that repeat come as dictionary arrays, in columns, lists and maps, from the next batch on; at first they
    /// do not. Batches with dictionaries differ in their types: one is by dictionary what another is not.
    pub fn allow_dictionaries(&mut self, are_allowed: bool) {
        for column in &mut self.columns {
            column.allow_dictionary(are_allowed);
        }
        self.constant.allow_dictionary(are_allowed);
    }

    /// Rows decoded since the last batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Decodes one record, which is not blank, into one row; if it cannot be a row, says why and leaves no trace of it.
    pub fn decode(&mut self, record: &[u8]) -> Result<(), Reason> {
        self.decode_as(record, false).map(drop)
    }

    /// As [`Self::decode`], of the first record of a line: others may follow it without a newline. Gives where the next one begins.
    pub fn decode_first(&mut self, line: &[u8]) -> Result<usize, Reason> {
        self.decode_as(line, true)
    }

    fn decode_as(&mut self, line: &[u8], may_go_on: bool) -> Result<usize, Reason> {
        if self.rows == 0 {
            self.columns.iter_mut().for_each(Column::begin);
            self.rescued_data.begin();
        }
        let decoded = self.decode_record(line, may_go_on);
        if decoded.is_err() {
            self.clear_row();
        }
        decoded
    }

    /// Takes back what the open record has left.
    fn clear_row(&mut self) {
        for column in &mut self.columns {
            column.clear(self.rows);
        }
    }

    fn decode_record(&mut self, line: &[u8], may_go_on: bool) -> Result<usize, Reason> {
        let decoded = match simdutf8::compat::from_utf8(line) {
            Ok(_) => self.decode_text(line, may_go_on),
            Err(error) => Err(Reason::InvalidUtf8 {
                column: error.valid_up_to() + 1,
            }),
        };
        match decoded {
            Err(reason @ (Reason::InvalidUtf8 { .. } | Reason::InvalidJson { .. })) => {
                self.decode_damaged(line, may_go_on, reason)
            }
            decoded => decoded,
        }
    }

    /// Decodes a line that is no text or no JSON, for that reason, with U+FFFD in the place of what is no text.
    #[cold]
    fn decode_damaged(
        &mut self,
        line: &[u8],
        may_go_on: bool,
        reason: Reason,
    ) -> Result<usize, Reason> {
        let Some(Repaired { text, damage }) = Repaired::of(line) else {
            return Err(reason);
        };
        self.clear_row();
        self.walk.damage = vec![Some(damage)];
        let decoded = self.decode_text(&text, may_go_on);
        let damage = std::mem::take(&mut self.walk.damage).pop().flatten();
        match (decoded, damage) {
            (Ok(end), Some(damage)) => Ok(damage.original_at(end)),
            (Err(Reason::InvalidUtf8 { .. } | Reason::InvalidJson { .. }), _) => Err(reason),
            (decoded, _) => decoded,
        }
    }

    fn decode_text(&mut self, line: &[u8], may_go_on: bool) -> Result<usize, Reason> {
        let mut scanner = Scanner::new(line);
        if scanner.peek() != Some(b'{') {
            check(line)?;
            return Err(Reason::NotAnObject);
        }
        let start = scanner;
        self.walk.row = self.rows;
        self.walk.begin_record();
        loop {
            let (tree, columns) = (&self.tree, &mut self.columns);
            self.walk.object(tree, columns, 0, &mut scanner, 0, 0)?;
            if !(may_go_on && scanner.peek() == Some(b'{')) {
                scanner.end()?;
            }
            if !self.walk.learn(&mut self.tree) {
                break;
            }
            self.clear_row();
            scanner = start;
        }
        self.check_required()?;
        let group = self.walk.group_source.group(self.walk.record_group);
        let group = group.ok_or_else(|| Reason::MissingPartition {
            found: self.unusable_group(),
        })?;

        if let Some(damage) = self.walk.damage.first() {
            let rest = damage
                .as_ref()
                .and_then(|damage| damage.take_rest(scanner.at()));
            if let Some(rest) = rest {
                let rescue = &mut self.walk.rescue;
                rescue.add("".into(), DriftKind::Damaged, rest.as_bytes());
            }
        }
        if !self.walk.rescue.is_empty() {
            let rescue = &mut self.walk.rescue;
            if rescue.finish(&mut self.rescued_json, &mut self.drift) {
                self.rescued_data.set(self.rows, &self.rescued_json);
                self.drift.rows_rescued += 1;
            }
        }
        self.walk.count_spellings();
        self.rbac_group_ids.push(group);
        self.rows += 1;
        Ok(scanner.at())
    }

    /// What the open record has in the place of a device group, as JSON, cut off where it is long.
    #[cold]
    fn unusable_group(&self) -> Option<String> {
        const SHOWN: usize = 60;
        let children = self.tree.nodes.iter().flat_map(|node| &node.children);
        let mut groups = children.filter(|child| child.target == Target::Partition);
        let found = groups.find_map(|child| self.walk.rescue.value_of(&child.path))?;
        let text = String::from_utf8_lossy(found);
        Some(text.chars().take(SHOWN).collect())
    }

    /// Whether the open record has all that it may not lack.
    fn check_required(&self) -> Result<(), Reason> {
        for required in &self.required {
            let column = &self.columns[required.index];
            let is_empty = |column: &Column| match column {
                Column::Text(texts) => texts.get(self.rows).is_empty(),
                _ => false,
            };
            if !column.has_value(self.rows) || required.is_key && is_empty(column) {
                let column = required.name.clone();
                return Err(match required.is_key {
                    true => Reason::MissingKey { column },
                    false => Reason::MissingValue { column },
                });
            }
        }
        Ok(())
    }

    /// The rows decoded since the last batch.
    pub fn take_batch(&mut self) -> Result<DecodedBatch, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.file_schema.fields().len());
        self.drift.column_nulls.resize(self.columns.len(), 0);
        let nulls = self.drift.column_nulls.iter_mut();
        let columns = self.columns.iter_mut().zip(self.file_schema.fields());
        for ((column, field), nulls) in columns.zip(nulls) {
            let array = column.finish(rows, field.data_type())?;
            *nulls += array.logical_null_count() as u64;
            arrays.push(array);
        }
        arrays.extend(self.constant.of_rows(rows)?);
        arrays.push(self.rescued_data.finish(rows)?);
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

    /// What records held beyond their columns since last asked.
    pub fn take_drift(&mut self) -> Drift {
        let mut drift = std::mem::take(&mut self.drift);
        self.walk.take_spellings(&self.tree, "", &mut drift);
        drift
    }
}
