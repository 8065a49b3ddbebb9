//! What can be done to a pipeline's lake besides publishing: list, vacuum, roll back, verify, read.
//!
//! Needs no source and no plan: the settings say where the lake is, and the writer does the work.

pub(crate) mod history;
pub mod snippet;
pub(crate) mod verify;

use writer::{Lake, layout};

use crate::error::PipelineError;

/// Refuses a lake that has nothing of the dataset, not even what a run leaves that publishes nothing: most often its path is
/// mistyped.
pub(crate) async fn check_exists(lake: &Lake, dataset: &str) -> Result<(), PipelineError> {
    if lake.get(&layout::latest(dataset)).await?.is_some()
        || !lake.list(&layout::control(dataset)).await?.is_empty()
        || !lake.list(&layout::table(dataset)).await?.is_empty()
    {
        return Ok(());
    }
    Err(PipelineError::NothingHere {
        dataset: dataset.to_owned(),
        lake: lake.to_string(),
    })
}
