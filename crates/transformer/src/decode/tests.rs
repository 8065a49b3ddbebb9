//! The decoder against `serde_json` as oracle: an independent reading of the same line through a value tree.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Field, Float64Type, Int64Type, Schema, TimestampMicrosecondType,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use dataset::{Dataset, Snapshot};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::damage::Repaired;
use super::*;
use crate::columns::of_type;
use crate::quarantine::Reason;

mod spellings;

const SCHEMA: &str = r#"
name = "x"
meaning = ""
endpoint = "/x"
export_name = "X"
permission = ""
unique_key = ["id"]
[partition]
column = "rbac_group_id"
wire = "Group"
meaning = ""
[[column]]
name = "id"
wire = "Id"
type = "string"
nullable = false
meaning = ""
"#;

const COLUMNS: &[(&str, &str, &str)] = &[
    ("s", "S", "string"),
    ("b", "Info.B", "bool"),
    ("i", "Info.I", "int64"),
    ("f", "Info.F", "float64"),
    ("t", "Info.Scan.T", "timestamp"),
    ("s_2", "Info.Scan.S", "string"),
    ("d", "Info.Scan.Deep.D", "date"),
    ("l", "L", "list<string>"),
    ("m", "Info.M", "map<string, string>"),
    ("j", "Info.J", "json"),
];

fn dataset() -> Dataset {
    let columns = COLUMNS.iter().map(|(name, wire, column_type)| {
        format!(
            "[[column]]\nname = '{name}'\nwire = '{wire}'\ntype = '{column_type}'\nmeaning = ''\n"
        )
    });
    Dataset::parse(
        &(SCHEMA.to_owned() + &columns.collect::<String>()),
        "x.toml",
    )
    .unwrap()
}

fn snapshot() -> Snapshot {
    Snapshot {
        dataset: "x".to_owned(),
        org_id: "47d41a0c-188d-46d3-bbea-a93dbc0bfcaa".parse().unwrap(),
        generated_time: Utc.with_ymd_and_hms(2022, 7, 26, 10, 1, 0).unwrap(),
    }
}

fn decoder() -> RecordDecoder {
    let mut decoder = RecordDecoder::new(&dataset(), &snapshot());
    decoder.set_group_source(GroupSource::Records { fallback: Some(0) });
    decoder
}

/// The batch with strings in place of dictionaries of them.
fn with_plain_texts(batch: &RecordBatch) -> RecordBatch {
    let (fields, columns): (Vec<_>, Vec<_>) = batch
        .schema()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| {
            let plain = plain(field);
            let column = cast(column, plain.data_type()).unwrap();
            (plain, column)
        })
        .unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn plain(field: &Arc<Field>) -> Arc<Field> {
    let data_type = match field.data_type() {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        DataType::List(item) => DataType::List(plain(item)),
        DataType::Map(entry, sorted) => DataType::Map(plain(entry), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain).collect()),
        other => other.clone(),
    };
    of_type(field, &data_type)
}

/// A row as JSON: column name to value; timestamps as microseconds, dates as days, json columns parsed.
type Row = Map<String, Value>;

fn decoded(batch: &DecodedBatch) -> Vec<Row> {
    let rows = &with_plain_texts(&batch.rows);
    (0..rows.num_rows())
        .map(|row| {
            let mut values = Row::new();
            for (field, array) in rows.schema().fields().iter().zip(rows.columns()) {
                if array.is_null(row)
                    || matches!(field.name().as_str(), "generated_time" | "org_id")
                {
                    continue;
                }
                let text = |array: &dyn Array, row| match array.is_null(row) {
                    true => Value::Null,
                    false => json!(array.as_string::<i32>().value(row)),
                };
                let value = match field.data_type() {
                    DataType::Utf8 if matches!(field.name().as_str(), "j" | "_rescued_data") => {
                        serde_json::from_str(array.as_string::<i32>().value(row)).unwrap()
                    }
                    DataType::Utf8 => text(array, row),
                    DataType::Boolean => json!(array.as_boolean().value(row)),
                    DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
                    DataType::Float64 => json!(array.as_primitive::<Float64Type>().value(row)),
                    DataType::Timestamp(..) => {
                        json!(array.as_primitive::<TimestampMicrosecondType>().value(row))
                    }
                    DataType::Date32 => json!(array.as_primitive::<Date32Type>().value(row)),
                    DataType::List(_) => {
                        let items = array.as_list::<i32>().value(row);
                        (0..items.len()).map(|item| text(&items, item)).collect()
                    }
                    DataType::Map(..) => {
                        let entries = array.as_map().value(row);
                        let keys = entries.column(0).as_string::<i32>();
                        let pairs = (0..entries.len()).map(|entry| {
                            (keys.value(entry).to_owned(), text(entries.column(1), entry))
                        });
                        let pairs: Vec<_> = pairs.collect();
                        let map: Map<_, _> = pairs.iter().cloned().collect();
                        assert_eq!(map.len(), pairs.len(), "a map's keys differ");
                        Value::Object(map)
                    }
                    other => unreachable!("{other}"),
                };
                values.insert(field.name().clone(), value);
            }
            values.insert("rbac_group_id".to_owned(), json!(batch.rbac_group_ids[row]));
            values
        })
        .collect()
}

/// What the oracle says of a line: a row, or a reason's code. One with damage counts as repaired; whether it has some, beside it.
fn expected(line: &[u8]) -> Result<(Row, bool), &'static str> {
    let mut is_damaged = false;
    let row = expected_row(line, &mut is_damaged);
    match (row, Repaired::of(line)) {
        (Err("invalid_utf8" | "invalid_json"), Some(repaired)) => {
            Ok((expected_row(&repaired.text, &mut is_damaged)?, true))
        }
        (row, _) => Ok((row?, is_damaged)),
    }
}

/// The value in a nested text, which counts as repaired.
fn nested_value(text: &str, is_damaged: &mut bool) -> Option<Value> {
    serde_json::from_str(text).ok().or_else(|| {
        let repaired = Repaired::of(text.as_bytes())?;
        let value: Value = serde_json::from_slice(&repaired.text).ok()?;
        *is_damaged |= value.is_object();
        value.is_object().then_some(value)
    })
}

fn expected_row(line: &[u8], is_damaged: &mut bool) -> Result<Row, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "invalid_utf8")?;
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let too_deep = error.to_string().starts_with("recursion limit");
        if too_deep {
            "nested_too_deeply"
        } else {
            "invalid_json"
        }
    })?;
    let Value::Object(record) = value else {
        return Err("not_an_object");
    };
    let mut row = Row::new();
    let mut rescued = Map::new();
    read_object(&record, "", &mut row, &mut rescued, is_damaged);
    if row.get("id").is_none_or(|id| id == "") {
        return Err("missing_key");
    }
    row.entry("rbac_group_id").or_insert(json!(0));
    if !rescued.is_empty() {
        row.insert("_rescued_data".to_owned(), Value::Object(rescued));
    }
    Ok(row)
}

fn read_object(
    object: &Map<String, Value>,
    at: &str,
    row: &mut Row,
    rescued: &mut Map<String, Value>,
    is_damaged: &mut bool,
) {
    let written = |key: &str| {
        let escaped = key.replace('\\', "\\\\").replace('.', "\\.");
        if at.is_empty() {
            escaped
        } else {
            format!("{at}.{escaped}")
        }
    };
    // Exact keys first: one in another case counts where they leave something to say.
    let is_exact = |path: &str| named_as(path).is_none_or(|known| known == path);
    let (exact, others): (Vec<_>, Vec<_>) = object
        .iter()
        .map(|(key, value)| (written(key), value))
        .partition(|(path, _)| is_exact(path));
    for (path, value) in exact.into_iter().chain(others) {
        let known = named_as(&path).unwrap_or(&path).to_owned();
        let column = known_columns().find(|(_, wire, _)| *wire == known);
        let is_node = NODES.contains(&known.as_str());
        let is_taken = match column {
            Some((name, ..)) => row.contains_key(name),
            None => object
                .iter()
                .any(|(key, other)| written(key) == known && !other.is_null()),
        };
        match (column, value) {
            (_, Value::Null) => {}
            (None, _) if !is_node => {
                rescued.insert(path, value.clone());
            }
            _ if path != known && is_taken => {
                rescued.insert(path, value.clone());
            }
            (Some((name, _, column_type)), _) => match fit(column_type, value) {
                Some(value) => {
                    row.insert(name.to_owned(), value);
                }
                // It stands for null.
                None if value
                    .as_str()
                    .is_some_and(|text| stands_for_null(column_type, text)) => {}
                None => {
                    rescued.insert(path, value.clone());
                }
            },
            (None, Value::Object(object)) => read_object(object, &known, row, rescued, is_damaged),
            (None, Value::String(text)) => match nested_value(text, is_damaged) {
                Some(Value::Object(object)) => {
                    read_object(&object, &known, row, rescued, is_damaged);
                }
                Some(Value::Null) => {}
                _ => {
                    rescued.insert(path, value.clone());
                }
            },
            (None, _) => {
                rescued.insert(path, value.clone());
            }
        }
    }
}

fn stands_for_null(column_type: &str, text: &str) -> bool {
    match column_type {
        _ if text.is_empty() => true,
        "bool" => text.eq_ignore_ascii_case("unknown"),
        "timestamp" | "date" => text.starts_with("0001-01-01"),
        _ => false,
    }
}

/// The objects on the wire.
const NODES: [&str; 3] = ["Info", "Info.Scan", "Info.Scan.Deep"];

/// Every column: name, wire path, type.
fn known_columns() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let required = [("id", "Id", "string"), ("rbac_group_id", "Group", "group")];
    required.into_iter().chain(COLUMNS.iter().copied())
}

/// The wire path of the schema that is a path, or differs from it in case only.
fn named_as(path: &str) -> Option<&'static str> {
    let known = known_columns().map(|(_, wire, _)| wire).chain(NODES);
    known
        .into_iter()
        .find(|wire| wire.eq_ignore_ascii_case(path))
}

fn fit(column_type: &str, value: &Value) -> Option<Value> {
    let inner = || {
        value
            .as_str()
            .and_then(|text| serde_json::from_str::<Value>(text).ok())
    };
    match column_type {
        "string" => value.as_str().map(|text| json!(text)),
        "bool" => value
            .as_bool()
            .or_else(|| value.as_str()?.to_ascii_lowercase().parse().ok())
            .map(|value| json!(value)),
        "int64" => value
            .as_i64()
            .or_else(|| inner_number(value.as_str()?)?.as_i64())
            .map(|value| json!(value)),
        "group" => {
            let number = |value: &Value| {
                let float = || value.as_f64().filter(|number| number.fract() == 0.0);
                let exact = || float().filter(|number| number.abs() < 9e15);
                value.as_i64().or_else(|| Some(exact()? as i64))
            };
            number(value)
                .or_else(|| number(&inner_number(value.as_str()?)?))
                .map(|value| json!(value))
        }
        "float64" => value
            .as_f64()
            .or_else(|| inner_number(value.as_str()?)?.as_f64())
            .map(|value| json!(value)),
        "timestamp" => time(value.as_str()?).map(|micros| json!(micros)),
        "date" => {
            let text = value.as_str()?;
            let day = NaiveDate::parse_from_str(text, "%Y-%m-%d")
                .ok()
                .filter(|_| text.len() == 10);
            let midnight = || time(text).filter(|micros| micros % 86_400_000_000 == 0);
            let days = day
                .map(|day| (day - NaiveDate::default()).num_days())
                .or_else(|| Some(midnight()? / 86_400_000_000))?;
            Some(json!(days))
        }
        "list<string>" => {
            let list = value
                .as_array()
                .cloned()
                .or_else(|| inner()?.as_array().cloned())?;
            let fits = list.iter().all(|item| item.is_string() || item.is_null());
            fits.then_some(Value::Array(list))
        }
        "map<string, string>" => {
            let map = value
                .as_object()
                .cloned()
                .or_else(|| inner()?.as_object().cloned())?;
            let fits = map.values().all(|item| item.is_string() || item.is_null());
            fits.then_some(Value::Object(map))
        }
        "json" => Some(match inner() {
            Some(inner) if inner.is_object() || inner.is_array() => inner,
            _ => value.clone(),
        }),
        other => unreachable!("{other}"),
    }
}

fn inner_number(text: &str) -> Option<Value> {
    serde_json::from_str::<Value>(text)
        .ok()
        .filter(|_| text.trim() == text)
}

fn time(text: &str) -> Option<i64> {
    let time = DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .ok();
    let naive = || NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok();
    let midnight = || {
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        (text.len() == 10).then(|| day.and_time(NaiveTime::MIN))
    };
    let time = time.or_else(|| Some(naive().or_else(midnight)?.and_utc()))?;
    (-2_208_988_800_000_000..253_402_300_800_000_000)
        .contains(&time.timestamp_micros())
        .then(|| time.timestamp_micros())
}

/// Several times, since a line is read in another way where it is as the one before.
fn agrees_with_oracle(lines: &[Vec<u8>]) {
    agrees_by(lines, false);
    let repeated: Vec<_> = lines
        .iter()
        .flat_map(|line| vec![line.clone(); 4])
        .collect();
    agrees_by(&repeated, true);
}

fn agrees_by(lines: &[Vec<u8>], dictionaries: bool) {
    let mut decoder = decoder();
    decoder.allow_dictionaries(dictionaries);
    let mut rows = Vec::new();
    // A batch allocates for as many rows as the last one had, which may be more or fewer.
    for lines in [lines, &lines[lines.len() / 2..], lines] {
        let mut rows_of_batch = Vec::new();
        for line in lines {
            let shown = String::from_utf8_lossy(line);
            match (expected(line), decoder.decode(line)) {
                (Ok((row, is_damaged)), Ok(())) => rows_of_batch.push((shown, row, is_damaged)),
                (Err(code), Err(reason)) => {
                    // Which of two faults is found first is not the oracle's to say.
                    assert_eq!(
                        code == "missing_key",
                        reason.code() == "missing_key",
                        "{shown}"
                    );
                    assert_eq!(
                        code == "not_an_object",
                        reason.code() == "not_an_object",
                        "{shown}"
                    );
                }
                (expected, found) => panic!("{shown}\n expected {expected:?}\n found {found:?}"),
            }
        }
        let batch = decoder.take_batch().unwrap();
        let found = decoded(&batch);
        assert_eq!(found.len(), rows_of_batch.len());
        for ((shown, mut expected, is_damaged), mut found) in rows_of_batch.into_iter().zip(found) {
            let rescued = found.remove("_rescued_data");
            let expected_rescue = expected.remove("_rescued_data");
            assert_eq!(found, expected, "{shown}");
            // The originals, too, unless their key came again; which they are is not the oracle's to say.
            let is_original = |rescued: &Value| rescued.to_string().contains("base64");
            if !is_damaged || !rescued.as_ref().is_some_and(is_original) {
                assert_eq!(rescued, expected_rescue, "{shown}");
            }
            rows.push(rescued);
        }
    }
    let rescued = rows.iter().filter(|rescued| rescued.is_some()).count();
    let drift = decoder.take_drift();
    assert_eq!(drift.rows_rescued, rescued as u64);
    let paths: usize = rows
        .iter()
        .filter_map(|rescued| Some(rescued.as_ref()?.as_object()?.len()))
        .sum();
    let kept = drift.paths.iter();
    let kept = kept.filter(|((_, kind), _)| *kind != DriftKind::Blank);
    assert_eq!(kept.map(|(_, records)| records).sum::<u64>(), paths as u64);
}

/// JSON that may have a key twice, and strings that hold JSON.
#[derive(Debug, Clone)]
enum Json {
    Plain(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
    /// A string with JSON in it, cut short by so many bytes.
    Holding(Box<Json>, usize),
}

/// How JSON is written: which spaces, which escapes.
#[derive(Debug, Clone, Copy)]
struct Hand {
    space: &'static str,
    escape_all: bool,
}

fn write(json: &Json, hand: Hand, out: &mut String) {
    let space = hand.space;
    match json {
        Json::Plain(text) => out.push_str(text),
        Json::Text(text) if hand.escape_all => {
            out.push('"');
            text.encode_utf16()
                .for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            out.push('"');
        }
        Json::Text(text) => out.push_str(&serde_json::to_string(text).unwrap()),
        Json::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                out.push_str(space);
                write(item, hand, out);
            }
            out.push_str(space);
            out.push(']');
        }
        Json::Object(entries) => {
            out.push_str(&format!("{{{space}"));
            for (index, (key, value)) in entries.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write(&Json::Text(key.clone()), hand, out);
                out.push_str(&format!("{space}:{space}"));
                write(value, hand, out);
                out.push_str(space);
            }
            out.push('}');
        }
        Json::Holding(inner, cut) => {
            let mut text = String::new();
            write(
                inner,
                Hand {
                    escape_all: false,
                    ..hand
                },
                &mut text,
            );
            let kept = text.floor_char_boundary(text.len().saturating_sub(*cut));
            text.truncate(kept);
            write(&Json::Text(text), hand, out);
        }
    }
}

fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec!["S", "B", "I", "F", "T", "D", "L", "M", "J", "Scan", "Deep", "Group", "Id"])
            .prop_map(str::to_owned),
        2 => prop::sample::select(vec!["New", "a.b", "back\\slash", "", "é\"", "Info.B"]).prop_map(str::to_owned),
        1 => any::<String>().prop_filter("no key in another case", |key| !is_in_another_case(key)),
    ]
}

/// Whether a key of some object of the schema is this one in another case. What becomes of such keys where one comes twice depends
/// on their order, which `serde_json` does not keep.
fn is_in_another_case(key: &str) -> bool {
    let paths = known_columns().map(|(_, wire, _)| wire).chain(NODES);
    let mut keys = paths.flat_map(|path| path.split('.'));
    keys.any(|known| known != key && known.eq_ignore_ascii_case(key))
}

fn key_in_any_case() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => any_key(),
        1 => any_key().prop_map(|key| key.to_ascii_lowercase()),
    ]
}

/// The JSON with only the last of the entries that have the same key.
fn without_repeats(json: Json) -> Json {
    match json {
        Json::Object(entries) => {
            let mut kept: Vec<(String, Json)> = Vec::new();
            for (key, value) in entries {
                kept.retain(|(known, _)| *known != key);
                kept.push((key, without_repeats(value)));
            }
            Json::Object(kept)
        }
        Json::Array(items) => Json::Array(items.into_iter().map(without_repeats).collect()),
        Json::Holding(inner, cut) => Json::Holding(Box::new(without_repeats(*inner)), cut),
        scalar => scalar,
    }
}

fn any_scalar() -> impl Strategy<Value = Json> {
    let plain = prop::sample::select(vec![
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1",
        "-1",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "1.0",
        "1.5e3",
        "1e400",
        "0.1",
        "123456789.123456789",
        "5e-324",
        "tru",
        "01",
    ]);
    let text = prop::sample::select(vec![
        "",
        "true",
        "FALSE",
        "Unknown",
        "-",
        "12",
        "-12",
        "012",
        "1.5",
        "1e3",
        "nan",
        "null",
        "2026-05-03T09:58:04.8476880Z",
        "2026-05-03 09:58:04",
        "2026-05-03",
        "2026-05-03T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "1900-01-01T00:00:00+00:01",
        "1899-12-31T23:00:00-01:00",
        "9999-12-31T23:59:59.9999999Z",
        "9999-12-31T23:00:00-01:00",
        "2026-02-30",
        "[\"a\",null]",
        "[1]",
        "{\"k\":\"v\"}",
        "{\"k\":1}",
        "{",
        "é😀\u{0}\u{7f}\"\\/\n",
    ]);
    prop_oneof![
        plain.prop_map(|text| Json::Plain(text.to_owned())),
        text.prop_map(|text| Json::Text(text.to_owned())),
        any::<String>().prop_map(Json::Text),
        any::<i64>().prop_map(|number| Json::Plain(number.to_string())),
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(|number| Json::Plain(format!("{number:e}"))),
    ]
}

fn any_json<K: Strategy<Value = String> + 'static>(
    any_key: fn() -> K,
) -> impl Strategy<Value = Json> {
    any_scalar().prop_recursive(4, 40, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            prop::collection::vec((any_key(), inner.clone()), 0..8).prop_map(Json::Object),
            (inner, prop_oneof![4 => Just(0_usize), 1 => 0..6_usize])
                .prop_map(|(json, cut)| Json::Holding(Box::new(json), cut)),
        ]
    })
}

fn any_record<K: Strategy<Value = String> + 'static>(
    any_key: fn() -> K,
) -> impl Strategy<Value = Json> {
    let entry = prop_oneof![
        2 => (Just("Info".to_owned()), any_json(any_key)),
        2 => (any_key(), any_json(any_key)),
        1 => (any_key(), any_scalar()),
    ];
    let id = prop_oneof![20 => Just(true), 1 => Just(false)];
    (
        prop::collection::vec(entry, 0..8),
        id,
        any::<prop::sample::Index>(),
    )
        .prop_map(|(mut entries, has_id, at)| {
            if has_id {
                let at = at.index(entries.len() + 1);
                entries.insert(at, ("Id".to_owned(), Json::Text("x".to_owned())));
            }
            Json::Object(entries)
        })
}

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let space = prop::sample::select(vec!["", " ", "\t \r"]);
    let broken = prop_oneof![12 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)];
    (any_record(any_key), space, any::<bool>(), broken).prop_map(
        |(record, space, escape_all, broken)| {
            let mut text = String::new();
            write(&record, Hand { space, escape_all }, &mut text);
            text.push_str(space);
            let mut line = text.into_bytes();
            if let Some(at) = broken {
                let at = at.index(line.len());
                line[at] = line[at].wrapping_add(1);
            }
            line
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { ..ProptestConfig::with_cases(1_000) })]
    #[test]
    fn decodes_as_serde_json_does(lines in prop::collection::vec(any_line(), 1..6)) {
        agrees_with_oracle(&lines);
    }

    #[test]
    fn keys_in_any_case_are_read_as_the_oracle_reads_them(
        records in prop::collection::vec(any_record(key_in_any_case), 1..6),
        escape_all: bool,
    ) {
        let mut decoder = decoder();
        let mut rows = Vec::new();
        for record in records {
            let mut line = String::new();
            let hand = Hand { space: "", escape_all };
            write(&without_repeats(record), hand, &mut line);
            match expected(line.as_bytes()) {
                // Which originals are rescued is not the oracle's to say.
                Ok((_, true)) => {}
                Ok((row, false)) => rows.extend(vec![(line, row); 3]),
                Err(_) => prop_assert!(decoder.decode(line.as_bytes()).is_err(), "{}", line),
            }
        }
        for (line, _) in &rows {
            decoder.decode(line.as_bytes()).unwrap();
        }
        for ((line, row), found) in rows.iter().zip(decoded(&decoder.take_batch().unwrap())) {
            prop_assert_eq!(&found, row, "{}", line);
        }
    }
}

#[test]
fn decodes_the_hard_cases_as_serde_json_does() {
    let lines = [
        r#"{"Id":"1","S":"a","S":"b","Info":{"B":true},"Info":{"I":1}}"#,
        r#"{"Id":"2","S":1,"S":"b","Info":"{\"I\":\"x\",\"New\":1}","Info":"{\"New\":2}"}"#,
        r#"{"Id":"3","Info":"{\"B\":true,\"Scan\":\"{\\\"T\\\":\\\"-\\\"}\"}","Info":null}"#,
        r#"{"Id":"4","Info":"{\"B\":true,\"M\":{\"a\":\"1\",\"b\":null,\"a\":\"2\"},\"New\":"}"#,
        r#"{"Id":"5","Info":"","S":"\ud83d\ude00"}"#,
        r#"{"Id":"6","Info":"null","Info":"{\"M\":{\"a\":1},\"M\":{}}"}"#,
        r#"{"Id":"7","Info":" {\"Scan\" : {\"Deep\":\"{\\\"D\\\":\\\"2026-05-03\\\"}\"}}  "}"#,
        r#"{"Id":"8","L":["a"],"L":["a",1]}"#,
        r#"{"Id":"9","New":1,"New":{"a":2},"a.b":1,"a\\b":2,"":3}"#,
        r#"{"Id":"39","New":null,"Info":"{\"B\":true,\"New\":null,\"I\":2, \"New2\" : null }"}"#,
        r#"{"Id":"40","New":1,"New":null,"Info":"{\"New\":1,\"New\":null,\"I\":2}"}"#,
        r#"{"Id":"41","New":null,"New":1,"a.b":1,"a.b":null,"Info":{"New":{"x":1},"New":null,"I":2}}"#,
        r#"{"Id":"42","Info":"{\"New\":nul,\"I\":2}","S":"a"}"#,
        r#"{"Id":"43","New":nul}"#,
        r#"{"Id":"10","Info":{"M":{"a":"1"}},"S":}"#,
        r#"{"Id":"11"}"#,
        r#"{"Id":"12","Info":{"M":{"a":"1","b"#,
        r#"{"Id":"13","Info":{"J":{"a":[1,2, 3]}}}"#,
        r#"{"Id":"14","Info":{"J":"{\"a\": 1}"}}"#,
        r#"{"Id":"15","Info":{"J":"text"}}"#,
        r#"{"Id":"16","Id":null}"#,
        r#"{"Id":"","S":"x"}"#,
        r#"{"Id":17}"#,
        r#"{"\u0049d":"18","Inf\u006f":"{\u0022B\u0022:\u0022True\u0022}"}"#,
        r#"{"Id":"19","Group":"7"}"#,
        r#"{"Id":"20","Group":"seven"}"#,
        r#"{"Id":"21","Group":8,"Group":null}"#,
        r#"{"Id":"26","Info":"{\"B\":true,\"Scan\":\"{\\\"S\\\":\\\"a\\\\nb\\\"}\"}"}"#,
        r#"{"Id":"27","Info":"{\"B\":true,\"S\":\"a"b\"}"}"#,
        r#"{"Id":"28","Info":"{\"B\":true}\"}"#,
        r#"{"Id":"29","Info":" {\"B\": true , \"I\" :1 } ", "S":"a"}"#,
        "{\"Id\":\"30\",\"Info\":\"{\t\\\"B\\\":true}\"}",
        r#"{"Id":"31","Info":"{\t\"B\":true}"}"#,
        r#"{"Id":"32","Info":"{\"M\":{\"a\":\"1\",\"b\":\"2\"}}"}"#,
        r#"{"Id":"33","Info":"{\"M\":{\"a\":\"1\",\"b\":null,\"a\":\"3\"}}"}"#,
        r#"{"Id":"34","Info":"{\"M\":{\"a\":\"1\",\"a\":\"2\",\"c\":\"3\"}}"}"#,
        r#"{"Id":"35","Info":"{\"M\":\"{\\\"a\\\":\\\"1\\\"}\",\"Scan\":{\"S\":\"x\"}}"}"#,
        r#"{"Id":"36","Info":"{\"Scan\":\"{\\\"Deep\\\":\\\"{\\\\\\\"D\\\\\\\":\\\\\\\"2026-05-03\\\\\\\"}\\\"}\"}"}"#,
        r#"{"Id":"37","Info":"{\"B\":true,\"B\":false,\"New\":1,\"I\":2}"}"#,
        r#"{"Id":"38","Info":"{\"Scan\":\"{\\\"S\\\":\"x\"}\"}"}"#,
        "[{\"Id\":\"22\"}]",
        "\"text\"",
        "nonsense",
        "{\"Id\":\"23\"}\r",
        "{\"Id\":\"24\"} x",
        "{\"Id\":\"25\",\"S\":\"\u{0}\"}",
    ];
    agrees_with_oracle(&lines.map(|line| line.as_bytes().to_vec()));
    agrees_with_oracle(&[
        b"{\"Id\":\"\xff\"}".to_vec(),
        b"{\"Id\":\"a\"}\xff".to_vec(),
    ]);
    for depth in [125, 126, 127, 100_000] {
        let deep = "[".repeat(depth) + &"]".repeat(depth);
        let held = serde_json::to_string(&format!("{{\"New\":{deep}}}")).unwrap();
        agrees_with_oracle(&[
            format!("{{\"Id\":\"1\",\"New\":{deep}}}").into_bytes(),
            format!("{{\"Id\":\"1\",\"Info\":{{\"J\":{deep}}}}}").into_bytes(),
            format!("{{\"Id\":\"1\",\"Info\":{held}}}").into_bytes(),
        ]);
    }
}

#[test]
fn a_record_of_another_group_than_its_blob_is_rescued() {
    let mut decoder = decoder();
    decoder.set_group_source(GroupSource::BlobPath(5));
    decoder.decode(br#"{"Id":"1","Group":5}"#).unwrap();
    decoder.decode(br#"{"Id":"2","Group":"6"}"#).unwrap();
    decoder.decode(br#"{"Id":"3"}"#).unwrap();
    let rows = decoded(&decoder.take_batch().unwrap());
    assert!(rows.iter().all(|row| row["rbac_group_id"] == 5));
    let rescued: Vec<_> = rows.iter().map(|row| row.get("_rescued_data")).collect();
    assert_eq!(rescued, [None, Some(&json!({"Group": "6"})), None]);
}

#[test]
fn unknown_and_misfit_values_of_nested_text_are_rescued_in_place() {
    let mut decoder = decoder();
    let record = r#"{"Id":"1","Info":"{\"B\":\"maybe\",\"New\":{\"x\": [1,\"y\",null]},\"I\":7,\"Newer\":\"text\"}"}"#;
    for _ in 0..3 {
        decoder.decode(record.as_bytes()).unwrap();
    }
    // The nested text was never unescaped.
    assert_eq!(decoder.walk.unescaped, [Vec::<u8>::new()]);
    for row in decoded(&decoder.take_batch().unwrap()) {
        assert_eq!(row["i"], json!(7));
        assert_eq!(
            row["_rescued_data"],
            json!({"Info.B": "maybe", "Info.New": {"x": [1, "y", null]}, "Info.Newer": "text"})
        );
    }
    let drift = decoder.take_drift();
    assert_eq!((drift.rows_rescued, drift.paths.len()), (3, 3));
    assert!(drift.paths.values().all(|records| *records == 3));
}

#[test]
fn damaged_text_is_read_and_its_original_rescued() {
    let mut decoder = decoder();
    let base64 = |bytes: &[u8]| json!({"base64": STANDARD.encode(bytes)});
    let damaged: [(&[u8], Value, Value); 5] = [
        (
            br#"{"Id":"1","Info":{"Scan":{"S":"x \ud83d"},"I":7}}"#,
            json!("x \u{fffd}"),
            json!({"Info.Scan.S": base64(br#""x \ud83d""#)}),
        ),
        (
            br#"{"Id":"1","Info":"{\"I\":7,\"Scan\":{\"S\":\"\\udc00\"},\"New\":1}"}"#,
            json!("\u{fffd}"),
            json!({"Info.Scan.S": base64(br#""\udc00""#), "Info.New": 1}),
        ),
        (
            b"{\"Id\":\"1\",\"Info\":{\"Scan\":{\"S\":\"\xff\xfe\"},\"I\":7}}",
            json!("\u{fffd}\u{fffd}"),
            json!({"Info.Scan.S": base64(b"\"\xff\xfe\"")}),
        ),
        (
            b"{\"Id\":\"1\",\"Info\":\"{\\\"Scan\\\":{\\\"S\\\":\\\"\xff\\\"},\\\"I\\\":7}\"}",
            json!("\u{fffd}"),
            json!({"Info": base64(b"\"{\\\"Scan\\\":{\\\"S\\\":\\\"\xff\\\"},\\\"I\\\":7}\"")}),
        ),
        (
            br#"{"Id":"1","Info":{"Scan":{"S":"y"},"I":7,"\ud800":1}}"#,
            json!("y"),
            json!({
                "Info.\u{fffd}": 1,
                "": base64(br#"{"Id":"1","Info":{"Scan":{"S":"y"},"I":7,"\ud800":1}}"#),
            }),
        ),
    ];
    for (line, text, rescued) in damaged {
        for _ in 0..2 {
            decoder.decode(line).unwrap();
            // What follows is read as ever.
            decoder
                .decode(br#"{"Id":"1","Info":{"Scan":{"S":"fine"}}}"#)
                .unwrap();
        }
        let rows = decoded(&decoder.take_batch().unwrap());
        for rows in rows.chunks(2) {
            assert_eq!(rows[0].get("s_2"), Some(&text), "{:?}", rows[0]);
            assert_eq!(rows[0]["i"], json!(7), "{:?}", rows[0]);
            assert_eq!(rows[0]["_rescued_data"], rescued);
            assert_eq!(rows[1]["s_2"], json!("fine"));
            assert!(!rows[1].contains_key("_rescued_data"));
        }
    }
    let drift = decoder.take_drift().paths;
    assert_eq!(drift[&("Info.Scan.S".into(), DriftKind::Damaged)], 6);
}

#[test]
fn unknown_keys_without_end_are_all_rescued() {
    let mut decoder = decoder();
    for record in 0..3_000 {
        let line =
            format!(r#"{{"Id":"1","K{record}":1,"Info":{{"N{record}":2,"k{record}":null}}}}"#);
        decoder.decode(line.as_bytes()).unwrap();
    }
    for (record, row) in decoded(&decoder.take_batch().unwrap()).iter().enumerate() {
        let (key, nested) = (format!("K{record}"), format!("Info.N{record}"));
        assert_eq!(row["_rescued_data"], json!({key: 1, nested: 2}));
    }
}

#[test]
fn nulls_under_unknown_keys_rescue_nothing() {
    let mut decoder = decoder();
    let record =
        r#"{"Id":"1","Info":"{\"B\":true,\"New\":null,\"I\":7,\"Newer\":null}","Newest":null}"#;
    for _ in 0..3 {
        decoder.decode(record.as_bytes()).unwrap();
    }
    // The nested text was never unescaped.
    assert_eq!(decoder.walk.unescaped, [Vec::<u8>::new()]);
    for row in decoded(&decoder.take_batch().unwrap()) {
        assert_eq!((&row["b"], &row["i"]), (&json!(true), &json!(7)));
        assert!(!row.contains_key("_rescued_data"));
    }
    let drift = decoder.take_drift();
    assert_eq!((drift.rows_rescued, drift.paths.len()), (0, 0));
}

#[test]
fn a_row_as_the_service_sends_it_needs_no_rescue() {
    let info_gathering = Dataset::built_in("info_gathering").unwrap();
    let mut decoder = RecordDecoder::new(&info_gathering, &snapshot());
    let info = json!({
        "AvMode": null, "AvPlatformPublishTime": "2026-08-04 18:00:00",
        "AvPlatformExpirationTime": "2027-02-04 18:00:00", "EBPFStatus": null, "IsAvEngineLoaded": true,
    });
    let record = json!({
        "RbacGroupName": "Unassigned", "Timestamp": "2026-08-31 23:12:21", "DeviceGatheredInfo": info.to_string(),
        "DeviceId": "d", "RbacGroupId": 0,
    });
    decoder.decode(record.to_string().as_bytes()).unwrap();
    let row = &decoded(&decoder.take_batch().unwrap())[0];
    assert_eq!(
        (
            &row["av_platform_expiration_time"],
            &row["is_av_engine_loaded"]
        ),
        (&json!(1_801_764_000_000_000_i64), &json!(true))
    );
    assert!(!row.contains_key("_rescued_data"));
}

#[test]
fn a_record_of_no_group_is_quarantined_without_a_fallback() {
    let mut decoder = decoder();
    decoder.set_group_source(GroupSource::Records { fallback: None });
    assert_eq!(
        decoder.decode(br#"{"Id":"1"}"#),
        Err(Reason::MissingPartition { found: None })
    );
    for (found, group) in [("\"x\"", "\"x\""), ("1.5", "1.5"), ("[1]", "[1]")] {
        let reason = decoder.decode(format!(r#"{{"Id":"1","Group":{group}}}"#).as_bytes());
        let found = Some(found.to_owned());
        assert_eq!(reason, Err(Reason::MissingPartition { found }));
    }
    assert_eq!(decoder.decode(br#"{"Id":"1","Group":3}"#), Ok(()));
    decoder.set_group_source(GroupSource::Records { fallback: Some(9) });
    assert_eq!(decoder.decode(br#"{"Id":"1"}"#), Ok(()));
    assert_eq!(decoder.take_batch().unwrap().rbac_group_ids, [3, 9]);
}

#[test]
fn errors_say_where_in_the_line() {
    let mut decoder = decoder();
    let reason = decoder.decode(br#"{"Id":"1",}"#).unwrap_err();
    assert_eq!(
        reason.to_string(),
        "expected a key in double quotes at column 11"
    );
    let reason = decoder.decode(b"{\"Id\":\"\xc3\"").unwrap_err();
    assert_eq!(reason, Reason::InvalidUtf8 { column: 8 });
    let reason = decoder.decode(b"{\"Id\":\"1\"}\xff").unwrap_err();
    assert_eq!(reason, Reason::InvalidUtf8 { column: 11 });
}

#[test]
fn the_samples_of_the_reference_need_no_rescue() {
    let info_gathering = Dataset::built_in("info_gathering").unwrap();
    let mut decoder = RecordDecoder::new(&info_gathering, &snapshot());
    let scan = json!({"Quick": {"ScanStatus": "Completed", "ErrorCode": null, "Timestamp": "2026-05-03T02:11:40.513Z"}, "Full": null});
    let info = json!({
        "AvMode": "0", "AvScanResults": scan.to_string(), "TlsClient12": "Enabled", "SchUseStrongCrypto40": "1",
        "AvIsSignatureUptoDate": true, "AvIsEngineUptodate": "False", "Spring4Shell_CVE_2022_22965": null,
        "AsrConfigurationStates": {"Ransomware": "Block", "BlockWebshellCreation": null},
    });
    let record = json!({"DeviceId": "d", "RbacGroupId": 1001, "Timestamp": "2026-05-03T09:58:04Z", "DeviceGatheredInfo": info.to_string()});
    decoder.decode(record.to_string().as_bytes()).unwrap();
    let batch = decoder.take_batch().unwrap();
    let row = &decoded(&batch)[0];
    assert_eq!(row["av_quick_scan_status"], "Completed");
    assert_eq!(row["av_quick_scan_time"], 1_777_774_300_513_000_i64);
    assert_eq!(row["sch_use_strong_crypto_40"], 1);
    assert_eq!(
        row["asr_configuration_states"],
        json!({"Ransomware": "Block", "BlockWebshellCreation": null})
    );
    assert_eq!(
        (
            &row["av_is_signature_up_to_date"],
            &row["av_is_engine_up_to_date"]
        ),
        (&json!(true), &json!(false))
    );
    assert!(!row.contains_key("_rescued_data"));
    assert_eq!(batch.rbac_group_ids, [1001]);
}
