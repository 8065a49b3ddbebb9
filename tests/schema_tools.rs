//! `schema infer`, `diff`, `promote` and `check`: from blobs to a schema file, and on with the program.

use std::fs;

use serde_json::json;
use simulator::SnapshotOptions;

use crate::harness::blobs::Blobs;
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::program::{Ran, defender_lake};

fn extensions() -> Blobs {
    Blobs::simulated(&SnapshotOptions {
        dataset: "browser_extensions".to_owned(),
        devices: 60,
        groups: 3,
        blobs: 4,
        ..SnapshotOptions::default()
    })
}

#[test]
fn an_inferred_schema_publishes_what_it_was_inferred_from() {
    let (blobs, lake) = (extensions(), Lake::on_disk());
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let infer = [
        "infer",
        &blobs.pattern(),
        "--name",
        "extensions_of_mine",
        "--export-name",
        "BrowserExtensions",
    ];
    let inferred = pipeline.plain("schema", &infer).exits_with(0).stdout;
    for line in [
        "name = \"extensions_of_mine\"",
        "wire = \"RbacGroupId\"",
        "type = \"list<struct>\"",
    ] {
        assert!(inferred.contains(line), "{line} in\n{inferred}");
    }
    fs::write(pipeline.folder().join("mine.toml"), &inferred).unwrap();
    pipeline.replace(
        "dataset = \"info_gathering\"",
        "dataset = \"extensions_of_mine\"\nschema = \"mine.toml\"",
    );
    let report = pipeline.run();
    assert_eq!(
        (
            &report["rows_rescued"],
            &report["drift"],
            &report["duplicate_keys"]
        ),
        (&json!(0), &json!([]), &json!(0)),
        "{report}"
    );
    let same = pipeline.plain("schema", &["diff", "mine.toml", &blobs.pattern()]);
    same.exits_with(0);
}

#[test]
fn a_rescued_path_is_promoted_and_the_next_run_fills_it() {
    let lines = [
        r#"{"DeviceId":"a","RbacGroupId":7,"Owner":{"Since":"2026-01-02T00:00:00Z"}}"#,
        r#"{"DeviceId":"b","RbacGroupId":7}"#,
    ];
    let blobs = Blobs::of_lines(Some(7), lines.join("\n").as_bytes());
    let lake = Lake::on_disk();
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let built_in =
        fs::read_to_string(crate::harness::workspace().join("schemas/info_gathering.toml"));
    let before = built_in.unwrap();
    fs::write(pipeline.folder().join("mine.toml"), &before).unwrap();
    pipeline.replace(
        "dataset = \"info_gathering\"",
        "dataset = \"info_gathering\"\nschema = \"mine.toml\"",
    );
    let schema = |arguments: &[&str]| -> Ran {
        let pattern = blobs.pattern();
        pipeline.plain("schema", &[arguments, &[pattern.as_str()]].concat())
    };
    let lacks = schema(&["diff", "mine.toml", "--json"])
        .exits_with(1)
        .json();
    assert_eq!(lacks["unnamed"][0]["wire"], "Owner.Since", "{lacks}");

    let printed = schema(&["promote", "mine.toml", "Owner.Since"]).exits_with(0);
    assert!(
        printed.stdout.starts_with(before.trim_end()),
        "{}",
        printed.stdout
    );
    schema(&["promote", "mine.toml", "Owner.Since", "--write"]).exits_with(0);
    let after = fs::read_to_string(pipeline.folder().join("mine.toml")).unwrap();
    assert_eq!(after.trim_end(), printed.stdout.trim_end());
    schema(&["promote", "mine.toml", "Owner.Since", "--write"]).exits_with(2);
    let report = pipeline.run();
    assert_eq!(report["rows_rescued"], 0, "{report}");
    assert_eq!(report["drift"], json!([]));
}

#[test]
fn schemas_are_compared_with_the_services_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let metadata = r#"<?xml version="1.0"?>
<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>
<Schema Namespace="api" xmlns="http://docs.oasis-open.org/odata/ns/edm">
<ComplexType Name="AssetCertificate">
<Property Name="deviceId" Type="Edm.String"/><Property Name="thumbprint" Type="Edm.String"/>
<Property Name="path" Type="Edm.String"/><Property Name="keySize" Type="Edm.String"/>
<Property Name="serialNumber" Type="Edm.String"/><Property Name="revokedAt" Type="Edm.DateTimeOffset"/>
<Property Name="rbacGroupId" Type="Edm.Int32"/>
</ComplexType></Schema></edmx:DataServices></edmx:Edmx>"#;
    fs::write(folder.path().join("metadata.xml"), metadata).unwrap();
    let check = [
        "schema",
        "check",
        "metadata.xml",
        "--schema",
        "certificates",
    ];
    let ran = defender_lake(folder.path(), &[], &check).exits_with(1);
    for word in ["AssetCertificate", "revokedAt", "keySize"] {
        assert!(ran.stdout.contains(word), "{word} in {}", ran.stdout);
    }
    fs::write(folder.path().join("metadata.xml"), "<html>").unwrap();
    let ran = defender_lake(folder.path(), &[], &check).exits_with(2);
    ran.says(&["metadata.xml"]);
}
