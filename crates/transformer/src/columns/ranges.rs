//! Where the rows of a batch lie in what is kept for all of them, one after the other.

use std::ops::Range;

use arrow::buffer::OffsetBuffer;
use arrow::error::ArrowError;

use super::bitmap::Bitmap;

/// A range for each row that has one; what other rows have means nothing. 32 bits are enough for what an array can refer to: a
/// larger number is kept as the largest, which no array takes.
#[derive(Debug, Default)]
pub(super) struct Ranges(Vec<Range<u32>>);

impl Ranges {
    #[inline]
    pub(super) fn set(&mut self, row: usize, range: Range<usize>) {
        if row >= self.0.len() {
            self.grow(row);
        }
        let [start, end] = [range.start, range.end].map(|at| u32::try_from(at).unwrap_or(u32::MAX));
        self.0[row] = start..end;
    }

    #[cold]
    fn grow(&mut self, row: usize) {
        self.0.resize((row + 1).next_power_of_two(), 0..0);
    }

    pub(super) fn get(&self, row: usize) -> Range<usize> {
        let Range { start, end } = self.0[row];
        start as usize..end as usize
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
                end = self.0[row].end as usize;
            }
            i32::try_from(end).map_err(|_| ArrowError::OffsetOverflowError(end))
        });
        let offsets = std::iter::once(Ok(0)).chain(ends);
        Ok(OffsetBuffer::new(
            offsets.collect::<Result<Vec<i32>, ArrowError>>()?.into(),
        ))
    }
}
