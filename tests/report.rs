//! The run report: its counts are the truth's, and they add up.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use simulator::{Oddities, SnapshotOptions};

use crate::harness::api::Api;
use crate::harness::blobs::Blobs;
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::truth::{Counts, Truth};

fn odd_run() -> (Blobs, Lake, Value) {
    let blobs = Blobs::simulated(&SnapshotOptions {
        oddities: Oddities::all(),
        ..SnapshotOptions::default()
    });
    let (api, lake) = (Api::of(&blobs), Lake::on_disk());
    let report = Pipeline::from_api(&api, &lake).run();
    (blobs, lake, report)
}

fn counts(report: &Value) -> Counts {
    let count = |key: &str| {
        report[key]
            .as_u64()
            .unwrap_or_else(|| panic!("no count `{key}` in {report}"))
    };
    Counts {
        records_read: count("records_read"),
        rows_written: count("rows_written"),
        records_quarantined: count("records_quarantined"),
        rows_rescued: count("rows_rescued"),
    }
}

#[test]
fn counts_are_the_truth_and_add_up_per_blob_and_in_all() {
    let (blobs, _lake, report) = odd_run();
    let truth = Truth::of(&blobs);
    let per_blob: BTreeMap<String, Counts> = report["blob_counts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|blob| (blob["blob"].as_str().unwrap().to_owned(), counts(blob)))
        .collect();
    assert_eq!(per_blob, truth.blobs);
    assert_eq!(counts(&report), truth.counts());
    for counts in per_blob.values().chain([&counts(&report)]) {
        assert_eq!(
            counts.records_read,
            counts.rows_written + counts.records_quarantined
        );
    }
    assert!(truth.counts().records_quarantined > 0 && truth.counts().rows_rescued > 0);
    assert_eq!(report["blobs"], blobs.all().len());
    assert_eq!(
        report["bytes_read"],
        blobs
            .all()
            .iter()
            .map(|blob| blob.bytes.len())
            .sum::<usize>()
    );
}

#[test]
fn drift_is_counted_by_wire_path() {
    let (blobs, _lake, report) = odd_run();
    let drift: BTreeMap<(String, &str), u64> = report["drift"]
        .as_array()
        .unwrap()
        .iter()
        .map(|drift| {
            let text = |key: &str| drift[key].as_str().unwrap();
            (
                (text("wire_path").to_owned(), text("kind")),
                drift["records"].as_u64().unwrap(),
            )
        })
        .collect();
    let truth = Truth::of(&blobs).drift;
    assert!(!truth.is_empty());
    assert_eq!(
        drift,
        truth
            .iter()
            .map(|((path, kind), records)| ((path.clone(), *kind), *records))
            .collect()
    );
}

#[test]
fn the_report_says_what_was_run_and_is_kept_in_the_lake() {
    let (_blobs, lake, report) = odd_run();
    assert_eq!(report["dataset"], "info_gathering");
    assert_eq!(report["snapshot"], "20260503T100100Z-47d41a0c");
    assert_eq!(report["outcome"], "committed");
    assert_eq!(report["error"], Value::Null);
    assert!(
        report["parts"].as_u64().unwrap() > 0 && report["elapsed_seconds"].as_f64().unwrap() > 0.0
    );
    let files = lake.files();
    let written: usize = files
        .iter()
        .filter(|(path, _)| path.ends_with(".parquet"))
        .map(|(_, bytes)| bytes.len())
        .sum();
    assert_eq!(report["bytes_written"], written);
    let kept = &files[&format!(
        "_lake/info_gathering/runs/{}.json",
        report["run_id"].as_str().unwrap()
    )];
    assert_eq!(serde_json::from_slice::<Value>(kept).unwrap(), report);
}

#[test]
fn without_json_stdout_holds_no_report_and_a_summary_is_told() {
    let (blobs, lake) = (
        Blobs::simulated(&SnapshotOptions::default()),
        Lake::on_disk(),
    );
    let ran = Pipeline::from_files(&blobs, &lake)
        .command("run", &[])
        .exits_with(0);
    assert!(serde_json::from_str::<Value>(&ran.stdout).is_err());
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(
        told.contains("20260503T100100Z-47d41a0c") && told.contains("committed"),
        "{told}"
    );
}

#[test]
fn log_json_prints_one_object_a_line() {
    let (blobs, lake) = (
        Blobs::simulated(&SnapshotOptions::default()),
        Lake::on_disk(),
    );
    let ran = Pipeline::from_files(&blobs, &lake)
        .command("run", &["--json", "--log", "json"])
        .exits_with(0);
    assert_eq!(ran.json()["outcome"], json!("committed"));
    assert!(!ran.stderr.is_empty());
    for line in ran.stderr.lines() {
        assert!(
            serde_json::from_str::<Value>(line).unwrap().is_object(),
            "{line}"
        );
    }
}
