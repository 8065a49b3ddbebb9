//! Finds the blobs of the one snapshot that a run is for, from whichever source the settings name.

use crate::error::PipelineError;
use crate::events::JobObserver;
use crate::resources::Resources;
use crate::settings::{Settings, SourceKind};
use crate::source::api::list_api;
use crate::source::files::list_files;
use crate::source::listed::Listed;

/// Finds the snapshot and its blobs. Reports waits, then and whenever the source lists again.
pub(crate) async fn list_source(
    resources: &Resources,
    settings: &Settings,
    observer: &JobObserver,
) -> Result<Listed, PipelineError> {
    match &settings.source.from {
        SourceKind::Api(api) => list_api(resources, settings, api, observer).await,
        SourceKind::Files(pattern) => list_files(settings, pattern),
        SourceKind::Unresolved => Err(PipelineError::SourceUnresolved),
    }
}
