//! The table's columns as the Delta log declares them, and how they may change.
//!
//! A column is added by the commit that first writes it; files without it read as null. A column that the dataset
//! no longer has stays. A changed type is refused: old files would not be readable any more.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use dataset::{Dataset, GENERATED_DATE};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::parquet::statistics;

/// The partition columns of every table, in order.
pub(crate) fn partition_columns(dataset: &Dataset) -> [String; 2] {
    [GENERATED_DATE.to_owned(), dataset.partition.column.clone()]
}

/// Refuses another partition column than the table has.
///
/// # Errors
/// [`Error::PartitionColumns`].
pub(crate) fn check_partition_columns(dataset: &Dataset, current: &Value) -> Result<()> {
    let declared = partition_columns(dataset);
    if *current == json!(declared) {
        return Ok(());
    }
    let current = current.as_array().into_iter().flatten();
    let current: Vec<&str> = current.filter_map(Value::as_str).collect();
    Err(Error::PartitionColumns {
        dataset: dataset.name.clone(),
        table: current.join(", "),
        declared: declared.join(", "),
    })
}

/// The dataset's columns as the fields of a Delta schema: those of the files, then the partition columns.
///
/// All are nullable: a file that was written before a column existed has nulls there.
pub(crate) fn fields(dataset: &Dataset) -> Result<Vec<Value>> {
    let schema = dataset.file_schema();
    let file_columns = schema.fields().iter().map(|field| {
        let mut comment = json!({});
        if let Some(meaning) = field.metadata().get("meaning") {
            comment["comment"] = json!(meaning);
        }
        Ok(declared(
            field.name(),
            &delta_type(dataset, field)?,
            &comment,
        ))
    });
    let mut fields = file_columns.collect::<Result<Vec<_>>>()?;
    fields.push(declared(
        GENERATED_DATE,
        &json!("date"),
        &json!({"comment": "UTC date on which the service generated the snapshot."}),
    ));
    fields.push(declared(
        &dataset.partition.column,
        &json!("long"),
        &json!({"comment": dataset.partition.meaning}),
    ));
    Ok(fields)
}

/// The columns that files have statistics of, as a table property lists them.
pub(crate) fn statistics_columns(dataset: &Dataset) -> String {
    let schema = dataset.file_schema();
    let is_kept = |field: &&Arc<Field>| {
        statistics::is_kept(field.data_type(), dataset.unique_key.contains(field.name()))
    };
    let names = schema.fields().iter().filter(is_kept);
    let names: Vec<&str> = names.map(|field| field.name().as_str()).collect();
    names.join(",")
}

fn declared(name: &str, delta_type: &Value, metadata: &Value) -> Value {
    json!({"name": name, "type": delta_type, "nullable": true, "metadata": metadata})
}

fn delta_type(dataset: &Dataset, field: &Field) -> Result<Value> {
    Ok(match field.data_type() {
        DataType::Utf8 => json!("string"),
        DataType::Boolean => json!("boolean"),
        DataType::Int64 => json!("long"),
        DataType::Float64 => json!("double"),
        DataType::Timestamp(..) => json!("timestamp"),
        DataType::Date32 => json!("date"),
        DataType::List(item) => json!({
            "type": "array", "elementType": delta_type(dataset, item)?, "containsNull": true
        }),
        DataType::Map(..) => json!({
            "type": "map", "keyType": "string", "valueType": "string", "valueContainsNull": true
        }),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| {
                Ok(declared(
                    field.name(),
                    &delta_type(dataset, field)?,
                    &json!({}),
                ))
            });
            json!({"type": "struct", "fields": fields.collect::<Result<Vec<_>>>()?})
        }
        other => {
            return Err(Error::DeltaLog {
                dataset: dataset.name.clone(),
                message: format!(
                    "column `{}` is {other}, which has no Delta type",
                    field.name()
                ),
            });
        }
    })
}

/// What the schema becomes when `wanted` is written into a table of `current` fields: `None` if nothing changes.
///
/// # Errors
/// [`Error::ColumnType`] if a column changes its type.
pub(crate) fn evolved(
    dataset: &Dataset,
    current: &[Value],
    wanted: Vec<Value>,
) -> Result<Option<Vec<Value>>> {
    let mut fields = current.to_vec();
    for field in wanted {
        match current.iter().find(|known| known["name"] == field["name"]) {
            None => fields.push(field),
            Some(known) if same_type(&known["type"], &field["type"]) => {}
            Some(known) => {
                return Err(Error::ColumnType {
                    dataset: dataset.name.clone(),
                    column: field["name"].as_str().unwrap_or_default().to_owned(),
                    table_type: shown(&known["type"]),
                    dataset_type: shown(&field["type"]),
                });
            }
        }
    }
    Ok((fields.len() > current.len()).then_some(fields))
}

/// Whether contents are alike; whether nulls may be in them does not matter.
fn same_type(a: &Value, b: &Value) -> bool {
    let parts = [
        "name",
        "type",
        "elementType",
        "keyType",
        "valueType",
        "fields",
    ];
    match (a, b) {
        (Value::Object(_), Value::Object(_)) => {
            parts.iter().all(|part| same_type(&a[*part], &b[*part]))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_type(a, b))
        }
        _ => a == b,
    }
}

fn shown(delta_type: &Value) -> String {
    match delta_type {
        Value::String(name) => name.clone(),
        other => other["type"].as_str().unwrap_or("unknown").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn a_new_column_is_added_at_the_end_and_an_old_one_stays() {
        let dataset = fixtures::dataset();
        let full = fields(&dataset).unwrap();
        let mut older = full.clone();
        let removed = older.remove(4);
        older.push(declared("gone", &json!("string"), &json!({})));
        let evolved = evolved(&dataset, &older, full).unwrap().unwrap();
        assert_eq!(evolved.len(), older.len() + 1);
        assert_eq!(evolved.last(), Some(&removed));
        assert!(evolved.iter().any(|field| field["name"] == "gone"));
    }

    #[test]
    fn the_same_columns_change_nothing() {
        let dataset = fixtures::dataset();
        let full = fields(&dataset).unwrap();
        assert_eq!(evolved(&dataset, &full, full.clone()).unwrap(), None);
    }

    #[test]
    fn another_partition_column_than_the_tables_is_refused() {
        let dataset = fixtures::dataset();
        let current = json!(["generated_date", "rbac_group_id"]);
        check_partition_columns(&dataset, &current).unwrap();
        let other = json!(["generated_date", "site"]);
        let error = check_partition_columns(&dataset, &other).unwrap_err();
        assert!(error.to_string().contains("site"), "{error}");
    }

    #[test]
    fn a_changed_type_is_refused() {
        let dataset = fixtures::dataset();
        let full = fields(&dataset).unwrap();
        let mut older = full.clone();
        let count = older.iter_mut().find(|field| field["name"] == "count");
        count.unwrap()["type"] = json!("string");
        let error = evolved(&dataset, &older, full).unwrap_err();
        assert!(
            matches!(&error, Error::ColumnType { column, table_type, dataset_type, .. }
                if column == "count" && table_type == "string" && dataset_type == "long"),
            "{error}"
        );
    }
}
