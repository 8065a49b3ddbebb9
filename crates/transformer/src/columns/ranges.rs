//! Where the rows of a batch lie in what is kept for all of them, one after the other.

use std::ops::Range;

use arrow::buffer::OffsetBuffer;
use arrow::error::ArrowError;

use super::bitmap::Bitmap;

/// A range for each row that has one; what other rows have means nothing.
#[derive(Debug, Default)]
pub(super) struct Ranges(Vec<Range<usize>>);

impl Ranges {
    #[inline]
    pub(super) fn set(&mut self, row: usize, range: Range<usize>) {
        if row >= self.0.len() {
            self.grow(row);
        }
        self.0[row] = range;
    }

    #[cold]
    fn grow(&mut self, row: usize) {
        self.0.resize((row + 1).next_power_of_two(), 0..0);
    }

    pub(super) fn get(&self, row: usize) -> Range<usize> {
        self.0[row].clone()
    }

    /// Offsets of the first `rows` rows; those that are not `valid` are empty.
    pub(super) fn offsets(
        &self,
        rows: usize,
        valid: &Bitmap,
    ) -> Result<OffsetBuffer<i32>, ArrowError> {
        let mut end = 0;
        let ends = (0..rows).map(|row| {
            if valid.get(row) {
                end = self.0[row].end;
            }
            i32::try_from(end).map_err(|_| ArrowError::OffsetOverflowError(end))
        });
        let offsets = std::iter::once(Ok(0)).chain(ends);
        Ok(OffsetBuffer::new(
            offsets.collect::<Result<Vec<i32>, ArrowError>>()?.into(),
        ))
    }
}
