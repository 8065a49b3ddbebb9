//! What is known of each wire path after any number of records: counts, a few examples, the keys below. Bounded, whatever the
//! records are. Draws no conclusions.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value};

use super::wire_value::{Kind, held_in, is_bare_day, is_unknown, is_year_one};

/// Paths of all objects together. The largest export has some 80.
const MAX_PATHS: usize = 2_000;
/// Keys of one object.
const MAX_KEYS: usize = 256;
/// Keys of the record.
const MAX_TOP_KEYS: usize = 1_000;
/// Steps of a path; deeper values are kept whole.
const MAX_DEPTH: usize = 8;
/// Bytes of a key.
const MAX_KEY: usize = 128;
/// Spellings of a path.
const MAX_SPELLINGS: usize = 4;
/// Values that are told apart.
const MAX_DISTINCT: usize = 1_000;
/// Examples of a path, and their characters.
const MAX_EXAMPLES: usize = 3;
const EXAMPLE_LENGTH: usize = 40;

/// How many paths may still be remembered.
#[derive(Debug)]
pub(super) struct PathBudget(usize);

impl Default for PathBudget {
    fn default() -> Self {
        Self(MAX_PATHS)
    }
}

/// The objects that came at one place: the records, the objects at a path, or those in a list.
#[derive(Debug, Default)]
pub(super) struct Objects {
    /// How many.
    pub(super) count: u64,
    /// Their keys, all together.
    pub(super) keys: u64,
    /// By key in lower case.
    pub(super) children: BTreeMap<String, Seen>,
    /// Some keys with values that are not among the children: too many, too long, or not to be named by a wire path.
    pub(super) left_out: Vec<String>,
    /// Whether keys were left out that a wire path could name.
    pub(super) is_full: bool,
}

/// The values that came at one path.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The path as it was written, below the record or the object of a list; how often.
    pub(super) spellings: BTreeMap<String, u64>,
    /// Values that are not null.
    pub(super) values: u64,
    pub(super) empty_texts: u64,
    /// Texts that say `Unknown`.
    pub(super) unknowns: u64,
    pub(super) year_ones: u64,
    /// Days without a time.
    pub(super) bare_days: u64,
    /// JSON numbers.
    pub(super) numbers: u64,
    /// JSON numbers that are no i64.
    pub(super) fractions: u64,
    /// Texts in arrays.
    pub(super) text_items: u64,
    /// Objects and arrays, or texts that hold one.
    pub(super) collections: u64,
    kinds: [KindSeen; Kind::ALL.len()],
    distinct: HashSet<u64>,
    pub(super) examples: Vec<String>,
    /// The objects at this path.
    pub(super) object: Objects,
    /// The objects in the arrays at this path.
    pub(super) items: Objects,
}

#[derive(Debug, Default)]
struct KindSeen {
    fit: u64,
    blank: u64,
    misfit: Option<String>,
}

impl Objects {
    /// Adds an object; `path` leads to it, and is the same afterwards.
    pub(super) fn add(
        &mut self,
        object: &Map<String, Value>,
        depth: usize,
        path: &mut String,
        budget: &mut PathBudget,
    ) {
        self.count += 1;
        let max_keys = if depth == 0 { MAX_TOP_KEYS } else { MAX_KEYS };
        for (key, value) in object {
            self.keys += 1;
            if key.is_empty() || key.contains('.') {
                self.leave_out(key, value);
                continue;
            }
            let folded = key.to_ascii_lowercase();
            if !self.children.contains_key(&folded) {
                let is_bounded = key.len() <= MAX_KEY && depth < MAX_DEPTH;
                if !is_bounded || budget.0 == 0 || self.children.len() == max_keys {
                    self.is_full = true;
                    self.leave_out(key, value);
                    continue;
                }
                budget.0 -= 1;
            }
            let length = path.len();
            if length > 0 {
                path.push('.');
            }
            path.push_str(key);
            self.children
                .entry(folded)
                .or_default()
                .add(value, depth + 1, path, budget);
            path.truncate(length);
        }
    }

    fn leave_out(&mut self, key: &str, value: &Value) {
        // A null carries nothing.
        if value.is_null() || self.left_out.len() == MAX_EXAMPLES {
            return;
        }
        let key = clipped(key);
        if !self.left_out.contains(&key) {
            self.left_out.push(key);
        }
    }

    /// Whether the children are not all keys that came.
    pub(super) fn is_cut(&self) -> bool {
        !self.left_out.is_empty()
    }
}

impl Seen {
    fn add(&mut self, value: &Value, depth: usize, path: &mut String, budget: &mut PathBudget) {
        if let Some(count) = self.spellings.get_mut(path.as_str()) {
            *count += 1;
        } else if self.spellings.len() < MAX_SPELLINGS {
            self.spellings.insert(path.clone(), 1);
        }
        if value.is_null() {
            return;
        }
        self.values += 1;
        let in_text = value.as_str().and_then(held_in);
        let held = match value {
            Value::Object(_) | Value::Array(_) => Some(value),
            _ => in_text.as_ref(),
        };
        self.count(value, held);
        match held {
            Some(Value::Object(object)) => self.object.add(object, depth, path, budget),
            Some(Value::Array(items)) => {
                for item in items {
                    match item {
                        // Wire paths of fields begin at the object of the list.
                        Value::Object(object) => {
                            self.items.add(object, depth, &mut String::new(), budget);
                        }
                        Value::String(_) => self.text_items += 1,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn count(&mut self, value: &Value, held: Option<&Value>) {
        self.collections += u64::from(held.is_some());
        self.numbers += u64::from(value.is_number());
        self.fractions += u64::from(value.is_number() && !value.is_i64());
        if let Some(text) = value.as_str() {
            self.empty_texts += u64::from(text.is_empty());
            self.unknowns += u64::from(is_unknown(text));
            self.year_ones += u64::from(is_year_one(text));
            self.bare_days += u64::from(is_bare_day(text));
        }
        for (kind, seen) in Kind::ALL.into_iter().zip(&mut self.kinds) {
            if kind.fits(value, held) {
                seen.fit += 1;
            } else if kind.is_blank(value) {
                seen.blank += 1;
            } else if seen.misfit.is_none() {
                seen.misfit = Some(example(value));
            }
        }
        if self.distinct.len() < MAX_DISTINCT {
            let is_new = self.distinct.insert(hash(value));
            if is_new && self.examples.len() < MAX_EXAMPLES {
                self.examples.push(example(value));
            }
        }
    }

    /// Values that fit.
    pub(super) fn fit(&self, kind: Kind) -> u64 {
        self.kinds[kind as usize].fit
    }

    /// Values that neither fit nor stand for null, and one of them.
    pub(super) fn misfits(&self, kind: Kind) -> (u64, &str) {
        let seen = &self.kinds[kind as usize];
        let example = seen.misfit.as_deref().unwrap_or_default();
        (self.values - seen.fit - seen.blank, example)
    }

    /// Adds hashes of the values, up to as many as are told apart.
    pub(super) fn add_distinct_to(&self, all: &mut HashSet<u64>) {
        all.extend(&self.distinct);
    }

    /// How many values differ; none if they are more than are counted.
    pub(super) fn distinct(&self) -> Option<usize> {
        (self.distinct.len() < MAX_DISTINCT).then_some(self.distinct.len())
    }

    /// The path as it was written, the usual spelling first.
    pub(super) fn written(&self) -> Vec<&str> {
        let mut spellings: Vec<(&str, u64)> = self
            .spellings
            .iter()
            .map(|(path, count)| (path.as_str(), *count))
            .collect();
        spellings.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        spellings.into_iter().map(|(path, _)| path).collect()
    }
}

/// A hash that tells values apart.
pub(super) fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    match value {
        Value::String(text) => text.hash(&mut hasher),
        other => other.to_string().hash(&mut hasher),
    }
    hasher.finish()
}

/// A value in one short line, fit for a comment: texts as they are, others as JSON.
fn example(value: &Value) -> String {
    match value {
        Value::String(text) => clipped(text),
        other => clipped(&other.to_string()),
    }
}

/// The beginning of a text, with escapes for all that is not to be seen.
fn clipped(text: &str) -> String {
    let mut line = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == EXAMPLE_LENGTH {
            line.push('…');
            break;
        }
        match c {
            // Backslashes of paths and quotes of JSON are left alone.
            ' '..='~' => line.push(c),
            _ => line.extend(c.escape_debug()),
        }
    }
    line
}
