//! Stores without requests that delete many objects, without the right to delete, or without puts under a condition; and what
//! small files cost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::json;
use simulator::SnapshotOptions;

use crate::crashes::is_tidy;
use crate::harness::blobs::{Blobs, gzip, path};
use crate::harness::lake::{Lake, store_command};
use crate::harness::pipeline::Pipeline;
use crate::harness::proxy::{Request, Rule};
use crate::harness::readers::Reader::Polars;
use crate::harness::servers::azurite;
use crate::harness::truth::Truth;

/// What a refusal may take: no request is repeated for long.
const SECONDS: Duration = Duration::from_secs(15);

fn snapshots() -> [Blobs; 2] {
    let morning = SnapshotOptions {
        devices: 60,
        groups: 3,
        blobs: 3,
        ..SnapshotOptions::default()
    };
    let noon = SnapshotOptions {
        generated_time: morning.generated_time + TimeDelta::hours(2),
        seed: 2,
        ..morning.clone()
    };
    [&morning, &noon].map(Blobs::simulated)
}

/// Whether a request would delete many objects.
fn is_bulk_delete(request: &Request) -> bool {
    let query = request
        .target
        .split_once('?')
        .map_or("", |(_, query)| query);
    let names = || query.split('&');
    request.method == "POST"
        && names().any(|name| matches!(name, "delete" | "delete=" | "comp=batch"))
}

/// A pipeline that says that it alone writes to its lake.
fn single_writer<'a>(blobs: &Blobs, lake: &'a Lake) -> Pipeline<'a> {
    let pipeline = Pipeline::from_files(blobs, lake);
    let format = "format = \"delta\"\n";
    pipeline.replace(format, &format!("{format}single_writer = true\n"));
    pipeline
}

/// Commits a snapshot and the one that replaces it.
fn publishes_and_replaces<'a>(lake: &'a Lake, pipeline: fn(&Blobs, &'a Lake) -> Pipeline<'a>) {
    let [one, two] = snapshots();
    for blobs in [&one, &two] {
        let pipeline = pipeline(blobs, lake);
        assert_eq!(pipeline.run()["outcome"], "committed");
        assert_eq!(pipeline.run()["outcome"], "unchanged");
        is_tidy(&pipeline, &[], "a run");
    }
    Polars.values_in_store(lake).is(&Truth::of(&two));
}

fn needs_no_bulk_delete(lake: &Lake) {
    let refusing = lake.by_way_of(|request| match is_bulk_delete(request) {
        true => Rule::Answer(
            400,
            r#"{"error":{"code":"BadRequest","message":"Either WorkspaceId or ArtifactId are missing in the request"}}"#,
        ),
        false => Rule::Pass,
    });
    publishes_and_replaces(&refusing, Pipeline::from_files);
}

#[test]
fn a_single_writer_needs_no_bulk_delete() {
    let refusing = Lake::in_moto().by_way_of(|request| match is_bulk_delete(request) {
        true => Rule::Answer(501, "<Error><Code>NotImplemented</Code></Error>"),
        false => Rule::Pass,
    });
    publishes_and_replaces(&refusing, single_writer);
}

#[test]
fn a_store_without_bulk_deletes_takes_every_run_in_azure() {
    needs_no_bulk_delete(&Lake::in_azurite());
}

#[test]
fn a_store_without_bulk_deletes_takes_every_run_in_s3() {
    needs_no_bulk_delete(&Lake::in_moto());
}

/// Signs by a SAS with these rights in place of the account's key.
fn sign_by_sas(pipeline: &mut Pipeline<'_>, rights: &str) {
    let store = azurite::store();
    let sas = store_command(store, &["sas", store.bucket, rights]);
    pipeline.replace("account_key = \"${LAKE_ACCOUNT_KEY}\"\n", "");
    pipeline.set_variable("AZURE_STORAGE_SAS_TOKEN", sas.trim());
}

#[test]
fn a_sas_is_enough_to_publish_and_replace() {
    let lake = Lake::in_azurite();
    for blobs in &snapshots() {
        let mut pipeline = Pipeline::from_files(blobs, &lake);
        sign_by_sas(&mut pipeline, "rwdlacup");
        assert_eq!(pipeline.run()["outcome"], "committed");
        is_tidy(&pipeline, &[], "a run");
    }
}

#[test]
fn a_sas_without_the_right_to_delete_is_refused_before_the_work() {
    let (lake, [one, two]) = (Lake::in_azurite(), snapshots());
    Pipeline::from_files(&one, &lake).run();
    let before = lake.files();
    let mut pipeline = Pipeline::from_files(&two, &lake);
    sign_by_sas(&mut pipeline, "rwlacup");
    let ran = pipeline.command("run", &[]).exits_with(1);
    ran.says(&["does not let this identity delete", "right to delete"]);
    assert!(lake.files() == before, "the lake is not as it was");
}

fn right_to_delete(lake: &Lake, denial: &'static str) {
    let [one, two] = snapshots();
    let denying = lake.by_way_of(move |request| {
        match request.method == "DELETE" || is_bulk_delete(request) {
            true => Rule::Answer(403, denial),
            false => Rule::Pass,
        }
    });
    let pipeline = Pipeline::from_files(&one, &denying);
    for pipeline in [&pipeline, &single_writer(&one, &denying)] {
        let ran = pipeline.command("run", &["--json"]).exits_with(1);
        ran.says(&[
            "does not let this identity delete",
            "s3:DeleteObject",
            "Azure",
        ]);
        assert!(lake.files().is_empty(), "{:?}", lake.files().keys());
    }

    Pipeline::from_files(&one, lake).run();
    let before = lake.files();
    pipeline.command("verify", &["--all"]).exits_with(0);
    pipeline.command("snapshots", &[]).exits_with(0);
    let next = Pipeline::from_files(&two, &denying);
    next.command("run", &[]).exits_with(1);
    assert!(lake.files() == before, "the lake is not as it was");
}

#[test]
fn without_the_right_to_delete_a_run_is_refused_before_the_work_in_s3() {
    right_to_delete(
        &Lake::in_moto(),
        "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
    );
}

#[test]
fn without_the_right_to_delete_a_run_is_refused_before_the_work_in_azure() {
    right_to_delete(
        &Lake::in_azurite(),
        "<Error><Code>AuthorizationPermissionMismatch</Code><Message>not authorized</Message></Error>",
    );
}

fn conditional_puts(lake: &Lake, status: u16) {
    let lacking = lake.by_way_of(move |request| match request.is_conditional_put() {
        true => Rule::Answer(
            status,
            "<Error><Code>NotImplemented</Code><Message>A header you provided implies functionality that is not implemented</Message><Header>If-None-Match</Header></Error>",
        ),
        false => Rule::Pass,
    });
    let [one, _] = snapshots();
    let pipeline = Pipeline::from_files(&one, &lacking);
    let began = Instant::now();
    let ran = pipeline.command("run", &[]).exits_with(2);
    assert!(began.elapsed() < SECONDS, "{:?}", began.elapsed());
    ran.says(&["no conditional put", "lake.single_writer = true"]);
    assert!(lake.files().is_empty(), "{:?}", lake.files().keys());

    for blobs in &snapshots() {
        let pipeline = single_writer(blobs, &lacking);
        assert_eq!(pipeline.run()["outcome"], "committed");
        is_tidy(&pipeline, &[], "a run");
    }
}

#[test]
fn conditional_puts_that_are_not_implemented_are_refused_in_seconds_in_s3() {
    for status in [501, 400] {
        conditional_puts(&Lake::in_moto(), status);
    }
}

#[test]
fn conditional_puts_that_are_not_implemented_are_refused_in_seconds_in_azure() {
    for status in [501, 400] {
        conditional_puts(&Lake::in_azurite(), status);
    }
}

#[test]
fn a_store_that_takes_no_put_at_all_is_not_told_from_its_conditions() {
    let lake = Lake::in_moto().by_way_of(|request| match request.method.as_str() {
        "PUT" => Rule::Answer(400, "<Error><Code>ExpiredToken</Code></Error>"),
        _ => Rule::Pass,
    });
    let [one, _] = snapshots();
    let ran = Pipeline::from_files(&one, &lake)
        .command("run", &[])
        .exits_with(1);
    ran.says(&["ExpiredToken"]);
    assert!(!ran.stderr.contains("single_writer"), "{}", ran.stderr);
}

#[test]
fn a_log_entry_that_is_denied_leaves_nothing_that_a_glob_sees() {
    let lake = Lake::in_moto();
    let denying = lake.by_way_of(|request| {
        let is_entry = request.target.contains("/_delta_log/0");
        match request.method == "PUT" && is_entry {
            true => Rule::Answer(403, "<Error><Code>AccessDenied</Code></Error>"),
            false => Rule::Pass,
        }
    });
    let [one, _] = snapshots();
    let ran = single_writer(&one, &denying)
        .command("run", &[])
        .exits_with(1);
    ran.says(&["AccessDenied"]);
    let table = lake.on_this_machine().table_files();
    assert!(table.is_empty(), "{:?}", table.keys());
}

/// Requests by method and kind, of a run that publishes 40 groups of 50 rows.
fn requests_of_small_files(lake: &Lake) -> BTreeMap<String, u32> {
    let counts = Arc::new(Mutex::new(BTreeMap::new()));
    let counting = lake.by_way_of({
        let counts = Arc::clone(&counts);
        move |request| {
            let kind = match request.target.contains(".parquet") {
                true => "of table files",
                false => "others",
            };
            let kind = format!("{} {kind}", request.method);
            *counts.lock().unwrap().entry(kind).or_insert(0) += 1;
            Rule::Pass
        }
    });
    let blobs = Blobs::none();
    for group in 0..40 {
        let records: String = (0..50)
            .map(|device| format!("{{\"DeviceId\":\"{group:020}{device:020}\"}}\n"))
            .collect();
        blobs.add(&path(Some(group), 0), &gzip(records.as_bytes()));
    }
    let pipeline = Pipeline::from_files(&blobs, &counting);
    let report = pipeline.run();
    assert_eq!(
        (&report["files"], &report["rows_written"]),
        (&json!(40), &json!(2000))
    );
    let counted = counts.lock().unwrap().clone();
    println!("{}: {counted:?}", lake.root());
    Pipeline::from_files(&blobs, lake)
        .command("verify", &["--all"])
        .exits_with(0);
    assert!(lake.open_uploads().is_empty());
    counted
}

fn a_small_file_is_one_request(lake: &Lake) {
    let counts = requests_of_small_files(lake);
    let of_files: Vec<_> = counts
        .iter()
        .filter(|(kind, _)| kind.ends_with("of table files"))
        .collect();
    assert_eq!(of_files, [(&"PUT of table files".to_owned(), &40)]);
    assert!(counts.values().sum::<u32>() < 100, "{counts:?}");
}

#[test]
fn a_small_file_is_one_request_to_s3() {
    a_small_file_is_one_request(&Lake::in_moto());
}

#[test]
fn a_small_file_is_one_request_to_azure() {
    a_small_file_is_one_request(&Lake::in_azurite());
}
