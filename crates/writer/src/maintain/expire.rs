//! Whole days that a table no longer keeps: found by `lake.keep`, taken out of the table in one entry of its log. Deletes no file.

use chrono::Duration;

use crate::error::Result;
use crate::maintain::remove::remove;
use crate::table::current_snapshot::CurrentSnapshot;
use crate::table::latest::Latest;
use crate::table::state::{Table, TableState};

/// Current snapshots of days that the table no longer keeps. The latest one of an organisation is kept, however old.
pub(crate) fn expired<'a>(table: &Table<'_>, latest: &'a Latest) -> Vec<&'a CurrentSnapshot> {
    let keep = table.settings.keep;
    let keep = keep.and_then(|keep| Duration::from_std(keep).ok());
    let Some(kept_from) = keep.and_then(|keep| table.now.checked_sub_signed(keep)) else {
        return Vec::new();
    };
    let is_expired = |current: &&CurrentSnapshot| {
        current.generated_date < kept_from.date_naive()
            && latest.newest(&current.org_id) != Some(current)
    };
    latest.snapshots.iter().filter(is_expired).collect()
}

/// Takes expired days out of the table.
///
/// # Errors
/// Those of [`remove`].
pub(crate) async fn expire(table: &Table<'_>, state: TableState) -> Result<()> {
    let which = |latest: &Latest| {
        let expired = expired(table, latest).into_iter();
        expired.map(|expired| expired.snapshot.clone()).collect()
    };
    remove(table, state, "expired", which).await
}

/// Ends what was promised to replaced snapshots for longer than the settings of now keep them. Says whether there was any such.
pub(crate) fn shorten_promises(table: &Table<'_>, latest: &mut Latest) -> bool {
    let mut is_changed = false;
    for retired in &mut latest.retired {
        let promised = retired.kept_until(table.settings.retire_after);
        let by_setting = retired.kept_by_setting(table.settings.retire_after);
        if by_setting < promised {
            retired.kept_until = Some(by_setting);
            is_changed = true;
        }
    }
    is_changed
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::fixtures::{committed, lakes, now, paths, snapshot, table, table_keeping, table_of};
    use crate::maintain::vacuum::{OrphanKind, VacuumOptions, vacuum};
    use crate::{publish, snapshots};

    const APPLY: VacuumOptions = VacuumOptions {
        apply: true,
        shorten: false,
    };

    #[tokio::test]
    async fn days_past_their_time_leave_the_table_and_the_latest_stays() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            for day in [20, 24, 25] {
                committed(&lake, &snapshot(day, 10), &format!("run {day}"), 5).await;
            }
            let settings = table(&lake).settings;
            let keeping = |days: u64, later: u64| {
                let mut table = table_of(&lake, settings.format, Duration::ZERO);
                table.settings.keep = Some(Duration::from_secs(days * 86_400));
                table.now = now() + Duration::from_secs(later * 86_400);
                table
            };
            let dry = VacuumOptions::default();
            let found = vacuum(&keeping(1_258, 0), dry).await.unwrap().found;
            assert!(!found.is_empty());
            assert!(
                found
                    .iter()
                    .all(|orphan| orphan.kind == OrphanKind::Expired),
                "{found:?}"
            );
            assert_eq!(snapshots(&keeping(1_258, 0)).await.unwrap().len(), 3);
            let deleted = vacuum(&keeping(1_258, 0), APPLY).await.unwrap().found;
            assert_eq!(deleted, found);
            assert_eq!(snapshots(&keeping(1_258, 0)).await.unwrap().len(), 2);
            assert_eq!(
                paths(&lake, "devices/generated_date=2022-07-20").await,
                [""; 0]
            );
            assert_eq!(vacuum(&keeping(1_258, 0), APPLY).await.unwrap().found, []);
            vacuum(&keeping(1_258, 1_000), APPLY).await.unwrap();
            let left = snapshots(&keeping(1_258, 1_000)).await.unwrap();
            assert_eq!(left.len(), 1);
            assert_eq!(left[0].snapshot.snapshot, snapshot(25, 10).id());
        }
    }

    #[tokio::test]
    async fn a_promise_is_shortened_only_when_asked_for() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            let long = table_keeping(&lake, Duration::from_secs(86_400));
            for hour in [10, 11] {
                let request =
                    crate::fixtures::staged(&lake, &snapshot(26, hour), &format!("run {hour}"), 5)
                        .await;
                publish(&long, &request).await.unwrap();
            }
            let short = table_keeping(&lake, Duration::ZERO);
            assert_eq!(vacuum(&short, APPLY).await.unwrap().found, []);
            assert_eq!(snapshots(&short).await.unwrap().len(), 2);
            for apply in [false, true] {
                let options = VacuumOptions {
                    apply,
                    shorten: true,
                };
                let found = vacuum(&short, options).await.unwrap().found;
                assert!(
                    found
                        .iter()
                        .any(|orphan| orphan.kind == OrphanKind::Retired),
                    "{found:?}"
                );
            }
            assert_eq!(snapshots(&short).await.unwrap().len(), 1);
        }
    }
}
