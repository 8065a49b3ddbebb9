//! A validating JSON scanner over one line: finds keys, strings, numbers and whole values without building any.
//!
//! Accepts exactly the texts that `serde_json` turns into a `Value`: its nesting limit, its refusal of lone surrogates and of
//! numbers beyond f64 included. The input must be valid UTF-8. What the values mean is not its business.
//!
//! A scanner also reads JSON inside a JSON string where it lies, without unescaping it first: there a quote is written `\"`, and
//! one level deeper `\\\"`. It reads only plain writing in this way, and refuses all else (other escapes, whole values, white
//! space other than blanks); its caller then unescapes the string and reads that.

use std::fmt;

use super::plain::KeyPattern;

/// Deepest nesting of arrays and objects that is accepted.
pub(crate) const MAX_DEPTH: usize = 127;

/// Where and why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JsonError {
    pub(crate) kind: JsonErrorKind,
    /// Byte offset in the scanned text.
    pub(crate) at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonErrorKind {
    UnexpectedEnd,
    ExpectedValue,
    ExpectedKey,
    ExpectedColon,
    ExpectedCommaOrEnd,
    ControlCharacter,
    InvalidEscape,
    LoneSurrogate,
    InvalidNumber,
    NumberOutOfRange,
    TrailingCharacters,
    TooDeep,
}

impl fmt::Display for JsonErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnexpectedEnd => "the text ends too early",
            Self::ExpectedValue => "expected a value",
            Self::ExpectedKey => "expected a key in double quotes",
            Self::ExpectedColon => "expected `:`",
            Self::ExpectedCommaOrEnd => "expected `,` or the end of the object or array",
            Self::ControlCharacter => "control character in a string",
            Self::InvalidEscape => "invalid escape in a string",
            Self::LoneSurrogate => "half of a surrogate pair in a string",
            Self::InvalidNumber => "invalid number",
            Self::NumberOutOfRange => "number out of range",
            Self::TrailingCharacters => "characters after the end of the value",
            Self::TooDeep => "nested deeper than 127 levels",
        })
    }
}

/// The text between a string's quotes, as written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawText<'a> {
    pub(crate) raw: &'a [u8],
    /// Whether `raw` has escapes.
    pub(crate) escaped: bool,
}

impl<'a> RawText<'a> {
    /// The string's value; `buffer` is overwritten if it has to be unescaped.
    #[inline(always)]
    pub(crate) fn value<'b>(self, buffer: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        if self.escaped {
            self.unescape(buffer);
            return buffer;
        }
        self.raw
    }

    fn unescape(self, buffer: &mut Vec<u8>) {
        buffer.clear();
        let mut rest = self.raw;
        while let Some(run) = memchr::memchr(b'\\', rest) {
            buffer.extend_from_slice(&rest[..run]);
            let mut character = [0; 4];
            match escape(rest, run) {
                Ok((value, next)) => {
                    buffer.extend_from_slice(value.encode_utf8(&mut character).as_bytes());
                    rest = &rest[next..];
                }
                // Cannot be: the scanner has checked every escape of a RawText.
                Err(_) => rest = &rest[run + 1..],
            }
        }
        buffer.extend_from_slice(rest);
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Marks, in the high bit of each byte, the quotes, backslashes and control characters among eight bytes. Only the lowest mark
/// is exact: a subtraction's borrow may mark bytes above a true one.
#[inline(always)]
fn special(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let marks = (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash)
        | (word.wrapping_sub(ONES * 0x20) & !word);
    marks & HIGH
}

/// The character of the escape whose backslash is at `at`, and the offset behind it.
fn escape(text: &[u8], at: usize) -> Result<(char, usize), JsonError> {
    let error = |kind| JsonError { kind, at };
    let simple = match text.get(at + 1) {
        Some(&b @ (b'"' | b'\\' | b'/')) => b as char,
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let first = hex4(text, at + 2).ok_or(error(JsonErrorKind::InvalidEscape))?;
            if !(0xd800..0xe000).contains(&first) {
                let character = char::from_u32(first).ok_or(error(JsonErrorKind::InvalidEscape))?;
                return Ok((character, at + 6));
            }
            let second = match (text.get(at + 6), text.get(at + 7)) {
                (Some(b'\\'), Some(b'u')) => {
                    hex4(text, at + 8).ok_or(error(JsonErrorKind::InvalidEscape))?
                }
                _ => return Err(error(JsonErrorKind::LoneSurrogate)),
            };
            if first >= 0xdc00 || !(0xdc00..0xe000).contains(&second) {
                return Err(error(JsonErrorKind::LoneSurrogate));
            }
            let joined = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            let character = char::from_u32(joined).ok_or(error(JsonErrorKind::LoneSurrogate))?;
            return Ok((character, at + 12));
        }
        Some(_) => return Err(error(JsonErrorKind::InvalidEscape)),
        None => return Err(error(JsonErrorKind::UnexpectedEnd)),
    };
    Ok((simple, at + 2))
}

fn hex4(text: &[u8], at: usize) -> Option<u32> {
    text.get(at..at + 4)?.iter().try_fold(0, |value, &digit| {
        Some(value << 4 | (digit as char).to_digit(16)?)
    })
}

/// How a quote is written in a text, in a JSON string, and in a JSON string in a JSON string.
const QUOTES: [&[u8]; LEVELS] = [b"\"", b"\\\"", b"\\\\\\\""];
/// How deep JSON in JSON strings is read where it lies; deeper ones are unescaped.
const LEVELS: usize = 3;

/// A key as it is usually written at each level: between quotes and with a colon behind.
#[derive(Debug)]
pub(crate) struct WrittenKey {
    bytes: [Vec<u8>; LEVELS],
    patterns: [KeyPattern; LEVELS],
}

impl WrittenKey {
    /// None for a key that cannot be written without escapes.
    pub(crate) fn new(key: &str) -> Option<Self> {
        let plain = !key
            .bytes()
            .any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
        let written = QUOTES.map(|quote| [quote, key.as_bytes(), quote, b":"].concat());
        plain.then(|| Self {
            patterns: written.each_ref().map(|written| KeyPattern::new(written)),
            bytes: written,
        })
    }

    #[inline(always)]
    pub(super) fn pattern(&self, level: usize) -> &KeyPattern {
        &self.patterns[level]
    }
}

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
    /// In how many JSON strings what is read lies; less than `LEVELS`.
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

    /// Reads the JSON in the string that comes next where it lies. None if it lies too deep for that.
    #[inline]
    pub(crate) fn inside(&self) -> Option<Self> {
        (self.level + 1 < LEVELS).then(|| Self {
            at: self.at + QUOTES[self.level].len(),
            level: self.level + 1,
            ..*self
        })
    }

    /// Goes on behind the string that `inside` read, unless something is left of it.
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

    /// In how many JSON strings what is read lies.
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
            let written = &key.bytes[self.level];
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
            let marks = special(u64::from_le_bytes(chunk));
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

    /// The string whose opening quote was stepped over, unescaped to the start of `buffer`, which grows as needed and keeps
    /// its length: one pass where `string` and `value` take two. Gives the value's length.
    ///
    /// For a text that lies in no JSON string.
    pub(crate) fn unescape(&mut self, buffer: &mut Vec<u8>) -> Result<usize, JsonError> {
        // An unescaped text is never longer than its escaped form; eight bytes are written at a time.
        let bound = self.text.len() - self.at + 8;
        if buffer.len() < bound {
            buffer.resize(bound, 0);
        }
        let mut length = 0;
        loop {
            while let Some(chunk) = self.text[self.at..].first_chunk::<8>() {
                buffer[length..length + 8].copy_from_slice(chunk);
                let marks = special(u64::from_le_bytes(*chunk));
                let clean = if marks == 0 {
                    8
                } else {
                    marks.trailing_zeros() as usize / 8
                };
                self.at += clean;
                length += clean;
                if marks != 0 {
                    break;
                }
            }
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(length);
                }
                Some(b'\\') => {
                    if let Some(&byte @ (b'"' | b'\\')) = self.text.get(self.at + 1) {
                        buffer[length] = byte;
                        length += 1;
                        self.at += 2;
                    } else {
                        let (character, next) = escape(self.text, self.at)?;
                        let room = &mut buffer[length..length + character.len_utf8()];
                        character.encode_utf8(room);
                        length += room.len();
                        self.at = next;
                    }
                }
                Some(0..0x20) => return Err(self.error(JsonErrorKind::ControlCharacter)),
                Some(&byte) => {
                    buffer[length] = byte;
                    length += 1;
                    self.at += 1;
                }
                None => return Err(self.error(JsonErrorKind::UnexpectedEnd)),
            }
        }
    }

    /// The value that starts at the next byte, as written; refused inside a JSON string. `depth` is how many arrays and objects
    /// it lies in.
    pub(crate) fn value(&mut self, depth: usize) -> Result<&'a [u8], JsonError> {
        if self.level > 0 {
            return Err(self.error(JsonErrorKind::ExpectedValue));
        }
        self.peek();
        let start = self.at;
        self.skip(depth)?;
        Ok(&self.text[start..self.at])
    }

    fn skip(&mut self, depth: usize) -> Result<(), JsonError> {
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

    /// Steps into an array or object that lies `depth` levels deep.
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
        if may_overflow && !super::scalar::float64(number).is_some_and(f64::is_finite) {
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
    scanner.value(0)?;
    scanner.end()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn agrees_with_serde_json(text: &str) {
        let oracle = serde_json::from_str::<Value>(text);
        let found = check(text.as_bytes());
        assert_eq!(
            found.is_ok(),
            oracle.is_ok(),
            "{text:?}: {found:?} {oracle:?}"
        );
    }

    #[test]
    fn accepts_what_serde_json_accepts_at_the_edges() {
        for text in [
            "",
            " ",
            "null",
            "nul",
            "truefalse",
            "-",
            "-0",
            "01",
            "1.",
            ".5",
            "1e",
            "1e+",
            "1e5",
            "1E-5",
            "1e308",
            "1e309",
            "-1e999",
            "0e999999999999",
            "1e-999",
            "12345678901234567890123",
            "[",
            "[]",
            "[1,]",
            "[1 2]",
            "{}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":1}x",
            "\"",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"\\ude00\\ud83d\"",
            "\"\\ud83d\\n\"",
            "\"\\u0000\"",
            "\"\u{1}\"",
            "\"\t\"",
            "\"\u{7f}é😀\"",
            "\u{feff}1",
            "\r\n\t 1 \r",
            "\"12345678\"",
            "\"1234567\\n\"",
            "'a'",
            "+1",
            "NaN",
            "[[[]]]",
            "\u{b}1",
            "1\u{0}",
        ] {
            agrees_with_serde_json(text);
        }
        agrees_with_serde_json(&"9".repeat(310));
        agrees_with_serde_json(&format!("0.{}", "9".repeat(400)));
        for depth in [126, 127, 128, 129, 100_000] {
            agrees_with_serde_json(&("[".repeat(depth) + &"]".repeat(depth)));
            agrees_with_serde_json(&("{\"a\":".repeat(depth) + "1" + &"}".repeat(depth)));
        }
    }

    fn text_of_json_pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"",
            "\\",
            "\\\"",
            "\\u",
            "d83d",
            "de00",
            "\\ud83d\\ude00",
            "0",
            "1",
            "-",
            ".",
            "e",
            "E5",
            "+",
            "true",
            "null",
            " ",
            "\n",
            "\"a\"",
            "\"a\":",
            "{\"a\":1}",
            "é",
            "😀",
            "\u{1}",
            "abcdefgh",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn accepts_what_serde_json_accepts(text in text_of_json_pieces()) {
            agrees_with_serde_json(&text);
            agrees_with_serde_json(&format!("[\"{text}\"]"));
        }

        #[test]
        fn both_ways_of_unescaping_give_the_string(text in any::<String>(), escape_all in any::<bool>()) {
            let mut json = serde_json::to_string(&text).unwrap();
            if escape_all {
                let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
                json = format!("\"{units}\"");
            }
            let mut scanner = Scanner::new(&json.as_bytes()[1..]);
            let mut buffer = Vec::new();
            let raw = scanner.string().unwrap();
            prop_assert_eq!(raw.value(&mut buffer), text.as_bytes());
            scanner.end().unwrap();

            let mut scanner = Scanner::new(&json.as_bytes()[1..]);
            let mut buffer = vec![b'x'; 3];
            let length = scanner.unescape(&mut buffer).unwrap();
            prop_assert_eq!(&buffer[..length], text.as_bytes());
            scanner.end().unwrap();
        }
    }
}
