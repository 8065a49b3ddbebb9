//! What the gate lets through: too many bad records, too few rows, none at all, the same device twice. Refused, the lake is as
//! it was.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use simulator::SnapshotOptions;

use crate::harness::api::Api;
use crate::harness::blobs::{Blobs, ORG_ID, gzip, path};
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::readers::Reader::DuckDb;
use crate::harness::truth::Truth;

fn devices(devices: u32) -> SnapshotOptions {
    SnapshotOptions {
        devices,
        groups: 3,
        blobs: 4,
        ..SnapshotOptions::default()
    }
}

/// The lake's state but for what the gate refused, which can be looked at.
fn published(lake: &Lake) -> BTreeMap<String, Vec<u8>> {
    let mut state = lake.state();
    state.retain(|path, _| !path.contains("/quarantine/"));
    state
}

/// The run exits 3, says these words, and changes nothing.
#[track_caller]
fn is_refused(pipeline: &Pipeline, arguments: &[&str], words: &[&str]) -> Value {
    let before = published(pipeline.lake());
    let ran = pipeline.command("run", &[&["--json"], arguments].concat());
    let ran = ran.exits_with(3);
    ran.says(words);
    let report = ran.json();
    assert_eq!(report["outcome"], "refused");
    assert!(published(pipeline.lake()) == before, "the lake changed");
    report
}

/// Records of which so many are bad.
fn lines(records: usize, bad: usize) -> Vec<u8> {
    let good = (bad..records).map(|number| format!("{{\"DeviceId\":\"{number}\"}}\n"));
    let bad = (0..bad).map(|_| "not JSON\n".to_owned());
    good.chain(bad).collect::<String>().into_bytes()
}

#[test]
fn bad_records_are_refused_beyond_the_number_or_the_share() {
    for (limit, passes) in [
        ("19", false),
        ("20", true),
        ("20%", true),
        ("10%", false),
        ("0", false),
    ] {
        let (blobs, lake) = (Blobs::of_lines(Some(7), &lines(100, 20)), Lake::on_disk());
        let pipeline = Pipeline::from_files(&blobs, &lake);
        let limits = ["--set", &format!("gate.max_quarantined={limit}")];
        if !passes {
            let limit = format!("more than {limit} (gate.max_quarantined)");
            let words = ["20 of 100 records", &limit, "invalid_json", "line 81"];
            let report = is_refused(&pipeline, &limits, &words);
            assert_eq!(report["records_quarantined"], 20);
        } else {
            assert_eq!(pipeline.run_with(&limits)["records_quarantined"], 20);
            DuckDb
                .values(&lake.on_this_machine().table())
                .is(&Truth::of(&blobs));
        }
    }
}

#[test]
fn by_default_1_percent_passes_and_so_do_10_of_few_records() {
    for (records, bad, passes) in [
        (11, 10, true),
        (12, 11, false),
        (1_000, 11, false),
        (10_000, 100, true),
        (20_000, 101, true),
        (10_000, 101, false),
    ] {
        let (blobs, lake) = (
            Blobs::of_lines(Some(7), &lines(records, bad)),
            Lake::on_disk(),
        );
        let pipeline = Pipeline::from_files(&blobs, &lake);
        default_limits(&pipeline);
        if passes {
            assert_eq!(pipeline.run()["rows_written"], records - bad);
        } else {
            is_refused(&pipeline, &[], &["quarantined"]);
        }
    }
}

fn default_limits(pipeline: &Pipeline) {
    pipeline.replace("max_quarantined = \"100%\"\n", "");
}

#[test]
fn of_100_records_99_bad_ones_are_not_published() {
    let (blobs, lake) = (Blobs::of_lines(Some(7), &lines(100, 99)), Lake::on_disk());
    let pipeline = Pipeline::from_files(&blobs, &lake);
    default_limits(&pipeline);
    let example = format!("{}, line 2: ", path(Some(7), 1));
    let words = ["99 of 100 records", "99 for invalid_json", &example];
    let report = is_refused(&pipeline, &[], &words);
    let quarantined = &report["quarantined"][0];
    assert_eq!(quarantined["records"], 99);
    assert_eq!(quarantined["example"]["line"], 2);
    assert_eq!(quarantined["example"]["blob"], path(Some(7), 1));
}

#[test]
fn a_good_day_is_not_replaced_by_quarantined_records_alone() {
    let lake = Lake::on_disk();
    let (morning, noon) = (path(Some(7), 1), path(Some(7), 1).replace("1001", "1201"));
    let good = Blobs::none();
    good.add(&morning, &gzip(&lines(5, 0)));
    Pipeline::from_files(&good, &lake).run();
    let bad = Blobs::none();
    bad.add(&noon, &gzip(&lines(5, 5)));
    let pipeline = Pipeline::from_files(&bad, &lake);
    let words = [
        "all 5 records were quarantined",
        "5 for invalid_json",
        &noon,
    ];
    for arguments in [
        &[][..],
        &["--allow-empty"],
        &["--allow-empty", "--accept-shrink", "--backfill"],
        &["--set", "gate.allow_empty=true"],
    ] {
        let ran = pipeline.command("run", arguments).exits_with(3);
        assert!(!ran.stderr.contains("--allow-empty"), "{}", ran.stderr);
        is_refused(&pipeline, arguments, &words);
    }
    DuckDb
        .values(&lake.on_this_machine().table())
        .is(&Truth::of(&good));
}

#[test]
fn a_snapshot_that_shrank_by_half_is_refused_unless_accepted() {
    let lake = Lake::on_disk();
    let (first, second) = (devices(100), devices(50).next_day());
    Pipeline::from_files(&Blobs::simulated(&first), &lake).run();
    // Half is enough.
    Pipeline::from_files(&Blobs::simulated(&second), &lake).run();
    let third = SnapshotOptions {
        devices: 24,
        ..second.next_day()
    };
    let blobs = Blobs::simulated(&third);
    let pipeline = Pipeline::from_files(&blobs, &lake);
    is_refused(&pipeline, &[], &["24 rows", "50 rows", "--accept-shrink"]);
    pipeline.run_with(&["--accept-shrink"]);
    for day in [&first, &second] {
        blobs.add_simulated(day);
    }
    DuckDb
        .values(&lake.on_this_machine().table())
        .is(&Truth::of(&blobs));
}

#[test]
fn another_ratio_can_be_set() {
    let lake = Lake::on_disk();
    let (first, second) = (devices(100), devices(90).next_day());
    Pipeline::from_files(&Blobs::simulated(&first), &lake).run();
    let blobs = Blobs::simulated(&second);
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let strict = ["--set", "gate.min_rows_ratio=0.95"];
    is_refused(&pipeline, &strict, &["90 rows", "100 rows"]);
    pipeline.run_with(&["--set", "gate.min_rows_ratio=0.9"]);
}

/// 40 records of that minute with a key within the nested text.
fn nested(minute: u32, key: &str, value: &str) -> Blobs {
    let blobs = Blobs::none();
    let records = (0..40).map(|device| {
        format!(r#"{{"DeviceId":"{device}","DeviceGatheredInfo":"{{\"{key}\":{value}}}"}}"#) + "\n"
    });
    let records: String = records.collect();
    let path = path(Some(7), 1).replace("1001", &format!("10{minute:02}"));
    blobs.add(&path, &gzip(records.as_bytes()));
    blobs
}

#[test]
fn a_column_that_lost_its_values_is_refused_and_told() {
    let (time, renamed) = (r#"\"2026-05-01 10:00:00\""#, "AvEngineUpdatedTime");
    for (key, value, cause) in [
        (
            renamed,
            time,
            "the unknown key DeviceGatheredInfo.AvEngineUpdatedTime came",
        ),
        (
            "AvEngineUpdateTime",
            "7",
            "40 values of DeviceGatheredInfo.AvEngineUpdateTime do not fit",
        ),
        (
            "AvMode",
            r#"\"0\""#,
            "DeviceGatheredInfo.AvEngineUpdateTime is missing or null there",
        ),
    ] {
        let lake = Lake::on_disk();
        Pipeline::from_files(&nested(1, "AvEngineUpdateTime", time), &lake).run();
        let changed = nested(2, key, value);
        let pipeline = Pipeline::from_files(&changed, &lake);
        let lost =
            "av_engine_update_time is null in 40 of 40 rows, in 0% of those of the last snapshot";
        let words = [
            lost,
            cause,
            "more than 90% of the rows (gate.max_rescued)",
            "max_rescued=1",
        ];
        let report = is_refused(&pipeline, &[], &words);
        assert!(
            report["warnings"][0].as_str().unwrap().contains(cause),
            "{report}"
        );
        // Once allowed, it is told, and no news the next time.
        let ran = pipeline.command("run", &["--set", "gate.max_rescued=100%"]);
        ran.exits_with(0).says(&["WARN", lost, cause]);
        let again = Pipeline::from_files(&nested(3, key, value), &lake).run();
        assert_eq!(again["warnings"], json!(null), "{again}");
    }
}

#[test]
fn records_without_a_usable_group_say_so_and_what_to_do() {
    let lines = r#"{"DeviceId":"a"}
{"DeviceId":"b","RbacGroupId":""}
{"DeviceId":"c","RbacGroupId":1001.0}
{"DeviceId":"d","RbacGroupId":"1001.5"}
{"DeviceId":"e","RbacGroupId":"5"}
"#;
    let blobs = Blobs::none();
    let hive =
        path(Some(7), 1).replace("_RbacGroupId=7", "_RbacGroupId=__HIVE_DEFAULT_PARTITION__");
    blobs.add(&hive, &gzip(lines.as_bytes()));
    let lake = Lake::on_disk();
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let none = ["--set", "gate.max_quarantined=0"];
    let words = [
        "3 of 5 records were quarantined",
        "neither the blob path nor the record names a device group",
        "source.rbac_group_id",
        "quarantine replay",
    ];
    is_refused(&pipeline, &none, &words);
    pipeline.run_with(&["--set", "gate.max_quarantined=3"]);
    let replay = ["replay", "pipeline.toml", "--set", "source.rbac_group_id=9"];
    pipeline.plain("quarantine", &replay).exits_with(0);
    let table = DuckDb.values(&lake.on_this_machine().table());
    assert_eq!(
        table.column("rbac_group_id"),
        [json!(9), json!(9), json!(1001), json!(9), json!(5)]
    );
}

#[test]
fn an_empty_listing_is_refused_unless_allowed_and_known() {
    let lake = Lake::on_disk();
    let today = Blobs::simulated(&devices(50));
    Pipeline::from_files(&today, &lake).run();
    let nothing = Api::of(&Blobs::none());
    let pipeline = Pipeline::from_api(&nothing, &lake);
    is_refused(&pipeline, &[], &["the listing is empty", "--allow-empty"]);
    is_refused(&pipeline, &["--allow-empty"], &["--org-id"]);

    let tomorrow = "2026-05-04T10:01:00Z";
    let known = ["--org-id", ORG_ID, "--generated-time", tomorrow];
    is_refused(&pipeline, &known, &["the listing is empty"]);
    let allowed = [&known[..], &["--allow-empty"]].concat();
    let report = pipeline.run_with(&allowed);
    assert_eq!(report["outcome"], "committed");
    assert_eq!(report["snapshot"], "20260504T100100Z-47d41a0c");
    assert_eq!(pipeline.run_with(&allowed)["outcome"], "unchanged");
    DuckDb
        .values(&lake.on_this_machine().table())
        .is(&Truth::of(&today));
    pipeline.command("verify", &["--all"]).exits_with(0);

    // The next day has rows again.
    let after = devices(40).next_day().next_day();
    Pipeline::from_files(&Blobs::simulated(&after), &lake).run();
    today.add_simulated(&after);
    DuckDb
        .values(&lake.on_this_machine().table())
        .is(&Truth::of(&today));
}

#[test]
fn blobs_that_are_all_empty_are_refused_unless_allowed() {
    let lake = Lake::on_disk();
    let (yesterday, morning) = (devices(50), devices(50).next_day());
    let rows = Blobs::simulated(&yesterday);
    for day in [&yesterday, &morning] {
        Pipeline::from_files(&Blobs::simulated(day), &lake).run();
    }
    let empty = Blobs::none();
    for part in 1..4 {
        let noon = path(Some(7), part).replace("2026-05-03/1001", "2026-05-04/1201");
        empty.add(&noon, &gzip(b""));
    }
    let api = Api::of(&empty);
    let pipeline = Pipeline::from_api(&api, &lake);
    is_refused(&pipeline, &[], &["no rows", "--allow-empty"]);
    let report = pipeline.run_with(&["--allow-empty"]);
    assert_eq!(
        (&report["blobs"], &report["rows_written"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(report["replaced"], "20260504T100100Z-47d41a0c");
    DuckDb
        .values(&lake.on_this_machine().table())
        .is(&Truth::of(&rows));
    pipeline.command("verify", &["--all"]).exits_with(0);
}

/// Device `a` in two groups.
fn moved_device() -> Blobs {
    let blobs = Blobs::none();
    let lines: [(i64, &[u8]); 3] = [
        (7, b"{\"DeviceId\":\"a\"}\n{\"DeviceId\":\"b\"}\n"),
        (8, b"{\"DeviceId\":\"c\"}\n{\"DeviceId\":\"a\"}\n"),
        (9, b"{\"DeviceId\":\"d\"}\n"),
    ];
    for (group, lines) in lines {
        blobs.add(&path(Some(group), 1), &gzip(lines));
    }
    blobs
}

#[test]
fn a_device_in_two_groups_is_kept_twice_and_reported() {
    let (blobs, lake) = (moved_device(), Lake::on_disk());
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let report = pipeline.run();
    assert_eq!(report["rows_written"], 5);
    assert_eq!(report["duplicate_keys"], 1);
    let both = [path(Some(7), 1), path(Some(8), 1)];
    assert_eq!(
        report["duplicate_key_examples"],
        json!([{"rows": 2, "blobs": both}])
    );
    let table = DuckDb.values(&lake.on_this_machine().table());
    table.is(&Truth::of(&blobs));
    assert_eq!(table.column("device_id"), ["a", "a", "b", "c", "d"]);
    assert_eq!(table.column("rbac_group_id"), [7, 8, 7, 8, 9]);
    let manifest = &lake.files()["_lake/info_gathering/snapshots/20260503T100100Z-47d41a0c.json"];
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    assert_eq!(manifest["duplicate_keys"], 1);
    pipeline.command("verify", &["--all"]).exits_with(0);
}

#[test]
fn a_device_in_two_groups_is_refused_where_the_setting_says_so() {
    let (blobs, lake) = (moved_device(), Lake::on_disk());
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let words = [path(Some(7), 1), path(Some(8), 1)];
    let refuse = ["--set", "gate.duplicate_keys=refuse"];
    let report = is_refused(&pipeline, &refuse, &words.each_ref().map(String::as_str));
    assert_eq!(report["duplicate_keys"], 1);
    assert!(lake.on_this_machine().table_files().is_empty());

    // Unique keys pass, though the setting is there.
    let unique = Blobs::simulated(&devices(20));
    Pipeline::from_files(&unique, &lake).run_with(&refuse);
}
