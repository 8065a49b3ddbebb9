//! Lakes in S3 and Azure Blob: the same files as on disk, read back from the store.

use simulator::{Oddities, SnapshotOptions};

use crate::harness::api::Api;
use crate::harness::blobs::Blobs;
use crate::harness::lake::{Lake, store_command};
use crate::harness::pipeline::Pipeline;
use crate::harness::readers::Reader::{DuckDb, Polars};
use crate::harness::servers::azurite;
use crate::harness::truth::Truth;

/// Bytes of one part of an upload in parts: a file that is longer takes several.
const UPLOAD_PART: usize = 8 * 1024 * 1024;

fn publishes_the_same_files_as_on_disk(lake: &Lake) {
    let blobs = Blobs::simulated(&SnapshotOptions {
        devices: 600,
        oddities: Oddities::all(),
        ..SnapshotOptions::default()
    });
    let (api, disk, truth) = (Api::of(&blobs), Lake::on_disk(), Truth::of(&blobs));
    Pipeline::from_files(&blobs, &disk).run();
    let pipeline = Pipeline::from_api(&api, lake);
    let report = pipeline.run();

    assert_eq!(report["outcome"], "committed");
    assert_eq!(report["rows_written"], truth.rows.len());
    let copy = lake.on_this_machine();
    assert_eq!(copy.table_files(), disk.on_this_machine().table_files());
    DuckDb.values(&copy.table()).is(&truth);
    Polars.values_in_store(lake).is(&truth);
    pipeline.command("verify", &["--all"]).exits_with(0);
}

#[test]
fn publishes_to_s3_the_same_files_as_on_disk() {
    publishes_the_same_files_as_on_disk(&Lake::in_moto());
}

#[test]
fn publishes_the_same_files_to_s3_with_a_single_writer() {
    publishes_the_same_files_as_on_disk(&Lake::in_garage());
}

#[test]
fn publishes_to_azure_the_same_files_as_on_disk() {
    publishes_the_same_files_as_on_disk(&Lake::in_azurite());
}

fn keeps_one_snapshot_a_day(lake: &Lake) {
    let morning = SnapshotOptions {
        devices: 200,
        ..SnapshotOptions::default()
    };
    let noon = SnapshotOptions {
        generated_time: morning.generated_time + chrono::TimeDelta::hours(2),
        seed: 2,
        ..morning.clone()
    };
    let blobs = Blobs::simulated(&morning);
    Pipeline::from_files(&blobs, lake).run();
    let later = Blobs::simulated(&noon);
    let pipeline = Pipeline::from_files(&later, lake);

    assert_eq!(pipeline.run()["outcome"], "committed");
    Polars.values_in_store(lake).is(&Truth::of(&later));
    let before = lake.on_this_machine().table_files();
    assert_eq!(pipeline.run()["outcome"], "unchanged");
    assert_eq!(lake.on_this_machine().table_files(), before);
}

#[test]
fn a_later_snapshot_replaces_the_days_earlier_one_in_s3() {
    keeps_one_snapshot_a_day(&Lake::in_moto());
}

#[test]
fn a_later_snapshot_replaces_the_days_earlier_one_single_writer() {
    keeps_one_snapshot_a_day(&Lake::in_garage());
}

#[test]
fn a_later_snapshot_replaces_the_days_earlier_one_in_azure() {
    keeps_one_snapshot_a_day(&Lake::in_azurite());
}

#[test]
fn files_of_several_upload_parts_arrive_whole_in_every_store() {
    let blobs = Blobs::simulated(&SnapshotOptions {
        devices: 200_000,
        groups: 1,
        blobs: 4,
        ..SnapshotOptions::default()
    });
    let disk = Lake::on_disk();
    Pipeline::from_files(&blobs, &disk).run();
    let expected = disk.on_this_machine().table_files();
    assert!(
        expected.values().any(|bytes| bytes.len() > UPLOAD_PART),
        "the snapshot is too small for this test"
    );
    for lake in [Lake::in_moto(), Lake::in_garage(), Lake::in_azurite()] {
        Pipeline::from_files(&blobs, &lake).run();
        assert!(
            lake.on_this_machine().table_files() == expected,
            "{} holds other bytes",
            lake.root()
        );
    }
}

#[test]
fn the_credentials_of_the_api_do_not_stand_in_the_way_of_a_sas() {
    let (blobs, lake) = (
        Blobs::simulated(&SnapshotOptions {
            devices: 20,
            ..SnapshotOptions::default()
        }),
        Lake::in_azurite(),
    );
    let api = Api::of(&blobs);
    let mut pipeline = Pipeline::from_api(&api, &lake);
    assert_eq!(pipeline.run()["outcome"], "committed");
    assert_eq!(api.counters().token_calls, 1);

    // The commands that read; `stores_that_lack.rs` publishes by one.
    pipeline.replace("account_key = \"${LAKE_ACCOUNT_KEY}\"\n", "");
    let store = azurite::store();
    let sas = store_command(store, &["sas", store.bucket]);
    pipeline.set_variable("AZURE_STORAGE_SAS_TOKEN", sas.trim());
    // The lake's sign-in would be at the API's authority, which counts.
    pipeline.set_variable("AZURE_AUTHORITY_HOST", api.url());
    pipeline.command("verify", &["--all"]).exits_with(0);
    let snapshots = pipeline.command("snapshots", &["--json"]).exits_with(0);
    assert_eq!(snapshots.json().as_array().unwrap().len(), 1);
    assert_eq!(api.counters().token_calls, 1);
}

#[test]
fn a_wrong_store_key_fails_with_words_and_without_the_key() {
    let (blobs, lake) = (
        Blobs::simulated(&SnapshotOptions {
            devices: 20,
            ..SnapshotOptions::default()
        }),
        Lake::in_garage(),
    );
    let mut pipeline = Pipeline::from_files(&blobs, &lake);
    let wrong = "f".repeat(64);
    pipeline.set_variable("LAKE_SECRET_ACCESS_KEY", &wrong);
    let ran = pipeline.command("run", &["--json"]).exits_with(1);
    assert_eq!(ran.json()["outcome"], "failed");
    assert!(!ran.stdout.contains(&wrong) && !ran.stderr.contains(&wrong));
}
