//! Runs outlive their signed URLs, and mix nothing of a newer snapshot in.

use simulator::{FaultScript, ServerOptions, SignatureKind, SnapshotOptions};

use super::{fails_with, few_blobs, few_devices, holds_exactly};
use crate::harness::api::Api;
use crate::harness::blobs::Blobs;
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::program::Ran;
use crate::harness::truth::Truth;

fn tomorrow() -> Blobs {
    Blobs::simulated(&few_devices().next_day())
}

/// Blobs come so slowly that the URLs of the first listing end before the downloads do.
fn outlives_its_urls(options: ServerOptions) -> Ran {
    let script = format!(
        r#"{}
        [[fault]]
        at = {{ blobs = "*" }}
        when = {{ first = 2 }}
        what = {{ trickle = {{ piece = 1500, millis = 150 }} }}
        "#,
        toml_of(&options.faults)
    );
    let blobs = Blobs::simulated(&SnapshotOptions {
        devices: 300,
        blobs: 12,
        ..SnapshotOptions::default()
    });
    let lake = Lake::on_disk();
    let options = ServerOptions {
        faults: FaultScript::parse(&script).unwrap(),
        ..options
    };
    let api = Api::with(&blobs, options);
    let pipeline = Pipeline::from_faulty_api(&api, &lake);
    let ran = pipeline.command("run", &["--set", "work.downloads=4"]);
    let ran = ran.exits_with(0);
    holds_exactly(&lake, &Truth::of(&blobs));
    let calls = api.counters().api_calls;
    assert_eq!(calls, 2, "one listing more, for all downloads");
    ran
}

fn toml_of(faults: &FaultScript) -> String {
    format!(
        "etag_by_container = {}\nwithout_md5 = {}\n{}",
        faults.etag_by_container, faults.without_md5, FIRST_URLS_END_SOON
    )
}

const FIRST_URLS_END_SOON: &str = r#"
[[fault]]
at = "listings"
when = { nth = 1 }
what = { url_lifetime = { seconds = 2 } }
"#;

#[test]
fn a_run_outlives_its_urls() {
    outlives_its_urls(ServerOptions::default());
}

#[test]
fn a_run_outlives_its_urls_without_proof_of_a_blobs_identity() {
    let faults = FaultScript::parse("etag_by_container = true\nwithout_md5 = true").unwrap();
    outlives_its_urls(ServerOptions {
        faults,
        ..ServerOptions::default()
    });
}

#[test]
fn a_run_outlives_its_urls_by_a_clock_that_is_minutes_off() {
    for minutes in [-7, 7] {
        let ran = outlives_its_urls(ServerOptions {
            clock_skew: chrono::TimeDelta::minutes(minutes),
            ..ServerOptions::default()
        });
        ran.says(&[
            "clock",
            if minutes > 0 {
                "seconds=4"
            } else {
                "seconds=-4"
            },
        ]);
    }
}

#[test]
fn a_key_that_ends_before_its_urls_do_is_outlived() {
    let (blobs, lake) = (few_blobs(), Lake::on_disk());
    let script = "[[fault]]\nat = { blobs = \"*\" }\nwhen = { nth = 1 }\n\
                  what = { trickle = { piece = 1500, millis = 250 } }";
    let api = Api::with(
        &blobs,
        ServerOptions {
            signature: SignatureKind::UserDelegation {
                key_lifetime: Some(chrono::TimeDelta::seconds(2)),
            },
            faults: FaultScript::parse(script).unwrap(),
            ..ServerOptions::default()
        },
    );
    Pipeline::from_faulty_api(&api, &lake).run_with(&["--set", "work.downloads=1"]);
    holds_exactly(&lake, &Truth::of(&blobs));
    assert!(api.counters().api_calls >= 2);
}

#[test]
fn urls_refused_before_their_time_are_listed_anew_once() {
    let (blobs, lake) = (few_blobs(), Lake::on_disk());
    // The first blob of each part: these download side by side, and all their attempts are refused.
    let script: String = [0, 1, 4]
        .map(|place| {
            format!(
                "[[fault]]\nat = {{ blob = {place} }}\nwhen = {{ first = 6 }}\nwhat = {{ expired = {{}} }}\n"
            )
        })
        .concat();
    let api = Api::faulty(&blobs, &script);
    let ran = Pipeline::from_faulty_api(&api, &lake)
        .command("run", &["-v"])
        .exits_with(0);
    holds_exactly(&lake, &Truth::of(&blobs));
    assert_eq!(api.counters().api_calls, 2, "{}", ran.stderr);
}

#[test]
fn downloads_go_on_when_a_listing_takes_their_container_away() {
    let (blobs, lake) = (few_blobs(), Lake::on_disk());
    let script = format!(
        r#"{FIRST_URLS_END_SOON}
        [[fault]]
        at = "listings"
        when = {{ nth = 2 }}
        what = "containers_removed"
        [[fault]]
        at = {{ blobs = "*" }}
        when = {{ first = 2 }}
        what = {{ trickle = {{ piece = 400, millis = 150 }} }}
        "#
    );
    let api = Api::faulty(&blobs, &script);
    let slowly = ["-v", "--set", "work.downloads=2"];
    let ran = Pipeline::from_faulty_api(&api, &lake)
        .command("run", &slowly)
        .exits_with(0);
    holds_exactly(&lake, &Truth::of(&blobs));
    assert_eq!(api.counters().api_calls, 2, "{}", ran.stderr);
}

/// For the second blob to be asked for when the first has taken longer than the URLs live.
const ONE_BY_ONE: [&str; 2] = ["--set", "work.downloads=1"];

fn a_new_snapshot_under_way(newer: &Blobs) -> String {
    format!(
        r#"{FIRST_URLS_END_SOON}
        [[fault]]
        at = "listings"
        when = {{ after = 1 }}
        what = {{ snapshot = "{}" }}
        [[fault]]
        at = {{ blobs = "2026-05-03/*" }}
        what = {{ trickle = {{ piece = 400, millis = 300 }} }}
        "#,
        newer.folder().display()
    )
}

#[test]
fn a_snapshot_that_appears_under_way_is_not_mixed_in() {
    let (blobs, newer, lake) = (few_blobs(), tomorrow(), Lake::on_disk());
    let api = Api::faulty(&blobs, &a_new_snapshot_under_way(&newer));
    let report = Pipeline::from_faulty_api(&api, &lake).run_with(&ONE_BY_ONE);
    assert_eq!(report["outcome"], "committed");
    assert!(
        report["snapshot"]
            .as_str()
            .unwrap()
            .starts_with("20260504T"),
        "{report}"
    );
    holds_exactly(&lake, &Truth::of(&newer));
    assert!(lake.open_uploads().is_empty());
}

#[test]
fn a_run_that_shall_stop_at_a_new_snapshot_exits_1_and_says_so() {
    let (blobs, newer) = (few_blobs(), tomorrow());
    let script = a_new_snapshot_under_way(&newer);
    fails_with(
        &blobs,
        &script,
        &[&ONE_BY_ONE[..], &["--set", "source.on_new_snapshot=stop"]].concat(),
        &["snapshot", "replaced"],
    );
}

#[test]
fn a_listing_that_lost_a_blob_under_way_is_another_snapshot() {
    let script = format!(
        r#"{FIRST_URLS_END_SOON}
        [[fault]]
        at = "listings"
        when = {{ after = 1 }}
        what = "blob_missing"
        [[fault]]
        at = {{ blobs = "*" }}
        what = {{ trickle = {{ piece = 400, millis = 300 }} }}
        "#
    );
    fails_with(
        &few_blobs(),
        &script,
        &[&ONE_BY_ONE[..], &["--set", "source.on_new_snapshot=stop"]].concat(),
        &["snapshot"],
    );
}
