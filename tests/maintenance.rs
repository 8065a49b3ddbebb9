//! What keeps a lake in order: maintenance by other programs of Delta tables, days that are no longer kept, promises that are
//! shortened, run reports.

use chrono::TimeDelta;
use simulator::SnapshotOptions;

use crate::harness::blobs::Blobs;
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::poller::shows;
use crate::harness::readers::python_for;

fn day(number: i64) -> SnapshotOptions {
    let first = SnapshotOptions {
        devices: 40,
        groups: 2,
        blobs: 4,
        ..SnapshotOptions::default()
    };
    SnapshotOptions {
        generated_time: first.generated_time + TimeDelta::days(number),
        ..first
    }
}

fn run(lake: &Lake, snapshot: &SnapshotOptions) -> serde_json::Value {
    Pipeline::from_files(&Blobs::simulated(snapshot), lake).run()
}

/// Has deltalake do something with the table.
#[track_caller]
fn with_deltalake(lake: &Lake, act: &str) {
    let table = lake.on_this_machine().table();
    let code = format!(
        "import sys\nfrom deltalake import DeltaTable\ntable = DeltaTable(sys.argv[1])\n{act}"
    );
    let ran = python_for("deltalake", &code).arg(table).output().unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

/// One file of each partition is not enough for anything to be compacted: rows are added by a replay.
fn with_two_files_a_partition(lake: &Lake, snapshot: &SnapshotOptions) {
    Pipeline::from_files(&Blobs::simulated(snapshot), lake)
        .run_with(&["--set", "work.target_file_size=1KiB"]);
}

#[test]
fn what_optimize_rewrote_is_taken_over() {
    let lake = Lake::on_disk();
    let (first, second) = (day(0), day(1));
    with_two_files_a_partition(&lake, &first);
    with_two_files_a_partition(&lake, &second);
    let before = lake.on_this_machine().table_files().len();
    with_deltalake(&lake, "print(table.optimize.compact())");
    assert!(lake.on_this_machine().table_files().len() > before);

    let blobs = Blobs::simulated(&first);
    let pipeline = Pipeline::from_files(&blobs, &lake);
    for command in ["snapshots", "verify", "vacuum"] {
        pipeline.command(command, &[]).exits_with(0);
    }
    // A day that was not rewritten comes, and one that was is replaced.
    let third = day(2);
    assert_eq!(run(&lake, &third)["outcome"], "committed");
    let noon = SnapshotOptions {
        generated_time: second.generated_time + TimeDelta::hours(2),
        devices: 30,
        ..second.clone()
    };
    Pipeline::from_files(&Blobs::simulated(&noon), &lake).run_with(&["--backfill"]);
    shows(&lake, &[&first, &noon, &third]);
    pipeline.command("verify", &["--all"]).exits_with(0);
    with_deltalake(&lake, "table.optimize.z_order(['os_platform'])");
    pipeline.command("verify", &["--all"]).exits_with(0);
    assert_eq!(run(&lake, &day(3))["outcome"], "committed");
    pipeline.command("vacuum", &["--apply"]).exits_with(0);
    shows(&lake, &[&first, &noon, &third, &day(3)]);
    pipeline.command("verify", &["--all"]).exits_with(0);
}

#[test]
fn rows_that_another_program_wrote_are_refused_by_name_with_the_way_back() {
    let lake = Lake::on_disk();
    run(&lake, &day(0));
    with_deltalake(
        &lake,
        "from deltalake import write_deltalake\n\
         rows = table.to_pyarrow_table()\n\
         write_deltalake(table, rows, mode='append')",
    );
    let blobs = Blobs::simulated(&day(1));
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let ran = pipeline.command("run", &["--json"]).exits_with(1);
    ran.says(&["entry 1 of the log", "`WRITE`", "restore(n)"]);
    assert_eq!(ran.json()["error_kind"], "mend");
    with_deltalake(&lake, "table.restore(0)");
    assert_eq!(pipeline.run()["outcome"], "committed");
    shows(&lake, &[&day(0), &day(1)]);
    pipeline.command("verify", &["--all"]).exits_with(0);
}

#[test]
fn a_dropped_snapshot_leaves_the_table_and_a_rollback_brings_it_back() {
    for lake in [Lake::on_disk(), Lake::in_moto(), Lake::in_azurite()] {
        let (good, wrong) = (day(0), day(30));
        run(&lake, &good);
        let keeping = ["--set", "lake.retire_after=1h"];
        let blobs = Blobs::simulated(&wrong);
        let pipeline = Pipeline::from_files(&blobs, &lake);
        let id = pipeline.run_with(&keeping)["snapshot"].clone();
        let id = id.as_str().unwrap();
        let dropped = || {
            let arguments = [&["drop", "pipeline.toml", id], &keeping[..]].concat();
            pipeline.plain("snapshots", &arguments)
        };
        let ran = dropped().exits_with(0);
        assert!(ran.stdout.contains(id), "{}", ran.stdout);
        shows(&lake, &[&good]);
        pipeline.command("verify", &["--all"]).exits_with(0);
        dropped().exits_with(1).says(&[id, "has no snapshot"]);

        run(&lake, &day(1));
        let back = [&["--to", id], &keeping[..]].concat();
        pipeline.command("rollback", &back).exits_with(0);
        shows(&lake, &[&good, &day(1), &wrong]);
    }
}

#[test]
fn days_past_their_time_go_with_a_vacuum_and_no_other_command() {
    for format in ["delta", "parquet"] {
        let lake = Lake::on_disk();
        let of_format = format!("lake.format={format}");
        let settings = ["--set", &of_format, "--set", "lake.keep=3d"];
        let today = chrono::Utc::now().date_naive();
        let ago = |days: i64| {
            let time = today.and_hms_opt(0, 1, 0).unwrap().and_utc() - TimeDelta::days(days);
            SnapshotOptions {
                generated_time: time,
                ..day(0)
            }
        };
        for days in [10, 5, 1] {
            Pipeline::from_files(&Blobs::simulated(&ago(days)), &lake).run_with(&settings);
        }
        let blobs = Blobs::simulated(&ago(1));
        let pipeline = Pipeline::from_files(&blobs, &lake);
        let kept = || {
            let all = [&["--json"], &settings[..]].concat();
            let kept = pipeline.command("snapshots", &all).exits_with(0).json();
            let current = kept.as_array().unwrap().iter();
            current.filter(|kept| kept["state"] == "current").count()
        };
        assert_eq!(kept(), 3);
        let json = [&["--json"], &settings[..]].concat();
        let dry = pipeline.command("vacuum", &json).exits_with(0).json();
        assert_eq!(dry["found"][0]["kind"], "expired", "{dry}");
        assert_eq!(kept(), 3);
        let at_once = ["--set", "lake.retire_after=0s", "--apply"];
        let apply = [&at_once[..], &settings].concat();
        pipeline.command("vacuum", &apply).exits_with(0);
        assert_eq!(kept(), 1);
        let left = lake.on_this_machine().table_files();
        let date = format!("generated_date={}", ago(1).generated_time.date_naive());
        let data = left.keys().filter(|path| path.ends_with(".parquet"));
        assert!(
            data.clone()
                .all(|path| path.contains(&date) || path.contains("_delta_log")),
            "{left:?}"
        );
        pipeline
            .command("verify", &[&["--all"], &settings[..]].concat())
            .exits_with(0);
        let none = ["--set", "lake.keep=2h"];
        let ran = pipeline.command("vacuum", &none).exits_with(2);
        ran.says(&["lake.keep", "at least a day"]);
    }
}

#[test]
fn a_promise_is_shortened_only_by_an_explicit_vacuum() {
    let lake = Lake::on_disk();
    let morning = day(0);
    let noon = SnapshotOptions {
        generated_time: morning.generated_time + TimeDelta::hours(2),
        ..morning.clone()
    };
    for snapshot in [&morning, &noon] {
        Pipeline::from_files(&Blobs::simulated(snapshot), &lake)
            .run_with(&["--set", "lake.retire_after=30d"]);
    }
    let blobs = Blobs::simulated(&noon);
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let kept = || {
        let kept = pipeline.command("snapshots", &["--json"]).exits_with(0);
        kept.json().as_array().unwrap().len()
    };
    pipeline.command("vacuum", &["--apply"]).exits_with(0);
    assert_eq!(pipeline.run()["outcome"], "unchanged");
    assert_eq!(kept(), 2);
    let dry = pipeline.command("vacuum", &["--shorten"]).exits_with(0);
    assert!(dry.stdout.contains("replaced"), "{}", dry.stdout);
    assert_eq!(kept(), 2);
    pipeline
        .command("vacuum", &["--shorten", "--apply"])
        .exits_with(0);
    assert_eq!(kept(), 1);
    shows(&lake, &[&noon]);
}

#[test]
fn old_run_reports_go_with_a_vacuum() {
    let lake = Lake::on_disk();
    let report = run(&lake, &day(0));
    let runs = lake
        .on_this_machine()
        .root()
        .join("_lake/info_gathering/runs");
    let old = runs.join("20200101T000000Z-0a1b2c3d.json");
    std::fs::write(&old, "{}").unwrap();
    let blobs = Blobs::simulated(&day(0));
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let vacuum = pipeline.command("vacuum", &["--json", "--apply"]);
    let found = &vacuum.exits_with(0).json()["found"];
    assert_eq!(found[0]["kind"], "report", "{found}");
    assert!(!old.exists());
    let young = format!("{}.json", report["run_id"].as_str().unwrap());
    assert!(runs.join(young).exists());
}
