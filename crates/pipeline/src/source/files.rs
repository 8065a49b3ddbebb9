//! Files on disk as a source: those that match a pattern, and the one snapshot among them that was chosen.

use std::collections::BTreeMap;

use chrono::Utc;
use extractor::{BlobSource, discover};

use crate::error::PipelineError;
use crate::plan::PlannedBlob;
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::source::listed::Listed;
use crate::source::snapshots::{by_snapshot, ids};

/// Looks for the files of one snapshot.
pub(super) fn list_files(settings: &Settings, pattern: &str) -> Result<Listed, PipelineError> {
    let mut files = discover(pattern)?;
    if settings.source.passes_over_others {
        let own = settings.dataset.export_name.as_str();
        files.retain(|file| file.path.export_name().is_none_or(|name| name == own));
    }
    let source = BlobSource::files(&files);
    let sizes: BTreeMap<&str, u64> = files
        .iter()
        .map(|file| (file.path.as_str(), file.size))
        .collect();
    let snapshots = by_snapshot(settings, files.iter().map(|file| file.path.clone()), None)?;
    let found = ids(&snapshots);
    let chosen = match &settings.source.snapshot {
        Some(wanted) => snapshots
            .into_iter()
            .find(|(snapshot, _)| snapshot.id() == *wanted),
        None if snapshots.len() > 1 => return Err(PipelineError::SeveralSnapshots { found }),
        None => snapshots.into_iter().next(),
    };
    match (chosen, &settings.source.snapshot) {
        (Some((snapshot, paths)), _) => {
            let blobs = paths.iter().map(|path| PlannedBlob {
                path: path.clone(),
                bytes: sizes.get(path.as_str()).copied(),
            });
            Ok(Listed {
                snapshot,
                blobs: blobs.collect(),
                source,
                asked_at: Utc::now(),
            })
        }
        (None, Some(wanted)) => Err(PipelineError::SnapshotNotFound {
            wanted: wanted.clone(),
            found,
        }),
        (None, None) => Err(Refusal::EmptyListing.into()),
    }
}
