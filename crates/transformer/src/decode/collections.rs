//! Lists and maps of strings, read straight into their columns. A key that comes twice in a map counts once, with its last value.

use std::collections::HashMap;
use std::str::from_utf8;

use super::escapes::RawText;
use super::json_error::JsonError;
use super::plain::Plain;
use super::scanner::Scanner;
use super::written_key::WrittenKey;
use crate::columns::{Items, KeyValueItems, NestedColumn, TextItems};

/// Reads a list or map that may be held by a JSON string; one that holds none is a `misfit`.
pub(super) fn nested<T>(
    text: Option<RawText<'_>>,
    buffer: &mut Vec<u8>,
    scanner: &mut Scanner<'_>,
    depth: usize,
    misfit: T,
    mut read: impl FnMut(&mut Scanner<'_>, usize) -> Result<T, JsonError>,
) -> Result<T, JsonError> {
    match text {
        None => read(scanner, depth),
        Some(text) => {
            let mut inner = Scanner::new(text.value(buffer));
            let fits = read(&mut inner, 0).and_then(|fits| inner.end().map(|()| fits));
            Ok(fits.unwrap_or(misfit))
        }
    }
}

/// Reads an array of strings and nulls as a row of `lists`.
pub(super) fn string_list(
    lists: &mut NestedColumn<TextItems>,
    row: usize,
    scanner: &mut Scanner<'_>,
    depth: usize,
) -> Result<bool, JsonError> {
    if scanner.peek() != Some(b'[') {
        return Ok(false);
    }
    scanner.enter(depth)?;
    let mut buffer = Vec::new();
    if !scanner.closes(b']') {
        loop {
            let items = lists.items();
            match scanner.peek() {
                Some(b'"') => {
                    scanner.step_quote();
                    items.push(scanner.string()?.value(&mut buffer));
                }
                Some(b'n') => {
                    scanner.literal(b"null")?;
                    items.push_null();
                }
                _ => return Ok(false),
            }
            if !scanner.comma_or(b']')? {
                break;
            }
        }
    }
    lists.close_row(row);
    Ok(true)
}

/// Reads an object of strings and nulls as a row of `maps`, and says which keys to expect of the next row.
pub(super) fn string_map(
    maps: &mut NestedColumn<KeyValueItems>,
    expected: &mut Vec<WrittenKey>,
    row: usize,
    scanner: &mut Scanner<'_>,
    depth: usize,
) -> Result<bool, JsonError> {
    if scanner.peek() != Some(b'{') {
        return Ok(false);
    }
    scanner.enter(depth)?;
    let mut buffer = Vec::new();
    let mut misfits = Vec::new();
    if !scanner.closes(b'}') {
        loop {
            let KeyValueItems { keys, values } = maps.items();
            scanner.key_quote()?;
            keys.push(scanner.string()?.value(&mut buffer));
            scanner.colon()?;
            match scanner.peek() {
                Some(b'"') => {
                    scanner.step_quote();
                    values.push(scanner.string()?.value(&mut buffer));
                }
                Some(b'n') => {
                    scanner.literal(b"null")?;
                    values.push_null();
                }
                _ => {
                    misfits.push(values.count());
                    scanner.skip(depth + 1)?;
                    values.push_null();
                }
            }
            if !scanner.comma_or(b'}')? {
                break;
            }
        }
    }
    let fits = if keys_surely_differ(maps) {
        misfits.is_empty()
    } else {
        keep_last_values(maps, &misfits)
    };
    if fits {
        close_map(maps, expected, row);
    }
    Ok(fits)
}

/// Closes a row of a map. If its keys are those of the last row, then those of the next row are expected to be the same.
fn close_map(maps: &mut NestedColumn<KeyValueItems>, expected: &mut Vec<WrittenKey>, row: usize) {
    let start = maps.open_row();
    let last = maps.last_filled_row();
    let keys = &maps.items().keys;
    let count = keys.count() - start;
    let same = count > 0
        && last.len() == count
        && last
            .clone()
            .zip(start..)
            .all(|(one, other)| keys.get(one) == keys.get(other));
    expected.clear();
    if same {
        let written =
            (start..start + count).map_while(|key| WrittenKey::new(from_utf8(keys.get(key)).ok()?));
        expected.extend(written);
        if expected.len() < count {
            expected.clear();
        }
    }
    maps.close_row(row);
}

/// Reads an object of strings and nulls whose keys are the expected ones, those of the last row that has any, if all of it is
/// written plainly.
pub(super) fn plain_map(
    maps: &mut NestedColumn<KeyValueItems>,
    expected: &[WrittenKey],
    row: usize,
    plain: &mut Plain<'_>,
) -> Option<()> {
    let last = maps.last_filled_row();
    let KeyValueItems { keys, values } = maps.items();
    let mut ahead = *plain;
    let mut read = || {
        if last.len() != expected.len() || !ahead.byte(b'{') {
            return None;
        }
        for (index, key) in expected.iter().enumerate() {
            if index > 0 && !ahead.byte(b',') || !ahead.key(key.pattern(ahead.level())) {
                return None;
            }
            if ahead.null() {
                values.push_null();
            } else {
                values.push(ahead.text()?);
            }
        }
        ahead.byte(b'}').then_some(())
    };
    if read().is_none() {
        maps.cut_open_row();
        return None;
    }
    keys.push_again(last);
    maps.close_row(row);
    *plain = ahead;
    Some(())
}

/// Whether the keys of the open row surely differ: a small filter in front of the exact check.
fn keys_surely_differ(maps: &mut NestedColumn<KeyValueItems>) -> bool {
    let start = maps.open_row();
    let keys = &maps.items().keys;
    let mut seen = [0_u64; 4];
    (start..keys.count()).all(|row| {
        let key = keys.get(row);
        let mixed = key.iter().fold(key.len() as u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        let (word, bit) = ((mixed >> 62) as usize, 1 << (mixed >> 56 & 63));
        let first = seen[word] & bit == 0;
        seen[word] |= bit;
        first
    })
}

/// Of the open row's entries with one key, keeps the last. False if one of `misfits` is kept.
#[cold]
fn keep_last_values(maps: &mut NestedColumn<KeyValueItems>, misfits: &[usize]) -> bool {
    let start = maps.open_row();
    let KeyValueItems { keys, values } = maps.items();
    let mut last_of_key: HashMap<&[u8], usize> = HashMap::new();
    let end = keys.count();
    for row in start..end {
        last_of_key.insert(keys.get(row), row);
    }
    if misfits
        .iter()
        .any(|row| last_of_key.get(keys.get(*row)) == Some(row))
    {
        return false;
    }
    if last_of_key.len() == end - start {
        return true;
    }
    let kept: Vec<(Vec<u8>, Option<Vec<u8>>)> = (start..end)
        .filter(|row| last_of_key.get(keys.get(*row)) == Some(row))
        .map(|row| {
            (
                keys.get(row).to_vec(),
                values.value(row).map(<[u8]>::to_vec),
            )
        })
        .collect();
    maps.cut_open_row();
    let KeyValueItems { keys, values } = maps.items();
    for (key, value) in kept {
        keys.push(&key);
        match value {
            Some(value) => values.push(&value),
            None => values.push_null(),
        }
    }
    true
}
