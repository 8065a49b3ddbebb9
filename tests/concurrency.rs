//! Twenty runs at once on one lake: one log entry a snapshot, and every row once.

use std::collections::BTreeMap;
use std::process::Child;

use serde_json::Value;
use simulator::SnapshotOptions;

use crate::harness::blobs::Blobs;
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::poller::Poller;

const RUNS_OF_ONE: usize = 10;
const RUNS_OF_OTHERS: usize = 10;

/// The snapshots that the log's entries name, in order.
fn logged(lake: &Lake) -> Vec<String> {
    let files = lake.files().into_iter();
    let entries =
        files.filter(|(path, _)| path.contains("/_delta_log/") && path.ends_with(".json"));
    entries
        .map(|(path, content)| {
            let first = content.split(|byte| *byte == b'\n').next().unwrap();
            let action: Value = serde_json::from_slice(first).unwrap();
            let snapshot = &action["commitInfo"]["snapshot"];
            snapshot
                .as_str()
                .unwrap_or_else(|| panic!("{path} names no snapshot"))
                .to_owned()
        })
        .collect()
}

fn twenty_at_once(lake: &Lake) {
    let mut days: Vec<SnapshotOptions> = vec![SnapshotOptions {
        devices: 30,
        groups: 2,
        blobs: 3,
        ..SnapshotOptions::default()
    }];
    for day in 0..RUNS_OF_OTHERS {
        days.push(days[day].next_day());
    }
    let blobs: Vec<Blobs> = days.iter().map(Blobs::simulated).collect();
    let same = (0..RUNS_OF_ONE).map(|_| &blobs[0]);
    let pipelines: Vec<Pipeline> = same
        .chain(&blobs[1..])
        .map(|blobs| Pipeline::from_files(blobs, lake))
        .collect();
    // Any of the days may come first: each has its own place.
    let runs: Vec<Child> = pipelines
        .iter()
        .map(|pipeline| {
            pipeline
                .start("run", &["--backfill", "--json"])
                .into_child()
        })
        .collect();
    let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        *outcomes
            .entry(report["outcome"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }

    let mut logged = logged(lake);
    println!(
        "{} in {}: {outcomes:?}, {} log entries",
        pipelines.len(),
        lake.root(),
        logged.len()
    );
    logged.sort();
    let entries = logged.len();
    logged.dedup();
    assert_eq!(
        (logged.len(), entries),
        (blobs.len(), blobs.len()),
        "{logged:?}"
    );
    let poller = Poller::start(lake, &["deltalake", "polars"]);
    let expected: BTreeMap<i64, u64> = days
        .iter()
        .map(|day| (day.generated_time.timestamp_micros(), day.devices.into()))
        .collect();
    for answer in poller.next_answers() {
        assert_eq!(answer.rows.as_ref(), Ok(&expected), "{answer:?}");
    }
    pipelines[0].command("verify", &["--all"]).exits_with(0);
}

#[test]
fn twenty_runs_at_once_make_one_log_entry_a_snapshot_on_disk() {
    twenty_at_once(&Lake::on_disk());
}

#[test]
fn twenty_runs_at_once_make_one_log_entry_a_snapshot_in_s3() {
    twenty_at_once(&Lake::in_moto());
}

#[test]
fn twenty_runs_at_once_make_one_log_entry_a_snapshot_in_azure() {
    twenty_at_once(&Lake::in_azurite());
}

#[test]
fn a_store_that_ignores_conditions_is_refused_unwritten() {
    let lake = Lake::in_garage();
    let blobs = Blobs::simulated(&SnapshotOptions::default());
    let pipeline = Pipeline::from_files(&blobs, &lake);
    pipeline.replace("single_writer = true", "single_writer = false");
    let ran = pipeline.command("run", &[]).exits_with(2);
    ran.says(&["no conditional put", "lake.single_writer = true"]);
    assert!(lake.files().is_empty(), "{:?}", lake.files().keys());
    pipeline.replace("single_writer = false", "single_writer = true");
    pipeline.run();
}
