//! A validating JSON scanner over one line: finds keys, strings, numbers and whole values without building any.
//!
//! Accepts exactly the texts that `serde_json` turns into a `Value`: its nesting limit, its refusal of lone surrogates and of
//! numbers beyond f64 included. The input must be valid UTF-8. What the values mean is not its business.
//!
//! A scanner also reads JSON inside a JSON string in place, without unescaping it first: there a quote is written `\"`, and
//! one level deeper `\\\"`. It reads only plain writing in this way, and refuses all else (other escapes, white space other than
//! blanks); its caller then unescapes the string and reads that.

use super::escapes::{self, RawText, escape};
use super::json_error::{JsonError, JsonErrorKind};
use super::scalar;
use super::special_bytes::special_of_word;
use super::written_key::{LEVELS, QUOTES, WrittenKey};

/// Deepest nesting of arrays and objects that is accepted.
pub(crate) const MAX_DEPTH: usize = 127;

/// Whether `text` starts with `start`. Eight bytes at a time: for texts as short as keys, faster than a call of `memcmp`.
#[inline(always)]
fn starts_with(text: &[u8], start: &[u8]) -> bool {
    let Some(text) = text.get(..start.len()) else {
        return false;
    };
    let (Some(text_end), Some(end)) = (text.last_chunk::<8>(), start.last_chunk::<8>()) else {
        return text == start;
    };
    let (words, _) = text.as_chunks::<8>();
    let (start_words, _) = start.as_chunks::<8>();
    words
        .iter()
        .zip(start_words)
        .all(|(word, other)| word == other)
        && text_end == end
}

/// A position in one text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// In how many JSON strings what is read is; less than `LEVELS`.
    level: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            at: 0,
            level: 0,
        }
    }

    /// Reads the JSON in the string that comes next in place. None if it is too deep for that.
    #[inline]
    pub(crate) fn inside(&self) -> Option<Self> {
        (self.level + 1 < LEVELS).then(|| Self {
            at: self.at + QUOTES[self.level].len(),
            level: self.level + 1,
            ..*self
        })
    }

    /// Goes on after the string that `inside` read, unless something is left of it.
    #[inline]
    pub(crate) fn leave(&mut self, mut inside: Self) -> bool {
        inside.peek();
        self.at = inside.at;
        let ends = self.at_quote();
        self.step_quote();
        ends
    }

    pub(crate) fn text(&self) -> &'a [u8] {
        self.text
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Goes on at an offset up to which the text was read by other means.
    #[inline(always)]
    pub(crate) fn go_on_at(&mut self, at: usize) {
        self.at = at;
    }

    /// In how many JSON strings what is read is.
    #[inline(always)]
    pub(crate) fn level(&self) -> usize {
        self.level
    }

    /// How a quote is written here.
    #[inline(always)]
    pub(crate) fn quote(&self) -> &'static [u8] {
        QUOTES[self.level]
    }

    /// Whether this reads inside a JSON string.
    pub(crate) fn is_inside(&self) -> bool {
        self.level > 0
    }

    #[inline(always)]
    fn at_quote(&self) -> bool {
        let text = &self.text[self.at..];
        match self.level {
            0 => text.first() == Some(&b'"'),
            1 => text.first_chunk() == Some(b"\\\""),
            _ => text.first_chunk() == Some(b"\\\\\\\""),
        }
    }

    /// Steps over a quote that `peek` showed.
    #[inline(always)]
    pub(crate) fn step_quote(&mut self) {
        self.at += QUOTES[self.level].len();
    }

    /// Steps over a key and its colon if it comes next, written as usual.
    #[inline(always)]
    pub(crate) fn take_key(&mut self, key: Option<&WrittenKey>) -> bool {
        key.is_some_and(|key| {
            let written = key.bytes(self.level);
            let next = starts_with(&self.text[self.at..], written);
            self.at += if next { written.len() } else { 0 };
            next
        })
    }

    pub(crate) fn error(&self, kind: JsonErrorKind) -> JsonError {
        JsonError { kind, at: self.at }
    }

    /// Skips white space and shows the next byte, and `"` for a quote of this level.
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.get(self.at) {
                Some(b' ') => self.at += 1,
                Some(b'\t' | b'\n' | b'\r') if self.level == 0 => self.at += 1,
                Some(b'"' | b'\\') if self.level > 0 => {
                    return Some(if self.at_quote() { b'"' } else { b'\\' });
                }
                next => return next.copied(),
            }
        }
    }

    /// Steps over the byte that `peek` showed, which was no quote.
    #[inline]
    pub(crate) fn step(&mut self) {
        self.at += 1;
    }

    /// Steps over `text` if it comes next.
    #[inline]
    pub(crate) fn take(&mut self, text: &[u8]) -> bool {
        let next = self.text[self.at..].starts_with(text);
        self.at += if next { text.len() } else { 0 };
        next
    }

    /// The error of a byte that is not the expected one.
    #[cold]
    pub(crate) fn unexpected(&self, kind: JsonErrorKind) -> JsonError {
        self.error(if self.at < self.text.len() {
            kind
        } else {
            JsonErrorKind::UnexpectedEnd
        })
    }

    /// Steps over a colon.
    #[inline]
    pub(crate) fn colon(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b':') => {
                self.step();
                Ok(())
            }
            _ => Err(self.unexpected(JsonErrorKind::ExpectedColon)),
        }
    }

    /// Steps over a comma (true) or over `end` (false).
    #[inline]
    pub(crate) fn comma_or(&mut self, end: u8) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b',') => {
                self.step();
                Ok(true)
            }
            Some(byte) if byte == end => {
                self.step();
                Ok(false)
            }
            _ => Err(self.unexpected(JsonErrorKind::ExpectedCommaOrEnd)),
        }
    }

    /// Steps over a key's opening quote.
    #[inline]
    pub(crate) fn key_quote(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => {
                self.step_quote();
                Ok(())
            }
            _ => Err(self.unexpected(JsonErrorKind::ExpectedKey)),
        }
    }

    /// Moves to the next quote, backslash or control character of a string and gives it.
    #[inline]
    fn next_special(&mut self) -> Result<u8, JsonError> {
        while let Some(&chunk) = self.text[self.at..].first_chunk::<8>() {
            let marks = special_of_word(u64::from_le_bytes(chunk));
            if marks != 0 {
                self.at += marks.trailing_zeros() as usize / 8;
                return Ok(self.text[self.at]);
            }
            self.at += 8;
        }
        while let Some(&byte) = self.text.get(self.at) {
            if matches!(byte, b'"' | b'\\' | 0..0x20) {
                return Ok(byte);
            }
            self.at += 1;
        }
        Err(self.error(JsonErrorKind::UnexpectedEnd))
    }

    /// The string whose opening quote was stepped over; its escapes are checked and kept, or refused inside a JSON string.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<RawText<'a>, JsonError> {
        let start = self.at;
        let mut escaped = false;
        loop {
            match self.next_special()? {
                _ if self.level > 0 => {
                    let raw = &self.text[start..self.at];
                    if !self.at_quote() {
                        return Err(self.error(JsonErrorKind::InvalidEscape));
                    }
                    self.step_quote();
                    return Ok(RawText { raw, escaped });
                }
                b'"' => {
                    let raw = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(RawText { raw, escaped });
                }
                b'\\' => {
                    escaped = true;
                    self.at = escape(self.text, self.at)?.1;
                }
                _ => return Err(self.error(JsonErrorKind::ControlCharacter)),
            }
        }
    }

    /// The string that comes next, if `first`, which `peek` showed, is its quote.
    #[inline]
    pub(crate) fn string_after(
        &mut self,
        first: Option<u8>,
    ) -> Result<Option<RawText<'a>>, JsonError> {
        if first != Some(b'"') {
            return Ok(None);
        }
        self.step_quote();
        self.string().map(Some)
    }

    /// The string whose opening quote was stepped over, unescaped to the start of `buffer`, as by [`escapes::unescape`]. Gives
    /// the value's length.
    ///
    /// For a text that is in no JSON string.
    pub(crate) fn unescape(&mut self, buffer: &mut Vec<u8>) -> Result<usize, JsonError> {
        let (length, at) = escapes::unescape(self.text, self.at, buffer)?;
        self.at = at;
        Ok(length)
    }

    /// The JSON text of the value that starts at the next byte; `buffer` is overwritten if that is in a JSON string. `depth` is how
    /// many arrays and objects are around it.
    pub(crate) fn value<'b>(
        &mut self,
        depth: usize,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], JsonError>
    where
        'a: 'b,
    {
        self.peek();
        let start = self.at;
        self.skip(depth)?;
        let written = &self.text[start..self.at];
        if self.level == 0 {
            return Ok(written);
        }
        // Of what is read in place, only quotes are written with backslashes.
        buffer.clear();
        let mut rest = written;
        while let Some(quote) = memchr::memchr(b'\\', rest) {
            buffer.extend_from_slice(&rest[..quote]);
            buffer.push(b'"');
            rest = &rest[quote + self.quote().len()..];
        }
        buffer.extend_from_slice(rest);
        Ok(buffer)
    }

    /// Steps over the value that starts at the next byte.
    pub(crate) fn skip(&mut self, depth: usize) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => {
                self.step_quote();
                self.string().map(drop)
            }
            Some(b'{') => {
                self.enter(depth)?;
                if self.closes(b'}') {
                    return Ok(());
                }
                loop {
                    self.key_quote()?;
                    self.string()?;
                    self.colon()?;
                    self.skip(depth + 1)?;
                    if !self.comma_or(b'}')? {
                        return Ok(());
                    }
                }
            }
            Some(b'[') => {
                self.enter(depth)?;
                if self.closes(b']') {
                    return Ok(());
                }
                loop {
                    self.skip(depth + 1)?;
                    if !self.comma_or(b']')? {
                        return Ok(());
                    }
                }
            }
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => Err(self.unexpected(JsonErrorKind::ExpectedValue)),
        }
    }

    /// Steps into an array or object that is `depth` levels deep.
    #[inline]
    pub(crate) fn enter(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth >= MAX_DEPTH {
            return Err(self.error(JsonErrorKind::TooDeep));
        }
        self.step();
        Ok(())
    }

    /// Steps over `end` if it comes next: an empty object or array.
    #[inline]
    pub(crate) fn closes(&mut self, end: u8) -> bool {
        let closes = self.peek() == Some(end);
        self.at += usize::from(closes);
        closes
    }

    #[inline]
    pub(crate) fn literal(&mut self, literal: &[u8]) -> Result<(), JsonError> {
        if self.take(literal) {
            Ok(())
        } else {
            Err(self.error(JsonErrorKind::ExpectedValue))
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.text.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    /// The number that starts here, as written.
    pub(crate) fn number(&mut self) -> Result<&'a [u8], JsonError> {
        let start = self.at;
        let invalid = |at| JsonError {
            kind: JsonErrorKind::InvalidNumber,
            at,
        };
        self.take(b"-");
        let leading_zero = self.text.get(self.at) == Some(&b'0');
        let integer_digits = self.digits();
        if integer_digits == 0 || (leading_zero && integer_digits > 1) {
            return Err(invalid(start));
        }
        if self.take(b".") && self.digits() == 0 {
            return Err(invalid(start));
        }
        let exponent = self.take(b"e") || self.take(b"E");
        if exponent {
            if !self.take(b"+") {
                self.take(b"-");
            }
            if self.digits() == 0 {
                return Err(invalid(start));
            }
        }
        let number = &self.text[start..self.at];
        let may_overflow = exponent || number.len() > f64::MAX_10_EXP as usize;
        if may_overflow && !scalar::float64(number).is_some_and(f64::is_finite) {
            return Err(JsonError {
                kind: JsonErrorKind::NumberOutOfRange,
                at: start,
            });
        }
        Ok(number)
    }

    /// Fails unless only white space is left.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error(JsonErrorKind::TrailingCharacters)),
        }
    }
}

/// Checks that a text is one JSON value.
pub(crate) fn check(text: &[u8]) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(text);
    scanner.skip(0)?;
    scanner.end()
}

#[cfg(test)]
mod tests;
