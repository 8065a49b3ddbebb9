//! Adds a column for a wire path to the text of a schema file. Every byte of the text stays as it is: the column is written at
//! the end, where TOML lets the table of an array come whatever comes before it.

use thiserror::Error;

use super::column_name::column_names;
use super::infer::Inference;
use super::shape::one_column;
use super::toml_text::column_text;
use crate::partition::GENERATED_DATE;
use crate::schema::{Dataset, GENERATED_TIME, ORG_ID, RESCUED_DATA, SchemaError};
use crate::wire_path::WirePath;

/// Why no column was added.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PromoteError {
    /// The schema file does not parse, or would not with the column: where its columns are an inline array, write it by hand.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The path has an empty key, or one that no wire path can name.
    #[error("`{path}` is no wire path: a key is empty or has a dot in it")]
    NoWirePath {
        /// The path.
        path: String,
    },
    /// The schema has the path, in this case or in another.
    #[error("wire path `{path}` is that of column `{column}` already")]
    Named {
        /// The path.
        path: String,
        /// The column.
        column: String,
    },
    /// A column takes an object on the way whole.
    #[error("wire path `{path}` leads through column `{column}`, which takes `{through}` whole")]
    LeadsThroughColumn {
        /// The path.
        path: String,
        /// The column.
        column: String,
        /// Its wire path.
        through: String,
    },
    /// Columns are below the path.
    #[error(
        "wire path `{path}` leads to column `{column}` (`{below}`): a column cannot take all of it"
    )]
    LeadsToColumn {
        /// The path.
        path: String,
        /// A column below.
        column: String,
        /// Its wire path.
        below: String,
    },
    /// No record has a value there.
    #[error("no value of wire path `{path}` was seen in {records} records")]
    NeverSeen {
        /// The path.
        path: String,
        /// Records that were looked at.
        records: u64,
    },
}

/// The schema file with one more column: for the wire path, of the type that its values have. What `_rescued_data` has under a
/// path is promoted so; values of older snapshots stay there.
pub fn promote(
    schema_text: &str,
    path: &str,
    inference: &Inference,
) -> Result<String, PromoteError> {
    let dataset = Dataset::parse(schema_text, "schema file")?;
    let keys: Vec<&str> = path.split('.').collect();
    let no_wire_path = || PromoteError::NoWirePath {
        path: path.to_owned(),
    };
    if keys.contains(&"") {
        return Err(no_wire_path());
    }
    check_free(&dataset, path, &keys)?;

    let mut objects = &inference.objects;
    let mut found = None;
    for key in &keys {
        found = objects.children.get(&key.to_ascii_lowercase());
        match found {
            Some(seen) => objects = &seen.object,
            None => break,
        }
    }
    let Some(seen) = found.filter(|seen| seen.values > 0) else {
        // How rescued data writes a dot in a key.
        if path.contains("\\.") {
            return Err(no_wire_path());
        }
        return Err(PromoteError::NeverSeen {
            path: path.to_owned(),
            records: inference.records(),
        });
    };
    let column = one_column(seen, inference.records());
    let mut wire: Vec<String> = Vec::new();
    for written in &column.wire {
        let written = as_the_schema_begins(&dataset, written);
        if !wire.contains(&written) {
            wire.push(written);
        }
    }
    let wire: Vec<&str> = wire.iter().map(String::as_str).collect();

    let reserved = [
        GENERATED_TIME,
        ORG_ID,
        RESCUED_DATA,
        GENERATED_DATE,
        &dataset.partition.column,
    ];
    let taken = dataset.columns.iter().map(|column| column.name.as_str());
    let taken: Vec<&str> = taken.chain(reserved).collect();
    let names = column_names(&[path], &taken);
    let name = names.first().map_or("key", String::as_str);

    let line_end = if schema_text.contains("\r\n") {
        "\r\n"
    } else {
        "\n"
    };
    let mut text = schema_text.to_owned();
    if !text.ends_with('\n') {
        text += line_end;
    }
    text += line_end;
    text += &column_text(&column, name, &wire, false, "column").replace('\n', line_end);
    Dataset::parse(&text, "schema file with the new column")?;
    Ok(text)
}

/// Whether no column has the path, leads through it or is led through. The decoder ignores case, and so does this.
fn check_free(dataset: &Dataset, path: &str, keys: &[&str]) -> Result<(), PromoteError> {
    for (column, wire) in named(dataset) {
        let shared = shared_steps(wire.keys(), keys);
        let (of_wire, of_path) = (wire.keys().len(), keys.len());
        let (path, column) = (path.to_owned(), column.to_owned());
        if shared == of_wire && shared == of_path {
            return Err(PromoteError::Named { path, column });
        }
        if shared == of_wire {
            let through = wire.to_string();
            return Err(PromoteError::LeadsThroughColumn {
                path,
                column,
                through,
            });
        }
        if shared == of_path {
            let below = wire.to_string();
            return Err(PromoteError::LeadsToColumn {
                path,
                column,
                below,
            });
        }
    }
    Ok(())
}

/// All wire paths of a schema, with their columns.
fn named(dataset: &Dataset) -> impl Iterator<Item = (&str, &WirePath)> {
    let partition = &dataset.partition;
    let partition = partition
        .wire
        .iter()
        .map(|path| (partition.column.as_str(), path));
    let columns = dataset.columns.iter();
    partition.chain(columns.flat_map(|column| {
        let paths = column.wire.iter();
        paths.map(|path| (column.name.as_str(), path))
    }))
}

/// How many keys two paths share from their beginnings, whatever their case.
fn shared_steps(one: &[String], other: &[&str]) -> usize {
    one.iter()
        .zip(other)
        .take_while(|(one, other)| one.eq_ignore_ascii_case(other))
        .count()
}

/// The path with the steps that the schema has in the schema's spelling, so that both lead into the same objects.
fn as_the_schema_begins(dataset: &Dataset, written: &str) -> String {
    let keys: Vec<&str> = written.split('.').collect();
    let mut best: (usize, &[String]) = (0, &[]);
    for (_, path) in named(dataset) {
        let shared = shared_steps(path.keys(), &keys);
        if shared > best.0 {
            best = (shared, path.keys());
        }
    }
    let (shared, schemas) = best;
    let schemas = schemas.iter().take(shared).map(String::as_str);
    let keys: Vec<&str> = schemas.chain(keys[shared..].iter().copied()).collect();
    keys.join(".")
}
