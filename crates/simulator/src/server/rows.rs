//! The rows of a snapshot's blobs as the JSON endpoints have them: keys in camel case, nulls written. Lines that are no record
//! of the export are passed over.

use std::io::{self, BufRead, BufReader};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

use crate::recipe::{Recipe, camel};

/// A row's place in a snapshot: its file in the order of blob paths, and its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) line: usize,
}

/// Hands rows to `take`, from a place on, until it wants no more.
pub(super) fn read<'f>(
    recipe: &Recipe,
    files: impl Iterator<Item = &'f Path>,
    from: Place,
    mut take: impl FnMut(Place, Map<String, Value>) -> bool,
) -> io::Result<()> {
    let keys: Vec<String> = recipe.keys().map(camel).collect();
    let identifying: Vec<String> = recipe.key.iter().map(|key| camel(key)).collect();
    for (file, path) in files.enumerate().skip(from.file) {
        let reader = BufReader::new(MultiGzDecoder::new(std::fs::File::open(path)?));
        let skipped = if file == from.file { from.line } else { 0 };
        for (line, text) in reader.split(b'\n').enumerate() {
            let text = text?;
            if line < skipped {
                continue;
            }
            let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
            let Ok(Value::Object(row)) = serde_json::from_slice(text) else {
                continue;
            };
            let Value::Object(mut row) = in_camel(Value::Object(row)) else {
                continue;
            };
            // A bad line may be an object that lacks all that identifies a row; a part of it can be null in a good one.
            if !identifying.first().is_some_and(|key| row.contains_key(key)) {
                continue;
            }
            for key in &keys {
                row.entry(key).or_insert(Value::Null);
            }
            if !take(Place { file, line }, row) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The value with all keys in camel case.
fn in_camel(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter();
            Value::Object(
                fields
                    .map(|(key, value)| (camel(&key), in_camel(value)))
                    .collect(),
            )
        }
        Value::Array(values) => Value::Array(values.into_iter().map(in_camel).collect()),
        value => value,
    }
}
