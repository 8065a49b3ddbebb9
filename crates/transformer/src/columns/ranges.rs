//! Where the rows of a batch are in what is kept for all of them, one after the other.

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
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        for row in 0..rows {
            if valid.get(row) {
                end = self.0[row].end;
            }
            offsets.push(end as i32);
        }
        // They go up, so that the last one is the largest.
        if i32::try_from(end).is_err() {
            return Err(ArrowError::OffsetOverflowError(end as usize));
        }
        Ok(OffsetBuffer::new(offsets.into()))
    }
}
