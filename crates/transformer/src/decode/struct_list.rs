//! Lists of structs: each object of the array is walked as a record is, into the columns of the fields.
//!
//! What an object has beyond its fields is not kept here: the whole array is then rescued by the walk around it.

use dataset::Column;

use super::json_error::JsonError;
use super::record_walk::RecordWalk;
use super::scanner::Scanner;
use super::value::Fit;
use super::wire_tree::WireTree;
use crate::columns::{Items, NestedColumn, StructItems};

/// Reads the arrays of one column.
#[derive(Debug)]
pub(super) struct StructReader {
    pub(super) tree: WireTree,
    pub(super) walk: RecordWalk,
}

impl StructReader {
    pub(super) fn new(fields: &[Column]) -> Self {
        let tree = WireTree::new(fields, None);
        Self {
            walk: RecordWalk::new(fields, &tree),
            tree,
        }
    }

    /// Reads an array of objects and nulls as a row of `lists`.
    pub(super) fn read(
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
