//! Records that are not as the schema says: rescued or quarantined, counted, and never lost.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use simulator::{Oddities, SnapshotOptions};

use crate::harness::blobs::{Blobs, gzip, path};
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::readers::Reader::DuckDb;
use crate::harness::readers::filtered;
use crate::harness::truth::{Counts, Truth};

/// `_rescued_data` of the one row that comes of this record.
fn rescued(record: &str) -> Value {
    let rows = rescued_of(Some(7), record);
    assert_eq!(rows.len(), 1);
    rows[0].clone()
}

/// `_rescued_data` of all rows that come of these lines.
fn rescued_of(group: Option<i64>, lines: &str) -> Vec<Value> {
    let (blobs, lake) = (Blobs::of_lines(group, lines.as_bytes()), Lake::on_disk());
    Pipeline::from_files(&blobs, &lake).run();
    let table = DuckDb.values(&lake.on_this_machine().table());
    table.is(&Truth::of(&blobs));
    let texts = table.column("_rescued_data").iter();
    texts
        .map(|text| {
            text.as_str()
                .map_or(Value::Null, |text| serde_json::from_str(text).unwrap())
        })
        .collect()
}

#[test]
fn unknown_keys_are_rescued_by_wire_path_unless_null() {
    let record = r#"{"DeviceId":"a","New":{"x":[1,null]},"Gone":null,"DeviceGatheredInfo":"{\"AvMode\":\"0\",\"a.b\\\\c\":1,\"AvScanResults\":\"{\\\"Boot\\\":true}\"}"}"#;
    assert_eq!(
        rescued(record),
        json!({
            "New": {"x": [1, null]},
            r"DeviceGatheredInfo.a\.b\\c": 1,
            "DeviceGatheredInfo.AvScanResults.Boot": true,
        })
    );
}

#[test]
fn what_does_not_fit_its_column_is_rescued_as_it_came() {
    let record = r#"{"DeviceId":"a","OsVersion":10,"LastSeenTime":"-","DeviceGatheredInfo":{"AvIsEngineUptodate":"maybe","SchUseStrongCrypto40":"1.5","AsrConfigurationStates":["x"]}}"#;
    assert_eq!(
        rescued(record),
        json!({
            "OsVersion": 10,
            "LastSeenTime": "-",
            "DeviceGatheredInfo.AvIsEngineUptodate": "maybe",
            "DeviceGatheredInfo.SchUseStrongCrypto40": "1.5",
            "DeviceGatheredInfo.AsrConfigurationStates": ["x"],
        })
    );
}

#[test]
fn all_forms_of_time_are_read_and_blank_values_are_nulls() {
    let times = [
        ("2026-08-31 9:05:07", 7),
        ("2026-08-31T9:05:07Z", 7),
        ("2026-08-31T09:05:07+0000", 7),
        ("2026-08-31 09:05:07 UTC", 7),
        ("2026-08-31T09:05Z", 0),
        ("2026-08-31 9:05", 0),
        ("2026-08-31 11:05 +02:00", 0),
        ("2026-08-31", -9 * 3600 - 5 * 60),
    ];
    let blank = r#"{"DeviceId":"9","OsVersion":"","LastSeenTime":"","DeviceGatheredInfo":"{\"AvIsEngineUpToDate\":\"Unknown\",\"AvIsPlatformUptodate\":\"\",\"AsrConfigurationStates\":\"\"}"}"#;
    let records = times.iter().enumerate();
    let records = records.map(|(id, (time, _))| {
        format!(r#"{{"DeviceId":"{id}","OsVersion":"1","LastSeenTime":"{time}"}}"#)
    });
    let lines: Vec<String> = records.chain([blank.to_owned()]).collect();
    let lake = Lake::on_disk();
    let blobs = Blobs::of_lines(Some(7), lines.join("\n").as_bytes());
    let report = Pipeline::from_files(&blobs, &lake).run();
    assert_eq!(report["rows_rescued"], 0, "{report}");
    let blanks = report["drift"].as_array().unwrap().iter();
    let blanks: BTreeSet<_> = blanks
        .map(|drift| {
            format!(
                "{} {} {}",
                drift["wire_path"], drift["kind"], drift["records"]
            )
        })
        .collect();
    let expected = [
        r#""DeviceGatheredInfo.AsrConfigurationStates" "blank" 1"#,
        r#""DeviceGatheredInfo.AvIsEngineUpToDate" "blank" 1"#,
        r#""DeviceGatheredInfo.AvIsPlatformUptodate" "blank" 1"#,
        r#""LastSeenTime" "blank" 1"#,
    ];
    assert_eq!(blanks, expected.map(str::to_owned).into());
    let table = DuckDb.values(&lake.on_this_machine().table());
    let base = 1_788_167_100_i64;
    let read: Vec<Value> = times
        .iter()
        .map(|(_, seconds)| json!((base + seconds) * 1_000_000))
        .chain([Value::Null])
        .collect();
    assert_eq!(table.column("last_seen_time"), read);
    let last = |column: &str| table.column(column)[times.len()].clone();
    assert_eq!(last("os_version"), "");
    for column in [
        "av_is_engine_up_to_date",
        "av_is_platform_up_to_date",
        "asr_configuration_states",
    ] {
        assert_eq!(last(column), Value::Null, "{column}");
    }
}

#[test]
fn half_a_surrogate_pair_or_bad_bytes_cost_no_record() {
    let lines: [&[u8]; 4] = [
        br#"{"DeviceId":"a","DeviceName":"x \ud83d","OsVersion":"1"}"#,
        br#"{"DeviceId":"b","DeviceGatheredInfo":"{\"AvMode\":\"0\",\"AvEngineVersion\":\"x \\ud83d\"}"}"#,
        b"{\"DeviceId\":\"c\",\"DeviceName\":\"\xff\xfe!\"}",
        b"{\"DeviceId\":\"d\xff\"",
    ];
    let (blobs, lake) = (
        Blobs::of_lines(Some(7), &lines.join(&b'\n')),
        Lake::on_disk(),
    );
    let report = Pipeline::from_files(&blobs, &lake).run();
    assert_eq!(report["records_quarantined"], 1, "{report}");
    assert_eq!(report["quarantined"][0]["reason"], "invalid_utf8");
    let kinds = report["drift"].as_array().unwrap().iter();
    let kinds: BTreeSet<_> = kinds
        .map(|drift| drift["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, BTreeSet::from(["damaged".to_owned()]));
    let table = DuckDb.values(&lake.on_this_machine().table());
    assert_eq!(
        table.column("device_name"),
        [json!("x \u{fffd}"), Value::Null, json!("\u{fffd}\u{fffd}!")]
    );
    assert_eq!(
        table.column("av_mode"),
        [Value::Null, json!("0"), Value::Null]
    );
    assert_eq!(table.column("av_engine_version")[1], "x \u{fffd}");
    let originals: Vec<Value> = table
        .column("_rescued_data")
        .iter()
        .map(|text| serde_json::from_str(text.as_str().unwrap()).unwrap())
        .collect();
    let base64 = |bytes: &[u8]| json!({"base64": STANDARD.encode(bytes)});
    assert_eq!(
        originals,
        [
            json!({"DeviceName": base64(br#""x \ud83d""#)}),
            json!({"DeviceGatheredInfo.AvEngineVersion": base64(br#""x \ud83d""#)}),
            json!({"DeviceName": base64(b"\"\xff\xfe!\"")}),
        ]
    );
}

#[test]
fn a_time_at_the_end_of_year_9999_is_found_by_every_reader() {
    let lines = r#"{"DeviceId":"end","LastSeenTime":"9999-12-31T23:59:59.9999999Z"}
{"DeviceId":"moved in","LastSeenTime":"1899-12-31T23:30:00-01:00"}
{"DeviceId":"moved past","LastSeenTime":"9999-12-31T23:59:59-00:01"}
{"DeviceId":"moved before","LastSeenTime":"1900-01-01T00:00:00+00:01"}
{"DeviceId":"usual","LastSeenTime":"2026-05-01T00:00:00Z"}"#;
    let (blobs, lake) = (Blobs::of_lines(Some(7), lines.as_bytes()), Lake::on_disk());
    let report = Pipeline::from_files(&blobs, &lake).run();
    assert_eq!(report["rows_rescued"], 2);
    DuckDb
        .values(&lake.on_this_machine().table())
        .is(&Truth::of(&blobs));
    for (time, from_then_on) in [
        ("9999-01-01T00:00:00+00:00", json!(["end"])),
        ("2026-05-01T00:00:00+00:00", json!(["end", "usual"])),
        (
            "1900-01-01T00:30:00+00:00",
            json!(["end", "moved in", "usual"]),
        ),
    ] {
        for (reader, found) in filtered(&lake, "last_seen_time", time) {
            assert_eq!(found[0], from_then_on, "{reader} from {time} on");
            let (later, earlier) = (found[0].as_array(), found[1].as_array());
            let count = later.unwrap().len() + earlier.unwrap().len();
            assert_eq!(count, 3, "{reader}: {found}");
        }
    }
}

#[test]
fn gathered_info_that_is_no_object_is_rescued_whole() {
    let with_info = |info: &str| {
        rescued(&format!(
            r#"{{"DeviceId":"a","DeviceGatheredInfo":{info}}}"#
        ))
    };
    for info in [r#""""#, r#""not JSON""#, r#""[1]""#, "7", "[1]", "true"] {
        let value: Value = serde_json::from_str(info).unwrap();
        assert_eq!(
            with_info(info),
            json!({"DeviceGatheredInfo": value}),
            "{info}"
        );
    }
    for info in ["null", r#""null""#, "{}", r#""{}""#] {
        assert_eq!(with_info(info), Value::Null, "{info}");
    }
}

#[test]
fn the_last_of_duplicate_keys_wins() {
    let record = r#"{"DeviceId":"a","DeviceId":"b","OsVersion":1,"OsVersion":"2","New":1,"New":2,"DeviceGatheredInfo":"{\"Old\":1}","DeviceGatheredInfo":"{\"AvMode\":\"1\"}"}"#;
    assert_eq!(rescued(record), json!({"New": 2}));
}

#[test]
fn the_blob_path_decides_the_group_and_the_records_is_rescued() {
    assert_eq!(
        rescued(r#"{"DeviceId":"a","RbacGroupId":"7"}"#),
        Value::Null
    );
    assert_eq!(
        rescued(r#"{"DeviceId":"a","RbacGroupId":8}"#),
        json!({"RbacGroupId": 8})
    );
}

#[test]
fn records_name_their_group_where_the_path_does_not() {
    let lines = "{\"DeviceId\":\"a\",\"RbacGroupId\":1}\n{\"DeviceId\":\"b\",\"RbacGroupId\":\"2\"}\n{\"DeviceId\":\"c\"}\n";
    let (blobs, lake) = (Blobs::of_lines(None, lines.as_bytes()), Lake::on_disk());
    let report = Pipeline::from_files(&blobs, &lake).run();
    assert_eq!(report["records_quarantined"], 1);
    let table = DuckDb.values(&lake.on_this_machine().table());
    table.is(&Truth::of(&blobs));
    assert_eq!(table.column("rbac_group_id"), [json!(1), json!(2)]);
}

#[test]
fn line_ends_blank_lines_a_bom_and_members_change_nothing() {
    let record =
        |id: &str| format!("{{\"DeviceId\":\"{id}\",\"DeviceName\":\"Müller 🦀 \\ud83e\\udd80\"}}");
    let (a, b) = (record("a"), record("b"));
    let plain = format!("{a}\n{b}\n").into_bytes();
    let texts = [
        plain.clone(),
        format!("{a}\r\n{b}\r\n").into_bytes(),
        format!("\n{a}\n \t\n\r\n{b}\n\n").into_bytes(),
        format!("\u{feff}{a}\n{b}").into_bytes(),
    ];
    let members = [gzip(&plain[..20]), gzip(b""), gzip(&plain[20..])].concat();
    for blob in texts.map(|text| gzip(&text)).into_iter().chain([members]) {
        let (blobs, lake) = (Blobs::none(), Lake::on_disk());
        blobs.add(&path(Some(7), 1), &blob);
        let report = Pipeline::from_files(&blobs, &lake).run();
        assert_eq!(
            (&report["records_read"], &report["rows_rescued"]),
            (&json!(2), &json!(0))
        );
        let table = DuckDb.values(&lake.on_this_machine().table());
        assert_eq!(table.column("device_id"), ["a", "b"]);
        assert_eq!(
            table.column("device_name"),
            ["Müller 🦀 🦀", "Müller 🦀 🦀"]
        );
    }
}

#[test]
fn records_that_are_no_rows_are_quarantined_with_origin() {
    let deep = format!(
        "{{\"DeviceId\":\"deep\",\"x\":{}1{}}}",
        "[".repeat(200),
        "]".repeat(200)
    );
    let lines: Vec<&[u8]> = vec![
        b"{\"DeviceId\":\"good\"}",
        b"not JSON",
        b"",
        b"{\"DeviceId\":\"cut\",\"OsVersion\":\"10",
        b"[{\"DeviceId\":\"in an array\"}]",
        b"{\"DeviceName\":\"no id\"}",
        b"{\"DeviceId\":null}",
        b"{\"DeviceId\":7}",
        b"{\"DeviceId\":\"\"}",
        b"{\"DeviceId\":\"trailing\"} x",
        b"{\"DeviceId\":\"\xff\"",
        b"{\"DeviceId\":\"\\ud800\"",
        deep.as_bytes(),
    ];
    let (blobs, lake) = (
        Blobs::of_lines(Some(7), &lines.join(&b'\n')),
        Lake::on_disk(),
    );
    let report = Pipeline::from_files(&blobs, &lake).run();
    let truth = Truth::of(&blobs);
    assert_eq!(
        truth.counts(),
        Counts {
            records_read: 12,
            rows_written: 1,
            records_quarantined: 11,
            rows_rescued: 0
        }
    );
    assert_eq!(report["records_quarantined"], 11);
    DuckDb.values(&lake.on_this_machine().table()).is(&truth);
    quarantine_is(&lake, &report, &truth);
}

#[test]
fn an_odd_snapshot_sets_aside_exactly_its_bad_lines() {
    let blobs = Blobs::simulated(&SnapshotOptions {
        devices: 500,
        oddities: Oddities::all(),
        ..SnapshotOptions::default()
    });
    let lake = Lake::on_disk();
    let report = Pipeline::from_files(&blobs, &lake).run();
    let truth = Truth::of(&blobs);
    assert!(!truth.quarantined.is_empty());
    quarantine_is(&lake, &report, &truth);
}

/// Asserts that the quarantine holds the truth's records, and nothing else.
fn quarantine_is(lake: &Lake, report: &Value, truth: &Truth) {
    let folder = format!(
        "_lake/info_gathering/quarantine/{}/",
        report["snapshot"].as_str().unwrap()
    );
    let mut found = Vec::new();
    for (path, bytes) in lake.files() {
        if path.starts_with(&folder) {
            let records = bytes
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty());
            found.extend(records.map(|line| serde_json::from_slice::<Value>(line).unwrap()));
        }
    }
    found.sort_by_key(|record| (record["blob"].to_string(), record["line"].as_u64()));
    assert_eq!(found.len(), truth.quarantined.len());
    let mut expected = truth.quarantined.clone();
    expected.sort_by_key(|record| (record.blob.clone(), record.line));
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found["blob"], expected.blob.as_str());
        assert_eq!(
            (found["line"].as_u64(), found["offset"].as_u64()),
            (Some(expected.line), Some(expected.offset))
        );
        assert_eq!(found["reason"], expected.reason, "{found}");
        let raw = match &found["raw"] {
            Value::String(text) => text.clone().into_bytes(),
            _ => STANDARD
                .decode(found["raw_base64"].as_str().unwrap())
                .unwrap(),
        };
        assert_eq!(raw.trim_ascii_end(), expected.raw.trim_ascii_end());
    }
    let reasons = expected
        .iter()
        .fold(BTreeMap::<_, u64>::new(), |mut reasons, record| {
            *reasons.entry(record.reason).or_default() += 1;
            reasons
        });
    let reported = report["quarantined"].as_array().unwrap().iter();
    let reported = reported.map(|reason| {
        (
            reason["reason"].as_str().unwrap(),
            reason["records"].as_u64().unwrap(),
        )
    });
    assert_eq!(reported.collect::<BTreeMap<_, _>>(), reasons);
}
