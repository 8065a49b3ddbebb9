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
//! JSON string where it lies. One that is not written plainly is unescaped first, into a buffer that is kept; both ways give the
//! same row.

mod collections;
mod plain;
mod rescue;
mod scalar;
mod scan;
mod special_bytes;
mod wire_tree;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::str::from_utf8;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use dataset::{Dataset, Snapshot};

use collections::{nested, string_list, string_map};
use plain::Plain;
pub use rescue::DriftKind;
use rescue::Rescue;
pub(crate) use scan::WrittenKey;
use scan::{JsonError, JsonErrorKind, RawText, Scanner};
use wire_tree::{Child, Node, Target, WireTree, join};

use crate::columns::{Column, ConstantColumns, TextColumn, of_type};
use crate::quarantine::Reason;

/// Which partition a blob's rows belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupSource {
    /// The blob path names the device group; a record that names another has its own rescued.
    BlobPath(i64),
    /// Each record names its group; one that does not belongs to `fallback`, or is quarantined without one.
    Records {
        /// The group of records that name none.
        fallback: Option<i64>,
    },
}

/// Decodes the records of one snapshot, line by line.
#[derive(Debug)]
pub struct RecordDecoder {
    tree: Arc<WireTree>,
    file_schema: SchemaRef,
    /// That of the last batch.
    batch_schema: SchemaRef,
    unique_key: Vec<RequiredColumn>,
    group_source: GroupSource,

    columns: Vec<Column>,
    constant: ConstantColumns,
    rescued_data: TextColumn,
    rbac_group_ids: Vec<i64>,
    rows: usize,

    node_states: Vec<NodeState>,
    /// One buffer for each level of JSON strings in JSON strings.
    unescaped: Vec<Vec<u8>>,
    text: Vec<u8>,
    rescue: Rescue,
    rescued_json: Vec<u8>,
    record_group: Option<i64>,
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

/// What a decoder remembers of an object's keys.
#[derive(Debug, Default)]
struct NodeState {
    /// One for each child; a last one stands for the beginning.
    children: Vec<ChildState>,
    visit: u64,
}

#[derive(Debug, Clone)]
struct ChildState {
    /// The child that followed last time.
    followed_by: usize,
    /// The visit in which it was last seen.
    seen_in: u64,
}

/// A batch of rows.
#[derive(Debug)]
pub struct DecodedBatch {
    /// The rows, with the columns of [`Dataset::file_schema`]; strings may be by dictionary.
    pub rows: RecordBatch,
    /// Each row's device group.
    pub rbac_group_ids: Vec<i64>,
}

/// What a record told beyond its rows, since last asked.
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
        let tree = Arc::new(WireTree::new(dataset));
        let hash_seed = RandomState::new().hash_one(0_u8);
        let node_states = tree.nodes.iter().map(|node| NodeState {
            children: (1..=node.children.len())
                .chain([0])
                .map(|followed_by| ChildState {
                    followed_by,
                    seen_in: 0,
                })
                .collect(),
            visit: 0,
        });
        let required = dataset
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| !column.nullable);
        Self {
            file_schema: dataset.file_schema(),
            batch_schema: dataset.file_schema(),
            unique_key: required
                .map(|(index, column)| RequiredColumn {
                    index,
                    name: column.name.clone(),
                })
                .collect(),
            group_source: GroupSource::Records { fallback: None },
            columns: dataset
                .columns
                .iter()
                .map(|column| {
                    // Whoever hashes the unique key takes strings as they are.
                    let may_repeat = column.nullable;
                    Column::new(column.column_type, may_repeat.then_some(hash_seed))
                })
                .collect(),
            constant: ConstantColumns::new(snapshot),
            rescued_data: TextColumn::new(None),
            rbac_group_ids: Vec::new(),
            rows: 0,
            node_states: node_states.collect(),
            unescaped: vec![Vec::new()],
            text: Vec::new(),
            rescue: Rescue::default(),
            rescued_json: Vec::new(),
            record_group: None,
            line_buffer: Vec::new(),
            rows_rescued: 0,
            drift: HashMap::new(),
            tree,
        }
    }

    /// Says where the following records' device group comes from.
    pub fn set_group_source(&mut self, group_source: GroupSource) {
        self.group_source = group_source;
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

    /// Decodes one line, which is not blank, into one row; if it cannot be a row, says why and leaves no trace of it.
    pub fn decode(&mut self, line: &[u8]) -> Result<(), Reason> {
        if self.rows == 0 {
            self.columns.iter_mut().for_each(Column::begin);
            self.rescued_data.begin();
        }
        self.rescue.clear();
        self.record_group = None;
        let decoded = self.decode_record(line);
        if decoded.is_err() {
            for column in &mut self.columns {
                column.clear(self.rows);
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
        let tree = Arc::clone(&self.tree);
        let mut scanner = Scanner::new(line);
        if scanner.peek() != Some(b'{') {
            scan::check(line)?;
            return Err(Reason::NotAnObject);
        }
        self.object(&tree, 0, &mut scanner, 0, 0)?;
        scanner.end()?;

        for required in &self.unique_key {
            let column = &self.columns[required.index];
            let empty = |column: &Column| match column {
                // An empty text is as good as none.
                Column::Text(texts) => texts.get(self.rows).is_empty(),
                _ => false,
            };
            if !column.has_value(self.rows) || empty(column) {
                return Err(Reason::MissingKey {
                    column: required.name.clone(),
                });
            }
        }
        let group = match self.group_source {
            GroupSource::BlobPath(group) => group,
            GroupSource::Records { fallback } => self
                .record_group
                .or(fallback)
                .ok_or(Reason::MissingPartition)?,
        };

        if !self.rescue.is_empty() && self.rescue.finish(&mut self.rescued_json, &mut self.drift) {
            self.rescued_data.set(self.rows, &self.rescued_json);
            self.rows_rescued += 1;
        }
        self.rbac_group_ids.push(group);
        self.rows += 1;
        Ok(())
    }

    /// Decodes the object that starts at the scanner's next byte. `depth` counts the objects and arrays around it in its text,
    /// `level` the JSON strings around that text.
    fn object(
        &mut self,
        tree: &WireTree,
        node_index: usize,
        scanner: &mut Scanner<'_>,
        depth: usize,
        level: usize,
    ) -> Result<(), JsonError> {
        let node = &tree.nodes[node_index];
        self.node_states[node_index].visit += 1;
        scanner.enter(depth)?;
        if scanner.closes(b'}') {
            return Ok(());
        }
        let mut last = node.children.len();
        loop {
            if self.plain_run(node, node_index, scanner, &mut last) {
                if !scanner.comma_or(b'}')? {
                    return Ok(());
                }
                continue;
            }
            scanner.peek();
            let expected = self.node_states[node_index].children[last].followed_by;
            let found = match node.children.get(expected) {
                Some(child) if scanner.take_key(child.written.as_ref()) => Some(expected),
                _ => self.unexpected_key(node, node_index, last, scanner, depth)?,
            };
            if let Some(found) = found {
                last = found;
                let child = &node.children[found];
                let state = &mut self.node_states[node_index];
                let seen_in = std::mem::replace(&mut state.children[found].seen_in, state.visit);
                if seen_in == state.visit {
                    self.forget(tree, child);
                }
                self.child_value(tree, child, scanner, depth + 1, level)?;
            }
            if !scanner.comma_or(b'}')? {
                return Ok(());
            }
        }
    }

    /// Reads the keys and values that come as expected and are written plainly. True if it ended behind a value, and not before
    /// a key.
    #[inline(always)]
    fn plain_run(
        &mut self,
        node: &Node,
        node_index: usize,
        scanner: &mut Scanner<'_>,
        last: &mut usize,
    ) -> bool {
        let level = scanner.level();
        let mut plain = Plain::new(scanner);
        let NodeState { children, visit } = &mut self.node_states[node_index];
        let row = self.rows;
        let mut expected = children[*last].followed_by;
        loop {
            let (Some(child), Some(state)) =
                (node.children.get(expected), children.get_mut(expected))
            else {
                return false;
            };
            let Some(written) = &child.written else {
                return false;
            };
            if !plain.key(written.pattern(level)) || state.seen_in == *visit {
                return false;
            }
            if !plain.null() {
                let is_read = match child.target {
                    Target::Column(index) => plain_value(&mut self.columns[index], row, &mut plain),
                    Target::Partition | Target::Node(_) => false,
                };
                if !is_read {
                    return false;
                }
            }
            state.seen_in = *visit;
            *last = expected;
            expected = state.followed_by;
            let more = plain.byte(b',');
            scanner.go_on_at(plain.at());
            if !more {
                return true;
            }
        }
    }

    /// Reads a key that is not the one that followed `last` before; a child, or none if the schema does not name it: its value is
    /// then rescued, unless it is null.
    fn unexpected_key(
        &mut self,
        node: &Node,
        node_index: usize,
        last: usize,
        scanner: &mut Scanner<'_>,
        depth: usize,
    ) -> Result<Option<usize>, JsonError> {
        scanner.key_quote()?;
        let key = scanner.string()?;
        scanner.colon()?;
        let key = key.value(&mut self.text);
        if let Some(found) = node.child_of_key(key) {
            self.node_states[node_index].children[last].followed_by = found;
            return Ok(Some(found));
        }
        // The text is valid UTF-8 and so is every part of it between quotes.
        let key = from_utf8(key).unwrap_or_default();
        if scanner.peek() == Some(b'n') {
            scanner.literal(b"null")?;
            // The service sends such nulls in every row, so they must cost next to nothing. Only an earlier value of the same
            // key has to be taken back.
            if !self.rescue.is_empty() {
                self.rescue.clear_below(&join(&node.path, key));
            }
            return Ok(None);
        }
        let path = join(&node.path, key);
        let value = scanner.value(depth + 1)?;
        self.rescue.add(path, DriftKind::Unnamed, value);
        Ok(None)
    }

    /// Takes back what an earlier value of the same key left behind.
    #[cold]
    fn forget(&mut self, tree: &WireTree, child: &Child) {
        match child.target {
            Target::Column(column) => self.columns[column].clear(self.rows),
            Target::Partition => self.record_group = None,
            Target::Node(node) => self.forget_node(tree, node),
        }
        self.rescue.clear_below(&child.path);
    }

    #[cold]
    fn forget_node(&mut self, tree: &WireTree, node: usize) {
        for column in &tree.nodes[node].columns {
            self.columns[*column].clear(self.rows);
        }
    }

    fn child_value(
        &mut self,
        tree: &WireTree,
        child: &Child,
        scanner: &mut Scanner<'_>,
        depth: usize,
        level: usize,
    ) -> Result<(), JsonError> {
        let first = scanner.peek();
        if first == Some(b'n') {
            return scanner.literal(b"null");
        }
        match child.target {
            Target::Node(node) => match first {
                Some(b'{') => self.object(tree, node, scanner, depth, level),
                Some(b'"') => self.nested_text(tree, node, child, scanner, level),
                _ => self.misfit(child, scanner, depth),
            },
            Target::Partition => {
                let start = *scanner;
                let value = match first {
                    Some(b'"') => {
                        scanner.step_quote();
                        let text = scanner.string()?;
                        scalar::int64(text.value(&mut self.text))
                    }
                    Some(b'-' | b'0'..=b'9') => scalar::int64(scanner.number()?),
                    _ => None,
                };
                let fits = match self.group_source {
                    GroupSource::BlobPath(group) => value == Some(group),
                    GroupSource::Records { .. } => value.is_some(),
                };
                if fits {
                    self.record_group = value;
                    return Ok(());
                }
                *scanner = start;
                self.misfit(child, scanner, depth)
            }
            Target::Column(index) => {
                let start = *scanner;
                if self.column_value(index, first, scanner, depth)? {
                    return Ok(());
                }
                self.columns[index].clear(self.rows);
                *scanner = start;
                self.misfit(child, scanner, depth)
            }
        }
    }

    /// Rescues the scanner's next value: it does not fit what the schema says of it.
    #[cold]
    fn misfit(
        &mut self,
        child: &Child,
        scanner: &mut Scanner<'_>,
        depth: usize,
    ) -> Result<(), JsonError> {
        let value = scanner.value(depth)?;
        self.rescue
            .add(child.path.clone(), DriftKind::Misfit, value);
        Ok(())
    }

    /// Decodes the object in a JSON string; a string that holds none, or broken JSON, is rescued whole.
    fn nested_text(
        &mut self,
        tree: &WireTree,
        node: usize,
        child: &Child,
        scanner: &mut Scanner<'_>,
        level: usize,
    ) -> Result<(), JsonError> {
        if self.nested_in_place(tree, node, scanner, level) {
            return Ok(());
        }
        let start = *scanner;
        if scanner.is_inside() {
            // What it lies in is unescaped, and then read again.
            return Err(scanner.error(JsonErrorKind::InvalidEscape));
        }
        scanner.step_quote();
        if self.unescaped.len() == level + 1 {
            self.unescaped.push(Vec::new());
        }
        let mut buffer = std::mem::take(&mut self.unescaped[level]);
        let unescaped = scanner.unescape(&mut buffer);
        let decoded = unescaped.map(|length| {
            let mut inner = Scanner::new(&buffer[..length]);
            match inner.peek() {
                Some(b'n') => inner.literal(b"null").and_then(|()| inner.end()).is_ok(),
                Some(b'{') => {
                    let object = self.object(tree, node, &mut inner, 0, level + 1);
                    object.and_then(|()| inner.end()).is_ok()
                }
                _ => false,
            }
        });
        self.unescaped[level] = buffer;
        if decoded? {
            return Ok(());
        }
        self.forget_node(tree, node);
        self.rescue.clear_below(&child.path);
        *scanner = start;
        self.misfit(child, scanner, 0)
    }

    /// Decodes the object in a JSON string where it lies. False if that cannot be done; nothing of it is then left behind.
    fn nested_in_place(
        &mut self,
        tree: &WireTree,
        node: usize,
        scanner: &mut Scanner<'_>,
        level: usize,
    ) -> bool {
        let (start, rescued, record_group) = (*scanner, self.rescue.mark(), self.record_group);
        let Some(mut inside) = scanner.inside() else {
            return false;
        };
        if inside.peek() == Some(b'{')
            && self.object(tree, node, &mut inside, 0, level).is_ok()
            && scanner.leave(inside)
        {
            return true;
        }
        *scanner = start;
        self.forget_node(tree, node);
        self.rescue.back_to(rescued);
        self.record_group = record_group;
        false
    }

    /// Reads a value into its column. False if it does not fit; the column and the scanner are then anywhere.
    #[inline]
    fn column_value(
        &mut self,
        index: usize,
        first: Option<u8>,
        scanner: &mut Scanner<'_>,
        depth: usize,
    ) -> Result<bool, JsonError> {
        let column = &mut self.columns[index];
        let row = self.rows;
        let text = match first {
            Some(b'"') => {
                scanner.step_quote();
                Some(scanner.string()?)
            }
            _ => None,
        };
        match (column, text) {
            (Column::Text(texts), Some(text)) => {
                texts.set(row, text.value(&mut self.text));
            }
            (Column::Timestamp(times), Some(text)) => {
                match scalar::timestamp(text.value(&mut self.text)) {
                    Some(time) => times.set(row, time),
                    None => return Ok(false),
                }
            }
            (Column::Bool(bools), Some(text)) => {
                match scalar::boolean(text.value(&mut self.text)) {
                    Some(value) => bools.set(row, value),
                    None => return Ok(false),
                }
            }
            (Column::Bool(bools), None) => match first {
                Some(b't') => {
                    scanner.literal(b"true")?;
                    bools.set(row, true);
                }
                Some(b'f') => {
                    scanner.literal(b"false")?;
                    bools.set(row, false);
                }
                _ => return Ok(false),
            },
            (Column::Int64(numbers), text) => {
                let value = match (text, first) {
                    (Some(text), _) => scalar::int64(text.value(&mut self.text)),
                    (None, Some(b'-' | b'0'..=b'9')) => scalar::int64(scanner.number()?),
                    _ => None,
                };
                match value {
                    Some(value) => numbers.set(row, value),
                    None => return Ok(false),
                }
            }
            (Column::Float64(numbers), text) => {
                let value = match (text, first) {
                    (Some(text), _) => number_text(text.value(&mut self.text)),
                    (None, Some(b'-' | b'0'..=b'9')) => scalar::float64(scanner.number()?),
                    _ => None,
                };
                match value {
                    Some(value) => numbers.set(row, value),
                    None => return Ok(false),
                }
            }
            (Column::Date(days), Some(text)) => match scalar::date(text.value(&mut self.text)) {
                Some(day) => days.set(row, day),
                None => return Ok(false),
            },
            (Column::Json(texts), Some(text)) => {
                texts.set(row, json_text(text, &mut self.text));
            }
            (Column::Json(texts), None) => {
                texts.set(row, scanner.value(depth)?);
            }
            (Column::TextMap(maps), text) => {
                return nested(text, &mut self.text, scanner, depth, |scanner, depth| {
                    string_map(maps, row, scanner, depth)
                });
            }
            (Column::TextList(lists), text) => {
                return nested(text, &mut self.text, scanner, depth, |scanner, depth| {
                    string_list(lists, row, scanner, depth)
                });
            }
            (Column::Text(_) | Column::Timestamp(_) | Column::Date(_), None) => return Ok(false),
        }
        Ok(true)
    }

    /// The rows decoded since the last batch.
    pub fn take_batch(&mut self) -> Result<DecodedBatch, ArrowError> {
        let rows = self.rows;
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.file_schema.fields().len());
        for (column, field) in self.columns.iter_mut().zip(self.file_schema.fields()) {
            arrays.push(column.finish(rows, field.data_type())?);
        }
        arrays.extend(self.constant.of_rows(rows)?);
        arrays.push(self.rescued_data.finish(rows)?);
        self.rows = 0;
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

/// Reads a value that is written plainly into its column. False if it is not so, or does not fit; then the column is as it was.
#[inline(always)]
fn plain_value(column: &mut Column, row: usize, plain: &mut Plain<'_>) -> bool {
    match column {
        Column::Text(texts) => plain.text().map(|text| texts.set(row, text)),
        Column::Timestamp(times) => plain
            .text()
            .and_then(scalar::timestamp)
            .map(|time| times.set(row, time)),
        Column::Bool(bools) => plain
            .bool()
            .or_else(|| plain.text().and_then(scalar::boolean))
            .map(|value| bools.set(row, value)),
        Column::Int64(numbers) => plain
            .integer()
            .or_else(|| plain.text().and_then(scalar::int64))
            .map(|number| numbers.set(row, number)),
        Column::TextMap(maps) => collections::plain_map(maps, row, plain),
        Column::Json(_) | Column::Float64(_) | Column::Date(_) | Column::TextList(_) => None,
    }
    .is_some()
}

/// A string that holds a JSON number.
fn number_text(text: &[u8]) -> Option<f64> {
    let mut scanner = Scanner::new(text);
    let number = scanner.number().ok()?;
    (number.len() == text.len())
        .then(|| scalar::float64(number))
        .flatten()
}

/// The text of a string in a json column: an object or array that it holds, otherwise the string with its quotes.
fn json_text<'a>(text: RawText<'a>, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    let value = text.value(buffer);
    let holds_json = value
        .iter()
        .find(|b| !b.is_ascii_whitespace())
        .is_some_and(|b| matches!(b, b'{' | b'['))
        && scan::check(value).is_ok();
    if holds_json {
        return text.value(buffer);
    }
    buffer.clear();
    buffer.push(b'"');
    buffer.extend_from_slice(text.raw);
    buffer.push(b'"');
    buffer
}

impl From<JsonError> for Reason {
    fn from(error: JsonError) -> Self {
        let column = error.at + 1;
        match error.kind {
            JsonErrorKind::TooDeep => Self::TooDeep { column },
            kind => Self::InvalidJson {
                column,
                message: kind.to_string(),
            },
        }
    }
}

#[cfg(test)]
mod tests;
