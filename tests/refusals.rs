//! Stores that refuse for good, or accept a request and never answer: a run ends in time, says what was committed, and leaves a
//! table that readers can read.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use simulator::SnapshotOptions;

use crate::crashes::is_tidy;
use crate::harness::blobs::{Blobs, gzip, path};
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::poller::shows;
use crate::harness::program::Ran;
use crate::harness::proxy::{Request, Rule};

/// What a run may take whose store refuses for good.
const A_MINUTE: Duration = Duration::from_secs(60);
/// What the program may take after a signal: two seconds, and some for a machine that is busy with other tests.
const AFTER_SIGNAL: Duration = Duration::from_secs(4);

const PRECONDITION: Rule = Rule::Answer(
    412,
    "<Error><Code>PreconditionFailed</Code><Message>a gateway without conditions</Message></Error>",
);
const IMMUTABLE: Rule = Rule::Answer(
    409,
    "<Error><Code>BlobImmutableDueToPolicy</Code><Message>the blob is immutable</Message></Error>",
);

fn days() -> [(SnapshotOptions, Blobs); 3] {
    let first = SnapshotOptions {
        devices: 20,
        groups: 2,
        blobs: 2,
        ..SnapshotOptions::default()
    };
    let (second, third) = (first.next_day(), first.next_day().next_day());
    [first, second, third].map(|day| {
        let blobs = Blobs::simulated(&day);
        (day, blobs)
    })
}

#[track_caller]
fn within_a_minute(run: impl FnOnce() -> Ran) -> Ran {
    let began = Instant::now();
    let ran = run();
    assert!(began.elapsed() < A_MINUTE, "{:?}", began.elapsed());
    ran
}

#[test]
fn a_gateway_whose_if_match_never_matches_is_refused() {
    let lake = Lake::in_moto();
    let gateway = lake.by_way_of(|request: &Request| match request.header("if-match") {
        Some(_) if request.method == "PUT" => PRECONDITION,
        _ => Rule::Pass,
    });
    let [(_, blobs), ..] = days();
    let pipeline = Pipeline::from_files(&blobs, &gateway);
    let ran = within_a_minute(|| pipeline.command("run", &[])).exits_with(2);
    ran.says(&["If-Match", "412", "PreconditionFailed"]);
    assert!(lake.files().is_empty(), "{:?}", lake.files().keys());
}

fn pointer_refused_after_the_log_entry(lake: &Lake) {
    let [(first, one), (second, two), (_, three)] = days();
    Pipeline::from_files(&one, lake).run();
    let immutable = lake.by_way_of(|request| match is_pointer(request) {
        true => IMMUTABLE,
        false => Rule::Pass,
    });
    let pipeline = Pipeline::from_files(&two, &immutable);
    let ran = within_a_minute(|| pipeline.command("run", &["--json"])).exits_with(4);
    let report = ran.json();
    assert_eq!(report["outcome"], "committed");
    let unfinished = report["unfinished"].as_str().unwrap();
    for word in ["latest.json", "409", "BlobImmutableDueToPolicy"] {
        assert!(unfinished.contains(word), "{unfinished}");
    }
    shows(lake, &[&first, &second]);

    let next = Pipeline::from_files(&three, &immutable);
    let ran = within_a_minute(|| next.command("run", &[])).exits_with(1);
    ran.says(&["latest.json", "BlobImmutableDueToPolicy"]);
    shows(lake, &[&first, &second]);

    let allowed = Pipeline::from_files(&two, lake);
    assert_eq!(allowed.run()["outcome"], "unchanged");
    allowed.command("verify", &["--all"]).exits_with(0);
}

#[test]
fn a_pointer_refused_for_good_leaves_the_commit_in_azure() {
    pointer_refused_after_the_log_entry(&Lake::in_azurite());
}

#[test]
fn a_pointer_refused_for_good_leaves_the_commit_in_s3() {
    pointer_refused_after_the_log_entry(&Lake::in_moto());
}

fn is_pointer(request: &Request) -> bool {
    let path = request.target.split('?').next().unwrap_or_default();
    request.method == "PUT" && path.ends_with("/latest.json")
}

#[test]
fn a_replay_whose_pointer_is_refused_stands_and_says_so() {
    let lake = Lake::in_moto();
    let blobs = Blobs::none();
    blobs.add(&path(Some(7), 0), &gzip(b"{\"DeviceId\":\"a\"}\n"));
    blobs.add(&path(None, 1), &gzip(b"{\"DeviceId\":\"b\"}\n"));
    Pipeline::from_files(&blobs, &lake).run();
    let immutable = lake.by_way_of(|request| match is_pointer(request) {
        true => IMMUTABLE,
        false => Rule::Pass,
    });
    let replay = |lake: &Lake| {
        let pipeline = Pipeline::from_files(&blobs, lake);
        let arguments = ["replay", "pipeline.toml", "--json", "--set"];
        let arguments = [&arguments[..], &["source.rbac_group_id=9"]].concat();
        within_a_minute(|| pipeline.plain("quarantine", &arguments))
    };
    let ran = replay(&immutable).exits_with(4);
    ran.says(&["latest.json", "409", "BlobImmutableDueToPolicy"]);
    let replayed = &ran.json()[0];
    assert_eq!(replayed["rows_added"], 1);
    assert!(replayed["unfinished"].is_string(), "{replayed}");

    let after = replay(&lake).exits_with(0).json();
    assert_eq!(after, serde_json::json!([]));
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let verified = pipeline
        .command("verify", &["--all", "--json"])
        .exits_with(0)
        .json();
    assert_eq!(verified["snapshots"][0]["rows"], 2);
    is_tidy(&pipeline, &[], "a replay");
}

#[test]
fn a_rollback_whose_pointer_is_refused_stands_and_says_so() {
    let lake = Lake::in_moto();
    let [(morning, one), ..] = days();
    let noon = SnapshotOptions {
        generated_time: morning.generated_time + TimeDelta::hours(2),
        ..morning.clone()
    };
    let two = Blobs::simulated(&noon);
    let keeping = ["--set", "lake.retire_after=1h"];
    for blobs in [&one, &two] {
        Pipeline::from_files(blobs, &lake).run_with(&keeping);
    }
    let immutable = lake.by_way_of(|request| match is_pointer(request) {
        true => IMMUTABLE,
        false => Rule::Pass,
    });
    let to = ["--to", "20260503T100100Z-47d41a0c", keeping[0], keeping[1]];
    let pipeline = Pipeline::from_files(&one, &immutable);
    let ran = within_a_minute(|| pipeline.command("rollback", &to)).exits_with(4);
    ran.says(&["latest.json", "BlobImmutableDueToPolicy"]);
    shows(&lake, &[&morning]);
    let ran = Pipeline::from_files(&one, &lake)
        .command("rollback", &to)
        .exits_with(0);
    assert!(ran.stdout.contains("was current already"), "{}", ran.stdout);
}

#[test]
fn deletions_refused_after_the_commit_are_warnings() {
    let lake = Lake::in_moto();
    let [(first, one), (second, two), _] = days();
    Pipeline::from_files(&one, &lake).run();
    let is_committed = AtomicBool::new(false);
    let undeletable = lake.by_way_of(move |request| {
        if is_pointer(request) {
            is_committed.store(true, Ordering::Relaxed);
        }
        let deletes = request.method == "DELETE" || request.target.contains("?delete");
        match deletes && is_committed.load(Ordering::Relaxed) {
            true => Rule::Answer(403, "<Error><Code>AccessDenied</Code></Error>"),
            false => Rule::Pass,
        }
    });
    let report = Pipeline::from_files(&two, &undeletable).run();
    assert_eq!(report["outcome"], "committed");
    assert_eq!(report["unfinished"], serde_json::Value::Null);
    let warning = report["warnings"][0].as_str().unwrap();
    assert!(warning.contains("not deleted"), "{report}");
    shows(&lake, &[&first, &second]);
    let next = Pipeline::from_files(&two, &lake);
    next.replace("[lake]\n", "[lake]\ndead_after = \"1s\"\n");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(next.run()["outcome"], "unchanged");
    is_tidy(&next, &[], "refused deletions");
}

#[test]
fn a_log_entry_refused_for_good_ends_within_a_minute() {
    let lake = Lake::in_moto();
    let [(first, one), (_, two), _] = days();
    Pipeline::from_files(&one, &lake).run();
    let before = lake.files();
    let refusing = lake.by_way_of(|request| {
        let is_entry = request.target.contains("/_delta_log/");
        match is_entry && request.is_conditional_put() {
            true => PRECONDITION,
            false => Rule::Pass,
        }
    });
    let pipeline = Pipeline::from_files(&two, &refusing);
    let ran = within_a_minute(|| pipeline.command("run", &["--json"])).exits_with(5);
    assert_eq!(ran.json()["outcome"], "failed");
    ran.says(&["412", "PreconditionFailed"]);
    let mut after = lake.files();
    after.retain(|path, _| !path.contains("/runs/") || before.contains_key(path));
    assert_eq!(after, before);
    shows(&lake, &[&first]);
}

/// A run whose store falls silent at a request, which is then told to stop.
#[track_caller]
fn stops_in_time(lake: &Lake, falls_silent_at: fn(&Request) -> bool) -> Ran {
    let is_silent = Arc::new(AtomicBool::new(false));
    let silent = Arc::clone(&is_silent);
    let mute = lake.by_way_of(move |request| {
        if falls_silent_at(request) {
            silent.store(true, Ordering::Relaxed);
        }
        match silent.load(Ordering::Relaxed) {
            true => Rule::Silence,
            false => Rule::Pass,
        }
    });
    let [(_, blobs), ..] = days();
    let pipeline = Pipeline::from_files(&blobs, &mute);
    let running = pipeline.start("run", &["--json"]);
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_silent.load(Ordering::Relaxed) {
        assert!(Instant::now() < deadline, "the request never came");
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_millis(300));
    running.signal("TERM");
    let told = Instant::now();
    let ran = running.wait();
    assert!(told.elapsed() < AFTER_SIGNAL, "{:?}", told.elapsed());
    ran
}

#[test]
fn a_signal_ends_a_wait_for_a_store_that_never_answers() {
    let lake = Lake::in_moto();
    let ran = stops_in_time(&lake, |_| true).exits_with(5);
    assert_eq!(ran.json()["outcome"], "failed");
    ran.says(&["stopped"]);
}

#[test]
fn a_signal_ends_a_wait_for_an_upload_that_never_ends() {
    let lake = Lake::in_azurite();
    let is_file =
        |request: &Request| request.method == "PUT" && request.target.contains(".parquet");
    stops_in_time(&lake, is_file).exits_with(5);
}

#[test]
fn a_signal_ends_a_commit_whose_deciding_write_gets_no_answer() {
    let lake = Lake::in_moto();
    let is_entry =
        |request: &Request| request.method == "PUT" && request.target.contains("/_delta_log/0000");
    let ran = stops_in_time(&lake, is_entry).exits_with(4);
    assert_eq!(ran.json()["outcome"], "undecided");
    ran.says(&["it is not known whether snapshot"]);
    let [(first, blobs), ..] = days();
    let next = Pipeline::from_files(&blobs, &lake);
    next.replace("[lake]\n", "[lake]\ndead_after = \"1s\"\n");
    assert_eq!(next.run()["outcome"], "committed");
    shows(&lake, &[&first]);
}

#[test]
fn a_signal_ends_a_wait_for_a_pointer_after_the_commit() {
    let lake = Lake::in_azurite();
    let ran = stops_in_time(&lake, is_pointer).exits_with(4);
    assert_eq!(ran.json()["outcome"], "committed");
    let [(first, _), ..] = days();
    shows(&lake, &[&first]);
}

#[test]
fn a_signal_ends_the_wait_for_a_silent_metadata_service() {
    let lake = Lake::in_azurite();
    let [(_, blobs), ..] = days();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let identity = format!(
        "msi_endpoint = \"http://{}/token\"",
        silent.local_addr().unwrap()
    );
    let pipeline = Pipeline::from_files(&blobs, &lake);
    pipeline.replace("account_key = \"${LAKE_ACCOUNT_KEY}\"", &identity);
    let running = pipeline.start("run", &["--json"]);
    let _asked = silent.accept().unwrap();
    running.signal("TERM");
    let told = Instant::now();
    let ran = running.wait().exits_with(5);
    assert!(told.elapsed() < AFTER_SIGNAL, "{:?}", told.elapsed());
    ran.says(&["stopped"]);
}

#[test]
fn without_credentials_a_run_says_within_seconds_what_was_looked_for() {
    let (lake, [(_, blobs), ..]) = (Lake::on_disk(), days());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let metadata = format!("http://{}", silent.local_addr().unwrap());
    let mut pipeline = Pipeline::from_files(&blobs, &lake);
    pipeline.set_variable("AWS_METADATA_ENDPOINT", &metadata);
    let s3 = ["--json", "--set", "lake.root=s3://nobodys/lake"];
    let msi = format!("lake.options.msi_endpoint={metadata}/token");
    let azure = [
        "lake.root=az://nobodys/lake",
        "lake.options.account_name=nobody",
        &msi,
    ];
    let azure = azure.map(|setting| ["--set", setting]).concat();
    let azure = [&["--json"], &azure[..]].concat();
    for (arguments, words) in [
        (
            &s3[..],
            &["access_key_id", "profiles and SSO", "export-credentials"][..],
        ),
        (&azure, &["account_key", "managed identity", "sas_token"]),
    ] {
        let began = Instant::now();
        let ran = pipeline.command("run", arguments).exits_with(1);
        assert!(
            began.elapsed() < Duration::from_secs(12),
            "{:?}",
            began.elapsed()
        );
        ran.says(words);
        assert_eq!(ran.json()["error_kind"], "mend");
    }
}

#[test]
fn a_second_signal_ends_the_program_at_once() {
    let lake = Lake::in_moto();
    let mute = lake.by_way_of(|_| Rule::Silence);
    let [(_, blobs), ..] = days();
    let pipeline = Pipeline::from_files(&blobs, &mute);
    let running = pipeline.start("run", &[]);
    thread::sleep(Duration::from_secs(1));
    running.signal("TERM");
    thread::sleep(Duration::from_millis(200));
    running.signal("TERM");
    let told = Instant::now();
    running.wait().exits_with(5);
    assert!(
        told.elapsed() < Duration::from_secs(1),
        "{:?}",
        told.elapsed()
    );
}
