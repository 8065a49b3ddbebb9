//! Why a snapshot may not be published, and what its user can do about it. Below the stages that refuse, and the error.

use std::fmt;

use chrono::{DateTime, Utc};
use dataset::SnapshotId;
use thiserror::Error;

use crate::report::{DuplicateKeyReport, QuarantineReport};
use crate::settings::{ByteSize, QuarantineLimit};

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
    /// No blob had a record.
    #[error("the snapshot has no rows")]
    NoRows,
    /// There were records, and none of them is a row. No setting lets that pass.
    #[error("all {records} records were quarantined{}", example_of(commonest.as_ref()))]
    AllQuarantined {
        /// Records read.
        records: u64,
        /// The reason that most of them have.
        commonest: Option<QuarantineReport>,
    },
    /// More records were quarantined than the settings allow.
    #[error(
        "{quarantined} of {records} records were quarantined: more than {limit} (gate.max_quarantined){}",
        example_of(commonest.as_ref())
    )]
    TooManyQuarantined {
        /// Records quarantined.
        quarantined: u64,
        /// Records read.
        records: u64,
        /// The limit.
        limit: QuarantineLimit,
        /// The reason that most of them have.
        commonest: Option<QuarantineReport>,
    },
    /// The run has quarantined more than the settings allow to keep.
    #[error(
        "the quarantined records take more than {limit} (gate.max_quarantine_size), and the run stopped; the last is one for {reason}, in {blob}, line {line}"
    )]
    QuarantineFull {
        /// The limit.
        limit: ByteSize,
        /// Why the last record was quarantined.
        reason: String,
        /// Its blob.
        blob: String,
        /// Its line there.
        line: u64,
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
    /// A column lost the values that it had in the last snapshot.
    #[error("column {column}: more than {} of the rows (gate.max_rescued)", percent(*limit))]
    LostColumn {
        /// The one that lost most.
        column: Box<LostColumn>,
        /// The limit, a share of the rows.
        limit: f64,
    },
    /// The lake holds a later snapshot.
    #[error("the lake holds the later snapshot {current}")]
    OlderThanCurrent {
        /// The later one.
        current: SnapshotId,
    },
    /// The snapshot's time is more than a day ahead.
    #[error("snapshot {snapshot} is of the future: it is {} now", now.format("%Y-%m-%d %H:%M UTC"))]
    ToCome {
        /// The snapshot.
        snapshot: SnapshotId,
        /// The time, by the service's clock where it told.
        now: DateTime<Utc>,
    },
    /// A planned blob was not read to its end, or counts do not add up: a defect, caught before it could do harm.
    #[error("counts do not add up: {0}")]
    CountsDisagree(String),
}

/// A column that has fewer values than rows, and had more in the last snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostColumn {
    /// Its name.
    pub column: String,
    /// Its wire paths, joined with `or`.
    pub wire: String,
    /// Rows without a value.
    pub nulls: u64,
    /// All rows.
    pub rows: u64,
    /// The percentage of rows without a value in the last snapshot, if there is one.
    pub nulls_before: Option<u64>,
    /// Rows with a value of another type.
    pub misfits: u64,
    /// An unnamed key beside it that came in most rows: perhaps its new name.
    pub beside: Option<String>,
}

impl fmt::Display for LostColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { column, wire, .. } = self;
        write!(
            f,
            "{column} is null in {} of {} rows",
            self.nulls, self.rows
        )?;
        if let Some(before) = self.nulls_before {
            write!(f, ", in {before}% of those of the last snapshot")?;
        }
        match self.misfits {
            0 => write!(f, "; {wire} is missing or null there")?,
            misfits => write!(f, "; {misfits} values of {wire} do not fit its type")?,
        }
        match &self.beside {
            Some(key) => write!(f, ", and the unknown key {key} came"),
            None => Ok(()),
        }
    }
}

fn example_of(commonest: Option<&QuarantineReport>) -> String {
    let Some(commonest) = commonest else {
        return String::new();
    };
    let (records, reason) = (commonest.records, &commonest.reason);
    let example = commonest
        .example
        .as_ref()
        .map_or_else(String::new, |first| {
            let (blob, line, message) = (&first.blob, first.line, &first.message);
            format!(", the first in {blob}, line {line}: {message}")
        });
    format!("; {records} for {reason}{example}")
}

fn percent(share: f64) -> String {
    format!("{}%", share * 100.0)
}

fn in_blobs(examples: &[DuplicateKeyReport]) -> String {
    examples.first().map_or_else(String::new, |example| {
        format!(", one of them in {}", example.blobs.join(" and "))
    })
}

/// What to do about the reason that most quarantined records have, where there is more to say than to look at them.
fn advice_on(commonest: Option<&QuarantineReport>) -> Option<&'static str> {
    match commonest?.reason.as_str() {
        "missing_partition" => Some(
            "set source.rbac_group_id to the device group of records without one, and run again; records of a published snapshot join it by `defender-lake quarantine replay`",
        ),
        "missing_key" | "missing_value" => Some(
            "`defender-lake quarantine show` prints the records; if the service renamed the key, add its new name to the column's `wire` in a schema file (`schema = \"...\"`)",
        ),
        _ => None,
    }
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
            Self::TooManyQuarantined { commonest, .. } => advice_on(commonest.as_ref()).unwrap_or(
                "`defender-lake quarantine show` prints the records and reasons; raise gate.max_quarantined to publish all the same",
            ),
            Self::AllQuarantined { commonest, .. } => advice_on(commonest.as_ref()).unwrap_or(
                "`defender-lake quarantine show` prints the records and reasons; if the service changed its form, correct the schema file (`schema = \"...\"`)",
            ),
            Self::QuarantineFull { .. } => {
                "`defender-lake quarantine show` prints the records that were kept; raise gate.max_quarantine_size if they are to be published and kept"
            }
            Self::TooFewRows { .. } => {
                "use --accept-shrink if the organisation did shrink, or lower gate.min_rows_ratio"
            }
            Self::LostColumn { .. } => {
                "if the service renamed the key, add its new name to the column's `wire` in a schema file (`schema = \"...\"`); if the values are gone for good, publish once with `--set gate.max_rescued=1`"
            }
            Self::OlderThanCurrent { .. } => "use --backfill to put a past snapshot in its place",
            Self::ToCome { .. } => {
                "compare the generatedTime of the listing, or the date in the blobs' paths, with the clocks of the service and of this machine"
            }
            Self::CountsDisagree(_) => return None,
        })
    }
}
