//! What one record holds beyond its columns, and the JSON object that keeps it. A wire path that comes twice counts once, and
//! its last value is kept.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

/// Why a value was rescued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DriftKind {
    /// The schema does not name the path.
    Unnamed,
    /// The value does not fit the column.
    Misfit,
    /// The schema has the key in another case; or another spelling of the key has a value in the same record.
    Spelling,
    /// Part of the value is no text, and was read as U+FFFD: half a surrogate pair, or bytes that are no UTF-8. The original is kept
    /// in base64.
    Damaged,
    /// A text that stands for null: an empty one in a column of another type, or `Unknown` for a bool. It is counted, and not
    /// kept.
    Blank,
}

/// What records held beyond their columns, or in another way than the schema has it.
#[derive(Debug, Default)]
pub struct Drift {
    /// Rows with something in `_rescued_data`.
    pub rows_rescued: u64,
    /// In how many records each wire path was rescued, or was spelled in another way.
    pub paths: HashMap<(Arc<str>, DriftKind), u64>,
    /// Of each column of the schema, in its order: rows without a value, in batches that were taken.
    pub column_nulls: Vec<u64>,
}

/// Most wire paths that are counted apart; hostile records can make up any number of them.
const MAX_DRIFT_PATHS: usize = 10_000;
/// Stands for the wire paths beyond the limit.
const OTHER_PATHS: &str = "(other paths)";

impl Drift {
    pub(super) fn add(&mut self, path: Arc<str>, kind: DriftKind, records: u64) {
        let key = (path, kind);
        if let Some(counted) = self.paths.get_mut(&key) {
            *counted += records;
        } else if self.paths.len() < MAX_DRIFT_PATHS {
            self.paths.insert(key, records);
        } else {
            *self.paths.entry((OTHER_PATHS.into(), kind)).or_default() += records;
        }
    }
}

/// The rescued values of one record.
#[derive(Debug, Default)]
pub(crate) struct Rescue {
    entries: Vec<Entry>,
    /// The JSON texts of the values, one after the other.
    values: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    path: Arc<str>,
    what: What,
}

#[derive(Debug)]
enum What {
    Value {
        kind: DriftKind,
        /// Where its JSON text is.
        text: Range<usize>,
    },
    /// A value that is read as null.
    Blank,
    /// What was rescued at this path and below it no longer counts: its key came again.
    Cleared,
}

impl Rescue {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.values.clear();
    }

    /// How far entries go now, for [`Rescue::back_to`].
    pub(crate) fn mark(&self) -> usize {
        self.entries.len()
    }

    /// Forgets what came since the mark.
    pub(crate) fn back_to(&mut self, mark: usize) {
        self.entries.truncate(mark);
    }

    pub(crate) fn add(&mut self, path: Arc<str>, kind: DriftKind, value: &[u8]) {
        let start = self.values.len();
        self.values.extend_from_slice(value);
        let text = start..self.values.len();
        let what = What::Value { kind, text };
        self.entries.push(Entry { path, what });
    }

    pub(crate) fn add_blank(&mut self, path: Arc<str>) {
        let what = What::Blank;
        self.entries.push(Entry { path, what });
    }

    pub(crate) fn clear_below(&mut self, path: &str) {
        if !self.entries.is_empty() {
            let path = path.into();
            let what = What::Cleared;
            self.entries.push(Entry { path, what });
        }
    }

    /// The last value that was rescued at this path, as JSON.
    pub(crate) fn value_of(&self, path: &str) -> Option<&[u8]> {
        let mut entries = self.entries.iter().rev();
        entries.find_map(|entry| match &entry.what {
            What::Value { text, .. } if *entry.path == *path => self.values.get(text.clone()),
            _ => None,
        })
    }

    /// Writes the JSON object to `json`, which it overwrites, and counts each path in `drift`. False if nothing is left.
    pub(crate) fn finish(&mut self, json: &mut Vec<u8>, drift: &mut Drift) -> bool {
        json.clear();
        let mut entries = std::mem::take(&mut self.entries);
        if !surely_all_count(&entries) {
            keep_last_values(&mut entries);
        }
        for Entry { path, what } in entries.drain(..) {
            let (kind, text) = match what {
                What::Value { kind, text } => (kind, text),
                What::Blank => {
                    drift.add(path, DriftKind::Blank, 1);
                    continue;
                }
                What::Cleared => continue,
            };
            json.push(if json.is_empty() { b'{' } else { b',' });
            write_json_string(&path, json);
            json.push(b':');
            json.extend_from_slice(&self.values[text]);
            drift.add(path, kind, 1);
        }
        self.entries = entries;
        if json.is_empty() {
            return false;
        }
        json.push(b'}');
        true
    }
}

/// Whether the entries are few values under different paths, as they mostly are.
fn surely_all_count(entries: &[Entry]) -> bool {
    const FEW: usize = 8;
    entries.len() <= FEW
        && entries.iter().enumerate().all(|(index, entry)| {
            !matches!(entry.what, What::Cleared)
                && entries[..index]
                    .iter()
                    .all(|other| other.path != entry.path)
        })
}

/// Keeps the entries that count, in wire order.
fn keep_last_values(entries: &mut Vec<Entry>) {
    let mut cleared: HashSet<Arc<str>> = HashSet::new();
    let mut seen: HashSet<Arc<str>> = HashSet::new();
    entries.reverse();
    entries.retain(|Entry { path, what }| match what {
        What::Cleared => {
            cleared.insert(path.clone());
            false
        }
        What::Value { .. } | What::Blank => {
            let gone = !cleared.is_empty() && prefixes(path).any(|prefix| cleared.contains(prefix));
            !gone && seen.insert(path.clone())
        }
    });
    entries.reverse();
}

/// The path itself and the paths of the objects around it.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('.')
        .filter(|(at, _)| {
            let backslashes = path[..*at]
                .bytes()
                .rev()
                .take_while(|b| *b == b'\\')
                .count();
            backslashes % 2 == 0
        })
        .map(|(at, _)| &path[..at])
        .chain([path])
}

/// Writes a text as a JSON string.
pub(crate) fn write_json_string(text: &str, json: &mut Vec<u8>) {
    json.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => json.extend_from_slice(&[b'\\', byte]),
            0..0x20 => json.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => json.push(byte),
        }
    }
    json.push(b'"');
}
