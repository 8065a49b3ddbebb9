//! Types of columns: which wire values fit them, and what they are in Arrow.

use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};
use serde::{Deserialize, Serialize};

/// Types of columns, and which wire values fit them. What does not fit becomes null and is rescued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ColumnType {
    /// A JSON string.
    #[serde(rename = "string")]
    String,
    /// A JSON bool, or the string `true` or `false` in any case.
    #[serde(rename = "bool")]
    Bool,
    /// A JSON integer, or a string that holds one.
    #[serde(rename = "int64")]
    Int64,
    /// A JSON number, or a string that holds one.
    #[serde(rename = "float64")]
    Float64,
    /// A string such as `2020-11-03T10:13:34.8476880Z`, with `T` or a space, up to nine fractional digits of which six are
    /// kept, UTC where no zone is given, from 1900 (the service writes year 1 for unknown) to 9999 in UTC.
    #[serde(rename = "timestamp")]
    Timestamp,
    /// A string such as `2020-12-30`, or a timestamp at midnight UTC.
    #[serde(rename = "date")]
    Date,
    /// An array of strings and nulls, or a string that holds one.
    #[serde(rename = "list<string>")]
    StringList,
    /// An object of strings and nulls, or a string that holds one.
    #[serde(rename = "map<string, string>")]
    StringMap,
    /// Any value, as its JSON text; a string that holds an object or an array as that text.
    #[serde(rename = "json")]
    Json,
}

impl ColumnType {
    /// The Arrow type.
    pub fn arrow(self) -> DataType {
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
        }
    }

    /// The name that schema files use.
    pub fn name(self) -> &'static str {
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
        }
    }
}

pub(crate) fn utc_microseconds() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}
