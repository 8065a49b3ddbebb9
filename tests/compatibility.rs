//! Which readers, in which versions, read the files of each `lake.compatibility`: the table of docs/readers.md, checked.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use simulator::SnapshotOptions;

use crate::harness::blobs::Blobs;
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::{tool, workspace};

/// Where a reader is installed.
#[derive(Clone, Copy)]
enum Installed {
    Now,
    Old,
    WithSail,
    JavaScript,
}

/// In the order of the table.
const READERS: [(&str, Installed); 13] = [
    ("pyarrow", Installed::Now),
    ("Polars", Installed::Now),
    ("DuckDB", Installed::Now),
    ("PySpark", Installed::Now),
    ("Sail", Installed::WithSail),
    ("deltalake", Installed::Now),
    ("chDB", Installed::Now),
    ("fastparquet", Installed::Now),
    ("DuckDB", Installed::Old),
    ("pyarrow", Installed::Old),
    ("hyparquet", Installed::JavaScript),
    ("parquet-wasm", Installed::JavaScript),
    ("@dsnp/parquetjs", Installed::JavaScript),
];

/// What a reader read, or how it failed.
type Answer = Result<Value, String>;

fn answer(reader: &str, installed: Installed, files: &[String]) -> Answer {
    let scripts = workspace().join("tests/readers");
    let mut command = match installed {
        Installed::Now => Command::new(tool("readers/bin/python3")),
        Installed::Old => Command::new(tool("old-readers/bin/python3")),
        Installed::WithSail => Command::new(tool("sail/bin/python3")),
        Installed::JavaScript => Command::new("node"),
    };
    match installed {
        Installed::JavaScript => {
            command.arg(scripts.join("javascript_readers.mjs"));
            command.arg(tool("javascript-readers"));
        }
        Installed::Now | Installed::Old | Installed::WithSail => {
            command.arg(scripts.join("compatibility.py"));
        }
    }
    let output = command.arg(reader).args(files).output().unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// A table of two groups with times that differ in each row, which modern files have as differences.
fn files(compatibility: &str) -> (Lake, Vec<String>) {
    let lake = Lake::on_disk();
    let blobs = Blobs::simulated(&SnapshotOptions {
        devices: 2000,
        groups: 2,
        blobs: 2,
        ..SnapshotOptions::default()
    });
    let setting = format!("lake.compatibility={compatibility}");
    Pipeline::from_files(&blobs, &lake).run_with(&["--set", &setting]);
    let root = PathBuf::from(lake.root());
    let files = lake.on_this_machine().table_files();
    let files = files
        .keys()
        .map(|file| root.join(file).to_str().unwrap().to_owned());
    let files = files.collect();
    (lake, files)
}

/// The rows of the table of libraries, of which each has library, version, modern and broad.
fn documented() -> Vec<[String; 4]> {
    let text = fs::read_to_string(workspace().join("docs/readers.md")).unwrap();
    let table = text
        .lines()
        .skip_while(|line| !line.starts_with("| library |"));
    let rows = table.skip(2).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| {
        row.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect::<Vec<_>>()
    };
    rows.map(|row| cells(row).try_into().unwrap()).collect()
}

#[test]
fn the_documented_readers_read_what_is_said_of_them() {
    let lakes = ["modern", "broad"].map(files);
    let expected = answer("pyarrow", Installed::Now, &lakes[0].1).unwrap();
    assert_eq!(expected["rows"].as_array().unwrap().len(), 2000);
    let mut found = Vec::new();
    for (reader, installed) in READERS {
        let answers = [&lakes[0].1, &lakes[1].1].map(|files| answer(reader, installed, files));
        let version = answers.iter().flatten().next();
        let version = version.map_or("none", |answer| answer["version"].as_str().unwrap());
        let [modern, broad] = answers.each_ref().map(|answer| match answer {
            Ok(answer) if answer["rows"] == expected["rows"] => "yes",
            Ok(_) => "wrong values",
            Err(_) => "error",
        });
        let told = answers
            .iter()
            .filter_map(|answer| answer.as_ref().err()?.lines().last());
        println!(
            "{reader} {version}: {modern}, {broad} {:?}",
            told.collect::<Vec<_>>()
        );
        found.push([reader, version, modern, broad].map(str::to_owned));
    }
    assert_eq!(found, documented());
}
