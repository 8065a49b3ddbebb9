//! Asks the blob store for sizes, for a plan that nobody runs: a request a blob, and so of some blobs alone if there are many.

use extractor::BlobSource;
use futures::{StreamExt, TryStreamExt, stream};

use crate::error::PipelineError;
use crate::plan::PlannedBlob;

/// The most blobs whose sizes are asked for: a few seconds, and enough for an estimate of all.
const MOST_ASKED: usize = 1_000;
/// Requests at once.
const ASKED_AT_ONCE: usize = 16;

/// The blobs with the sizes that were asked for: of all, or of some spread evenly over them.
pub(crate) async fn sized(
    source: &BlobSource,
    mut blobs: Vec<PlannedBlob>,
) -> Result<Vec<PlannedBlob>, PipelineError> {
    let step = blobs.len().div_ceil(MOST_ASKED).max(1);
    let asked = blobs.iter_mut().step_by(step);
    let answers = asked.filter(|blob| blob.bytes.is_none()).map(async |blob| {
        blob.bytes = source.size(&blob.path).await?;
        Ok::<_, PipelineError>(())
    });
    let answers = stream::iter(answers).buffer_unordered(ASKED_AT_ONCE);
    answers.try_collect::<Vec<()>>().await?;
    Ok(blobs)
}
