//! Inference, comparison and promotion over the service's samples, over random records and over hostile ones.

mod samples;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::evidence::{Objects, Seen};
use super::{Inference, Metadata, MetadataError, PromoteError, ProposedDataset, diff, promote};
use crate::{ColumnType, Dataset, SchemaError};

fn inference(records: &[Value]) -> Inference {
    let mut inference = Inference::default();
    for record in records {
        inference.add(record);
    }
    inference
}

fn parsed(texts: &[&str]) -> Vec<Value> {
    let records = texts.iter().map(|text| serde_json::from_str(text).unwrap());
    records.collect()
}

const NAMES: ProposedDataset<'_> = ProposedDataset {
    name: "proposed",
    endpoint: "/api/machines/Export",
    export_name: "Export",
    permission: "Software.Read.All",
};

fn proposed(records: &[Value]) -> (String, Dataset) {
    let text = inference(records).propose(&NAMES).unwrap();
    let dataset = Dataset::parse(&text, "proposal").unwrap();
    (text, dataset)
}

/// Name and type of a column by its usual wire path.
fn column_at(dataset: &Dataset, wire: &str) -> (String, String) {
    let column = dataset.columns.iter().find(|column| {
        let usual = column.wire.iter().next().unwrap();
        usual.to_string() == wire
    });
    let column = column.unwrap_or_else(|| panic!("no column for {wire}"));
    (column.name.clone(), column.column_type.to_string())
}

#[test]
fn info_gathering_is_read_through_its_json_strings() {
    let (text, dataset) = proposed(&parsed(&[samples::WINDOWS, samples::LINUX]));
    for (wire, name, column_type) in [
        ("DeviceId", "device_id", "string"),
        ("OsPlatform", "os_platform", "string"),
        ("LastSeenTime", "last_seen_time", "timestamp"),
        ("Timestamp", "timestamp", "timestamp"),
        ("DeviceGatheredInfo.AvMode", "av_mode", "string"),
        (
            "DeviceGatheredInfo.AvIsSignatureUptoDate",
            "av_is_signature_upto_date",
            "bool",
        ),
        (
            "DeviceGatheredInfo.CVE_2022_30190_Mitigated",
            "cve_2022_30190_mitigated",
            "bool",
        ),
        (
            "DeviceGatheredInfo.Log4j_CVE_2021_44228",
            "log4j_cve_2021_44228",
            "json",
        ),
        ("DeviceGatheredInfo.EBPFStatus", "ebpf_status", "string"),
        (
            "DeviceGatheredInfo.AvScanResults.Quick.ScanStatus",
            "scan_status",
            "string",
        ),
        (
            "DeviceGatheredInfo.AvScanResults.Quick.Timestamp",
            "quick_timestamp",
            "timestamp",
        ),
        ("DeviceGatheredInfo.AvScanResults.Full", "full", "json"),
        (
            "DeviceGatheredInfo.AsrConfigurationStates",
            "asr_configuration_states",
            "map<string, string>",
        ),
    ] {
        let expected = (name.to_owned(), column_type.to_owned());
        assert_eq!(column_at(&dataset, wire), expected, "{wire}");
    }
    assert_eq!(dataset.unique_key, ["device_id"]);
    assert!(!dataset.column("device_id").unwrap().nullable);
    assert!(
        dataset
            .columns
            .iter()
            .filter(|column| !column.nullable)
            .count()
            == 1
    );
    assert_eq!(dataset.partition.wire.to_string(), "RbacGroupId");
    assert!(
        text.contains("meaning = \"Seen in 100% of 2 records.\""),
        "{text}"
    );
}

#[test]
fn the_other_exports_have_columns_of_the_right_types() {
    for (sample, columns) in [
        (
            samples::SECURE_CONFIGURATION,
            vec![
                ("ConfigurationImpact", "configuration_impact", "float64"),
                ("IsCompliant", "is_compliant", "bool"),
                ("Timestamp", "timestamp", "timestamp"),
                ("OSPlatform", "os_platform", "string"),
            ],
        ),
        (
            samples::SOFTWARE,
            vec![
                ("NumberOfWeaknesses", "number_of_weaknesses", "int64"),
                ("DiskPaths", "disk_paths", "list<string>"),
                ("EndOfSupportDate", "end_of_support_date", "json"),
            ],
        ),
        (
            samples::VULNERABILITY,
            vec![("CveId", "cve_id", "string"), ("Id", "id", "string")],
        ),
        (
            samples::EXTENSION,
            vec![(
                "Permissions",
                "permissions",
                "list<struct<id: string, is_required: bool, risk: string>>",
            )],
        ),
        (
            samples::CERTIFICATE,
            vec![
                ("IssueDate", "issue_date", "timestamp"),
                ("IssuedTo.CommonName", "issued_to_common_name", "string"),
            ],
        ),
        (
            samples::FIRMWARE,
            vec![("AdditionalFields.SystemSKU", "system_sku", "string")],
        ),
        (
            samples::BASELINE,
            vec![("CurrentValue", "current_value", "list<string>")],
        ),
    ] {
        let (_, dataset) = proposed(&parsed(&[sample]));
        for (wire, name, column_type) in columns {
            let expected = (name.to_owned(), column_type.to_owned());
            assert_eq!(column_at(&dataset, wire), expected, "{wire}");
        }
    }
}

#[test]
fn types_are_those_that_all_values_fit() {
    let device = |n: u64, value: Value| json!({"DeviceId": n.to_string(), "V": value});
    for (values, expected) in [
        (
            vec![json!("2020-12-30"), json!("2021-05-11T00:00:00+00:00")],
            "date",
        ),
        (
            vec![json!("2020-12-30"), json!("2021-05-11 9:05")],
            "timestamp",
        ),
        (
            vec![json!("0001-01-01T00:00:00Z"), json!("2021-05-11 9:05")],
            "timestamp",
        ),
        (vec![json!("0001-01-01T00:00:00Z")], "string"),
        (
            vec![json!("true"), json!("Unknown"), json!(false), json!("")],
            "bool",
        ),
        (vec![json!("true"), json!("RebootRequired")], "string"),
        (vec![json!(1), json!("2")], "int64"),
        (vec![json!("1"), json!("2")], "string"),
        (vec![json!(1), json!(2.5)], "float64"),
        (vec![json!(1), json!("high")], "json"),
        (vec![json!(null)], "json"),
        (vec![json!([])], "json"),
        (vec![json!({})], "json"),
        (vec![json!("[\"a\"]"), json!([null])], "list<string>"),
        (vec![json!("[1]"), json!("[2]")], "json"),
        (vec![json!({"a": 1}), json!("-")], "json"),
        (
            vec![json!({"a": "x"}), json!({"a.b": "y"})],
            "map<string, string>",
        ),
    ] {
        let records: Vec<Value> = (0..)
            .zip(&values)
            .map(|(n, v)| device(n, v.clone()))
            .collect();
        let (text, dataset) = proposed(&records);
        assert_eq!(column_at(&dataset, "V").1, expected, "{values:?}\n{text}");
    }
}

#[test]
fn objects_whose_keys_change_from_record_to_record_are_maps() {
    let records: Vec<Value> = (0..20)
        .map(|n| json!({"DeviceId": n.to_string(), "Rules": {format!("Rule{n}"): "Block", "All": null}}))
        .collect();
    let (_, dataset) = proposed(&records);
    assert_eq!(column_at(&dataset, "Rules").1, "map<string, string>");
}

#[test]
fn one_stray_value_in_many_does_not_lose_the_columns_below() {
    let mut records: Vec<Value> = (0..100)
        .map(|n| json!({"DeviceId": n.to_string(), "Info": "{\"Mode\": \"a\"}"}))
        .collect();
    records.push(json!({"DeviceId": "x", "Info": "{"}));
    let (_, dataset) = proposed(&records);
    assert_eq!(column_at(&dataset, "Info.Mode").1, "string");
}

#[test]
fn spellings_that_differ_by_case_are_one_column() {
    let (_, dataset) = proposed(&[
        json!({"DeviceId": "a", "OSPlatform": "x", "rbacGroupId": 1, "Info": {"Mode": "1"}}),
        json!({"DeviceId": "b", "OsPlatform": "x", "rbacGroupId": 1, "info": {"mode": "1"}}),
        json!({"DeviceId": "c", "OSPlatform": "x", "RbacGroupId": 1}),
    ]);
    let column = dataset.column("os_platform").unwrap();
    assert_eq!(column.wire.to_string(), "OSPlatform | OsPlatform");
    let column = dataset.column("mode").unwrap();
    assert_eq!(column.wire.to_string(), "Info.Mode | info.mode");
    assert_eq!(
        dataset.partition.wire.to_string(),
        "rbacGroupId | RbacGroupId"
    );
}

#[test]
fn the_key_is_the_smallest_set_with_the_device() {
    let record = |device: &str, name: &str, version: Option<&str>| json!({"DeviceId": device, "Name": name, "Version": version, "Paths": ["x"]});
    let (text, dataset) = proposed(&[
        record("a", "x", Some("1")),
        record("a", "x", None),
        record("a", "y", Some("1")),
        record("b", "x", Some("1")),
    ]);
    assert_eq!(dataset.unique_key, ["device_id", "name", "version"]);
    assert_eq!(dataset.columns[2].name, "version");
    assert!(dataset.columns[2].nullable && !dataset.columns[1].nullable);
    assert!(text.contains("# unique in these records"), "{text}");

    let (text, dataset) = proposed(&[record("a", "x", None), record("a", "x", None)]);
    assert_eq!(dataset.unique_key, ["device_id"]);
    assert!(
        text.contains("# not unique in the first 2 records"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_a_schema_is_refused() {
    let empty = Inference::default();
    assert!(matches!(
        empty.propose(&NAMES),
        Err(SchemaError::NoKey { .. })
    ));
    let lists = inference(&[json!({"a": ["x"]}), json!(1)]);
    assert!(matches!(
        lists.propose(&NAMES),
        Err(SchemaError::NoKey { .. })
    ));
    let named = ProposedDataset {
        name: "No Name",
        ..NAMES
    };
    let error = inference(&[json!({"a": "x"})]).propose(&named);
    assert!(matches!(error, Err(SchemaError::NotSnakeCase { .. })));
}

#[test]
fn the_built_in_schema_has_no_difference_from_its_samples_but_what_never_came() {
    let dataset = Dataset::built_in("info_gathering").unwrap();
    let records = inference(&parsed(&[samples::WINDOWS, samples::LINUX]));
    let found = diff(&dataset, &records);
    assert!(
        found.unnamed.is_empty() && found.misfits.is_empty(),
        "{found}"
    );
    assert!(found.spellings.is_empty(), "{found}");
    let never: Vec<&str> = found.never_came.iter().map(|n| n.column.as_str()).collect();
    assert!(never.contains(&"av_platform_expiration_time"), "{never:?}");
    assert!(never.contains(&"av_full_scan_time") && !never.contains(&"av_quick_scan_time"));
}

#[test]
fn differences_are_told_by_path() {
    let dataset = Dataset::built_in("browser_extensions").unwrap();
    let mut record: Value = serde_json::from_str(samples::EXTENSION).unwrap();
    let object = record.as_object_mut().unwrap();
    object.insert("ExtensionVendor".into(), json!(null));
    object.insert("IsActivated".into(), json!("perhaps"));
    object.insert("InstallationTime".into(), json!(""));
    object.insert("Store".into(), json!({"Rank": 1, "Note": null}));
    object.insert(
        "Permissions".into(),
        json!([{"ID": "a", "IsRequired": 7, "New": "x"}]),
    );
    object.remove("ExtensionId");
    let found = diff(&dataset, &inference(&[record]));
    assert_eq!(
        found.to_string(),
        "no column    Permissions[].New: string, in 100% of 1\n\
         no column    Store.Rank: int64, in 100% of 1\n\
         never came   extension_id (ExtensionId)\n\
         never came   permissions.risk (Permissions[].Risk)\n\
         does not fit ExtensionId: 1 not a value, such as null (extension_id)\n\
         does not fit IsActivated: 1 not bool, such as perhaps (is_activated)\n\
         does not fit Permissions[].IsRequired: 1 not bool, such as 7 (permissions.is_required)\n\
         other case   Permissions[].ID: 1 times for Permissions[].Id (permissions.id)\n"
    );
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["unnamed"][1]["wire"], "Store.Rank");
}

#[test]
fn a_proposal_has_no_difference_from_its_records() {
    let records = parsed(&[samples::WINDOWS, samples::LINUX]);
    let (_, dataset) = proposed(&records);
    let found = diff(&dataset, &inference(&records));
    assert!(found.is_empty(), "{found}");
}

#[test]
fn keys_that_no_wire_path_can_name_are_told() {
    let record = json!({"DeviceId": "a", "RbacGroupId": 0, "@odata.type": "x", "Null.1": null, "B": {"": 1}});
    let (text, dataset) = proposed(std::slice::from_ref(&record));
    assert!(text.contains("too many: @odata.type\n"), "{text}");
    assert_eq!(column_at(&dataset, "B").1, "json");
    let found = diff(&dataset, &inference(&[record]));
    assert_eq!(found.to_string(), "not followed @odata.type\n");
}

fn schema_text() -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas");
    std::fs::read_to_string(format!("{folder}/info_gathering.toml")).unwrap()
}

#[test]
fn promotion_adds_a_column_and_keeps_every_byte() {
    let records = inference(&[
        json!({"deviceGatheredInfo": {"NewMode": "2026-05-03T07:31:22Z", "Mode": {"a": "x"}, "List": [{"A": 1}]}}),
        json!({"DeviceGatheredInfo": "{\"NewMode\": null, \"newMode\": \"2026-05-03\"}"}),
    ]);
    let text = schema_text();
    let promoted = promote(&text, "DeviceGatheredInfo.NewMode", &records).unwrap();
    assert!(promoted.starts_with(&text));
    let dataset = Dataset::parse(&promoted, "promoted").unwrap();
    let column = dataset.column("new_mode").unwrap();
    assert_eq!(column.column_type, ColumnType::Timestamp);
    assert_eq!(
        column.wire.to_string(),
        "DeviceGatheredInfo.NewMode | DeviceGatheredInfo.newMode"
    );

    let added = promote(&promoted, "DeviceGatheredInfo.Mode", &records).unwrap();
    let added = promote(&added, "DeviceGatheredInfo.List", &records).unwrap();
    let dataset = Dataset::parse(&added, "promoted").unwrap();
    assert_eq!(
        dataset.column("mode").unwrap().column_type,
        ColumnType::StringMap
    );
    let list = dataset.column("list").unwrap();
    assert_eq!(list.column_type.to_string(), "list<struct<a: int64>>");
}

#[test]
fn promotion_keeps_windows_line_ends_and_writes_after_other_tables() {
    let records = inference(&[json!({"New": 1})]);
    let text = schema_text();
    let (limits, rest) = (
        text.find("[limits]").unwrap(),
        text.find("[partition]").unwrap(),
    );
    let moved = format!(
        "{}{}\n{}",
        &text[..limits],
        &text[rest..],
        &text[limits..rest]
    );
    let moved = moved.trim_end().replace('\n', "\r\n");
    let promoted = promote(&moved, "new", &records).unwrap();
    assert!(promoted.starts_with(&moved));
    assert_eq!(
        promoted.matches('\n').count(),
        promoted.matches("\r\n").count()
    );
    let dataset = Dataset::parse(&promoted, "promoted").unwrap();
    assert_eq!(dataset.columns.last().unwrap().wire.to_string(), "New");
}

#[test]
fn promotion_refuses_paths_that_cannot_become_columns() {
    let records = inference(&[json!({"DeviceId": "a", "New": null})]);
    let refused = |path: &str| promote(&schema_text(), path, &records).unwrap_err();
    assert!(matches!(refused("deviceid"), PromoteError::Named { .. }));
    assert!(matches!(refused("RbacGroupId"), PromoteError::Named { .. }));
    assert!(matches!(
        refused("OsPlatform.Name"),
        PromoteError::LeadsThroughColumn { .. }
    ));
    assert!(matches!(
        refused("DeviceGatheredInfo"),
        PromoteError::LeadsToColumn { .. }
    ));
    assert!(matches!(
        refused("New"),
        PromoteError::NeverSeen { records: 1, .. }
    ));
    assert!(matches!(refused("Other"), PromoteError::NeverSeen { .. }));
    for path in ["", "a..b", "a\\.b"] {
        assert!(
            matches!(refused(path), PromoteError::NoWirePath { .. }),
            "{path}"
        );
    }
    let error = promote("name = 1", "New", &records);
    assert!(matches!(error, Err(PromoteError::Schema(_))));
}

const METADATA: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>
<Schema Namespace="microsoft.windowsDefenderATP.api" xmlns="http://docs.oasis-open.org/odata/ns/edm">
<ComplexType Name="asset"><Property Name="deviceId" Type="Edm.String" Nullable="false"/>
  <Property Name="rbacGroupId" Type="Edm.Int64"/><Property Name="rbacGroupName" Type="Edm.String"/></ComplexType>
<ComplexType Name="extension" BaseType="microsoft.windowsDefenderATP.api.asset">
  <Property Name="installationTime" Type="Edm.DateTimeOffset"/><Property Name="browserName" Type="Edm.String"/>
  <Property Name="isActivated" Type="Edm.Int32"/><Property Name="storeId" Type="Edm.Guid"/>
  <Property Name="permissions" Type="Collection(microsoft.windowsDefenderATP.api.permission)"/></ComplexType>
<ComplexType Name="permission"><Property Name="id" Type="Edm.String"/><Property Name="isRequired" Type="Edm.String"/>
  <Property Name="level" Type="microsoft.windowsDefenderATP.api.risk"/></ComplexType>
<ComplexType Name="files"><Property Name="exportFiles" Type="Collection(Edm.String)"/></ComplexType>
<EnumType Name="risk"><Member Name="High"/></EnumType>
<ComplexType Name="loop" BaseType="microsoft.windowsDefenderATP.api.loop"><Property Name="x" Type="Edm.String"/></ComplexType>
<Function Name="browserExtensionsInventoryByMachine" IsBound="true">
  <ReturnType Type="Collection(microsoft.windowsDefenderATP.api.extension)"/></Function>
<Function Name="BrowserExtensionsInventoryExport" IsBound="true"><ReturnType Type="microsoft.windowsDefenderATP.api.files"/></Function>
</Schema></edmx:DataServices></edmx:Edmx>"#;

#[test]
fn the_services_metadata_is_compared_with_a_dataset() {
    let metadata = Metadata::parse(METADATA).unwrap();
    let dataset = Dataset::built_in("browser_extensions").unwrap();
    let found = metadata.compare(&dataset, None).unwrap();
    assert_eq!(
        found.to_string(),
        "compared with microsoft.windowsDefenderATP.api.extension\n\
         no column    permissions[].level: microsoft.windowsDefenderATP.api.risk\n\
         no column    storeId: Edm.Guid\n\
         contradicts  isActivated: Edm.Int32, but is_activated is bool\n\
         contradicts  permissions[].isRequired: Edm.String, but is_required is bool\n"
    );
    let asset = metadata.compare(&dataset, Some("Asset")).unwrap();
    assert!(asset.is_empty(), "{asset}");
    // Without a function of its name, the type with most properties in common.
    let info = Dataset::built_in("certificates").unwrap();
    let found = metadata.compare(&info, None).unwrap();
    assert_eq!(found.type_name, "microsoft.windowsDefenderATP.api.asset");
    assert!(matches!(
        metadata.compare(&dataset, Some("none")),
        Err(MetadataError::NoSuchType { .. })
    ));
    let of_an_enum = metadata.compare(&dataset, Some("microsoft.windowsDefenderATP.api.risk"));
    assert!(of_an_enum.is_err());
    let looped = metadata.compare(&dataset, Some("loop")).unwrap();
    assert!(!looped.is_empty());
}

#[test]
fn metadata_that_is_none_is_refused() {
    assert!(matches!(
        Metadata::parse("{"),
        Err(MetadataError::NotXml(_))
    ));
    assert!(matches!(
        Metadata::parse("<a/>"),
        Err(MetadataError::NoTypes)
    ));
    let bomb = "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>";
    assert!(matches!(
        Metadata::parse(bomb),
        Err(MetadataError::NotXml(_))
    ));
}

/// Paths that an inference remembers.
fn paths(objects: &Objects) -> usize {
    let of_one = |seen: &Seen| 1 + paths(&seen.object) + paths(&seen.items);
    objects.children.values().map(of_one).sum()
}

#[test]
fn hostile_records_stay_bounded() {
    let mut deep = json!({"a": "x"});
    for _ in 0..100 {
        deep = json!({"k": [deep.clone()], "t": {"k": deep}, "s": 1, "j": null})
            .as_object()
            .map(|object| Value::Object(object.clone()))
            .filter(|value| value.to_string().len() < 1 << 16)
            .unwrap_or(json!({}));
    }
    let key_of = |n: usize| (format!("Key{n}"), json!(n.to_string()));
    let mut wide: Map<String, Value> = (0..100_000).map(key_of).collect();
    wide.insert(
        "A".to_owned(),
        Value::Object((0..100_000).map(key_of).collect()),
    );
    let long = "x".repeat(1 << 20);
    let mut records = vec![deep, Value::Object(wide)];
    records.push(
        json!({"DeviceId": long, long.clone(): 1, "L": vec![json!({"a": long.clone()}); 10]}),
    );
    records.extend(
        (0..3000).map(|n| json!({"DeviceId": n.to_string(), format!("O{n}"): {format!("{n}"): n}})),
    );
    let inference = inference(&records);
    assert!(paths(&inference.objects) <= 2_000);
    let text = inference.propose(&NAMES).unwrap();
    assert!(text.len() < 1 << 20, "{}", text.len());
    assert!(!diff(&Dataset::built_in("info_gathering").unwrap(), &inference).is_empty());
}

/// Values such as records hold, with keys that wire paths can name.
fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        "(true|False|unknown|2020-12-30( 1?[0-9]:00)?|[0-9]{1,3})".prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 24, 5, |inner| {
        let object = proptest::collection::hash_map("[A-Da-d_.é]{0,3}", inner.clone(), 0..5);
        let object = object.prop_map(|map| Value::Object(map.into_iter().collect()));
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(Value::from),
            object.clone(),
            object.prop_map(|object| Value::from(object.to_string())),
        ]
    })
}

/// Whether every value that is not null is in a column, or below one.
fn is_covered(object: &Map<String, Value>, above: &str, columns: &[String]) -> bool {
    object.iter().all(|(key, value)| {
        let path = format!("{above}{key}").to_ascii_lowercase();
        let is_step = columns.iter().any(|column| column.starts_with(&format!("{path}.")));
        let held = value.as_str().and_then(|text| serde_json::from_str(text).ok());
        let below = held.as_ref().unwrap_or(value);
        value.is_null()
            || columns.contains(&path)
            || is_step && below.as_object().is_some_and(|below| is_covered(below, &format!("{path}."), columns))
            // A step takes an empty text for no object, as others do for null.
            || is_step && value == ""
    })
}

proptest! {
    #[test]
    fn every_value_of_any_record_has_a_column(
        records in proptest::collection::vec(proptest::collection::hash_map("[A-Da-d_é]{1,3}", value(), 0..6), 1..6),
    ) {
        let records: Vec<Map<String, Value>> = records
            .into_iter()
            .enumerate()
            .map(|(n, record)| {
                let mut record: Map<String, Value> = record.into_iter().collect();
                record.insert("DeviceId".to_owned(), json!(n.to_string()));
                record
            })
            .collect();
        let values: Vec<Value> = records.iter().cloned().map(Value::Object).collect();
        let (text, dataset) = proposed(&values);
        let columns: Vec<String> = dataset
            .columns
            .iter()
            .flat_map(|column| column.wire.iter())
            .map(|path| path.to_string().to_ascii_lowercase())
            .collect();
        for record in &records {
            prop_assert!(is_covered(record, "", &columns), "{record:?}\n{text}");
        }
        let found = diff(&dataset, &inference(&values));
        prop_assert!(found.unnamed.is_empty() && found.misfits.is_empty(), "{found}\n{text}");
    }
    #[test]
    fn every_unnamed_path_can_be_promoted(
        records in proptest::collection::vec(proptest::collection::hash_map(".{0,3}", value(), 0..6), 1..4),
    ) {
        let records: Vec<Value> = records
            .into_iter()
            .map(|record| Value::Object(record.into_iter().collect()))
            .collect();
        let inference = inference(&records);
        let mut text = schema_text();
        let found = diff(&Dataset::parse(&text, "schema").unwrap(), &inference);
        for unnamed in &found.unnamed {
            text = promote(&text, &unnamed.wire, &inference).unwrap();
        }
        let found = diff(&Dataset::parse(&text, "schema").unwrap(), &inference);
        prop_assert!(found.unnamed.is_empty(), "{found}");
        match inference.propose(&NAMES) {
            Ok(proposal) => prop_assert!(Dataset::parse(&proposal, "proposal").is_ok()),
            // Nothing came that could be part of a key.
            Err(error) => prop_assert!(matches!(error, SchemaError::NoKey { .. }), "{error}"),
        }
    }
}
