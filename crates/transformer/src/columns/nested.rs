//! Rows of several texts each: lists, and maps as lists of keys and values.

use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::error::ArrowError;

use super::bitmap::Bitmap;
use super::ranges::Ranges;
use super::texts::TextColumn;

/// Rows of several items each.
#[derive(Debug)]
pub(crate) struct NestedColumn<I> {
    valid: Bitmap,
    items: I,
    /// Where each row's items are.
    ranges: Ranges,
    /// Items of the rows that are closed.
    closed: usize,
    /// The items of the last row that was closed and has any; none if it was taken back or finished since.
    last_filled: Range<usize>,
}

/// What a nested column holds: items that can be counted and cut off.
pub(crate) trait Items {
    fn begin(&mut self);
    fn count(&self) -> usize;
    fn cut(&mut self, count: usize);
}

/// Texts one after the other.
#[derive(Debug)]
pub(crate) struct TextItems {
    texts: TextColumn,
    count: usize,
}

/// The keys and values of a map's entries; both are as many, but for those of the open row.
#[derive(Debug)]
pub(crate) struct KeyValueItems {
    pub(crate) keys: TextItems,
    pub(crate) values: TextItems,
}

impl TextItems {
    pub(super) fn new(hash_seed: Option<u64>) -> Self {
        Self {
            texts: TextColumn::new(hash_seed),
            count: 0,
        }
    }

    pub(super) fn allow_dictionary(&mut self, is_allowed: bool) {
        self.texts.allow_dictionary(is_allowed);
    }

    #[inline]
    pub(crate) fn push(&mut self, text: &[u8]) {
        self.texts.set(self.count, text);
        self.count += 1;
    }

    #[inline]
    pub(crate) fn push_null(&mut self) {
        self.count += 1;
    }

    /// Adds the texts of earlier items, all of which have one.
    #[inline]
    pub(crate) fn push_again(&mut self, earlier: Range<usize>) {
        for item in earlier {
            self.texts.set_again(self.count, item);
            self.count += 1;
        }
    }

    /// The text of an item that has one.
    pub(crate) fn get(&self, item: usize) -> &[u8] {
        self.texts.get(item)
    }

    /// The text of an item, if it has one.
    pub(crate) fn value(&self, item: usize) -> Option<&[u8]> {
        self.texts.has_value(item).then(|| self.get(item))
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        self.texts.finish(std::mem::take(&mut self.count))
    }
}

impl Items for TextItems {
    fn begin(&mut self) {
        self.texts.begin();
    }

    fn count(&self) -> usize {
        self.count
    }

    fn cut(&mut self, count: usize) {
        for item in (count..self.count).rev() {
            self.texts.clear(item);
        }
        self.count = self.count.min(count);
    }
}

impl Items for KeyValueItems {
    fn begin(&mut self) {
        self.keys.begin();
        self.values.begin();
    }

    fn count(&self) -> usize {
        self.values.count
    }

    fn cut(&mut self, count: usize) {
        self.keys.cut(count);
        self.values.cut(count);
    }
}

impl<I: Items> NestedColumn<I> {
    pub(super) fn new(items: I) -> Self {
        Self {
            valid: Bitmap::default(),
            items,
            ranges: Ranges::default(),
            closed: 0,
            last_filled: 0..0,
        }
    }

    pub(super) fn begin(&mut self) {
        self.items.begin();
    }

    /// The items; those added since the last `close_row` belong to the row that the next one closes.
    #[inline(always)]
    pub(crate) fn items(&mut self) -> &mut I {
        &mut self.items
    }

    /// Where the items of the open row begin.
    pub(crate) fn open_row(&self) -> usize {
        self.closed
    }

    /// The items of the last row that was closed and has any; none if it was taken back or finished since.
    pub(crate) fn last_filled_row(&self) -> Range<usize> {
        self.last_filled.clone()
    }

    /// Gives the open items to a row that has no value, after all rows that have one.
    pub(crate) fn close_row(&mut self, row: usize) {
        let items = self.closed..self.items.count();
        self.closed = items.end;
        self.valid.set(row);
        if !items.is_empty() {
            self.last_filled = items.clone();
        }
        self.ranges.set(row, items);
    }

    /// Drops the open items.
    pub(crate) fn cut_open_row(&mut self) {
        self.items.cut(self.closed);
    }

    pub(super) fn has_value(&self, row: usize) -> bool {
        self.valid.get(row)
    }

    /// Takes back the value of a row after which no row has one, and the open items.
    pub(super) fn clear(&mut self, row: usize) {
        if self.valid.unset(row) {
            self.closed = self.ranges.get(row).start;
            if self.last_filled.end > self.closed {
                self.last_filled = 0..0;
            }
        }
        self.cut_open_row();
    }

    /// The rows' offsets and nulls. The rows are forgotten; the items are to be finished.
    pub(super) fn finish_rows(
        &mut self,
        rows: usize,
    ) -> Result<(OffsetBuffer<i32>, Option<NullBuffer>), ArrowError> {
        self.cut_open_row();
        let offsets = self.ranges.offsets(rows, &self.valid)?;
        self.closed = 0;
        self.last_filled = 0..0;
        Ok((offsets, self.valid.take_nulls(rows)))
    }
}
