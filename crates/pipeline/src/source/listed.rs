//! What a source gives: the blobs of one snapshot.

use chrono::{DateTime, Utc};
use dataset::Snapshot;
use extractor::BlobSource;

use crate::plan::PlannedBlob;

/// The blobs of one snapshot, and how to fetch them.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) snapshot: Snapshot,
    pub(crate) blobs: Vec<PlannedBlob>,
    pub(crate) source: BlobSource,
    /// When the source was asked, by the service's clock where it told, else by this machine's.
    pub(crate) asked_at: DateTime<Utc>,
}
