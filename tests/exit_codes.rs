//! How runs end: 0 done or unchanged, 1 something is to be mended, 2 wrong use or configuration, 3 refused by the gate, 5 try again
//! later, 101 a defect; and what `--json` prints of each.

use simulator::SnapshotOptions;

use crate::harness::api::Api;
use crate::harness::blobs::{Blobs, gzip, path};
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::program::defender_lake;

fn small() -> Blobs {
    Blobs::simulated(&SnapshotOptions {
        devices: 50,
        groups: 3,
        blobs: 4,
        ..SnapshotOptions::default()
    })
}

#[test]
fn a_run_that_commits_or_finds_its_work_done_exits_0() {
    let (blobs, lake) = (small(), Lake::on_disk());
    let pipeline = Pipeline::from_files(&blobs, &lake);
    assert_eq!(
        pipeline.command("run", &["--json"]).exits_with(0).json()["outcome"],
        "committed"
    );
    assert_eq!(
        pipeline.command("run", &["--json"]).exits_with(0).json()["outcome"],
        "unchanged"
    );
}

#[test]
fn a_wrong_client_secret_exits_1_and_says_so() {
    let (blobs, lake) = (small(), Lake::on_disk());
    let api = Api::of(&blobs);
    let mut pipeline = Pipeline::from_api(&api, &lake);
    pipeline.set_variable("AZURE_CLIENT_SECRET", "wrong-secret-of-this-test");
    let ran = pipeline.command("run", &["--json"]).exits_with(1);
    ran.says(&["client_secret"]);
    let report = ran.json();
    assert_eq!(report["outcome"], "failed");
    assert!(
        report["error"].as_str().unwrap().contains("client secret"),
        "{report}"
    );
    assert!(
        !ran.stderr.contains("wrong-secret-of-this-test")
            && !ran.stdout.contains("wrong-secret-of-this-test")
    );
    assert!(lake.on_this_machine().table_files().is_empty());
}

#[test]
fn a_token_for_another_audience_exits_1_and_names_the_setting() {
    let (blobs, lake) = (small(), Lake::on_disk());
    let api = Api::of(&blobs);
    let pipeline = Pipeline::from_api(&api, &lake);
    let ran = pipeline
        .command(
            "run",
            &[
                "--set",
                "source.auth.audience=https://api.security.microsoft.com",
            ],
        )
        .exits_with(1);
    ran.says(&["audience"]);
}

#[test]
fn an_api_that_nobody_answers_for_exits_5() {
    let (blobs, lake) = (small(), Lake::on_disk());
    let api = Api::of(&blobs);
    let pipeline = Pipeline::from_api(&api, &lake);
    let url = api.url().to_owned();
    drop(api);
    let ran = pipeline.command("run", &["--json"]).exits_with(5);
    ran.says(&[url.trim_start_matches("http://")]);
    assert_eq!(ran.json()["error_kind"], "retry_later");
}

#[test]
fn a_blob_that_is_no_whole_gzip_stream_exits_1_and_is_named() {
    let whole = gzip(&b"{\"DeviceId\":\"a\"}\n".repeat(100));
    let cut = &whole[..whole.len() - 4];
    let garbage = [whole.as_slice(), b"garbage"].concat();
    for bytes in [cut, b"not gzip", &garbage, b""] {
        let (blobs, lake) = (small(), Lake::on_disk());
        let good = Pipeline::from_files(&blobs, &lake);
        good.run();
        let before = lake.on_this_machine().table_files();

        let bad = Blobs::simulated(
            &SnapshotOptions {
                devices: 50,
                seed: 9,
                ..SnapshotOptions::default()
            }
            .next_day(),
        );
        let broken = path(Some(7), 99).replace("2026-05-03", "2026-05-04");
        bad.add(&broken, bytes);
        Pipeline::from_files(&bad, &lake)
            .command("run", &[])
            .exits_with(1)
            .says(&["part-00099"]);
        assert!(
            lake.on_this_machine().table_files() == before,
            "the lake changed"
        );
    }
}

#[test]
fn an_impossible_snapshot_time_is_refused_unwritten() {
    let dates = ["1999-12-31", "0000-05-03", "-0001-5-03", "+10000-1-1"];
    for date in dates {
        let (blobs, lake) = (Blobs::none(), Lake::on_disk());
        blobs.add(
            &path(Some(7), 1).replace("2026-05-03", date),
            &gzip(b"{\"DeviceId\":\"a\"}\n"),
        );
        let refused = |pipeline: &Pipeline<'_>, origin: &str| {
            let ran = pipeline.command("run", &[]).exits_with(1);
            ran.says(&[origin, "expected a year from 2000 to 9999"]);
            assert!(lake.on_this_machine().state().is_empty(), "{date}");
            assert!(lake.on_this_machine().table_files().is_empty(), "{date}");
        };
        refused(&Pipeline::from_files(&blobs, &lake), date);
        if date == dates[0] {
            let api = Api::of(&blobs);
            refused(&Pipeline::from_api(&api, &lake), "generatedTime");
        }
    }
    let (blobs, lake) = (Blobs::none(), Lake::on_disk());
    blobs.add("devices.json.gz", &gzip(b"{\"DeviceId\":\"a\"}\n"));
    for time in ["+10000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z"] {
        let setting = format!("source.generated_time={time}");
        Pipeline::from_files(&blobs, &lake)
            .command("run", &["--set", &setting])
            .exits_with(2)
            .says(&["source.generated_time", "of the years 2000 to 9999"]);
    }
    assert!(lake.on_this_machine().files().is_empty());
}

#[test]
fn a_snapshot_of_the_future_is_refused_and_keeps_no_other_out() {
    let lake = Lake::on_disk();
    let future = Blobs::none();
    future.add(
        &path(Some(7), 1).replace("2026-05-03", "9999-12-31"),
        &gzip(b"{\"DeviceId\":\"a\"}\n"),
    );
    let api = Api::of(&future);
    for pipeline in [
        Pipeline::from_files(&future, &lake),
        Pipeline::from_api(&api, &lake),
    ] {
        for command in ["run", "plan"] {
            let ran = pipeline.command(command, &[]).exits_with(3);
            ran.says(&["99991231T", "is of the future", "clocks"]);
        }
    }
    let honest = Blobs::of_lines(Some(7), b"{\"DeviceId\":\"a\"}\n");
    Pipeline::from_files(&honest, &lake).run();
}

#[test]
fn a_snapshot_that_the_gate_refuses_exits_3() {
    let (blobs, lake) = (Blobs::of_lines(Some(7), b"not JSON\n"), Lake::on_disk());
    let ran = Pipeline::from_files(&blobs, &lake).command("run", &["--json"]);
    assert_eq!(ran.exits_with(3).json()["outcome"], "refused");
}

#[test]
fn wrong_use_exits_2() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["run"][..],
        &["no-such-command"],
        &["run", "no-such-file.toml"],
        &["run", "x.toml", "--no-such-flag"],
    ] {
        let ran = defender_lake(folder.path(), &[], arguments).exits_with(2);
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
        let in_json = [arguments, &["--json"]].concat();
        let ran = defender_lake(folder.path(), &[], &in_json).exits_with(2);
        let report = ran.json();
        assert_eq!(report["error_kind"], "configuration", "{report}");
        assert_eq!(report["exit_code"], 2);
        assert!(!report["error"].as_str().unwrap().is_empty());
    }
}

#[test]
fn what_is_wrong_with_settings_or_lake_is_printed_as_json_by_every_command() {
    let (blobs, lake) = (small(), Lake::on_disk());
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let wrong = ["--json", "--set", "work.threads=many"];
    for command in ["run", "plan", "verify", "snapshots", "vacuum"] {
        let report = pipeline.command(command, &wrong).exits_with(2).json();
        assert_eq!(report["error_kind"], "configuration", "{command}");
        assert!(report["error"].as_str().unwrap().contains("work.threads"));
    }
    let no_store = ["--json", "--set", "lake.root=ftp://nowhere/lake"];
    let report = pipeline.command("run", &no_store).exits_with(2).json();
    assert_eq!(report["outcome"], "failed");
    assert_eq!(report["error_kind"], "configuration");
    for command in ["verify", "snapshots", "vacuum"] {
        let report = pipeline.command(command, &["--json"]).exits_with(1).json();
        assert_eq!(report["error_kind"], "mend", "{command}");
        assert!(report["advice"].as_str().unwrap().contains("lake.root"));
    }
}

#[test]
fn a_panic_exits_101_with_a_report_and_the_next_run_cleans_up() {
    let (blobs, lake) = (small(), Lake::on_disk());
    let mut pipeline = Pipeline::from_files(&blobs, &lake);
    pipeline.set_variable("DEFENDER_LAKE_FAILPOINT", "panic:uploads-completed");
    let ran = pipeline.command("run", &["--json"]).exits_with(101);
    let printed = ran.json();
    assert_eq!(printed["outcome"], "failed");
    assert_eq!(printed["error_kind"], "defect");
    assert!(printed["advice"].as_str().unwrap().contains("report it"));
    ran.says(&["defect: panic at ", "failpoint.rs"]);
    assert_eq!(last_report(&lake), printed);
    pipeline.unset_variable("DEFENDER_LAKE_FAILPOINT");
    assert_eq!(pipeline.run()["outcome"], "committed");
    pipeline.command("verify", &[]).exits_with(0);
}

/// The newest run report in the lake.
fn last_report(lake: &Lake) -> serde_json::Value {
    let files = lake.files();
    let mut reports = files.iter().filter(|(path, _)| path.contains("/runs/"));
    serde_json::from_slice(reports.next_back().unwrap().1).unwrap()
}

#[test]
fn a_run_that_finds_nothing_new_leaves_a_trace() {
    let (blobs, lake) = (small(), Lake::on_disk());
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let first = pipeline.run();
    let again = pipeline.run();
    assert_eq!(again["outcome"], "unchanged");
    let reports: Vec<serde_json::Value> = lake
        .files()
        .iter()
        .filter(|(path, _)| path.contains("/runs/"))
        .map(|(_, report)| serde_json::from_slice(report).unwrap())
        .collect();
    assert_eq!(reports.len(), 2);
    let unchanged = reports
        .iter()
        .find(|report| report["outcome"] == "unchanged");
    let unchanged = unchanged.unwrap();
    assert_eq!(unchanged["snapshot"], first["snapshot"]);
    assert!(unchanged["started_at"].is_string());
}

#[test]
fn a_full_standard_output_does_not_undo_a_commit() {
    let (blobs, lake) = (small(), Lake::on_disk());
    let pipeline = Pipeline::from_files(&blobs, &lake);
    for (command, arguments) in [("run", &["--json"][..]), ("vacuum", &["--apply"])] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let ran = pipeline.command_to(full.unwrap(), command, arguments);
        let ran = ran.exits_with(0);
        ran.says(&["cannot write to standard output"]);
    }
    assert_eq!(pipeline.run()["outcome"], "unchanged");
}

#[test]
fn a_lake_of_a_later_version_exits_1_and_stays_as_it_is() {
    let (blobs, lake) = (small(), Lake::on_disk());
    let pipeline = Pipeline::from_files(&blobs, &lake);
    pipeline.run();
    let on_disk = lake.on_this_machine();
    let layout = on_disk.root().join("_lake/info_gathering/layout.json");
    std::fs::write(layout, r#"{"version":3}"#).unwrap();
    let before = lake.on_this_machine().table_files();
    for command in [&["run"][..], &["vacuum", "--apply"]] {
        let ran = pipeline.command(command[0], &command[1..]).exits_with(1);
        ran.says(&[
            "layout.json",
            "has version 3",
            "knows up to 2",
            "a later one",
        ]);
    }
    assert!(lake.on_this_machine().table_files() == before);
    pipeline.command("verify", &["--all"]).exits_with(0);
}
