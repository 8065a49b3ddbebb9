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

use crate::error::{DELETE, Error, REPLACE, Result, shown};
use crate::store::deleter::Deleter;
use crate::store::object::{DOCUMENT_BYTES, ObjectInfo, too_long};
use crate::store::patience::Patience;

/// Objects deleted side by side.
const DELETIONS_AT_ONCE: usize = 32;

/// What became of a put under a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum ConditionalPut {
    /// The object has the new content.
    Done,
    /// The store refused, in these words: mostly since somebody else came first, but it may have other reasons.
    Refused(String),
}

/// A store and the prefix of the lake in it.
#[derive(Clone)]
pub(crate) struct Remote {
    objects: Arc<dyn ObjectStore>,
    multipart: Arc<dyn MultipartStore>,
    prefix: Path,
    /// `None`: `object_store` deletes.
    deleter: Option<Arc<Deleter>>,
    /// In Azure, the storage account, if it is not in the root.
    pub(crate) account: Option<String>,
    pub(crate) patience: Patience,
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
            deleter: None,
            account: None,
            patience: Patience::default(),
        }
    }

    pub(crate) fn of_account(self, account: Option<String>) -> Self {
        Self { account, ..self }
    }

    pub(crate) fn deleting_by(self, deleter: Option<Deleter>) -> Self {
        let deleter = deleter.map(Arc::new);
        Self { deleter, ..self }
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
        let reading = async {
            let answer = match self.objects.get(&self.object(path)).await {
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                answer => answer.map_err(failed)?,
            };
            if answer.meta.size > DOCUMENT_BYTES {
                return Err(Error::Malformed {
                    path: path.to_owned(),
                    message: too_long(),
                });
            }
            let version = UpdateVersion {
                e_tag: answer.meta.e_tag.clone(),
                version: answer.meta.version.clone(),
            };
            Ok(Some((answer.bytes().await.map_err(failed)?, version)))
        };
        self.patience.wait("read", path, reading).await
    }

    /// When an object was last written, by the store's clock.
    pub(crate) async fn modified(&self, path: &str) -> Result<Option<DateTime<Utc>>> {
        let reading = async {
            match self.objects.head(&self.object(path)).await {
                Ok(meta) => Ok(Some(meta.last_modified)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(Error::store("read", path, &error)),
            }
        };
        self.patience.wait("read", path, reading).await
    }

    /// Streams an object into `sink`.
    pub(crate) async fn copy_to(&self, path: &str, sink: &mut impl Write) -> Result<()> {
        let failed = |error| Error::store("read", path, &error);
        let answer = async { self.objects.get(&self.object(path)).await.map_err(failed) };
        let answer = self.patience.wait("read", path, answer).await?;
        let mut chunks = answer.into_stream();
        loop {
            let next = async { chunks.try_next().await.map_err(failed) };
            let Some(chunk) = self.patience.wait("read", path, next).await? else {
                return Ok(());
            };
            sink.write_all(&chunk)
                .map_err(|error| Error::disk("spool", path, &error))?;
        }
    }

    pub(crate) async fn replace(&self, path: &str, content: PutPayload) -> Result<()> {
        let put = async {
            let put = self.objects.put(&self.object(path), content).await;
            put.map(drop)
                .map_err(|error| Error::store("write", path, &error))
        };
        self.patience.wait("write", path, put).await
    }

    /// Replaces the object if it still has `version`, creates it if that is `None`.
    pub(crate) async fn replace_if(
        &self,
        path: &str,
        content: PutPayload,
        version: Option<UpdateVersion>,
    ) -> Result<ConditionalPut> {
        let mode = version.map_or(PutMode::Create, PutMode::Update);
        let options = PutOptions {
            mode,
            ..PutOptions::default()
        };
        let object = self.object(path);
        let put = async {
            match self.objects.put_opts(&object, content, options).await {
                Ok(_) => Ok(ConditionalPut::Done),
                Err(
                    refused @ (object_store::Error::AlreadyExists { .. }
                    | object_store::Error::Precondition { .. }),
                ) => Ok(ConditionalPut::Refused(shown(&refused))),
                Err(error) => Err(Error::store(REPLACE, path, &error)),
            }
        };
        self.patience.wait(REPLACE, path, put).await
    }

    /// Tries on an object that nobody else knows what a run will need, and leaves nothing there.
    pub(crate) async fn probe(&self, path: &str, conditional_put: bool) -> Result<()> {
        // Before there is anything that could not be deleted.
        self.delete_object(path).await?;
        if !conditional_put {
            return Ok(());
        }
        let probed = match self.probe_conditional_put(path).await {
            // Is it for the condition? A put without one tells.
            Err(Error::Store { message, .. } | Error::Rejected { message, .. }) => {
                let plain = self.replace(path, PutPayload::from("plain")).await;
                plain.and_then(|()| {
                    let message = format!("it answers a put under a condition with: {message}");
                    Err(unfit(path, message))
                })
            }
            probed => probed,
        };
        self.delete_object(path).await?;
        probed
    }

    /// Whether puts under a condition are refused when it does not hold.
    async fn probe_conditional_put(&self, path: &str) -> Result<()> {
        let unfit = |message: String| unfit(path, message);
        let overwritten =
            |condition: &str| unfit(format!("it overwrote an object in spite of {condition}"));
        let content = |text: &'static str| PutPayload::from(text);
        let put = async |text, version| self.replace_if(path, content(text), version).await;
        // A put whose answer was lost is tried again by the client, and then refused though it succeeded.
        let must_pass = async |put: ConditionalPut, text: &str, condition: &str| {
            let is = self.read(path).await?;
            match (put, is) {
                (_, Some((is, version))) if is == *text.as_bytes() => Ok(version),
                (ConditionalPut::Refused(why), _) => Err(unfit(format!(
                    "it refused a put with {condition} that holds: {why}"
                ))),
                (ConditionalPut::Done, _) => {
                    Err(unfit("an object that was just put is not there".to_owned()))
                }
            }
        };
        let first = must_pass(put("first", None).await?, "first", "If-None-Match").await?;
        if put("second", None).await? == ConditionalPut::Done {
            return Err(overwritten("If-None-Match"));
        }
        let third = put("third", Some(first.clone())).await?;
        must_pass(third, "third", "If-Match").await?;
        if put("fourth", Some(first)).await? == ConditionalPut::Done {
            return Err(overwritten("If-Match"));
        }
        Ok(())
    }

    /// Deletes objects; one that is not there is no error.
    pub(crate) async fn delete(&self, paths: &[String]) -> Result<()> {
        let deletions = paths.iter().cloned().map(|path| {
            let remote = self.clone();
            async move { remote.delete_object(&path).await }
        });
        stream::iter(deletions)
            .buffer_unordered(DELETIONS_AT_ONCE)
            .try_collect()
            .await
    }

    async fn delete_object(&self, path: &str) -> Result<()> {
        let object = self.object(path);
        let deletion = async {
            let deleted = match &self.deleter {
                Some(deleter) => deleter.delete(&object).await,
                None => self.objects.delete(&object).await,
            };
            match deleted {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(Error::store(DELETE, path, &error)),
            }
        };
        self.patience.wait(DELETE, path, deletion).await
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
        let listing = async {
            let infos = infos.try_collect::<Vec<_>>().await;
            infos.map_err(|error| Error::store("list", folder, &error))
        };
        let mut infos = self.patience.wait("list", folder, listing).await?;
        infos.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(infos)
    }

    pub(crate) async fn open_upload(&self, path: &str) -> Result<String> {
        const ACTION: &str = "open upload of";
        let object = self.object(path);
        let opening = async {
            let opened = self.multipart.create_multipart(&object).await;
            opened.map_err(|error| Error::store(ACTION, path, &error))
        };
        self.patience.wait(ACTION, path, opening).await
    }

    /// Uploads the part with that index, from 0, and returns its id.
    pub(crate) async fn upload_part(
        &self,
        path: &str,
        upload_id: &str,
        index: usize,
        part: Bytes,
    ) -> Result<String> {
        const ACTION: &str = "upload part of";
        let (object, id) = (self.object(path), upload_id.to_owned());
        let upload = async {
            let uploaded = self.multipart.put_part(&object, &id, index, part.into());
            let uploaded = uploaded.await.map(|part| part.content_id);
            uploaded.map_err(|error| Error::store(ACTION, path, &error))
        };
        self.patience.wait(ACTION, path, upload).await
    }

    pub(crate) async fn complete_upload(
        &self,
        path: &str,
        upload_id: &str,
        parts: &[String],
    ) -> Result<()> {
        const ACTION: &str = "complete upload of";
        let (object, id) = (self.object(path), upload_id.to_owned());
        let parts = parts.iter().cloned();
        let parts = parts.map(|content_id| PartId { content_id }).collect();
        let completion = async {
            let completed = self.multipart.complete_multipart(&object, &id, parts);
            let completed = completed.await.map(drop);
            completed.map_err(|error| Error::store(ACTION, path, &error))
        };
        self.patience.wait(ACTION, path, completion).await
    }

    /// Aborts an upload; one that is not there is no error.
    pub(crate) async fn abort_upload(&self, path: &str, upload_id: &str) -> Result<()> {
        const ACTION: &str = "abort upload of";
        let (object, id) = (self.object(path), upload_id.to_owned());
        let abort = async {
            match self.multipart.abort_multipart(&object, &id).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(Error::store(ACTION, path, &error)),
            }
        };
        self.patience.wait(ACTION, path, abort).await
    }
}

fn unfit(path: &str, message: String) -> Error {
    Error::NoConditionalPut {
        path: path.to_owned(),
        message,
    }
}
