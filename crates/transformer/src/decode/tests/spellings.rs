//! Several wire paths of a column, keys in another case, and lists of structs.

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::json::LineDelimitedWriter;
use dataset::Dataset;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{SCHEMA, decoded, decoder, snapshot};
use crate::decode::{DriftKind, GroupSource, RecordDecoder};

fn decoder_of(columns: &str) -> RecordDecoder {
    let dataset = Dataset::parse(&(SCHEMA.to_owned() + columns), "x.toml").unwrap();
    let mut decoder = RecordDecoder::new(&dataset, &snapshot());
    decoder.set_group_source(GroupSource::Records { fallback: Some(0) });
    decoder
}

const ALIASES: &str = r#"
[[column]]
name = "os"
wire = ["OsPlatform", "OSPlatform", "Old.Os"]
type = "string"
meaning = ""
[[column]]
name = "count"
wire = "Info.Count"
type = "int64"
meaning = ""
"#;

/// The rows of some records, and the drift of all of them as `path kind records`.
fn read(decoder: &mut RecordDecoder, records: &[&str]) -> (Vec<Value>, Vec<String>) {
    for record in records {
        decoder.decode(record.as_bytes()).unwrap();
    }
    let rows = decoded(&decoder.take_batch().unwrap()).into_iter();
    let drift = decoder.take_drift().paths.into_iter();
    let mut drift: Vec<String> = drift
        .map(|((path, kind), records)| format!("{path} {kind:?} {records}"))
        .collect();
    drift.sort();
    (rows.map(Value::Object).collect(), drift)
}

#[test]
fn every_declared_path_and_any_case_of_it_fills_the_column() {
    let mut decoder = decoder_of(ALIASES);
    let records = [
        r#"{"Id":"1","OsPlatform":"a"}"#,
        r#"{"Id":"1","OSPlatform":"a"}"#,
        r#"{"Id":"1","Old":"{\"Os\":\"a\"}"}"#,
        r#"{"id":"1","osplatform":"a"}"#,
        r#"{"ID":"1","old":{"oS":"a"}}"#,
        r#"{"iD":"1","osPlatform":null,"old":"{\"oS\":\"a\"}"}"#,
    ];
    for _ in 0..3 {
        let (rows, drift) = read(&mut decoder, &records);
        for row in rows {
            assert_eq!(row, json!({"id": "1", "os": "a", "rbac_group_id": 0}));
        }
        assert_eq!(
            drift,
            [
                "ID Spelling 1",
                "Old.oS Spelling 2",
                "iD Spelling 1",
                "osplatform Spelling 1",
            ]
        );
    }
}

#[test]
fn of_several_spellings_the_exact_and_the_first_one_counts() {
    let mut decoder = decoder_of(ALIASES);
    for (record, os, rescued) in [
        (
            r#"{"osplatform":"x","OsPlatform":"y","Id":"1"}"#,
            "y",
            json!({"osplatform": "x"}),
        ),
        (
            r#"{"OsPlatform":"y","osplatform":"x","Id":"1"}"#,
            "y",
            json!({"osplatform": "x"}),
        ),
        (
            r#"{"Id":"1","Old":{"Os":"z"},"osplatform":"x","OSPlatform":"y"}"#,
            "y",
            json!({"Old.Os": "z", "osplatform": "x"}),
        ),
        (
            r#"{"Id":"1","Old":"{\"Os\":\"z\"}","OsPlatform":7}"#,
            "z",
            json!({"OsPlatform": 7}),
        ),
    ] {
        for _ in 0..3 {
            let (rows, _) = read(&mut decoder, &[record]);
            assert_eq!(rows[0]["os"], os, "{record}");
            assert_eq!(rows[0]["_rescued_data"], rescued, "{record}");
        }
    }
    for record in [
        r#"{"Id":"1","osplatform":"x","OsPlatform":null}"#,
        r#"{"Id":"1","OsPlatform":null,"osplatform":"x","OsPlatform":null}"#,
        r#"{"Id":"1","osplatform":"w","osplatform":"x"}"#,
    ] {
        let (rows, drift) = read(&mut decoder, &[record]);
        assert_eq!(rows[0]["os"], "x", "{record}");
        assert_eq!(rows[0].get("_rescued_data"), None, "{record}");
        assert_eq!(drift, ["osplatform Spelling 1"], "{record}");
    }
}

#[test]
fn an_object_under_two_spellings_of_its_key_counts_once() {
    let mut decoder = decoder_of(ALIASES);
    for record in [
        r#"{"Id":"1","info":{"Count":1},"Info":{"Count":2}}"#,
        r#"{"Id":"1","Info":"{\"Count\":2}","info":{"Count":1}}"#,
    ] {
        let (rows, _) = read(&mut decoder, &[record, record]);
        for row in rows {
            assert_eq!(row["count"], 2, "{record}");
            assert_eq!(row["_rescued_data"], json!({"info": {"Count": 1}}));
        }
    }
}

#[test]
fn a_quarantined_record_leaves_no_drift_of_its_spellings() {
    let mut decoder = decoder_of(ALIASES);
    decoder.decode(br#"{"id":"1","osplatform":"x"}"#).unwrap();
    decoder.decode(br#"{"osplatform":"x"}"#).unwrap_err();
    decoder
        .decode(br#"{"id":"1","osplatform":"x",}"#)
        .unwrap_err();
    let (rows, drift) = read(&mut decoder, &[]);
    assert_eq!(rows.len(), 1);
    assert_eq!(drift, ["osplatform Spelling 1"]);
}

#[test]
fn spellings_without_end_are_rescued_once_enough_are_learned() {
    let mut decoder = decoder_of(&ALIASES.replace("OSPlatform", &"k".repeat(12)));
    for spelling in 0..1_u32 << 12 {
        let upper = |bit: u32| if spelling >> bit & 1 == 1 { 'K' } else { 'k' };
        let key: String = (0..12).map(upper).collect();
        decoder
            .decode(format!(r#"{{"Id":"1","{key}":"x"}}"#).as_bytes())
            .unwrap();
    }
    let rows = decoded(&decoder.take_batch().unwrap());
    let (read, rescued): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.contains_key("os"));
    assert!(read.len() > 1_000);
    assert!(rescued.iter().all(|row| row.contains_key("_rescued_data")));
}

#[test]
fn null_is_a_value_of_a_key_and_of_no_other_required_column() {
    let columns = ALIASES.replace("type = \"int64\"", "type = \"int64\"\nnullable = false");
    let text = SCHEMA.replace("[\"id\"]", "[\"id\", \"os\"]") + &columns;
    let dataset = Dataset::parse(&text, "x.toml").unwrap();
    let mut decoder = RecordDecoder::new(&dataset, &snapshot());
    decoder.set_group_source(GroupSource::BlobPath(1));
    for record in [
        r#"{"Id":"1","Info":{"Count":1}}"#,
        r#"{"Id":"1","OsPlatform":"","Info":{"Count":1}}"#,
    ] {
        decoder.decode(record.as_bytes()).unwrap();
    }
    for (record, code) in [
        (r#"{"Id":"1"}"#, "missing_value"),
        (r#"{"Id":"1","Info":{"Count":"x"}}"#, "missing_value"),
        (r#"{"Id":"","Info":{"Count":1}}"#, "missing_key"),
    ] {
        let reason = decoder.decode(record.as_bytes()).unwrap_err();
        assert_eq!(reason.code(), code, "{record}");
    }
}

proptest! {
    #[test]
    fn keys_in_any_case_read_as_the_exact_ones(flips in prop::collection::vec(any::<bool>(), 60)) {
        let exact = r#"{"Id":"1","S":"s","Group":3,"Info":"{\"B\":true,\"Scan\":\"{\\\"T\\\":\\\"2020-01-01T00:00:00Z\\\"}\",\"I\":4}","L":["x"]}"#;
        let mut flips = flips.into_iter().cycle();
        let mut decoder = decoder();
        let mut flip_case = |key: &str| -> String {
            let flip = |c: char| match flips.next() {
                Some(true) => c.to_ascii_lowercase(),
                _ => c,
            };
            key.chars().map(flip).collect()
        };
        let mut record = exact.to_owned();
        for key in ["Id", "S", "Group", "Info", "B", "Scan", "T", "I", "L"] {
            let quoted = |quote: &str, key: &str| format!("{quote}{key}{quote}:");
            let other = flip_case(key);
            for quote in ["\"", "\\\"", "\\\\\\\""] {
                record = record.replace(&quoted(quote, key), &quoted(quote, &other));
            }
        }
        let (rows, _) = read(&mut decoder, &[exact, &record, exact, &record]);
        for row in &rows {
            prop_assert_eq!(row, &rows[0], "{}", record);
        }
    }
}

const STRUCTS: &str = r#"
[[column]]
name = "permissions"
wire = "Permissions"
type = "list<struct>"
meaning = ""
[[column.field]]
name = "id"
wire = ["Id", "PermissionId"]
type = "string"
meaning = ""
[[column.field]]
name = "seen"
wire = "Seen.At"
type = "timestamp"
meaning = ""
[[column.field]]
name = "parts"
wire = "Parts"
type = "list<struct>"
meaning = ""
[[column.field.field]]
name = "n"
wire = "N"
type = "int64"
meaning = ""
"#;

/// `permissions` and `_rescued_data` of each record.
fn permissions(records: &[&str]) -> Vec<(Value, Value)> {
    let mut decoder = decoder_of(STRUCTS);
    for record in records {
        decoder.decode(record.as_bytes()).unwrap();
    }
    let rows = decoder.take_batch().unwrap().rows;
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(&rows).unwrap();
    let lines = String::from_utf8(writer.into_inner()).unwrap();
    lines
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            let rescued = row["_rescued_data"].as_str();
            let rescued = rescued.map_or(Value::Null, |json| serde_json::from_str(json).unwrap());
            (row["permissions"].clone(), rescued)
        })
        .collect()
}

#[test]
fn lists_of_structs_are_read_with_their_fields_nulls_and_lists() {
    let array = r#"[{"Id":"a","Seen":{"At":"2020-01-01 00:00:00"},"Parts":[{"N":1},{"N":null}]},null,{},{"permissionID":"b"}]"#;
    let read = json!([
        {"id": "a", "seen": "2020-01-01T00:00:00Z", "parts": [{"n": 1}, {}]},
        null,
        {},
        {"id": "b"},
    ]);
    let direct = format!(r#"{{"Id":"1","Permissions":{array}}}"#);
    let held = json!({"Id": "1", "Permissions": array}).to_string();
    let rows = permissions(&[
        &direct,
        &held,
        r#"{"Id":"1"}"#,
        r#"{"Id":"1","Permissions":[]}"#,
        &direct,
    ]);
    for row in [0, 1, 4] {
        assert_eq!(rows[row], (read.clone(), Value::Null));
    }
    assert_eq!(rows[2].0, Value::Null);
    assert_eq!(rows[3].0, json!([]));
}

#[test]
fn what_a_list_of_structs_cannot_hold_is_rescued_whole() {
    for (array, read) in [
        (json!([{"Id": "a", "New": 1}]), json!([{"id": "a"}])),
        (json!([{"Id": "a"}, {"Id": 7}]), json!([{"id": "a"}, {}])),
        (
            json!([{"Id": "a", "Parts": [{"M": 1}]}]),
            json!([{"id": "a", "parts": [{}]}]),
        ),
        (json!([{"Id": "a"}, "b"]), Value::Null),
        (json!({"Id": "a"}), Value::Null),
    ] {
        let record = json!({"Id": "1", "Permissions": array}).to_string();
        let after = r#"{"Id":"1","Permissions":[{"Id":"z"}]}"#;
        let rows = permissions(&[&record, after]);
        assert_eq!(rows[0], (read, json!({"Permissions": array})));
        assert_eq!(rows[1], (json!([{"id": "z"}]), Value::Null));
    }
}

#[test]
fn a_record_that_fails_in_a_list_of_structs_leaves_nothing() {
    let mut decoder = decoder_of(STRUCTS);
    decoder
        .decode(br#"{"Id":"1","Permissions":[{"Id":"a"},{"Id":"b","Seen":{"At":"2020-01-01T00:00:00Z"},}]}"#)
        .unwrap_err();
    decoder
        .decode(br#"{"Id":"1","Permissions":[{"Id":"x"}],"Permissions":[{"Id":"c"}]}"#)
        .unwrap();
    let rows = decoder.take_batch().unwrap().rows;
    let lists = rows.column_by_name("permissions").unwrap().as_list::<i32>();
    let items = lists.values().as_struct();
    assert_eq!((lists.len(), items.len()), (1, 1));
    let ids = items.column_by_name("id").unwrap().as_string::<i32>();
    assert_eq!(ids.value(0), "c");
    let seen = items.column_by_name("seen").unwrap();
    assert!(seen.as_primitive::<TimestampMicrosecondType>().is_null(0));
}

#[test]
fn spellings_of_fields_are_counted_below_their_column() {
    let mut decoder = decoder_of(STRUCTS);
    decoder
        .decode(br#"{"Id":"1","Permissions":[{"ID":"a"},{"ID":"b"}]}"#)
        .unwrap();
    let drift = decoder.take_drift().paths;
    let key = ("Permissions.ID".into(), DriftKind::Spelling);
    assert_eq!(drift.get(&key), Some(&1));
}
