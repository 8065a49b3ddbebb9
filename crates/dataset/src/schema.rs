//! A dataset's declaration: endpoint, unique key and columns, read from `schemas/NAME.toml`.
//!
//! Says what a table's columns are and where on the wire their values come from; decoding is the transformer's work.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::built_in::BUILT_IN;
use crate::column::{Column, ColumnType, utc_microseconds};
use crate::partition::{GENERATED_DATE, is_snake_case};
use crate::wire_path::WirePaths;

/// Column with the snapshot's generated time, in every table.
pub const GENERATED_TIME: &str = "generated_time";
/// Column with the organisation id, in every table.
pub const ORG_ID: &str = "org_id";
/// Column with what the schema does not name and what does not fit its column: a JSON object of wire path to value.
pub const RESCUED_DATA: &str = "_rescued_data";

/// One kind of export.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// Name of the dataset and of its table.
    pub name: String,
    /// What one row is.
    pub meaning: String,
    /// Path of the export call, from the API's base URL.
    pub endpoint: String,
    /// Segment of the blob paths that names the export.
    pub export_name: String,
    /// Application permission that the call needs.
    pub permission: String,
    /// How often the service lets an application call the endpoint.
    #[serde(default)]
    pub limits: CallLimits,
    /// Columns that together are unique in a snapshot. Null is a value of a key column that is nullable.
    pub unique_key: Vec<String>,
    /// The column that partitions the table beside the generated date.
    pub partition: PartitionColumn,
    /// The columns on the wire, in table order.
    #[serde(rename = "column")]
    pub columns: Vec<Column>,
}

/// Calls that the service takes from one application and tenant; by default those of the narrowest export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallLimits {
    /// In one minute.
    pub calls_per_minute: NonZeroU32,
    /// In one hour.
    pub calls_per_hour: NonZeroU32,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            calls_per_minute: NonZeroU32::MIN.saturating_add(4),
            calls_per_hour: NonZeroU32::MIN.saturating_add(19),
        }
    }
}

/// The partition column that comes from the wire. Its type is int64.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionColumn {
    /// Column name.
    pub column: String,
    /// Where a record carries the value.
    pub wire: WirePaths,
    /// What it means.
    pub meaning: String,
}

/// Why a schema file is not a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SchemaError {
    /// Not TOML, or not of the form of a dataset. The message has line and column.
    #[error("schema `{file}`: {message}")]
    Malformed {
        /// Where the text came from.
        file: String,
        /// The parser's message.
        message: String,
    },
    /// Two columns, or a column and one that every table has, share a name.
    #[error("schema `{file}`: column `{column}` is declared twice or reserved")]
    ColumnTwice {
        /// Where the text came from.
        file: String,
        /// The name.
        column: String,
    },
    /// A column or table name is not snake_case.
    #[error("schema `{file}`: `{name}` is not snake_case (a-z, 0-9, _; a letter first)")]
    NotSnakeCase {
        /// Where the text came from.
        file: String,
        /// The name.
        name: String,
    },
    /// Two columns read the same wire path, or one reads inside what another takes whole.
    #[error(
        "schema `{file}`: wire path `{wire}` of column `{column}` is taken, or leads through one that is"
    )]
    WireTaken {
        /// Where the text came from.
        file: String,
        /// The column declared later.
        column: String,
        /// Its wire path.
        wire: String,
    },
    /// A wire path has an empty key.
    #[error("schema `{file}`: wire path `{wire}` of column `{column}` has an empty key")]
    EmptyKey {
        /// Where the text came from.
        file: String,
        /// The column.
        column: String,
        /// Its wire path.
        wire: String,
    },
    /// There is no unique key.
    #[error("schema `{file}`: unique_key names no column")]
    NoKey {
        /// Where the text came from.
        file: String,
    },
    /// The unique key names no column.
    #[error("schema `{file}`: unique_key names `{column}`, which is no column")]
    UnknownKey {
        /// Where the text came from.
        file: String,
        /// The name.
        column: String,
    },
    /// The unique key has a column that holds lists or maps.
    #[error(
        "schema `{file}`: unique_key names `{column}`, which is of type {column_type}: a key has no lists and maps"
    )]
    NestedKey {
        /// Where the text came from.
        file: String,
        /// The column.
        column: String,
        /// Its type.
        column_type: ColumnType,
    },
    /// A field of a struct is declared as not nullable.
    #[error(
        "schema `{file}`: field `{field}` of column `{column}` is not nullable: fields always are"
    )]
    RequiredField {
        /// Where the text came from.
        file: String,
        /// The column.
        column: String,
        /// The field.
        field: String,
    },
}

impl Dataset {
    /// Parses a schema file; `file` is named in errors.
    pub fn parse(text: &str, file: &str) -> Result<Self, SchemaError> {
        let dataset: Self = toml::from_str(text).map_err(|error| SchemaError::Malformed {
            file: file.to_owned(),
            message: error.to_string(),
        })?;
        dataset.check(file)?;
        Ok(dataset)
    }

    /// A dataset that the program carries, by name.
    pub fn built_in(name: &str) -> Option<Self> {
        let (name, text) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name)?;
        Self::parse(text, &format!("schemas/{name}.toml")).ok()
    }

    /// Names of the datasets that the program carries.
    pub fn built_in_names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Schema of the table's Parquet files: the wire columns in order, then `generated_time`, `org_id`, `_rescued_data`.
    /// Partition columns are in the path, not in the file. Field metadata: `wire` and `meaning`.
    pub fn file_schema(&self) -> SchemaRef {
        let wire_columns = self.columns.iter().map(|column| {
            described(
                Field::new(&column.name, column.column_type.arrow(), column.nullable),
                &column.meaning,
                Some(&column.wire),
            )
        });
        let added = [
            described(
                Field::new(GENERATED_TIME, utc_microseconds(), false),
                "When the service generated the snapshot, UTC.",
                None,
            ),
            described(
                Field::new(ORG_ID, DataType::Utf8, false),
                "Defender organisation id.",
                None,
            ),
            described(
                Field::new(RESCUED_DATA, DataType::Utf8, true),
                "JSON object, wire path to value, of what the schema does not name or what does not fit its column.",
                None,
            ),
        ];
        Arc::new(Schema::new(wire_columns.chain(added).collect::<Vec<_>>()))
    }

    /// Hexadecimal SHA-256 over names, types, nullability and wire paths of all columns, in order. Meanings do not count.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        let mut add = |name: &str, column_type: &str, nullable: bool, wire: &dyn fmt::Display| {
            hash.update(format!("{name}\t{column_type}\t{nullable}\t{wire}\n"));
        };
        add(&self.partition.column, "int64", false, &self.partition.wire);
        let mut columns: Vec<&Column> = self.columns.iter().rev().collect();
        while let Some(column) = columns.pop() {
            let type_name = column.column_type.to_string();
            add(&column.name, &type_name, column.nullable, &column.wire);
            if let ColumnType::StructList(fields) = &column.column_type {
                columns.extend(fields.iter().rev());
            }
        }
        let digest = hash.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn check(&self, file: &str) -> Result<(), SchemaError> {
        let partition = &self.partition.column;
        for name in [&self.name, partition] {
            check_name(name, file)?;
        }
        let reserved = [
            GENERATED_TIME,
            ORG_ID,
            RESCUED_DATA,
            GENERATED_DATE,
            partition,
        ];
        check_names(&self.columns, &reserved, file)?;
        let partition = (partition.as_str(), &self.partition.wire);
        let columns = self.columns.iter();
        let columns = columns.map(|column| (column.name.as_str(), &column.wire));
        check_paths([partition].into_iter().chain(columns), file)?;
        self.columns
            .iter()
            .try_for_each(|column| check_fields(column, file))?;
        if self.unique_key.is_empty() {
            let file = file.to_owned();
            return Err(SchemaError::NoKey { file });
        }
        for name in &self.unique_key {
            let (file, column) = (file.to_owned(), name.clone());
            match self.column(name).map(|column| &column.column_type) {
                None => return Err(SchemaError::UnknownKey { file, column }),
                Some(
                    nested @ (ColumnType::StringList
                    | ColumnType::StringMap
                    | ColumnType::StructList(_)),
                ) => {
                    return Err(SchemaError::NestedKey {
                        file,
                        column,
                        column_type: nested.clone(),
                    });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

fn check_name(name: &str, file: &str) -> Result<(), SchemaError> {
    match is_snake_case(name) {
        true => Ok(()),
        false => Err(SchemaError::NotSnakeCase {
            file: file.to_owned(),
            name: name.to_owned(),
        }),
    }
}

/// Names of one table's columns or one struct's fields.
fn check_names(columns: &[Column], reserved: &[&str], file: &str) -> Result<(), SchemaError> {
    let mut names: HashSet<&str> = reserved.iter().copied().collect();
    for column in columns {
        check_name(&column.name, file)?;
        if !names.insert(&column.name) {
            return Err(SchemaError::ColumnTwice {
                file: file.to_owned(),
                column: column.name.clone(),
            });
        }
    }
    Ok(())
}

/// Wire paths that begin at the same object: none may lead to or through another.
fn check_paths<'a>(
    columns: impl Iterator<Item = (&'a str, &'a WirePaths)>,
    file: &str,
) -> Result<(), SchemaError> {
    let paths = columns.flat_map(|(name, paths)| paths.iter().map(move |path| (name, path)));
    let mut taken: HashMap<&[String], bool> = HashMap::new();
    for (column, path) in paths {
        let (keys, file, column) = (path.keys(), file.to_owned(), column.to_owned());
        let wire = path.to_string();
        if keys.iter().any(String::is_empty) {
            return Err(SchemaError::EmptyKey { file, column, wire });
        }
        let leads_through_a_column =
            (1..keys.len()).any(|end| taken.insert(&keys[..end], false) == Some(true));
        if leads_through_a_column || taken.insert(keys, true).is_some() {
            return Err(SchemaError::WireTaken { file, column, wire });
        }
    }
    Ok(())
}

/// The fields of a list of structs, and of those in it.
fn check_fields(column: &Column, file: &str) -> Result<(), SchemaError> {
    let ColumnType::StructList(fields) = &column.column_type else {
        return Ok(());
    };
    if let Some(field) = fields.iter().find(|field| !field.nullable) {
        return Err(SchemaError::RequiredField {
            file: file.to_owned(),
            column: column.name.clone(),
            field: field.name.clone(),
        });
    }
    check_names(fields, &[], file)?;
    let paths = fields
        .iter()
        .map(|field| (field.name.as_str(), &field.wire));
    check_paths(paths, file)?;
    fields
        .iter()
        .try_for_each(|field| check_fields(field, file))
}

fn described(field: Field, meaning: &str, wire: Option<&WirePaths>) -> Field {
    let mut metadata = HashMap::from([("meaning".to_owned(), meaning.to_owned())]);
    if let Some(wire) = wire {
        metadata.insert("wire".to_owned(), wire.to_string());
    }
    field.with_metadata(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire_path::WirePath;

    fn text(columns: &str) -> String {
        format!(
            "name = 'x'\nmeaning = ''\nendpoint = '/x'\nexport_name = 'X'\npermission = ''\nunique_key = ['a']\n\
             [partition]\ncolumn = 'rbac_group_id'\nwire = 'RbacGroupId'\nmeaning = ''\n{columns}"
        )
    }

    fn column(name: &str, wire: &str) -> String {
        format!("[[column]]\nname = '{name}'\nwire = '{wire}'\ntype = 'string'\nmeaning = ''\n")
    }

    #[test]
    fn every_schema_file_is_a_built_in_dataset_of_its_name() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let built_in = Dataset::built_in_names().map(|name| format!("{name}.toml"));
        assert_eq!(built_in.collect::<Vec<_>>(), files);
        for file in &files {
            let text = std::fs::read_to_string(format!("{folder}/{file}")).unwrap();
            let dataset = Dataset::parse(&text, file).unwrap();
            assert_eq!(format!("{}.toml", dataset.name), *file);
            assert_eq!(Dataset::built_in(&dataset.name), Some(dataset));
        }
    }

    #[test]
    fn built_in_datasets_parse() {
        for name in Dataset::built_in_names() {
            let dataset = Dataset::built_in(name).unwrap();
            assert_eq!(dataset.name, name);
            assert_eq!(
                dataset.file_schema().fields().len(),
                dataset.columns.len() + 3
            );
        }
    }

    #[test]
    fn info_gathering_reads_through_the_json_strings() {
        let dataset = Dataset::built_in("info_gathering").unwrap();
        let column = dataset.column("av_quick_scan_time").unwrap();
        let paths: Vec<&[String]> = column.wire.iter().map(WirePath::keys).collect();
        assert_eq!(
            paths,
            [["DeviceGatheredInfo", "AvScanResults", "Quick", "Timestamp"]]
        );
        assert_eq!(column.column_type, ColumnType::Timestamp);
        assert!(!dataset.column("device_id").unwrap().nullable);
    }

    #[test]
    fn fingerprint_sees_types_and_not_meanings() {
        let one = Dataset::parse(&text(&column("a", "A")), "x.toml").unwrap();
        let mut other = one.clone();
        other.columns[0].meaning = "other".to_owned();
        assert_eq!(one.fingerprint(), other.fingerprint());
        other.columns[0].column_type = ColumnType::Json;
        assert_ne!(one.fingerprint(), other.fingerprint());
    }

    #[test]
    fn contradictory_schemas_are_refused() {
        let parse = |columns: &str| Dataset::parse(&text(columns), "x.toml").unwrap_err();
        let a = column("a", "A");
        assert!(matches!(
            parse(&(a.clone() + &column("a", "B"))),
            SchemaError::ColumnTwice { .. }
        ));
        assert!(matches!(
            parse(&(a.clone() + &column("org_id", "B"))),
            SchemaError::ColumnTwice { .. }
        ));
        assert!(matches!(
            parse(&(a.clone() + &column("b", "A"))),
            SchemaError::WireTaken { .. }
        ));
        assert!(matches!(
            parse(&(a.clone() + &column("b", "A.B"))),
            SchemaError::WireTaken { .. }
        ));
        assert!(matches!(
            parse(&(column("b", "A.B") + &a)),
            SchemaError::WireTaken { .. }
        ));
        assert!(matches!(
            parse(&(a.clone() + &column("b", "RbacGroupId"))),
            SchemaError::WireTaken { .. }
        ));
        assert!(matches!(
            parse(&(a.clone() + &column("b", "B..C"))),
            SchemaError::EmptyKey { .. }
        ));
        assert!(matches!(
            parse(&(a.clone() + &column("B", "B"))),
            SchemaError::NotSnakeCase { .. }
        ));
        assert!(matches!(
            parse(&column("b", "B")),
            SchemaError::UnknownKey { .. }
        ));
        assert!(matches!(
            parse(&a.replace("'string'", "'list<string>'")),
            SchemaError::NestedKey { .. }
        ));
        for malformed in [
            a.replace("wire", "wires"),
            a.replace("'A'", "[]"),
            a.replace("'string'", "'text'"),
            a.replace("'string'", "'list<struct>'"),
            a.clone() + "[[column.field]]\nname = 'b'\nwire = 'B'\ntype = 'string'\nmeaning = ''\n",
        ] {
            let error = parse(&malformed);
            assert!(matches!(error, SchemaError::Malformed { .. }), "{error}");
        }
        assert!(matches!(
            parse(&a.replace("'A'", "['A', 'A']")),
            SchemaError::WireTaken { .. }
        ));
    }

    #[test]
    fn a_column_may_have_several_wire_paths() {
        let column = column("a", "A").replace("'A'", "['A', 'Old.A']");
        let dataset = Dataset::parse(&text(&column), "x.toml").unwrap();
        assert_eq!(dataset.columns[0].wire.to_string(), "A | Old.A");
    }

    #[test]
    fn a_list_of_structs_declares_fields_of_any_type() {
        let field = |name: &str, column_type: &str| {
            format!(
                "[[column.field]]\nname = '{name}'\nwire = '{name}'\ntype = '{column_type}'\nmeaning = ''\n"
            )
        };
        let list = column("l", "L").replace("'string'", "'list<struct>'");
        let nested =
            field("p", "list<struct>") + &field("q", "date").replace("column.", "column.field.");
        let columns = column("a", "A") + &list + &field("n", "int64") + &nested;
        let dataset = Dataset::parse(&text(&columns), "x.toml").unwrap();
        assert_eq!(
            dataset.columns[1].column_type.to_string(),
            "list<struct<n: int64, p: list<struct<q: date>>>>"
        );
        let refused = |columns: &str| Dataset::parse(&text(columns), "x.toml").unwrap_err();
        let twice = column("a", "A") + &list + &field("n", "int64") + &field("n", "date");
        assert!(matches!(refused(&twice), SchemaError::ColumnTwice { .. }));
        let required = column("a", "A") + &list + &field("n", "int64") + "nullable = false\n";
        assert!(matches!(
            refused(&required),
            SchemaError::RequiredField { .. }
        ));
    }

    #[test]
    fn call_limits_are_those_of_the_narrowest_export_by_default() {
        let dataset = Dataset::parse(&text(&column("a", "A")), "x.toml").unwrap();
        assert_eq!(dataset.limits, CallLimits::default());
        let limits = "[limits]\ncalls_per_minute = 30\ncalls_per_hour = 1000\n";
        let text = text(&column("a", "A")) + limits;
        let dataset = Dataset::parse(&text, "x.toml").unwrap();
        assert_eq!(dataset.limits.calls_per_hour.get(), 1000);
        let none = text.replace("1000", "0");
        assert!(matches!(
            Dataset::parse(&none, "x.toml"),
            Err(SchemaError::Malformed { .. })
        ));
    }
}
