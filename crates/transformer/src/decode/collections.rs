//! Lists and maps of strings, read straight into their columns. A key that comes twice in a map counts once, with its last value.

use std::collections::HashMap;

use super::scan::{JsonError, RawText, Scanner};
use crate::columns::{Items, KeyValueColumns, NestedColumn, TextColumn};

/// Reads a list or map that may be held by a JSON string.
pub(super) fn nested(
    text: Option<RawText<'_>>,
    buffer: &mut Vec<u8>,
    scanner: &mut Scanner<'_>,
    depth: usize,
    mut read: impl FnMut(&mut Scanner<'_>, usize) -> Result<bool, JsonError>,
) -> Result<bool, JsonError> {
    match text {
        None => read(scanner, depth),
        Some(text) => {
            let mut inner = Scanner::new(text.value(buffer));
            let fits = read(&mut inner, 0).and_then(|fits| inner.end().map(|()| fits));
            Ok(fits.unwrap_or(false))
        }
    }
}

/// Reads an array of strings and nulls as a row of `lists`.
pub(super) fn string_list(
    lists: &mut NestedColumn<TextColumn>,
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
    lists.close_row();
    Ok(true)
}

/// Reads an object of strings and nulls as a row of `maps`.
pub(super) fn string_map(
    maps: &mut NestedColumn<KeyValueColumns>,
    scanner: &mut Scanner<'_>,
    depth: usize,
) -> Result<bool, JsonError> {
    if scanner.peek() != Some(b'{') {
        return Ok(false);
    }
    scanner.enter(depth)?;
    let mut buffer = Vec::new();
    let mut misfits = Vec::new();
    // Keys that differed in an earlier row differ in this one.
    let mut earlier = maps.last_filled_row();
    let mut as_earlier = true;
    if !scanner.closes(b'}') {
        loop {
            scanner.peek();
            let KeyValueColumns { keys, values } = maps.items();
            let row = earlier.next().filter(|_| as_earlier);
            match row {
                Some(row) if scanner.take_plain_key(keys.get(row)) => keys.push_again(row),
                _ => {
                    as_earlier = false;
                    scanner.key_quote()?;
                    keys.push(scanner.string()?.value(&mut buffer));
                    scanner.colon()?;
                }
            }
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
                    misfits.push(values.count_rows());
                    scanner.value(depth + 1)?;
                    values.push_null();
                }
            }
            if !scanner.comma_or(b'}')? {
                break;
            }
        }
    }
    let fits = if as_earlier || keys_surely_differ(maps) {
        misfits.is_empty()
    } else {
        keep_last_values(maps, &misfits)
    };
    maps.close_row();
    Ok(fits)
}

/// Whether the keys of the open row surely differ: a small filter in front of the exact check.
fn keys_surely_differ(maps: &mut NestedColumn<KeyValueColumns>) -> bool {
    let start = maps.open_row();
    let keys = &maps.items().keys;
    let mut seen = [0_u64; 4];
    (start..keys.count_rows()).all(|row| {
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
fn keep_last_values(maps: &mut NestedColumn<KeyValueColumns>, misfits: &[usize]) -> bool {
    let start = maps.open_row();
    let KeyValueColumns { keys, values } = maps.items();
    let mut last_of_key: HashMap<&[u8], usize> = HashMap::new();
    let end = keys.count_rows();
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
    maps.items().cut(start);
    let KeyValueColumns { keys, values } = maps.items();
    for (key, value) in kept {
        keys.push(&key);
        match value {
            Some(value) => values.push(&value),
            None => values.push_null(),
        }
    }
    true
}
