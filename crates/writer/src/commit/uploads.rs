//! The uploads of a commit, completed or aborted side by side.

use futures::{StreamExt, TryStreamExt, stream};

use crate::error::Result;
use crate::stage::staged_file::StagedFile;
use crate::store::failpoint;
use crate::store::lake::Lake;
use crate::store::leftovers;
use crate::store::upload;

/// Uploads completed or aborted side by side.
const UPLOADS_AT_ONCE: usize = 16;
/// Files for which folders are made at once, on local disk.
const FOLDERS_AT_ONCE: usize = 256;

pub(crate) async fn complete_uploads(lake: &Lake, files: &[StagedFile]) -> Result<()> {
    for files in files.chunks(FOLDERS_AT_ONCE) {
        let files = files.iter().map(|file| (&file.upload, &*file.data.path));
        upload::create_folders(lake, files).await?;
    }
    // Made one by one: of thousands of files, those that are not under way take no memory.
    let completions = files.iter().cloned().map(|file| {
        let lake = lake.clone();
        async move {
            file.upload
                .complete(&lake, &file.data.path, &file.data.sha256)
                .await?;
            failpoint::reached("upload-completed");
            Ok(())
        }
    });
    stream::iter(completions)
        .buffer_unordered(UPLOADS_AT_ONCE)
        .try_collect()
        .await
}

/// Throws staged files away, and the run's staging folder with all in it.
///
/// # Errors
/// What the store answers.
pub async fn abort(lake: &Lake, dataset: &str, run_id: &str, files: &[StagedFile]) -> Result<()> {
    abort_files(lake, files).await?;
    leftovers::clear(lake, dataset, run_id).await
}

/// Throws staged files away, and leaves whatever else the run has staged.
///
/// # Errors
/// What the store answers.
pub async fn abort_files(lake: &Lake, files: &[StagedFile]) -> Result<()> {
    let aborts = files.iter().cloned().map(|file| {
        let lake = lake.clone();
        async move { file.upload.abort(&lake, &file.data.path).await }
    });
    stream::iter(aborts)
        .buffer_unordered(UPLOADS_AT_ONCE)
        .try_collect::<()>()
        .await
}
