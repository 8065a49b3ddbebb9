//! The network and the service fail; after each run the table holds exactly the truth, or the lake is as it was and the
//! program says why.
//!
//! Faults are scripts of the simulator (`simulator::FaultScript`), blobs told by their place in the order of blob paths.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use simulator::{FaultScript, Oddities, ServerOptions, SignatureKind, SnapshotOptions};

use crate::harness::api::Api;
use crate::harness::blobs::Blobs;
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::program::Ran;
use crate::harness::readers::Reader::DuckDb;
use crate::harness::truth::Truth;

/// What gets over itself, each at a blob of its own: all in one run, so that faults also meet each other.
const PASSING_FAULTS: &[&str] = &[
    "when = { first = 3 }\nwhat = { cut = { after = 100 } }",
    "when = { first = 2 }\nwhat = { cut = { after = 0 } }",
    "when = { nth = 1 }\nwhat = { stall = { after = 150, millis = 2000 } }",
    "when = { nth = 1 }\nwhat = { trickle = { piece = 100, millis = 5 } }",
    "when = { nth = 1 }\nwhat = { truncate = { to = 200 } }",
    "when = { nth = 1 }\nwhat = { truncate = { to = 200, md5 = \"fixed\" } }",
    "when = { nth = 1 }\nwhat = { truncate = { to = 200, md5 = \"absent\" } }",
    "when = { nth = 1 }\nwhat = { corrupt = { at = 90 } }",
    "when = { nth = 1 }\nwhat = { corrupt = { at = 90, md5 = \"fixed\" } }",
    "when = { nth = 1 }\nwhat = { corrupt = { at = 90, md5 = \"absent\" } }",
    "when = { nth = 1 }\nwhat = { content_length = { by = 10 } }",
    "when = { nth = 1 }\nwhat = { content_length = { by = -10 } }",
    "when = { first = 2 }\nwhat = { expired = { frame = \"key\" } }",
    "when = { first = 3 }\nwhat = \"not_found\"",
    "when = { first = 2 }\nwhat = \"pending_copy\"",
    "when = { first = 3 }\nwhat = { empty = { copy_status = \"pending\" } }",
    "when = { first = 2 }\nwhat = { empty = {} }",
    "when = { nth = 1 }\nwhat = { answer = { status = 408 } }",
    "when = { nth = 1 }\nwhat = { answer = { status = 429, retry_after = 1 } }",
    "when = { first = 2 }\nwhat = { answer = { status = 500, body = \"<html>oops</html>\" } }",
    "when = { first = 2 }\nwhat = { answer = { status = 503 } }",
    "when = { nth = 1 }\nwhat = { cut = { after = 100 } }\n[[fault]]\nat = AT\nwhen = { after = 1 }\nwhat = { changed = {} }",
];

/// The same for the requests of sizes.
const PASSING_FAULTS_OF_HEADS: &str = r#"
[[fault]]
at = { heads = "*_RbacGroupId=0/*" }
when = { first = 2 }
what = { empty = { copy_status = "pending" } }
[[fault]]
at = { heads = "*_RbacGroupId=1001/*" }
when = { first = 2 }
what = "not_found"
[[fault]]
at = { heads = "*_RbacGroupId=1002/*" }
when = { first = 2 }
what = { answer = { status = 503 } }
[[fault]]
at = { heads = "*_RbacGroupId=1003/*" }
when = { first = 1 }
what = { expired = { frame = "key" } }
"#;

fn passing_faults() -> String {
    let faults = PASSING_FAULTS.iter().enumerate().map(|(place, fault)| {
        let at = format!("{{ blob = {place} }}");
        format!("[[fault]]\nat = {at}\n{}\n", fault.replace("AT", &at))
    });
    faults.chain([PASSING_FAULTS_OF_HEADS.to_owned()]).collect()
}

/// Enough blobs for a fault each, and odd ones among them.
fn many_blobs() -> Blobs {
    let blobs = Blobs::simulated(&SnapshotOptions {
        devices: 500,
        blobs: 36,
        oddities: Oddities::all(),
        ..SnapshotOptions::default()
    });
    assert!(blobs.all().len() > PASSING_FAULTS.len());
    blobs
}

fn few_blobs() -> Blobs {
    Blobs::simulated(&SnapshotOptions {
        devices: 60,
        groups: 3,
        blobs: 5,
        ..SnapshotOptions::default()
    })
}

fn tomorrow() -> Blobs {
    let today = SnapshotOptions {
        devices: 60,
        groups: 3,
        blobs: 5,
        ..SnapshotOptions::default()
    };
    Blobs::simulated(&today.next_day())
}

#[track_caller]
fn holds_exactly(lake: &Lake, truth: &Truth) {
    DuckDb.values(&lake.on_this_machine().table()).is(truth);
}

fn gets_over_all_passing_faults(lake: &Lake, switches: &str) {
    let blobs = many_blobs();
    let api = Api::faulty(&blobs, &format!("{switches}\n{}", passing_faults()));
    let pipeline = Pipeline::from_faulty_api(&api, lake);
    let report = pipeline.run();

    let truth = Truth::of(&blobs);
    assert_eq!(report["outcome"], "committed");
    assert_eq!(report["rows_written"], truth.rows.len());
    holds_exactly(lake, &truth);
    assert!(lake.open_uploads().is_empty());
    let faults = api.faults();
    assert_eq!(faults.len(), 12, "{faults:?}");
    assert!(faults.values().sum::<u64>() > 50, "{faults:?}");
    pipeline.command("verify", &[]).exits_with(0);
}

#[test]
fn faults_that_pass_cost_no_row_on_disk() {
    gets_over_all_passing_faults(&Lake::on_disk(), "");
}

#[test]
fn faults_that_pass_cost_no_row_in_s3() {
    gets_over_all_passing_faults(&Lake::in_moto(), "");
}

#[test]
fn faults_that_pass_cost_no_row_without_checksums_and_with_an_etag_in_each_container() {
    gets_over_all_passing_faults(
        &Lake::on_disk(),
        "without_md5 = true\netag_by_container = true",
    );
}

#[test]
fn a_blob_that_grows_under_way_is_taken_anew_in_its_new_length() {
    let (blobs, lake) = (few_blobs(), Lake::on_disk());
    let script = r#"
        [[fault]]
        at = { blobs = "PATH" }
        when = { nth = 1 }
        what = { cut = { after = 100 } }
        [[fault]]
        at = { blobs = "PATH" }
        what = { changed = { resized = true } }
        [[fault]]
        at = { heads = "PATH" }
        when = { after = 1 }
        what = { changed = { resized = true } }
    "#;
    let api = Api::faulty(&blobs, &script.replace("PATH", &blobs.all()[1].path));
    let report = Pipeline::from_faulty_api(&api, &lake).run();
    holds_exactly(&lake, &Truth::of(&blobs));
    assert_eq!(report["parts_restarted"], 1);
}

#[test]
fn faults_of_sign_in_and_listing_that_pass_cost_no_row() {
    let script = r#"
        [[fault]]
        at = "token"
        when = { nth = 1 }
        what = { answer = { status = 503 } }
        [[fault]]
        at = "token"
        when = { nth = 2 }
        what = { answer = { status = 500, body = "<html>oops</html>" } }
        [[fault]]
        at = "listings"
        when = { nth = 1 }
        what = { answer = { status = 503, body = "<html>oops</html>" } }
        [[fault]]
        at = "listings"
        when = { nth = 2 }
        what = { answer = { status = 500 } }
        [[fault]]
        at = "listings"
        when = { nth = 3 }
        what = { cut = { after = 200 } }
        [[fault]]
        at = "listings"
        when = { nth = 4 }
        what = { content_length = { by = 10 } }
        [[fault]]
        at = "listings"
        when = { nth = 5 }
        what = { stall = { after = 200, millis = 2000 } }
    "#;
    let (blobs, lake) = (few_blobs(), Lake::on_disk());
    let api = Api::faulty(&blobs, script);
    Pipeline::from_faulty_api(&api, &lake).run();
    holds_exactly(&lake, &Truth::of(&blobs));
    let counters = api.counters();
    assert_eq!((counters.token_calls, counters.api_calls), (3, 6));
}

#[test]
fn a_throttled_call_waits_for_as_long_as_it_is_told() {
    let script = "[[fault]]\nat = \"listings\"\nwhen = { nth = 1 }\n\
                  what = { answer = { status = 429, retry_after = 2 } }";
    let (blobs, lake) = (few_blobs(), Lake::on_disk());
    let api = Api::faulty(&blobs, script);
    let begun = Instant::now();
    Pipeline::from_faulty_api(&api, &lake).run();
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(api.counters().api_calls, 2);
}

#[test]
fn a_throttled_call_that_would_wait_too_long_exits_1_and_says_how_long() {
    let script =
        "[[fault]]\nat = \"listings\"\nwhat = { answer = { status = 429, retry_after = 1234 } }";
    fails(script, &["123", "wait"]);
}

#[test]
fn the_rate_budget_is_kept_across_runs_and_by_runs_at_once() {
    let (blobs, lake) = (few_blobs(), Lake::on_disk());
    let api = Api::of(&blobs);
    let pipeline = Pipeline::from_faulty_api(&api, &lake);
    pipeline.replace("calls_per_minute = 1000", "calls_per_minute = 2");
    let impatient = ["--set", "source.max_wait=1s"];
    let at_once = [(); 3].map(|()| pipeline.start("plan", &impatient));
    let mut codes = at_once.map(|running| running.wait().code);
    codes.sort_unstable();
    assert_eq!(codes, [0, 0, 1]);
    let ran = pipeline.command("run", &impatient).exits_with(1);
    ran.says(&["rate budget", "s"]);
    assert_eq!(api.counters().api_calls, 2);
    assert!(lake.state().is_empty());
}

#[test]
fn hours_that_the_service_refuses_are_asked_for_once_more_with_6() {
    let (blobs, lake) = (few_blobs(), Lake::on_disk());
    let api = Api::of(&blobs);
    let hours = ["--set", "source.sas_valid_hours=24"];
    Pipeline::from_faulty_api(&api, &lake).run_with(&hours);
    holds_exactly(&lake, &Truth::of(&blobs));
    assert_eq!(api.counters().api_calls, 2);
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
fn a_run_outlives_its_urls_where_nothing_tells_that_a_blob_is_the_same() {
    let faults = FaultScript::parse("etag_by_container = true\nwithout_md5 = true").unwrap();
    outlives_its_urls(ServerOptions {
        faults,
        ..ServerOptions::default()
    });
}

#[test]
fn a_run_outlives_its_urls_by_a_clock_that_is_minutes_off_and_tells_of_it() {
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
fn urls_that_are_refused_before_their_time_are_listed_anew_once_for_all() {
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
fn downloads_under_way_go_on_when_a_listing_takes_their_container_away() {
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
fn a_snapshot_that_appears_under_way_is_taken_instead_and_not_mixed_in() {
    let (blobs, newer, lake) = (few_blobs(), tomorrow(), Lake::on_disk());
    let api = Api::faulty(&blobs, &a_new_snapshot_under_way(&newer));
    let report = Pipeline::from_faulty_api(&api, &lake).run();
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
        &["--set", "source.on_new_snapshot=stop"],
        &["snapshot", "replaced"],
    );
}

/// A run under the script exits 1, says these words, and leaves a lake that held the day before as it was.
#[track_caller]
fn fails(script: &str, words: &[&str]) {
    fails_with(&few_blobs(), script, &[], words);
}

#[track_caller]
fn fails_with(blobs: &Blobs, script: &str, arguments: &[&str], words: &[&str]) {
    fails_in(&Lake::on_disk(), blobs, script, arguments, words);
}

#[track_caller]
fn fails_in(lake: &Lake, blobs: &Blobs, script: &str, arguments: &[&str], words: &[&str]) {
    let yesterday = SnapshotOptions {
        devices: 60,
        generated_time: SnapshotOptions::default().generated_time - chrono::TimeDelta::days(1),
        ..SnapshotOptions::default()
    };
    Pipeline::from_files(&Blobs::simulated(&yesterday), lake).run();
    let before = lake.state();

    let api = Api::faulty(blobs, script);
    let pipeline = Pipeline::from_faulty_api(&api, lake);
    let impatient = [
        "--json",
        "--set",
        "source.api_attempts=2",
        "--set",
        "source.blob_attempts=3",
        "--set",
        "work.part_attempts=2",
    ];
    let ran = pipeline.command("run", &[&impatient[..], arguments].concat());
    assert!(ran.code == 1, "{script}\n{ran:?}");
    ran.says(words);
    let report = ran.json();
    assert_eq!(report["outcome"], "failed", "{script}");
    assert!(!api.faults().is_empty(), "{script}");
    let paths = |state: &BTreeMap<String, Vec<u8>>| state.keys().cloned().collect::<Vec<_>>();
    let after = lake.state();
    assert!(
        after == before,
        "{script}\nthe lake changed: {:?}\n{:?}",
        paths(&before),
        paths(&after)
    );
    let open = lake.open_uploads();
    assert!(open.is_empty(), "{script}\n{open:?}");
}

/// A fault of one blob that stays, and the words that tell of it; the blob's path is always one of them.
const LASTING_FAULTS: &[(&str, &[&str])] = &[
    ("{ cut = { after = 0 } }", &["connection"]),
    ("{ stall = { after = 10, millis = 60000 } }", &["in time"]),
    ("{ truncate = { to = 100 } }", &["bytes"]),
    ("{ truncate = { to = 100, md5 = \"fixed\" } }", &["bytes"]),
    ("{ corrupt = { at = 90 } }", &["checksum"]),
    ("{ corrupt = { at = 90, md5 = \"fixed\" } }", &["gzip"]),
    ("{ corrupt = { at = 90, md5 = \"absent\" } }", &["gzip"]),
    ("{ content_length = { by = 10 } }", &["bytes"]),
    ("{ content_length = { by = -10 } }", &["bytes"]),
    ("{ expired = { frame = \"key\" } }", &["expired"]),
    ("{ expired = {} }", &["expired"]),
    ("{ answer = { status = 403 } }", &["refused"]),
    ("{ answer = { status = 503 } }", &["503"]),
    (
        "{ redirect = { to = \"https://elsewhere.example/\" } }",
        &["redirect", "elsewhere.example"],
    ),
    ("\"not_found\"", &["does not exist"]),
    ("\"pending_copy\"", &["409"]),
    ("{ empty = {} }", &["empty"]),
    (
        "{ empty = { copy_status = \"failed\" } }",
        &["empty", "failed"],
    ),
];

fn lasting(what: &str) -> String {
    format!("[[fault]]\nat = {{ blob = 3 }}\nwhat = {what}")
}

#[test]
fn a_fault_of_a_blob_that_stays_exits_1_names_the_blob_and_leaves_the_lake_as_it_was() {
    let blobs = few_blobs();
    let path = blobs.all()[3].path.clone();
    for (what, words) in LASTING_FAULTS {
        let words: Vec<&str> = words.iter().copied().chain([path.as_str()]).collect();
        fails_with(&blobs, &lasting(what), &[], &words);
    }
}

#[test]
fn a_fault_of_a_blob_that_stays_leaves_s3_as_it_was() {
    for what in [
        "{ cut = { after = 0 } }",
        "{ corrupt = { at = 90, md5 = \"fixed\" } }",
    ] {
        fails_in(
            &Lake::in_moto(),
            &few_blobs(),
            &lasting(what),
            &[],
            &["part-"],
        );
    }
}

#[test]
fn a_blob_that_changes_all_the_time_is_an_error() {
    let blobs = few_blobs();
    let script = r#"
        [[fault]]
        at = { blob = 3 }
        when = { every = 2 }
        what = { changed = { resized = true } }
        [[fault]]
        at = { blob = 3 }
        what = { cut = { after = 100 } }
    "#;
    // Every other request answers with the changed blob whole, which is another length than was listed.
    fails_with(&blobs, script, &[], &[&blobs.all()[3].path]);
}

#[test]
fn a_size_that_cannot_be_learnt_exits_1() {
    let empty = "[[fault]]\nat = { heads = \"*\" }\nwhat = { empty = {} }";
    fails(empty, &["empty", "part-"]);
    fails(
        &empty.replace("{ empty = {} }", "\"not_found\""),
        &["does not exist", "part-"],
    );
    fails(
        &empty.replace("{ empty = {} }", "{ answer = { status = 403 } }"),
        &["refused", "part-"],
    );
}

#[test]
fn a_fault_of_the_listing_that_stays_exits_1_and_leaves_the_lake_as_it_was() {
    for (what, words) in [
        (
            "{ answer = { status = 500, body = \"<html>oops</html>\" } }",
            &["500"][..],
        ),
        ("{ answer = { status = 503 } }", &["503"]),
        ("{ answer = { status = 400 } }", &["400", "sas_valid_hours"]),
        ("{ answer = { status = 401 } }", &["401", "audience"]),
        (
            "{ answer = { status = 403 } }",
            &["403", "Vulnerability.Read.All"],
        ),
        ("{ answer = { status = 404 } }", &["404"]),
        (
            "{ answer = { status = 200, body = \"{\\\"exportFiles\\\":[\" } }",
            &["malformed"],
        ),
        (
            "{ answer = { status = 200, body = \"<html>sign in</html>\" } }",
            &["malformed"],
        ),
        (
            "{ redirect = { to = \"https://elsewhere.example/\" } }",
            &["redirect", "elsewhere.example"],
        ),
        ("{ cut = { after = 100 } }", &["connection"]),
        ("{ stall = { after = 100, millis = 60000 } }", &["in time"]),
        ("\"blob_twice\"", &["twice"]),
    ] {
        fails(
            &format!("[[fault]]\nat = \"listings\"\nwhat = {what}"),
            words,
        );
    }
}

#[test]
fn a_fault_of_the_sign_in_that_stays_exits_1() {
    for (what, words) in [
        (
            "{ answer = { status = 500, body = \"<html>oops</html>\" } }",
            &["500"][..],
        ),
        (
            "{ answer = { status = 200, body = \"<html>sign in</html>\" } }",
            &["not a token"],
        ),
        (
            "{ redirect = { to = \"https://elsewhere.example/\" } }",
            &["redirect", "elsewhere.example"],
        ),
    ] {
        fails(&format!("[[fault]]\nat = \"token\"\nwhat = {what}"), words);
    }
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
        &["--set", "source.on_new_snapshot=stop"],
        &["snapshot"],
    );
}

#[test]
fn a_run_after_one_that_failed_commits_all() {
    let (blobs, lake) = (few_blobs(), Lake::on_disk());
    let script =
        "[[fault]]\nat = { blob = 3 }\nwhen = { first = 3 }\nwhat = { cut = { after = 0 } }";
    let api = Api::faulty(&blobs, script);
    let pipeline = Pipeline::from_faulty_api(&api, &lake);
    let impatient = ["--set", "source.blob_attempts=3"];
    pipeline.command("run", &impatient).exits_with(1);
    assert!(lake.on_this_machine().table_files().is_empty());
    pipeline.run_with(&impatient);
    holds_exactly(&lake, &Truth::of(&blobs));
}
