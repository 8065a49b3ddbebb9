//! Fetches the blobs of a segment, each spooled whole before it is decoded.

use extractor::{BlobSource, Spool};

use crate::error::PipelineError;
use crate::events::{Event, JobObserver};
use crate::plan::{Part, PlannedBlob};

/// Fetches blobs, one after another.
pub(crate) async fn fetch(
    source: &BlobSource,
    blobs: &[PlannedBlob],
    observer: &JobObserver,
) -> Result<Vec<(PlannedBlob, Spool)>, PipelineError> {
    let progress = |bytes| observer(Event::BytesRead { bytes });
    let mut fetched = Vec::with_capacity(blobs.len());
    for blob in blobs {
        let spool = source
            .fetch(&blob.path, Some(blob.bytes), &progress)
            .await?;
        fetched.push((blob.clone(), spool));
    }
    Ok(fetched)
}

/// The part with the sizes that its blobs have now.
pub(crate) async fn resized(source: &BlobSource, mut part: Part) -> Result<Part, PipelineError> {
    for blob in part.segments.iter_mut().flatten() {
        blob.bytes = source.size(&blob.path).await?;
    }
    Ok(part)
}
