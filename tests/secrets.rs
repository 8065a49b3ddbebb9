//! Nothing that a run leaves, good or bad, holds a secret that it was given or a signature that it got.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use simulator::{Oddities, SnapshotOptions};

use crate::harness::api::Api;
use crate::harness::blobs::{Blobs, files_below, gzip, path};
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::program::Ran;

/// What a signed URL's query holds and nothing else does.
const SIGNATURE: &str = "sig=";
/// How the simulator's tokens begin, as those of the service: `{"typ":"JWT"` or `{"alg":` in base64.
const TOKENS: [&str; 2] = ["eyJ0eXAiOi", "eyJhbGciOi"];

fn assert_free_of_secrets(ran: &Ran, pipeline: &Pipeline, secrets: &[&str]) {
    let mut left = vec![
        ("stdout".to_owned(), ran.stdout.clone()),
        ("stderr".to_owned(), ran.stderr.clone()),
    ];
    left.extend(texts_below(pipeline.folder()));
    left.extend(
        pipeline
            .lake()
            .files()
            .into_iter()
            .map(|(path, bytes)| (path, String::from_utf8_lossy(&bytes).into_owned())),
    );
    for (name, text) in left {
        for secret in secrets.iter().chain([&SIGNATURE]).chain(&TOKENS) {
            assert!(
                !secret.is_empty() && !text.contains(secret),
                "`{secret}` is in {name}: {text}"
            );
        }
    }
}

fn texts_below(folder: &Path) -> Vec<(String, String)> {
    let read = |path: String| {
        let bytes = fs::read(folder.join(&path)).unwrap();
        (path, String::from_utf8_lossy(&bytes).into_owned())
    };
    files_below(folder).into_iter().map(read).collect()
}

#[test]
fn a_run_that_commits_leaves_no_secret_even_at_trace() {
    let odd = SnapshotOptions {
        devices: 200,
        oddities: Oddities::all(),
        ..SnapshotOptions::default()
    };
    let (blobs, lake) = (Blobs::simulated(&odd), Lake::in_moto());
    let api = Api::of(&blobs);
    let pipeline = Pipeline::from_api(&api, &lake);
    let secrets = pipeline.secrets();
    assert!(secrets.len() >= 2, "client secret and store key");
    for command in ["plan", "run", "verify"] {
        let ran = pipeline
            .command(command, &["--log", "json", "-vv"])
            .exits_with(0);
        assert_free_of_secrets(&ran, &pipeline, &secrets);
    }
}

#[test]
fn a_run_that_fails_on_a_blob_leaves_no_signature() {
    let (blobs, lake) = (Blobs::none(), Lake::on_disk());
    blobs.add(&path(Some(7), 1), &gzip(b"{\"DeviceId\":\"a\"}\n")[..12]);
    let api = Api::of(&blobs);
    let token = api.token();
    let pipeline = Pipeline::from_api_with_token(&api, &token, &lake);
    let ran = pipeline.command("run", &["--json", "-vv"]).exits_with(1);
    assert!(ran.json()["error"].as_str().unwrap().contains("part-00001"));
    assert_free_of_secrets(&ran, &pipeline, &[&token]);
}

#[test]
fn a_sign_in_that_fails_leaves_no_secret() {
    let (blobs, lake) = (
        Blobs::simulated(&SnapshotOptions {
            devices: 20,
            ..SnapshotOptions::default()
        }),
        Lake::on_disk(),
    );
    let api = Api::of(&blobs);
    let mut pipeline = Pipeline::from_api(&api, &lake);
    pipeline.set_variable("AZURE_CLIENT_SECRET", "wrong-secret-of-this-test");
    let ran = pipeline.command("run", &["--json", "-vv"]).exits_with(1);
    assert_free_of_secrets(&ran, &pipeline, &["wrong-secret-of-this-test"]);
}

/// A text that a service may give back with what it was sent.
const ECHO: &str = "you sent Bearer eyJ0eXAiOiJKV1Qi.echo.echo for https://a.blob.core.windows.net/b?sp=r&sig=echoed";

/// Where something goes wrong, and what does.
const WAYS_TO_FAIL: &[(&str, &str)] = &[
    ("\"token\"", "{ answer = { status = 500 } }"),
    (
        "\"token\"",
        "{ answer = { status = 400, body = \"ECHO\" } }",
    ),
    (
        "\"token\"",
        "{ answer = { status = 200, body = \"ECHO\" } }",
    ),
    (
        "\"token\"",
        "{ redirect = { to = \"https://elsewhere.example/?sig=echoed\" } }",
    ),
    (
        "\"listings\"",
        "{ answer = { status = 400, body = \"ECHO\" } }",
    ),
    (
        "\"listings\"",
        "{ answer = { status = 401, body = \"ECHO\" } }",
    ),
    (
        "\"listings\"",
        "{ answer = { status = 403, body = \"{\\\"error\\\":{\\\"code\\\":\\\"x\\\",\\\"message\\\":\\\"ECHO\\\"}}\" } }",
    ),
    (
        "\"listings\"",
        "{ answer = { status = 503, body = \"<html>ECHO</html>\" } }",
    ),
    (
        "\"listings\"",
        "{ answer = { status = 200, body = \"ECHO\" } }",
    ),
    (
        "\"listings\"",
        "{ answer = { status = 200, body = \"{\\\"exportFiles\\\":[\\\"ECHO\\\"]}\" } }",
    ),
    (
        "\"listings\"",
        "{ answer = { status = 200, body = \"{\\\"exportFiles\\\":\\\"ECHO\\\"}\" } }",
    ),
    ("\"listings\"", "{ cut = { after = 700 } }"),
    ("\"listings\"", "\"blob_twice\""),
    (
        "\"listings\"",
        "{ extra_url = \"https://elsewhere.example/a?sig=echoed\" }",
    ),
    (
        "\"listings\"",
        "{ extra_url = \"{origin}/c/_RbacGroupId=x/b?sig=echoed\" }",
    ),
    (
        "\"listings\"",
        "{ extra_url = \"https://user:sig=echoed@a.blob.core.windows.net/b\" }",
    ),
    (
        "\"listings\"",
        "{ extra_url = \"{origin}/c/b?a#sig=echoed\" }",
    ),
    ("\"listings\"", "{ extra_url = \"sig=echoed\" }"),
    (
        "\"listings\"",
        "{ redirect = { to = \"https://elsewhere.example/?sig=echoed\" } }",
    ),
    (
        "{ blob = 0 }",
        "{ answer = { status = 403, body = \"<x>ECHO</x>\" } }",
    ),
    (
        "{ blob = 0 }",
        "{ answer = { status = 503, body = \"ECHO\" } }",
    ),
    (
        "{ blob = 0 }",
        "{ answer = { status = 418, body = \"ECHO\" } }",
    ),
    (
        "{ blob = 0 }",
        "{ redirect = { to = \"https://elsewhere.example/?sig=echoed\" } }",
    ),
    ("{ blob = 0 }", "{ cut = { after = 0 } }"),
    ("{ blob = 0 }", "{ stall = { after = 10, millis = 60000 } }"),
    ("{ blob = 0 }", "{ truncate = { to = 50 } }"),
    ("{ blob = 0 }", "{ corrupt = { at = 60, md5 = \"fixed\" } }"),
    ("{ blob = 0 }", "{ expired = {} }"),
    (
        "{ blob = 0 }",
        "{ empty = { copy_status = \"sig=echoed\" } }",
    ),
    ("{ blob = 0 }", "\"not_found\""),
];

#[test]
fn runs_that_fail_in_every_way_leave_no_secret_even_at_trace() {
    let blobs = Blobs::simulated(&SnapshotOptions {
        devices: 30,
        groups: 2,
        blobs: 2,
        ..SnapshotOptions::default()
    });
    for (at, what) in WAYS_TO_FAIL {
        let script = format!("[[fault]]\nat = {at}\nwhat = {what}").replace("ECHO", ECHO);
        let (api, lake) = (Api::faulty(&blobs, &script), Lake::on_disk());
        let pipeline = Pipeline::from_faulty_api(&api, &lake);
        let arguments = [
            "--log-level",
            "trace",
            "--json",
            "--set",
            "source.blob_attempts=2",
        ];
        let ran = pipeline.command("run", &arguments);
        assert_ne!(ran.code, 0, "{script}");
        assert!(!api.faults().is_empty(), "{script}");
        assert_free_of_secrets(
            &ran,
            &pipeline,
            &[&pipeline.secrets()[..], &["echoed"]].concat(),
        );
    }
}

#[test]
fn a_store_that_is_not_there_is_told_without_its_key() {
    let blobs = Blobs::of_lines(Some(7), b"{\"DeviceId\":\"a\"}\n");
    let (api, lake) = (Api::of(&blobs), Lake::in_moto());
    let pipeline = Pipeline::from_faulty_api(&api, &lake);
    let secrets = pipeline.secrets();
    for setting in [
        "lake.root=s3://no-such-bucket/lake",
        "lake.options.endpoint=http://127.0.0.1:1",
    ] {
        let ran = pipeline.command("run", &["--log-level", "trace", "--json", "--set", setting]);
        assert_ne!(ran.code, 0, "{setting}");
        assert_free_of_secrets(&ran, &pipeline, &secrets);
    }
}

#[test]
fn a_run_that_is_stopped_leaves_no_secret() {
    let blobs = Blobs::of_lines(Some(7), b"{\"DeviceId\":\"a\"}\n");
    let script =
        "[[fault]]\nat = { blobs = \"*\" }\nwhat = { stall = { after = 3, millis = 60000 } }";
    let (api, lake) = (Api::faulty(&blobs, script), Lake::on_disk());
    let pipeline = Pipeline::from_api(&api, &lake);
    let running = pipeline.start("run", &["--log-level", "trace", "--json"]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while api.faults().is_empty() {
        assert!(Instant::now() < deadline, "no download began");
        thread::sleep(Duration::from_millis(10));
    }
    running.signal("TERM");
    let ran = running.wait().exits_with(5);
    assert_free_of_secrets(&ran, &pipeline, &pipeline.secrets());
}
