//! The lake's store behind one type: a local folder, or a prefix in an S3 bucket or an Azure container.
//!
//! Small objects go in and out whole; Parquet files go through [`crate::StagedFileWriter`]. Paths are those of
//! [`crate::layout`]: from the lake's root, `/` between names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use secrecy::SecretString;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::layout;
use crate::store::backend::{Store, blocking};
use crate::store::document_writer::DocumentWriter;
use crate::store::local_disk::{FileLock, LocalDisk};
use crate::store::object::{ObjectInfo, Version, sha256};
use crate::store::options;
use crate::store::patience::Patience;
use crate::store::remote::ConditionalPut;
use crate::store::sorted_folder::SortedFolder;

/// A place that holds tables and their control documents. Cheap to clone. Prints as its root, without secrets.
#[derive(Clone)]
pub struct Lake {
    shown: String,
    pub(crate) store: Store,
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lake({})", self.shown)
    }
}

impl fmt::Display for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Lake {
    /// Opens the lake at `root`: a path (relative to the working directory), `s3://bucket/prefix`,
    /// `az://container/prefix` or
    /// `abfss://container@account.dfs.core.windows.net/prefix`.
    ///
    /// `options` are the object store's, by its names: `endpoint`, `region`, `access_key_id`, `secret_access_key`,
    /// `account_name`, `account_key`, `allow_http`, `timeout` and so on. Where they hold no credentials, those of the
    /// environment (`AWS_…`, `AZURE_…`) and of the machine's identity are used. Plain `http` is accepted for
    /// loopback only.
    ///
    /// Contacts nothing and creates nothing: a local folder appears with the first write.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a root or an option that cannot be right.
    pub fn open(root: &str, options: &BTreeMap<String, SecretString>) -> Result<Self> {
        let (shown, store) = options::open(root, options)?;
        Ok(Self::new(shown, store))
    }

    pub(crate) fn new(shown: String, store: Store) -> Self {
        Self { shown, store }
    }

    /// The same lake for a program that can be asked to stop: after that a request of the store ends within two seconds, with
    /// [`Error::Stopped`] if there was no answer.
    #[must_use]
    pub fn until(mut self, stop: CancellationToken) -> Self {
        let patience = Patience::until(stop);
        match &mut self.store {
            Store::Local(disk) => disk.patience = patience,
            Store::Remote(remote) => remote.patience = patience,
        }
        self
    }

    pub(crate) fn patience(&self) -> &Patience {
        self.store.patience()
    }

    /// The Azure storage account that options or the environment name, for code that is to find the lake.
    pub fn azure_account(&self) -> Option<&str> {
        match &self.store {
            Store::Local(_) => None,
            Store::Remote(remote) => remote.account.as_deref(),
        }
    }

    /// The local path of an object; `None` if the lake is not on local disk.
    pub fn local_path(&self, path: &str) -> Option<std::path::PathBuf> {
        match &self.store {
            Store::Local(disk) => Some(disk.file(path)),
            Store::Remote(_) => None,
        }
    }

    /// Reads a small object whole; `None` if it is not there.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        Ok(self.get_versioned(path).await?.0)
    }

    /// Writes a small object whole, durably, in place of one that may be there.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn put(&self, path: &str, content: Bytes) -> Result<()> {
        layout::check(path)?;
        match &self.store {
            Store::Local(disk) => {
                blocking(disk, "write", path, move |disk, path| {
                    disk.write(path, layout::folder_of(path), &content)
                })
                .await
            }
            Store::Remote(remote) => remote.replace(path, content.into()).await,
        }
    }

    /// The same of a document that may be long, as JSON on one line.
    pub(crate) async fn put_json(&self, path: &str, document: &impl Serialize) -> Result<()> {
        let mut writer = DocumentWriter::new(&self.store, layout::folder_of(path)).await?;
        writer.push(document, path)?;
        writer.replace(path).await
    }

    /// The same for what a run writes before its commit. On local disk the temporary file is with what the run has staged:
    /// if the run dies, whoever deletes that deletes it too.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn put_in_run(
        &self,
        dataset: &str,
        run_id: &str,
        path: &str,
        content: Bytes,
    ) -> Result<()> {
        let Store::Local(disk) = &self.store else {
            return self.put(path, content).await;
        };
        layout::check(path)?;
        let staging = layout::staging(dataset, run_id);
        blocking(disk, "write", path, move |disk, path| {
            disk.write(path, &staging, &content)
        })
        .await
    }

    /// Whether an object is there.
    pub(crate) async fn exists(&self, path: &str) -> Result<bool> {
        layout::check(path)?;
        match &self.store {
            Store::Local(disk) => blocking(disk, "read", path, LocalDisk::exists).await,
            Store::Remote(remote) => Ok(remote.modified(path).await?.is_some()),
        }
    }

    /// All objects below a folder, sorted by path.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>> {
        layout::check(folder)?;
        match &self.store {
            Store::Local(disk) => blocking(disk, "list", folder, LocalDisk::list).await,
            Store::Remote(remote) => remote.list(folder).await,
        }
    }

    /// Deletes objects; one that is not there is no error.
    ///
    /// # Errors
    /// What the store answers. Some of the objects may then be deleted.
    pub async fn delete(&self, paths: &[String]) -> Result<()> {
        paths.iter().try_for_each(|path| layout::check(path))?;
        match &self.store {
            Store::Local(disk) => {
                for path in paths {
                    blocking(disk, "delete", path, LocalDisk::delete).await?;
                }
                Ok(())
            }
            Store::Remote(remote) => remote.delete(paths).await,
        }
    }

    /// Deletes files of the table, and where a store has folders those that they leave empty: of group and date.
    ///
    /// # Errors
    /// Those of [`Lake::delete`].
    pub(crate) async fn delete_files(&self, paths: &[String]) -> Result<()> {
        self.delete(paths).await?;
        if let Store::Local(disk) = &self.store {
            let folders: BTreeSet<&str> =
                paths.iter().map(|path| layout::folder_of(path)).collect();
            for folder in folders {
                let group_and_date = 2;
                blocking(disk, "delete", folder, move |disk, folder| {
                    disk.delete_empty_folders(folder, group_and_date);
                    Ok(())
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Deletes a folder if it is empty, where a store has folders.
    pub(crate) async fn delete_empty_folder(&self, folder: &str) -> Result<()> {
        let Store::Local(disk) = &self.store else {
            return Ok(());
        };
        blocking(disk, "delete", folder, |disk, folder| {
            disk.delete_empty_folders(folder, 1);
            Ok(())
        })
        .await
    }

    /// Whether a document is being written to one of the folders, or was when its process died. Only on local disk are there
    /// such files.
    pub(crate) async fn has_temporary_files(&self, folders: &[String]) -> Result<bool> {
        if let Store::Local(disk) = &self.store {
            for folder in folders {
                let temporary = blocking(disk, "list", folder, LocalDisk::has_temporary_files);
                if temporary.await? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Deletes what [`Lake::has_temporary_files`] looks for.
    pub(crate) async fn delete_temporary_files(&self, folders: &[String]) -> Result<()> {
        if let Store::Local(disk) = &self.store {
            for folder in folders {
                blocking(disk, "delete", folder, LocalDisk::delete_temporary).await?;
            }
        }
        Ok(())
    }

    /// Reads a small object with the version that [`Lake::compare_and_swap`] compares.
    pub(crate) async fn get_versioned(&self, path: &str) -> Result<(Option<Bytes>, Version)> {
        layout::check(path)?;
        Ok(match &self.store {
            Store::Local(disk) => match blocking(disk, "read", path, LocalDisk::read).await? {
                Some(content) => {
                    let content = Bytes::from(content);
                    (Some(content.clone()), Version::Content(content))
                }
                None => (None, Version::Missing),
            },
            Store::Remote(remote) => match remote.read(path).await? {
                Some((content, tag)) => (Some(content), Version::Tag(tag)),
                None => (None, Version::Missing),
            },
        })
    }

    /// Replaces a small object if it is still as it was read.
    ///
    /// On local disk the caller holds the commit lock, which every writer of these objects takes.
    pub(crate) async fn compare_and_swap(
        &self,
        path: &str,
        seen: &Version,
        content: Bytes,
    ) -> Result<ConditionalPut> {
        layout::check(path)?;
        match (&self.store, seen) {
            (Store::Local(_), seen) => {
                let unchanged = match (self.get(path).await?, seen) {
                    (None, Version::Missing) => true,
                    (Some(now), Version::Content(then)) => now == *then,
                    _ => false,
                };
                if !unchanged {
                    let why = "it changed since it was read".to_owned();
                    return Ok(ConditionalPut::Refused(why));
                }
                self.put(path, content).await?;
                Ok(ConditionalPut::Done)
            }
            (Store::Remote(remote), Version::Tag(tag)) => {
                let tag = Some(tag.clone());
                remote.replace_if(path, content.into(), tag).await
            }
            (Store::Remote(remote), _) => remote.replace_if(path, content.into(), None).await,
        }
    }

    /// Tries on the object at `path`, which is not there, what a run will need of the store: to delete and, unless there is a
    /// single writer, not to overwrite what a condition protects. Local disk is tried by a run that has its lock.
    pub(crate) async fn probe(&self, path: &str, single_writer: bool) -> Result<()> {
        layout::check(path)?;
        match &self.store {
            Store::Local(_) => Ok(()),
            Store::Remote(remote) => remote.probe(path, !single_writer).await,
        }
    }

    /// Copies an object into an unnamed temporary file, which stands at its end afterwards.
    pub(crate) async fn spool(&self, path: &str) -> Result<File> {
        layout::check(path)?;
        let mut file = tempfile::tempfile().map_err(|error| Error::disk("spool", path, &error))?;
        match &self.store {
            Store::Local(disk) => {
                blocking(disk, "read", path, move |disk, path| {
                    io::copy(&mut disk.open(path)?, &mut file)?;
                    Ok(file)
                })
                .await
            }
            Store::Remote(remote) => {
                remote.copy_to(path, &mut file).await?;
                Ok(file)
            }
        }
    }

    /// The store rooted at a table's folder, with sorted listings, for its log. On local disk the folder is created, and that of the
    /// log must not lead out of the lake.
    pub(crate) async fn objects(&self, dataset: &str) -> Result<Arc<dyn ObjectStore>> {
        let table = layout::table(dataset);
        Ok(match &self.store {
            Store::Local(disk) => {
                let (log, dataset) = (layout::delta_log(dataset), dataset.to_owned());
                let opened = blocking(disk, "open", &log, move |disk, log| {
                    disk.create_folder(&table)?;
                    disk.check_folder(log)?;
                    Ok(SortedFolder::new(disk, &dataset))
                });
                Arc::new(opened.await?)
            }
            Store::Remote(remote) => remote.folder(&table),
        })
    }

    /// Reads an object to its end for its hexadecimal SHA-256.
    pub(crate) async fn checksum(&self, path: &str) -> Result<String> {
        let mut file = self.spool(path).await?;
        let hashed = tokio::task::spawn_blocking(move || sha256(&mut file)).await;
        let hashed = hashed.map_err(|error| Error::task(&error))?;
        hashed
            .map(|(sha256, _)| sha256)
            .map_err(|error| Error::disk("spool", path, &error))
    }

    /// On local disk, waits until no other commit to the dataset runs and keeps others out; elsewhere nothing. A single writer
    /// needs no locks from the file system.
    pub(crate) async fn lock_commits(
        &self,
        dataset: &str,
        single_writer: bool,
    ) -> Result<Option<FileLock>> {
        match &self.store {
            Store::Local(disk) => {
                let path = layout::commit_lock(dataset);
                let lock = blocking(disk, "lock", &path, move |disk, path| {
                    disk.lock(path, single_writer)
                });
                lock.await.map(Some)
            }
            Store::Remote(_) => Ok(None),
        }
    }
}
