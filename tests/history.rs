//! Snapshot after snapshot into one lake: nothing twice, nothing lost, the same bytes for the same snapshot.

use chrono::TimeDelta;
use simulator::SnapshotOptions;

use crate::harness::api::Api;
use crate::harness::blobs::Blobs;
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::readers::Reader::DuckDb;
use crate::harness::truth::Truth;

#[test]
fn the_same_snapshot_again_under_other_urls_changes_nothing() {
    let (blobs, lake) = (
        Blobs::simulated(&SnapshotOptions::default()),
        Lake::on_disk(),
    );
    let api = Api::of(&blobs);
    let pipeline = Pipeline::from_api(&api, &lake);
    assert_eq!(pipeline.run()["outcome"], "committed");
    let lake_of_snapshots = || {
        let files = lake.files().into_iter();
        files
            .filter(|(path, _)| !path.starts_with("_lake/info_gathering/runs/"))
            .collect::<Vec<_>>()
    };
    let (before, blob_gets) = (lake_of_snapshots(), api.counters().blob_gets);

    let report = pipeline.run();
    assert_eq!(
        (&report["outcome"], &report["rows_written"]),
        (&"unchanged".into(), &0.into())
    );
    assert!(lake_of_snapshots() == before, "files changed");
    assert_eq!(api.counters().blob_gets, blob_gets, "blobs were read again");
}

#[test]
fn a_later_snapshot_of_the_day_replaces_the_earlier_one() {
    let morning = SnapshotOptions::default();
    let noon = SnapshotOptions {
        generated_time: morning.generated_time + TimeDelta::hours(2),
        seed: 2,
        ..morning.clone()
    };
    let lake = Lake::on_disk();
    let first = Pipeline::from_files(&Blobs::simulated(&morning), &lake).run();
    let later = Blobs::simulated(&noon);
    let report = Pipeline::from_files(&later, &lake).run();

    assert_eq!(report["replaced"], first["snapshot"]);
    DuckDb
        .values(&lake.on_this_machine().table())
        .is(&Truth::of(&later));
}

#[test]
fn an_older_snapshot_is_refused_unless_asked_for() {
    let today = SnapshotOptions {
        devices: 100,
        ..SnapshotOptions::default()
    }
    .next_day();
    let earlier_today = SnapshotOptions {
        generated_time: today.generated_time - TimeDelta::hours(2),
        ..today.clone()
    };
    let yesterday = SnapshotOptions {
        generated_time: today.generated_time - TimeDelta::days(1),
        ..today.clone()
    };
    let (lake, both) = (Lake::on_disk(), Blobs::simulated(&today));
    Pipeline::from_files(&both, &lake).run();
    let before = lake.on_this_machine().table_files();
    for older in [&earlier_today, &yesterday] {
        let blobs = Blobs::simulated(older);
        let ran = Pipeline::from_files(&blobs, &lake)
            .command("run", &["--json"])
            .exits_with(3);
        assert_eq!(ran.json()["outcome"], "refused");
        assert!(
            lake.on_this_machine().table_files() == before,
            "files changed"
        );
    }

    let past = Blobs::simulated(&yesterday);
    assert_eq!(
        Pipeline::from_files(&past, &lake).run_with(&["--backfill"])["outcome"],
        "committed"
    );
    both.add_simulated(&yesterday);
    DuckDb
        .values(&lake.on_this_machine().table())
        .is(&Truth::of(&both));
}

#[test]
fn days_stand_side_by_side() {
    let mut day = SnapshotOptions {
        devices: 300,
        ..SnapshotOptions::default()
    };
    let (lake, all_days) = (Lake::on_disk(), Blobs::none());
    for _ in 0..3 {
        assert_eq!(
            Pipeline::from_files(&Blobs::simulated(&day), &lake).run()["outcome"],
            "committed"
        );
        all_days.add_simulated(&day);
        day = day.next_day();
    }
    DuckDb
        .values(&lake.on_this_machine().table())
        .is(&Truth::of(&all_days));
}

#[test]
fn organisations_of_one_table_do_not_disturb_each_other() {
    let one = SnapshotOptions {
        devices: 100,
        ..SnapshotOptions::default()
    };
    let org_id = "11111111-2222-3333-4444-555555555555".parse().unwrap();
    let other = SnapshotOptions {
        org_id,
        seed: 3,
        ..one.clone()
    };
    let lake = Lake::on_disk();
    let both = Blobs::simulated(&one);
    Pipeline::from_files(&both, &lake).run();
    Pipeline::from_files(&Blobs::simulated(&other), &lake).run();
    both.add_simulated(&other);
    DuckDb
        .values(&lake.on_this_machine().table())
        .is(&Truth::of(&both));
}

#[test]
fn the_same_snapshot_gives_the_same_bytes_in_every_lake() {
    let blobs = Blobs::simulated(&SnapshotOptions::default());
    let api = Api::of(&blobs);
    let (from_api, from_files, one_thread) = (Lake::on_disk(), Lake::on_disk(), Lake::on_disk());
    Pipeline::from_api(&api, &from_api).run();
    Pipeline::from_files(&blobs, &from_files).run();
    Pipeline::from_files(&blobs, &one_thread).run_with(&["--set", "work.threads=1"]);
    let expected = from_api.on_this_machine().table_files();
    assert!(!expected.is_empty());
    assert!(
        from_files.on_this_machine().table_files() == expected,
        "from files: other bytes"
    );
    assert!(
        one_thread.on_this_machine().table_files() == expected,
        "on one thread: other bytes"
    );
}

#[test]
fn only_parquet_and_the_log_lie_under_the_table() {
    let (blobs, lake) = (
        Blobs::simulated(&SnapshotOptions::default()),
        Lake::on_disk(),
    );
    Pipeline::from_files(&blobs, &lake).run();
    for path in lake.files().keys() {
        if path.starts_with("info_gathering/_delta_log/") {
            assert_eq!(path, "info_gathering/_delta_log/00000000000000000000.json");
        } else if path.starts_with("info_gathering/") {
            assert!(
                path.ends_with(".parquet") && path.contains("/part-20260503T100100Z-47d41a0c-"),
                "{path}"
            );
            assert!(
                path.starts_with("info_gathering/generated_date=2026-05-03/rbac_group_id="),
                "{path}"
            );
        } else {
            assert!(
                path.starts_with("_lake/info_gathering/") && !path.contains("/staging/"),
                "{path}"
            );
        }
    }
}
