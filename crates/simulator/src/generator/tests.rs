//! The records as a reader sees them: decoded level by level with `serde_json`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;
use crate::options::{Oddities, SnapshotOptions};

fn lines(options: &SnapshotOptions) -> Vec<String> {
    let groups = groups(options.devices, options.groups);
    let mut records = Records::new(options, &groups);
    (0..options.devices)
        .map(|slot| {
            let mut line = Vec::new();
            records.write(slot, &mut line);
            String::from_utf8(line).unwrap()
        })
        .collect()
}

fn rows(options: &SnapshotOptions) -> BTreeMap<String, Value> {
    lines(options)
        .iter()
        .map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            (row["DeviceId"].as_str().unwrap().to_owned(), row)
        })
        .collect()
}

fn options(devices: u32) -> SnapshotOptions {
    SnapshotOptions {
        devices,
        ..SnapshotOptions::default()
    }
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn inner(value: &Value) -> Value {
    serde_json::from_str(value.as_str().unwrap()).unwrap()
}

#[test]
fn records_read_level_by_level_and_have_the_documented_keys() {
    let top = [
        "DeviceGatheredInfo",
        "DeviceId",
        "DeviceName",
        "LastSeenTime",
        "OsPlatform",
        "OsVersion",
        "RbacGroupId",
        "RbacGroupName",
        "Timestamp",
    ];
    let rows = rows(&options(2_000));
    assert_eq!(rows.len(), 2_000);
    let mut platforms = BTreeSet::new();
    let mut scans = 0;
    for (id, row) in &rows {
        assert!(
            id.len() == 40
                && id
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        );
        assert_eq!(keys(row), top);
        let platform = row["OsPlatform"].as_str().unwrap();
        platforms.insert(platform);
        let info = inner(&row["DeviceGatheredInfo"]);
        let windows = platform.starts_with("Windows");
        assert_eq!(
            info.as_object().unwrap().len(),
            if windows { 51 } else { 30 }
        );
        for key in [
            "AsrConfigurationStates",
            "TlsClient12",
            "SystemDefaultTlsVersions40Wow6432",
            "IsWindowsLtscVersionRunning",
            "CVE_2022_30190_Mitigated",
        ] {
            assert_eq!(info.get(key).is_some(), windows, "{key}");
        }
        for key in ["AvMode", "AvIsSignatureUptoDate", "EBPFStatus"] {
            assert!(info.get(key).is_some(), "{key}");
        }
        if let Some(states) = info
            .get("AsrConfigurationStates")
            .and_then(Value::as_object)
        {
            assert_eq!(states.len(), 19);
        }
        if !info["AvScanResults"].is_null() {
            assert_eq!(
                keys(&inner(&info["AvScanResults"])),
                ["Custom", "Full", "Quick"]
            );
            scans += 1;
        }
        let time = |value: &Value| {
            let text = value.as_str().unwrap().trim_end_matches('Z');
            let format = "%Y-%m-%d %H:%M:%S%.f";
            let time = chrono::NaiveDateTime::parse_from_str(&text.replace('T', " "), format);
            time.unwrap().and_utc()
        };
        assert!(time(&row["LastSeenTime"]) < time(&row["Timestamp"]));
        assert!(time(&row["Timestamp"]) <= options(0).generated_time);
        if !info["AvSignatureUpdateTime"].is_null() {
            assert!(time(&info["AvSignaturePublishTime"]) <= time(&info["AvSignatureUpdateTime"]));
            assert!(
                time(&info["AvSignatureUpdateTime"]) <= time(&info["AvSignatureDataRefreshTime"])
            );
            assert!(time(&info["AvEnginePublishTime"]) <= time(&info["AvEngineUpdateTime"]));
            assert!(time(&info["AvEngineUpdateTime"]) <= time(&info["AvModeDataRefreshTime"]));
        }
    }
    assert_eq!(platforms.len(), 7, "{platforms:?}");
    assert!(scans > 1_000);
}

#[test]
fn keys_are_ordered_as_the_services_and_rows_have_its_size() {
    let lines = lines(&options(500));
    let windows: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("BlockSafeModeReboot"))
        .collect();
    let order = [
        "RbacGroupName",
        "DeviceName",
        "OsPlatform",
        "AvMode",
        "AvScanResults",
        "SslClient20",
        "EBPFStatus",
        "BlockSafeModeReboot",
        "DeviceId",
        "RbacGroupId\"",
    ];
    for line in &windows {
        let places: Vec<_> = order.iter().map(|key| line.find(key).unwrap()).collect();
        assert!(places.is_sorted(), "{line}");
    }
    let mean = windows.iter().map(|line| line.len()).sum::<usize>() / windows.len();
    assert!((2_500..3_100).contains(&mean), "{mean} bytes");
}

#[test]
fn the_chosen_share_of_the_devices_changes_from_day_to_day() {
    let mut today = SnapshotOptions {
        changed: 0.1,
        turnover: 0.02,
        ..options(5_000)
    };
    for _ in 0..3 {
        let tomorrow = today.next_day();
        let (before, after) = (rows(&today), rows(&tomorrow));
        let attributes = |row: &Value| {
            let mut row = row.clone();
            row.as_object_mut().unwrap().remove("Timestamp");
            row
        };
        let stayed: Vec<_> = before
            .iter()
            .filter_map(|(id, row)| Some((row, after.get(id)?)))
            .collect();
        let changed = stayed
            .iter()
            .filter(|(old, new)| attributes(old) != attributes(new))
            .count();
        let share = changed as f64 / stayed.len() as f64;
        assert!((0.085..0.115).contains(&share), "{share}");
        assert!((4_860..4_940).contains(&stayed.len()), "{}", stayed.len());
        assert_eq!(after.len(), 5_000);
        today = tomorrow;
    }
}

#[test]
fn nothing_changes_between_days_if_nothing_shall() {
    let today = SnapshotOptions {
        changed: 0.0,
        turnover: 0.0,
        ..options(50)
    };
    let strip = |line: &String| {
        let at = line.find("\"Timestamp\"").unwrap();
        format!("{}{}", &line[..at], &line[at + 36..])
    };
    let (before, after) = (lines(&today), lines(&today.next_day()));
    assert!(before.iter().map(strip).eq(after.iter().map(strip)));
}

#[test]
fn oddities_show_and_leave_the_other_records_as_they_are() {
    let plain = options(2_000);
    let odd = SnapshotOptions {
        oddities: Oddities::all(),
        ..plain.clone()
    };
    let (plain, odd) = (lines(&plain), lines(&odd));
    let touched = plain
        .iter()
        .zip(&odd)
        .filter(|(plain, odd)| plain != odd)
        .count();
    assert!((400..700).contains(&touched), "{touched}");

    let rows: Vec<Value> = odd
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let some = |what: &str, test: &dyn Fn(&Value) -> bool| assert!(rows.iter().any(test), "{what}");
    some("missing name", &|row| row.get("DeviceName").is_none());
    some("null platform", &|row| row["OsPlatform"].is_null());
    some("new attribute", &|row| row.get("ExposureLevel").is_some());
    some("number for a string", &|row| row["OsVersion"].is_number());
    some("`-` for a time", &|row| row["LastSeenTime"] == "-");
    some("group number as text", &|row| {
        row["RbacGroupId"].is_string()
    });
    some("object", &|row| row["DeviceGatheredInfo"].is_object());
    some("empty text", &|row| row["DeviceGatheredInfo"] == "");
    some("broken text", &|row| {
        row["DeviceGatheredInfo"]
            .as_str()
            .is_some_and(|text| !text.is_empty() && serde_json::from_str::<Value>(text).is_err())
    });
    let infos: Vec<Value> = rows
        .iter()
        .filter_map(|row| serde_json::from_str(row["DeviceGatheredInfo"].as_str()?).ok())
        .collect();
    assert!(
        infos
            .iter()
            .any(|info| info["AvIsEngineUptodate"] == "Unknown")
    );
    assert!(
        infos
            .iter()
            .any(|info| info["AvModeDataRefreshTime"] == "-")
    );
    assert!(infos.iter().any(|info| info.get("TlsClient13").is_some()));
    assert!(
        infos
            .iter()
            .any(|info| info["CloudProtectionState"] == "Activé ✓ \u{1f6e1}")
    );
    assert!(odd.iter().any(|line| line.contains("東京")));
    assert!(
        odd.iter()
            .any(|line| line.contains("\\u6771\\u4eac.\\ud83d\\ude00"))
    );
}

#[test]
fn one_signature_version_has_one_publish_time() {
    let mut times: BTreeMap<String, String> = BTreeMap::new();
    for row in rows(&options(2_000)).values() {
        let info = inner(&row["DeviceGatheredInfo"]);
        if let (Some(version), Some(time)) = (
            info["AvSignatureVersion"].as_str(),
            info["AvSignaturePublishTime"].as_str(),
        ) {
            assert_eq!(
                times
                    .entry(version.to_owned())
                    .or_insert_with(|| time.to_owned()),
                time
            );
        }
    }
    assert!(times.len() > 20);
}

#[test]
fn records_are_the_same_on_every_machine() {
    use sha2::{Digest, Sha256};

    let options = SnapshotOptions {
        day: 3,
        oddities: Oddities::all(),
        ..options(200)
    };
    let digest = Sha256::digest(lines(&options).join("\n"));
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        digest,
        "61e8a3b682385df339c3aaba6d32e02d7e10b6bfb7f653ac08c352dff1ca8d7a"
    );
}
