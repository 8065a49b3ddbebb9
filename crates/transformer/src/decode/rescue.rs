//! What one record holds beyond its columns, and the JSON object that keeps it. A wire path that comes twice counts once, and
//! its last value is kept.

use std::collections::{HashMap, HashSet};

/// Why a value was rescued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DriftKind {
    /// The schema does not name the path.
    Unnamed,
    /// The value does not fit the column.
    Misfit,
    /// The schema has the key in another case; or another spelling of the key has a value in the same record.
    Spelling,
}

/// What records held beyond their columns, or in another way than the schema has it.
#[derive(Debug, Default)]
pub struct Drift {
    /// Rows with something in `_rescued_data`.
    pub rows_rescued: u64,
    /// In how many records each wire path was rescued, or was spelled in another way.
    pub paths: HashMap<(String, DriftKind), u64>,
}

/// Most wire paths that are counted apart; hostile records can make up any number of them.
const MAX_DRIFT_PATHS: usize = 10_000;
/// Stands for the wire paths beyond the limit.
const OTHER_PATHS: &str = "(other paths)";

impl Drift {
    pub(super) fn add(&mut self, path: String, kind: DriftKind, records: u64) {
        let key = (path, kind);
        if let Some(counted) = self.paths.get_mut(&key) {
            *counted += records;
        } else if self.paths.len() < MAX_DRIFT_PATHS {
            self.paths.insert(key, records);
        } else {
            *self
                .paths
                .entry((OTHER_PATHS.to_owned(), kind))
                .or_default() += records;
        }
    }
}

/// The rescued values of one record.
#[derive(Debug, Default)]
pub(crate) struct Rescue {
    entries: Vec<Entry>,
}

#[derive(Debug)]
enum Entry {
    Value {
        path: String,
        kind: DriftKind,
        /// JSON text.
        value: Vec<u8>,
    },
    /// What was rescued at this path and below it no longer counts: its key came again.
    Cleared { path: String },
}

impl Rescue {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// How far entries go now, for [`Rescue::back_to`].
    pub(crate) fn mark(&self) -> usize {
        self.entries.len()
    }

    /// Forgets what came since the mark.
    pub(crate) fn back_to(&mut self, mark: usize) {
        self.entries.truncate(mark);
    }

    pub(crate) fn add(&mut self, path: String, kind: DriftKind, value: &[u8]) {
        let value = value.to_vec();
        self.entries.push(Entry::Value { path, kind, value });
    }

    pub(crate) fn clear_below(&mut self, path: &str) {
        if !self.entries.is_empty() {
            let path = path.to_owned();
            self.entries.push(Entry::Cleared { path });
        }
    }

    /// Writes the JSON object to `json`, which it overwrites, and counts each path in `drift`. False if nothing is left.
    pub(crate) fn finish(&mut self, json: &mut Vec<u8>, drift: &mut Drift) -> bool {
        json.clear();
        let entries = std::mem::take(&mut self.entries);
        for (path, kind, value) in last_values(entries) {
            json.push(if json.is_empty() { b'{' } else { b',' });
            write_json_string(&path, json);
            json.push(b':');
            json.extend_from_slice(&value);
            drift.add(path, kind, 1);
        }
        if json.is_empty() {
            return false;
        }
        json.push(b'}');
        true
    }
}

/// The entries that count, in wire order.
fn last_values(entries: Vec<Entry>) -> Vec<(String, DriftKind, Vec<u8>)> {
    let mut cleared: HashSet<String> = HashSet::new();
    let mut seen: HashSet<String> = HashSet::new();
    let mut kept = Vec::with_capacity(entries.len());
    let single = entries.len() == 1;
    for entry in entries.into_iter().rev() {
        match entry {
            Entry::Cleared { path } => {
                cleared.insert(path);
            }
            Entry::Value { path, kind, value } => {
                let gone =
                    !cleared.is_empty() && prefixes(&path).any(|prefix| cleared.contains(prefix));
                if !gone && (single || seen.insert(path.clone())) {
                    kept.push((path, kind, value));
                }
            }
        }
    }
    kept.reverse();
    kept
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
