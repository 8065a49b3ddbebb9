use std::collections::BTreeSet;
use std::time::Duration;

use chrono::Utc;

use super::*;
use crate::Error;
use crate::Followed;
use crate::Lake;
use crate::Standing;
use crate::commit::recover::discard_run;
use crate::commit::uploads::complete_uploads;
use crate::fixtures::{
    OTHER_ORG, committed, lakes, now, paths, publish as published, request, snapshot, snapshot_of,
    stage, staged, table, table_at,
};
use crate::layout;
use crate::read_manifest;
use crate::store::remote::ConditionalPut;
use crate::table::latest::Latest;
use dataset::Snapshot;

fn manifest(outcome: &PublishOutcome) -> &Manifest {
    match outcome {
        PublishOutcome::Committed { manifest, .. } => manifest,
        other => panic!("not committed: {other:?}"),
    }
}

async fn standing(lake: &Lake, snapshot: &Snapshot) -> Result<Standing> {
    crate::standing(&table(lake), snapshot).await
}

async fn ids(lake: &Lake) -> Vec<String> {
    let latest = Latest::read(lake, "devices").await.unwrap();
    latest
        .snapshots
        .iter()
        .map(|current| current.snapshot.to_string())
        .collect()
}

/// The table holds exactly the files that the current manifests list, and every one of them proves.
async fn assert_whole(lake: &Lake) {
    let mut listed = BTreeSet::new();
    for current in Latest::read(lake, "devices").await.unwrap().snapshots {
        let manifest = read_manifest(lake, "devices", &current.snapshot)
            .await
            .unwrap()
            .unwrap();
        let report = crate::fixtures::verify(lake, &manifest).await;
        assert_eq!(report.problems, []);
        assert_eq!((current.rows, current.files), (report.rows, report.files));
        listed.extend(manifest.files.into_iter().map(|file| file.path));
    }
    let found = paths(lake, "devices").await.into_iter();
    let found: BTreeSet<String> = found
        .filter(|path| !path.contains("/_delta_log/"))
        .collect();
    assert_eq!(found, listed);
    assert!(paths(lake, "_lake/devices/intents").await.is_empty());
    assert!(paths(lake, "_lake/devices/staging").await.is_empty());
}

#[tokio::test]
async fn a_commit_makes_all_files_visible_and_lists_them() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let snapshot = snapshot(26, 10);
        assert_eq!(standing(&lake, &snapshot).await.unwrap(), Standing::New);
        let outcome = committed(&lake, &snapshot, "run", 150).await;
        let manifest = manifest(&outcome);
        assert_eq!(
            (
                manifest.rows,
                manifest.records_read,
                manifest.records_quarantined
            ),
            (300, 302, 2)
        );
        let read = read_manifest(&lake, "devices", &snapshot.id())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(read, *manifest);
        assert_eq!(ids(&lake).await, ["20220726T100100Z-47d41a0c"]);
        assert_whole(&lake).await;
    }
}

#[tokio::test]
async fn the_same_snapshot_again_changes_nothing() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let snapshot = snapshot(26, 10);
        committed(&lake, &snapshot, "run 1", 10).await;
        let before = lake.list("_lake").await.unwrap();
        let latest = lake.get(&layout::latest("devices")).await.unwrap();
        assert!(matches!(
            standing(&lake, &snapshot).await.unwrap(),
            Standing::Unchanged(_)
        ));
        let outcome = committed(&lake, &snapshot, "run 2", 10).await;
        assert!(matches!(outcome, PublishOutcome::Unchanged(current) if current.run_id == "run 1"));
        assert_eq!(lake.list("_lake").await.unwrap(), before);
        assert_eq!(lake.get(&layout::latest("devices")).await.unwrap(), latest);
        assert_whole(&lake).await;
    }
}

#[tokio::test]
async fn a_later_snapshot_replaces_files_of_its_organisation_only() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let (early, late) = (snapshot(26, 10), snapshot(26, 11));
        committed(&lake, &early, "run 1", 10).await;
        committed(&lake, &snapshot_of(OTHER_ORG, 26, 9), "run 2", 10).await;
        committed(&lake, &snapshot(25, 10), "run 3", 10).await;
        assert!(matches!(
            standing(&lake, &late).await.unwrap(),
            Standing::Replaces(_)
        ));
        let outcome = committed(&lake, &late, "run 4", 20).await;
        let PublishOutcome::Committed {
            replaced: Some(replaced),
            followed,
            ..
        } = outcome
        else {
            panic!("{outcome:?}");
        };
        assert_eq!(
            (replaced.snapshot, followed),
            (early.id(), Followed::default())
        );
        assert_eq!(
            read_manifest(&lake, "devices", &early.id()).await.unwrap(),
            None
        );
        let current = ["20220726T110100Z-47d41a0c", "20220726T090100Z-58e52b1d"];
        assert_eq!(ids(&lake).await, current);
        assert_whole(&lake).await;
    }
}

#[tokio::test]
async fn folders_of_groups_that_are_gone_are_deleted_on_local_disk() {
    let (_folder, [lake, ..]) = lakes();
    committed(&lake, &snapshot(26, 10), "run 1", 10).await;
    let late = snapshot(26, 11);
    let file = stage(&lake, &late, "run 2", 1, 0, 0..10).await.unwrap();
    published(&lake, request(&late, "run 2", vec![file])).await;
    assert!(
        lake.local_path("devices/generated_date=2022-07-26/rbac_group_id=1")
            .unwrap()
            .exists()
    );
    assert!(
        !lake
            .local_path("devices/generated_date=2022-07-26/rbac_group_id=2")
            .unwrap()
            .exists()
    );
}

#[tokio::test]
async fn an_older_snapshot_is_refused_unless_it_is_a_backfill() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let (newest, older, past) = (snapshot(26, 10), snapshot(26, 9), snapshot(20, 12));
        committed(&lake, &newest, "run 1", 10).await;
        for old in [&older, &past] {
            assert!(matches!(
                standing(&lake, old).await.unwrap(),
                Standing::OlderThan(_)
            ));
            let outcome = committed(&lake, old, "run 2", 10).await;
            assert!(
                matches!(outcome, PublishOutcome::OlderThanCurrent(current) if current.snapshot == newest.id())
            );
            assert_whole(&lake).await;
        }
        assert_eq!(ids(&lake).await, ["20220726T100100Z-47d41a0c"]);
        for old in [&past, &older] {
            let request = PublishRequest {
                backfill: true,
                ..staged(&lake, old, "run 3", 20).await
            };
            manifest(&published(&lake, request).await);
            assert_whole(&lake).await;
        }
        assert_eq!(
            ids(&lake).await,
            ["20220720T120100Z-47d41a0c", "20220726T090100Z-47d41a0c"]
        );
    }
}

#[tokio::test]
async fn a_snapshot_without_rows_can_be_committed() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let outcome = published(&lake, request(&snapshot(26, 10), "run", Vec::new())).await;
        assert_eq!(manifest(&outcome).records_quarantined, 2);
        assert_whole(&lake).await;
    }
}

#[tokio::test]
async fn a_run_after_a_crash_overwrites_or_removes_what_it_left() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let snapshot = snapshot(26, 10);
        // A run with smaller files died between completing its uploads and swapping `latest`.
        for number in 0..4 {
            let file = stage(&lake, &snapshot, "dead", 1, number, 0..5)
                .await
                .unwrap();
            file.upload
                .complete(&lake, &file.data.path, &file.data.sha256)
                .await
                .unwrap();
        }
        assert_eq!(standing(&lake, &snapshot).await.unwrap(), Standing::New);
        let file = stage(&lake, &snapshot, "run", 1, 0, 0..20).await.unwrap();
        published(&lake, request(&snapshot, "run", vec![file])).await;
        lake.delete(&paths(&lake, "_lake/devices/staging").await)
            .await
            .unwrap();
        assert_whole(&lake).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_commits_at_once_every_one_is_whole_or_refused() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let mut runs = tokio::task::JoinSet::new();
        for run in 0..12u32 {
            let lake = lake.clone();
            // Two organisations, two hours, three runs of each.
            let org = if run % 2 == 0 {
                crate::fixtures::ORG
            } else {
                OTHER_ORG
            };
            let snapshot = snapshot_of(org, 26, 10 + run / 2 % 2);
            runs.spawn(async move { committed(&lake, &snapshot, &format!("run {run}"), 5).await });
        }
        let outcomes = runs.join_all().await;
        assert!(
            !outcomes
                .iter()
                .any(|outcome| matches!(outcome, PublishOutcome::Conflict { .. }))
        );
        assert_eq!(
            ids(&lake).await,
            ["20220726T110100Z-47d41a0c", "20220726T110100Z-58e52b1d"]
        );
        assert_whole(&lake).await;
    }
}

#[tokio::test]
async fn a_pointer_that_changed_since_it_was_read_is_not_replaced() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let (empty, version) = Latest::read_versioned(&lake, "devices").await.unwrap();
        committed(&lake, &snapshot(26, 10), "run 1", 5).await;
        assert_ne!(
            empty.swap(&lake, &version, false).await.unwrap(),
            ConditionalPut::Done
        );
        let (one, version) = Latest::read_versioned(&lake, "devices").await.unwrap();
        committed(&lake, &snapshot(27, 10), "run 2", 5).await;
        assert_ne!(
            one.swap(&lake, &version, false).await.unwrap(),
            ConditionalPut::Done
        );
        assert_eq!(ids(&lake).await.len(), 2);
        assert_eq!(
            one.swap(&lake, &version, true).await.unwrap(),
            ConditionalPut::Done
        );
        assert_eq!(ids(&lake).await.len(), 1);
    }
}

#[tokio::test]
async fn requests_that_contradict_themselves_touch_nothing() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let good = staged(&lake, &snapshot(26, 10), "run", 5).await;
        type Change = fn(&mut PublishRequest);
        let broken: [(&str, Change); 7] = [
            ("file rows are blob rows", |request| {
                request.files[0].data.rows = 99;
            }),
            ("records are written or quarantined", |request| {
                request.blobs[0].quarantined = 99;
            }),
            ("paths are distinct", |request| {
                request.files[1] = request.files[0].clone();
            }),
            ("files have rows", |request| request.files[0].data.rows = 0),
            ("paths are those of the layout", |request| {
                request.files[0].data.path.push('x');
            }),
            ("paths are those of the layout", |request| {
                request.snapshot = snapshot(27, 10);
            }),
            ("a snapshot is of the table's dataset", |request| {
                request.snapshot.dataset = "others".to_owned();
            }),
        ];
        for (name, change) in broken {
            let mut request = good.clone();
            change(&mut request);
            let error = publish(&table(&lake), &request).await.unwrap_err();
            assert!(
                matches!(&error, Error::Invariant { invariant, .. } if *invariant == name),
                "{error}"
            );
        }
        assert!(paths(&lake, "devices").await.is_empty());
        assert!(ids(&lake).await.is_empty());
        manifest(&published(&lake, good).await);
    }
}

#[tokio::test]
async fn organisations_that_share_a_snapshot_id_are_refused() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let twin = snapshot_of("47d41a0c-0000-0000-0000-000000000000", 26, 10);
        committed(&lake, &snapshot(26, 10), "run 1", 5).await;
        let request = staged(&lake, &twin, "run 2", 5).await;
        assert!(matches!(
            publish(&table(&lake), &request).await,
            Err(Error::Invariant { .. })
        ));
        assert_whole_but_staging(&lake).await;
    }
}

async fn assert_whole_but_staging(lake: &Lake) {
    lake.delete(&paths(lake, "_lake/devices/staging").await)
        .await
        .unwrap();
    assert_whole(lake).await;
}

#[tokio::test]
async fn documents_of_a_newer_program_are_refused() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let path = layout::latest("devices");
        lake.put(&path, r#"{"version": 3, "unknown": []}"#.into())
            .await
            .unwrap();
        let error = standing(&lake, &snapshot(26, 10)).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Newer {
                    found: 3,
                    known: 2,
                    ..
                }
            ),
            "{error}"
        );
        lake.put(&path, "not json".into()).await.unwrap();
        assert!(matches!(
            standing(&lake, &snapshot(26, 10)).await,
            Err(Error::Malformed { .. })
        ));
    }
}

#[tokio::test]
async fn a_commit_that_cannot_complete_an_upload_changes_nothing() {
    let (_folder, [lake, ..]) = lakes();
    committed(&lake, &snapshot(26, 10), "run 1", 5).await;
    let request = staged(&lake, &snapshot(26, 11), "run 2", 5).await;
    let crate::OpenUpload::File { staging_path } = &request.files[1].upload else {
        panic!("not a file")
    };
    lake.delete(std::slice::from_ref(staging_path))
        .await
        .unwrap();
    assert!(matches!(
        publish(&table(&lake), &request).await,
        Err(Error::NotFound { .. })
    ));
    assert_eq!(ids(&lake).await, ["20220726T100100Z-47d41a0c"]);
    assert_whole(&lake).await;
}

#[tokio::test]
async fn a_run_that_was_taken_for_dead_commits_nothing() {
    let (_folder, [_, delta, _, parquet]) = lakes();
    for lake in [delta, parquet] {
        let request = staged(&lake, &snapshot(26, 10), "silent", 5).await;
        let later = Utc::now() + table(&lake).settings.dead_after + Duration::from_secs(60);
        let buried = crate::standing(&table_at(&lake, later), &request.snapshot).await;
        assert_eq!(buried.unwrap(), Standing::New);
        let outcome = publish(&table(&lake), &request).await.unwrap();
        assert_eq!(outcome, PublishOutcome::TakenForDead);
        assert!(ids(&lake).await.is_empty());
        assert_whole(&lake).await;
    }
}

#[tokio::test]
async fn a_silent_run_that_has_begun_to_commit_is_not_disturbed() {
    let (_folder, [_, delta, _, parquet]) = lakes();
    for lake in [delta, parquet] {
        let request = staged(&lake, &snapshot(26, 10), "silent", 5).await;
        let begun = Intent::new(manifest_of(&table(&lake), &request), false);
        begun.write(&lake).await.unwrap();
        let later = Utc::now() + table(&lake).settings.dead_after + Duration::from_secs(60);
        discard_run(&table_at(&lake, later), "silent")
            .await
            .unwrap();
        complete_uploads(&lake, &request.files).await.unwrap();
        assert!(begun.is_there(&lake).await.unwrap());
    }
}

const APPLY: crate::VacuumOptions = crate::VacuumOptions {
    apply: true,
    shorten: false,
};

#[tokio::test]
async fn a_log_that_the_pointer_follows_is_not_read() {
    let (_folder, [disk, memory, ..]) = lakes();
    for lake in [disk, memory] {
        let days = [24, 25, 26];
        for day in days {
            committed(&lake, &snapshot(day, 10), &format!("run {day}"), 5).await;
        }
        // Whoever reads these fails.
        let entry = |version: u64| format!("devices/_delta_log/{version:020}.json");
        let mut entries = Vec::new();
        for version in 0..3 {
            entries.push(lake.get(&entry(version)).await.unwrap().unwrap());
            lake.put(&entry(version), "no entry".into()).await.unwrap();
        }
        committed(&lake, &snapshot(26, 11), "a replacement", 5).await;
        committed(&lake, &snapshot(27, 10), "another day", 5).await;
        for (version, content) in (0..).zip(entries) {
            lake.put(&entry(version), content).await.unwrap();
        }
        // What the entries tell together is what was published.
        let read = table(&lake).read().await.unwrap();
        assert!(!read.is_behind);
        let held: Vec<_> = read
            .latest
            .snapshots
            .iter()
            .map(|now| now.snapshot.clone())
            .collect();
        let expected = [(24, 10), (25, 10), (26, 11), (27, 10)];
        assert_eq!(held, expected.map(|(day, hour)| snapshot(day, hour).id()));
        // A pointer that does not tell it is brought up, and the log is read for it.
        let mut old = read.latest.clone();
        old.log = None;
        let path = layout::latest("devices");
        lake.put(&path, serde_json::to_vec(&old).unwrap().into())
            .await
            .unwrap();
        committed(&lake, &snapshot(28, 10), "after an earlier version", 5).await;
        let read = table(&lake).read().await.unwrap();
        assert!(!read.is_behind);
        assert_eq!(read.latest.log.unwrap().version, 5);
    }
}

#[tokio::test]
async fn the_log_is_read_again_only_when_there_is_a_later_entry() {
    let (_folder, [disk, memory, ..]) = lakes();
    for lake in [disk, memory] {
        committed(&lake, &snapshot(26, 10), "first", 5).await;
        let table = table(&lake);
        let known = table.read().await.unwrap();
        let (version, files) = (known.log.version, known.log.paths().unwrap().count());
        let same = table.read_again(known, None).await.unwrap();
        assert_eq!(
            (same.log.version, same.log.paths().unwrap().count()),
            (version, files)
        );
        // What was read before is what is given: the entry is not looked at.
        let entry = "devices/_delta_log/00000000000000000000.json";
        let content = lake.get(entry).await.unwrap().unwrap();
        lake.put(entry, "no entry".into()).await.unwrap();
        let same = table.read_again(same, None).await.unwrap();
        assert_eq!(
            (same.log.version, same.log.paths().unwrap().count()),
            (version, files)
        );
        lake.put(entry, content).await.unwrap();

        committed(&lake, &snapshot(27, 10), "second", 5).await;
        let later = table.read_again(same, None).await.unwrap().log;
        assert_eq!((version, later.version), (Some(0), Some(1)));
        assert_eq!(later.paths().unwrap().count(), 2 * files);
    }
}

#[tokio::test]
async fn a_planted_intent_deletes_and_publishes_nothing() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let victims = [
            "other/generated_date=2022-07-26/rbac_group_id=1/part-20220726T100100Z-47d41a0c-00000.parquet",
            "devices/notes.txt",
            "_lake/other/latest.json",
        ];
        for victim in victims {
            lake.put(victim, "theirs".into()).await.unwrap();
        }
        committed(&lake, &snapshot(26, 10), "run", 5).await;
        let files = paths(&lake, "devices").await;
        let honest = manifest_of(
            &table(&lake),
            &staged(&lake, &snapshot(25, 10), "planted", 5).await,
        );
        let plant = async |change: &dyn Fn(&mut Intent)| {
            let mut intent = Intent::new(honest.clone(), false);
            change(&mut intent);
            let path = layout::intent("devices", "planted");
            lake.put_json(&path, &intent).await.unwrap();
            let much_later = now() + Duration::from_secs(2 * 3600);
            crate::standing(&table_at(&lake, much_later), &snapshot(27, 10))
                .await
                .unwrap();
            for victim in victims {
                assert!(lake.get(victim).await.unwrap().is_some(), "{victim}");
            }
            assert_eq!(paths(&lake, "devices").await, files);
        };
        for victim in victims
            .into_iter()
            .chain([files[0].as_str(), files[2].as_str()])
        {
            plant(&|intent| intent.manifest.files[0].path = victim.to_owned()).await;
            plant(&|intent| intent.manifest.quarantine_files = vec![victim.to_owned()]).await;
            plant(&|intent| intent.appends_to = Some(victim.to_owned())).await;
        }
        plant(&|intent| intent.manifest.dataset = "other".to_owned()).await;
        plant(&|intent| intent.manifest.run_id = "x/../../latest".to_owned()).await;
        plant(&|intent| intent.manifest.snapshot = snapshot(26, 10).id()).await;
    }
}

#[tokio::test]
async fn a_pointer_that_names_no_manifest_is_refused() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        committed(&lake, &snapshot(26, 10), "run", 5).await;
        let mut latest = Latest::read(&lake, "devices").await.unwrap();
        let mut retired = latest.snapshots[0].clone();
        retired.manifest = "devices/notes.txt".to_owned();
        latest.put(retired, table(&lake).retirement());
        let content = serde_json::to_vec(&latest).unwrap();
        let path = layout::latest("devices");
        lake.put(&path, content.into()).await.unwrap();
        let error = standing(&lake, &snapshot(27, 10)).await.unwrap_err();
        assert!(error.to_string().contains("no manifest"), "{error}");
    }
}

#[tokio::test]
async fn open_intents_of_an_old_lake_are_finished_or_undone() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let PublishOutcome::Committed { manifest, .. } =
            committed(&lake, &snapshot(26, 10), "decided", 5).await
        else {
            panic!("not committed");
        };
        let before = paths(&lake, "devices").await;
        // As an earlier version leaves them: one died after its deciding write, one before.
        let undecided = staged(&lake, &snapshot(27, 10), "undecided", 5).await;
        complete_uploads(&lake, &undecided.files).await.unwrap();
        for manifest in [(*manifest).clone(), manifest_of(&table(&lake), &undecided)] {
            let path = layout::old_intent("devices", &manifest.run_id);
            let intent = Intent::new(manifest, false);
            lake.put_json(&path, &intent).await.unwrap();
        }
        let gone = [layout::version("devices"), manifest.path()];
        lake.delete(&gone).await.unwrap();

        let much_later = now() + Duration::from_secs(2 * 3600);
        let next = snapshot(28, 10);
        crate::standing(&table_at(&lake, much_later), &next)
            .await
            .unwrap();
        assert_eq!(paths(&lake, "devices").await, before);
        let read = read_manifest(&lake, "devices", &manifest.snapshot).await;
        assert_eq!(read.unwrap(), Some(*manifest));
        let old = layout::old_intents("devices");
        assert_eq!(paths(&lake, &old).await, [""; 0]);
        assert!(lake.local_path(&old).is_none_or(|folder| !folder.exists()));

        committed(&lake, &next, "next", 5).await;
        let version = lake
            .get(&layout::version("devices"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(version, "{\n  \"version\": 2\n}\n");
    }
}

#[tokio::test]
async fn a_lake_of_a_later_layout_is_refused_by_every_writer() {
    let (_folder, lakes) = lakes();
    for lake in lakes {
        let (current, next) = (snapshot(26, 10), snapshot(27, 10));
        committed(&lake, &current, "run", 5).await;
        let request = staged(&lake, &next, "next", 5).await;
        let path = layout::version("devices");
        lake.put(&path, r#"{"version":3}"#.into()).await.unwrap();
        let before = paths(&lake, "_lake").await;
        let table = table(&lake);
        let errors = [
            standing(&lake, &next).await.map(drop),
            crate::recover(&table).await,
            publish(&table, &request).await.map(drop),
            crate::rollback(&table, &current.id(), "back")
                .await
                .map(drop),
            crate::vacuum(&table, APPLY).await.map(drop),
        ];
        for refused in errors {
            let error = refused.unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::Newer {
                        found: 3,
                        known: 2,
                        ..
                    }
                ),
                "{error}"
            );
        }
        let mut after = paths(&lake, "_lake").await;
        after.retain(|path| !path.ends_with("/commit.lock"));
        let mut expected = before;
        expected.retain(|path| !path.ends_with("/commit.lock"));
        assert_eq!(after, expected);
        let read = read_manifest(&lake, "devices", &current.id()).await;
        assert_eq!(read.unwrap().unwrap().rows, 10);
    }
}
