//! What a lake keeps and how it is read: snippets, snapshots, rollback, vacuum, new columns, checkpoints; the same totals
//! from readers that nobody here wrote.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use chrono::TimeDelta;
use serde_json::Value;
use simulator::SnapshotOptions;

use crate::harness::blobs::{Blobs, gzip, path};
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::totals::{GLOB_READERS, LOG_READERS, MANIFEST_READERS, Totals, totals};
use crate::harness::{readers, tool};

fn small(devices: u32) -> SnapshotOptions {
    SnapshotOptions {
        devices,
        groups: 3,
        blobs: 4,
        ..SnapshotOptions::default()
    }
}

fn later(options: &SnapshotOptions, hours: i64, devices: u32) -> SnapshotOptions {
    SnapshotOptions {
        devices,
        generated_time: options.generated_time + TimeDelta::hours(hours),
        ..options.clone()
    }
}

fn id(options: &SnapshotOptions) -> String {
    format!(
        "{}-47d41a0c",
        options.generated_time.format("%Y%m%dT%H%M%SZ")
    )
}

/// Runs the code that `snippet` prints, with a line that counts in place of the one that shows; the rows.
#[track_caller]
fn rows_by(reader: &str, pipeline: &Pipeline, selection: &[&str]) -> u64 {
    let all: Vec<&str> = ["pipeline.toml"].iter().chain(selection).copied().collect();
    let arguments: Vec<&str> = [reader].iter().chain(&all).copied().collect();
    let code = pipeline.plain("snippet", &arguments).exits_with(0).stdout;
    let (shown, counted) = match reader {
        "duckdb" => ("SELECT * FROM", "SELECT count(*) FROM"),
        "spark" | "spark-files" => ("table.show()", "print(table.count())"),
        "polars" => (".collect())", ".collect().height)"),
        _ => ("print(rows)", "print(rows.num_rows)"),
    };
    assert!(code.contains(shown), "{code}");
    let mut code = code.replace(shown, counted);
    if reader == "duckdb" {
        code = format!(
            "import duckdb\nlake = duckdb.connect(config={{'memory_limit': '300MB'}})\nprint(lake.execute({}).fetchone()[0])\n",
            Value::from(code)
        );
    }
    let mut python = readers::python_for(reader, &code);
    python.current_dir(pipeline.folder());
    for (name, value) in pipeline.lake().credentials() {
        python.env(name, value);
    }
    let output = python.output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{code}\n{stderr}");
    stdout
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("{code}\n{stdout}"))
}

fn snippets_read_what_they_say(lake: &Lake, readers: &[&str]) {
    let (morning, yesterday) = (small(30).next_day(), small(20));
    let noon = later(&morning, 2, 33);
    let keeping = ["--set", "lake.retire_after=1h"];
    for options in [&yesterday, &morning, &noon] {
        Pipeline::from_files(&Blobs::simulated(options), lake).run_with(&keeping);
    }
    let blobs = Blobs::simulated(&noon);
    let pipeline = Pipeline::from_files(&blobs, lake);
    for reader in readers {
        let rows = |selection: &[&str]| rows_by(reader, &pipeline, selection);
        assert_eq!(rows(&[]), 53, "{reader}");
        assert_eq!(rows(&["--date", "2026-05-04"]), 33, "{reader}");
        assert_eq!(rows(&["--snapshot", &id(&noon)]), 33, "{reader}");
        // Replaced, and kept.
        assert_eq!(rows(&["--snapshot", &id(&morning)]), 30, "{reader}");
    }
    let unknown = ["duckdb", "pipeline.toml", "--date", "2020-01-01"];
    pipeline
        .plain("snippet", &unknown)
        .exits_with(1)
        .says(&["2020-01-01"]);
}

#[test]
fn snippets_read_table_date_and_replaced_snapshot_on_disk() {
    snippets_read_what_they_say(&Lake::on_disk(), &["duckdb", "polars", "delta"]);
}

#[test]
fn snippets_read_table_date_and_replaced_snapshot_with_spark() {
    snippets_read_what_they_say(&Lake::on_disk(), &["spark", "spark-files"]);
}

#[test]
fn snippets_read_table_date_and_replaced_snapshot_in_s3() {
    let lake = Lake::in_moto();
    snippets_read_what_they_say(&lake, &["polars", "delta"]);
}

#[test]
fn snippets_read_table_date_and_replaced_snapshot_in_azure() {
    snippets_read_what_they_say(&Lake::in_azurite(), &["polars", "delta"]);
}

#[test]
fn snippets_name_an_azure_account_of_the_environment() {
    let (lake, blobs) = (Lake::in_azurite(), Blobs::simulated(&small(10)));
    let mut pipeline = Pipeline::from_files(&blobs, &lake);
    pipeline.run();
    let given: BTreeMap<_, _> = lake.options().iter().cloned().collect();
    for name in ["account_name", "account_key"] {
        let variable = name.to_uppercase();
        pipeline.replace(&format!("{name} = \"${{LAKE_{variable}}}\"\n"), "");
        pipeline.set_variable(&format!("AZURE_STORAGE_{variable}"), &given[name]);
    }
    let account = &given["account_name"];
    for (reader, named) in [
        ("duckdb", format!("ACCOUNT_NAME '{account}'")),
        ("spark", format!("@{account}.dfs.core.windows.net/")),
    ] {
        let printed = pipeline.plain("snippet", &[reader, "pipeline.toml"]);
        let code = printed.exits_with(0).stdout;
        assert!(code.contains(&named), "{code}");
    }
}

/// The 61st replaces the 60th, which is kept.
#[test]
fn days_of_long_ago_are_found_where_latest_json_has_the_last_ones() {
    let blobs = Blobs::none();
    let mut days = vec![SnapshotOptions {
        groups: 1,
        blobs: 1,
        ..small(4)
    }];
    for _ in 1..103 {
        days.push(days.last().unwrap().next_day());
    }
    for day in &days {
        blobs.add_simulated(day);
    }
    let (second, rows) = (&days[1], 4 * days.len() as u64);
    for (format, readers) in [
        ("delta", &["duckdb"][..]),
        ("parquet", &["duckdb", "spark-files"]),
    ] {
        let lake = Lake::on_disk();
        let pipeline = Pipeline::from_files(&blobs, &lake);
        pipeline.replace("format = \"delta\"", &format!("format = \"{format}\""));
        pipeline.replace("retire_after = \"0s\"", "retire_after = \"1h\"");
        let command =
            |command: &str, arguments: &[&str]| pipeline.command(command, arguments).exits_with(0);
        for day in &days {
            command("run", &["--set", &format!("source.snapshot={}", id(day))]);
        }
        let latest = &lake.state()["_lake/info_gathering/latest.json"];
        assert!(latest.len() < 60_000, "{} bytes", latest.len());
        let listed = command("snapshots", &["--json"]).json();
        assert_eq!(listed.as_array().unwrap().len(), days.len());
        for reader in readers {
            for (selection, rows) in [
                (&["--date", "2026-05-04"][..], 4),
                (&["--snapshot", &id(second)], 4),
                (&[], rows),
            ] {
                assert_eq!(
                    rows_by(reader, &pipeline, selection),
                    rows,
                    "{format} {reader}"
                );
            }
        }
        command("vacuum", &["--apply"]);
        // A later snapshot of the second day, and back.
        let later = later(second, 1, 4);
        blobs.add_simulated(&later);
        let snapshot = format!("source.snapshot={}", id(&later));
        command("run", &["--backfill", "--set", &snapshot]);
        command("rollback", &["--to", &id(second)]);
        command("verify", &["--all"]);
    }
}

#[test]
fn snippets_read_sixty_days_of_forty_groups_in_little_memory() {
    let lake = Lake::on_disk();
    let keeping = ["--set", "lake.retire_after=1h"];
    let mut day = SnapshotOptions {
        devices: 120,
        groups: 40,
        blobs: 40,
        ..SnapshotOptions::default()
    };
    for _ in 1..60 {
        Pipeline::from_files(&Blobs::simulated(&day), &lake).run_with(&keeping);
        day = day.next_day();
    }
    let noon = later(&day, 2, 130);
    for options in [&day, &noon] {
        Pipeline::from_files(&Blobs::simulated(options), &lake).run_with(&keeping);
    }
    let blobs = Blobs::simulated(&noon);
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let date = noon.generated_time.date_naive().to_string();
    for reader in ["duckdb", "polars", "delta", "spark", "spark-files"] {
        let rows = |selection: &[&str]| rows_by(reader, &pipeline, selection);
        assert_eq!(rows(&[]), 59 * 120 + 130, "{reader}");
        assert_eq!(rows(&["--date", &date]), 130, "{reader}");
        assert_eq!(rows(&["--snapshot", &id(&day)]), 120, "{reader}");
    }
}

/// Opens the table, waits for a line, and only then reads the rows.
const OPEN_READER: &str = "\
import sys
from deltalake import DeltaTable
table = DeltaTable(sys.argv[1])
files = table.to_pyarrow_dataset()
print('opened', flush=True)
sys.stdin.readline()
print(files.count_rows(), table.metadata().configuration['delta.deletedFileRetentionDuration'])
";

#[test]
fn a_query_under_way_reads_on_after_a_replacement() {
    let lake = Lake::on_disk();
    let (morning, noon) = (small(30), later(&small(33), 2, 33));
    let run = |options: &SnapshotOptions| {
        let blobs = Blobs::simulated(options);
        let pipeline = Pipeline::from_files(&blobs, &lake);
        pipeline.replace("retire_after = \"0s\"\n", "");
        pipeline.run();
    };
    run(&morning);
    let mut reader = Command::new(tool("readers/bin/python3"));
    reader.args(["-c", OPEN_READER]);
    reader.arg(lake.on_this_machine().table());
    reader.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut reader = reader.spawn().unwrap();
    let mut told = BufReader::new(reader.stdout.take().unwrap()).lines();
    assert_eq!(told.next().unwrap().unwrap(), "opened");
    run(&noon);
    reader.stdin.take().unwrap().write_all(b"read\n").unwrap();
    assert_eq!(told.next().unwrap().unwrap(), "30 interval 3600 seconds");
    assert!(reader.wait().unwrap().success());
    let followed = [LOG_READERS, MANIFEST_READERS];
    readers_count(&lake, &followed, &[(&noon, 33)], "the replacement");
}

#[test]
fn a_table_without_a_log_keeps_nothing_that_a_glob_would_count_twice() {
    let lake = Lake::on_disk();
    let (morning, noon) = (small(30), later(&small(33), 2, 33));
    for options in [&morning, &noon] {
        let blobs = Blobs::simulated(options);
        let pipeline = Pipeline::from_files(&blobs, &lake);
        pipeline.replace("retire_after = \"0s\"\n", "");
        pipeline.run_with(&["--set", "lake.format=parquet"]);
    }
    let readers = [MANIFEST_READERS, GLOB_READERS];
    readers_count(&lake, &readers, &[(&noon, 33)], "the replacement");
}

#[test]
fn a_snippet_reads_exactly_its_snapshot_or_says_that_it_cannot() {
    let lake = Lake::on_disk();
    let morning = small(10);
    let (noon, evening) = (later(&morning, 2, 12), later(&morning, 4, 14));
    let mut snapshots = vec![morning.clone(), noon.clone(), evening.clone()];
    for day in 2..11 {
        snapshots.push(snapshots[day].next_day());
    }
    let keeping = ["--set", "lake.retire_after=1h"];
    for options in &snapshots {
        Pipeline::from_files(&Blobs::simulated(options), &lake).run_with(&keeping);
    }
    let blobs = Blobs::simulated(&evening);
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let retired = [(&morning, 10), (&noon, 12)];
    for (options, rows) in retired {
        assert_eq!(
            rows_by("delta", &pipeline, &["--snapshot", &id(options)]),
            rows
        );
    }
    // What a clean-up of the log leaves: noon's entry is there, and cannot be read without the first one.
    let log = lake.on_this_machine().table().join("_delta_log");
    fs::remove_file(log.join("00000000000000000000.json")).unwrap();
    for (options, rows) in retired {
        let snapshot = id(options);
        for reader in ["duckdb", "polars", "spark-files"] {
            let read = rows_by(reader, &pipeline, &["--snapshot", &snapshot]);
            assert_eq!(read, rows, "{reader}");
        }
        for reader in ["delta", "spark"] {
            let arguments = [reader, "pipeline.toml", "--snapshot", &snapshot];
            let ran = pipeline.plain("snippet", &arguments).exits_with(1);
            ran.says(&["no longer has snapshot", &snapshot, "snippet duckdb"]);
            assert_eq!(ran.stdout, "");
        }
    }
    // The current one of the day is read through the checkpoint.
    let current = rows_by("delta", &pipeline, &["--snapshot", &id(&evening)]);
    assert_eq!(current, 14);
}

/// Runs a pipeline whose dataset is named like a keyword, in a lake with that name, and gives the snippets' rows.
fn rows_in_a_lake_named(name: &str, readers: &[(&str, &[&str])]) {
    let (options, unused) = (small(10), Lake::on_disk());
    let blobs = Blobs::simulated(&options);
    let pipeline = Pipeline::from_files(&blobs, &unused);
    let schema = include_str!("../schemas/info_gathering.toml");
    let renamed = schema.replacen("name = \"info_gathering\"", "name = \"class\"", 1);
    assert_ne!(schema, renamed);
    fs::write(pipeline.folder().join("schema.toml"), renamed).unwrap();
    let dataset = "dataset = \"class\"\nschema = \"schema.toml\"\n";
    pipeline.replace("dataset = \"info_gathering\"\n", dataset);
    let root = pipeline.folder().join(name);
    let root = format!("lake.root={}", Value::from(root.to_str().unwrap()));
    pipeline.run_with(&["--set", &root]);
    for (reader, selection) in readers {
        let selection = [selection, &["--set", &root][..]].concat();
        let rows = rows_by(reader, &pipeline, &selection);
        assert_eq!(rows, 10, "{reader} {selection:?}");
    }
}

#[test]
fn snippets_are_right_whatever_lake_and_dataset_are_called() {
    let snapshot = id(&small(10));
    let one = ["--snapshot", snapshot.as_str()];
    let day = ["--date", "2026-05-03"];
    rows_in_a_lake_named(
        "it's {an} odd [n]ame *? %41 é\u{301}",
        &[
            ("duckdb", &[]),
            ("duckdb", &day),
            ("duckdb", &one),
            ("polars", &one),
        ],
    );
    rows_in_a_lake_named(
        "it's{an}[odd]*?\"name\" \\",
        &[
            ("spark-files", &[]),
            ("spark-files", &day),
            ("spark-files", &one),
            ("polars", &one),
        ],
    );
    // deltalake, Sail and Polars' `scan_delta` open no such folders.
    rows_in_a_lake_named(
        "it's*one",
        &[
            ("polars", &[]),
            ("polars", &day),
            ("delta", &[]),
            ("delta", &day),
            ("delta", &one),
        ],
    );
}

#[test]
fn snippets_hold_no_secret() {
    let lake = Lake::in_moto();
    let blobs = Blobs::simulated(&small(20));
    let pipeline = Pipeline::from_files(&blobs, &lake);
    pipeline.run();
    for reader in ["duckdb", "spark", "spark-files", "polars", "delta"] {
        let code = pipeline
            .plain("snippet", &[reader, "pipeline.toml"])
            .exits_with(0)
            .stdout;
        for (name, value) in lake.credentials() {
            assert!(!code.contains(&value), "{reader} prints {name}: {code}");
        }
    }
}

#[track_caller]
fn every_reader_counts(lake: &Lake, expected: &[(&SnapshotOptions, u64)], after: &str) {
    readers_count(
        lake,
        &[LOG_READERS, MANIFEST_READERS, GLOB_READERS],
        expected,
        after,
    );
}

#[track_caller]
fn readers_count(
    lake: &Lake,
    readers: &[&[&str]],
    expected: &[(&SnapshotOptions, u64)],
    after: &str,
) -> Totals {
    let expected: BTreeMap<i64, u64> = expected
        .iter()
        .map(|(options, rows)| (options.generated_time.timestamp_micros(), *rows))
        .collect();
    let totals = totals(lake, readers, after);
    assert_eq!(totals.rows, expected, "after {after}");
    totals
}

fn keeps_and_goes_back(lake: &Lake) {
    let morning = small(30);
    let (noon, past) = (later(&morning, 2, 33), later(&morning, -48, 20));
    let keeping = ["--set", "lake.retire_after=1h"];
    for options in [&morning, &noon] {
        Pipeline::from_files(&Blobs::simulated(options), lake).run_with(&keeping);
    }
    let blobs = Blobs::simulated(&past);
    let pipeline = Pipeline::from_files(&blobs, lake);
    pipeline.run_with(&["--backfill", "--set", "lake.retire_after=1h"]);

    let state_of = |options: &SnapshotOptions| {
        let listed = pipeline
            .command("snapshots", &["--json"])
            .exits_with(0)
            .json();
        let listed = listed.as_array().unwrap().clone();
        let found = listed
            .iter()
            .find(|snapshot| snapshot["snapshot"] == id(options).as_str());
        found.map(|snapshot| snapshot["state"].as_str().unwrap().to_owned())
    };
    assert_eq!(state_of(&morning).as_deref(), Some("retired"));
    assert_eq!(state_of(&noon).as_deref(), Some("current"));
    let morning_id = id(&morning);
    let back = ["--to", &morning_id, "--set", "lake.retire_after=1h"];
    // While replaced files are kept, globs see them too.
    let followed = [LOG_READERS, MANIFEST_READERS];
    let replaced = [(&noon, 33), (&past, 20)];
    readers_count(lake, &followed, &replaced, "replacement and backfill");
    pipeline.command("rollback", &back).exits_with(0);
    assert_eq!(state_of(&noon).as_deref(), Some("retired"));
    readers_count(lake, &followed, &[(&morning, 30), (&past, 20)], "rollback");
    // It was to be kept for an hour: nothing may go, whatever the setting is now.
    for setting in ["lake.retire_after=0s", "lake.retire_after=1h"] {
        let held = ["--json", "--apply", "--set", setting];
        let vacuum = pipeline.command("vacuum", &held).exits_with(0).json();
        assert_eq!(vacuum["found"], serde_json::json!([]));
        assert_eq!(state_of(&noon).as_deref(), Some("retired"));
    }
    // There and back, and kept for two seconds only.
    let (noon_id, kept) = (id(&noon), ["--set", "lake.retire_after=1h"]);
    let forth = [&["--to", noon_id.as_str()], &kept[..]].concat();
    pipeline.command("rollback", &forth).exits_with(0);
    let back = ["--to", &morning_id, "--set", "lake.retire_after=2s"];
    pipeline.command("rollback", &back).exits_with(0);
    assert_eq!(state_of(&noon).as_deref(), Some("retired"));
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let dry = pipeline.command("vacuum", &["--json"]).exits_with(0).json();
    assert!(!dry["found"].as_array().unwrap().is_empty());
    assert_eq!(state_of(&noon).as_deref(), Some("retired"));
    pipeline.command("vacuum", &["--apply"]).exits_with(0);
    assert_eq!(state_of(&noon), None);
    every_reader_counts(lake, &[(&morning, 30), (&past, 20)], "rollback and vacuum");
    pipeline.command("verify", &["--all"]).exits_with(0);
    let gone = id(&noon);
    pipeline
        .command("rollback", &["--to", &gone])
        .exits_with(1)
        .says(&["does not keep"]);
}

fn a_displaced_snapshot_stays_displaced(lake: &Lake, format: &str) {
    let morning = small(30);
    let (noon, evening) = (later(&morning, 2, 33), later(&morning, 8, 35));
    let format = format!("lake.format={format}");
    let keeping = ["--set", &format, "--set", "lake.retire_after=1h"];
    // The scheduled run of a pipeline that keeps nothing.
    let plain = ["--json", "--set", &format];
    Pipeline::from_files(&Blobs::simulated(&morning), lake).run_with(&keeping);
    let blobs = Blobs::simulated(&noon);
    let scheduled = Pipeline::from_files(&blobs, lake);
    scheduled.run_with(&keeping);
    let (morning_id, noon_id) = (id(&morning), id(&noon));
    let back = [&["--to", morning_id.as_str()], &keeping[..]].concat();
    scheduled.command("rollback", &back).exits_with(0);
    let current = |expected: &str| {
        let listed = scheduled.command("snapshots", &plain).exits_with(0).json();
        let current: Vec<&Value> = listed
            .as_array()
            .unwrap()
            .iter()
            .filter(|snapshot| snapshot["state"] == "current")
            .map(|snapshot| &snapshot["snapshot"])
            .collect();
        assert_eq!(current, [expected]);
    };
    for _ in 0..2 {
        let ran = scheduled.command("run", &plain).exits_with(0);
        ran.says(&["rolled back", &noon_id, &morning_id, "--backfill"]);
        let report = ran.json();
        assert_eq!(report["outcome"], "unchanged");
        assert!(report["warnings"][0].as_str().unwrap().contains(&noon_id));
        current(&morning_id);
    }
    // The displaced one is still there for whoever wants it.
    let forth = [&["--to", noon_id.as_str()], &keeping[..]].concat();
    scheduled.command("rollback", &forth).exits_with(0);
    assert_eq!(
        scheduled.run_with(&["--set", &format])["outcome"],
        "unchanged"
    );
    scheduled.command("rollback", &back).exits_with(0);
    let asked = [&["--backfill"], &keeping[..]].concat();
    assert_eq!(scheduled.run_with(&asked)["outcome"], "committed");
    scheduled.command("rollback", &back).exits_with(0);
    let newer = Blobs::simulated(&evening);
    let newer = Pipeline::from_files(&newer, lake);
    assert_eq!(newer.run_with(&["--set", &format])["outcome"], "committed");
    current(&id(&evening));
}

#[test]
fn a_displaced_snapshot_is_not_published_again_on_disk() {
    a_displaced_snapshot_stays_displaced(&Lake::on_disk(), "delta");
    a_displaced_snapshot_stays_displaced(&Lake::on_disk(), "parquet");
}

#[test]
fn a_displaced_snapshot_is_not_published_again_in_s3() {
    a_displaced_snapshot_stays_displaced(&Lake::in_moto(), "delta");
    a_displaced_snapshot_stays_displaced(&Lake::in_moto(), "parquet");
}

#[test]
fn a_replaced_snapshot_comes_back_while_it_is_kept_on_disk() {
    keeps_and_goes_back(&Lake::on_disk());
}

#[test]
fn a_replaced_snapshot_comes_back_while_it_is_kept_in_s3() {
    keeps_and_goes_back(&Lake::in_moto());
}

#[test]
fn a_replaced_snapshot_comes_back_while_it_is_kept_in_azure() {
    keeps_and_goes_back(&Lake::in_azurite());
}

/// The dataset with one more column, or with another type for one.
fn schema_with(pipeline: &Pipeline, column: &str, column_type: &str) {
    let schema = include_str!("../schemas/info_gathering.toml");
    let added = format!(
        "{schema}\n[[column]]\nname = \"{column}\"\nwire = \"Added.{column}\"\ntype = \"{column_type}\"\nmeaning = \"Added.\"\n"
    );
    fs::write(pipeline.folder().join("schema.toml"), added).unwrap();
}

#[test]
fn a_new_column_is_added_and_a_changed_type_refused() {
    let lake = Lake::on_disk();
    let (first, second) = (small(20), small(1).next_day());
    Pipeline::from_files(&Blobs::simulated(&first), &lake).run();
    let blobs = Blobs::none();
    let line = br#"{"DeviceId":"d1","Added":{"weight":7}}"#;
    blobs.add(
        &path(Some(1), 1).replace("2026-05-03", "2026-05-04"),
        &gzip(line),
    );
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let own_schema = [
        "--set",
        "schema=schema.toml",
        "--set",
        "gate.min_rows_ratio=0.0",
    ];
    schema_with(&pipeline, "weight", "int64");
    pipeline.run_with(&own_schema);
    let counted = readers_count(
        &lake,
        &[LOG_READERS, MANIFEST_READERS, GLOB_READERS],
        &[(&first, 20), (&second, 1)],
        "a new column",
    );
    assert_eq!(counted.columns["weight"].0, 1, "old files read as null");

    let blobs = Blobs::none();
    let line = br#"{"DeviceId":"d1","Added":{"weight":"heavy"}}"#;
    blobs.add(
        &path(Some(1), 1).replace("2026-05-03", "2026-05-05"),
        &gzip(line),
    );
    let before = lake.on_this_machine().table_files();
    let pipeline = Pipeline::from_files(&blobs, &lake);
    schema_with(&pipeline, "weight", "string");
    let ran = pipeline.command("run", &own_schema);
    assert_ne!(ran.code, 0);
    ran.says(&["`weight`", "long", "string", "new name"]);
    assert!(lake.on_this_machine().table_files() == before);
    let vacuum = pipeline.command("vacuum", &["--json"]).exits_with(0).json();
    assert_eq!(vacuum["found"], serde_json::json!([]));
}

#[test]
fn a_checkpoint_comes_every_tenth_entry_and_all_read_it() {
    let lake = Lake::on_disk();
    let mut days = vec![small(10)];
    for day in 0..11 {
        days.push(days[day].next_day());
    }
    for day in &days {
        Pipeline::from_files(&Blobs::simulated(day), &lake).run();
    }
    let files = lake.files();
    let checkpoint = "info_gathering/_delta_log/00000000000000000009.checkpoint.parquet";
    assert!(files.contains_key(checkpoint), "{:?}", files.keys());
    assert!(files.contains_key("info_gathering/_delta_log/_last_checkpoint"));
    let expected: Vec<(&SnapshotOptions, u64)> = days.iter().map(|day| (day, 10)).collect();
    every_reader_counts(&lake, &expected, "a checkpoint");
    let replaced = later(&days[11], 1, 12);
    Pipeline::from_files(&Blobs::simulated(&replaced), &lake).run();
    let mut expected = expected;
    expected.pop();
    expected.push((&replaced, 12));
    every_reader_counts(&lake, &expected, "a replacement after a checkpoint");
}

#[test]
fn a_log_begun_later_holds_all_days_and_cannot_be_left_again() {
    let lake = Lake::on_disk();
    let first = small(20);
    let second = first.next_day();
    let without = ["--set", "lake.format=parquet"];
    Pipeline::from_files(&Blobs::simulated(&first), &lake).run_with(&without);
    let blobs = Blobs::simulated(&second);
    let pipeline = Pipeline::from_files(&blobs, &lake);
    pipeline.run();
    every_reader_counts(
        &lake,
        &[(&first, 20), (&second, 20)],
        "the log's first entry",
    );
    pipeline
        .command("run", &without)
        .exits_with(2)
        .says(&["Delta log"]);
}
