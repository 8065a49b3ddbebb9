//! Texts of a column chunk: as indices of a dictionary while that is small, else one after the other.
//!
//! Knows no nulls and no pages.

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, StringArray};
use arrow::datatypes::{DataType, UInt16Type};
use dictionary::TextDictionary;
use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;
use parquet::errors::{ParquetError, Result};

use super::bounds::TextBounds;
use super::dictionary_keys::DictionaryKeys;

/// The texts of the open page, and the dictionary of the chunk.
#[derive(Debug)]
pub(super) struct TextValues {
    dictionary: TextDictionary,
    keys: DictionaryKeys,
    /// Each with its length before it.
    plain: Vec<u8>,
    /// Of the texts that are in no dictionary.
    bounds: Option<TextBounds>,
    bloom_filter: Option<BloomFilter>,
    /// Of each value of an array's dictionary, its index in the chunk's, or [`UNKNOWN`].
    translated: Vec<u32>,
}

/// No index: there are fewer texts in a dictionary.
const UNKNOWN: u32 = u32::MAX;

/// How a chunk's bloom filter is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BloomFilterSettings {
    /// Most different values.
    pub(crate) values: u64,
    /// Share of lookups for an absent value that it lets through.
    pub(crate) false_positives: f64,
}

#[derive(Debug)]
struct BloomFilter {
    settings: BloomFilterSettings,
    filter: Option<Sbbf>,
}

impl TextValues {
    /// `has_bounds`: whether anybody asks for [`TextValues::bounds`].
    pub(super) fn new(
        dictionary_limit: usize,
        has_bounds: bool,
        bloom_filter: Option<BloomFilterSettings>,
        hash_seed: u64,
    ) -> Self {
        Self {
            dictionary: TextDictionary::new(hash_seed),
            keys: DictionaryKeys::new(dictionary_limit),
            plain: Vec::new(),
            bounds: has_bounds.then(TextBounds::default),
            bloom_filter: bloom_filter.map(|settings| BloomFilter {
                settings,
                filter: None,
            }),
            translated: Vec::new(),
        }
    }

    /// Whether [`TextValues::push_array`] takes arrays of that type.
    pub(super) fn takes(data_type: &DataType) -> bool {
        match data_type {
            DataType::Utf8 => true,
            DataType::Dictionary(keys, values) => {
                **keys == DataType::UInt16 && **values == DataType::Utf8
            }
            _ => false,
        }
    }

    /// Adds the values of an array that are not null.
    pub(super) fn push_array(&mut self, array: &ArrayRef) -> Result<()> {
        if let Some(texts) = array.as_string_opt() {
            self.push_texts(texts)
        } else if let Some(texts) = array.as_dictionary_opt::<UInt16Type>() {
            self.push_by_dictionary(texts)
        } else {
            let message = format!("a {} is no array of texts", array.data_type());
            Err(ParquetError::General(message))
        }
    }

    fn push_texts(&mut self, array: &StringArray) -> Result<()> {
        let (offsets, bytes) = (array.value_offsets(), array.value_data());
        let text = |row: usize| &bytes[offsets[row] as usize..offsets[row + 1] as usize];
        match array.nulls() {
            None => (0..array.len()).try_for_each(|row| self.push(text(row))),
            Some(nulls) => nulls
                .valid_indices()
                .try_for_each(|row| self.push(text(row))),
        }
    }

    /// Looks a text of the array's dictionary up once, and not for every row; texts that no row has, not at all.
    fn push_by_dictionary(&mut self, array: &DictionaryArray<UInt16Type>) -> Result<()> {
        let texts = array.values().as_string_opt::<i32>().ok_or_else(|| {
            ParquetError::General("a dictionary of other values than texts".to_owned())
        })?;
        let keys = array.keys();
        match keys.nulls() {
            None => self.push_keys(|| keys.values().iter().copied(), texts),
            Some(nulls) => {
                let keys = keys.values();
                self.push_keys(|| nulls.valid_indices().map(|row| keys[row]), texts)
            }
        }
    }

    /// First what is new, then all at once.
    fn push_keys<Keys: Iterator<Item = u16>>(
        &mut self,
        keys: impl Fn() -> Keys,
        texts: &StringArray,
    ) -> Result<()> {
        // How many can be written by the dictionary: all, as a rule.
        let mut by_dictionary = 0;
        if self.keys.are_in_use() {
            self.translated.clear();
            self.translated.resize(texts.len(), UNKNOWN);
            for key in keys() {
                if self.translated[usize::from(key)] == UNKNOWN {
                    let text = texts.value(key.into()).as_bytes();
                    let Some(index) = self.dictionary.key_of(text) else {
                        break;
                    };
                    if let Some(bloom) = &mut self.bloom_filter {
                        bloom.insert(text)?;
                    }
                    self.translated[usize::from(key)] = u32::from(index);
                }
                by_dictionary += 1;
            }
            let translated = &self.translated;
            let indices = keys()
                .take(by_dictionary)
                .map(|key| translated[usize::from(key)] as u16);
            self.keys.extend(indices, self.dictionary.len());
        }
        for key in keys().skip(by_dictionary) {
            self.push(texts.value(key.into()).as_bytes())?;
        }
        Ok(())
    }

    #[inline]
    fn push(&mut self, text: &[u8]) -> Result<()> {
        if let Some(bloom) = &mut self.bloom_filter {
            bloom.insert(text)?;
        }
        if self.keys.are_in_use() {
            match self.dictionary.key_of(text) {
                Some(key) => {
                    self.keys.push(key);
                    return Ok(());
                }
                None => self.leave_dictionary(),
            }
        }
        push_without_dictionary(text, &mut self.plain, &mut self.bounds);
        Ok(())
    }

    /// Whether the dictionary has grown too large. The open page is then to be flushed, and the dictionary left.
    pub(super) fn dictionary_is_full(&self) -> bool {
        self.keys.are_for_too_large(self.dictionary_bytes())
    }

    /// Bytes of the dictionary as a page has it.
    fn dictionary_bytes(&self) -> usize {
        self.dictionary.bytes().len() + self.dictionary.len() * size_of::<u32>()
    }

    /// Whether the open page is shorter with its dictionary than without.
    pub(super) fn dictionary_pays(&self) -> bool {
        self.keys.pay(self.dictionary.len())
    }

    /// Writes the open page's values, and all that follow, without the dictionary.
    #[cold]
    pub(super) fn leave_dictionary(&mut self) {
        for key in self.keys.leave() {
            let text = self.dictionary.text(key);
            push_without_dictionary(text, &mut self.plain, &mut self.bounds);
        }
    }

    /// Bytes of the open page, about.
    pub(super) fn page_bytes(&self) -> usize {
        self.keys.page_bytes() + self.plain.len()
    }

    /// Appends the open page's values and forgets them.
    pub(super) fn finish_page(&mut self, out: &mut Vec<u8>) -> Encoding {
        let by_dictionary = self.keys.finish_page(self.dictionary.len(), out);
        by_dictionary.unwrap_or_else(|| {
            out.append(&mut self.plain);
            Encoding::PLAIN
        })
    }

    /// Appends the dictionary as a page has it. Gives the number of its texts.
    pub(super) fn dictionary(&self, out: &mut Vec<u8>) -> usize {
        out.reserve(self.dictionary_bytes());
        for key in 0..self.dictionary.len() {
            push_plain(self.dictionary.text(key as u16), out);
        }
        self.dictionary.len()
    }

    /// Bounds of the chunk's values, which are those of the pages and those of the dictionary if a page refers to it.
    pub(super) fn bounds(&mut self, with_dictionary: bool) -> Option<&TextBounds> {
        let bounds = self.bounds.as_mut()?;
        if with_dictionary {
            for key in 0..self.dictionary.len() {
                bounds.add(self.dictionary.text(key as u16));
            }
        }
        Some(bounds)
    }

    pub(super) fn take_bloom_filter(&mut self) -> Option<Sbbf> {
        let bloom = self.bloom_filter.as_mut()?;
        let mut filter = bloom.filter.take()?;
        // Down to what the values need: a small row group gets a small filter.
        filter.fold_to_target_fpp(bloom.settings.false_positives);
        Some(filter)
    }

    /// Begins the next chunk. The last page of the one before is finished, and its bloom filter taken.
    pub(super) fn begin_chunk(&mut self) {
        self.dictionary.clear();
        self.keys.begin_chunk();
        if let Some(bounds) = &mut self.bounds {
            bounds.clear();
        }
    }
}

impl BloomFilter {
    fn insert(&mut self, text: &[u8]) -> Result<()> {
        let filter = match &mut self.filter {
            Some(filter) => filter,
            none => none.insert(Sbbf::new_with_ndv_fpp(
                self.settings.values,
                self.settings.false_positives,
            )?),
        };
        filter.insert(text);
        Ok(())
    }
}

fn push_without_dictionary(text: &[u8], plain: &mut Vec<u8>, bounds: &mut Option<TextBounds>) {
    push_plain(text, plain);
    if let Some(bounds) = bounds {
        bounds.add(text);
    }
}

fn push_plain(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_of_too_many_texts_takes_no_more() {
        let mut values = TextValues::new(usize::MAX, true, None, 1);
        for number in 0..=dictionary::MOST_VALUES {
            values.push(number.to_string().as_bytes()).unwrap();
        }
        let mut page = Vec::new();
        assert_eq!(values.finish_page(&mut page), Encoding::PLAIN);
        let mut rest = page.as_slice();
        for number in 0..=dictionary::MOST_VALUES {
            let (length, text) = rest.split_first_chunk().unwrap();
            let (text, next) = text.split_at(u32::from_le_bytes(*length) as usize);
            assert_eq!(text, number.to_string().as_bytes());
            rest = next;
        }
        assert!(rest.is_empty());
    }
}
