//! Faults of blobs: those that pass and those that stay, crossed with the stores that a lake may lie in.

use simulator::{Oddities, SnapshotOptions};

use super::{Yesterday, fails_with, few_blobs, holds_exactly};
use crate::harness::api::Api;
use crate::harness::blobs::Blobs;
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
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
    "when = { nth = 1 }\nwhat = { corrupt = { at = 1000000000 } }",
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

fn passing_faults() -> String {
    let faults = PASSING_FAULTS.iter().enumerate().map(|(place, fault)| {
        let at = format!("{{ blob = {place} }}");
        format!("[[fault]]\nat = {at}\n{}\n", fault.replace("AT", &at))
    });
    faults.collect()
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
    assert!(faults.values().sum::<u64>() > 35, "{faults:?}");
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
fn faults_that_pass_cost_no_row_in_s3_without_conditional_puts() {
    gets_over_all_passing_faults(&Lake::in_garage(), "");
}

#[test]
fn faults_that_pass_cost_no_row_in_azure() {
    gets_over_all_passing_faults(&Lake::in_azurite(), "");
}

#[test]
fn faults_cost_no_row_without_checksums_or_stable_etags() {
    gets_over_all_passing_faults(
        &Lake::on_disk(),
        "without_md5 = true\netag_by_container = true",
    );
}

#[test]
fn a_blob_that_grows_under_way_is_fetched_again_in_its_new_length() {
    let (blobs, lake) = (few_blobs(), Lake::on_disk());
    let script = r#"
        [[fault]]
        at = { blobs = "PATH" }
        when = { nth = 1 }
        what = { cut = { after = 100 } }
        [[fault]]
        at = { blobs = "PATH" }
        what = { changed = { resized = true } }
    "#;
    let api = Api::faulty(&blobs, &script.replace("PATH", &blobs.all()[1].path));
    let report = Pipeline::from_faulty_api(&api, &lake).run();
    holds_exactly(&lake, &Truth::of(&blobs));
    assert_eq!(report["parts_restarted"], 0, "nothing was decoded of it");
}

#[test]
fn a_blob_that_arrives_broken_is_fetched_again_with_its_part() {
    let (blobs, lake) = (few_blobs(), Lake::on_disk());
    let script =
        "[[fault]]\nat = { blob = 1 }\nwhen = { nth = 1 }\nwhat = { truncate = { to = 300 } }";
    let api = Api::faulty(&blobs, script);
    let report = Pipeline::from_faulty_api(&api, &lake).run();
    holds_exactly(&lake, &Truth::of(&blobs));
    assert_eq!(report["parts_restarted"], 1);
}

/// A fault of one blob that stays, and the words that tell of it; the blob's path is always one of them.
const LASTING_FAULTS: &[(&str, &[&str])] = &[
    ("{ cut = { after = 0 } }", &["connection"]),
    ("{ stall = { after = 10, millis = 60000 } }", &["in time"]),
    ("{ truncate = { to = 100 } }", &["gzip"]),
    ("{ truncate = { to = 100, md5 = \"fixed\" } }", &["gzip"]),
    ("{ corrupt = { at = 90 } }", &["gzip"]),
    ("{ corrupt = { at = 1000000000 } }", &["gzip"]),
    ("{ corrupt = { at = 90, md5 = \"fixed\" } }", &["gzip"]),
    ("{ corrupt = { at = 90, md5 = \"absent\" } }", &["gzip"]),
    ("{ content_length = { by = 10 } }", &["bytes"]),
    ("{ content_length = { by = -10 } }", &["gzip"]),
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

/// All of them, one after the other, into one lake.
#[track_caller]
fn lasting_faults_exit_1_name_the_blob_and_leave_as_it_was(lake: &Lake) {
    let (blobs, yesterday) = (few_blobs(), Yesterday::in_lake(lake));
    let path = blobs.all()[3].path.clone();
    for (what, words) in LASTING_FAULTS {
        let words: Vec<&str> = words.iter().copied().chain([path.as_str()]).collect();
        yesterday.run_fails(&blobs, &lasting(what), &[], &words);
    }
    yesterday.is_all_there_is();
}

#[test]
fn faults_that_stay_exit_1_and_leave_the_disk_as_it_was() {
    lasting_faults_exit_1_name_the_blob_and_leave_as_it_was(&Lake::on_disk());
}

#[test]
fn faults_that_stay_exit_1_and_leave_s3_as_it_was() {
    lasting_faults_exit_1_name_the_blob_and_leave_as_it_was(&Lake::in_moto());
}

#[test]
fn faults_that_stay_exit_1_and_leave_azure_as_it_was() {
    lasting_faults_exit_1_name_the_blob_and_leave_as_it_was(&Lake::in_azurite());
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
    // Every other request is for the rest of a blob that is another by then.
    fails_with(&blobs, script, &[], &[&blobs.all()[3].path]);
}

#[test]
fn a_plan_whose_sizes_are_refused_fails_and_asks_the_api_once() {
    let (blobs, lake) = (few_blobs(), Lake::on_disk());
    for (what, words, code) in [
        ("{ empty = {} }", "empty", 5),
        ("\"not_found\"", "does not exist", 5),
        ("{ answer = { status = 403 } }", "refused", 1),
        (
            "{ answer = { status = 403, body = \"<html>blocked</html>\" } }",
            "refused",
            1,
        ),
    ] {
        let api = Api::faulty(
            &blobs,
            &format!("[[fault]]\nat = {{ blobs = \"*\" }}\nwhat = {what}"),
        );
        let ran = Pipeline::from_faulty_api(&api, &lake).command("plan", &[]);
        ran.exits_with(code).says(&[words, "part-"]);
        let may_be_elsewhere = what.contains("not_found");
        assert!(api.counters().api_calls == 1 || may_be_elsewhere, "{what}");
    }
}

#[test]
fn a_run_after_one_that_failed_commits_all() {
    let (blobs, lake) = (few_blobs(), Lake::on_disk());
    let script =
        "[[fault]]\nat = { blob = 3 }\nwhen = { first = 3 }\nwhat = { cut = { after = 0 } }";
    let api = Api::faulty(&blobs, script);
    let pipeline = Pipeline::from_faulty_api(&api, &lake);
    let impatient = ["--set", "source.blob_attempts=3"];
    pipeline.command("run", &impatient).exits_with(5);
    assert!(lake.on_this_machine().table_files().is_empty());
    pipeline.run_with(&impatient);
    holds_exactly(&lake, &Truth::of(&blobs));
}
