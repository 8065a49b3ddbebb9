//! What a snapshot must fulfil before it becomes the lake's state. Looks at counts only, and changes nothing.

use std::collections::BTreeMap;

use dataset::SnapshotId;
use thiserror::Error;

use crate::plan::Plan;
use crate::report::{BlobReport, DuplicateKeyReport};
use crate::settings::{DuplicateKeys, Gate};
use crate::unique_key::Duplicates;

/// Why a snapshot may not be published.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Refusal {
    /// The service listed no blob.
    #[error("the listing is empty: the service has no data yet")]
    EmptyListing,
    /// The service listed no blob, and that may be published, but nothing says of what.
    #[error("the listing is empty, and nothing says {what} it is of")]
    EmptyListingOfUnknown {
        /// `which organisation` or `which time`.
        what: &'static str,
    },
    /// No blob had a row.
    #[error("the snapshot has no rows")]
    NoRows,
    /// Too many records were set aside: more than both limits allow.
    #[error(
        "{quarantined} of {records} records were quarantined: more than {max} and more than {}%", max_share * 100.0
    )]
    TooManyQuarantined {
        /// Records set aside.
        quarantined: u64,
        /// Records read.
        records: u64,
        /// The limit in records.
        max: u64,
        /// The limit as a share.
        max_share: f64,
    },
    /// The snapshot is much smaller than the last one.
    #[error("{rows} rows are less than {min_ratio} of the {before} rows of snapshot {last}")]
    TooFewRows {
        /// Rows of this snapshot.
        rows: u64,
        /// Rows of the last committed one.
        before: u64,
        /// The last committed one.
        last: SnapshotId,
        /// The least ratio.
        min_ratio: f64,
    },
    /// Rows share a unique key, and the settings refuse that.
    #[error(
        "{rows} rows have a unique key that another row has{}",
        in_blobs(examples)
    )]
    DuplicateKeys {
        /// Rows beside the first of each key.
        rows: u64,
        /// A few of the keys.
        examples: Vec<DuplicateKeyReport>,
    },
    /// The lake holds a later snapshot.
    #[error("the lake holds the later snapshot {current}")]
    OlderThanCurrent {
        /// The later one.
        current: SnapshotId,
    },
    /// A planned blob was not read to its end, or counts do not add up: a defect, caught before it could do harm.
    #[error("counts do not add up: {0}")]
    CountsDisagree(String),
}

fn in_blobs(examples: &[DuplicateKeyReport]) -> String {
    examples.first().map_or_else(String::new, |example| {
        format!(", one of them in {}", example.blobs.join(" and "))
    })
}

impl Refusal {
    pub(crate) fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::EmptyListing => {
                "run again later: the service builds snapshots on its own schedule; --allow-empty publishes an empty one"
            }
            Self::EmptyListingOfUnknown { .. } => {
                "give --org-id and --generated-time to publish an empty snapshot"
            }
            Self::NoRows => "use --allow-empty if an empty snapshot is right",
            Self::DuplicateKeys { .. } => {
                "set gate.duplicate_keys = \"keep\" to publish all rows; the blobs' paths tell the device groups"
            }
            Self::TooManyQuarantined { .. } => {
                "look at the quarantine folder for lines and reasons; raise gate.max_quarantined or gate.max_quarantined_share to publish all the same"
            }
            Self::TooFewRows { .. } => {
                "use --accept-shrink if the organisation did shrink, or lower gate.min_rows_ratio"
            }
            Self::OlderThanCurrent { .. } => "use --backfill to put a past snapshot in its place",
            Self::CountsDisagree(_) => return None,
        })
    }
}

/// What was counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted<'a> {
    /// Of each blob.
    pub(crate) blobs: &'a [BlobReport],
    /// Rows in the staged files.
    pub(crate) staged_rows: u64,
    /// Unique keys that come more than once.
    pub(crate) duplicates: &'a Duplicates,
}

/// The last committed snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Last {
    pub(crate) snapshot: SnapshotId,
    pub(crate) rows: u64,
}

/// Checks all conditions; the first that is not met refuses the snapshot.
pub(crate) fn check(
    gate: &Gate,
    plan: &Plan,
    counted: Counted<'_>,
    last: Option<&Last>,
) -> Result<(), Refusal> {
    every_blob_was_read(plan, counted.blobs)?;
    counts_add_up(counted)?;
    let records: u64 = counted.blobs.iter().map(|blob| blob.records_read).sum();
    let quarantined: u64 = counted
        .blobs
        .iter()
        .map(|blob| blob.records_quarantined)
        .sum();
    let share = quarantined as f64 / records.max(1) as f64;
    if quarantined > gate.max_quarantined && share > gate.max_quarantined_share {
        return Err(Refusal::TooManyQuarantined {
            quarantined,
            records,
            max: gate.max_quarantined,
            max_share: gate.max_quarantined_share,
        });
    }
    let rows = counted.staged_rows;
    if rows == 0 && !gate.allow_empty {
        return Err(Refusal::NoRows);
    }
    if counted.duplicates.rows > 0 && gate.duplicate_keys == DuplicateKeys::Refuse {
        return Err(Refusal::DuplicateKeys {
            rows: counted.duplicates.rows,
            examples: counted.duplicates.examples.clone(),
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

fn every_blob_was_read(plan: &Plan, blobs: &[BlobReport]) -> Result<(), Refusal> {
    let mut unread: BTreeMap<&str, u64> = plan
        .blobs()
        .map(|blob| (blob.path.as_str(), blob.bytes))
        .collect();
    for blob in blobs {
        match unread.remove(blob.blob.as_str()) {
            Some(bytes) if bytes == blob.bytes => {}
            Some(bytes) => {
                let message = format!(
                    "{} has {bytes} bytes and {} were read",
                    blob.blob, blob.bytes
                );
                return Err(Refusal::CountsDisagree(message));
            }
            None => {
                let message = format!("{} was read twice or was not planned", blob.blob);
                return Err(Refusal::CountsDisagree(message));
            }
        }
    }
    match unread.keys().next() {
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

    use super::*;
    use crate::plan::PlannedBlob;

    const GATE: Gate = Gate {
        max_quarantined_share: 0.01,
        max_quarantined: 2,
        min_rows_ratio: 0.5,
        allow_empty: false,
        duplicate_keys: DuplicateKeys::Keep,
    };

    fn blob(name: &str, rows: u64, quarantined: u64) -> BlobReport {
        BlobReport {
            blob: name.to_owned(),
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
        let last = last_rows.map(|rows| Last {
            snapshot: snapshot.id(),
            rows,
        });
        let planned = ["a", "b"].map(|path| PlannedBlob {
            path: path.to_owned(),
            bytes: 10,
            rbac_group_id: None,
        });
        let plan = Plan::new(snapshot, planned.to_vec(), 100, 100).unwrap();
        let counted = Counted {
            blobs,
            staged_rows,
            duplicates: &Duplicates::default(),
        };
        check(gate, &plan, counted, last.as_ref())
    }

    #[test]
    fn keys_that_come_twice_are_kept_or_refused() {
        let duplicates = Duplicates {
            rows: 2,
            examples: vec![DuplicateKeyReport {
                rows: 3,
                blobs: vec!["a".to_owned(), "b".to_owned()],
            }],
        };
        let counted = Counted {
            blobs: &[],
            staged_rows: 0,
            duplicates: &duplicates,
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
    fn a_missing_doubled_or_short_blob_is_refused() {
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
                    bytes: 9,
                    ..blob("b", 4, 0)
                },
            ],
            7,
        );
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
    fn quarantine_is_refused_beyond_both_limits_only() {
        assert_eq!(
            checked(&GATE, &[blob("a", 1, 1), blob("b", 1, 1)], 2, None),
            Ok(())
        );
        assert_eq!(
            checked(&GATE, &[blob("a", 1000, 3), blob("b", 0, 0)], 1000, None),
            Ok(())
        );
        let refused = checked(&GATE, &[blob("a", 1, 2), blob("b", 1, 1)], 2, None);
        assert!(matches!(
            refused,
            Err(Refusal::TooManyQuarantined {
                quarantined: 3,
                records: 5,
                ..
            })
        ));
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
