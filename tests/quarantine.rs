//! The way back from quarantine: what is quarantined is listed, shown, and replayed into its snapshot, exactly once, whatever
//! dies meanwhile.

use std::fs;

use serde_json::{Value, json};

use crate::harness::blobs::{Blobs, gzip, path};
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::readers::Reader::DuckDb;
use crate::harness::readers::Table;

const SNAPSHOT: &str = "20260503T100100Z-47d41a0c";

/// Rows of two groups; records of three groups whose id has another name; and two lines that no schema can read.
fn blobs() -> Blobs {
    let blobs = Blobs::none();
    let lines: [(Option<i64>, &[u8]); 3] = [
        (
            Some(7),
            b"{\"DeviceId\":\"a\",\"OsVersion\":\"10\"}\n{\"Id\":\"b\",\"OsVersion\":\"11\"}\nnot JSON\n",
        ),
        (
            Some(8),
            b"{\"Id\":\"c\",\"New\":1}\n{\"DeviceId\":\"d\"}\n[1]\n",
        ),
        (None, b"{\"Id\":\"e\",\"RbacGroupId\":9}\n"),
    ];
    for (number, (group, lines)) in (1..).zip(lines) {
        blobs.add(&path(group, number), &gzip(lines));
    }
    blobs
}

/// The built-in schema, which takes a device's id from `Id` now.
fn mend_schema(pipeline: &Pipeline) {
    let schema = include_str!("../schemas/info_gathering.toml");
    let corrected = schema.replace("wire = \"DeviceId\"", "wire = \"Id\"");
    assert_ne!(schema, corrected);
    fs::write(pipeline.folder().join("corrected.toml"), corrected).unwrap();
}

const CORRECTED: [&str; 2] = ["--set", "schema=corrected.toml"];

#[track_caller]
fn quarantine(pipeline: &Pipeline, command: &str, arguments: &[&str]) -> String {
    let all = [&[command, "pipeline.toml"], arguments].concat();
    let ran = pipeline.plain("quarantine", &all).exits_with(0);
    ran.stdout
}

#[track_caller]
fn answer(pipeline: &Pipeline, command: &str, arguments: &[&str]) -> Value {
    let json = [&["--json"], arguments].concat();
    serde_json::from_str(&quarantine(pipeline, command, &json)).unwrap()
}

/// Number of quarantined records, by reason, of the one snapshot that has any.
#[track_caller]
fn listed(pipeline: &Pipeline) -> Value {
    let listed = answer(pipeline, "list", &[]);
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed[0]["snapshot"], SNAPSHOT);
    listed[0].clone()
}

fn reasons(reasons: &[(&str, u64)]) -> Value {
    let reasons = reasons.iter();
    reasons
        .map(|(reason, records)| json!({"reason": reason, "records": records}))
        .collect()
}

fn before() -> Value {
    reasons(&[
        ("invalid_json", 1),
        ("missing_key", 3),
        ("not_an_object", 1),
    ])
}

fn after() -> Value {
    reasons(&[("invalid_json", 1), ("not_an_object", 1)])
}

#[track_caller]
fn holds_all_once(table: &Table) {
    assert_eq!(table.column("device_id"), ["a", "b", "c", "d", "e"]);
    assert_eq!(table.column("rbac_group_id"), [7, 7, 8, 8, 9]);
    let os_versions = [
        json!("10"),
        json!("11"),
        Value::Null,
        Value::Null,
        Value::Null,
    ];
    assert_eq!(table.column("os_version"), os_versions);
    let rescued = [
        Value::Null,
        Value::Null,
        json!("{\"New\":1}"),
        Value::Null,
        Value::Null,
    ];
    assert_eq!(table.column("_rescued_data"), rescued);
}

/// Replays twice; the first adds what passes, the second nothing.
fn comes_back_exactly_once(lake: &Lake) {
    let blobs = blobs();
    let pipeline = Pipeline::from_files(&blobs, lake);
    let report = pipeline.run();
    assert_eq!(
        (&report["rows_written"], &report["records_quarantined"]),
        (&json!(2), &json!(5))
    );
    assert_eq!(listed(&pipeline)["reasons"], before());
    assert_eq!(listed(&pipeline)["published"], true);

    // The schema is the same: nothing changes.
    let published = lake.state();
    let unchanged = answer(&pipeline, "replay", &[]);
    assert_eq!(unchanged[0]["rows_added"], 0);
    assert_eq!(unchanged[0]["remaining"], before());
    assert!(lake.state() == published, "the lake changed");

    mend_schema(&pipeline);
    let replayed = answer(&pipeline, "replay", &CORRECTED);
    assert_eq!(
        replayed,
        json!([{"snapshot": SNAPSHOT, "rows_added": 3, "files_added": 3, "remaining": after(), "cut": 0}])
    );
    assert_eq!(listed(&pipeline)["reasons"], after());
    let replayed = lake.on_this_machine();
    holds_all_once(&DuckDb.values(&replayed.table()));
    pipeline.command("verify", &CORRECTED).exits_with(0);

    let again = answer(&pipeline, "replay", &CORRECTED);
    assert_eq!(again[0]["rows_added"], 0);
    assert!(lake.state() == replayed.state(), "the lake changed");
    assert_eq!(listed(&pipeline)["reasons"], after());
    assert!(lake.open_uploads().is_empty());

    // The service still lists the snapshot: it is there, with all that was added.
    assert_eq!(pipeline.run()["outcome"], "unchanged");
}

#[test]
fn corrected_records_come_back_exactly_once_on_disk() {
    comes_back_exactly_once(&Lake::on_disk());
}

#[test]
fn corrected_records_come_back_exactly_once_in_s3() {
    comes_back_exactly_once(&Lake::in_moto());
}

#[test]
fn corrected_records_come_back_exactly_once_in_azure() {
    comes_back_exactly_once(&Lake::in_azurite());
}

#[test]
fn quarantined_records_are_listed_and_shown_with_their_origin() {
    let (blobs, lake) = (blobs(), Lake::on_disk());
    let pipeline = Pipeline::from_files(&blobs, &lake);
    pipeline.run();

    let text = quarantine(&pipeline, "list", &[]);
    for words in [SNAPSHOT, "published", "3 missing_key", "1 invalid_json"] {
        assert!(text.contains(words), "`{words}` is not in {text}");
    }
    let show = |arguments: &[&str]| -> Vec<Value> {
        let shown = quarantine(&pipeline, "show", arguments);
        let lines = shown.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    assert_eq!(show(&[]).len(), 5);
    assert_eq!(show(&["--limit", "2"]).len(), 2);
    assert_eq!(show(&["--reason", "missing_key"]).len(), 3);
    assert_eq!(
        show(&["--snapshot", "20260504T100100Z-47d41a0c"]),
        [Value::Null; 0]
    );
    let bad = &show(&["--reason", "invalid_json"])[0];
    assert_eq!(bad["blob"], path(Some(7), 1));
    assert_eq!((&bad["line"], &bad["raw"]), (&json!(3), &json!("not JSON")));
    let at = bad["offset"].as_u64().unwrap() as usize;
    let whole: &[u8] =
        b"{\"DeviceId\":\"a\",\"OsVersion\":\"10\"}\n{\"Id\":\"b\",\"OsVersion\":\"11\"}\n";
    assert_eq!(at, whole.len());
}

#[test]
fn what_the_gate_refused_can_be_looked_at_and_not_replayed() {
    let (blobs, lake) = (blobs(), Lake::on_disk());
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let strict = ["--set", "gate.max_quarantined=0"];
    pipeline.command("run", &strict).exits_with(3);
    assert_eq!(listed(&pipeline)["published"], false);
    assert_eq!(listed(&pipeline)["reasons"], before());
    mend_schema(&pipeline);
    assert_eq!(answer(&pipeline, "replay", &CORRECTED), json!([]));
    let only = ["replay", "pipeline.toml", "--snapshot", SNAPSHOT];
    let ran = pipeline.plain("quarantine", &only);
    assert_ne!(ran.code, 0);
    ran.says(&[SNAPSHOT]);
    assert!(lake.on_this_machine().table_files().is_empty());

    // The run that publishes it takes the place of what was refused.
    pipeline.run();
    assert_eq!(listed(&pipeline)["published"], true);
    assert_eq!(listed(&pipeline)["reasons"], before());
}
