//! Faults of sign-in and listing, throttling and the rate budget.

use std::time::{Duration, Instant};

use super::{fails, few_blobs, holds_exactly};
use crate::harness::api::Api;
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::truth::Truth;

#[test]
fn faults_of_sign_in_and_listing_that_pass_cost_no_row() {
    let answers = r#"
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
    "#;
    let bodies = r#"
        [[fault]]
        at = "listings"
        when = { nth = 1 }
        what = { cut = { after = 200 } }
        [[fault]]
        at = "listings"
        when = { nth = 2 }
        what = { content_length = { by = 10 } }
        [[fault]]
        at = "listings"
        when = { nth = 3 }
        what = { stall = { after = 200, millis = 2000 } }
    "#;
    for (script, calls) in [(answers, (3, 3)), (bodies, (1, 4))] {
        let (blobs, lake) = (few_blobs(), Lake::on_disk());
        let api = Api::faulty(&blobs, script);
        Pipeline::from_faulty_api(&api, &lake).run();
        holds_exactly(&lake, &Truth::of(&blobs));
        let counters = api.counters();
        assert_eq!((counters.token_calls, counters.api_calls), calls);
    }
}

#[test]
fn a_throttled_call_waits_as_long_as_told_and_tells_of_it() {
    let script = "[[fault]]\nat = \"listings\"\nwhen = { nth = 1 }\n\
                  what = { answer = { status = 429, retry_after = 2 } }";
    let (blobs, lake) = (few_blobs(), Lake::on_disk());
    let api = Api::faulty(&blobs, script);
    let begun = Instant::now();
    let ran = Pipeline::from_faulty_api(&api, &lake).command("run", &[]);
    ran.exits_with(0)
        .says(&["waiting for the API's rate budget"]);
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(api.counters().api_calls, 2);
}

#[test]
fn a_throttled_call_that_waits_too_long_says_how_long() {
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
    assert_eq!(codes, [0, 0, 5]);
    let ran = pipeline.command("run", &impatient).exits_with(5);
    ran.says(&["rate budget", "s"]);
    assert_eq!(api.counters().api_calls, 2);
    assert!(lake.state().is_empty());
}

#[test]
fn hours_that_the_service_refuses_are_asked_again_with_6() {
    let (blobs, lake) = (few_blobs(), Lake::on_disk());
    let api = Api::of(&blobs);
    let hours = ["--set", "source.sas_valid_hours=24"];
    Pipeline::from_faulty_api(&api, &lake).run_with(&hours);
    holds_exactly(&lake, &Truth::of(&blobs));
    assert_eq!(api.counters().api_calls, 2);
}

#[test]
fn a_fault_of_the_listing_that_stays_exits_1() {
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
