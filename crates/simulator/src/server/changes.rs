//! What changed from each served snapshot of an export to the next: rows that are new, fixed (gone) or updated, by the key of
//! the recipe and the device group, since a device that moves to another group is fixed in one and new in the other.
//!
//! The delta belongs to the six hours in which the later snapshot was generated; time is that of the snapshots.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::{Map, Value};

use super::catalogue::Export;
use super::rows::{self, Place};
use crate::recipe::camel;

/// How far back a call may ask.
pub(super) const LONGEST: TimeDelta = TimeDelta::days(14);
const BUCKET: i64 = 6 * 3_600;

type Rows = BTreeMap<Vec<String>, Map<String, Value>>;

/// A time, or a date.
pub(super) fn parse_since(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    time.ok().or_else(|| {
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        Some(date.and_time(chrono::NaiveTime::MIN).and_utc())
    })
}

/// The changes from the six hours of `time` on, the earliest first.
pub(super) fn since(export: &Export, time: DateTime<Utc>) -> io::Result<Vec<Map<String, Value>>> {
    let bucket = time.timestamp().div_euclid(BUCKET) * BUCKET;
    let newest = &export.newest;
    let earlier = export.earlier.iter().map(|snapshot| {
        let files: Vec<&Path> = snapshot.files.values().map(Path::new).collect();
        (snapshot.generated_time, files)
    });
    let files = newest
        .blobs
        .values()
        .map(|blob| Path::new(&blob.file))
        .collect();
    let mut before: Option<Rows> = None;
    let mut changes = Vec::new();
    let snapshots: Vec<_> = earlier.chain([(newest.generated_time, files)]).collect();
    for (place, (generated, files)) in snapshots.iter().enumerate() {
        let generated = generated.unwrap_or_default();
        let next = snapshots
            .get(place + 1)
            .and_then(|(next, _)| *next)
            .unwrap_or(generated);
        if generated.timestamp() < bucket && next.timestamp() < bucket {
            // Neither the end of a delta nor the beginning of one that is asked for.
            continue;
        }
        let after = read(export, files)?;
        if let Some(before) = before.filter(|_| generated.timestamp() >= bucket) {
            compare(export, before, &after, generated, &mut changes);
        }
        before = Some(after);
    }
    Ok(changes)
}

fn read(export: &Export, files: &[&Path]) -> io::Result<Rows> {
    let recipe = &export.recipe;
    let keys: Vec<String> = recipe.key.iter().map(|key| camel(key)).collect();
    let mut rows = Rows::new();
    rows::read(recipe, files.iter().copied(), Place::default(), |_, row| {
        let key = keys.iter().map(String::as_str).chain(["rbacGroupId"]);
        let key = key.map(|key| row.get(key).unwrap_or(&Value::Null).to_string());
        rows.insert(key.collect(), row);
        true
    })?;
    Ok(rows)
}

fn compare(
    export: &Export,
    before: Rows,
    after: &Rows,
    generated: DateTime<Utc>,
    changes: &mut Vec<Map<String, Value>>,
) {
    let compared: Vec<String> = export
        .recipe
        .compared()
        .iter()
        .map(|key| camel(key))
        .collect();
    let event = generated.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut add = |status: &str, row: &Map<String, Value>| {
        let mut row = row.clone();
        row.insert("status".to_owned(), status.into());
        row.insert("eventTimestamp".to_owned(), event.as_str().into());
        changes.push(row);
    };
    for (key, row) in after {
        match before.get(key) {
            None => add("New", row),
            Some(old) if compared.iter().any(|key| old.get(key) != row.get(key)) => {
                add("Updated", row);
            }
            Some(_) => {}
        }
    }
    for (_, row) in before
        .into_iter()
        .filter(|(key, _)| !after.contains_key(key))
    {
        add("Fixed", &row);
    }
}
