//! A partition of a table: one generated date and one value of the dataset's partition column. Does not know where a table is
//! stored.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::NaiveDate;
use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Name of the partition column that holds the UTC date of the snapshot's `generatedTime`.
pub const GENERATED_DATE: &str = "generated_date";

/// The values that all rows of one Parquet file share, written into its path and not into the file.
///
/// In JSON an object of the columns' names and values: `{"generated_date": "2022-07-26", "rbac_group_id": 1001}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// UTC date of the snapshot.
    pub generated_date: NaiveDate,
    /// Name of the dataset's partition column, such as `rbac_group_id`.
    pub column: Arc<str>,
    /// Value of that column.
    pub value: i64,
}

impl fmt::Display for Partition {
    /// The Hive-style folder of the partition: `generated_date=2022-07-26/rbac_group_id=1001`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{GENERATED_DATE}={}/{}={}",
            self.generated_date, self.column, self.value
        )
    }
}

impl Serialize for Partition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut columns = serializer.serialize_map(Some(2))?;
        columns.serialize_entry(GENERATED_DATE, &self.generated_date)?;
        columns.serialize_entry(&*self.column, &self.value)?;
        columns.end()
    }
}

impl<'de> Deserialize<'de> for Partition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Value {
            Date(NaiveDate),
            Integer(i64),
        }
        let columns: Vec<(String, Value)> =
            BTreeMap::deserialize(deserializer)?.into_iter().collect();
        match &columns[..] {
            [
                (date, Value::Date(generated_date)),
                (column, Value::Integer(value)),
            ]
            | [
                (column, Value::Integer(value)),
                (date, Value::Date(generated_date)),
            ] if date == GENERATED_DATE && is_snake_case(column) => Ok(Self {
                generated_date: *generated_date,
                column: column.as_str().into(),
                value: *value,
            }),
            _ => Err(D::Error::custom(format!(
                "a partition is `{GENERATED_DATE}` and one integer column in snake_case"
            ))),
        }
    }
}

/// Whether a name is one that tables and columns may have: a-z, 0-9 and _, a letter first.
pub(crate) fn is_snake_case(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> Partition {
        Partition {
            generated_date: NaiveDate::from_ymd_opt(2022, 7, 26).unwrap(),
            column: "site".into(),
            value: -3,
        }
    }

    #[test]
    fn a_partition_displays_as_a_hive_style_folder() {
        assert_eq!(partition().to_string(), "generated_date=2022-07-26/site=-3");
    }

    #[test]
    fn a_partition_is_an_object_of_names_and_values() {
        let json = r#"{"generated_date":"2022-07-26","site":-3}"#;
        assert_eq!(serde_json::to_string(&partition()).unwrap(), json);
        assert_eq!(
            serde_json::from_str::<Partition>(json).unwrap(),
            partition()
        );
        for bad in [
            r#"{"site":-3}"#,
            r#"{"generated_date":"2022-07-26"}"#,
            r#"{"generated_date":"2022-07-26","site":"x"}"#,
            r#"{"generated_date":"2022-07-26","../site":1}"#,
            r#"{"generated_date":"2022-07-26","site":1,"other":2}"#,
        ] {
            assert!(serde_json::from_str::<Partition>(bad).is_err(), "{bad}");
        }
    }
}
