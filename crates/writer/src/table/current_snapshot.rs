//! What the pointer says of one snapshot that is current.

use chrono::{DateTime, NaiveDate, Utc};
use dataset::{OrgId, Snapshot, SnapshotId};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout;
use crate::table::manifest::Manifest;

/// The snapshot that is current for its organisation and date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentSnapshot {
    /// Id of the snapshot.
    pub snapshot: SnapshotId,
    /// The organisation.
    pub org_id: OrgId,
    /// UTC date of the generated time.
    pub generated_date: NaiveDate,
    /// When the service generated it.
    pub generated_time: DateTime<Utc>,
    /// Path of its manifest from the lake's root.
    pub manifest: String,
    /// The run that committed it.
    pub run_id: String,
    /// Rows of all its files.
    pub rows: u64,
    /// Number of its files.
    pub files: u64,
    /// The latest snapshot of its date that a rollback displaced for this one. Neither it nor an earlier one is published
    /// again unless a user asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<SnapshotId>,
}

impl CurrentSnapshot {
    /// What a rollback to snapshot `to` displaces, if this is the current one of its date.
    pub(crate) fn displaced_by_rollback(&self, to: &SnapshotId) -> Option<SnapshotId> {
        let displaced = self.rolled_back.iter().chain([&self.snapshot]).max();
        displaced.filter(|displaced| *displaced > to).cloned()
    }

    /// What stays displaced when snapshot `by` takes the place of this one without a rollback.
    pub(crate) fn still_displaced(&self, by: &SnapshotId) -> Option<SnapshotId> {
        self.rolled_back.clone().filter(|displaced| displaced > by)
    }
}

impl From<&Manifest> for CurrentSnapshot {
    fn from(manifest: &Manifest) -> Self {
        let identity: Snapshot = manifest.identity();
        Self {
            snapshot: manifest.snapshot.clone(),
            org_id: manifest.org_id.clone(),
            generated_date: identity.generated_date(),
            generated_time: manifest.generated_time,
            manifest: manifest.path(),
            run_id: manifest.run_id.clone(),
            rows: manifest.rows,
            files: manifest.files.len() as u64,
            rolled_back: None,
        }
    }
}

/// What there is one current snapshot of.
pub(crate) fn place(current: &CurrentSnapshot) -> (OrgId, NaiveDate) {
    (current.org_id.clone(), current.generated_date)
}

/// Refuses a document of another dataset, and one that names a manifest which the layout does not make.
pub(crate) fn check_manifests<'a>(
    dataset: &str,
    found: &str,
    named: impl IntoIterator<Item = &'a CurrentSnapshot>,
    path: &str,
) -> Result<()> {
    let is_foreign =
        |named: &&CurrentSnapshot| !layout::is_manifest(dataset, &named.snapshot, &named.manifest);
    let message = match named.into_iter().find(is_foreign) {
        None if found == dataset => return Ok(()),
        None => format!("it is of dataset `{found}`"),
        Some(foreign) => format!(
            "`{}` is no manifest of snapshot {}",
            foreign.manifest, foreign.snapshot
        ),
    };
    Err(Error::Malformed {
        path: path.to_owned(),
        message,
    })
}
