//! Proxies and gateways that break HEAD, lengths and ranges: the table is right all the same, and the API is called once.

use serde_json::Value;
use simulator::SnapshotOptions;

use crate::harness::api::Api;
use crate::harness::bare_service::{BareService, Length, ROWS};
use crate::harness::blobs::Blobs;
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::readers::Reader::DuckDb;
use crate::harness::truth::Truth;

/// What is broken, of HEADs and of GETs.
const BROKEN: &[(&str, &str)] = &[
    ("heads", "\"no_length\""),
    ("heads", "{ answer = { status = 405 } }"),
    (
        "heads",
        "{ answer = { status = 403, body = \"<html>blocked</html>\" } }",
    ),
    // A length of 0, and that of the inflated body.
    ("heads", "{ empty = {} }"),
    ("heads", "{ content_length = { by = 1000 } }"),
    ("blobs", "\"no_length\""),
    ("blobs", "\"range_ignored\""),
];

fn few_blobs() -> Blobs {
    Blobs::simulated(&SnapshotOptions {
        devices: 60,
        groups: 3,
        blobs: 5,
        ..SnapshotOptions::default()
    })
}

/// Bytes of all blobs in a plan's JSON.
fn planned_bytes(plan: &Value) -> Option<u64> {
    let blobs = plan["blobs"].as_array().unwrap().iter();
    blobs.map(|blob| blob["bytes"].as_u64()).sum()
}

#[test]
fn heads_lengths_and_ranges_that_are_broken_cost_no_row_and_no_call() {
    let blobs = few_blobs();
    let truth = Truth::of(&blobs);
    let bytes: u64 = blobs.all().iter().map(|blob| blob.bytes.len() as u64).sum();
    for (at, what) in BROKEN {
        let script = format!("[[fault]]\nat = {{ {at} = \"*\" }}\nwhat = {what}");
        let (api, lake) = (Api::faulty(&blobs, &script), Lake::on_disk());
        let pipeline = Pipeline::from_faulty_api(&api, &lake);
        let report = pipeline.run();
        DuckDb.values(&lake.on_this_machine().table()).is(&truth);
        assert_eq!(report["bytes_read"], bytes, "{what}");
        let asked = api.counters();
        assert_eq!(
            (asked.api_calls, asked.blob_heads, asked.blob_gets),
            (1, 0, blobs.all().len() as u64),
            "{what}"
        );
        // A plan asks for the sizes that it tells.
        let plan = pipeline.command("plan", &["--json"]).exits_with(0).json();
        assert_eq!(planned_bytes(&plan), Some(bytes), "{what}");
        let asked = api.counters();
        assert_eq!((asked.api_calls, asked.blob_heads), (2, 0), "{what}");
    }
}

#[test]
fn bodies_that_end_with_their_connection_are_whole_by_a_size_asked_for() {
    let service = BareService::start(4, 4, Length::Unsaid);
    let lake = Lake::on_disk();
    let report = Pipeline::from_bare_service(&service, &lake).run();
    assert_eq!(report["rows_written"], 4 * ROWS);
    let [listings, heads, sizes, bodies] = service.asked();
    assert_eq!((listings, heads, sizes, bodies), (1, 0, 4, 4));
}

#[test]
fn a_403_of_a_proxy_is_no_sign_that_a_url_has_expired() {
    let (blobs, lake) = (few_blobs(), Lake::on_disk());
    let script = "[[fault]]\nat = { blob = 2 }\nwhat = { answer = { status = 403, body = \"<html>blocked</html>\" } }";
    let api = Api::faulty(&blobs, script);
    let ran = Pipeline::from_faulty_api(&api, &lake).command("run", &[]);
    ran.exits_with(1).says(&["refused", &blobs.all()[2].path]);
    assert_eq!(api.counters().api_calls, 1);
}
