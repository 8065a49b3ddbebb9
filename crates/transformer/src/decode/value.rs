//! A value to its column: which values fit the column's type, and how they get there.
//!
//! Where the value is on the wire, and what becomes of one that does not fit, is for the walk over the record.

use super::collections::{nested, plain_map, string_list, string_map};
use super::escapes::RawText;
use super::json_error::JsonError;
use super::plain::Plain;
use super::scalar;
use super::scanner::{Scanner, check};
use super::written_key::WrittenKey;
use crate::columns::Column;

/// What reading a column's values remembers from one to the next.
#[derive(Debug, Default)]
pub(super) struct ValueReader {
    /// Of a map: the keys of its last row that has any, if they are expected to come again.
    expected_keys: Vec<WrittenKey>,
}

impl ValueReader {
    /// Reads a value as the row that has none yet; `first` is its first byte, `buffer` is overwritten. False if it does not fit;
    /// the column and the scanner are then anywhere.
    #[inline]
    pub(super) fn read(
        &mut self,
        column: &mut Column,
        row: usize,
        first: Option<u8>,
        scanner: &mut Scanner<'_>,
        depth: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<bool, JsonError> {
        let text = scanner.string_after(first)?;
        match (column, text) {
            (Column::Text(texts), Some(text)) => texts.set(row, text.value(buffer)),
            (Column::Timestamp(times), Some(text)) => match scalar::timestamp(text.value(buffer)) {
                Some(time) => times.set(row, time),
                None => return Ok(false),
            },
            (Column::Bool(bools), Some(text)) => match scalar::boolean(text.value(buffer)) {
                Some(value) => bools.set(row, value),
                None => return Ok(false),
            },
            (Column::Bool(bools), None) => match first {
                Some(b't') => {
                    scanner.literal(b"true")?;
                    bools.set(row, true);
                }
                Some(b'f') => {
                    scanner.literal(b"false")?;
                    bools.set(row, false);
                }
                _ => return Ok(false),
            },
            (Column::Int64(numbers), text) => {
                let value = match (text, first) {
                    (Some(text), _) => scalar::int64(text.value(buffer)),
                    (None, Some(b'-' | b'0'..=b'9')) => scalar::int64(scanner.number()?),
                    _ => None,
                };
                match value {
                    Some(value) => numbers.set(row, value),
                    None => return Ok(false),
                }
            }
            (Column::Float64(numbers), text) => {
                let value = match (text, first) {
                    (Some(text), _) => number_text(text.value(buffer)),
                    (None, Some(b'-' | b'0'..=b'9')) => scalar::float64(scanner.number()?),
                    _ => None,
                };
                match value {
                    Some(value) => numbers.set(row, value),
                    None => return Ok(false),
                }
            }
            (Column::Date(days), Some(text)) => match scalar::date(text.value(buffer)) {
                Some(day) => days.set(row, day),
                None => return Ok(false),
            },
            (Column::Json(texts), Some(text)) => texts.set(row, json_text(text, buffer)),
            (Column::Json(texts), None) => texts.set(row, scanner.value(depth, buffer)?),
            (Column::TextMap(maps), text) => {
                let expected = &mut self.expected_keys;
                return nested(text, buffer, scanner, depth, false, |scanner, depth| {
                    string_map(maps, expected, row, scanner, depth)
                });
            }
            (Column::TextList(lists), text) => {
                return nested(text, buffer, scanner, depth, false, |scanner, depth| {
                    string_list(lists, row, scanner, depth)
                });
            }
            // Read by the walk.
            (Column::StructList(_), _) => return Ok(false),
            (Column::Text(_) | Column::Timestamp(_) | Column::Date(_), None) => {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Reads a value that is written plainly. False if it is not so, or does not fit; then the column is as it was. `index` is the
/// column's reader.
#[inline(always)]
pub(super) fn read_plain(
    column: &mut Column,
    readers: &[ValueReader],
    index: usize,
    row: usize,
    plain: &mut Plain<'_>,
) -> bool {
    match column {
        Column::Text(texts) => plain.text().map(|text| texts.set(row, text)),
        Column::Timestamp(times) => plain
            .text()
            .and_then(scalar::timestamp)
            .map(|time| times.set(row, time)),
        Column::Bool(bools) => plain
            .bool()
            .or_else(|| plain.text().and_then(scalar::boolean))
            .map(|value| bools.set(row, value)),
        Column::Int64(numbers) => plain
            .integer()
            .or_else(|| plain.text().and_then(scalar::int64))
            .map(|number| numbers.set(row, number)),
        Column::TextMap(maps) => plain_map(maps, &readers[index].expected_keys, row, plain),
        Column::Json(_)
        | Column::Float64(_)
        | Column::Date(_)
        | Column::TextList(_)
        | Column::StructList(_) => None,
    }
    .is_some()
}

/// A string that holds a JSON number.
pub(super) fn number_text(text: &[u8]) -> Option<f64> {
    let mut scanner = Scanner::new(text);
    let number = scanner.number().ok()?;
    (number.len() == text.len())
        .then(|| scalar::float64(number))
        .flatten()
}

/// The text of a string in a json column: an object or array that it holds, otherwise the string with its quotes.
fn json_text<'a>(text: RawText<'a>, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    let value = text.value(buffer);
    let holds_json = value
        .iter()
        .find(|b| !b.is_ascii_whitespace())
        .is_some_and(|b| matches!(b, b'{' | b'['))
        && check(value).is_ok();
    if holds_json {
        return text.value(buffer);
    }
    buffer.clear();
    buffer.push(b'"');
    buffer.extend_from_slice(text.raw);
    buffer.push(b'"');
    buffer
}
