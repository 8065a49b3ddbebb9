//! Bools of one column.

use arrow::buffer::{BooleanBuffer, NullBuffer};

use super::bitmap::Bitmap;

/// Bools by row.
#[derive(Debug, Default)]
pub(crate) struct BoolColumn {
    valid: Bitmap,
    values: Bitmap,
}

impl BoolColumn {
    #[inline]
    pub(crate) fn set(&mut self, row: usize, value: bool) {
        self.valid.set(row);
        if value {
            self.values.set(row);
        }
    }

    /// Bits are so few that their memory is never given away.
    pub(super) fn begin(&mut self) {}

    pub(super) fn clear(&mut self, row: usize) {
        self.valid.unset(row);
        self.values.unset(row);
    }

    pub(super) fn has_value(&self, row: usize) -> bool {
        self.valid.get(row)
    }

    /// The first `rows` rows, and which of them have no value. The column is empty afterwards.
    pub(super) fn finish(&mut self, rows: usize) -> (BooleanBuffer, Option<NullBuffer>) {
        (self.values.take(rows), self.valid.take_nulls(rows))
    }
}
