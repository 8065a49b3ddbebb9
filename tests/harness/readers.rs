//! Readers that nobody here wrote, and the comparison of what they read with the truth.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::lake::Lake;
use super::truth::{Row, Truth};
use super::{tool, workspace};

/// A program that reads tables, by its script in `readers/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    DuckDb,
    Polars,
    PySpark,
}

/// A table as a reader saw it: rows in order of device id, date and group.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) rows: usize,
    pub(crate) columns: BTreeMap<String, Column>,
}

/// A column: its type by the names of schema files, its values.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) read_as: String,
    pub(crate) values: Vec<Value>,
}

/// What a reader did for a query with a condition.
#[derive(Debug)]
pub(crate) struct Pruned {
    /// Rows that the condition let through.
    pub(crate) rows: u64,
    /// Files opened for them.
    pub(crate) files_read: u64,
    /// Files of the table.
    pub(crate) files: u64,
    /// Spark's own words for what it pruned by.
    pub(crate) partition_filters: Option<String>,
}

/// Most bytes of data that the process may have of a reader whose own limit is higher.
const READER_BYTES: u64 = 3 << 30;

/// A process that runs code for the reader of that name, as `snippet` knows it. Spark is Sail where it reads a Delta log: Delta Lake's
/// package for PySpark is in no registry that Python's tools reach.
pub(crate) fn python_for(reader: &str, code: &str) -> Command {
    let mut command = Command::new("prlimit");
    command.arg(format!("--data={READER_BYTES}"));
    if reader == "spark" {
        command.arg(tool("sail/bin/python3"));
        command.arg(workspace().join("tests/readers/sail.py"));
    } else {
        command.arg(tool("readers/bin/python3")).arg("-c");
    }
    command.arg(code).env("SPARK_LOCAL_IP", "127.0.0.1");
    command
}

impl Reader {
    fn script(self) -> &'static str {
        match self {
            Self::DuckDb => "duckdb_reader.py",
            Self::Polars => "polars_reader.py",
            Self::PySpark => "pyspark_reader.py",
        }
    }

    /// All values of the table in that folder.
    pub(crate) fn values(self, table: &Path) -> Table {
        Table::of(&self.ask(&["values", table.to_str().unwrap()], &[]))
    }

    /// All values of the lake's table, read from its store without a copy.
    pub(crate) fn values_in_store(self, lake: &Lake) -> Table {
        let options = ("STORAGE_OPTIONS", lake.storage_options().to_string());
        Table::of(&self.ask(
            &["values", &format!("{}/info_gathering", lake.root())],
            &[options],
        ))
    }

    /// Counts the rows that an SQL condition lets through.
    pub(crate) fn pruned(self, table: &Path, condition: &str) -> Pruned {
        let answer = self.ask(&["pruned", table.to_str().unwrap(), condition], &[]);
        Pruned {
            rows: answer["rows"].as_u64().unwrap(),
            files_read: answer["files_read"].as_u64().unwrap(),
            files: answer["files"].as_u64().unwrap(),
            partition_filters: answer["partition_filters"].as_str().map(str::to_owned),
        }
    }

    fn ask(self, arguments: &[&str], environment: &[(&str, String)]) -> Value {
        run_script(self.script(), arguments, environment)
    }
}

/// By each reader, the ids of the devices whose `column` is `time` or later, and of those for which it is earlier.
pub(crate) fn filtered(lake: &Lake, column: &str, time: &str) -> BTreeMap<String, Value> {
    let answer = run_script("filtered.py", &[&lake.root(), column, time], &[]);
    serde_json::from_value(answer).unwrap()
}

/// How many rows each reader finds by a column's value, and under `all`, how many have it.
pub(crate) fn equal(lake: &Lake, column: &str, value: &Value) -> BTreeMap<String, u64> {
    let arguments = [&lake.root(), column, &value.to_string()];
    serde_json::from_value(run_script("equal.py", &arguments, &[])).unwrap()
}

/// By each reader, the values of some columns of a table, row by row in order of all but the last column.
pub(crate) fn rows(lake: &Lake, table: &str, columns: &[&str]) -> BTreeMap<String, Value> {
    let table = format!("{}/{table}", lake.root());
    let arguments = [&[table.as_str()], columns].concat();
    serde_json::from_value(run_script("rows.py", &arguments, &[])).unwrap()
}

fn run_script(script: &str, arguments: &[&str], environment: &[(&str, String)]) -> Value {
    let output = Command::new(tool("readers/bin/python3"))
        .arg(workspace().join("tests/readers").join(script))
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{script} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

impl Table {
    fn of(answer: &Value) -> Self {
        let columns = answer["columns"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, column)| {
                let read_as = column["type"].as_str().unwrap().to_owned();
                (
                    name.clone(),
                    Column {
                        read_as,
                        values: column["values"].as_array().unwrap().clone(),
                    },
                )
            });
        Self {
            rows: answer["rows"].as_u64().unwrap().try_into().unwrap(),
            columns: columns.collect(),
        }
    }

    /// A column's values as they are.
    pub(crate) fn column(&self, name: &str) -> &[Value] {
        &self.columns[name].values
    }

    /// Asserts that names, types and all values are those of the truth; names the first that is not.
    #[track_caller]
    pub(crate) fn is(&self, truth: &Truth) {
        let types: BTreeMap<&str, &str> = self
            .columns
            .iter()
            .map(|(name, column)| (name.as_str(), column.read_as.as_str()))
            .collect();
        let expected = truth.columns();
        assert_eq!(
            types,
            expected
                .iter()
                .map(|(name, read_as)| (name.as_str(), *read_as))
                .collect()
        );
        assert_eq!(self.rows, truth.rows.len());
        // Readers differ in where they put nulls of a key.
        let key = &truth.dataset.unique_key;
        let of_table = |row: usize| key.iter().map(move |name| &self.columns[name].values[row]);
        let of_truth = |row: &&Row| {
            let values = key.iter().map(|name| row.get(name).unwrap_or(&Value::Null));
            values.map(Value::to_string).collect::<Vec<_>>()
        };
        let mut order: Vec<usize> = (0..self.rows).collect();
        order.sort_by_cached_key(|row| of_table(*row).map(Value::to_string).collect::<Vec<_>>());
        let mut rows: Vec<&Row> = truth.rows.iter().collect();
        rows.sort_by_cached_key(of_truth);

        let json_columns = truth.json_columns();
        for (name, column) in &self.columns {
            for (at, row) in order.iter().zip(&rows) {
                let value = &column.values[*at];
                let value = match value.as_str() {
                    Some(text) if json_columns.contains(name) => {
                        serde_json::from_str(text).unwrap()
                    }
                    _ => value.clone(),
                };
                assert_eq!(
                    &value,
                    row.get(name).unwrap_or(&Value::Null),
                    "column {name} of {}, {:?}",
                    truth.dataset.name,
                    of_truth(row)
                );
            }
        }
    }
}
