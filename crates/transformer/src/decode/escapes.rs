//! Escapes of JSON strings: what they stand for, and strings without them.
//!
//! Where a string ends, and whether its escapes are valid, is for the scanner to find.

use super::json_error::{JsonError, JsonErrorKind};
use super::special_bytes::special_of_word;

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

/// The character of the escape whose backslash is at `at`, and the offset after it.
pub(super) fn escape(text: &[u8], at: usize) -> Result<(char, usize), JsonError> {
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

/// The string that begins at `start`, after its opening quote, unescaped to the start of `buffer`, which grows as needed and
/// keeps its length: one pass where reading the string and [`RawText::value`] take two. Gives the value's length, and the
/// offset after the closing quote.
///
/// For a text that is in no JSON string.
pub(super) fn unescape(
    text: &[u8],
    start: usize,
    buffer: &mut Vec<u8>,
) -> Result<(usize, usize), JsonError> {
    let mut at = start;
    let error = |kind, at| JsonError { kind, at };
    // An unescaped text is never longer than its escaped form; eight bytes are written at a time.
    let bound = text.len() - at + 8;
    if buffer.len() < bound {
        buffer.resize(bound, 0);
    }
    let mut length = 0;
    loop {
        while let Some(chunk) = text[at..].first_chunk::<8>() {
            buffer[length..length + 8].copy_from_slice(chunk);
            let marks = special_of_word(u64::from_le_bytes(*chunk));
            let clean = if marks == 0 {
                8
            } else {
                marks.trailing_zeros() as usize / 8
            };
            at += clean;
            length += clean;
            if marks != 0 {
                break;
            }
        }
        match text.get(at) {
            Some(b'"') => {
                at += 1;
                return Ok((length, at));
            }
            Some(b'\\') => {
                if let Some(&byte @ (b'"' | b'\\')) = text.get(at + 1) {
                    buffer[length] = byte;
                    length += 1;
                    at += 2;
                } else {
                    let (character, next) = escape(text, at)?;
                    let place = &mut buffer[length..length + character.len_utf8()];
                    character.encode_utf8(place);
                    length += place.len();
                    at = next;
                }
            }
            Some(0..0x20) => return Err(error(JsonErrorKind::ControlCharacter, at)),
            Some(&byte) => {
                buffer[length] = byte;
                length += 1;
                at += 1;
            }
            None => return Err(error(JsonErrorKind::UnexpectedEnd, at)),
        }
    }
}
