//! The store as the Delta log uses it: rooted at a table's folder, with puts that never overwrite.
//!
//! | lake | a log entry is created by |
//! |---|---|
//! | S3, Azure | the store's own conditional put |
//! | S3 without conditional put, single writer | a look whether it is there, then a plain put |
//! | local disk | a temporary file, fsync, hard link, fsync of the folder |

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result,
};

use crate::local_disk::LocalDisk;

/// How an object is put where none may be.
#[derive(Debug)]
pub(crate) enum Creation {
    /// By the store.
    Conditional,
    /// By this process alone.
    SingleWriter,
    /// On this disk, in this folder of it, by way of a temporary file in the second folder.
    Disk(LocalDisk, String, String),
}

/// A table's folder in a store.
#[derive(Debug)]
pub(crate) struct LogObjects {
    pub(crate) folder: Arc<dyn ObjectStore>,
    pub(crate) creation: Creation,
}

impl fmt::Display for LogObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogObjects({})", self.folder)
    }
}

impl LogObjects {
    async fn create(&self, location: &Path, payload: PutPayload) -> Result<PutResult> {
        let exists = || Error::AlreadyExists {
            path: location.to_string(),
            source: "the object is there".into(),
        };
        match &self.creation {
            Creation::Conditional => {
                let options = PutMode::Create.into();
                self.folder.put_opts(location, payload, options).await
            }
            Creation::SingleWriter => match self.folder.head(location).await {
                Ok(_) => Err(exists()),
                Err(Error::NotFound { .. }) => self.folder.put(location, payload).await,
                Err(error) => Err(error),
            },
            Creation::Disk(disk, folder, temporary) => {
                let (disk, temporary) = (disk.clone(), temporary.clone());
                let path = format!("{folder}/{location}");
                let created = tokio::task::spawn_blocking(move || {
                    disk.create_new(&path, &temporary, &payload)
                });
                let created = created
                    .await
                    .map_err(|source| Error::JoinError { source })?;
                match created {
                    Ok(true) => Ok(PutResult {
                        e_tag: None,
                        version: None,
                    }),
                    Ok(false) => Err(exists()),
                    Err(error) => Err(Error::Generic {
                        store: "local disk",
                        source: error.into(),
                    }),
                }
            }
        }
    }

    /// Delta's kernel takes listings for sorted, which a folder's is not.
    fn sorted(
        &self,
        listing: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        if !matches!(self.creation, Creation::Disk(..)) {
            return listing;
        }
        let sorted = async {
            let mut metas: Vec<_> = listing.try_collect().await?;
            metas.sort_by(|a: &ObjectMeta, b| a.location.cmp(&b.location));
            Ok::<_, Error>(stream::iter(metas.into_iter().map(Ok)))
        };
        stream::once(sorted).try_flatten().boxed()
    }
}

#[async_trait]
impl ObjectStore for LogObjects {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if matches!(options.mode, PutMode::Create) {
            self.create(location, payload).await
        } else {
            self.folder.put_opts(location, payload, options).await
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.folder.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.folder.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.folder.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.sorted(self.folder.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.sorted(self.folder.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.folder.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.folder.copy_opts(from, to, options).await
    }
}
