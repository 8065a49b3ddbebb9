//! Walks over a record: finds the column of each key, through objects and the JSON strings that hold them, and rescues what has
//! none. Expects keys in the order of the last record.
//!
//! What a value is, and whether it fits its column, is not its business. A list of structs is: its objects are walked too.

use std::str::from_utf8;
use std::sync::Arc;

use dataset::{Column as Declared, ColumnType};

use super::collections::nested;
use super::damage::{Damage, Repaired};
use super::group_source::GroupSource;
use super::json_error::{JsonError, JsonErrorKind};
use super::plain::Plain;
use super::rescue::{Drift, DriftKind, Rescue};
use super::scalar::{self, NullText};
use super::scanner::Scanner;
use super::spellings::{ChildIndex, Spellings};
use super::value::{ValueReader, number_text, read_plain};
use super::wire_tree::{Child, Node, Target, WireTree, join};
use crate::columns::{Column, Items, NestedColumn, StructItems};

/// What the walk remembers from one record to the next, and of the open one.
#[derive(Debug)]
pub(super) struct RecordWalk {
    /// The row that the open record becomes.
    pub(super) row: usize,
    pub(super) group_source: GroupSource,
    /// The group that the open record carries.
    pub(super) record_group: Option<i64>,
    pub(super) rescue: Rescue,
    pub(super) spellings: Spellings,
    readers: Vec<ValueReader>,
    /// Of each column that has lists of structs.
    structs: Vec<Option<Box<StructReader>>>,
    node_states: Vec<NodeState>,
    /// One buffer for each level of JSON strings in JSON strings.
    pub(super) unescaped: Vec<Vec<u8>>,
    text: Vec<u8>,
    /// Of each text that is read, from the record inwards: where it was damaged. Empty where the record was not.
    pub(super) damage: Vec<Option<Damage>>,
    /// Keys of nodes that the schema does not name, to be learned.
    unnamed: Vec<(usize, String)>,
}

/// What a decoder remembers of an object's keys.
#[derive(Debug, Default)]
struct NodeState {
    /// One for each child; a last one stands for the beginning.
    children: Vec<ChildState>,
    visit: u64,
}

#[derive(Debug, Clone, Default)]
struct ChildState {
    /// The child that followed last time.
    followed_by: usize,
    /// The visit in which it was last seen.
    seen_in: u64,
    /// Of a spelling that is drift: records in which a value came by it.
    records: u64,
}

impl NodeState {
    fn add_child(&mut self) {
        // The last one stands for the beginning and stays the last.
        let last = self.children.len() - 1;
        self.children.insert(last, ChildState::default());
    }
}

impl RecordWalk {
    /// A walk over records of those columns, whose wire paths are `tree`.
    pub(super) fn new(columns: &[Declared], tree: &WireTree) -> Self {
        let node_states = tree.nodes.iter().map(|node| NodeState {
            children: (1..=node.children.len())
                .chain([0])
                .map(|followed_by| ChildState {
                    followed_by,
                    ..ChildState::default()
                })
                .collect(),
            visit: 0,
        });
        Self {
            row: 0,
            group_source: GroupSource::Records { fallback: None },
            record_group: None,
            rescue: Rescue::default(),
            spellings: Spellings::default(),
            readers: columns.iter().map(|_| ValueReader::default()).collect(),
            structs: columns
                .iter()
                .map(|column| match &column.column_type {
                    ColumnType::StructList(fields) => Some(Box::new(StructReader::new(fields))),
                    _ => None,
                })
                .collect(),
            node_states: node_states.collect(),
            unescaped: vec![Vec::new()],
            text: Vec::new(),
            damage: Vec::new(),
            unnamed: Vec::new(),
        }
    }

    /// Begins a record.
    pub(super) fn begin_record(&mut self) {
        self.spellings.begin_record();
        self.unnamed.clear();
        self.begin_walk();
    }

    fn begin_walk(&mut self) {
        self.rescue.clear();
        self.record_group = None;
        self.spellings.begin_walk();
    }

    /// Learns what is to be learned from the record that was walked. True if it is then to be walked again: nothing of it is
    /// left here, and its row is to be cleared.
    #[inline]
    pub(super) fn learn(&mut self, tree: &mut WireTree) -> bool {
        if !self.unnamed.is_empty() {
            self.learn_unnamed(tree);
        }
        let is_provisional = self.spellings.is_provisional();
        if is_provisional {
            self.learn_spellings(tree);
        }
        is_provisional
    }

    #[cold]
    fn learn_unnamed(&mut self, tree: &mut WireTree) {
        for (node, key) in std::mem::take(&mut self.unnamed) {
            if tree.learn_unnamed(node, &key) {
                self.node_states[node].add_child();
            }
        }
    }

    #[cold]
    fn learn_spellings(&mut self, tree: &mut WireTree) {
        for (node, key) in self.spellings.take_to_learn() {
            if tree.learn(node, &key) {
                self.node_states[node].add_child();
            }
        }
        self.begin_walk();
    }

    /// Counts the learned spellings that the record used, which is a row now.
    #[inline]
    pub(super) fn count_spellings(&mut self) {
        for (node, child) in self.spellings.used() {
            self.node_states[node].children[child].records += 1;
        }
    }

    /// Adds the records in which learned spellings were used since last asked, below a wire path.
    pub(super) fn take_spellings(&mut self, tree: &WireTree, below: &str, drift: &mut Drift) {
        for (state, node) in self.node_states.iter_mut().zip(&tree.nodes) {
            for (state, child) in state.children.iter_mut().zip(&node.children) {
                let records = std::mem::take(&mut state.records);
                if records > 0 {
                    let separator = if below.is_empty() { "" } else { "." };
                    let path = format!("{below}{separator}{}", child.path);
                    drift.add(path.into(), DriftKind::Spelling, records);
                }
                if let Target::Column(column) = child.target
                    && let Some(structs) = &mut self.structs[column]
                {
                    structs
                        .walk
                        .take_spellings(&structs.tree, &child.path, drift);
                }
            }
        }
    }

    /// Decodes the object that starts at the scanner's next byte. `depth` counts the objects and arrays around it in its text,
    /// `level` the JSON strings around that text.
    pub(super) fn object(
        &mut self,
        tree: &WireTree,
        columns: &mut [Column],
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
            if self.plain_run(node, columns, node_index, scanner, &mut last) {
                if !scanner.comma_or(b'}')? {
                    return Ok(());
                }
                continue;
            }
            scanner.peek();
            let expected = self.node_states[node_index].children[last].followed_by;
            let found = match node.children.get(expected) {
                Some(child) if scanner.take_key(child.written.as_ref()) => Some(expected),
                _ => self.unexpected_key(tree, node_index, last, scanner, depth, level)?,
            };
            if let Some(found) = found {
                last = found;
                let child = &node.children[found];
                let start = scanner.at();
                let state = &mut self.node_states[node_index];
                let seen_in = std::mem::replace(&mut state.children[found].seen_in, state.visit);
                let is_again = seen_in == state.visit;
                if is_again {
                    self.forget(tree, columns, (node_index, found));
                }
                if child.is_contested {
                    let child = (node_index, found);
                    self.contested_value(
                        tree,
                        columns,
                        child,
                        is_again,
                        scanner,
                        depth + 1,
                        level,
                    )?;
                } else {
                    self.child_value(tree, columns, child, scanner, depth + 1, level)?;
                }
                if !self.damage.is_empty() {
                    let is_node = matches!(child.target, Target::Node(_));
                    self.rescue_damage(&child.path, is_node, scanner, start, level);
                }
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
        columns: &mut [Column],
        node_index: usize,
        scanner: &mut Scanner<'_>,
        last: &mut usize,
    ) -> bool {
        let level = scanner.level();
        let mut plain = Plain::new(scanner);
        let NodeState { children, visit } = &mut self.node_states[node_index];
        let row = self.row;
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
                let Target::Column(index) = child.target else {
                    return false;
                };
                if child.is_contested && !self.spellings.is_free(index) {
                    return false;
                }
                if !read_plain(&mut columns[index], &self.readers, index, row, &mut plain) {
                    return false;
                }
                if child.is_contested {
                    self.spellings
                        .give(index, (node_index, expected), child.is_drift);
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
        tree: &WireTree,
        node_index: usize,
        last: usize,
        scanner: &mut Scanner<'_>,
        depth: usize,
        level: usize,
    ) -> Result<Option<usize>, JsonError> {
        let node = &tree.nodes[node_index];
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
        if tree.can_learn_unnamed(self.unnamed.len()) {
            self.unnamed.push((node_index, key.to_owned()));
        }
        if scanner.peek() == Some(b'n') {
            scanner.literal(b"null")?;
            // The service sends such nulls in every row, so they must cost next to nothing. Only an earlier value of the same
            // key has to be taken back.
            if !self.rescue.is_empty() {
                self.rescue.clear_below(&join(&node.path, key));
            }
            return Ok(None);
        }
        if tree.can_learn(node_index, key) {
            self.spellings.learn_later(node_index, key);
        }
        let path: Arc<str> = join(&node.path, key).into();
        let start = scanner.at();
        let value = scanner.value(depth + 1, &mut self.text)?;
        self.rescue.add(path.clone(), DriftKind::Unnamed, value);
        if !self.damage.is_empty() {
            self.rescue_damage(&path, false, scanner, start, level);
        }
        Ok(None)
    }

    /// Rescues the original of a value that begins at `start` and ends where the scanner is, if it is damaged.
    #[cold]
    fn rescue_damage(
        &mut self,
        path: &Arc<str>,
        is_node: bool,
        scanner: &Scanner<'_>,
        start: usize,
        level: usize,
    ) {
        let is_object =
            |text: &[u8]| text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        // What is read in place has no escapes, and the values of an object are looked at one by one.
        let value = &scanner.text()[start..scanner.at()];
        if scanner.is_inside() || is_node && is_object(value) {
            return;
        }
        if let Some(Some(damage)) = self.damage.get_mut(level)
            && let Some(original) = damage.take(start..scanner.at())
        {
            self.rescue
                .add(path.clone(), DriftKind::Damaged, original.as_bytes());
        }
    }

    /// Takes back what an earlier value of the same key left.
    #[cold]
    fn forget(&mut self, tree: &WireTree, columns: &mut [Column], (node, index): ChildIndex) {
        let child = &tree.nodes[node].children[index];
        let slot = tree.slot(child.target).filter(|_| child.is_contested);
        if slot.is_none_or(|slot| self.spellings.given_by(slot) == Some((node, index))) {
            self.forget_target(tree, columns, child.target);
        }
        self.rescue.clear_below(&child.path);
    }

    fn forget_target(&mut self, tree: &WireTree, columns: &mut [Column], target: Target) {
        match target {
            Target::Column(column) => columns[column].clear(self.row),
            Target::Partition => self.record_group = None,
            Target::Node(node) => self.forget_node(tree, columns, node),
            Target::Unnamed => {}
        }
    }

    /// Takes back what came of an object, but not what came by other spellings.
    #[cold]
    fn forget_node(&mut self, tree: &WireTree, columns: &mut [Column], node: usize) {
        for column in &tree.nodes[node].columns {
            let given_by = self.spellings.given_by(*column);
            if given_by.is_none_or(|(giver, _)| tree.is_within(giver, node)) {
                columns[*column].clear(self.row);
            }
        }
    }

    /// Reads the value of a key that is one of several spellings. Of those with a value the best counts, and the values of the
    /// others are rescued.
    #[expect(
        clippy::too_many_arguments,
        reason = "those of a value, and where its key is"
    )]
    fn contested_value(
        &mut self,
        tree: &WireTree,
        columns: &mut [Column],
        (node, index): ChildIndex,
        is_again: bool,
        scanner: &mut Scanner<'_>,
        depth: usize,
        level: usize,
    ) -> Result<(), JsonError> {
        let child = &tree.nodes[node].children[index];
        if scanner.peek() == Some(b'n') {
            return scanner.literal(b"null");
        }
        let Some(slot) = tree.slot(child.target) else {
            return self.child_value(tree, columns, child, scanner, depth, level);
        };
        let has_value = |walk: &Self, columns: &[Column]| match child.target {
            Target::Column(column) => columns[column].has_value(walk.row),
            Target::Partition => walk.record_group.is_some(),
            Target::Node(_) | Target::Unnamed => true,
        };
        let given_by = self.spellings.given_by(slot);
        let rival = given_by.filter(|other| *other != (node, index) && has_value(self, columns));
        let is_beaten = |(node, index): ChildIndex| {
            let rival: &Child = &tree.nodes[node].children[index];
            rival.rank <= child.rank
        };
        if self.spellings.is_outranked((node, index)) || rival.is_some_and(is_beaten) {
            return self.rescue_value(child, DriftKind::Spelling, scanner, depth);
        }
        if rival.is_some() {
            self.forget_target(tree, columns, child.target);
        }
        self.child_value(tree, columns, child, scanner, depth, level)?;
        let fits = has_value(self, columns);
        if let Some(rival) = rival {
            self.spellings
                .outrank(if fits { rival } else { (node, index) });
        }
        if fits {
            let is_new = child.is_drift && !is_again;
            self.spellings.give(slot, (node, index), is_new);
        }
        Ok(())
    }

    fn child_value(
        &mut self,
        tree: &WireTree,
        columns: &mut [Column],
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
                Some(b'{') => self.object(tree, columns, node, scanner, depth, level),
                Some(b'"') => self.nested_text(tree, columns, node, child, scanner, level),
                _ => self.rescue_value(child, DriftKind::Misfit, scanner, depth),
            },
            Target::Unnamed => self.rescue_value(child, DriftKind::Unnamed, scanner, depth),
            Target::Partition => {
                let start = *scanner;
                let value = match first {
                    Some(b'"') => {
                        scanner.step_quote();
                        let text = scanner.string()?.value(&mut self.text);
                        scalar::int64(text).or_else(|| scalar::whole(number_text(text)?))
                    }
                    Some(b'-' | b'0'..=b'9') => {
                        let number = scanner.number()?;
                        scalar::int64(number).or_else(|| scalar::whole(scalar::float64(number)?))
                    }
                    _ => None,
                };
                if self.group_source.allows(value) {
                    self.record_group = value;
                    return Ok(());
                }
                *scanner = start;
                self.misfit(child, NullText::Empty, scanner, depth)
            }
            Target::Column(index) => {
                let start = *scanner;
                let column = &mut columns[index];
                match self.column_value(index, column, first, scanner, depth)? {
                    Fit::Whole => return Ok(()),
                    Fit::Partly => {}
                    Fit::Not => column.clear(self.row),
                }
                let null_text = NullText::of(column);
                *scanner = start;
                self.misfit(child, null_text, scanner, depth)
            }
        }
    }

    /// Reads a value into its column, if it fits; `first` is its first byte.
    #[inline]
    fn column_value(
        &mut self,
        index: usize,
        column: &mut Column,
        first: Option<u8>,
        scanner: &mut Scanner<'_>,
        depth: usize,
    ) -> Result<Fit, JsonError> {
        if let (Column::StructList(lists), Some(structs)) = (&mut *column, &mut self.structs[index])
        {
            let text = scanner.string_after(first)?;
            return nested(
                text,
                &mut self.text,
                scanner,
                depth,
                Fit::Not,
                |scanner, depth| structs.read(lists, self.row, scanner, depth),
            );
        }
        let (reader, buffer) = (&mut self.readers[index], &mut self.text);
        let fits = reader.read(column, self.row, first, scanner, depth, buffer)?;
        Ok(if fits { Fit::Whole } else { Fit::Not })
    }

    /// Rescues the scanner's next value, which does not fit what the schema says of it, unless it stands for null.
    fn misfit(
        &mut self,
        child: &Child,
        null_text: NullText,
        scanner: &mut Scanner<'_>,
        depth: usize,
    ) -> Result<(), JsonError> {
        let start = *scanner;
        let first = scanner.peek();
        if let Some(text) = scanner.string_after(first)?
            && null_text.has(text.value(&mut self.text))
        {
            self.rescue.add_blank(child.path.clone());
            return Ok(());
        }
        *scanner = start;
        self.rescue_value(child, DriftKind::Misfit, scanner, depth)
    }

    /// Rescues the scanner's next value.
    fn rescue_value(
        &mut self,
        child: &Child,
        kind: DriftKind,
        scanner: &mut Scanner<'_>,
        depth: usize,
    ) -> Result<(), JsonError> {
        let value = scanner.value(depth, &mut self.text)?;
        self.rescue.add(child.path.clone(), kind, value);
        Ok(())
    }

    /// Decodes the object in a JSON string; a string that holds none, or broken JSON, is rescued whole.
    fn nested_text(
        &mut self,
        tree: &WireTree,
        columns: &mut [Column],
        node: usize,
        child: &Child,
        scanner: &mut Scanner<'_>,
        level: usize,
    ) -> Result<(), JsonError> {
        if self.nested_in_place(tree, columns, node, scanner, level) {
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
            let text = &buffer[..length];
            self.nested_object(tree, columns, node, text, level + 1)
                || self.damaged_object(tree, columns, child, node, text, level + 1)
        });
        self.unescaped[level] = buffer;
        if decoded? {
            return Ok(());
        }
        self.forget_node(tree, columns, node);
        self.rescue.clear_below(&child.path);
        *scanner = start;
        self.rescue_value(child, DriftKind::Misfit, scanner, 0)
    }

    /// Decodes the text of a JSON string: an object or null. False if it is neither.
    fn nested_object(
        &mut self,
        tree: &WireTree,
        columns: &mut [Column],
        node: usize,
        text: &[u8],
        level: usize,
    ) -> bool {
        let mut inner = Scanner::new(text);
        match inner.peek() {
            Some(b'n') => inner.literal(b"null").and_then(|()| inner.end()).is_ok(),
            Some(b'{') => {
                let object = self.object(tree, columns, node, &mut inner, 0, level);
                object.and_then(|()| inner.end()).is_ok()
            }
            _ => false,
        }
    }

    /// Decodes the text of a JSON string that has halves of surrogate pairs. False if it has none, or holds no object even so; what
    /// is left of it is then anything.
    #[cold]
    fn damaged_object(
        &mut self,
        tree: &WireTree,
        columns: &mut [Column],
        child: &Child,
        node: usize,
        text: &[u8],
        level: usize,
    ) -> bool {
        let Some(Repaired { text, damage }) = Repaired::of(text) else {
            return false;
        };
        self.forget_node(tree, columns, node);
        self.rescue.clear_below(&child.path);
        let outer = self.damage.len();
        if outer <= level {
            self.damage.resize_with(level + 1, || None);
        }
        let before = self.damage[level].replace(damage);
        let is_object = self.nested_object(tree, columns, node, &text, level);
        let damage = std::mem::replace(&mut self.damage[level], before);
        self.damage.truncate(outer);
        if is_object && let Some(rest) = damage.and_then(|damage| damage.take_rest(text.len())) {
            let path = child.path.clone();
            self.rescue.add(path, DriftKind::Damaged, rest.as_bytes());
        }
        is_object
    }

    /// Decodes the object in a JSON string in place. False if that cannot be done; then nothing of it is left.
    fn nested_in_place(
        &mut self,
        tree: &WireTree,
        columns: &mut [Column],
        node: usize,
        scanner: &mut Scanner<'_>,
        level: usize,
    ) -> bool {
        let (start, rescued, record_group) = (*scanner, self.rescue.mark(), self.record_group);
        let spellings = self.spellings.mark();
        let Some(mut inside) = scanner.inside() else {
            return false;
        };
        if inside.peek() == Some(b'{')
            && self
                .object(tree, columns, node, &mut inside, 0, level)
                .is_ok()
            && scanner.leave(inside)
        {
            return true;
        }
        *scanner = start;
        self.forget_node(tree, columns, node);
        self.spellings.back_to(spellings);
        self.rescue.back_to(rescued);
        self.record_group = record_group;
        false
    }
}

/// How a value fits its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// All of it is in the column.
    Whole,
    /// The column has what fits, and the value has more.
    Partly,
    /// It does not fit; the column and the scanner are anywhere.
    Not,
}

/// Reads the lists of structs of one column: each object of an array is walked as a record is, into the columns of the fields. What
/// an object has beyond its fields is not kept here: the whole array is then rescued by the walk around it.
#[derive(Debug)]
struct StructReader {
    tree: WireTree,
    walk: RecordWalk,
}

impl StructReader {
    fn new(fields: &[Declared]) -> Self {
        let tree = WireTree::new(fields, None);
        Self {
            walk: RecordWalk::new(fields, &tree),
            tree,
        }
    }

    /// Reads an array of objects and nulls as a row of `lists`.
    fn read(
        &mut self,
        lists: &mut NestedColumn<StructItems>,
        row: usize,
        scanner: &mut Scanner<'_>,
        depth: usize,
    ) -> Result<Fit, JsonError> {
        let start = *scanner;
        let mut is_whole = true;
        self.walk.begin_record();
        while scanner.peek() == Some(b'[') {
            let fits = self.items(lists, scanner, depth)?;
            if self.walk.learn(&mut self.tree) {
                lists.cut_open_row();
                *scanner = start;
                continue;
            }
            is_whole &= self.walk.rescue.is_empty();
            if !fits {
                break;
            }
            lists.close_row(row);
            self.walk.count_spellings();
            return Ok(if is_whole { Fit::Whole } else { Fit::Partly });
        }
        Ok(Fit::Not)
    }

    /// Reads the items of the array that comes next. False if one is neither an object nor null.
    fn items(
        &mut self,
        lists: &mut NestedColumn<StructItems>,
        scanner: &mut Scanner<'_>,
        depth: usize,
    ) -> Result<bool, JsonError> {
        scanner.enter(depth)?;
        if scanner.closes(b']') {
            return Ok(true);
        }
        loop {
            match scanner.peek() {
                Some(b'{') => {
                    let items = lists.items();
                    self.walk.row = items.count();
                    self.walk.spellings.begin_item();
                    let (tree, fields) = (&self.tree, &mut items.fields);
                    self.walk.object(tree, fields, 0, scanner, depth + 1, 0)?;
                    items.push();
                }
                Some(b'n') => {
                    scanner.literal(b"null")?;
                    lists.items().push_null();
                }
                _ => return Ok(false),
            }
            if !scanner.comma_or(b']')? {
                return Ok(true);
            }
        }
    }
}
