//! Which columns tell all records apart: hashes of the first records' values, and the search over sets of columns. Proposes;
//! a snapshot's gate proves.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value};

use super::evidence::hash;

/// Records whose values are remembered, and the columns of each.
const MAX_RECORDS: usize = 20_000;
const MAX_COLUMNS: usize = 64;
/// Columns that are tried in sets.
const MAX_CANDIDATES: usize = 20;
/// Columns of a key: all sets of up to three are tried, larger ones are grown from the best.
const MAX_TRIED: usize = 3;
const MAX_KEY: usize = 5;

/// Hashes of scalar values at the top of the first records.
#[derive(Debug, Default)]
pub(super) struct KeySample {
    /// Key in lower case to its place in the rows.
    places: HashMap<String, usize>,
    /// A row is as long as its last value needs; 0 is null.
    rows: Vec<Vec<u64>>,
    /// Whether more records came.
    is_full: bool,
}

/// A set of columns, and whether it tells all remembered records apart.
#[derive(Debug)]
pub(super) struct ProposedKey {
    /// Places in the list of candidates.
    pub(super) columns: Vec<usize>,
    pub(super) is_unique: bool,
}

impl KeySample {
    pub(super) fn add(&mut self, record: &Map<String, Value>) {
        if self.rows.len() == MAX_RECORDS {
            self.is_full = true;
            return;
        }
        let mut row = Vec::new();
        for (key, value) in record {
            if value.is_null() || value.is_object() || value.is_array() {
                continue;
            }
            let folded = key.to_ascii_lowercase();
            let place = match self.places.get(&folded) {
                Some(place) => *place,
                None if self.places.len() < MAX_COLUMNS => {
                    let place = self.places.len();
                    self.places.insert(folded, place);
                    place
                }
                None => continue,
            };
            if row.len() <= place {
                row.resize(place + 1, 0);
            }
            row[place] = hash(value);
        }
        self.rows.push(row);
    }

    /// Records that the key was looked for in.
    pub(super) fn records(&self) -> usize {
        self.rows.len()
    }

    /// Whether more records came than are remembered.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// The smallest set of candidates that tells the records apart, in their order: the likeliest first. Where the first one
    /// leads, it is part of every set: what a device has is told apart within the device. Without such a set, the first one.
    pub(super) fn choose(&self, candidates: &[&str], first_leads: bool) -> Option<ProposedKey> {
        // A key that only later records have tells these apart by nothing.
        let (known, places): (Vec<usize>, Vec<usize>) = candidates
            .iter()
            .enumerate()
            .filter_map(|(index, key)| Some((index, *self.places.get(&key.to_ascii_lowercase())?)))
            .take(MAX_CANDIDATES)
            .unzip();
        let first_leads = first_leads && known.first() == Some(&0);
        let mut key = self.choose_of(&places, first_leads)?;
        for column in &mut key.columns {
            *column = known[*column];
        }
        Some(key)
    }

    fn choose_of(&self, places: &[usize], first_leads: bool) -> Option<ProposedKey> {
        if places.is_empty() {
            return None;
        }
        let count = places.len();
        for size in 1..=MAX_TRIED.min(count) {
            let mut set: Vec<usize> = (0..size).collect();
            loop {
                if first_leads && set[0] > 0 {
                    break;
                }
                if self.distinct(&set, places, true) == self.rows.len() {
                    return Some(ProposedKey {
                        columns: set,
                        is_unique: true,
                    });
                }
                if !advance(&mut set, count) {
                    break;
                }
            }
        }
        Some(self.grow(places))
    }

    /// Adds to the first candidate whichever tells most records apart, until all are.
    fn grow(&self, places: &[usize]) -> ProposedKey {
        let mut set = vec![0];
        let mut distinct = self.distinct(&set, places, false);
        while set.len() < MAX_KEY && distinct < self.rows.len() {
            let others = (0..places.len()).filter(|index| !set.contains(index));
            let best = others
                .map(|index| {
                    let with = [&set[..], &[index]].concat();
                    (self.distinct(&with, places, false), index)
                })
                // The likeliest of those that tell as many apart.
                .max_by_key(|(distinct, index)| (*distinct, std::cmp::Reverse(*index)));
            match best {
                Some((more, index)) if more > distinct => {
                    set.push(index);
                    distinct = more;
                }
                _ => break,
            }
        }
        let is_unique = distinct == self.rows.len();
        if !is_unique {
            set.truncate(1);
        }
        ProposedKey {
            columns: set,
            is_unique,
        }
    }

    /// How many rows differ in these columns; up to the first two that do not, if that is all there is to know.
    fn distinct(&self, set: &[usize], places: &[usize], is_all_or_nothing: bool) -> usize {
        let mut seen = HashSet::new();
        for row in &self.rows {
            let mut values = DefaultHasher::new();
            for index in set {
                row.get(places[*index]).unwrap_or(&0).hash(&mut values);
            }
            let is_new = seen.insert(values.finish());
            if !is_new && is_all_or_nothing {
                break;
            }
        }
        seen.len()
    }
}

/// The next set of that size, in lexicographic order.
fn advance(set: &mut [usize], count: usize) -> bool {
    let size = set.len();
    let Some(at) = (0..size).rev().find(|at| set[*at] < count - size + at) else {
        return false;
    };
    set[at] += 1;
    for next in at + 1..size {
        set[next] = set[next - 1] + 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(records: &[Value]) -> KeySample {
        let mut sample = KeySample::default();
        for record in records {
            sample.add(record.as_object().unwrap());
        }
        sample
    }

    #[test]
    fn the_smallest_set_that_tells_records_apart_is_chosen() {
        let sample = sample(&[
            json!({"d": 1, "a": "x", "b": 1}),
            json!({"d": 1, "a": "y", "b": 1}),
            json!({"d": 2, "a": "x", "b": 1}),
            json!({"d": 2, "a": "x"}),
        ]);
        let key = sample.choose(&["d", "late", "a", "b"], true).unwrap();
        assert!(key.is_unique);
        assert_eq!(key.columns, [0, 2, 3]);
        let key = sample.choose(&["d", "b"], true).unwrap();
        assert_eq!((key.columns, key.is_unique), (vec![0], false));
        assert!(sample.choose(&["late"], false).is_none());
    }

    #[test]
    fn four_columns_are_found_by_growing() {
        let records: Vec<Value> = (0..16)
            .map(|i| json!({"a": i & 1, "b": i & 2, "c": i & 4, "d": i & 8}))
            .collect();
        let key = sample(&records)
            .choose(&["a", "b", "c", "d"], true)
            .unwrap();
        assert_eq!((key.columns, key.is_unique), (vec![0, 1, 2, 3], true));
    }

    #[test]
    fn sets_come_in_order() {
        let mut set = vec![0, 1];
        let mut sets = vec![set.clone()];
        while advance(&mut set, 3) {
            sets.push(set.clone());
        }
        assert_eq!(sets, [[0, 1], [0, 2], [1, 2]]);
    }
}
