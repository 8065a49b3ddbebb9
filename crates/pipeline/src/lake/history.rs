//! The snapshots of a lake: lists them, takes one out, deletes what nothing needs, goes back to an earlier one.

use chrono::Utc;
use dataset::SnapshotId;
use writer::{CurrentSnapshot, KeptSnapshot, RollbackOutcome, VacuumOptions, VacuumReport};

use crate::error::PipelineError;
use crate::resources::Resources;
use crate::run::run_id::new_run_id;
use crate::settings::Settings;

/// A snapshot that was made current again.
#[derive(Debug, Clone)]
pub struct RolledBack {
    /// The snapshot.
    pub current: CurrentSnapshot,
    /// The one whose place it took.
    pub replaced: Option<CurrentSnapshot>,
    /// Whether it was current before.
    pub unchanged: bool,
    /// Why what follows could not be finished, if it could not. The next run finishes it.
    pub unfinished: Option<String>,
}

/// All snapshots that the lake holds of the pipeline's dataset, oldest first.
pub async fn snapshots(
    resources: &Resources,
    settings: &Settings,
) -> Result<Vec<KeptSnapshot>, PipelineError> {
    let lake = resources.existing_lake(settings).await?;
    Ok(writer::snapshots(&settings.table(&lake)).await?)
}

/// Takes a current snapshot out of the table. Its files are kept for as long as those of a replaced one.
pub async fn drop_snapshot(
    resources: &Resources,
    settings: &Settings,
    snapshot: &SnapshotId,
) -> Result<CurrentSnapshot, PipelineError> {
    let lake = resources.existing_lake(settings).await?;
    let dropped = writer::drop_snapshot(&settings.table(&lake), snapshot).await?;
    dropped.ok_or_else(|| PipelineError::NotPublished {
        dataset: settings.dataset.name.clone(),
        snapshot: snapshot.clone(),
    })
}

/// Finds what nothing in the lake holds any more, and deletes it if the options say so.
pub async fn vacuum(
    resources: &Resources,
    settings: &Settings,
    options: VacuumOptions,
) -> Result<VacuumReport, PipelineError> {
    let lake = resources.existing_lake(settings).await?;
    Ok(writer::vacuum(&settings.table(&lake), options).await?)
}

/// Makes a replaced snapshot current again while its files are kept.
pub async fn rollback(
    resources: &Resources,
    settings: &Settings,
    to: &SnapshotId,
) -> Result<RolledBack, PipelineError> {
    let lake = resources.existing_lake(settings).await?;
    let run_id = new_run_id(Utc::now());
    let outcome = writer::rollback(&settings.table(&lake), to, &run_id).await?;
    match outcome {
        RollbackOutcome::RolledBack {
            current,
            replaced,
            followed,
        } => {
            for warning in followed.warnings {
                tracing::warn!("{warning}");
            }
            Ok(RolledBack {
                current,
                replaced,
                unchanged: false,
                unfinished: followed.unfinished,
            })
        }
        RollbackOutcome::Unchanged(current) => Ok(RolledBack {
            current,
            replaced: None,
            unchanged: true,
            unfinished: None,
        }),
        RollbackOutcome::Unknown => Err(PipelineError::NotKept {
            dataset: settings.dataset.name.clone(),
            snapshot: to.clone(),
        }),
        RollbackOutcome::Incomplete { missing } => Err(PipelineError::FilesGone {
            snapshot: to.clone(),
            missing,
        }),
        RollbackOutcome::Conflict { attempts, message } => {
            Err(PipelineError::Conflict { attempts, message })
        }
    }
}
