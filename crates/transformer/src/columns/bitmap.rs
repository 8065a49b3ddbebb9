//! One bit for each row, set row by row.

use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};

const WORD_BITS: usize = u64::BITS as usize;

/// Bits of a batch; those that were not set are 0.
#[derive(Debug, Default)]
pub(super) struct Bitmap(Vec<u64>);

impl Bitmap {
    #[inline(always)]
    pub(super) fn set(&mut self, row: usize) {
        let word = row / WORD_BITS;
        if word >= self.0.len() {
            self.grow(word);
        }
        self.0[word] |= 1 << (row % WORD_BITS);
    }

    #[cold]
    fn grow(&mut self, word: usize) {
        self.0.resize((word + 1).next_power_of_two(), 0);
    }

    /// Says whether the bit was set.
    pub(super) fn unset(&mut self, row: usize) -> bool {
        let was_set = self.get(row);
        if was_set {
            self.0[row / WORD_BITS] &= !(1 << (row % WORD_BITS));
        }
        was_set
    }

    pub(super) fn get(&self, row: usize) -> bool {
        self.0
            .get(row / WORD_BITS)
            .is_some_and(|word| word >> (row % WORD_BITS) & 1 == 1)
    }

    /// The bits of the first `rows` rows. All are 0 afterwards.
    pub(super) fn take(&mut self, rows: usize) -> BooleanBuffer {
        let words = rows.div_ceil(WORD_BITS);
        if words > self.0.len() {
            self.grow(words - 1);
        }
        let taken = Buffer::from_slice_ref(&self.0[..words]);
        self.0.fill(0);
        BooleanBuffer::new(taken, 0, rows)
    }

    /// The nulls among the first `rows` rows, where a 0 stands for a null. All bits are 0 afterwards.
    pub(super) fn take_nulls(&mut self, rows: usize) -> Option<NullBuffer> {
        Some(NullBuffer::new(self.take(rows))).filter(|nulls| nulls.null_count() > 0)
    }
}
