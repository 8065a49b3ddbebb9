//! What the README shows runs as it is written there, and is right where files of a replaced snapshot are kept.

use std::path::Path;
use std::process::Command;

use chrono::TimeDelta;
use simulator::SnapshotOptions;

use crate::harness::blobs::Blobs;
use crate::harness::program;
use crate::harness::{readers, workspace};

const DEVICES: u32 = 400;
const DAYS: u32 = 60;
/// Of each day after the first.
const DEVICES_LATER: u32 = 120;
const DEVICES_OF_ALL_DAYS: u32 = DEVICES + (DAYS - 1) * DEVICES_LATER;

/// What counts the rows of a block's `devices`, by a word of the block, and how many there are.
const COUNTS: [(&str, &str, u32); 3] = [
    (
        "import duckdb",
        "print('rows', duckdb.sql('SELECT count(*) FROM info_gathering').fetchall()[0][0])",
        DEVICES,
    ),
    (
        "import polars",
        "print('rows', devices.select(pl.len()).collect().item())",
        DEVICES,
    ),
    (
        "from pyspark",
        "print('rows', devices.count())",
        DEVICES_OF_ALL_DAYS,
    ),
];

/// The README's blocks of Python, in order.
fn python_blocks(readme: &str) -> Vec<&str> {
    let blocks = readme.split("```python\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap())
        .collect()
}

fn succeeds(command: &mut Command, what: &str) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{what}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Publishes a snapshot into the demo's lake, as a pipeline that sets nothing else.
fn publish(folder: &Path, options: &SnapshotOptions) {
    let blobs = Blobs::simulated(options);
    let pipeline = format!(
        "dataset = \"info_gathering\"\n[source]\nfiles = {:?}\n[lake]\nroot = \"demo-lake\"\n[gate]\nmin_rows_ratio = 0.0\n",
        blobs.pattern()
    );
    std::fs::write(folder.join("pipeline.toml"), pipeline).unwrap();
    let mut run = Command::new(program::binary());
    let run = run.args(["run", "pipeline.toml"]).current_dir(folder);
    succeeds(run, "a later snapshot");
}

#[test]
fn the_queries_run_as_written_after_the_demo() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Command::new(program::binary());
    let devices = DEVICES.to_string();
    demo.args(["demo", "--devices", &devices, "--lake", "demo-lake"]);
    succeeds(demo.current_dir(folder.path()), "the demo");
    // The demo's snapshot is replaced, and its files stay for an hour; then come the days of two months.
    let first = SnapshotOptions::default();
    let later = |time: TimeDelta, devices: u32| SnapshotOptions {
        devices,
        groups: 40,
        blobs: 40,
        generated_time: first.generated_time + time,
        ..first.clone()
    };
    publish(folder.path(), &later(TimeDelta::hours(6), DEVICES));
    for day in 1..DAYS {
        publish(
            folder.path(),
            &later(TimeDelta::days(day.into()), DEVICES_LATER),
        );
    }

    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    let blocks = python_blocks(&readme);
    assert_eq!(blocks.len(), COUNTS.len());
    for block in blocks {
        let (_, count, rows) = COUNTS
            .iter()
            .find(|(word, ..)| block.contains(word))
            .unwrap();
        let reader = match block.contains("format(\"delta\")") {
            true => "spark",
            false => "python",
        };
        let mut python = readers::python_for(reader, &format!("{block}\n{count}"));
        let told = succeeds(python.current_dir(folder.path()), block);
        assert!(told.lines().count() > 3, "{block}\n{told}");
        assert!(told.contains(&format!("rows {rows}\n")), "{block}\n{told}");
    }
}
