//! The rows of every recipe as a reader sees them, decoded with `serde_json`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use super::super::{Records, groups};
use super::*;
use crate::recipe::{DEFAULT, camel, datasets};

const DEVICES: u32 = 500;

fn options(dataset: &str) -> SnapshotOptions {
    SnapshotOptions {
        dataset: dataset.to_owned(),
        devices: DEVICES,
        ..SnapshotOptions::default()
    }
}

/// The lines of each slot.
fn lines(options: &SnapshotOptions) -> Vec<Vec<String>> {
    let recipe = Recipe::of(&options.dataset, options.recipe.as_deref()).unwrap();
    let record = recipe.record().unwrap().unwrap();
    let groups = groups(options.devices, options.groups);
    let source = RowSource::new(options, &groups, &recipe, &record).unwrap();
    let mut rows = source.rows();
    let of_slot = |slot| {
        let count = rows.begin(slot);
        let line = |row| {
            let mut line = Vec::new();
            rows.write(row, &mut line);
            String::from_utf8(line).unwrap()
        };
        (0..count).map(line).collect()
    };
    (0..options.devices).map(of_slot).collect()
}

fn all(options: &SnapshotOptions) -> Vec<Value> {
    let lines = lines(options).concat();
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn with_recipes() -> impl Iterator<Item = &'static str> {
    datasets().filter(|dataset| *dataset != DEFAULT)
}

/// What identifies a row.
fn key(recipe: &Recipe, row: &Value) -> Vec<String> {
    recipe.key.iter().map(|key| row[key].to_string()).collect()
}

#[test]
fn keys_are_unique_and_every_line_is_a_record_of_the_recipes_keys() {
    for dataset in with_recipes() {
        let recipe = Recipe::of(dataset, None).unwrap();
        let expected: Vec<&str> = recipe.keys().collect();
        let (mut keys, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let rows = all(&options(dataset));
        for row in &rows {
            assert!(keys.insert(key(&recipe, row)), "{dataset}: {row}");
            let names = row.as_object().unwrap().keys();
            for name in names {
                assert!(expected.contains(&name.as_str()), "{dataset}: {name}");
                seen.insert(name.clone());
            }
        }
        assert!(rows.len() >= DEVICES as usize, "{dataset}: {}", rows.len());
        assert_eq!(seen.len(), expected.len(), "{dataset}: {seen:?}");
    }
}

#[test]
fn the_same_options_give_the_same_rows_and_each_dataset_its_own() {
    let mut texts = BTreeSet::new();
    for dataset in with_recipes() {
        let once = lines(&options(dataset));
        assert_eq!(once, lines(&options(dataset)), "{dataset}");
        let other = SnapshotOptions {
            seed: 2,
            ..options(dataset)
        };
        assert_ne!(once, lines(&other), "{dataset}");
        assert!(texts.insert(once));
    }
}

#[test]
fn devices_are_those_of_info_gathering() {
    let day = |options: SnapshotOptions| SnapshotOptions {
        day: 3,
        turnover: 0.1,
        oddities: Oddities {
            non_ascii: 0.1,
            ..Oddities::none()
        },
        ..options
    };
    let info = day(options(DEFAULT));
    let groups = groups(info.devices, info.groups);
    let mut records = Records::new(&info, &groups);
    let devices: BTreeMap<String, Value> = (0..info.devices)
        .map(|slot| {
            let mut line = Vec::new();
            records.write(slot, &mut line);
            let row: Value = serde_json::from_slice(&line).unwrap();
            (row["DeviceId"].as_str().unwrap().to_owned(), row)
        })
        .collect();
    for dataset in with_recipes() {
        let mut met = BTreeSet::new();
        for row in all(&day(options(dataset))) {
            let of = |keys: [&str; 2]| keys.iter().find_map(|key| row.get(*key)).cloned();
            let id = of(["DeviceId", "id"]).unwrap();
            let device = &devices[id.as_str().unwrap()];
            assert_eq!(
                of(["RbacGroupId", "rbacGroupId"]).as_ref(),
                Some(&device["RbacGroupId"])
            );
            assert_eq!(
                of(["RbacGroupName", "rbacGroupName"]).as_ref(),
                Some(&device["RbacGroupName"])
            );
            let name = of(["DeviceName", "computerDnsName"]).unwrap();
            let full = device["DeviceName"].as_str().unwrap();
            assert!(full.starts_with(name.as_str().unwrap()), "{name} {full}");
            if let Some(platform) = of(["OSPlatform", "osPlatform"]) {
                assert_eq!(platform, device["OsPlatform"]);
            }
            if let Some(version) = of(["OSVersion", "osVersion"]) {
                assert_eq!(version, device["OsVersion"]);
            }
            met.insert(id.to_string());
        }
        assert!(met.len() > 250, "{dataset}: {}", met.len());
    }
}

#[test]
fn each_form_of_time_occurs() {
    let text: String = with_recipes()
        .flat_map(|dataset| lines(&options(dataset)).concat())
        .collect();
    let mut seen = BTreeSet::new();
    for part in text.split('"') {
        let shape: String = part
            .chars()
            .map(|letter| if letter.is_ascii_digit() { '0' } else { letter })
            .collect();
        if shape.starts_with("0000-00-00") && shape.contains(':') {
            seen.insert(shape);
        }
    }
    for form in [
        "0000-00-00 00:00:00",
        "0000-00-00 0:00:00",
        "0000-00-00 00:00:00.000",
        "0000-00-00T00:00:00.000Z",
        "0000-00-00T00:00:00.0000000Z",
        "0000-00-00T00:00:00Z",
        "0000-00-00T00:00:00+00:00",
    ] {
        assert!(seen.contains(form), "{form} is not among {seen:?}");
    }
    for sentinel in ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"] {
        assert!(text.contains(sentinel), "{sentinel}");
    }
}

#[test]
fn rows_in_the_other_casing_hold_the_same_values_and_explicit_nulls() {
    for dataset in with_recipes() {
        let plain = all(&options(dataset));
        let odd = SnapshotOptions {
            oddities: Oddities {
                other_casing: 0.2,
                ..Oddities::none()
            },
            ..options(dataset)
        };
        let odd = all(&odd);
        assert_eq!(plain.len(), odd.len());
        let first = |row: &Value| row.as_object().unwrap().keys().next().cloned().unwrap();
        let other: Vec<(&Value, &Value)> = plain
            .iter()
            .zip(&odd)
            .filter(|(plain, odd)| first(plain) != first(odd))
            .collect();
        let share = other.len() as f64 / plain.len() as f64;
        assert!((0.1..0.3).contains(&share), "{dataset}: {share}");
        let recipe = Recipe::of(dataset, None).unwrap();
        for (plain, odd) in other {
            assert_eq!(odd.as_object().unwrap().len(), recipe.keys().count());
            if dataset == "software_vulnerabilities" {
                for key in recipe.keys() {
                    let value = plain.get(key).unwrap_or(&Value::Null);
                    assert_eq!(value, &odd[camel(key)], "{key}");
                }
            }
        }
    }
}

#[test]
fn days_differ_by_changed_and_new_devices_alone() {
    for dataset in with_recipes() {
        let recipe = Recipe::of(dataset, None).unwrap();
        let today = SnapshotOptions {
            changed: 0.1,
            turnover: 0.02,
            ..options(dataset)
        };
        let (before, after) = (lines(&today), lines(&today.next_day()));
        let pairs = before.iter().zip(&after);
        let differ = pairs.clone().filter(|(old, new)| old != new).count();
        assert!(
            (20..100).contains(&differ),
            "{dataset}: {differ} of {DEVICES}"
        );
        let (mut kept, mut same) = (0, 0);
        for (old, new) in pairs.filter(|(old, new)| old != new) {
            let rows = |lines: &[String]| -> BTreeMap<Vec<String>, Value> {
                let row = |line: &String| -> Value { serde_json::from_str(line).unwrap() };
                lines
                    .iter()
                    .map(row)
                    .map(|row| (key(&recipe, &row), row))
                    .collect()
            };
            let (old, new) = (rows(old), rows(new));
            kept += old.keys().filter(|key| new.contains_key(*key)).count();
            same += old
                .iter()
                .filter(|(key, row)| new.get(*key) == Some(row))
                .count();
        }
        assert!(kept > same, "{dataset}");
        let calm = SnapshotOptions {
            changed: 0.0,
            turnover: 0.0,
            ..options(dataset)
        };
        assert_eq!(lines(&calm), lines(&calm.next_day()), "{dataset}");
    }
}

#[test]
fn oddities_show_and_leave_the_other_rows_as_they_are() {
    for dataset in with_recipes() {
        let odd = SnapshotOptions {
            oddities: Oddities::all(),
            ..options(dataset)
        };
        let (plain, odd) = (lines(&options(dataset)).concat(), lines(&odd).concat());
        let touched = plain
            .iter()
            .zip(&odd)
            .filter(|(plain, odd)| plain != odd)
            .count();
        let share = touched as f64 / plain.len() as f64;
        assert!((0.1..0.4).contains(&share), "{dataset}: {share}");
        let recipe = Recipe::of(dataset, None).unwrap();
        for line in &odd {
            let row: Value = serde_json::from_str(line).unwrap();
            let has = |key: &str| row.get(key).is_some() || row.get(camel(key)).is_some();
            assert!(
                has(&recipe.key[0]) || dataset == "machines",
                "{dataset}: {line}"
            );
        }
        assert!(
            odd.iter().any(|line| line.contains("ExposureLevel")),
            "{dataset}"
        );
    }
}

#[test]
fn vulnerabilities_have_what_a_reader_must_expect() {
    let rows = all(&options("software_vulnerabilities"));
    let share = |test: &dyn Fn(&Value) -> bool| {
        rows.iter().filter(|row| test(row)).count() as f64 / rows.len() as f64
    };
    for (level, least) in [
        ("ExploitIsPublic", 0.02),
        ("ExploitIsVerified", 0.01),
        ("ExploitIsInKit", 0.01),
    ] {
        let found = share(&|row| row["ExploitabilityLevel"] == level);
        assert!((least..0.15).contains(&found), "{level}: {found}");
    }
    let critical = share(&|row| row["VulnerabilitySeverityLevel"] == "Critical");
    assert!((0.02..0.08).contains(&critical), "{critical}");
    let without_cve = share(&|row| row.get("CveId").is_none());
    assert!((0.005..0.1).contains(&without_cve), "{without_cve}");
    assert!(share(&|row| row.get("CveId").is_some() && row.get("CvssScore").is_none()) > 0.01);
    assert!(share(&|row| row.get("DiskPaths").is_none()) > 0.1);
    assert!(share(&|row| row["DiskPaths"].is_array()) > 0.1);
    let mean = rows.len() / DEVICES as usize;
    assert!((35..45).contains(&mean), "{mean} rows a device");
    for line in lines(&options("software_vulnerabilities"))
        .concat()
        .iter()
        .take(100)
    {
        assert!(!line.contains("null"), "{line}");
        let order: Vec<usize> = [
            "\"CveId\"",
            "\"DeviceId\"",
            "\"Id\"",
            "\"OSPlatform\"",
            "\"SoftwareVersion\"",
        ]
        .iter()
        .filter_map(|key| line.find(key))
        .collect();
        assert!(order.is_sorted(), "{line}");
    }
}

#[test]
fn certificates_and_hardware_hold_json_text() {
    for row in all(&options("certificates")) {
        let subject: Value = serde_json::from_str(row["IssuedTo"].as_str().unwrap()).unwrap();
        assert!(subject["CommonName"].is_string(), "{row}");
        let thumbprint = row["Thumbprint"].as_str().unwrap();
        assert_eq!(thumbprint.len(), 40, "{thumbprint}");
        assert!(row["Path"].as_str().unwrap().ends_with(thumbprint), "{row}");
    }
    for row in all(&options("hardware_firmware")) {
        if let Some(text) = row["AdditionalFields"].as_str() {
            assert!(
                serde_json::from_str::<Value>(text).unwrap().is_object(),
                "{row}"
            );
        }
    }
}

#[test]
fn the_number_of_rows_can_be_asked_for_within_what_there_is() {
    let rows = |rows| SnapshotOptions {
        rows_per_device: Some(rows),
        ..options("software_inventory")
    };
    assert!(
        lines(&rows(3))
            .iter()
            .all(|lines| matches!(lines.len(), 0 | 3))
    );
    let recipe = Recipe::of("software_inventory", None).unwrap();
    let record = recipe.record().unwrap().unwrap();
    let too_many = rows(1_000);
    let refused = RowSource::new(&too_many, &[], &recipe, &record)
        .err()
        .unwrap();
    assert!(refused.to_string().contains("rows_per_device"), "{refused}");
}

#[test]
fn a_dataset_that_the_program_does_not_know_costs_a_recipe_file() {
    let dir = tempfile::tempdir().unwrap();
    let recipe: PathBuf = dir.path().join("network_shares.toml");
    let text = r#"
        export = "NetworkShares"
        permission = "Machine.Read.All"
        key = ["DeviceId", "Share"]
        rows = [2, 2]
        columns = [
            { key = "DeviceId", device = "id" },
            { key = "RbacGroupId", device = "group_id" },
            { key = "Share", text = "share-{row}" },
            { key = "Seen", time = "2020-11-03 10:13:34.8476880", days = [-1, 0] },
        ]
        # No item: the rows of a device differ by their number.
        [files]
        endpoint = "/api/machines/NetworkSharesExport"
    "#;
    std::fs::write(&recipe, text).unwrap();
    let options = SnapshotOptions {
        recipe: Some(recipe),
        ..options("network_shares")
    };
    let rows = all(&options);
    assert_eq!(rows.len(), 2 * DEVICES as usize);
    assert_eq!(
        (&rows[0]["Share"], &rows[1]["Share"]),
        (&"share-0".into(), &"share-1".into())
    );
}

/// Needs an optimised build and a processor that does nothing else:
/// `CARGO_PROFILE_DEV_OPT_LEVEL=3 cargo test -p simulator -- --ignored fast`.
#[test]
#[ignore = "measures time"]
fn rows_are_written_fast() {
    let rate = |dataset: &str| {
        let options = options(dataset);
        let recipe = Recipe::of(dataset, None).unwrap();
        let record = recipe.record().unwrap().unwrap();
        let groups = groups(options.devices, options.groups);
        let source = RowSource::new(&options, &groups, &recipe, &record).unwrap();
        let (mut rows, mut line) = (source.rows(), Vec::new());
        let start = std::time::Instant::now();
        let mut bytes = 0;
        while start.elapsed().as_millis() < 300 {
            for slot in 0..options.devices {
                for row in 0..rows.begin(slot) {
                    rows.write(row, &mut line);
                }
                bytes += line.len();
                line.clear();
            }
        }
        bytes as f64 / start.elapsed().as_secs_f64() / 1e6
    };
    let rates: BTreeMap<&str, f64> = with_recipes().map(|name| (name, rate(name))).collect();
    assert!(rates.values().all(|rate| *rate > 150.0), "MB/s: {rates:?}");
}
