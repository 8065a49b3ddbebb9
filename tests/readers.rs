//! What readers that nobody here wrote see in a table: every value, its type, its partition.

use serde_json::{Value, json};
use simulator::{Oddities, SnapshotOptions};

use crate::harness::api::Api;
use crate::harness::blobs::Blobs;
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::readers::Reader::{self, DuckDb, Polars, PySpark};
use crate::harness::readers::equal;
use crate::harness::totals::{GLOB_READERS, LOG_READERS, MANIFEST_READERS, totals};
use crate::harness::truth::Truth;

const ALL: [Reader; 3] = [DuckDb, Polars, PySpark];

fn reads_every_value_of_an_odd_snapshot(reader: Reader) {
    let blobs = Blobs::simulated(&SnapshotOptions {
        devices: 2_000,
        oddities: Oddities::all(),
        ..SnapshotOptions::default()
    });
    let (api, lake) = (Api::of(&blobs), Lake::on_disk());
    Pipeline::from_api(&api, &lake).run();
    reader
        .values(&lake.on_this_machine().table())
        .is(&Truth::of(&blobs));
}

#[test]
fn duckdb_reads_every_value_of_an_odd_snapshot() {
    reads_every_value_of_an_odd_snapshot(DuckDb);
}

#[test]
fn polars_reads_every_value_of_an_odd_snapshot() {
    reads_every_value_of_an_odd_snapshot(Polars);
}

#[test]
fn pyspark_reads_every_value_of_an_odd_snapshot() {
    reads_every_value_of_an_odd_snapshot(PySpark);
}

#[test]
fn all_readers_see_the_same_values_of_an_odd_snapshot() {
    let blobs = Blobs::simulated(&SnapshotOptions {
        devices: 2_000,
        oddities: Oddities::all(),
        ..SnapshotOptions::default()
    });
    let lake = Lake::on_disk();
    Pipeline::from_files(&blobs, &lake).run();
    let readers = [LOG_READERS, MANIFEST_READERS, GLOB_READERS];
    let totals = totals(&lake, &readers, "an odd snapshot");
    let truth = Truth::of(&blobs);
    assert_eq!(totals.rows.values().sum::<u64>(), truth.rows.len() as u64);
    assert_eq!(totals.columns.len(), truth.columns().len());
}

#[test]
fn duckdb_opens_the_files_of_the_group_asked_for_alone() {
    let (blobs, lake) = plain_snapshot();
    let pruned = DuckDb.pruned(&lake.on_this_machine().table(), "rbac_group_id = 0");
    assert_eq!(pruned.rows, rows_of_group_0(&blobs));
    assert!(pruned.files_read < pruned.files, "{pruned:?}");
    assert_eq!(pruned.files_read, files_of_group_0(&lake));
}

#[test]
fn pyspark_prunes_by_date_and_group() {
    let (blobs, lake) = plain_snapshot();
    let condition = "rbac_group_id = 0 AND generated_date = DATE '2026-05-03'";
    let pruned = PySpark.pruned(&lake.on_this_machine().table(), condition);
    assert_eq!(pruned.rows, rows_of_group_0(&blobs));
    assert!(pruned.files_read < pruned.files, "{pruned:?}");
    assert_eq!(pruned.files_read, files_of_group_0(&lake));
    let filters = pruned.partition_filters.unwrap();
    assert!(
        filters.contains("rbac_group_id") && filters.contains("generated_date"),
        "{filters}"
    );
}

fn plain_snapshot() -> (Blobs, Lake) {
    let (blobs, lake) = (
        Blobs::simulated(&SnapshotOptions::default()),
        Lake::on_disk(),
    );
    Pipeline::from_files(&blobs, &lake).run();
    (blobs, lake)
}

fn rows_of_group_0(blobs: &Blobs) -> u64 {
    Truth::of(blobs)
        .rows
        .iter()
        .filter(|row| row["rbac_group_id"] == 0)
        .count() as u64
}

fn files_of_group_0(lake: &Lake) -> u64 {
    let on_disk = lake.on_this_machine();
    on_disk
        .table_files()
        .keys()
        .filter(|path| path.contains("/rbac_group_id=0/"))
        .count() as u64
}

#[test]
fn the_map_column_holds_each_rule_once_with_its_state_or_null() {
    let info = [
        r#"{"AsrConfigurationStates":{"Ransomware":"Block","Österreich":"Audit","BlockWebshellCreation":null}}"#,
        r#"{"AsrConfigurationStates":{"Ransomware":"Off","Ransomware":"Warn"}}"#,
        r#"{"AsrConfigurationStates":{}}"#,
        r#"{"AsrConfigurationStates":null}"#,
        r#"{"AsrConfigurationStates":"{\"Ransomware\":\"Block\"}"}"#,
        r#"{"AsrConfigurationStates":{"Ransomware":1}}"#,
    ];
    let expected = [
        json!({"Ransomware": "Block", "Österreich": "Audit", "BlockWebshellCreation": null}),
        json!({"Ransomware": "Warn"}),
        json!({}),
        Value::Null,
        json!({"Ransomware": "Block"}),
        Value::Null,
    ];
    for reader in ALL {
        assert_eq!(
            column_of(&info, "asr_configuration_states", reader),
            expected,
            "{reader:?}"
        );
    }
}

#[test]
fn timestamps_are_right_to_the_microsecond() {
    let times = [
        (
            "2020-11-03T10:13:34.8476880Z",
            json!(1_604_398_414_847_688_i64),
        ),
        (
            "2020-11-03 10:13:34.8476889",
            json!(1_604_398_414_847_688_i64),
        ),
        ("2021-01-11 09:47:58.854", json!(1_610_358_478_854_000_i64)),
        ("2020-12-30 14:17:26", json!(1_609_337_846_000_000_i64)),
        (
            "2021-05-11T02:00:00+02:00",
            json!(1_620_691_200_000_000_i64),
        ),
        (
            "2021-05-11T00:00:00.123456789Z",
            json!(1_620_691_200_123_456_i64),
        ),
        ("1969-12-31T23:59:59.9999990Z", json!(-1)),
        ("1900-01-01T00:00:00Z", json!(-2_208_988_800_000_000_i64)),
        ("1899-12-31T23:59:59.999999Z", Value::Null),
        ("0001-01-01T00:00:00Z", Value::Null),
        ("2021-02-29T00:00:00Z", Value::Null),
        ("-", Value::Null),
        ("", Value::Null),
    ];
    let info = times
        .clone()
        .map(|(text, _)| json!({"AvEngineUpdateTime": text}).to_string());
    let expected = times.map(|(_, micros)| micros);
    for reader in ALL {
        let info: Vec<&str> = info.iter().map(String::as_str).collect();
        assert_eq!(
            column_of(&info, "av_engine_update_time", reader),
            expected,
            "{reader:?}"
        );
    }
}

/// The column's values for devices with these texts as `DeviceGatheredInfo`, in their order.
fn column_of(info: &[&str], column: &str, reader: Reader) -> Vec<Value> {
    let mut lines = String::new();
    for (index, info) in info.iter().enumerate() {
        let device_id = format!("device-{index:03}");
        lines += &format!(
            "{}\n",
            json!({"DeviceId": device_id, "DeviceGatheredInfo": info})
        );
    }
    let (blobs, lake) = (Blobs::of_lines(Some(7), lines.as_bytes()), Lake::on_disk());
    Pipeline::from_files(&blobs, &lake).run();
    reader
        .values(&lake.on_this_machine().table())
        .column(column)
        .to_vec()
}

/// Of strings and bools, the log has no statistics.
#[test]
fn filters_by_columns_without_statistics_find_their_rows() {
    let blobs = Blobs::simulated(&SnapshotOptions {
        devices: 300,
        groups: 5,
        ..SnapshotOptions::default()
    });
    let lake = Lake::on_disk();
    Pipeline::from_files(&blobs, &lake).run();
    for (column, value) in [
        ("os_platform", json!("Linux")),
        ("av_is_signature_up_to_date", json!(true)),
    ] {
        let answer = equal(&lake, column, &value);
        let count = answer["all"];
        assert!(count > 0, "{column}");
        for (reader, found) in answer {
            assert_eq!(found, count, "{reader} by {column}");
        }
    }
}
