//! Compares a dataset with the Arrow schema of a table: columns that one side lacks, types that differ. Nullability and metadata
//! do not count: readers change both.

use std::fmt;

use arrow_schema::{DataType, Schema, TimeUnit};
use serde::Serialize;

use crate::partition::GENERATED_DATE;
use crate::schema::Dataset;

/// Differences between a schema file and a table, each list sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TableDiff {
    /// Columns that the table lacks.
    pub not_in_table: Vec<ColumnOfTable>,
    /// Columns that the schema lacks: it had them once, or they came from elsewhere.
    pub not_in_schema: Vec<ColumnOfTable>,
    /// Columns of both whose types differ.
    pub types: Vec<TypeDifference>,
}

/// A column of one side.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ColumnOfTable {
    /// Its name.
    pub column: String,
    /// Its Arrow type.
    pub column_type: String,
}

/// A column whose types differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TypeDifference {
    /// Its name.
    pub column: String,
    /// The Arrow type by the schema.
    pub in_schema: String,
    /// The Arrow type in the table.
    pub in_table: String,
}

impl TableDiff {
    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.not_in_table.is_empty() && self.not_in_schema.is_empty() && self.types.is_empty()
    }
}

impl fmt::Display for TableDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "no differences");
        }
        for ColumnOfTable {
            column,
            column_type,
        } in &self.not_in_table
        {
            writeln!(f, "not in the table   {column}: {column_type}")?;
        }
        for ColumnOfTable {
            column,
            column_type,
        } in &self.not_in_schema
        {
            writeln!(f, "not in the schema  {column}: {column_type}")?;
        }
        for TypeDifference {
            column,
            in_schema,
            in_table,
        } in &self.types
        {
            writeln!(
                f,
                "types differ       {column}: {in_schema} by the schema, {in_table} in the table"
            )?;
        }
        Ok(())
    }
}

/// Compares a dataset with a table. Partition columns may be in the table's schema or only in its paths.
pub fn diff_table(dataset: &Dataset, table: &Schema) -> TableDiff {
    let mut diff = TableDiff::default();
    let expected = dataset.file_schema();
    let partitions = [
        (GENERATED_DATE, DataType::Date32),
        (dataset.partition.column.as_str(), DataType::Int64),
    ];
    let is_expected = |name: &str| {
        expected.column_with_name(name).is_some()
            || partitions.iter().any(|(partition, _)| *partition == name)
    };
    let columns = expected.fields().iter();
    let columns = columns.map(|field| (field.name().as_str(), field.data_type()));
    let partition_columns = partitions
        .iter()
        .map(|(name, data_type)| (*name, data_type));
    for (column, in_schema) in columns.chain(partition_columns) {
        let in_table = table
            .column_with_name(column)
            .map(|(_, field)| field.data_type());
        match in_table {
            Some(in_table) if is_same(in_schema, in_table) => {}
            Some(in_table) => diff.types.push(TypeDifference {
                column: column.to_owned(),
                in_schema: in_schema.to_string(),
                in_table: in_table.to_string(),
            }),
            None if partitions.iter().any(|(name, _)| *name == column) => {}
            None => diff.not_in_table.push(ColumnOfTable {
                column: column.to_owned(),
                column_type: in_schema.to_string(),
            }),
        }
    }
    for field in table.fields() {
        if !is_expected(field.name()) {
            diff.not_in_schema.push(ColumnOfTable {
                column: field.name().clone(),
                column_type: field.data_type().to_string(),
            });
        }
    }
    diff.not_in_table.sort();
    diff.not_in_schema.sort();
    diff.types.sort();
    diff
}

/// Whether two types hold the same values. Names inside lists and maps, and the offsets' width, differ between writers.
fn is_same(one: &DataType, other: &DataType) -> bool {
    use DataType::{LargeList, LargeUtf8, List, Map, Struct, Timestamp, Utf8, Utf8View};
    match (one, other) {
        (Utf8, Utf8 | LargeUtf8 | Utf8View) => true,
        (
            Timestamp(TimeUnit::Microsecond, Some(_)),
            Timestamp(TimeUnit::Microsecond, Some(zone)),
        ) => matches!(&**zone, "UTC" | "+00:00" | "Etc/UTC" | "Z"),
        (List(one), List(other) | LargeList(other)) => is_same(one.data_type(), other.data_type()),
        (Map(one, _), Map(other, _)) => match (one.data_type(), other.data_type()) {
            // Their entries are a key and a value, whatever they are called.
            (Struct(one), Struct(other)) => {
                one.len() == other.len()
                    && one
                        .iter()
                        .zip(other)
                        .all(|(one, other)| is_same(one.data_type(), other.data_type()))
            }
            _ => false,
        },
        (Struct(one), Struct(other)) => {
            one.len() == other.len()
                && one.iter().all(|field| {
                    let found = other.find(field.name());
                    found.is_some_and(|(_, other)| is_same(field.data_type(), other.data_type()))
                })
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::Field;

    use super::*;

    #[test]
    fn a_dataset_is_its_own_table() {
        for name in Dataset::built_in_names() {
            let dataset = Dataset::built_in(name).unwrap();
            let diff = diff_table(&dataset, &dataset.file_schema());
            assert!(diff.is_empty(), "{name}: {diff}");
        }
    }

    #[test]
    fn columns_and_types_that_differ_are_told() {
        let dataset = Dataset::built_in("info_gathering").unwrap();
        let mut fields: Vec<Field> = dataset
            .file_schema()
            .fields()
            .iter()
            .filter(|field| field.name() != "os_platform")
            .map(|field| match field.name().as_str() {
                "av_mode" => Field::new("av_mode", DataType::Int64, true),
                "device_id" => Field::new("device_id", DataType::LargeUtf8, true),
                _ => field.as_ref().clone(),
            })
            .collect();
        fields.push(Field::new("generated_date", DataType::Utf8, true));
        fields.push(Field::new("rbac_group_id", DataType::Int64, true));
        fields.push(Field::new("z", DataType::Utf8, true));
        let diff = diff_table(&dataset, &Schema::new(fields));
        assert_eq!(
            diff.to_string(),
            "not in the table   os_platform: Utf8\n\
             not in the schema  z: Utf8\n\
             types differ       av_mode: Utf8 by the schema, Int64 in the table\n\
             types differ       generated_date: Date32 by the schema, Utf8 in the table\n"
        );
    }
}
