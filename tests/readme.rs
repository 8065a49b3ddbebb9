//! What the README shows runs as it is written there.

use std::process::Command;

use crate::harness::program;
use crate::harness::{tool, workspace};

/// The README's blocks of Python, in order.
fn python_blocks(readme: &str) -> Vec<&str> {
    let blocks = readme.split("```python\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap())
        .collect()
}

#[test]
fn the_queries_run_as_written_after_the_demo() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Command::new(program::binary())
        .args(["demo", "--devices", "400", "--lake", "demo-lake"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(
        demo.status.success(),
        "{}",
        String::from_utf8_lossy(&demo.stderr)
    );

    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    let blocks = python_blocks(&readme);
    assert_eq!(blocks.len(), 5);
    for block in blocks {
        let answer = Command::new(tool("readers/bin/python3"))
            .args(["-c", block])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&answer.stdout);
        assert!(
            answer.status.success(),
            "{block}\n{}",
            String::from_utf8_lossy(&answer.stderr)
        );
        assert!(told.lines().count() > 3, "{block}\n{told}");
    }
}
