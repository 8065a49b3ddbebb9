//! A kept snapshot made current again, in one act as of a commit. What a crash after it leaves, the next command rolls forward.

use std::collections::HashMap;

use dataset::{Dataset, SnapshotId};
use serde_json::{Map, json};

use crate::commit::decide::{Decided, Entry, Request, decide};
use crate::commit::followers::{Decision, Followed, follow};
use crate::commit::recover::recovered;
use crate::commit::retire::is_overdue;
use crate::delta::log::EntryOfSnapshot;
use crate::error::Result;
use crate::layout;
use crate::parquet::data_file::DataFile;
use crate::store::lake::Lake;
use crate::table::current_snapshot::CurrentSnapshot;
use crate::table::manifest::Manifest;
use crate::table::state::{Table, TableState};

/// What became of a rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RollbackOutcome {
    /// The snapshot is current again.
    RolledBack {
        /// It.
        current: CurrentSnapshot,
        /// The snapshot whose place it took; it is retired.
        replaced: Option<CurrentSnapshot>,
        /// What became of what follows. The rollback stands all the same.
        followed: Followed,
    },
    /// It was current already.
    Unchanged(CurrentSnapshot),
    /// The lake does not know it, or no longer.
    Unknown,
    /// Files of it are gone.
    Incomplete {
        /// Files that are missing or have another size.
        missing: Vec<String>,
    },
    /// The store kept refusing the write that decides: others kept committing first, or it has another reason. Nothing was
    /// changed.
    Conflict {
        /// Writes that it refused.
        attempts: u32,
        /// The store's words of the last refusal, without secrets.
        message: String,
    },
}

/// Makes a retired snapshot current again while its files are kept. What it replaces is retired. One act, as of a commit:
/// the log entry, or without a log the swap of `latest`; what a crash after it leaves, the next command finishes.
///
/// # Errors
/// [`crate::Error::HasDeltaLog`]; what the store answers.
pub async fn rollback(table: &Table<'_>, to: &SnapshotId, run_id: &str) -> Result<RollbackOutcome> {
    recovered(table, None).await?;
    let lock = table.lock().await?;
    let state = table.read().await?;
    if let Some(current) = state.latest.with_id(to) {
        return Ok(RollbackOutcome::Unchanged(current.clone()));
    }
    let Some(retired) = state.latest.retired(to) else {
        return Ok(RollbackOutcome::Unknown);
    };
    let manifest = Manifest::read_at(table.lake, &retired.was.manifest).await?;
    let Some(manifest) = manifest.filter(|_| !is_overdue(table, retired)) else {
        return Ok(RollbackOutcome::Unknown);
    };
    let missing = missing_files(table.lake, &manifest).await?;
    if !missing.is_empty() {
        return Ok(RollbackOutcome::Incomplete { missing });
    }
    let rollback = Rollback { manifest, run_id };
    let (state, replaced) = match decide(table, &rollback, None, state).await? {
        Decided::Recorded(state, replaced) => (state, replaced),
        Decided::Refused(_, outcome) => return Ok(outcome),
        // Nothing was written down.
        Decided::Withdrawn => return Ok(RollbackOutcome::Unknown),
        Decided::Contended(_, contention) => {
            return Ok(RollbackOutcome::Conflict {
                attempts: contention.refusals(),
                message: contention.last().to_owned(),
            });
        }
    };
    let decision = Decision {
        current: rollback.current(replaced.as_ref()),
        intent: None,
        is_alone: lock.is_alone,
    };
    let followed = follow(table, &decision, state).await;
    Ok(RollbackOutcome::RolledBack {
        current: decision.current,
        replaced,
        followed,
    })
}

/// A kept snapshot that is to be current again.
struct Rollback<'a> {
    manifest: Manifest,
    run_id: &'a str,
}

impl Request for Rollback<'_> {
    type Refusal = RollbackOutcome;

    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn refused(&self, state: &TableState) -> Option<RollbackOutcome> {
        let to = &self.manifest.snapshot;
        match state.latest.with_id(to) {
            Some(current) => Some(RollbackOutcome::Unchanged(current.clone())),
            None => state
                .latest
                .retired(to)
                .is_none()
                .then_some(RollbackOutcome::Unknown),
        }
    }

    async fn is_recorded(
        &self,
        _table: &Table<'_>,
        state: &TableState,
        _before: Option<u64>,
    ) -> Result<bool> {
        Ok(state.latest.is_current(&self.manifest.snapshot))
    }

    fn current(&self, replaced: Option<&CurrentSnapshot>) -> CurrentSnapshot {
        let to = &self.manifest.snapshot;
        let displaced = replaced.and_then(|replaced| replaced.displaced_by_rollback(to));
        CurrentSnapshot {
            rolled_back: displaced,
            ..CurrentSnapshot::from(&self.manifest)
        }
    }

    fn columns(&self) -> Option<&Dataset> {
        None
    }

    async fn entry(
        &self,
        table: &Table<'_>,
        _state: &TableState,
        replaced: Option<&CurrentSnapshot>,
    ) -> Result<Entry<'_>> {
        let mut info = Map::new();
        info.insert("runId".to_owned(), json!(self.run_id));
        info.insert("snapshot".to_owned(), json!(self.manifest.snapshot));
        info.insert("orgId".to_owned(), json!(self.manifest.org_id));
        let kept_until = replaced.map(|_| table.retirement().kept_until);
        let rolled_back = self.current(replaced).rolled_back;
        EntryOfSnapshot::write(&mut info, rolled_back.as_ref(), kept_until);
        Ok(Entry {
            add: self.manifest.files.iter().collect(),
            remove: replaced.map(|replaced| replaced.snapshot.clone()),
            transaction: None,
            operation: "RESTORE",
            info,
        })
    }
}

async fn missing_files(lake: &Lake, manifest: &Manifest) -> Result<Vec<String>> {
    let folder = layout::date_folder(&manifest.dataset, manifest.identity().generated_date());
    let found = lake.list(&folder).await?.into_iter();
    let found: HashMap<String, u64> = found.map(|object| (object.path, object.bytes)).collect();
    let is_missing = |file: &&DataFile| found.get(&file.path) != Some(&file.bytes);
    let missing = manifest.files.iter().filter(is_missing);
    Ok(missing.map(|file| file.path.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SnapshotState;
    use crate::fixtures::{lakes, now, paths, snapshot, staged, table, table_of};
    use crate::probe_store;
    use crate::publish;
    use crate::read_manifest;
    use crate::snapshots;
    use crate::store::remote::ConditionalPut;
    use crate::table::latest::Latest;
    use crate::{PublishOutcome, PublishRequest, Standing};
    use std::time::Duration;

    const APPLY: crate::VacuumOptions = crate::VacuumOptions {
        apply: true,
        shorten: false,
    };

    /// A table that keeps replaced snapshots for an hour.
    fn keeping(lake: &Lake) -> Table<'_> {
        table_of(lake, table(lake).settings.format, Duration::from_secs(3600))
    }

    async fn commit(lake: &Lake, hour: u32, run_id: &str) {
        let request = staged(lake, &snapshot(26, hour), run_id, 5).await;
        let outcome = publish(&keeping(lake), &request).await.unwrap();
        assert!(
            matches!(outcome, PublishOutcome::Committed { .. }),
            "{outcome:?}"
        );
    }

    async fn standing(table: &Table<'_>, hour: u32) -> Standing {
        let asked = crate::standing(table, &snapshot(26, hour)).await;
        asked.unwrap()
    }

    async fn back(lake: &Lake, hour: u32) {
        let to = snapshot(26, hour).id();
        let outcome = rollback(&keeping(lake), &to, "back").await;
        let outcome = outcome.unwrap();
        assert!(
            matches!(outcome, RollbackOutcome::RolledBack { .. }),
            "{outcome:?}"
        );
    }

    async fn states(table: &Table<'_>) -> Vec<SnapshotState> {
        let kept = snapshots(table).await.unwrap();
        kept.into_iter().map(|kept| kept.state).collect()
    }

    #[tokio::test]
    async fn a_kept_snapshot_becomes_current_again_and_back() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            commit(&lake, 10, "run 1").await;
            commit(&lake, 11, "run 2").await;
            let retired = SnapshotState::Retired {
                retired_at: now(),
                kept_until: now() + Duration::from_secs(3600),
            };
            assert_eq!(
                states(&keeping(&lake)).await,
                [retired, SnapshotState::Current]
            );
            for (to, expected) in [
                (10, [SnapshotState::Current, retired]),
                (11, [retired, SnapshotState::Current]),
            ] {
                let to = snapshot(26, to).id();
                let outcome = rollback(&keeping(&lake), &to, "back").await;
                let RollbackOutcome::RolledBack {
                    current, replaced, ..
                } = outcome.unwrap()
                else {
                    panic!("not rolled back");
                };
                assert_eq!(current.snapshot, to);
                assert!(replaced.is_some());
                assert_eq!(states(&keeping(&lake)).await, expected);
                let manifest = read_manifest(&lake, "devices", &to).await.unwrap().unwrap();
                let report = crate::fixtures::verify(&lake, &manifest).await;
                assert!(report.is_proven(), "{report:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_snapshot_whose_time_is_over_cannot_come_back() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            commit(&lake, 10, "run 1").await;
            commit(&lake, 11, "run 2").await;
            let later = Table {
                now: now() + Duration::from_secs(3600),
                ..keeping(&lake)
            };
            let outcome = rollback(&later, &snapshot(26, 10).id(), "back").await;
            assert_eq!(outcome.unwrap(), RollbackOutcome::Unknown);
            standing(&later, 11).await;
            assert_eq!(states(&later).await, [SnapshotState::Current]);
            let left = paths(&lake, "devices/generated_date=2022-07-26").await;
            assert_eq!(left.len(), 2, "{left:?}");
        }
    }

    #[tokio::test]
    async fn a_displaced_snapshot_stays_so_until_there_is_a_newer_one() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            for (hour, run_id) in [(10, "run 1"), (11, "run 2"), (12, "run 3")] {
                commit(&lake, hour, run_id).await;
            }
            let standing = async |hour| standing(&keeping(&lake), hour).await;
            let displaced = snapshot(26, 12).id();
            let is_displaced = |standing: &Standing| matches!(standing, Standing::RolledBack { displaced: by, .. } if *by == displaced);
            // The second rollback goes further back, and what the first one displaced stays so.
            for to in [11, 10] {
                back(&lake, to).await;
                for hour in to + 1..=12 {
                    assert!(is_displaced(&standing(hour).await), "{hour} after {to}");
                }
                let request = staged(&lake, &snapshot(26, 12), "again", 5).await;
                let refused = publish(&keeping(&lake), &request).await.unwrap();
                assert!(matches!(refused, PublishOutcome::RolledBack { .. }));
            }
            // A user may ask for one, and the later one stays displaced.
            back(&lake, 11).await;
            assert!(is_displaced(&standing(12).await));
            let request = PublishRequest {
                backfill: true,
                ..staged(&lake, &snapshot(26, 10), "backfill", 5).await
            };
            publish(&keeping(&lake), &request).await.unwrap();
            assert!(is_displaced(&standing(12).await));
            back(&lake, 12).await;
            assert!(matches!(standing(12).await, Standing::Unchanged(_)));
            back(&lake, 11).await;
            commit(&lake, 13, "newer").await;
            assert!(matches!(standing(12).await, Standing::OlderThan(_)));
            let latest = Latest::read(&lake, "devices").await.unwrap();
            assert_eq!(latest.snapshots[0].rolled_back, None);
        }
    }

    #[tokio::test]
    async fn what_a_rollback_displaced_is_known_though_the_pointer_lags() {
        let (_folder, [disk, memory, ..]) = lakes();
        for lake in [disk, memory] {
            commit(&lake, 10, "run 1").await;
            commit(&lake, 11, "run 2").await;
            let pointer = layout::latest("devices");
            let before = lake.get(&pointer).await.unwrap().unwrap();
            back(&lake, 10).await;
            let after = Latest::read(&lake, "devices").await.unwrap();
            // As if the process had died after the log entry; the next run keeps nothing.
            lake.put(&pointer, before).await.unwrap();
            let asked = standing(&table(&lake), 11).await;
            assert!(matches!(asked, Standing::RolledBack { .. }));
            let caught_up = Latest::read(&lake, "devices").await.unwrap();
            assert_eq!(caught_up.snapshots, after.snapshots);
            assert_eq!(caught_up.retired, after.retired);
            assert_eq!(after.retired.len(), 1);
            back(&lake, 11).await;
        }
    }

    #[tokio::test]
    async fn a_snapshot_is_kept_as_promised_whatever_later_runs_say() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            commit(&lake, 10, "run 1").await;
            commit(&lake, 11, "run 2").await;
            let promised = states(&keeping(&lake)).await;
            let later = |table| Table {
                now: now() + Duration::from_secs(3599),
                ..table
            };
            let keeps_nothing = later(table(&lake));
            for table in [&keeps_nothing, &later(keeping(&lake))] {
                standing(table, 11).await;
                let vacuum = crate::vacuum(table, APPLY).await;
                assert_eq!(vacuum.unwrap().found, []);
                assert_eq!(states(table).await, promised);
            }
            // A commit that keeps nothing deletes what it replaces, and not what was promised.
            let request = staged(&lake, &snapshot(26, 12), "run 3", 5).await;
            publish(&keeps_nothing, &request).await.unwrap();
            assert_eq!(
                states(&keeps_nothing).await,
                [promised[0], SnapshotState::Current]
            );
            let to = snapshot(26, 10).id();
            let outcome = rollback(&keeps_nothing, &to, "back").await;
            assert!(matches!(
                outcome.unwrap(),
                RollbackOutcome::RolledBack { .. }
            ));
        }
    }

    #[tokio::test]
    async fn what_an_earlier_version_retired_is_kept_as_the_setting_says() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            commit(&lake, 10, "run 1").await;
            commit(&lake, 11, "run 2").await;
            let (mut latest, seen) = Latest::read_versioned(&lake, "devices").await.unwrap();
            latest.retired[0].kept_until = None;
            let swapped = latest.swap(&lake, &seen, false).await.unwrap();
            assert_eq!(swapped, ConditionalPut::Done);
            assert_eq!(states(&keeping(&lake)).await.len(), 2);
            standing(&table(&lake), 11).await;
            assert_eq!(states(&keeping(&lake)).await, [SnapshotState::Current]);
        }
    }

    #[tokio::test]
    async fn a_rollback_to_a_snapshot_without_rows_displaces_too() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            let empty = crate::fixtures::request(&snapshot(26, 10), "run 1", Vec::new());
            crate::fixtures::lease(&lake, "run 1").await;
            publish(&keeping(&lake), &empty).await.unwrap();
            commit(&lake, 11, "run 2").await;
            back(&lake, 10).await;
            let asked = standing(&keeping(&lake), 11).await;
            assert!(matches!(asked, Standing::RolledBack { .. }));
        }
    }

    #[tokio::test]
    async fn a_snapshot_with_a_lost_file_does_not_come_back() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            commit(&lake, 10, "run 1").await;
            commit(&lake, 11, "run 2").await;
            let to = snapshot(26, 10).id();
            let manifest = read_manifest(&lake, "devices", &to).await.unwrap().unwrap();
            let lost = vec![manifest.files[1].path.clone()];
            lake.delete(&lost).await.unwrap();
            let outcome = rollback(&keeping(&lake), &to, "back").await;
            assert_eq!(
                outcome.unwrap(),
                RollbackOutcome::Incomplete { missing: lost }
            );
        }
    }

    #[tokio::test]
    async fn stores_that_keep_conditions_pass_the_probe_without_a_trace() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            probe_store(&lake, "devices", "run", false).await.unwrap();
            assert!(paths(&lake, "_lake").await.is_empty());
        }
    }
}
