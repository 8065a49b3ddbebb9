//! The open page's values as indices of the chunk's dictionary, and when to do without it.
//!
//! Knows of a dictionary only how large it is.

use std::iter;

use parquet::basic::Encoding;

use super::bit_packing;

/// A dictionary must have so many times fewer values than the page, or they are written without it.
const REPEATS: usize = 2;

/// Values of which a byte can say which one.
const NARROW_VALUES: usize = 1 << u8::BITS;

/// An index for each value of the open page, while the chunk has a dictionary.
#[derive(Debug)]
pub(super) struct DictionaryKeys {
    /// Bytes that the dictionary may have; 0 is none at all.
    limit: usize,
    in_use: bool,
    keys: Keys,
}

/// Of few values, as most dictionaries are, half as long: all columns of a page together are what an encoder holds.
#[derive(Debug)]
enum Keys {
    Narrow(Vec<u8>),
    Wide(Vec<u16>),
}

impl DictionaryKeys {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            in_use: limit > 0,
            keys: Keys::Narrow(Vec::new()),
        }
    }

    /// Whether the open page refers to the dictionary.
    #[inline(always)]
    pub(super) fn are_in_use(&self) -> bool {
        self.in_use
    }

    #[inline(always)]
    pub(super) fn push(&mut self, key: u16) {
        match &mut self.keys {
            Keys::Narrow(keys) => match u8::try_from(key) {
                Ok(key) => keys.push(key),
                Err(_) => self.widen(iter::once(key)),
            },
            Keys::Wide(keys) => keys.push(key),
        }
    }

    #[cold]
    fn widen(&mut self, more: impl Iterator<Item = u16>) {
        let mut keys = self.keys.take();
        keys.extend(more);
        self.keys = Keys::Wide(keys);
    }

    /// Adds keys of a dictionary of so many values.
    pub(super) fn extend(&mut self, keys: impl Iterator<Item = u16>, dictionary_values: usize) {
        match &mut self.keys {
            Keys::Narrow(narrow) if dictionary_values <= NARROW_VALUES => {
                narrow.extend(keys.map(|key| key as u8));
            }
            Keys::Narrow(_) => self.widen(keys),
            Keys::Wide(wide) => wide.extend(keys),
        }
    }

    /// Whether a dictionary of so many bytes is too large.
    pub(super) fn are_for_too_large(&self, dictionary_bytes: usize) -> bool {
        self.in_use && dictionary_bytes > self.limit
    }

    /// Whether the open page is shorter with a dictionary of so many values than without.
    pub(super) fn pay(&self, dictionary_values: usize) -> bool {
        self.keys.len() >= dictionary_values * REPEATS
    }

    /// Gives the open page's keys away: it, and all that follow in the chunk, are written without the dictionary.
    pub(super) fn leave(&mut self) -> Vec<u16> {
        self.in_use = false;
        self.keys.take()
    }

    /// Bytes that they take in the open page, about.
    pub(super) fn page_bytes(&self) -> usize {
        self.keys.len()
    }

    /// Appends the open page's keys and forgets them. `None`: the page is not by dictionary.
    pub(super) fn finish_page(
        &mut self,
        dictionary_values: usize,
        out: &mut Vec<u8>,
    ) -> Option<Encoding> {
        if !self.in_use {
            return None;
        }
        if dictionary_values == 0 {
            // Nothing but nulls so far.
            return Some(Encoding::PLAIN);
        }
        let width = bit_packing::width_of(dictionary_values);
        out.push(width as u8);
        match &mut self.keys {
            Keys::Narrow(keys) => {
                bit_packing::hybrid(keys, width, out);
                keys.clear();
            }
            Keys::Wide(keys) => {
                bit_packing::hybrid(keys, width, out);
                keys.clear();
            }
        }
        Some(Encoding::RLE_DICTIONARY)
    }

    /// Begins the next chunk, which may have a dictionary again.
    pub(super) fn begin_chunk(&mut self) {
        self.in_use = self.limit > 0;
    }
}

impl Keys {
    fn len(&self) -> usize {
        match self {
            Self::Narrow(keys) => keys.len(),
            Self::Wide(keys) => keys.len(),
        }
    }

    /// Gives all away.
    fn take(&mut self) -> Vec<u16> {
        match std::mem::replace(self, Self::Narrow(Vec::new())) {
            Self::Narrow(keys) => keys.into_iter().map(u16::from).collect(),
            Self::Wide(keys) => keys,
        }
    }
}
