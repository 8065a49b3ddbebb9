//! Texts to indices. One of at most 16 bytes is hashed and compared as two words.

use std::ops::Range;

use crate::slots::{MOST_VALUES, Slots, Vacant, mix};

/// Different texts in the order in which they came first.
#[derive(Debug)]
pub struct TextDictionary {
    /// One after the other.
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    slots: Slots,
    hash_seed: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    words: Words,
    /// Where it begins in `bytes`.
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
    /// An empty dictionary. `hash_seed` is not for the public, and does not show in what the dictionary gives.
    pub fn new(hash_seed: u64) -> Self {
        Self {
            bytes: Vec::new(),
            entries: Vec::new(),
            slots: Slots::new(),
            hash_seed,
        }
    }

    /// The text's index; none if it is new and there are too many.
    #[inline]
    pub fn key_of(&mut self, text: &[u8]) -> Option<u16> {
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
        self.entries.push(Entry {
            words,
            start: self.bytes.len(),
            length: text.len(),
        });
        self.bytes.extend_from_slice(text);
        if self.slots.are_too_few_for(self.entries.len()) {
            self.grow();
        }
        Some(key as u16)
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All texts, one after the other.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where each text ends in [`TextDictionary::bytes`].
    pub fn ends(&self) -> impl ExactSizeIterator<Item = usize> {
        self.entries.iter().map(|entry| entry.start + entry.length)
    }

    #[cold]
    fn grow(&mut self) {
        let entries = self.entries.iter();
        self.slots.grow(entries.map(|entry| {
            let text = &self.bytes[entry.range()];
            hash(text, entry.words, self.hash_seed)
        }));
    }

    /// The text with that index, which [`TextDictionary::key_of`] gave.
    pub fn text(&self, key: u16) -> &[u8] {
        &self.bytes[self.entries[usize::from(key)].range()]
    }

    /// Forgets all texts.
    pub fn clear(&mut self) {
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
}
