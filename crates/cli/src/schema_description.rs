//! A dataset's columns for people and programs: as a table, as Markdown, as the JSON Schema of one row.

use std::fmt::Write;

use dataset::{ColumnType, Dataset, GENERATED_DATE, GENERATED_TIME, ORG_ID};
use serde_json::{Value, json};

/// One column of the table, wherever it comes from.
struct Described {
    name: String,
    column_type: ColumnType,
    nullable: bool,
    /// `None`: it comes from the snapshot or from the pipeline.
    wire: Option<String>,
    meaning: String,
    is_partition: bool,
}

/// All columns in the order of the files, then the partition columns.
fn columns(dataset: &Dataset) -> Vec<Described> {
    let from_wire = dataset.columns.iter().map(|column| Described {
        name: column.name.clone(),
        column_type: column.column_type.clone(),
        nullable: column.nullable,
        wire: Some(column.wire.to_string()),
        meaning: column.meaning.clone(),
        is_partition: false,
    });
    let schema = dataset.file_schema();
    let added = schema
        .fields()
        .iter()
        .skip(dataset.columns.len())
        .map(|field| Described {
            name: field.name().clone(),
            column_type: match field.name().as_str() {
                GENERATED_TIME => ColumnType::Timestamp,
                ORG_ID => ColumnType::String,
                _ => ColumnType::Json,
            },
            nullable: field.is_nullable(),
            wire: None,
            meaning: field.metadata().get("meaning").cloned().unwrap_or_default(),
            is_partition: false,
        });
    let partitions = [
        Described {
            name: GENERATED_DATE.to_owned(),
            column_type: ColumnType::Date,
            nullable: false,
            wire: None,
            meaning: "UTC date of the snapshot.".to_owned(),
            is_partition: true,
        },
        Described {
            name: dataset.partition.column.clone(),
            column_type: ColumnType::Int64,
            nullable: false,
            wire: Some(dataset.partition.wire.to_string()),
            meaning: dataset.partition.meaning.clone(),
            is_partition: true,
        },
    ];
    from_wire.chain(added).chain(partitions).collect()
}

/// The datasets that the program carries, a line each.
pub(crate) fn list() -> String {
    let datasets = Dataset::built_in_names().filter_map(Dataset::built_in);
    let rows: Vec<Vec<String>> = datasets
        .map(|dataset| {
            vec![
                dataset.name,
                dataset.endpoint,
                dataset.permission,
                dataset.meaning,
            ]
        })
        .collect();
    aligned(&["dataset", "endpoint", "permission", "meaning"], &rows)
}

/// Aligned columns for a terminal.
pub(crate) fn table(dataset: &Dataset) -> String {
    let rows: Vec<Vec<String>> = columns(dataset)
        .into_iter()
        .map(|column| {
            let nullable = if column.nullable { "" } else { "not null" };
            let wire = column.wire.unwrap_or_else(|| "-".to_owned());
            let name = if column.is_partition {
                format!("{} (partition)", column.name)
            } else {
                column.name
            };
            vec![
                name,
                column.column_type.to_string(),
                nullable.to_owned(),
                wire,
                column.meaning,
            ]
        })
        .collect();
    format!(
        "{}: {}\nGET {} needs {}; unique by {}\n\n{}",
        dataset.name,
        dataset.meaning,
        dataset.endpoint,
        dataset.permission,
        dataset.unique_key.join(", "),
        aligned(&["column", "type", "", "wire path", "meaning"], &rows)
    )
}

fn aligned(heads: &[&str], rows: &[Vec<String>]) -> String {
    let width = |index: usize| {
        let cells = rows.iter().map(|row| row[index].chars().count());
        cells
            .chain([heads[index].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let heads: Vec<String> = heads.iter().map(|&head| head.to_owned()).collect();
    let mut out = String::new();
    for row in std::iter::once(&heads).chain(rows) {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}  "));
        out.push_str(cells.collect::<String>().trim_end());
        out.push('\n');
    }
    out
}

/// A Markdown document.
pub(crate) fn markdown(dataset: &Dataset) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "# {}\n\n{}\n\n- Source: `GET {}` (blobs of `{}`)\n- Permission: `{}`\n- Unique by: {}\n- Fingerprint: `{}`\n\n\
         | column | type | null | wire path | meaning |\n|---|---|---|---|---|\n",
        dataset.name,
        dataset.meaning,
        dataset.endpoint,
        dataset.export_name,
        dataset.permission,
        dataset
            .unique_key
            .iter()
            .map(|key| format!("`{key}`"))
            .collect::<Vec<_>>()
            .join(", "),
        dataset.fingerprint(),
    );
    for column in columns(dataset) {
        let wire = match column.wire {
            Some(wire) => format!("`{wire}`"),
            None => "(added)".to_owned(),
        };
        let _ = writeln!(
            out,
            "| `{}`{} | {} | {} | {wire} | {} |",
            column.name,
            if column.is_partition {
                " (partition)"
            } else {
                ""
            },
            column.column_type,
            if column.nullable { "yes" } else { "no" },
            cell(&column.meaning),
        );
    }
    out
}

fn cell(text: &str) -> String {
    text.replace('|', r"\|").replace('\n', " ")
}

/// The JSON Schema (2020-12) of one row as JSON: every column is there, nulls included.
pub(crate) fn json_schema(dataset: &Dataset) -> Value {
    let columns = columns(dataset);
    let required: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let properties: serde_json::Map<String, Value> = columns
        .iter()
        .map(|column| {
            let (of_type, wire) = (&column.column_type, column.wire.as_ref());
            let property = property(of_type, column.nullable, &column.meaning, wire);
            (column.name.clone(), property)
        })
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": dataset.name,
        "description": dataset.meaning,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(
    column_type: &ColumnType,
    nullable: bool,
    meaning: &str,
    wire: Option<&String>,
) -> Value {
    let mut property = json_type(column_type, nullable);
    property.insert("description".to_owned(), json!(meaning));
    if let Some(wire) = wire {
        property.insert("x-wire-path".to_owned(), json!(wire));
    }
    Value::Object(property)
}

fn json_type(column_type: &ColumnType, nullable: bool) -> serde_json::Map<String, Value> {
    let (name, more) = match column_type {
        ColumnType::String => ("string", json!({})),
        ColumnType::Bool => ("boolean", json!({})),
        ColumnType::Int64 => ("integer", json!({"minimum": i64::MIN, "maximum": i64::MAX})),
        ColumnType::Float64 => ("number", json!({})),
        ColumnType::Timestamp => ("string", json!({"format": "date-time"})),
        ColumnType::Date => ("string", json!({"format": "date"})),
        ColumnType::StringList => ("array", json!({"items": {"type": ["string", "null"]}})),
        ColumnType::StringMap => (
            "object",
            json!({"additionalProperties": {"type": ["string", "null"]}}),
        ),
        ColumnType::Json => ("string", json!({"contentMediaType": "application/json"})),
        ColumnType::StructList(fields) => {
            let properties: serde_json::Map<String, Value> = fields
                .iter()
                .map(|field| {
                    let wire = field.wire.to_string();
                    let (of_type, nullable) = (&field.column_type, field.nullable);
                    let property = property(of_type, nullable, &field.meaning, Some(&wire));
                    (field.name.clone(), property)
                })
                .collect();
            let item = json!({"type": ["object", "null"], "properties": properties});
            ("array", json!({"items": item}))
        }
    };
    let mut described = serde_json::Map::new();
    let types = match nullable {
        true => json!([name, "null"]),
        false => json!(name),
    };
    described.insert("type".to_owned(), types);
    if let Value::Object(more) = more {
        described.extend(more);
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset() -> Dataset {
        Dataset::built_in("info_gathering").unwrap()
    }

    #[test]
    fn every_column_of_the_table_is_described_once() {
        let dataset = dataset();
        let columns = columns(&dataset);
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let schema = dataset.file_schema();
        let in_files: Vec<&str> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!(names[..in_files.len()], in_files);
        assert_eq!(names[in_files.len()..], ["generated_date", "rbac_group_id"]);
        for (column, field) in columns.iter().zip(schema.fields()) {
            assert_eq!(column.nullable, field.is_nullable(), "{}", column.name);
            assert!(!column.meaning.is_empty(), "{}", column.name);
            let is_text = matches!(column.column_type, ColumnType::Json);
            assert!(
                is_text || column.column_type.arrow() == *field.data_type(),
                "{}",
                column.name
            );
        }
    }

    #[test]
    fn the_table_shows_wire_paths_through_the_json_strings() {
        let table = table(&dataset());
        let line = table
            .lines()
            .find(|line| line.starts_with("av_quick_scan_time "))
            .unwrap();
        assert!(
            line.contains(" timestamp ")
                && line.contains("DeviceGatheredInfo.AvScanResults.Quick.Timestamp")
        );
        assert!(table.contains("needs Vulnerability.Read.All; unique by device_id"));
        let device = table
            .lines()
            .find(|line| line.starts_with("device_id "))
            .unwrap();
        assert!(device.contains("not null"));
        assert!(list().contains("info_gathering"));
    }

    #[test]
    fn markdown_has_a_row_of_five_cells_for_every_column() {
        let markdown = markdown(&dataset());
        let rows: Vec<&str> = markdown
            .lines()
            .filter(|line| line.starts_with("| `"))
            .collect();
        assert_eq!(rows.len(), columns(&dataset()).len());
        for row in rows {
            assert_eq!(row.replace(r"\|", "").matches('|').count(), 6, "{row}");
        }
        assert!(markdown.contains("| `rbac_group_id` (partition) | int64 | no | `RbacGroupId` |"));
    }

    #[test]
    fn json_schema_types_every_column() {
        let schema = json_schema(&dataset());
        let property = |name: &str| schema["properties"][name].clone();
        assert_eq!(property("device_id")["type"], "string");
        assert_eq!(
            property("av_is_signature_up_to_date")["type"],
            json!(["boolean", "null"])
        );
        assert_eq!(property("generated_time")["format"], "date-time");
        assert_eq!(property("generated_date")["format"], "date");
        let map = property("asr_configuration_states");
        assert_eq!(map["type"], json!(["object", "null"]));
        assert_eq!(
            map["additionalProperties"]["type"],
            json!(["string", "null"])
        );
        assert_eq!(
            property("_rescued_data")["contentMediaType"],
            "application/json"
        );
        assert_eq!(property("rbac_group_id")["x-wire-path"], "RbacGroupId");
        assert_eq!(
            schema["required"].as_array().unwrap().len(),
            columns(&dataset()).len()
        );
    }
}
