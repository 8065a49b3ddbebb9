//! The totals of a table as every reader sees them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use serde_json::{Value, json};

use super::lake::Lake;
use super::{tool, workspace};

/// Readers of the Delta log.
pub(crate) const LOG_READERS: &[&str] = &["deltalake", "polars", "chdb"];
/// Readers of the files that `latest.json` and the manifests list.
pub(crate) const MANIFEST_READERS: &[&str] = &["duckdb-manifest", "spark-manifest"];
/// Readers of all files below the table's folder.
pub(crate) const GLOB_READERS: &[&str] = &["duckdb-glob", "spark-folder"];
/// Of these, those that read a store without a copy.
const STORE_READERS: &[&str] = &["deltalake", "polars"];

/// What a reader counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Rows by generated time, in microseconds.
    pub(crate) rows: BTreeMap<i64, u64>,
    /// Of each column, its values that are not null, and the sum of their checksums.
    pub(crate) columns: BTreeMap<String, (u64, u64)>,
}

/// `readers/totals.py`, which ends when its standard input does: with the tests' process, however that goes.
struct Readers {
    process: Child,
    answers: BufReader<ChildStdout>,
}

static READERS: Mutex<Option<Readers>> = Mutex::new(None);

/// What these readers, which must all see the same, see in the lake's table.
#[track_caller]
pub(crate) fn totals(lake: &Lake, readers: &[&[&str]], when: &str) -> Totals {
    let readers: Vec<&str> = readers.concat();
    let answers = if lake.root().contains("://") {
        let (in_store, in_copy): (Vec<&str>, Vec<&str>) = readers
            .iter()
            .partition(|reader| STORE_READERS.contains(reader));
        let copy = lake.on_this_machine();
        let root = copy.root().to_str().unwrap();
        let mut answers = ask(&lake.root(), &in_store, &lake.storage_options());
        answers.extend(ask(root, &in_copy, &json!({})));
        answers
    } else {
        ask(&lake.root(), &readers, &json!({}))
    };
    let mut seen: Option<(String, Totals)> = None;
    for (reader, answer) in answers {
        let totals =
            Totals::of(&answer).unwrap_or_else(|| panic!("{reader} after {when}: {answer}"));
        match &seen {
            None => seen = Some((reader, totals)),
            Some((first, expected)) => {
                assert_eq!(&totals, expected, "{reader}, then {first} after {when}");
            }
        }
    }
    seen.unwrap().1
}

impl Totals {
    fn of(answer: &Value) -> Option<Self> {
        let rows = answer["rows"].as_object()?.iter();
        let columns = answer["columns"].as_object()?.iter();
        Some(Self {
            rows: rows
                .map(|(time, rows)| Some((time.parse().ok()?, rows.as_u64()?)))
                .collect::<Option<_>>()?,
            columns: columns
                .map(|(name, total)| Some((name.clone(), (total[0].as_u64()?, total[1].as_u64()?))))
                .collect::<Option<_>>()?,
        })
    }
}

fn ask(root: &str, readers: &[&str], options: &Value) -> BTreeMap<String, Value> {
    let mut alive = READERS.lock().unwrap();
    let alive = alive.get_or_insert_with(start);
    let question = json!({"root": root, "readers": readers, "storage_options": options});
    let stdin = alive.process.stdin.as_mut().unwrap();
    writeln!(stdin, "{question}").unwrap();
    let mut answer = String::new();
    alive.answers.read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap_or_else(|_| panic!("the readers died: {question}"))
}

fn start() -> Readers {
    let mut process = Command::new(tool("readers/bin/python3"))
        .arg(workspace().join("tests/readers/totals.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let answers = BufReader::new(process.stdout.take().unwrap());
    Readers { process, answers }
}
