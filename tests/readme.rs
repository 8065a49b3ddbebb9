//! What the README shows runs as it is written there, and is right where files of a replaced snapshot are kept.

use std::path::Path;
use std::process::Command;

use chrono::TimeDelta;
use simulator::SnapshotOptions;

use crate::harness::blobs::Blobs;
use crate::harness::program;
use crate::harness::{readers, workspace};

const DEVICES: u32 = 400;

/// What counts the rows of a block's `devices`, by a word of the block.
const COUNTS: [(&str, &str); 3] = [
    (
        "import duckdb",
        "print('rows', duckdb.sql('SELECT count(*) FROM devices').fetchall()[0][0])",
    ),
    (
        "import polars",
        "print('rows', devices.select(pl.len()).collect().item())",
    ),
    ("from pyspark", "print('rows', devices.count())"),
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

/// Replaces the demo's snapshot by a later one of its day, whose files stay for an hour if nobody says otherwise.
fn replace_the_day(folder: &Path) {
    let first = SnapshotOptions::default();
    let blobs = Blobs::simulated(&SnapshotOptions {
        devices: DEVICES,
        generated_time: first.generated_time + TimeDelta::hours(6),
        ..first
    });
    let pipeline = format!(
        "dataset = \"info_gathering\"\n[source]\nfiles = {:?}\n[lake]\nroot = \"demo-lake\"\n",
        blobs.pattern()
    );
    std::fs::write(folder.join("pipeline.toml"), pipeline).unwrap();
    let mut run = Command::new(program::binary());
    let run = run.args(["run", "pipeline.toml"]).current_dir(folder);
    succeeds(run, "the later snapshot");
}

#[test]
fn the_queries_run_as_written_after_the_demo() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Command::new(program::binary());
    let devices = DEVICES.to_string();
    demo.args(["demo", "--devices", &devices, "--lake", "demo-lake"]);
    succeeds(demo.current_dir(folder.path()), "the demo");
    replace_the_day(folder.path());

    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    let blocks = python_blocks(&readme);
    assert_eq!(blocks.len(), COUNTS.len());
    for block in blocks {
        let (_, count) = COUNTS
            .iter()
            .find(|(word, _)| block.contains(word))
            .unwrap();
        let reader = match block.contains("format(\"delta\")") {
            true => "spark",
            false => "python",
        };
        let mut python = readers::python_for(reader, &format!("{block}\n{count}"));
        let told = succeeds(python.current_dir(folder.path()), block);
        assert!(told.lines().count() > 3, "{block}\n{told}");
        assert!(
            told.contains(&format!("rows {DEVICES}\n")),
            "{block}\n{told}"
        );
    }
}
