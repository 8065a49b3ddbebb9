//! From evidence to columns: which paths become columns, of which types. A type is proposed if all values fit it: nothing is
//! guessed, and a text that only looks like a number stays a text. Writes no text.
//!
//! | values of a path | column |
//! |---|---|
//! | objects, or texts that hold one | a column for each key below, dotted |
//! | objects of many keys, of which each record has a few, or which share a few texts | map |
//! | objects with keys that no wire path can name, or with too many | map or JSON |
//! | true and false; times; days | bool, timestamp, date |
//! | numbers, some of them perhaps as texts | int64, or float64 if one has a fraction |
//! | arrays of texts, of objects | list of strings, list of structs |
//! | other texts | string |
//! | anything else, or nothing but nulls | JSON, which takes every value |

use std::collections::HashSet;

use super::evidence::{Objects, Seen};
use super::wire_value::Kind;
use crate::column::{ColumnType, STRUCT_LIST};

/// A column that the evidence calls for.
#[derive(Debug)]
pub(super) struct FoundColumn<'a> {
    /// Where it comes from, each as written, the usual spelling first.
    pub(super) wire: Vec<&'a str>,
    pub(super) type_name: &'static str,
    /// Of a list of structs.
    pub(super) fields: Vec<FoundColumn<'a>>,
    pub(super) seen: &'a Seen,
    /// How many records, or objects of the list, there were.
    pub(super) of: u64,
}

/// Of how many objects' keys a map is right: none of the exports has this many without being one.
const MAP_KEYS: usize = 8;
/// How many keys must share a value for it to be one of a few.
const KEYS_A_VALUE: usize = 4;
/// How many of 100 objects may be something else before the steps through them are given up. What else came is rescued.
const STRAY_PERCENT: u64 = 1;

/// The columns for objects, in the order of their keys.
pub(super) fn columns_of(objects: &Objects) -> Vec<FoundColumn<'_>> {
    let mut columns = Vec::new();
    for seen in objects.children.values() {
        add_columns(seen, objects.count, &mut columns);
    }
    columns
}

/// The columns for one path.
pub(super) fn add_columns<'a>(seen: &'a Seen, of: u64, columns: &mut Vec<FoundColumn<'a>>) {
    if is_step(seen) {
        for below in seen.object.children.values() {
            add_columns(below, of, columns);
        }
    } else {
        columns.push(one_column(seen, of));
    }
}

/// The one column that takes a path whole.
pub(super) fn one_column(seen: &Seen, of: u64) -> FoundColumn<'_> {
    let fields = fields(seen);
    let type_name = match &fields[..] {
        [] => scalar_or_collection(seen).name(),
        _ => STRUCT_LIST,
    };
    FoundColumn {
        wire: seen.written(),
        type_name,
        fields,
        seen,
        of,
    }
}

/// Whether the columns are below this path.
fn is_step(seen: &Seen) -> bool {
    let objects = &seen.object;
    let strays = seen.misfits(Kind::Object).0;
    objects.count > 0
        && strays <= seen.values * STRAY_PERCENT / 100
        && !objects.children.is_empty()
        && !objects.is_cut()
        && !is_map(objects)
}

/// Whether many keys are for texts that are nothing more, and are themselves values: each object has less than half of the keys
/// that came, or all keys share a few values, as rules do that are on or off.
fn is_map(objects: &Objects) -> bool {
    let keys = objects.children.len();
    if keys < MAP_KEYS {
        return false;
    }
    let is_sparse = objects.keys * 2 < objects.count * keys as u64;
    let mut values = HashSet::new();
    for child in objects.children.values() {
        child.add_distinct_to(&mut values);
    }
    (is_sparse || values.len() * KEYS_A_VALUE <= keys)
        && objects
            .children
            .values()
            .all(|child| child.values == 0 || scalar_or_collection(child) == ColumnType::String)
}

/// The fields of a list of structs; none if it is no such list.
fn fields(seen: &Seen) -> Vec<FoundColumn<'_>> {
    if fits(seen, Kind::Structs) && seen.text_items == 0 && !seen.items.is_cut() {
        columns_of(&seen.items)
    } else {
        Vec::new()
    }
}

/// Whether all values fit, but for texts that stand for null.
fn fits(seen: &Seen, kind: Kind) -> bool {
    seen.fit(kind) > 0 && seen.misfits(kind).0 == 0
}

/// The type of a path that is no list of structs.
fn scalar_or_collection(seen: &Seen) -> ColumnType {
    let is_time = |kind| seen.fit(kind) > 0 && seen.misfits(kind).0 == seen.year_ones;
    if fits(seen, Kind::Bool) {
        ColumnType::Bool
    } else if seen.numbers > 0 && seen.fractions == 0 && fits(seen, Kind::Int64) {
        ColumnType::Int64
    } else if seen.numbers > 0 && fits(seen, Kind::Float64) {
        ColumnType::Float64
    } else if seen.bare_days > seen.year_ones && is_time(Kind::Date) {
        ColumnType::Date
    } else if is_time(Kind::Timestamp) {
        ColumnType::Timestamp
    } else if seen.object.count > 0 && seen.object.keys > 0 && fits(seen, Kind::TextMap) {
        ColumnType::StringMap
    } else if seen.text_items > 0 && fits(seen, Kind::TextList) {
        ColumnType::StringList
    } else if fits(seen, Kind::Text) && seen.collections * 2 <= seen.values {
        ColumnType::String
    } else {
        ColumnType::Json
    }
}
