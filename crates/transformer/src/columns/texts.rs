//! Texts of one column or of a list's items: as indices of a dictionary of the batch where texts repeat, else as they are.

use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, PrimitiveArray, StringArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::UInt16Type;
use arrow::error::ArrowError;
use dictionary::TextDictionary;

use super::bitmap::Bitmap;
use super::ranges::Ranges;

/// A batch in which more than one text of so many is new is followed by batches without a dictionary.
const REPEATS: usize = 2;
/// So many of them; then there is another try.
const BATCHES_WITHOUT: u32 = 31;
/// Fewer texts say nothing of how often they repeat.
const TELLING_TEXTS: usize = 128;
/// A batch's texts may be longer by one part of so many than the last one's, before more has to be allocated.
const SPARE_PART: usize = 8;

/// Texts by row, as bytes known to be UTF-8.
#[derive(Debug)]
pub(crate) struct TextColumn {
    valid: Bitmap,
    /// Of the texts of the batch; `None` where they are never kept by one.
    dictionary: Option<TextDictionary>,
    /// Whether the dictionary may be used.
    is_allowed: bool,
    /// Whether this batch's texts are kept by the dictionary.
    by_dictionary: bool,
    batches_without: u32,
    /// Each row's index in the dictionary.
    keys: Vec<u16>,
    /// The texts of a batch without dictionary, one after the other.
    bytes: Vec<u8>,
    /// Where each row's text is in `bytes`.
    ranges: Ranges,
    /// How many `keys` and `bytes` the last batch had that had any.
    last: Capacity,
}

#[derive(Debug, Default)]
struct Capacity {
    keys: usize,
    bytes: usize,
}

impl TextColumn {
    /// `hash_seed` is that of a dictionary for texts that may repeat.
    pub(crate) fn new(hash_seed: Option<u64>) -> Self {
        Self {
            valid: Bitmap::default(),
            dictionary: hash_seed.map(TextDictionary::new),
            is_allowed: false,
            by_dictionary: false,
            batches_without: 0,
            keys: Vec::new(),
            bytes: Vec::new(),
            ranges: Ranges::default(),
            last: Capacity::default(),
        }
    }

    /// Allocates as much as the last batch had. The column is empty.
    pub(crate) fn begin(&mut self) {
        if self.by_dictionary {
            self.keys.resize(self.last.keys, 0);
        } else {
            self.bytes.reserve(self.last.bytes);
        }
    }

    /// Whether the following batches may be by dictionary; at first they may not. The column is empty.
    pub(super) fn allow_dictionary(&mut self, is_allowed: bool) {
        self.is_allowed = is_allowed;
        self.choose();
    }

    /// Chooses how the next batch is kept.
    fn choose(&mut self) {
        let wanted = self.is_allowed && self.batches_without == 0;
        self.by_dictionary = wanted && self.dictionary.is_some();
    }

    /// Sets the text of a row that has none, after all rows that have one.
    #[inline]
    pub(crate) fn set(&mut self, row: usize, text: &[u8]) {
        if self.by_dictionary {
            if let Some(key) = self
                .dictionary
                .as_mut()
                .and_then(|known| known.key_of(text))
            {
                self.set_key(row, key);
                return;
            }
            self.leave_dictionary(row);
        }
        self.valid.set(row);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        self.ranges.set(row, start..self.bytes.len());
    }

    #[inline(always)]
    fn set_key(&mut self, row: usize, key: u16) {
        self.valid.set(row);
        if row >= self.keys.len() {
            self.grow(row);
        }
        self.keys[row] = key;
    }

    #[cold]
    fn grow(&mut self, row: usize) {
        self.keys.resize((row + 1).next_power_of_two(), 0);
    }

    /// Sets the text that an earlier row has.
    #[inline]
    pub(super) fn set_again(&mut self, row: usize, earlier: usize) {
        if self.by_dictionary {
            self.set_key(row, self.keys[earlier]);
        } else {
            let text = self.ranges.get(earlier);
            let start = self.bytes.len();
            self.bytes.extend_from_within(text);
            self.valid.set(row);
            self.ranges.set(row, start..self.bytes.len());
        }
    }

    /// The text of a row that has one.
    pub(crate) fn get(&self, row: usize) -> &[u8] {
        match &self.dictionary {
            Some(dictionary) if self.by_dictionary => dictionary.text(self.keys[row]),
            _ => &self.bytes[self.ranges.get(row)],
        }
    }

    pub(crate) fn has_value(&self, row: usize) -> bool {
        self.valid.get(row)
    }

    /// Takes the text of a row back, after which no row has one.
    pub(super) fn clear(&mut self, row: usize) {
        if self.valid.unset(row) && !self.by_dictionary {
            self.bytes.truncate(self.ranges.get(row).start);
        }
    }

    /// Goes on without dictionary: the texts of the rows before `rows` are too many.
    #[cold]
    fn leave_dictionary(&mut self, rows: usize) {
        if let Some(dictionary) = &mut self.dictionary {
            for row in (0..rows).filter(|row| self.valid.get(*row)) {
                let start = self.bytes.len();
                self.bytes
                    .extend_from_slice(dictionary.text(self.keys[row]));
                self.ranges.set(row, start..self.bytes.len());
            }
            dictionary.clear();
        }
        self.by_dictionary = false;
        self.batches_without = BATCHES_WITHOUT;
    }

    /// The first `rows` rows as an array: of strings, or a dictionary array of them. The column is empty afterwards.
    pub(crate) fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        let Some(dictionary) = self.dictionary.as_mut().filter(|_| self.by_dictionary) else {
            let offsets = self.ranges.offsets(rows, &self.valid)?;
            self.last.bytes = self.bytes.len() + self.bytes.len() / SPARE_PART;
            let bytes = Buffer::from_vec(std::mem::take(&mut self.bytes));
            self.batches_without = self.batches_without.saturating_sub(1);
            self.choose();
            let nulls = self.valid.take_nulls(rows);
            return Ok(Arc::new(StringArray::try_new(offsets, bytes, nulls)?));
        };
        let ends = std::iter::once(0).chain(dictionary.ends().map(|end| end as i32));
        let values = StringArray::try_new(
            OffsetBuffer::new(ends.collect()),
            Buffer::from_slice_ref(dictionary.bytes()),
            None,
        )?;
        self.last.keys = self.keys.len();
        let mut keys = std::mem::take(&mut self.keys);
        keys.resize(rows, 0);
        let nulls = self.valid.take_nulls(rows);
        let texts = rows - nulls.as_ref().map_or(0, NullBuffer::null_count);
        if texts >= TELLING_TEXTS && dictionary.len() * REPEATS > texts {
            self.batches_without = BATCHES_WITHOUT;
        }
        dictionary.clear();
        let keys = PrimitiveArray::<UInt16Type>::try_new(ScalarBuffer::from(keys), nulls)?;
        self.choose();
        Ok(Arc::new(DictionaryArray::try_new(keys, Arc::new(values))?))
    }
}
