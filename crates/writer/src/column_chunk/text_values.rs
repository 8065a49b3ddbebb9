//! Texts of a column chunk: as indices of a dictionary while that is small, else one after the other.
//!
//! A text is hashed and compared as two words where it has at most 16 bytes. Knows no nulls and no pages.

use std::ops::Range;

use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;

use super::bounds::TextBounds;
use super::dictionary_keys::DictionaryKeys;
use super::slots::{MOST_VALUES, Slots, Vacant, mix};

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
}

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
        }
    }

    #[inline]
    pub(super) fn push(&mut self, text: &[u8]) -> Result<(), parquet::errors::ParquetError> {
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
        self.keys.are_for_too_large(self.dictionary.bytes.len())
    }

    /// Whether the open page is shorter with its dictionary than without.
    pub(super) fn dictionary_pays(&self) -> bool {
        self.keys.pay(self.dictionary.entries.len())
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
        let by_dictionary = self.keys.finish_page(self.dictionary.entries.len(), out);
        by_dictionary.unwrap_or_else(|| {
            out.append(&mut self.plain);
            Encoding::PLAIN
        })
    }

    /// Appends the dictionary as a page has it. Gives the number of its texts.
    pub(super) fn dictionary(&self, out: &mut Vec<u8>) -> usize {
        out.extend_from_slice(&self.dictionary.bytes);
        self.dictionary.entries.len()
    }

    /// Bounds of the chunk's values, which are those of the pages and those of the dictionary if a page refers to it.
    pub(super) fn bounds(&mut self, with_dictionary: bool) -> Option<&TextBounds> {
        let bounds = self.bounds.as_mut()?;
        if with_dictionary {
            for key in 0..self.dictionary.entries.len() {
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
    fn insert(&mut self, text: &[u8]) -> Result<(), parquet::errors::ParquetError> {
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

/// Different texts in the order in which they came first.
#[derive(Debug)]
struct TextDictionary {
    /// Each with its length before it: the dictionary page.
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    slots: Slots,
    hash_seed: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    words: Words,
    /// Where it begins in `bytes`, behind its length.
    start: usize,
    length: usize,
}

impl Entry {
    fn range(&self) -> Range<usize> {
        self.start..self.start + self.length
    }
}

/// The first and the last bytes of a text; together with its length they are the whole of one of at most 16 bytes.
type Words = [u64; 2];

/// A text of at most so many bytes is its words and its length.
const WORDS_BYTES: usize = 16;

impl TextDictionary {
    fn new(hash_seed: u64) -> Self {
        Self {
            bytes: Vec::new(),
            entries: Vec::new(),
            slots: Slots::new(),
            hash_seed,
        }
    }

    /// The text's index; none if it is new and there are too many.
    #[inline]
    fn key_of(&mut self, text: &[u8]) -> Option<u16> {
        let words = words(text);
        let hash = hash(text, words, self.hash_seed);
        let found = self.slots.find(hash, |key| {
            let entry = &self.entries[key];
            entry.length == text.len()
                && entry.words == words
                && (text.len() <= WORDS_BYTES || &self.bytes[entry.range()] == text)
        });
        match found {
            Ok(key) => Some(key),
            Err(vacant) => self.add(text, words, hash, &vacant),
        }
    }

    fn add(&mut self, text: &[u8], words: Words, hash: u64, vacant: &Vacant) -> Option<u16> {
        let key = self.entries.len();
        if key == MOST_VALUES {
            return None;
        }
        self.slots.add(vacant, hash, key);
        push_plain(text, &mut self.bytes);
        self.entries.push(Entry {
            words,
            start: self.bytes.len() - text.len(),
            length: text.len(),
        });
        if self.slots.are_too_few_for(self.entries.len()) {
            self.grow();
        }
        Some(key as u16)
    }

    #[cold]
    fn grow(&mut self) {
        let entries = self.entries.iter();
        self.slots.grow(entries.map(|entry| {
            let text = &self.bytes[entry.range()];
            hash(text, entry.words, self.hash_seed)
        }));
    }

    fn text(&self, key: u16) -> &[u8] {
        &self.bytes[self.entries[usize::from(key)].range()]
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.slots.clear();
    }
}

#[inline]
fn words(text: &[u8]) -> Words {
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        [u64::from_le_bytes(*first), u64::from_le_bytes(*last)]
    } else if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        [first, last].map(|bytes| u64::from(u32::from_le_bytes(*bytes)))
    } else {
        [short_word(text), 0]
    }
}

/// The word of fewer than 8 bytes.
fn short_word(bytes: &[u8]) -> u64 {
    let bytes = bytes.iter();
    bytes.fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Not for the public: who knows the seed can make texts collide.
#[inline]
fn hash(text: &[u8], words: Words, seed: u64) -> u64 {
    let mut hash = mix(words[0] ^ seed, words[1] ^ text.len() as u64);
    if let Some(between) = text.get(8..text.len().wrapping_sub(8)) {
        for chunk in between.chunks(8) {
            let word = match chunk.first_chunk() {
                Some(whole) => u64::from_le_bytes(*whole),
                None => short_word(chunk),
            };
            hash = mix(hash ^ word, seed);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_gives_its_text_back_and_a_text_has_one_key(
            texts in prop::collection::vec("[ab]{0,20}|é{0,12}|[a-d]{7,9}", 0..400),
            seed in any::<u64>(),
        ) {
            let mut dictionary = TextDictionary::new(seed);
            for _ in 0..2 {
                let mut different: Vec<&str> = Vec::new();
                for text in &texts {
                    let expected = different.iter().position(|known| known == text).unwrap_or_else(|| {
                        different.push(text);
                        different.len() - 1
                    });
                    let key = dictionary.key_of(text.as_bytes()).unwrap();
                    prop_assert_eq!(usize::from(key), expected);
                    prop_assert_eq!(dictionary.text(key), text.as_bytes());
                }
                dictionary.clear();
            }
        }
    }

    #[test]
    fn a_dictionary_of_too_many_texts_takes_no_more() {
        let mut values = TextValues::new(usize::MAX, true, None, 1);
        for number in 0..=MOST_VALUES {
            values.push(number.to_string().as_bytes()).unwrap();
        }
        let mut page = Vec::new();
        assert_eq!(values.finish_page(&mut page), Encoding::PLAIN);
        let mut rest = page.as_slice();
        for number in 0..=MOST_VALUES {
            let (length, text) = rest.split_first_chunk().unwrap();
            let (text, next) = text.split_at(u32::from_le_bytes(*length) as usize);
            assert_eq!(text, number.to_string().as_bytes());
            rest = next;
        }
        assert!(rest.is_empty());
    }
}
