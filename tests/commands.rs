//! The commands beside `run`: plan, verify, schema, simulate, demo, help, completions.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use simulator::{Oddities, SnapshotOptions};

use crate::harness::api::Api;
use crate::harness::blobs::{Blobs, files_below};
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::program::{Ran, defender_lake};
use crate::harness::readers::Reader::DuckDb;
use crate::harness::truth::Truth;
use crate::harness::{tool, workspace};

fn of(devices: u32) -> SnapshotOptions {
    SnapshotOptions {
        devices,
        groups: 2,
        blobs: 2,
        ..SnapshotOptions::default()
    }
}

fn on_nothing(arguments: &[&str]) -> Ran {
    defender_lake(tempfile::tempdir().unwrap().path(), &[], arguments)
}

#[test]
fn plan_says_what_would_be_written_and_writes_nothing() {
    let (blobs, lake) = (
        Blobs::simulated(&SnapshotOptions::default()),
        Lake::on_disk(),
    );
    let api = Api::of(&blobs);
    let ran = Pipeline::from_api(&api, &lake)
        .command("plan", &["--json"])
        .exits_with(0);
    assert!(lake.files().is_empty());
    assert!(!ran.stdout.contains("sig="), "{}", ran.stdout);

    let planned = ran.json();
    let parts = planned["parts"].as_array().unwrap();
    let planned_blobs = parts
        .iter()
        .flat_map(|part| part["segments"].as_array().unwrap())
        .flat_map(|s| s.as_array().unwrap());
    let planned_blobs: BTreeMap<&str, u64> = planned_blobs
        .map(|blob| {
            (
                blob["path"].as_str().unwrap(),
                blob["bytes"].as_u64().unwrap(),
            )
        })
        .collect();
    let listed = blobs.all();
    let listed: BTreeMap<&str, u64> = listed
        .iter()
        .map(|blob| (blob.path.as_str(), blob.bytes.len() as u64))
        .collect();
    assert_eq!(planned_blobs, listed);
    assert_eq!(Pipeline::from_api(&api, &lake).run()["parts"], parts.len());
}

#[test]
fn a_lake_that_is_not_there_is_an_error_for_whoever_reads_it() {
    let (lake, blobs) = (Lake::on_disk(), Blobs::simulated(&of(20)));
    let pipeline = Pipeline::from_files(&blobs, &lake);
    pipeline.run();
    let mistyped = pipeline.folder().join("lak");
    let root = format!("lake.root={}", mistyped.to_str().unwrap());
    let snapshot = "20260503T100100Z-47d41a0c";
    for arguments in [
        &["snapshots", "pipeline.toml"][..],
        &["verify", "pipeline.toml"],
        &["vacuum", "pipeline.toml", "--apply"],
        &["rollback", "pipeline.toml", "--to", snapshot],
        &["snippet", "duckdb", "pipeline.toml"],
        &["quarantine", "list", "pipeline.toml"],
        &["quarantine", "show", "pipeline.toml"],
        &["quarantine", "replay", "pipeline.toml"],
    ] {
        let (command, rest) = arguments.split_first().unwrap();
        let rest = [rest, &["--set", &root]].concat();
        let ran = pipeline.plain(command, &rest).exits_with(1);
        ran.says(&["nothing of `info_gathering`", "/lak", "lake.root"]);
        assert_eq!(ran.stdout, "");
        assert!(!mistyped.exists(), "{arguments:?}");
    }
}

#[test]
fn verify_reads_the_latest_snapshot_or_all() {
    let lake = Lake::on_disk();
    let days = [of(20), of(20).next_day()];
    for day in &days {
        Pipeline::from_files(&Blobs::simulated(day), &lake).run();
    }
    let blobs = Blobs::none();
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let read = |arguments: &[&str]| {
        let arguments = [arguments, &["--json"]].concat();
        let told = pipeline.command("verify", &arguments).exits_with(0).json();
        let snapshots = told["snapshots"].as_array().unwrap().clone();
        let ids = snapshots
            .iter()
            .map(|read| read["snapshot"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    let [first, second] = ["20260503T100100Z-47d41a0c", "20260504T100100Z-47d41a0c"];
    assert_eq!(read(&[]), [second]);
    assert_eq!(read(&["--all"]), [first, second]);
    assert_eq!(read(&["--snapshot", first]), [first]);
}

#[test]
fn verify_finds_one_flipped_byte_or_a_missing_file() {
    let odd = SnapshotOptions {
        devices: 300,
        oddities: Oddities::all(),
        ..SnapshotOptions::default()
    };
    let (blobs, lake) = (Blobs::simulated(&odd), Lake::on_disk());
    let pipeline = Pipeline::from_files(&blobs, &lake);
    pipeline.run();
    pipeline.command("verify", &["--all"]).exits_with(0);
    pipeline
        .command("verify", &["--snapshot", "20260503T100100Z-47d41a0c"])
        .exits_with(0);

    let on_disk = lake.on_this_machine();
    let (path, bytes) = on_disk.table_files().into_iter().next().unwrap();
    let file = on_disk.root().join(&path);
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    fs::write(&file, flipped).unwrap();
    let ran = pipeline.command("verify", &["--all"]).exits_with(1);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains(&path));

    fs::remove_file(&file).unwrap();
    let ran = pipeline.command("verify", &["--all"]).exits_with(1);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains(&path));

    fs::write(&file, bytes).unwrap();
    pipeline.command("verify", &["--all"]).exits_with(0);
}

#[test]
fn schema_show_names_every_column_with_its_wire_path() {
    assert!(
        on_nothing(&["schema", "list"])
            .exits_with(0)
            .stdout
            .contains("info_gathering")
    );
    let shown = on_nothing(&["schema", "show", "info_gathering"])
        .exits_with(0)
        .stdout;
    for column in Truth::of(&Blobs::none()).columns().keys() {
        assert!(shown.contains(column.as_str()), "{column}");
    }
    assert!(shown.contains("DeviceGatheredInfo.AvScanResults.Quick.Timestamp"));
    on_nothing(&["schema", "show", "info_gatherings"])
        .exits_with(2)
        .says(&["info_gathering"]);
}

#[test]
fn commands_on_the_lake_need_no_credentials_of_the_api() {
    let odd = SnapshotOptions {
        devices: 100,
        oddities: Oddities::all(),
        ..SnapshotOptions::default()
    };
    let (blobs, lake) = (Blobs::simulated(&odd), Lake::on_disk());
    let api = Api::of(&blobs);
    let mut pipeline = Pipeline::from_api(&api, &lake);
    let snapshot = pipeline.run()["snapshot"].as_str().unwrap().to_owned();
    let calls = api.counters().token_calls;
    for variable in ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"] {
        pipeline.unset_variable(variable);
    }
    let commands: [&[&str]; 8] = [
        &["snapshots"],
        &["verify"],
        &["vacuum"],
        &["rollback", "--to", &snapshot],
        &["snippet", "duckdb"],
        &["quarantine", "list"],
        &["quarantine", "show"],
        &["quarantine", "replay"],
    ];
    for command in commands {
        let takes_a_word = matches!(command[0], "snippet" | "quarantine");
        let (words, options) = command.split_at(if takes_a_word { 2 } else { 1 });
        let with = |more: &[&str]| -> Vec<String> {
            let words = words[1..].iter().chain(&["pipeline.toml"]).chain(options);
            words.chain(more).map(|&word| word.to_owned()).collect()
        };
        let run = |arguments: &[String]| {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            pipeline.plain(command[0], &arguments)
        };
        run(&with(&[])).exits_with(0);
        run(&with(&["--set", "source.auth.authority=http://a.example"]))
            .exits_with(2)
            .says(&["source.auth.authority", "loopback"]);
        run(&with(&["--set", "lake.root=${NOT_SET}"]))
            .exits_with(2)
            .says(&["lake.root", "NOT_SET"]);
    }
    assert_eq!(api.counters().token_calls, calls);
    pipeline
        .command("plan", &[])
        .exits_with(2)
        .says(&["AZURE_CLIENT_ID", "not set"]);
}

#[test]
fn help_has_examples_for_every_command() {
    for command in [
        "run",
        "plan",
        "simulate",
        "demo",
        "schema",
        "verify",
        "snapshots",
        "completions",
    ] {
        let help = on_nothing(&[command, "--help"]).exits_with(0).stdout;
        assert!(
            help.contains(&format!("defender-lake {command}")) && help.contains("Example"),
            "{command}: {help}"
        );
    }
    assert!(
        on_nothing(&["--version"])
            .exits_with(0)
            .stdout
            .starts_with("defender-lake ")
    );
}

#[test]
fn completions_are_valid_bash() {
    let script = on_nothing(&["completions", "bash"]).exits_with(0).stdout;
    assert!(script.contains("defender-lake"));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), script).unwrap();
    assert!(
        Command::new("bash")
            .arg("-n")
            .arg(file.path())
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn simulate_writes_a_snapshot_that_can_be_run_from_files() {
    let folder = tempfile::tempdir().unwrap();
    defender_lake(
        folder.path(),
        &[],
        &["simulate", "--write", "exports", "--devices", "200"],
    )
    .exits_with(0);
    let (blobs, lake) = (Blobs::none(), Lake::on_disk());
    for path in files_below(&folder.path().join("exports")) {
        blobs.add(
            &path,
            &fs::read(folder.path().join("exports").join(&path)).unwrap(),
        );
    }
    assert_eq!(
        Pipeline::from_files(&blobs, &lake).run()["rows_written"],
        200
    );
    DuckDb
        .values(&lake.on_this_machine().table())
        .is(&Truth::of(&blobs));
}

#[test]
fn the_demo_shows_a_report_and_leaves_a_lake_for_duckdb() {
    let folder = tempfile::tempdir().unwrap();
    let ran = defender_lake(folder.path(), &[], &["demo"]).exits_with(0);
    for shown in ["rbac_group_id=", "committed", "unchanged"] {
        assert!(ran.stdout.contains(shown), "{}", ran.stdout);
    }
    let query = Command::new(tool("readers/bin/python3"))
        .arg(workspace().join("tools/demo_query.py"))
        .arg(folder.path().join("demo-lake"))
        .output()
        .unwrap();
    let answer = String::from_utf8(query.stdout).unwrap();
    assert!(
        query.status.success(),
        "{}",
        String::from_utf8_lossy(&query.stderr)
    );
    assert!(
        answer.contains("exploitable_critical") && answer.contains("Unassigned"),
        "{answer}"
    );
}
