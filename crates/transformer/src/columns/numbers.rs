//! Numbers of one column, and what is kept as numbers: timestamps and dates.

use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::ArrowNativeType;

use super::bitmap::Bitmap;

/// Numbers of one width, by row.
#[derive(Debug, Default)]
pub(crate) struct NumberColumn<T> {
    valid: Bitmap,
    values: Vec<T>,
    /// Rows of the last batch that had values.
    capacity: usize,
}

impl<T: Copy + Default + ArrowNativeType> NumberColumn<T> {
    #[inline]
    pub(crate) fn set(&mut self, row: usize, value: T) {
        self.valid.set(row);
        if row >= self.values.len() {
            self.grow(row);
        }
        self.values[row] = value;
    }

    #[cold]
    fn grow(&mut self, row: usize) {
        let rows = (row + 1).next_power_of_two();
        self.values.resize(rows, T::default());
    }

    pub(super) fn begin(&mut self) {
        self.values.resize(self.capacity, T::default());
    }

    pub(super) fn clear(&mut self, row: usize) {
        self.valid.unset(row);
    }

    pub(super) fn has_value(&self, row: usize) -> bool {
        self.valid.get(row)
    }

    pub(super) fn finish(&mut self, rows: usize) -> (ScalarBuffer<T>, Option<NullBuffer>) {
        self.capacity = self.values.len();
        let mut values = std::mem::take(&mut self.values);
        values.resize(rows, T::default());
        (ScalarBuffer::from(values), self.valid.take_nulls(rows))
    }
}
