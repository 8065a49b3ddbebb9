//! A lake in a bucket or a container: object operations below a prefix. Retries are the store client's alone.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};

use crate::error::{Error, Result};
use crate::store::ObjectInfo;

/// A store and the prefix of the lake in it.
#[derive(Clone)]
pub(crate) struct Remote {
    objects: Arc<dyn ObjectStore>,
    multipart: Arc<dyn MultipartStore>,
    prefix: Path,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Remote {
    pub(crate) fn new<S: ObjectStore + MultipartStore>(store: Arc<S>, prefix: Path) -> Self {
        Self {
            objects: store.clone(),
            multipart: store,
            prefix,
        }
    }

    /// A folder of the lake as a store of its own.
    pub(crate) fn folder(&self, path: &str) -> Arc<dyn ObjectStore> {
        Arc::new(PrefixStore::new(self.objects.clone(), self.object(path)))
    }

    fn object(&self, path: &str) -> Path {
        self.prefix
            .parts()
            .chain(Path::from(path).parts())
            .collect()
    }

    fn within_lake(&self, object: &Path) -> Option<String> {
        let parts: Vec<_> = object.prefix_match(&self.prefix)?.collect();
        let names: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        Some(names.join("/"))
    }

    /// An object's content with the version that [`Remote::replace_if`] compares.
    pub(crate) async fn read(&self, path: &str) -> Result<Option<(Bytes, UpdateVersion)>> {
        let failed = |error| Error::store("read", path, &error);
        let answer = match self.objects.get(&self.object(path)).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            answer => answer.map_err(failed)?,
        };
        let version = UpdateVersion {
            e_tag: answer.meta.e_tag.clone(),
            version: answer.meta.version.clone(),
        };
        Ok(Some((answer.bytes().await.map_err(failed)?, version)))
    }

    /// When an object was last written, by the store's clock.
    pub(crate) async fn modified(&self, path: &str) -> Result<Option<DateTime<Utc>>> {
        match self.objects.head(&self.object(path)).await {
            Ok(meta) => Ok(Some(meta.last_modified)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(Error::store("read", path, &error)),
        }
    }

    /// Streams an object into `sink`.
    pub(crate) async fn copy_to(&self, path: &str, sink: &mut impl Write) -> Result<()> {
        let failed = |error| Error::store("read", path, &error);
        let mut chunks = self
            .objects
            .get(&self.object(path))
            .await
            .map_err(failed)?
            .into_stream();
        while let Some(chunk) = chunks.try_next().await.map_err(failed)? {
            sink.write_all(&chunk)
                .map_err(|error| Error::disk("spool", path, &error))?;
        }
        Ok(())
    }

    pub(crate) async fn replace(&self, path: &str, content: PutPayload) -> Result<()> {
        let put = self.objects.put(&self.object(path), content).await;
        put.map(drop)
            .map_err(|error| Error::store("write", path, &error))
    }

    /// Replaces the object if it still has `version`, creates it if that is `None`. False: it has another.
    pub(crate) async fn replace_if(
        &self,
        path: &str,
        content: PutPayload,
        version: Option<UpdateVersion>,
    ) -> Result<bool> {
        let mode = version.map_or(PutMode::Create, PutMode::Update);
        let options = PutOptions {
            mode,
            ..PutOptions::default()
        };
        match self
            .objects
            .put_opts(&self.object(path), content, options)
            .await
        {
            Ok(_) => Ok(true),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => Ok(false),
            Err(error) => Err(Error::store("replace", path, &error)),
        }
    }

    /// Tries on an object that nobody else knows whether puts under a condition are refused when it does not hold.
    pub(crate) async fn probe_conditional_put(&self, path: &str) -> Result<()> {
        let overwritten = |condition: &str| Error::NoConditionalPut {
            path: path.to_owned(),
            message: format!("it overwrote an object in spite of {condition}"),
        };
        let content = |text: &'static str| PutPayload::from(text);
        self.replace_if(path, content("first"), None).await?;
        let Some((_, first)) = self.read(path).await? else {
            return Err(Error::NoConditionalPut {
                path: path.to_owned(),
                message: "an object that was just put is not there".to_owned(),
            });
        };
        if self.replace_if(path, content("second"), None).await? {
            return Err(overwritten("If-None-Match"));
        }
        self.replace_if(path, content("third"), Some(first.clone()))
            .await?;
        if self
            .replace_if(path, content("fourth"), Some(first))
            .await?
        {
            return Err(overwritten("If-Match"));
        }
        Ok(())
    }

    /// Deletes objects; one that is not there is no error.
    pub(crate) async fn delete(&self, paths: &[String]) -> Result<()> {
        let objects: Vec<_> = paths.iter().map(|path| Ok(self.object(path))).collect();
        let mut answers = self.objects.delete_stream(stream::iter(objects).boxed());
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => {
                    let path = paths.first().map_or("", String::as_str);
                    return Err(Error::store("delete", path, &error));
                }
            }
        }
        Ok(())
    }

    /// All objects below a folder, sorted by path.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>> {
        let metas = self.objects.list(Some(&self.object(folder)));
        let infos = metas.try_filter_map(async |meta| {
            let path = self.within_lake(&meta.location);
            Ok(path.map(|path| ObjectInfo {
                path,
                bytes: meta.size,
            }))
        });
        let mut infos: Vec<_> = infos
            .try_collect()
            .await
            .map_err(|error| Error::store("list", folder, &error))?;
        infos.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(infos)
    }

    pub(crate) async fn open_upload(&self, path: &str) -> Result<String> {
        let opened = self.multipart.create_multipart(&self.object(path)).await;
        opened.map_err(|error| Error::store("open upload of", path, &error))
    }

    /// Uploads the part with that index, from 0, and returns its id.
    pub(crate) async fn upload_part(
        &self,
        path: &str,
        upload_id: &str,
        index: usize,
        part: Bytes,
    ) -> Result<String> {
        let id = upload_id.to_owned();
        let uploaded = self
            .multipart
            .put_part(&self.object(path), &id, index, part.into())
            .await;
        uploaded
            .map(|part| part.content_id)
            .map_err(|error| Error::store("upload part of", path, &error))
    }

    pub(crate) async fn complete_upload(
        &self,
        path: &str,
        upload_id: &str,
        parts: &[String],
    ) -> Result<()> {
        let id = upload_id.to_owned();
        let parts = parts
            .iter()
            .map(|part| PartId {
                content_id: part.clone(),
            })
            .collect();
        let completed = self
            .multipart
            .complete_multipart(&self.object(path), &id, parts)
            .await;
        completed
            .map(drop)
            .map_err(|error| Error::store("complete upload of", path, &error))
    }

    /// Aborts an upload; one that is not there is no error.
    pub(crate) async fn abort_upload(&self, path: &str, upload_id: &str) -> Result<()> {
        match self
            .multipart
            .abort_multipart(&self.object(path), &upload_id.to_owned())
            .await
        {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::store("abort upload of", path, &error)),
        }
    }
}
