//! Datasets that the program does not carry: what a schema file declares is obeyed from the blobs to the readers.

use std::fs;

use serde_json::{Value, json};

use crate::harness::blobs::{Blobs, gzip, path};
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::readers::rows;

/// A key of two columns of which one may be null, another partition column, several wire paths, a list of structs.
const SCHEMA: &str = r#"
name = "extensions"
meaning = "Browser extensions, one row a device and extension."
endpoint = "/api/machines/BrowserExtensions"
export_name = "InfoGatheringExport"
permission = "Software.Read.All"
unique_key = ["device_id", "extension_id"]

[limits]
calls_per_minute = 30
calls_per_hour = 1000

[partition]
column = "site"
wire = "SiteId"
meaning = "Where the device is."

[[column]]
name = "device_id"
wire = "DeviceId"
type = "string"
nullable = false
meaning = "The device."

[[column]]
name = "extension_id"
wire = ["ExtensionId", "ExtId"]
type = "string"
meaning = "The extension; null where the browser does not tell."

[[column]]
name = "permissions"
wire = "Permissions"
type = "list<struct>"
meaning = "What the extension may do."
[[column.field]]
name = "id"
wire = "Id"
type = "string"
meaning = "What it may do."
[[column.field]]
name = "is_required"
wire = "IsRequired"
type = "bool"
meaning = "Whether it does not run without."
[[column.field]]
name = "hosts"
wire = "Hosts"
type = "list<string>"
meaning = "Where."
[[column.field]]
name = "uses"
wire = "Uses"
type = "int64"
meaning = "How often."
"#;

const RECORDS: [&str; 6] = [
    r#"{"DeviceId":"a","ExtensionId":"x","SiteId":7,"Permissions":[{"Id":"tabs","IsRequired":true,"Hosts":["h",null],"Uses":9007199254740993},null,{"Id":"history"}]}"#,
    r#"{"DeviceId":"a","ExtensionId":null,"SiteId":"7","Permissions":[]}"#,
    r#"{"DeviceId":"a","ExtensionId":"","SiteId":7}"#,
    r#"{"deviceId":"b","extensionId":"x","SITEID":8,"permissions":[{"id":"tabs","isrequired":"False","uses":"3"}]}"#,
    r#"{"DeviceId":"b","ExtId":"y","SiteId":8,"Permissions":"[{\"Id\":\"tabs\",\"Hosts\":[]}]"}"#,
    r#"{"DeviceId":"c","SiteId":8,"Permissions":[{"Id":"tabs","New":1}]}"#,
];

fn pipeline<'a>(blobs: &Blobs, lake: &'a Lake, schema: &str) -> Pipeline<'a> {
    let pipeline = Pipeline::from_files(blobs, lake);
    pipeline.replace(
        "dataset = \"info_gathering\"",
        "dataset = \"extensions\"\nschema = \"schema.toml\"",
    );
    fs::write(pipeline.folder().join("schema.toml"), schema).unwrap();
    pipeline
}

#[test]
fn a_dataset_of_its_own_is_read_back_by_every_reader() {
    let blobs = Blobs::of_lines(None, RECORDS.join("\n").as_bytes());
    let lake = Lake::on_disk();
    let pipeline = pipeline(&blobs, &lake, SCHEMA);
    let report = pipeline.run();
    assert_eq!(
        (&report["rows_written"], &report["duplicate_keys"]),
        (&json!(6), &json!(0))
    );
    let drift = report["drift"].as_array().unwrap();
    let spelled = |path: &str| {
        let named = json!({"wire_path": path, "kind": "spelling", "records": 1});
        assert!(drift.contains(&named), "{path} in {drift:?}");
    };
    spelled("SITEID");
    spelled("Permissions.isrequired");
    assert_eq!(
        drift.len(),
        3,
        "the service's own casings are no drift: {drift:?}"
    );
    pipeline.command("verify", &["--all"]).exits_with(0);

    let tabs = json!({"id": "tabs", "is_required": true, "hosts": ["h", null], "uses": 9_007_199_254_740_993_u64});
    let of = |id: &str, is_required: Value, hosts: Value, uses: Value| json!({"id": id, "is_required": is_required, "hosts": hosts, "uses": uses});
    let none = || Value::Null;
    let expected = json!([
        ["a", null, 7, []],
        ["a", "", 7, null],
        [
            "a",
            "x",
            7,
            [tabs, null, of("history", none(), none(), none())]
        ],
        ["b", "x", 8, [of("tabs", json!(false), none(), json!(3))]],
        ["b", "y", 8, [of("tabs", none(), json!([]), none())]],
        ["c", null, 8, [of("tabs", none(), none(), none())]],
    ]);
    let columns = ["device_id", "extension_id", "site", "permissions"];
    for (reader, rows) in rows(&lake, "extensions", &columns) {
        assert_eq!(rows, expected, "{reader}");
    }
    let folders: Vec<String> = lake.files().into_keys().collect();
    let folder = "extensions/generated_date=2026-05-03/site=7/part-";
    assert!(
        folders.iter().any(|path| path.starts_with(folder)),
        "{folders:?}"
    );
}

#[test]
fn a_key_of_two_columns_is_unique_by_both_of_them() {
    let twice = [RECORDS[0], RECORDS[1], RECORDS[1]].join("\n");
    let blobs = Blobs::of_lines(None, twice.as_bytes());
    let lake = Lake::on_disk();
    let pipeline = pipeline(&blobs, &lake, SCHEMA);
    let refuse = ["--json", "--set", "gate.duplicate_keys=refuse"];
    let refused = pipeline.command("run", &refuse).exits_with(3);
    assert!(refused.stderr.contains("unique key"), "{}", refused.stderr);
    let report = pipeline.run();
    assert_eq!(report["duplicate_keys"], 1);
    pipeline.command("verify", &["--all"]).exits_with(0);
}

#[test]
fn another_partition_column_than_the_tables_is_refused() {
    let blobs = Blobs::of_lines(Some(7), RECORDS[0].as_bytes());
    let lake = Lake::on_disk();
    pipeline(&blobs, &lake, SCHEMA).run();
    let renamed = SCHEMA.replace("column = \"site\"", "column = \"place\"");
    let later = Blobs::none();
    let of_next_day = path(Some(7), 1).replace("2026-05-03", "2026-05-04");
    later.add(&of_next_day, &gzip(RECORDS[0].as_bytes()));
    let other = pipeline(&later, &lake, &renamed);
    let table = || {
        let files = lake.files().into_iter();
        let of_table = files.filter(|(path, _)| path.starts_with("extensions/"));
        of_table.collect::<Vec<_>>()
    };
    let before = table();
    let refused = other.command("run", &[]);
    assert_ne!(refused.code, 0);
    let words = "is partitioned by generated_date, site, and the schema file declares generated_date, place";
    assert!(refused.stderr.contains(words), "{}", refused.stderr);
    assert!(table() == before, "the table changed");
}
