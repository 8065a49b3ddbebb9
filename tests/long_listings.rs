//! Listings of a hundred thousand URLs: in little memory, and without a request a blob before the first download.

use crate::harness::bare_service::{BareService, Length, ROWS};
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::readers::Reader::DuckDb;

/// The URLs are 80 MB of it.
const MEMORY: u64 = 200 << 20;

#[test]
fn a_listing_of_100_000_urls_is_planned_in_little_memory() {
    let service = BareService::start(100_000, 7, Length::Told);
    assert!(service.listing_bytes() > 80_000_000);
    let lake = Lake::on_disk();
    let pipeline = Pipeline::from_bare_service(&service, &lake);
    let (ran, peak) = pipeline.start("plan", &[]).wait_with_peak_memory();
    let ran = ran.exits_with(0);
    assert!(peak < MEMORY, "{peak} bytes at its peak");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(
        lines[1].starts_with("would read about ") && lines[1].contains("in 100,000 blobs"),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 2 + 7 + 1, "a line for each group: {lines:?}");
    assert_eq!(service.asked(), [1, 0, 1_000, 0]);
}

#[test]
fn a_run_asks_for_each_blob_once_and_divides_them_as_a_plan_would() {
    let service = BareService::start(900, 3, Length::Told);
    let lake = Lake::on_disk();
    let pipeline = Pipeline::from_bare_service(&service, &lake);
    let small_files = ["--set", "work.target_file_size=1MiB"];
    let report = pipeline.run_with(&small_files);
    assert_eq!(service.asked(), [1, 0, 0, 900]);
    assert_eq!(report["rows_written"], 900 * ROWS);
    let table = lake.on_this_machine().table();
    assert_eq!(DuckDb.values(&table).column("device_id").len(), 1_800);
    let plan = pipeline.command("plan", &[&["--json"], &small_files[..]].concat());
    let plan = plan.exits_with(0).json();
    assert_eq!(report["parts"], plan["parts"].as_array().unwrap().len());
    assert_eq!(service.asked(), [2, 0, 900, 900]);
}
