//! Bytes of a file to the store, so that the file stays invisible until it is completed, by this process or another.
//!
//! | store | while open | completed by | aborted by |
//! |---|---|---|---|
//! | S3 | multipart upload | `CompleteMultipartUpload` | `AbortMultipartUpload` |
//! | Azure | uncommitted blocks of the blob | `Put Block List` | nothing: they expire after a week |
//! | both, a file of one part | bytes on this machine's disk | one put | nothing |
//! | local disk | file in the control folder, fsynced | rename, fsync of the new folder | deletion |

use crate::store::leftovers;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::error::{Error, Result};
use crate::store::backend::{Store, blocking};
use crate::store::lake::Lake;
use crate::store::local_disk::LocalDisk;
use crate::store::remote::Remote;
use crate::store::small_files::{SmallFile, SmallFileSpool};

/// Parts of one file in flight; with the one being filled, the memory of an upload is two parts.
const PARTS_IN_FLIGHT: usize = 1;

/// An upload that waits to be completed or aborted. Data, so that another process can do it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OpenUpload {
    /// On S3 and Azure.
    Multipart {
        /// The store's id of the upload; empty on Azure.
        upload_id: String,
        /// The store's ids of the parts, in order.
        parts: Vec<String>,
    },
    /// On S3 and Azure, of a file that is less than a part: it is still to be sent.
    Whole {
        /// The file.
        content: SmallFile,
    },
    /// On local disk.
    File {
        /// Path of the staged file from the lake's root.
        staging_path: String,
    },
}

impl OpenUpload {
    /// Makes the file visible at `path`. Done already is done, whoever did it: a call whose answer was lost, a
    /// process that died after it, or on Azure another run of the snapshot, whose commit of the blob discards
    /// the blocks of all others.
    pub(crate) async fn complete(&self, lake: &Lake, path: &str, sha256: &str) -> Result<()> {
        let completed = match (self, &lake.store) {
            (Self::Multipart { upload_id, parts }, Store::Remote(remote)) => {
                remote.complete_upload(path, upload_id, parts).await
            }
            (Self::Whole { content }, Store::Remote(remote)) => content.put(remote, path).await,
            (Self::File { staging_path }, Store::Local(disk)) => {
                let from = staging_path.clone();
                blocking(disk, "publish", path, move |disk, to| {
                    disk.publish(&from, to)
                })
                .await
            }
            _ => return Err(elsewhere(path)),
        };
        match completed {
            Ok(()) => Ok(()),
            Err(error) => match lake.checksum(path).await {
                Ok(found) if found == sha256 => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Throws the upload away. Gone already is gone.
    pub(crate) async fn abort(&self, lake: &Lake, path: &str) -> Result<()> {
        match (self, &lake.store) {
            (Self::Multipart { upload_id, .. }, Store::Remote(remote)) => {
                remote.abort_upload(path, upload_id).await
            }
            (Self::Whole { .. }, Store::Remote(_)) => Ok(()),
            (Self::File { staging_path }, Store::Local(disk)) => {
                blocking(disk, "delete", staging_path, LocalDisk::delete).await
            }
            _ => Err(elsewhere(path)),
        }
    }
}

/// Makes the folders of files that are about to be completed, where a store has folders: cheaper than one by one. Of each, its
/// upload and its path.
pub(crate) async fn create_folders<'a>(
    lake: &Lake,
    files: impl Iterator<Item = (&'a OpenUpload, &'a str)>,
) -> Result<()> {
    let Store::Local(disk) = &lake.store else {
        return Ok(());
    };
    let moves = files.filter_map(|(upload, path)| match upload {
        OpenUpload::File { staging_path } => Some((staging_path.clone(), path.to_owned())),
        OpenUpload::Multipart { .. } | OpenUpload::Whole { .. } => None,
    });
    let moves: Vec<_> = moves.collect();
    let Some((_, first)) = moves.first().cloned() else {
        return Ok(());
    };
    blocking(disk, "create folders for", &first, move |disk, _| {
        disk.create_folders(&moves)
    })
    .await
}

/// Keeps a file that is less than a part until it is completed. `None`: it is to be uploaded.
pub(crate) async fn keep_whole(
    lake: &Lake,
    spool: &Arc<SmallFileSpool>,
    content: &Bytes,
) -> Result<Option<OpenUpload>> {
    if let Store::Local(_) = &lake.store {
        return Ok(None);
    }
    let kept = spool.keep(content).await?;
    Ok(kept.map(|content| OpenUpload::Whole { content }))
}

fn elsewhere(path: &str) -> Error {
    let message = "its upload was opened in another kind of store".to_owned();
    Error::Malformed {
        path: path.to_owned(),
        message,
    }
}

/// An upload that still takes parts.
#[derive(Debug)]
pub(crate) enum Upload {
    Multipart {
        remote: Remote,
        path: String,
        upload_id: String,
        parts: Vec<String>,
        in_flight: JoinSet<Result<Part>>,
    },
    File {
        disk: LocalDisk,
        path: String,
        file: Arc<File>,
    },
}

/// Index and id of a part that the store has.
type Part = (usize, String);

impl Upload {
    /// Opens an upload of the file at `path`; on local disk its bytes go to `staging_path`.
    pub(crate) async fn open(lake: &Lake, path: &str, staging_path: &str) -> Result<Self> {
        match &lake.store {
            Store::Local(disk) => {
                let file = blocking(disk, "create", staging_path, LocalDisk::create).await?;
                Ok(Self::File {
                    disk: disk.clone(),
                    path: staging_path.to_owned(),
                    file: Arc::new(file),
                })
            }
            Store::Remote(remote) => {
                let upload_id = remote.open_upload(path).await?;
                // Azure's have no id, and expire by themselves.
                if !upload_id.is_empty() {
                    leftovers::note_upload(lake, staging_path, path, &upload_id).await?;
                }
                Ok(Self::Multipart {
                    remote: remote.clone(),
                    path: path.to_owned(),
                    upload_id,
                    parts: Vec::new(),
                    in_flight: JoinSet::new(),
                })
            }
        }
    }

    /// Sends a part; waits while too many are under way.
    pub(crate) async fn send(&mut self, part: Bytes) -> Result<()> {
        match self {
            Self::File { disk, path, file } => {
                let file = file.clone();
                blocking(disk, "write", path, move |_, _| (&*file).write_all(&part)).await
            }
            Self::Multipart {
                remote,
                path,
                upload_id,
                parts,
                in_flight,
            } => {
                while in_flight.len() >= PARTS_IN_FLIGHT {
                    collect(parts, in_flight).await?;
                }
                let index = parts.len();
                parts.push(String::new());
                let (remote, path, upload_id) = (remote.clone(), path.clone(), upload_id.clone());
                in_flight.spawn(async move {
                    Ok((
                        index,
                        remote.upload_part(&path, &upload_id, index, part).await?,
                    ))
                });
                Ok(())
            }
        }
    }

    /// Waits until the store has every part, durably.
    pub(crate) async fn finish(&mut self) -> Result<OpenUpload> {
        match self {
            Self::File { disk, path, file } => {
                let file = file.clone();
                blocking(disk, "write", path, move |_, _| file.sync_all()).await?;
                Ok(OpenUpload::File {
                    staging_path: path.clone(),
                })
            }
            Self::Multipart {
                upload_id,
                parts,
                in_flight,
                ..
            } => {
                while !in_flight.is_empty() {
                    collect(parts, in_flight).await?;
                }
                Ok(OpenUpload::Multipart {
                    upload_id: upload_id.clone(),
                    parts: std::mem::take(parts),
                })
            }
        }
    }

    /// Throws away what was sent.
    pub(crate) async fn abort(self) -> Result<()> {
        match self {
            Self::File { disk, path, file } => {
                drop(file);
                blocking(&disk, "delete", &path, LocalDisk::delete).await
            }
            Self::Multipart {
                remote,
                path,
                upload_id,
                mut in_flight,
                ..
            } => {
                // A part that arrives after the abort would be kept and billed.
                in_flight.shutdown().await;
                remote.abort_upload(&path, &upload_id).await
            }
        }
    }
}

async fn collect(parts: &mut [String], in_flight: &mut JoinSet<Result<Part>>) -> Result<()> {
    if let Some(joined) = in_flight.join_next().await {
        let (index, id) = joined.map_err(|error| Error::task(&error))??;
        if let Some(part) = parts.get_mut(index) {
            *part = id;
        }
    }
    Ok(())
}
