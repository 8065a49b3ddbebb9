//! Proves what the lake holds: reads published snapshots back against their manifests.

use std::collections::BTreeSet;

use dataset::SnapshotId;
use serde::Serialize;
use writer::{CurrentSnapshot, Problem, Verifier};

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

/// Which snapshots to read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The latest of each organisation.
    Latest,
    /// All current ones.
    All,
    /// One current one.
    One(SnapshotId),
}

/// Reads published snapshots back.
pub async fn verify(
    resources: &Resources,
    settings: &Settings,
    which: &Which,
) -> Result<Verification, PipelineError> {
    let dataset = &settings.dataset;
    let lake = resources.existing_lake(settings).await?;
    let verifier = Verifier::open(&settings.table(&lake), dataset).await?;
    let current = chosen(verifier.current().to_vec(), which);
    if current.is_empty() {
        let dataset = dataset.name.clone();
        return Err(match which.clone() {
            Which::One(snapshot) => PipelineError::NotPublished { dataset, snapshot },
            Which::Latest | Which::All => PipelineError::NothingPublished { dataset },
        });
    }
    let mut snapshots = Vec::with_capacity(current.len());
    for current in current {
        let Some(manifest) = verifier.manifest(&current).await? else {
            let (dataset, snapshot) = (dataset.name.clone(), current.snapshot);
            return Err(PipelineError::NotPublished { dataset, snapshot });
        };
        let read = verifier.verify(&manifest).await?;
        snapshots.push(VerifiedSnapshot {
            snapshot: current.snapshot,
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

/// In the order of their ids, which is that of their times.
fn chosen(mut current: Vec<CurrentSnapshot>, which: &Which) -> Vec<CurrentSnapshot> {
    current.sort_by(|a, b| b.snapshot.cmp(&a.snapshot));
    match which {
        Which::All => {}
        Which::One(only) => current.retain(|current| current.snapshot == *only),
        Which::Latest => {
            let mut organisations = BTreeSet::new();
            current.retain(|current| organisations.insert(current.org_id.clone()));
        }
    }
    current.reverse();
    current
}
