//! Fetches the blobs of a segment, each spooled whole before it is decoded.

use dataset::BlobPath;
use extractor::{BlobSource, Spool};

use crate::error::PipelineError;
use crate::events::{Event, JobObserver};
use crate::plan::PlannedBlob;

/// Fetches blobs, one after another.
pub(crate) async fn fetch(
    source: &BlobSource,
    blobs: &[PlannedBlob],
    observer: &JobObserver,
) -> Result<Vec<(PlannedBlob, Spool)>, PipelineError> {
    let progress = |bytes| observer(Event::BytesRead { bytes });
    let mut fetched = Vec::with_capacity(blobs.len());
    for blob in blobs {
        let path = parse_path(blob)?;
        let spool = source.fetch(&path, Some(blob.bytes), &progress).await?;
        fetched.push((blob.clone(), spool));
    }
    Ok(fetched)
}

/// Asks for the sizes of blobs again: whether one of them has changed.
pub(crate) async fn resize<'a>(
    source: &BlobSource,
    blobs: impl Iterator<Item = &'a mut PlannedBlob>,
) -> Result<bool, PipelineError> {
    let mut changed = false;
    for blob in blobs {
        let bytes = source.size(&parse_path(blob)?).await?;
        changed |= bytes != blob.bytes;
        blob.bytes = bytes;
    }
    Ok(changed)
}

fn parse_path(blob: &PlannedBlob) -> Result<BlobPath, PipelineError> {
    BlobPath::parse(&blob.path)
        .map_err(|error| PipelineError::Defect(format!("planned blob: {error}")))
}
