//! SIGTERM and Ctrl-C: a run ends at once, leaves nothing, and the next one starts clean.

use std::thread;
use std::time::{Duration, Instant};

use simulator::SnapshotOptions;

use crate::harness::api::Api;
use crate::harness::blobs::Blobs;
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::readers::Reader::DuckDb;
use crate::harness::truth::Truth;

/// What a run may take to abort its uploads, on a machine that is busy with other tests.
const AT_ONCE: Duration = Duration::from_secs(5);

/// The last blobs come in small pieces, so that the first have arrived, and begun their way to the store, while those have not.
const SLOWLY: &str = r#"
[[fault]]
at = { blobs = "*_RbacGroupId=1005/*" }
what = { trickle = { piece = 20, millis = 400 } }
"#;

fn blobs() -> Blobs {
    Blobs::simulated(&SnapshotOptions {
        devices: 300,
        groups: 6,
        blobs: 12,
        ..SnapshotOptions::default()
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum During {
    Downloads,
    Uploads,
}

#[track_caller]
fn stops_at_once_and_leaves_nothing(lake: &Lake, signal: &str, during: During) {
    let blobs = blobs();
    let slow = Api::faulty(&blobs, SLOWLY);
    let pipeline = Pipeline::from_api(&slow, lake);
    let running = pipeline.start("run", &["--json"]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while slow.counters().blob_gets < 8 {
        assert!(Instant::now() < deadline, "no download began");
        thread::sleep(Duration::from_millis(10));
    }
    if during == During::Uploads {
        while lake.open_uploads().is_empty() {
            assert!(Instant::now() < deadline, "no upload began");
        }
    }
    running.signal(signal);
    let told = Instant::now();
    let ran = running.wait().exits_with(5);
    let took = told.elapsed();
    assert!(took < AT_ONCE, "{took:?}");
    ran.says(&["stop"]);
    assert_eq!(ran.json()["outcome"], "failed");
    assert!(lake.state().is_empty(), "{:?}", lake.state().keys());
    assert!(lake.open_uploads().is_empty());

    let api = Api::of(&blobs);
    assert_eq!(Pipeline::from_api(&api, lake).run()["outcome"], "committed");
    DuckDb
        .values(&lake.on_this_machine().table())
        .is(&Truth::of(&blobs));
    assert!(lake.open_uploads().is_empty());
}

#[test]
fn sigterm_during_downloads_leaves_nothing_on_disk() {
    stops_at_once_and_leaves_nothing(&Lake::on_disk(), "TERM", During::Downloads);
}

#[test]
fn ctrl_c_during_uploads_leaves_nothing_on_disk() {
    stops_at_once_and_leaves_nothing(&Lake::on_disk(), "INT", During::Uploads);
}

#[test]
fn sigterm_during_downloads_leaves_nothing_in_s3() {
    stops_at_once_and_leaves_nothing(&Lake::in_moto(), "TERM", During::Downloads);
}

#[test]
fn sigterm_during_downloads_leaves_nothing_in_azure() {
    stops_at_once_and_leaves_nothing(&Lake::in_azurite(), "TERM", During::Downloads);
}

#[test]
fn a_signal_during_a_wait_for_the_service_ends_the_run_at_once() {
    for at in ["\"token\"", "\"listings\""] {
        let script = format!(
            "[[fault]]\nat = {at}\nwhat = {{ answer = {{ status = 503, retry_after = 60 }} }}"
        );
        let (blobs, lake) = (blobs(), Lake::on_disk());
        let api = Api::faulty(&blobs, &script);
        let pipeline = Pipeline::from_api(&api, &lake);
        let running = pipeline.start("run", &[]);
        let deadline = Instant::now() + Duration::from_secs(20);
        while api.faults().is_empty() {
            assert!(Instant::now() < deadline, "nobody asked");
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(Duration::from_millis(200));
        running.signal("TERM");
        let told = Instant::now();
        running.wait().exits_with(5);
        assert!(told.elapsed() < AT_ONCE);
    }
}

#[test]
fn a_run_that_was_killed_is_cleaned_up_after_by_the_next() {
    let (blobs, lake) = (blobs(), Lake::on_disk());
    let slow = Api::faulty(&blobs, SLOWLY);
    let pipeline = Pipeline::from_api(&slow, &lake);
    let running = pipeline.start("run", &[]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while slow.counters().blob_gets < 8 {
        assert!(Instant::now() < deadline, "no download began");
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_millis(500));
    running.signal("KILL");
    drop(running);
    assert!(lake.on_this_machine().table_files().is_empty());

    let api = Api::of(&blobs);
    Pipeline::from_api(&api, &lake).run();
    DuckDb
        .values(&lake.on_this_machine().table())
        .is(&Truth::of(&blobs));
}
