//! Nothing that a run leaves, good or bad, holds a secret that it was given or a signature that it got.

use std::fs;
use std::path::Path;

use simulator::{Oddities, SnapshotOptions};

use crate::harness::api::Api;
use crate::harness::blobs::{Blobs, files_below, gzip, path};
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::program::Ran;

/// What a signed URL's query holds and nothing else does.
const SIGNATURE: &str = "sig=";

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
        for secret in secrets.iter().chain([&SIGNATURE]) {
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
