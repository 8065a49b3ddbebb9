//! Fetches blobs, each spooled whole before it is decoded.

use dataset::BlobPath;
use extractor::{BlobSource, Spool};

use crate::error::PipelineError;
use crate::events::{Event, JobObserver};
use crate::plan::SizedBlob;

/// A blob that has arrived.
#[derive(Debug)]
pub(crate) struct FetchedBlob {
    pub(crate) blob: SizedBlob,
    pub(crate) spool: Spool,
}

pub(crate) async fn fetch(
    source: &BlobSource,
    path: BlobPath,
    observer: &JobObserver,
) -> Result<FetchedBlob, PipelineError> {
    let progress = |bytes| observer(Event::BytesRead { bytes });
    let spool = source.fetch(&path, &progress).await?;
    let bytes = spool.len();
    let blob = SizedBlob { path, bytes };
    Ok(FetchedBlob { blob, spool })
}
