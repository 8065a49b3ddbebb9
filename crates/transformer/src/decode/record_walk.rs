//! Walks over a record: finds the column of each key, through objects and the JSON strings that hold them, and rescues what has
//! none. Expects keys in the order of the last record.
//!
//! What a value is, and whether it fits its column, is not its business.

use std::str::from_utf8;

use dataset::Dataset;

use super::group_source::GroupSource;
use super::json_error::{JsonError, JsonErrorKind};
use super::plain::Plain;
use super::rescue::{DriftKind, Rescue};
use super::scalar;
use super::scanner::Scanner;
use super::value::ValueColumn;
use super::wire_tree::{Child, Node, Target, WireTree, join};

/// The columns that records are read into, and what the walk remembers from one record to the next.
#[derive(Debug)]
pub(super) struct RecordWalk {
    pub(super) columns: Vec<ValueColumn>,
    /// Records that are rows; the open one becomes the next.
    pub(super) rows: usize,
    pub(super) group_source: GroupSource,
    /// The group that the open record carries.
    pub(super) record_group: Option<i64>,
    pub(super) rescue: Rescue,
    node_states: Vec<NodeState>,
    /// One buffer for each level of JSON strings in JSON strings.
    pub(super) unescaped: Vec<Vec<u8>>,
    text: Vec<u8>,
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

impl RecordWalk {
    /// A walk over records of the dataset, whose wire paths are `tree`. `hash_seed` is for dictionaries of texts that repeat.
    pub(super) fn new(dataset: &Dataset, tree: &WireTree, hash_seed: u64) -> Self {
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
        Self {
            columns: dataset
                .columns
                .iter()
                .map(|column| {
                    // Whoever hashes the unique key takes strings as they are.
                    let may_repeat = column.nullable;
                    ValueColumn::new(column.column_type, may_repeat.then_some(hash_seed))
                })
                .collect(),
            rows: 0,
            group_source: GroupSource::Records { fallback: None },
            record_group: None,
            rescue: Rescue::default(),
            node_states: node_states.collect(),
            unescaped: vec![Vec::new()],
            text: Vec::new(),
        }
    }

    /// Decodes the object that starts at the scanner's next byte. `depth` counts the objects and arrays around it in its text,
    /// `level` the JSON strings around that text.
    pub(super) fn object(
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

    /// Reads the keys and values that come as expected and are written plainly. True if it ended after a value, and not before
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
                    Target::Column(index) => self.columns[index].read_plain(row, &mut plain),
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

    /// Takes back what an earlier value of the same key left.
    #[cold]
    fn forget(&mut self, tree: &WireTree, child: &Child) {
        match child.target {
            Target::Column(column) => self.columns[column].column.clear(self.rows),
            Target::Partition => self.record_group = None,
            Target::Node(node) => self.forget_node(tree, node),
        }
        self.rescue.clear_below(&child.path);
    }

    #[cold]
    fn forget_node(&mut self, tree: &WireTree, node: usize) {
        for column in &tree.nodes[node].columns {
            self.columns[*column].column.clear(self.rows);
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
                if self.group_source.allows(value) {
                    self.record_group = value;
                    return Ok(());
                }
                *scanner = start;
                self.misfit(child, scanner, depth)
            }
            Target::Column(index) => {
                let start = *scanner;
                if self.columns[index].read(self.rows, first, scanner, depth, &mut self.text)? {
                    return Ok(());
                }
                self.columns[index].column.clear(self.rows);
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
            // The string around it is unescaped, and then read again.
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

    /// Decodes the object in a JSON string in place. False if that cannot be done; then nothing of it is left.
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
}
