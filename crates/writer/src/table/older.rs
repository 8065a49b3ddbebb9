//! Current snapshots of dates long past, in a document beside the pointer, so that what a run reads and writes does not grow with
//! the history.
//!
//! The pointer names one such document, which is never changed: both change in the one act that swaps the pointer.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use dataset::{OrgId, SnapshotId};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout;
use crate::store::document::{parse, to_pretty_json};
use crate::store::lake::Lake;
use crate::table::current_snapshot::{CurrentSnapshot, check_manifests};

const VERSION: u32 = 1;
/// Snapshots that the pointer keeps when older ones move out, and twice as many before they do.
const KEPT: usize = 50;
/// A document that no pointer names is that of a swap that failed, or it was replaced, once it is this old. A younger one may be
/// about to be named.
const UNNAMED_AFTER: TimeDelta = TimeDelta::days(1);

/// Where the pointer's older snapshots are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Older {
    /// The document, as a path from the lake's root.
    pub document: String,
    /// The first date of which the pointer itself has all snapshots.
    pub before: NaiveDate,
}

/// The document.
#[derive(Debug, Serialize, Deserialize)]
struct OlderSnapshots {
    version: u32,
    dataset: String,
    snapshots: Vec<CurrentSnapshot>,
}

/// Current snapshots in two parts.
pub(crate) struct Divided {
    pub(crate) recent: Vec<CurrentSnapshot>,
    pub(crate) older: Vec<CurrentSnapshot>,
    /// See [`Older::before`].
    pub(crate) before: NaiveDate,
}

impl Older {
    /// Reads the snapshots.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the pointer was replaced meanwhile, and the document deleted; [`Error::Malformed`].
    pub(crate) async fn read(&self, lake: &Lake, dataset: &str) -> Result<Vec<CurrentSnapshot>> {
        let path = &self.document;
        let content = lake.get(path).await?.ok_or_else(|| Error::NotFound {
            action: "read",
            path: path.clone(),
            message: format!(
                "`{}` names it for the snapshots before {}",
                layout::latest(dataset),
                self.before
            ),
        })?;
        let older: OlderSnapshots = parse(&content, path, VERSION)?;
        check_manifests(dataset, &older.dataset, &older.snapshots, path)?;
        Ok(older.snapshots)
    }

    /// Writes a new document.
    pub(crate) async fn write(
        lake: &Lake,
        dataset: &str,
        snapshots: Vec<CurrentSnapshot>,
        before: NaiveDate,
    ) -> Result<Self> {
        // Not the table's time: that is when the run began, and it may have taken a day.
        let document = layout::older(dataset, Utc::now());
        let content = OlderSnapshots {
            version: VERSION,
            dataset: dataset.to_owned(),
            snapshots,
        };
        lake.put(&document, to_pretty_json(&content, &document)?)
            .await?;
        Ok(Self { document, before })
    }
}

/// Whether a pointer with so many snapshots of so many organisations is to be divided.
pub(crate) fn is_long(snapshots: &[CurrentSnapshot]) -> bool {
    snapshots.len() > 2 * kept_of(snapshots)
}

/// At least the newest one of each organisation stays in the pointer.
fn kept_of(snapshots: &[CurrentSnapshot]) -> usize {
    let organisations: BTreeSet<&OrgId> = snapshots.iter().map(|current| &current.org_id).collect();
    KEPT.max(2 * organisations.len())
}

/// Divides snapshots by date. The newest one of each organisation is recent, however old: runs compare with it.
pub(crate) fn divide(snapshots: Vec<CurrentSnapshot>) -> Divided {
    let mut dates: Vec<NaiveDate> = snapshots
        .iter()
        .map(|current| current.generated_date)
        .collect();
    dates.sort_unstable_by(|a, b| b.cmp(a));
    let before = dates.get(kept_of(&snapshots).saturating_sub(1)).copied();
    let before = before.unwrap_or(NaiveDate::MIN);
    let newest = newest_by_organisation(&snapshots);
    let is_recent = |current: &CurrentSnapshot| {
        current.generated_date >= before || newest.contains(&current.snapshot)
    };
    let (recent, older) = snapshots.into_iter().partition(is_recent);
    Divided {
        recent,
        older,
        before,
    }
}

/// Whether snapshots that a document has are all current as it has them, and can stay there.
pub(crate) fn are_as_written(older: &[CurrentSnapshot], current: &[CurrentSnapshot]) -> bool {
    let by_id: BTreeMap<_, _> = current
        .iter()
        .map(|current| (&current.snapshot, current))
        .collect();
    let newest = newest_by_organisation(current);
    older
        .iter()
        .all(|was| by_id.get(&was.snapshot) == Some(&was) && !newest.contains(&was.snapshot))
}

fn newest_by_organisation(snapshots: &[CurrentSnapshot]) -> BTreeSet<SnapshotId> {
    let mut newest: BTreeMap<&OrgId, &CurrentSnapshot> = BTreeMap::new();
    for current in snapshots {
        let of_org = newest.entry(&current.org_id).or_insert(current);
        if current.generated_time > of_org.generated_time {
            *of_org = current;
        }
    }
    let newest = newest.into_values();
    newest.map(|current| current.snapshot.clone()).collect()
}

/// Whether an object is a document that no pointer will name any more, if `named` is the one that the pointer names.
pub(crate) fn is_unnamed(
    dataset: &str,
    path: &str,
    named: Option<&Older>,
    now: DateTime<Utc>,
) -> bool {
    let written = layout::older_written_at(dataset, path);
    named.is_none_or(|named| named.document != path)
        && written.is_some_and(|written| now.signed_duration_since(written) > UNNAMED_AFTER)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dataset::Snapshot;

    use super::*;
    use crate::commit::rollback::{RollbackOutcome, rollback};
    use crate::fixtures::{
        self, committed, lakes, now, publish, staged, table, table_at, table_keeping,
    };
    use crate::maintain::vacuum::{VacuumOptions, vacuum};
    use crate::table::latest::Latest;
    use crate::table::state::Table;
    use crate::{PublishOutcome, SnapshotState, Standing, snapshots, standing};

    const DAYS: usize = 2 * KEPT + 20;
    const APPLY: VacuumOptions = VacuumOptions {
        apply: true,
        shorten: false,
    };

    fn of_day(day: usize, hour: u32) -> Snapshot {
        let first = fixtures::snapshot(1, hour);
        Snapshot {
            generated_time: first.generated_time + TimeDelta::days(day as i64),
            ..first
        }
    }

    async fn publish_days(lake: &Lake) {
        for day in 0..DAYS {
            let outcome = committed(lake, &of_day(day, 10), &format!("run {day}"), 1).await;
            assert!(matches!(outcome, PublishOutcome::Committed { .. }));
        }
    }

    /// The pointer itself, and the paths of the documents beside it.
    async fn pointer(lake: &Lake) -> (Latest, Vec<String>) {
        let (pointer, _) = Latest::read_versioned(lake, "devices").await.unwrap();
        let documents = fixtures::paths(lake, "_lake/devices/latest").await;
        (pointer, documents)
    }

    /// The days that the table has, by the pointer and by the files of the log.
    async fn days(lake: &Lake) -> Vec<usize> {
        let first = of_day(0, 10).generated_date();
        let latest = Latest::read(lake, "devices").await.unwrap();
        let days = latest.snapshots.iter();
        let days = days.map(|current| (current.generated_date - first).num_days() as usize);
        let days: Vec<usize> = days.collect();
        let read = table(lake).read().await.unwrap();
        assert!(!read.is_behind);
        if read.log.version.is_some() {
            assert_eq!(read.log.paths_by_snapshot().unwrap().len(), days.len());
        }
        days
    }

    #[test]
    fn the_newest_of_each_organisation_stays_in_the_pointer() {
        let of = |org: u32, day: usize| {
            let org = format!("{org:08}-0000-4000-8000-000000000000");
            let snapshot = Snapshot {
                org_id: org.parse().unwrap(),
                ..of_day(day, 10)
            };
            let manifest = layout::manifest("devices", &snapshot.id());
            CurrentSnapshot {
                snapshot: snapshot.id(),
                generated_date: snapshot.generated_date(),
                generated_time: snapshot.generated_time,
                org_id: snapshot.org_id,
                manifest,
                run_id: "run".to_owned(),
                rows: 1,
                files: 1,
                rolled_back: None,
            }
        };
        // One organisation ended long ago.
        let mut snapshots = vec![of(1, 0), of(1, 1)];
        snapshots.extend((2..300).map(|day| of(2, day)));
        assert!(is_long(&snapshots));
        let divided = divide(snapshots.clone());
        assert_eq!(divided.before, of_day(300 - KEPT, 10).generated_date());
        assert_eq!(divided.recent.len(), KEPT + 1);
        assert_eq!(divided.recent[0], of(1, 1));
        assert_eq!(divided.older.len(), 300 - KEPT - 1);
        assert!(!is_long(&divided.recent));
        assert!(are_as_written(&divided.older, &snapshots));
        // Its newest one was removed: the one before is to be read by every run.
        snapshots.remove(1);
        assert!(!are_as_written(&divided.older, &snapshots));

        // Many organisations on few days.
        let snapshots: Vec<_> = (0..7)
            .flat_map(|day| (0..200).map(move |org| of(org, day)))
            .collect();
        let divided = divide(snapshots.clone());
        assert!(is_long(&snapshots) && !is_long(&divided.recent));
        assert_eq!(divided.recent.len(), 2 * 200);
    }

    #[tokio::test]
    async fn the_pointer_is_bounded_and_the_table_has_all_days() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            publish_days(&lake).await;
            let (pointer, documents) = pointer(&lake).await;
            assert!(pointer.snapshots.len() <= 2 * KEPT, "{lake}");
            assert_eq!(pointer.version, 2);
            assert_eq!(documents, [pointer.older.unwrap().document]);
            assert_eq!(days(&lake).await, Vec::from_iter(0..DAYS), "{lake}");
            let kept = snapshots(&table(&lake)).await.unwrap();
            assert_eq!(kept.len(), DAYS);
            let old = standing(&table(&lake), &of_day(3, 10)).await.unwrap();
            assert!(matches!(old, Standing::Unchanged(_)), "{old:?}");
            let old = standing(&table(&lake), &of_day(3, 11)).await.unwrap();
            assert!(matches!(old, Standing::OlderThan(_)), "{old:?}");
            assert_eq!(vacuum(&table(&lake), APPLY).await.unwrap().found, []);
        }
    }

    #[tokio::test]
    async fn old_days_change_as_recent_ones_do() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            publish_days(&lake).await;
            let before = pointer(&lake).await.0.older.unwrap();
            // A later snapshot of an old day, and back.
            let (old, late) = (of_day(3, 10), of_day(3, 11));
            let keeping = table_keeping(&lake, Duration::MAX);
            let mut request = staged(&lake, &late, "late", 2).await;
            request.backfill = true;
            fixtures::lease(&lake, "late").await;
            let outcome = crate::publish(&keeping, &request).await.unwrap();
            assert!(
                matches!(outcome, PublishOutcome::Committed { .. }),
                "{lake}: {outcome:?}"
            );
            let read = Latest::read(&lake, "devices").await.unwrap();
            assert!(read.is_current(&late.id()) && !read.is_current(&old.id()));
            assert_ne!(read.older.unwrap(), before);
            let back = rollback(&keeping, &old.id(), "back").await.unwrap();
            assert!(
                matches!(back, RollbackOutcome::RolledBack { .. }),
                "{back:?}"
            );
            assert_eq!(days(&lake).await, Vec::from_iter(0..DAYS));
            let kept = snapshots(&keeping).await.unwrap();
            let state = |of: &Snapshot| {
                let found = kept.iter().find(|kept| kept.snapshot.snapshot == of.id());
                found.unwrap().state
            };
            assert_eq!(state(&old), SnapshotState::Current);
            assert!(matches!(state(&late), SnapshotState::Retired { .. }));

            // Old days leave, and a day that was missing comes.
            let mut expiring = table_at(&lake, of_day(DAYS, 10).generated_time);
            expiring.settings.keep = Some(Duration::from_secs(DAYS as u64 * 86_400 - 5 * 86_400));
            vacuum(&expiring, APPLY).await.unwrap();
            assert_eq!(days(&lake).await, Vec::from_iter(5..DAYS), "{lake}");
            let mut request = staged(&lake, &of_day(2, 10), "missing", 2).await;
            request.backfill = true;
            let outcome = publish(&lake, request).await;
            assert!(
                matches!(outcome, PublishOutcome::Committed { .. }),
                "{lake}: {outcome:?}"
            );
            let mut expected = vec![2];
            expected.extend(5..DAYS);
            assert_eq!(days(&lake).await, expected, "{lake}");
        }
    }

    #[tokio::test]
    async fn a_document_that_the_pointer_does_not_name_goes_after_a_day() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            publish_days(&lake).await;
            let named = pointer(&lake).await.0.older.unwrap();
            let snapshots = named.read(&lake, "devices").await.unwrap();
            let unnamed = Older::write(&lake, "devices", snapshots, named.before).await;
            let unnamed = unnamed.unwrap().document;
            let at = |table_now: DateTime<Utc>| Table {
                now: table_now,
                ..table(&lake)
            };
            let later = |hours| at(Utc::now() + TimeDelta::hours(hours));
            assert_eq!(vacuum(&later(23), APPLY).await.unwrap().found, []);
            let found = vacuum(&later(25), APPLY).await.unwrap().found;
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].path, unnamed);
            assert_eq!(pointer(&lake).await.1, [named.document]);
        }
    }

    #[tokio::test]
    async fn a_missing_document_and_a_foreign_one_are_errors_that_name_them() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            publish_days(&lake).await;
            let (mut stored, documents) = pointer(&lake).await;
            let content = lake.get(&documents[0]).await.unwrap().unwrap();
            lake.delete(&documents).await.unwrap();
            let error = Latest::read(&lake, "devices")
                .await
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(&documents[0]) && error.contains("latest.json"),
                "{error}"
            );
            // A run of today needs none of it.
            standing(&table(&lake), &of_day(DAYS, 10)).await.unwrap();
            lake.put(&documents[0], content).await.unwrap();
            stored.older.as_mut().unwrap().document = "devices/notes.txt".to_owned();
            lake.put_json(&layout::latest("devices"), &stored)
                .await
                .unwrap();
            let error = standing(&table(&lake), &of_day(DAYS, 10))
                .await
                .unwrap_err();
            assert!(error.to_string().contains("devices/notes.txt"), "{error}");
        }
    }

    #[test]
    fn only_names_of_the_layout_are_documents() {
        let path = layout::older("devices", now());
        assert_eq!(layout::older_written_at("devices", &path), Some(now()));
        for other in [
            path.replace("/latest/", "/runs/"),
            path.replace("devices", "users"),
            path.replace("/latest/", "/latest/../"),
            path.replace(".json", ""),
            layout::latest("devices"),
        ] {
            assert_eq!(layout::older_written_at("devices", &other), None, "{other}");
        }
    }
}
