//! Where blobs come from: the service, with all that expires and breaks hidden, or files on disk.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use dataset::BlobPath;

use crate::blobs::download::{Progress, Transfer};
use crate::blobs::local_files::LocalBlob;
use crate::blobs::spool::Spool;
use crate::blobs::store::BlobStoreClient;
use crate::blobs::url_source::UrlSource;
use crate::error::ExtractorError;

/// Fresh URLs that a blob may ask for without a byte of progress before its error is final.
const MAX_FRUITLESS_URLS: u32 = 2;

/// Fetches blobs, known by their blob path. Cheap to clone.
#[derive(Debug, Clone)]
pub enum BlobSource {
    /// From the blob store, by the signed URLs of a listing.
    Service {
        /// Makes the requests.
        store: BlobStoreClient,
        /// Knows the URLs.
        urls: Arc<UrlSource>,
    },
    /// From disk, read in place.
    Files(Arc<HashMap<String, PathBuf>>),
}

impl BlobSource {
    /// The files that [`crate::discover`] found.
    pub fn files(blobs: &[LocalBlob]) -> Self {
        let by_path = blobs
            .iter()
            .map(|blob| (blob.path.as_str().to_owned(), blob.file.clone()));
        Self::Files(Arc::new(by_path.collect()))
    }

    /// Bytes of the blob's compressed body, by a request of its own; `None` if the blob store does not say. A download needs
    /// none: its own answer says it.
    pub async fn size(&self, blob: &BlobPath) -> Result<Option<u64>, ExtractorError> {
        let (store, urls) = match self {
            Self::Service { store, urls } => (store, urls),
            Self::Files(files) => return Ok(Some(Spool::open(file(files, blob)?)?.len())),
        };
        let mut fruitless = 0;
        loop {
            let current = urls.current(blob).await?;
            match store.size(&current.url).await {
                Ok(size) => return Ok(size),
                Err(error) if fresh_url_helps(&error) && fruitless < MAX_FRUITLESS_URLS => {
                    fruitless += 1;
                    urls.refresh(current.generation).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The blob's compressed body, whole and checked.
    pub async fn fetch(
        &self,
        blob: &BlobPath,
        progress: &Progress<'_>,
    ) -> Result<Spool, ExtractorError> {
        let (store, urls) = match self {
            Self::Service { store, urls } => (store, urls),
            Self::Files(files) => return open(files, blob, progress),
        };
        let mut transfer = Transfer::new(blob, progress);
        let mut fruitless = 0;
        loop {
            let before = transfer.len();
            let current = urls.current(blob).await?;
            match transfer.run(store, &current.url).await {
                Ok(()) => return transfer.finish().await,
                Err(error) if fresh_url_helps(&error) => {
                    fruitless = if transfer.len() > before {
                        0
                    } else {
                        fruitless + 1
                    };
                    if fruitless > MAX_FRUITLESS_URLS {
                        return Err(error);
                    }
                    urls.refresh(current.generation).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Temporary containers are cleaned up: a blob that is gone may be in a fresh listing's container.
fn fresh_url_helps(error: &ExtractorError) -> bool {
    matches!(
        error,
        ExtractorError::UrlExpired { .. } | ExtractorError::BlobMissing { .. }
    )
}

fn open(
    files: &HashMap<String, PathBuf>,
    blob: &BlobPath,
    progress: &Progress<'_>,
) -> Result<Spool, ExtractorError> {
    let spool = Spool::open(file(files, blob)?)?;
    progress(spool.len() as i64);
    Ok(spool)
}

fn file<'a>(
    files: &'a HashMap<String, PathBuf>,
    blob: &BlobPath,
) -> Result<&'a PathBuf, ExtractorError> {
    files
        .get(blob.as_str())
        .ok_or_else(|| ExtractorError::BlobMissing {
            blob: blob.to_string(),
        })
}
