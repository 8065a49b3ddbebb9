//! Columns and their types: which wire values fit them, and what they are in Arrow.

use std::fmt;
use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};
use serde::Deserialize;

use crate::wire_path::WirePaths;

/// One typed column, of the table or of the structs in a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "DeclaredColumn")]
pub struct Column {
    /// Column name, snake_case.
    pub name: String,
    /// Where a record carries the value.
    pub wire: WirePaths,
    /// Type of the column.
    pub column_type: ColumnType,
    /// Whether a record may lack the value; one that lacks a value that it may not lack is quarantined.
    pub nullable: bool,
    /// What it means.
    pub meaning: String,
}

/// A column as a schema file declares it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeclaredColumn {
    name: String,
    wire: WirePaths,
    #[serde(rename = "type")]
    type_name: String,
    nullable: Option<bool>,
    meaning: String,
    #[serde(default, rename = "field")]
    fields: Vec<Column>,
}

impl TryFrom<DeclaredColumn> for Column {
    type Error = String;

    fn try_from(declared: DeclaredColumn) -> Result<Self, Self::Error> {
        let (name, type_name) = (&declared.name, &declared.type_name);
        let has_fields = !declared.fields.is_empty();
        let column_type = match ColumnType::of_name(type_name) {
            Some(_) if has_fields => {
                return Err(format!(
                    "column `{name}` of type {type_name} cannot have fields"
                ));
            }
            Some(column_type) => column_type,
            None if type_name == STRUCT_LIST && has_fields => {
                ColumnType::StructList(declared.fields)
            }
            None if type_name == STRUCT_LIST => {
                return Err(format!(
                    "column `{name}` of type {type_name} has no fields: declare each with [[column.field]]"
                ));
            }
            None => {
                let known = ColumnType::WITHOUT_FIELDS
                    .map(|known| known.name())
                    .join(", ");
                return Err(format!(
                    "column `{name}` has the unknown type `{type_name}`: a type is {known} or {STRUCT_LIST}"
                ));
            }
        };
        Ok(Self {
            wire: declared.wire,
            column_type,
            nullable: declared.nullable.unwrap_or(true),
            meaning: declared.meaning,
            name: declared.name,
        })
    }
}

/// Types of columns, and which wire values fit them. What does not fit becomes null and is rescued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnType {
    /// A JSON string.
    String,
    /// A JSON bool, or the string `true` or `false` in any case.
    Bool,
    /// A JSON integer, or a string that holds one.
    Int64,
    /// A JSON number, or a string that holds one.
    Float64,
    /// A string such as `2020-11-03T10:13:34.8476880Z`, with `T` or a space, up to nine fractional digits of which six are
    /// kept, UTC where no zone is given, from 1900 (the service writes year 1 for unknown) to 9999 in UTC.
    Timestamp,
    /// A string such as `2020-12-30`, or a timestamp at midnight UTC.
    Date,
    /// An array of strings and nulls, or a string that holds one.
    StringList,
    /// An object of strings and nulls, or a string that holds one.
    StringMap,
    /// Any value, as its JSON text; a string that holds an object or an array as that text.
    Json,
    /// An array of objects and nulls, or a string that holds one. The columns' wire paths begin at an object of the array.
    StructList(Vec<Column>),
}

/// The name of the type that has fields.
pub(crate) const STRUCT_LIST: &str = "list<struct>";

impl ColumnType {
    const WITHOUT_FIELDS: [Self; 9] = [
        Self::String,
        Self::Bool,
        Self::Int64,
        Self::Float64,
        Self::Timestamp,
        Self::Date,
        Self::StringList,
        Self::StringMap,
        Self::Json,
    ];

    /// The Arrow type.
    pub fn arrow(&self) -> DataType {
        match self {
            Self::String | Self::Json => DataType::Utf8,
            Self::Bool => DataType::Boolean,
            Self::Int64 => DataType::Int64,
            Self::Float64 => DataType::Float64,
            Self::Timestamp => utc_microseconds(),
            Self::Date => DataType::Date32,
            Self::StringList => {
                DataType::List(Arc::new(Field::new("element", DataType::Utf8, true)))
            }
            Self::StringMap => DataType::Map(
                Arc::new(Field::new(
                    "key_value",
                    DataType::Struct(
                        vec![
                            Field::new("key", DataType::Utf8, false),
                            Field::new("value", DataType::Utf8, true),
                        ]
                        .into(),
                    ),
                    false,
                )),
                false,
            ),
            Self::StructList(fields) => {
                let fields = fields
                    .iter()
                    .map(|field| Field::new(&field.name, field.column_type.arrow(), true));
                let item = DataType::Struct(fields.collect());
                DataType::List(Arc::new(Field::new("element", item, true)))
            }
        }
    }

    /// The name that schema files use.
    pub fn name(&self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Bool => "bool",
            Self::Int64 => "int64",
            Self::Float64 => "float64",
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::StringList => "list<string>",
            Self::StringMap => "map<string, string>",
            Self::Json => "json",
            Self::StructList(_) => STRUCT_LIST,
        }
    }

    /// The type of that name, unless it has fields of its own.
    fn of_name(name: &str) -> Option<Self> {
        Self::WITHOUT_FIELDS
            .into_iter()
            .find(|known| known.name() == name)
    }
}

impl fmt::Display for ColumnType {
    /// The name, and the fields of a list of structs: `list<struct<id: string, risk: string>>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::StructList(fields) = self else {
            return f.write_str(self.name());
        };
        f.write_str("list<struct<")?;
        for (index, field) in fields.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{}: {}", field.name, field.column_type)?;
        }
        f.write_str(">>")
    }
}

pub(crate) fn utc_microseconds() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}
