//! What is wrong with a pipeline file is reported before anything is done, with its place and a way out; all of it exits 2.

use simulator::SnapshotOptions;

use crate::harness::api::Api;
use crate::harness::blobs::Blobs;
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;

fn small() -> Blobs {
    Blobs::simulated(&SnapshotOptions {
        devices: 50,
        groups: 3,
        blobs: 4,
        ..SnapshotOptions::default()
    })
}

/// Asserts that a pipeline changed so is refused with these words, and that the lake stays empty.
fn is_refused(from: &str, to: &str, words: &[&str]) {
    let (blobs, lake) = (small(), Lake::on_disk());
    let pipeline = Pipeline::from_files(&blobs, &lake);
    pipeline.replace(from, to);
    pipeline.command("run", &[]).exits_with(2).says(words);
    assert!(lake.files().is_empty());
}

#[test]
fn an_unknown_key_is_refused_and_the_nearest_known_one_named() {
    is_refused(
        "format =",
        "fromat =",
        &["lake.fromat", "lake.format", "pipeline.toml:"],
    );
    is_refused("[gate]", "[gaet]", &["gaet", "gate"]);
}

#[test]
fn a_key_that_was_a_setting_once_is_refused_with_its_line() {
    is_refused(
        "[gate]",
        "[work]\nbatch_rows = 64\n[gate]",
        &[
            "pipeline.toml:14:1: `work.batch_rows` is no longer a setting",
            "the program chooses it",
        ],
    );
}

#[test]
fn a_value_of_the_wrong_type_is_refused() {
    is_refused(
        "max_quarantined = \"100%\"",
        "max_quarantined = \"many\"",
        &["gate.max_quarantined", "whole number"],
    );
    is_refused("\"delta\"", "\"orc\"", &["lake.format", "parquet"]);
}

#[test]
fn an_unknown_dataset_is_refused_and_the_known_ones_named() {
    is_refused(
        "\"info_gathering\"",
        "\"info_gatherings\"",
        &["info_gatherings", "info_gathering"],
    );
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_its_place() {
    is_refused("[lake]\n", "[lake\n", &["pipeline.toml:", "TOML"]);
}

#[test]
fn http_is_refused_but_for_loopback() {
    let files = small();
    let source = format!("files = \"{}\"", files.pattern());
    let (blobs, lake) = (files, Lake::on_disk());
    let pipeline = Pipeline::from_files(&blobs, &lake);
    pipeline.replace(
        &source,
        "api = \"http://api.example.net\"\nauth.kind = \"token\"\nauth.token = \"x\"",
    );
    pipeline.command("run", &[]).exits_with(2).says(&[
        "source.api",
        "http",
        "api.example.net",
        "loopback",
    ]);
}

#[test]
fn a_variable_that_is_not_set_is_named() {
    let (blobs, lake) = (small(), Lake::on_disk());
    let api = Api::of(&blobs);
    let mut pipeline = Pipeline::from_api(&api, &lake);
    pipeline.unset_variable("AZURE_CLIENT_SECRET");
    pipeline.command("run", &[]).exits_with(2).says(&[
        "AZURE_CLIENT_SECRET",
        "source.auth.client_secret",
        "not set",
    ]);
    pipeline.set_variable("AZURE_CLIENT_SECRET", "");
    pipeline
        .command("run", &[])
        .exits_with(2)
        .says(&["AZURE_CLIENT_SECRET", "empty"]);
    assert_eq!(api.counters().token_calls, 0);
}

#[test]
fn what_a_file_left_at_the_ends_of_variables_is_read_without_and_told() {
    let blobs = small();
    for end in ["\n", "\r\n", "\u{a0}", "\u{feff} "] {
        for lake in [Lake::in_moto(), Lake::in_azurite()] {
            let api = Api::of(&blobs);
            let mut pipeline = Pipeline::from_api(&api, &lake);
            let mut flawed = Vec::new();
            for (name, value) in Api::credentials() {
                pipeline.set_variable(&name, &format!("{value}{end}"));
                flawed.push(name);
            }
            let prefix = match lake.root().starts_with("s3://") {
                true => "AWS",
                false => "AZURE_STORAGE",
            };
            // The first option by the pipeline file, the others as the store finds them.
            for (number, (name, value)) in lake.options().iter().enumerate() {
                let option = format!("LAKE_{}", name.to_uppercase());
                let mut variable = option.clone();
                if number > 0 && name != "allow_http" {
                    variable = format!("{prefix}_{}", name.to_uppercase());
                    pipeline.replace(&format!("{name} = \"${{{option}}}\"\n"), "");
                    pipeline.unset_variable(&option);
                }
                pipeline.set_variable(&variable, &format!("{end}{value}"));
                flawed.push(variable);
            }
            let ran = pipeline.command("run", &[]).exits_with(0);
            for name in flawed {
                ran.says(&[
                    &format!("environment variable {name} "),
                    "it is read without",
                ]);
            }
            for secret in pipeline.secrets() {
                assert!(!ran.stderr.contains(secret.trim()), "{}", ran.stderr);
            }
            assert_eq!(api.counters().token_calls, 1);
        }
    }
}

#[test]
fn variables_with_invisible_characters_are_named_before_a_call() {
    let blobs = small();
    let api = Api::of(&blobs);
    let lake = Lake::on_disk();
    let s3 = [
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret-of-this-test"),
        ("AWS_SESSION_TOKEN", "token-of-this-test"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
    ];
    let azure = [
        ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "QUJD"),
        ("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:9/account"),
        ("AZURE_STORAGE_TOKEN", "token-of-this-test"),
    ];
    for (root, variables) in [
        ("s3://bucket/lake", &s3[..]),
        ("az://container/lake", &azure),
    ] {
        for (name, value) in variables {
            for end in ["\u{200b}", "\"", "\"\n"] {
                let mut pipeline = Pipeline::from_api(&api, &lake);
                pipeline.replace(&lake.root(), root);
                for (name, value) in variables {
                    pipeline.set_variable(name, value);
                }
                pipeline.set_variable(name, &format!("{value}{end}"));
                let ran = pipeline.command("run", &[]).exits_with(2);
                ran.says(&[name]);
                assert!(!ran.stderr.contains("-of-this-test"), "{}", ran.stderr);
            }
        }
    }
    for name in ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"] {
        let mut pipeline = Pipeline::from_api(&api, &lake);
        pipeline.set_variable(name, "value-of-\n-this-test");
        let ran = pipeline.command("run", &[]).exits_with(2);
        ran.says(&[name, "holds a line feed"]);
        assert!(!ran.stderr.contains("value-of-this-test"), "{}", ran.stderr);
    }
    assert_eq!(api.counters().token_calls, 0);
}

#[test]
fn the_rate_budget_is_kept_in_a_folder_of_the_user_alone() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let (blobs, lake) = (small(), Lake::on_disk());
    let api = Api::of(&blobs);
    let mut pipeline = Pipeline::from_api(&api, &lake);
    pipeline.replace("state_dir = \"state\"\n", "");
    // No home: no folder that others could prepare, and nothing in the system's folder for temporary files.
    let temporary = tempfile::tempdir().unwrap();
    pipeline.set_variable("HOME", "");
    pipeline.set_variable("TMPDIR", temporary.path().to_str().unwrap());
    pipeline
        .command("run", &[])
        .exits_with(2)
        .says(&["source.state_dir", "HOME"]);
    pipeline
        .command("plan", &[])
        .exits_with(2)
        .says(&["source.state_dir", "HOME"]);
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    let files = format!("source.files={}", blobs.pattern());
    pipeline.command("run", &["--set", &files]).exits_with(0);
    pipeline.command("snapshots", &[]).exits_with(0);

    let state = pipeline.folder().join("state");
    std::fs::create_dir(&state).unwrap();
    let set = ["--set", "source.state_dir=state"];
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).unwrap();
    pipeline
        .command("run", &set)
        .exits_with(2)
        .says(&["source.state_dir", "written"]);
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o700)).unwrap();
    let victim = pipeline.folder().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    symlink(&victim, state.join("rate-budget.json")).unwrap();
    pipeline
        .command("run", &set)
        .exits_with(2)
        .says(&["source.state_dir", "symbolic link"]);
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    assert_eq!(api.counters().token_calls, 0);

    std::fs::remove_file(state.join("rate-budget.json")).unwrap();
    pipeline.command("run", &set).exits_with(0);
    assert!(state.join("rate-budget.json").exists());
}

#[test]
fn every_key_can_be_set_on_the_command_line() {
    let (blobs, lake, elsewhere) = (small(), Lake::on_disk(), Lake::on_disk());
    let pipeline = Pipeline::from_files(&blobs, &lake);
    pipeline.run_with(&[
        "--set",
        &format!("lake.root={}", elsewhere.root()),
        "--set",
        "work.target_file_size=64MiB",
    ]);
    assert!(lake.files().is_empty() && !elsewhere.files().is_empty());
    pipeline
        .command("run", &["--set", "lake.rot=x"])
        .exits_with(2)
        .says(&["lake.rot", "lake.root"]);
    pipeline
        .command("run", &["--set", "lake.root"])
        .exits_with(2)
        .says(&["key.path=value"]);
}

#[test]
fn a_ready_made_token_signs_in_without_the_authority() {
    let (blobs, lake) = (small(), Lake::on_disk());
    let api = Api::of(&blobs);
    let pipeline = Pipeline::from_api_with_token(&api, &api.token(), &lake);
    assert_eq!(pipeline.run()["outcome"], "committed");
    assert_eq!(api.counters().token_calls, 0);
}

#[test]
fn blobs_with_bare_paths_take_time_and_organisation_as_set() {
    let (blobs, lake) = (Blobs::none(), Lake::on_disk());
    let line = b"{\"DeviceId\":\"a\",\"RbacGroupId\":5}\n";
    blobs.add(
        "exports/devices.json.gz",
        &crate::harness::blobs::gzip(line),
    );
    let pipeline = Pipeline::from_files(&blobs, &lake);
    pipeline
        .command("run", &[])
        .exits_with(2)
        .says(&["generated_time"]);
    let report = pipeline.run_with(&[
        "--set",
        "source.generated_time=2022-07-26T10:01:00Z",
        "--set",
        "source.org_id=47d41a0c-188d-46d3-bbea-a93dbc0bfcaa",
    ]);
    assert_eq!(report["snapshot"], "20220726T100100Z-47d41a0c");
    assert!(
        lake.files()
            .keys()
            .any(|path| path
                .starts_with("info_gathering/generated_date=2022-07-26/rbac_group_id=5/"))
    );
}
