//! Reads what is written as nearly all of a record is: the expected key, and then null or a string, number or bool without
//! escapes or spaces. Steps over what it reads, and leaves all else, the ends of objects among it, to [`Scanner`].
//!
//! There is nothing here that [`Scanner`] does not read too; it is only shorter by all the questions that are not asked.

use super::scanner::Scanner;
use super::special_bytes::{CHUNK, special_bytes};
use super::written_key::{KEY_BYTES, KeyPattern};

/// Most digits of an integer.
const DIGITS: usize = 18;

/// How a quote is written.
#[derive(Debug, Clone, Copy)]
struct Quote {
    bits: u32,
    mask: u32,
    length: usize,
}

/// A position in a text. Each of its methods steps over what it gives, and stays where it is otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain<'a> {
    text: &'a [u8],
    at: usize,
    quote: Quote,
    level: usize,
}

impl<'a> Plain<'a> {
    /// Begins where `scanner` stands.
    #[inline(always)]
    pub(super) fn new(scanner: &Scanner<'a>) -> Self {
        let quote = scanner.quote();
        let mut bytes = [0; 4];
        let mut mask = [0; 4];
        bytes[..quote.len()].copy_from_slice(quote);
        mask[..quote.len()].fill(0xff);
        Self {
            text: scanner.text(),
            at: scanner.at(),
            quote: Quote {
                bits: u32::from_ne_bytes(bytes),
                mask: u32::from_ne_bytes(mask),
                length: quote.len(),
            },
            level: scanner.level(),
        }
    }

    /// In how many JSON strings what is read is.
    #[inline(always)]
    pub(super) fn level(&self) -> usize {
        self.level
    }

    /// Where it stands.
    #[inline(always)]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next bytes; what is beyond the end is 0, and so no part of what is written plainly.
    #[inline(always)]
    fn chunk<const N: usize>(&self, at: usize) -> [u8; N] {
        let rest = self.text.get(at..).unwrap_or_default();
        rest.first_chunk().copied().unwrap_or_else(|| padded(rest))
    }

    #[inline(always)]
    fn is_quote(&self, at: usize) -> bool {
        u32::from_ne_bytes(self.chunk(at)) & self.quote.mask == self.quote.bits
    }

    /// Whether the key comes next.
    #[inline(always)]
    pub(super) fn key(&mut self, key: &KeyPattern) -> bool {
        let bytes = self.chunk::<KEY_BYTES>(self.at);
        let (words, _) = bytes.as_chunks::<8>();
        let mut differing = 0;
        for ((bytes, word), mask) in words.iter().zip(&key.words).zip(&key.masks) {
            differing |= (u64::from_ne_bytes(*bytes) & mask) ^ word;
        }
        let is_next = differing == 0;
        self.at += if is_next { key.length } else { 0 };
        is_next
    }

    /// Whether that byte, which is no quote, comes next.
    #[inline(always)]
    pub(super) fn byte(&mut self, byte: u8) -> bool {
        let is_next = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    #[inline(always)]
    fn literal(&mut self, literal: &[u8]) -> bool {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let is_next = rest.starts_with(literal);
        self.at += if is_next { literal.len() } else { 0 };
        is_next
    }

    #[inline(always)]
    pub(super) fn null(&mut self) -> bool {
        self.literal(b"null")
    }

    #[inline(always)]
    pub(super) fn bool(&mut self) -> Option<bool> {
        if self.literal(b"true") {
            Some(true)
        } else {
            self.literal(b"false").then_some(false)
        }
    }

    /// The text of a string.
    #[inline(always)]
    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        if !self.is_quote(self.at) {
            return None;
        }
        let start = self.at + self.quote.length;
        let mut end = start;
        loop {
            let marks = special_bytes(&self.chunk(end));
            if marks != 0 {
                end += marks.trailing_zeros() as usize;
                break;
            }
            end += CHUNK;
        }
        if !self.is_quote(end) {
            return None;
        }
        self.at = end + self.quote.length;
        self.text.get(start..end)
    }

    /// An integer that is surely one of 64 bits.
    #[inline(always)]
    pub(super) fn integer(&mut self) -> Option<i64> {
        let rest = self.text.get(self.at..)?;
        let is_negative = rest.first() == Some(&b'-');
        let digits = &rest[usize::from(is_negative)..];
        let (mut value, mut count) = (0, 0);
        while let Some(digit) = digits.get(count).map(|byte| byte.wrapping_sub(b'0'))
            && digit < 10
            && count < DIGITS
        {
            value = value * 10 + i64::from(digit);
            count += 1;
        }
        let after = digits.get(count);
        let ends = matches!(after, Some(b',' | b'}'));
        // A zero has no sign and stands alone, and -0 is a number of another kind.
        let is_canonical = match digits.first() {
            Some(b'0') => count == 1 && !is_negative,
            _ => count > 0,
        };
        if !ends || !is_canonical {
            return None;
        }
        self.at += usize::from(is_negative) + count;
        Some(if is_negative { -value } else { value })
    }
}

#[cold]
fn padded<const N: usize>(rest: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..rest.len()].copy_from_slice(rest);
    bytes
}
