//! Proves what the lake holds: reads published snapshots back against their manifests.

use dataset::SnapshotId;
use serde::Serialize;
use writer::{Latest, Problem, Verifier};

use crate::error::PipelineError;
use crate::resources::Resources;
use crate::settings::Settings;

/// What was proven, snapshot by snapshot.
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// Name of the dataset.
    pub dataset: String,
    /// The snapshots that were read, oldest first.
    pub snapshots: Vec<VerifiedSnapshot>,
}

/// One snapshot, read back.
#[derive(Debug, Clone, Serialize)]
pub struct VerifiedSnapshot {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Files read.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Everything that differs from the manifest or the dataset.
    pub problems: Vec<Problem>,
}

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_proven(&self) -> bool {
        self.snapshots
            .iter()
            .all(|snapshot| snapshot.problems.is_empty())
    }
}

/// Reads one published snapshot back, or all current ones.
pub async fn verify(
    resources: &Resources,
    settings: &Settings,
    only: Option<&SnapshotId>,
) -> Result<Verification, PipelineError> {
    let dataset = &settings.dataset;
    let lake = resources.lake(&settings.lake)?;
    let latest = Latest::read(&lake, &dataset.name).await?;
    let mut current: Vec<SnapshotId> = latest
        .snapshots
        .iter()
        .map(|current| current.snapshot.clone())
        .collect();
    current.sort();
    current.retain(|snapshot| only.is_none_or(|only| only == snapshot));
    if current.is_empty() {
        let dataset = dataset.name.clone();
        return Err(match only.cloned() {
            Some(snapshot) => PipelineError::NotPublished { dataset, snapshot },
            None => PipelineError::NothingPublished { dataset },
        });
    }
    let verifier = Verifier::open(&lake, dataset).await?;
    let mut snapshots = Vec::with_capacity(current.len());
    for snapshot in current {
        let Some(manifest) = writer::read_manifest(&lake, &dataset.name, &snapshot).await? else {
            let dataset = dataset.name.clone();
            return Err(PipelineError::NotPublished { dataset, snapshot });
        };
        let read = verifier.verify(&manifest).await?;
        snapshots.push(VerifiedSnapshot {
            snapshot,
            files: read.files,
            rows: read.rows,
            bytes: read.bytes,
            problems: read.problems,
        });
    }
    Ok(Verification {
        dataset: dataset.name.clone(),
        snapshots,
    })
}
