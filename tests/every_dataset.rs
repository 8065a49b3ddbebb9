//! Every dataset that the program carries, in one run: what readers see of each, what a dataset that fails does to the others, and
//! a dataset that costs two files.

use std::collections::BTreeMap;
use std::fs;

use dataset::Dataset;
use serde_json::{Value, json};
use simulator::{Oddities, ServerOptions, SnapshotOptions};

use crate::harness::api::Api;
use crate::harness::blobs::{Blobs, gzip};
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::readers::Reader::{self, DuckDb, Polars, PySpark};
use crate::harness::readers::rows;
use crate::harness::truth::Truth;

/// What its API needs, beside the one of InfoGathering.
const SOFTWARE: [&str; 4] = [
    "browser_extensions",
    "hardware_firmware",
    "software_inventory",
    "software_inventory_non_cpe",
];

/// A snapshot of every dataset, in one folder.
fn all(options: &SnapshotOptions) -> Blobs {
    let blobs = Blobs::none();
    for name in Dataset::built_in_names() {
        blobs.add_simulated(&SnapshotOptions {
            dataset: name.to_owned(),
            ..options.clone()
        });
    }
    blobs
}

fn odd() -> SnapshotOptions {
    SnapshotOptions {
        devices: 60,
        groups: 4,
        blobs: 6,
        oddities: Oddities::all(),
        ..SnapshotOptions::default()
    }
}

/// Makes a pipeline of one dataset one of several.
fn of_datasets(pipeline: &Pipeline<'_>, datasets: &str) {
    let dataset = "dataset = \"info_gathering\"";
    pipeline.replace(dataset, &format!("datasets = {datasets}"));
}

/// The report of each dataset.
fn by_dataset(printed: &Value) -> BTreeMap<String, Value> {
    let runs = printed["runs"].as_array().unwrap().iter();
    let named = runs.map(|run| (run["dataset"].as_str().unwrap().to_owned(), run.clone()));
    named.collect()
}

/// A Java machine that starts for each of nine tables would take minutes: Spark reads those with lists, times and nulls of every kind.
const FOR_SPARK: [&str; 3] = [
    "baseline_compliance",
    "browser_extensions",
    "software_vulnerabilities",
];

fn reads_every_value_of_every_dataset(reader: Reader) {
    let blobs = all(&odd());
    let (api, lake) = (Api::of(&blobs), Lake::on_disk());
    let pipeline = Pipeline::from_api(&api, &lake);
    of_datasets(&pipeline, "\"all\"");
    let reports = by_dataset(&pipeline.command("run", &["--json"]).exits_with(0).json());
    assert_eq!(api.counters().token_calls, 1);
    for name in Dataset::built_in_names() {
        let truth = Truth::of_dataset(&blobs, name);
        let (counts, report) = (truth.counts(), &reports[name]);
        assert!(counts.rows_written > 50, "{name}");
        for (key, count) in [
            ("records_read", counts.records_read),
            ("rows_written", counts.rows_written),
            ("records_quarantined", counts.records_quarantined),
            ("rows_rescued", counts.rows_rescued),
            ("duplicate_keys", 0),
        ] {
            assert_eq!(report[key], count, "{key} of {name}");
        }
        if reader != PySpark || FOR_SPARK.contains(&name) {
            let table = lake.on_this_machine().root().join(name);
            reader.values(&table).is(&truth);
        }
    }
    pipeline.command("verify", &[]).exits_with(0);
}

#[test]
fn duckdb_reads_every_value_of_every_dataset() {
    reads_every_value_of_every_dataset(DuckDb);
}

#[test]
fn polars_reads_every_value_of_every_dataset() {
    reads_every_value_of_every_dataset(Polars);
}

#[test]
fn pyspark_reads_every_value_of_some_datasets() {
    reads_every_value_of_every_dataset(PySpark);
}

#[test]
fn a_dataset_that_lacks_its_permission_stops_no_other_and_follows_when_it_has_it() {
    let blobs = all(&SnapshotOptions {
        devices: 30,
        groups: 2,
        blobs: 2,
        ..SnapshotOptions::default()
    });
    let lake = Lake::on_disk();
    let without_software = ServerOptions {
        roles: [
            "Vulnerability.Read.All",
            "SecurityBaselinesAssessment.Read.All",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..ServerOptions::default()
    };
    let api = Api::with(&blobs, without_software);
    let pipeline = Pipeline::from_api(&api, &lake);
    of_datasets(&pipeline, "\"all\"");
    let ran = pipeline.command("run", &["--json"]).exits_with(1);
    let reports = by_dataset(&ran.json());
    assert_eq!(ran.json()["exit_code"], 1);
    for (name, report) in &reports {
        let expected = match SOFTWARE.contains(&name.as_str()) {
            true => "failed",
            false => "committed",
        };
        assert_eq!(report["outcome"], expected, "{name}: {report}");
    }
    // The table names each, and each failure says what it lacks.
    for name in SOFTWARE {
        ran.says(&[&format!("error: {name}: "), "Software.Read.All"]);
    }
    ran.says(&["dataset", "quarantined", "software_vulnerabilities"]);

    let api = Api::of(&blobs);
    let pipeline = Pipeline::from_api(&api, &lake);
    of_datasets(&pipeline, "\"all\"");
    let printed = pipeline.command("run", &["--json"]).exits_with(0).json();
    for (name, report) in by_dataset(&printed) {
        let expected = match SOFTWARE.contains(&name.as_str()) {
            true => "committed",
            false => "unchanged",
        };
        assert_eq!(report["outcome"], expected, "{name}: {report}");
    }
    let listings = api.counters().listings;
    let only = ["--json", "--only", "certificates"];
    let printed = pipeline.command("run", &only).exits_with(0).json();
    assert_eq!(
        by_dataset(&printed).keys().collect::<Vec<_>>(),
        ["certificates"]
    );
    assert_eq!(api.counters().listings, listings + 1);
}

#[test]
fn commands_take_a_pipeline_of_several_datasets_or_one_of_them() {
    let blobs = all(&SnapshotOptions {
        devices: 20,
        groups: 2,
        blobs: 2,
        ..SnapshotOptions::default()
    });
    let lake = Lake::on_disk();
    let pipeline = Pipeline::from_files(&blobs, &lake);
    of_datasets(&pipeline, "[\"certificates\", \"info_gathering\"]");
    let plans = pipeline.command("plan", &["--json"]).exits_with(0).json();
    assert_eq!(plans.as_array().unwrap().len(), 2, "{plans}");
    pipeline.command("run", &[]).exits_with(0);
    let listed = pipeline.command("snapshots", &[]).exits_with(0);
    assert!(
        listed.stdout.starts_with("certificates:\n"),
        "{}",
        listed.stdout
    );
    assert!(
        listed.stdout.contains("\ninfo_gathering:\n"),
        "{}",
        listed.stdout
    );
    let verified = pipeline.command("verify", &["--json"]).exits_with(0).json();
    assert_eq!(verified[1]["dataset"], "info_gathering");
    pipeline.command("vacuum", &["--apply"]).exits_with(0);

    // One that was never published is told, and the others are shown.
    pipeline.replace("[\"certificates\", ", "[\"hardware_firmware\", ");
    let some = pipeline.command("snapshots", &[]).exits_with(1);
    some.says(&["error: hardware_firmware: "]);
    assert!(some.stdout.contains("info_gathering:\n"), "{}", some.stdout);

    // Commands on one table want to know which.
    let several = pipeline
        .plain("snippet", &["polars", "pipeline.toml"])
        .exits_with(2);
    several.says(&["several datasets", "--only DATASET"]);
    let one = ["polars", "pipeline.toml", "--only", "info_gathering"];
    pipeline.plain("snippet", &one).exits_with(0);
    let unknown = ["--only", "machines_of_others"];
    pipeline
        .command("run", &unknown)
        .exits_with(2)
        .says(&["machines_of_others"]);
}

const TWELFTH_SCHEMA: &str = r#"
name = "open_shares"
meaning = "Network shares, one row a device and share."
endpoint = "/api/machines/OpenSharesExport"
export_name = "OpenShares"
permission = "Vulnerability.Read.All"
unique_key = ["device_id", "share"]

[partition]
column = "rbac_group_id"
wire = "RbacGroupId"
meaning = "Number of the device group."

[[column]]
name = "device_id"
wire = "DeviceId"
type = "string"
nullable = false
meaning = "The device."

[[column]]
name = "share"
wire = "Share"
type = "string"
meaning = "Name of the share."

[[column]]
name = "seen"
wire = "Seen"
type = "timestamp"
meaning = "When it was last seen."
"#;

const TWELFTH_RECIPE: &str = r#"
export = "OpenShares"
permission = "Vulnerability.Read.All"
key = ["DeviceId", "Share"]
rows = [1, 2]
columns = [
    { key = "DeviceId", device = "id" },
    { key = "Share", item = "share" },
    { key = "Seen", time = "2026-05-03 09:47:58.854", days = [-2, 0] },
    { key = "RbacGroupId", device = "group_id" },
]

[files]
endpoint = "machines/OpenSharesExport"

[[item]]
share = "public"

[[item]]
share = "scans"
"#;

#[test]
fn another_dataset_costs_a_schema_file_and_no_code() {
    let files = tempfile::tempdir().unwrap();
    let recipe = files.path().join("open_shares.toml");
    fs::write(&recipe, TWELFTH_RECIPE).unwrap();
    let options = SnapshotOptions {
        devices: 20,
        groups: 2,
        blobs: 2,
        ..SnapshotOptions::default()
    };
    let blobs = Blobs::simulated(&options);
    blobs.add_simulated(&SnapshotOptions {
        dataset: "open_shares".to_owned(),
        recipe: Some(recipe.clone()),
        ..options
    });
    let server = ServerOptions {
        recipes: vec![recipe],
        ..ServerOptions::default()
    };
    let (api, lake) = (Api::with(&blobs, server), Lake::on_disk());
    let pipeline = Pipeline::from_api(&api, &lake);
    fs::write(pipeline.folder().join("shares.toml"), TWELFTH_SCHEMA).unwrap();
    of_datasets(&pipeline, "[\"info_gathering\", \"shares.toml\"]");
    let reports = by_dataset(&pipeline.command("run", &["--json"]).exits_with(0).json());
    assert_eq!(reports["info_gathering"]["rows_written"], 20);
    let written = &reports["open_shares"]["rows_written"];
    assert!((20..=40).contains(&written.as_u64().unwrap()), "{written}");
    assert_eq!(reports["open_shares"]["drift"], json!([]));
    for (reader, rows) in rows(
        &lake,
        "open_shares",
        &["device_id", "share", "rbac_group_id"],
    ) {
        let rows = rows.as_array().unwrap();
        assert_eq!(rows.len() as u64, written.as_u64().unwrap(), "{reader}");
        assert!(
            rows.iter()
                .all(|row| row[1] == "public" || row[1] == "scans")
        );
    }
}

/// Names of all three sets, keys whose parts are null or empty, a certificate without dates and one without end.
const CERTIFICATES: [&str; 5] = [
    r#"{"DeviceId":"a","Thumbprint":"AA","Path":"LocalMachine\\Root\\AA","KeySize":384,"IssueDate":"2021-01-01T00:00:00Z","ExpirationDate":"9999-12-31T23:59:59.9999999Z","IssuedTo":"{\"CommonName\":\"x\"}","KeyUsage":null,"RbacGroupId":7}"#,
    r#"{"deviceId":"a","thumbprint":"AA","path":"","keySize":0,"issueDate":"0001-01-01T00:00:00Z","expirationDate":"0001-01-01T00:00:00Z","issuedTo":null,"keyUsage":"Signing","rbacGroupId":7}"#,
    r#"{"DeviceId":"a","Thumbprint":"AA","RbacGroupId":7}"#,
    r#"{"DeviceId":"b","thumbprint":"BB","path":"p","keyLength":"2048","notBefore":"2021-01-01 9:05:00","notAfter":"2031-01-01 00:00:00","subjectObject":{"CommonName":"y"},"keyUsageArray":["a",null],"isSelfSigned":true,"RbacGroupId":7}"#,
    r#"{"DeviceId":"b","Thumbprint":"BB","Path":"q","ExpirationDate":"9999-12-31T00:00:00+00:00","Unheard":null,"RbacGroupId":"7"}"#,
];

#[test]
fn certificates_are_read_by_all_their_names_and_without_dates_that_are_none() {
    let blobs = Blobs::none();
    let path = "2026-05-03/1001/CertificateAssessmentExport/json/\
                OrgId=47d41a0c-188d-46d3-bbea-a93dbc0bfcaa/_RbacGroupId=7/part-00001-7d5b8f0e-0000-4000-8000-000000000001.c000.json.gz";
    blobs.add(path, &gzip(CERTIFICATES.join("\n").as_bytes()));
    let lake = Lake::on_disk();
    let pipeline = Pipeline::from_files(&blobs, &lake);
    pipeline.replace("\"info_gathering\"", "\"certificates\"");
    let report = pipeline.run();
    assert_eq!(
        (
            &report["rows_written"],
            &report["rows_rescued"],
            &report["duplicate_keys"]
        ),
        (&json!(5), &json!(0), &json!(0)),
        "{report}"
    );
    let expected = json!([
        ["a", "AA", null, null, null, null, null],
        ["a", "AA", "", 0, null, "\"Signing\"", null],
        [
            "a",
            "AA",
            "LocalMachine\\Root\\AA",
            384,
            "{\"CommonName\":\"x\"}",
            null,
            null
        ],
        [
            "b",
            "BB",
            "p",
            2048,
            "{\"CommonName\":\"y\"}",
            "[\"a\",null]",
            true
        ],
        ["b", "BB", "q", null, null, null, null],
    ]);
    let columns = [
        "device_id",
        "thumbprint",
        "path",
        "key_size",
        "issued_to",
        "key_usage",
        "is_self_signed",
    ];
    for (reader, rows) in rows(&lake, "certificates", &columns) {
        assert_eq!(rows, expected, "{reader}");
    }
    // No reader breaks on the last day of 9999; of unknown dates none is made up.
    let table = lake.on_this_machine().root().join("certificates");
    for reader in [DuckDb, Polars, PySpark] {
        let read = reader.values(&table);
        let ends = read.column("expiration_date").iter();
        let mut ends: Vec<Option<i64>> = ends.map(Value::as_i64).collect();
        ends.sort_unstable();
        let day = 86_400_000_000_i64;
        let last = 253_402_300_800_000_000_i64;
        let known = [1_924_992_000_000_000, last - day, last - 1].map(Some);
        assert_eq!(ends, [&[None, None][..], &known].concat());
        let begins = read
            .column("issue_date")
            .iter()
            .filter(|begin| begin.is_null());
        assert_eq!(begins.count(), 3);
    }
}
