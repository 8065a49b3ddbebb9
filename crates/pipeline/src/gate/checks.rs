//! The conditions, one after another. Looks at counts only, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use dataset::{BlobPath, Snapshot, SnapshotId};
use writer::Duplicates;

use crate::plan::Plan;
use crate::refusal::{LostColumn, Refusal};
use crate::report::{BlobReport, QuarantineReport};
use crate::settings::{DuplicateKeys, Gate, QuarantineLimit};

/// Quarantined records that pass where the limit is a share, unless there are no others: one bad record is 2% of 50 devices, and
/// no reason to lose the day of a small tenant. A day that shrinks by them is what `gate.min_rows_ratio` refuses.
const FEW_QUARANTINED: u64 = 10;

/// What was counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted<'a> {
    /// Of each blob.
    pub(crate) blobs: &'a [BlobReport],
    /// Rows in the staged files.
    pub(crate) staged_rows: u64,
    /// Why records were quarantined, by reason.
    pub(crate) quarantined: &'a [QuarantineReport],
    /// Unique keys that come more than once.
    pub(crate) duplicates: &'a Duplicates,
    /// Columns that lost their values.
    pub(crate) lost_columns: &'a [LostColumn],
}

/// The last committed snapshot.
#[derive(Debug, Clone)]
pub(crate) struct LastCommitted {
    pub(crate) snapshot: SnapshotId,
    pub(crate) rows: u64,
    /// Of each column: rows without a value.
    pub(crate) column_nulls: BTreeMap<String, u64>,
}

/// How far ahead of the service's clock the time of a snapshot may be.
const AHEAD: TimeDelta = TimeDelta::days(1);

/// Checks before the work that a snapshot is not one of the future: published, it would keep all others out until then.
pub(crate) fn is_not_to_come(snapshot: &Snapshot, now: DateTime<Utc>) -> Result<(), Refusal> {
    match snapshot.generated_time.signed_duration_since(now) > AHEAD {
        true => Err(Refusal::ToCome {
            snapshot: snapshot.id(),
            now,
        }),
        false => Ok(()),
    }
}

/// Checks all conditions; the first that is not met refuses the snapshot.
pub(crate) fn check(
    gate: &Gate,
    plan: &Plan,
    counted: Counted<'_>,
    last: Option<&LastCommitted>,
) -> Result<(), Refusal> {
    every_blob_was_read(plan, counted.blobs)?;
    counts_add_up(counted)?;
    let records: u64 = counted.blobs.iter().map(|blob| blob.records_read).sum();
    let quarantined: u64 = counted
        .blobs
        .iter()
        .map(|blob| blob.records_quarantined)
        .sum();
    let rows = counted.staged_rows;
    let commonest = || {
        let reasons = counted.quarantined.iter();
        reasons.max_by_key(|reason| reason.records).cloned()
    };
    if quarantined > 0 && rows == 0 {
        let commonest = commonest();
        return Err(Refusal::AllQuarantined { records, commonest });
    }
    if exceeds(gate.max_quarantined, quarantined, records) {
        return Err(Refusal::TooManyQuarantined {
            quarantined,
            records,
            limit: gate.max_quarantined,
            commonest: commonest(),
        });
    }
    if rows == 0 && !gate.allow_empty {
        return Err(Refusal::NoRows);
    }
    if counted.duplicates.rows > 0 && gate.duplicate_keys == DuplicateKeys::Refuse {
        return Err(Refusal::DuplicateKeys {
            rows: counted.duplicates.rows,
            examples: counted
                .duplicates
                .examples
                .iter()
                .cloned()
                .map(Into::into)
                .collect(),
        });
    }
    let lost = counted.lost_columns.iter();
    let most_lost = lost.max_by_key(|column| column.nulls);
    if let Some(column) = most_lost.filter(|column| is_too_much(gate, column, last)) {
        return Err(Refusal::LostColumn {
            column: Box::new(column.clone()),
            limit: gate.max_rescued,
        });
    }
    match last {
        // None at all is what `allow_empty` is about, however many there were.
        Some(last) if rows > 0 && (rows as f64) < last.rows as f64 * gate.min_rows_ratio => {
            Err(Refusal::TooFewRows {
                rows,
                before: last.rows,
                last: last.snapshot.clone(),
                min_ratio: gate.min_rows_ratio,
            })
        }
        _ => Ok(()),
    }
}

/// Whether a column is null in more rows than may be. A few rows are no reason to lose the day of a small tenant.
fn is_too_much(gate: &Gate, column: &LostColumn, last: Option<&LastCommitted>) -> bool {
    let is_over = column.nulls as f64 > gate.max_rescued * column.rows as f64;
    last.is_some() && column.nulls > FEW_QUARANTINED && is_over
}

/// Whether so many quarantined records are more than the limit.
fn exceeds(limit: QuarantineLimit, quarantined: u64, records: u64) -> bool {
    match limit {
        QuarantineLimit::Records(most) => quarantined > most,
        QuarantineLimit::Percent(most) => {
            quarantined > FEW_QUARANTINED && quarantined as f64 * 100.0 > most * records as f64
        }
    }
}

fn every_blob_was_read(plan: &Plan, blobs: &[BlobReport]) -> Result<(), Refusal> {
    let mut unread: BTreeSet<&BlobPath> = plan.blobs().iter().map(|blob| &blob.path).collect();
    for blob in blobs {
        if !unread.remove(&blob.blob) {
            let message = format!("{} was read twice or was not planned", blob.blob);
            return Err(Refusal::CountsDisagree(message));
        }
    }
    match unread.first() {
        Some(blob) => Err(Refusal::CountsDisagree(format!(
            "{blob} was not read to its end"
        ))),
        None => Ok(()),
    }
}

fn counts_add_up(counted: Counted<'_>) -> Result<(), Refusal> {
    for blob in counted.blobs {
        if blob.records_read != blob.rows_written + blob.records_quarantined {
            let message = format!(
                "{}: {} records are not {} rows and {} quarantined",
                blob.blob, blob.records_read, blob.rows_written, blob.records_quarantined
            );
            return Err(Refusal::CountsDisagree(message));
        }
    }
    let rows: u64 = counted.blobs.iter().map(|blob| blob.rows_written).sum();
    if rows != counted.staged_rows {
        let message = format!(
            "{rows} rows were decoded and {} are in files",
            counted.staged_rows
        );
        return Err(Refusal::CountsDisagree(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use dataset::Snapshot;
    use writer::DuplicateKey;

    use super::*;
    use crate::plan::PlannedBlob;
    use crate::report::QuarantineExample;
    use crate::settings::ByteSize;

    const GATE: Gate = Gate {
        max_quarantined: QuarantineLimit::Percent(1.0),
        max_quarantine_size: ByteSize(1 << 20),
        max_rescued: 0.9,
        min_rows_ratio: 0.5,
        allow_empty: false,
        duplicate_keys: DuplicateKeys::Keep,
    };

    #[test]
    fn a_snapshot_may_be_a_day_ahead_of_the_clock() {
        let of = |generated_time| Snapshot {
            dataset: "devices".to_owned(),
            org_id: "47d41a0c-188d-46d3-bbea-a93dbc0bfcaa".parse().unwrap(),
            generated_time,
        };
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        assert_eq!(is_not_to_come(&of(now + TimeDelta::days(1)), now), Ok(()));
        let later = of(now + TimeDelta::days(1) + TimeDelta::seconds(1));
        let refusal = is_not_to_come(&later, now).unwrap_err().to_string();
        assert!(refusal.contains(later.id().as_str()), "{refusal}");
        assert!(refusal.contains("2024-10-04 00:00 UTC now"), "{refusal}");
    }

    fn blob(name: &str, rows: u64, quarantined: u64) -> BlobReport {
        BlobReport {
            blob: BlobPath::parse(name).unwrap(),
            bytes: 10,
            records_read: rows + quarantined,
            rows_written: rows,
            records_quarantined: quarantined,
            rows_rescued: 0,
        }
    }

    fn checked(
        gate: &Gate,
        blobs: &[BlobReport],
        staged_rows: u64,
        last_rows: Option<u64>,
    ) -> Result<(), Refusal> {
        let snapshot = Snapshot {
            dataset: "x".to_owned(),
            org_id: "47d41a0c-188d-46d3-bbea-a93dbc0bfcaa".parse().unwrap(),
            generated_time: DateTime::UNIX_EPOCH,
        };
        let last = last_rows.map(|rows| LastCommitted {
            snapshot: snapshot.id(),
            rows,
            column_nulls: BTreeMap::new(),
        });
        let planned = ["a", "b"].map(|path| PlannedBlob {
            path: BlobPath::parse(path).unwrap(),
            bytes: None,
        });
        let plan = Plan::new(snapshot, planned.to_vec(), 100, 100).unwrap();
        let reason = |reason: &str, records, line| QuarantineReport {
            reason: reason.to_owned(),
            records,
            example: Some(QuarantineExample {
                blob: "a".to_owned(),
                line,
                message: "what is wrong".to_owned(),
            }),
        };
        let counted = Counted {
            blobs,
            staged_rows,
            quarantined: &[reason("rare", 1, 7), reason("common", 2, 9)],
            duplicates: &Duplicates::default(),
            lost_columns: &[],
        };
        check(gate, &plan, counted, last.as_ref())
    }

    #[test]
    fn keys_that_come_twice_are_kept_or_refused() {
        let duplicates = Duplicates {
            rows: 2,
            examples: vec![DuplicateKey {
                hash: 1,
                rows: 3,
                origins: vec!["a".to_owned(), "b".to_owned()],
            }],
        };
        let counted = Counted {
            blobs: &[],
            staged_rows: 0,
            quarantined: &[],
            duplicates: &duplicates,
            lost_columns: &[],
        };
        let snapshot = Snapshot {
            dataset: "x".to_owned(),
            org_id: "47d41a0c-188d-46d3-bbea-a93dbc0bfcaa".parse().unwrap(),
            generated_time: DateTime::UNIX_EPOCH,
        };
        let plan = Plan::new(snapshot, Vec::new(), 100, 100).unwrap();
        let gate = |duplicate_keys| Gate {
            duplicate_keys,
            allow_empty: true,
            ..GATE
        };
        assert_eq!(
            check(&gate(DuplicateKeys::Keep), &plan, counted, None),
            Ok(())
        );
        let refused = check(&gate(DuplicateKeys::Refuse), &plan, counted, None).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "2 rows have a unique key that another row has, one of them in a and b"
        );
    }

    #[test]
    fn a_whole_snapshot_passes() {
        assert_eq!(
            checked(&GATE, &[blob("a", 3, 0), blob("b", 4, 0)], 7, Some(14)),
            Ok(())
        );
    }

    #[test]
    fn a_missing_or_doubled_blob_is_refused() {
        let disagrees = |blobs: &[BlobReport], rows| {
            assert!(matches!(
                checked(&GATE, blobs, rows, None),
                Err(Refusal::CountsDisagree(_))
            ));
        };
        disagrees(&[blob("a", 3, 0)], 3);
        disagrees(&[blob("a", 3, 0), blob("a", 3, 0)], 6);
        disagrees(&[blob("a", 3, 0), blob("b", 4, 0)], 8);
        disagrees(
            &[
                blob("a", 3, 0),
                BlobReport {
                    records_read: 5,
                    ..blob("b", 4, 0)
                },
            ],
            7,
        );
    }

    #[test]
    fn quarantine_is_refused_beyond_its_number_or_its_share() {
        for (limit, rows, quarantined, passes) in [
            ("1%", 10, 10, true),
            ("1%", 1, 10, true),
            ("1%", 1, 11, false),
            ("1%", 990, 11, false),
            ("1%", 1_089, 11, true),
            ("1%", 999_899, 101, true),
            ("1%", 990_000, 10_000, true),
            ("1%", 990_000, 10_001, false),
            ("7%", 93, 7, true),
            ("7%", 9_300, 700, true),
            ("0%", 1_000_000, 10, true),
            ("0%", 1_000_000, 11, false),
            ("100%", 1, 1_000_000, true),
            ("20", 1_000_000, 20, true),
            ("20", 1_000_000, 21, false),
            ("20", 1, 20, true),
            ("0", 1_000_000, 1, false),
        ] {
            let blobs = [blob("a", rows, quarantined), blob("b", 0, 0)];
            let gate = Gate {
                max_quarantined: limit.parse().unwrap(),
                ..GATE
            };
            let checked = checked(&gate, &blobs, rows, None);
            if passes {
                assert_eq!(checked, Ok(()), "{rows} rows, {quarantined} quarantined");
                continue;
            }
            let refused = checked.unwrap_err().to_string();
            let records = rows + quarantined;
            assert!(
                refused.starts_with(&format!(
                    "{quarantined} of {records} records were quarantined: more than {limit} (gate.max_quarantined)"
                )),
                "{refused}"
            );
            assert!(
                refused.ends_with("; 2 for common, the first in a, line 9: what is wrong"),
                "{refused}"
            );
        }
    }

    #[test]
    fn quarantined_records_are_never_an_empty_snapshot() {
        let lenient = Gate {
            max_quarantined: QuarantineLimit::Percent(100.0),
            min_rows_ratio: 0.0,
            allow_empty: true,
            ..GATE
        };
        for gate in [&GATE, &lenient] {
            let refused = checked(gate, &[blob("a", 0, 3), blob("b", 0, 0)], 0, None).unwrap_err();
            assert_eq!(
                refused.to_string(),
                "all 3 records were quarantined; 2 for common, the first in a, line 9: what is wrong"
            );
            let advice = refused.advice().unwrap();
            assert!(!advice.contains("--allow-empty"), "{advice}");
        }
    }

    #[test]
    fn empty_and_shrunken_snapshots_are_refused_unless_allowed() {
        let empty = [blob("a", 0, 0), blob("b", 0, 0)];
        assert_eq!(checked(&GATE, &empty, 0, None), Err(Refusal::NoRows));
        assert_eq!(
            checked(
                &Gate {
                    allow_empty: true,
                    ..GATE
                },
                &empty,
                0,
                Some(13)
            ),
            Ok(())
        );
        let small = [blob("a", 3, 0), blob("b", 3, 0)];
        assert!(matches!(
            checked(&GATE, &small, 6, Some(13)),
            Err(Refusal::TooFewRows { .. })
        ));
        assert_eq!(
            checked(
                &Gate {
                    min_rows_ratio: 0.0,
                    ..GATE
                },
                &small,
                6,
                Some(13)
            ),
            Ok(())
        );
    }
}
