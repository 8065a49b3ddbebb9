//! What a lake holds of quarantined records: which snapshots have some, how many for which reason, and the records themselves.

use std::collections::BTreeMap;

use dataset::SnapshotId;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use writer::{Lake, Latest, Manifest, layout};

use crate::error::PipelineError;
use crate::quarantine::replay::{self, Replayed, reports};
use crate::report::QuarantineReport;
use crate::resources::Resources;
use crate::settings::Settings;
use crate::work::quarantine_file::{self, QuarantineEntry};

/// What a lake holds of one dataset's quarantined records.
#[derive(Debug)]
pub struct Quarantine<'a> {
    resources: &'a Resources,
    settings: &'a Settings,
    lake: Lake,
}

/// The quarantined records of one snapshot.
#[derive(Debug, Clone, Serialize)]
pub struct QuarantinedSnapshot {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Whether it is published; if not, its run failed or was refused, and nothing of it can be replayed.
    pub published: bool,
    /// Number of records, by reason.
    pub reasons: Vec<QuarantineReport>,
    /// The files, from the lake's root.
    pub files: Vec<String>,
}

impl<'a> Quarantine<'a> {
    /// Opens the lake of a pipeline.
    ///
    /// # Errors
    /// [`PipelineError::NothingHere`] where nothing of the dataset is.
    pub async fn open(
        resources: &'a Resources,
        settings: &'a Settings,
    ) -> Result<Self, PipelineError> {
        let lake = resources.existing_lake(settings).await?;
        Ok(Self {
            resources,
            settings,
            lake,
        })
    }

    /// The snapshots that have quarantined records, oldest first; or one of them.
    pub async fn list(
        &self,
        only: Option<&SnapshotId>,
    ) -> Result<Vec<QuarantinedSnapshot>, PipelineError> {
        let dataset = &self.settings.dataset.name;
        let mut files: BTreeMap<SnapshotId, (bool, Vec<String>)> = BTreeMap::new();
        let folder = layout::quarantines(dataset);
        for object in self.lake.list(&folder).await? {
            let rest = object.path.strip_prefix(&folder).unwrap_or_default();
            let id = rest.split('/').nth(1).unwrap_or_default();
            if let Ok(id) = id.parse::<SnapshotId>() {
                files.entry(id).or_default().1.push(object.path);
            }
        }
        // A published snapshot's records are those that its manifest names, whatever else is in its folder.
        for current in Latest::read(&self.lake, dataset).await?.snapshots {
            if let Some(manifest) = Manifest::read_at(&self.lake, &current.manifest).await? {
                files.insert(current.snapshot, (true, manifest.quarantine_files));
            }
        }
        let mut found = Vec::new();
        for (snapshot, (published, files)) in files {
            if files.is_empty() || only.is_some_and(|only| *only != snapshot) {
                continue;
            }
            let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
            for file in &files {
                for record in self.records(file).await? {
                    *reasons.entry(record.reason).or_default() += 1;
                }
            }
            found.push(QuarantinedSnapshot {
                snapshot,
                published,
                reasons: reports(reasons),
                files,
            });
        }
        Ok(found)
    }

    /// The records of one file that [`Quarantine::list`] names.
    pub async fn records(&self, file: &str) -> Result<Vec<QuarantineEntry>, PipelineError> {
        quarantine_file::read(&self.lake, file).await
    }

    /// Decodes the quarantined records of published snapshots again, and adds what passes now to them: oldest first, or one of
    /// them. A snapshot of which nothing passes stays as it is.
    pub async fn replay(
        &self,
        only: Option<&SnapshotId>,
        cancel: &CancellationToken,
    ) -> Result<Vec<Replayed>, PipelineError> {
        replay::replay(self.resources, self.settings, &self.lake, only, cancel).await
    }
}
