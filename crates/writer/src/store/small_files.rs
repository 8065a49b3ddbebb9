//! Whole files that wait on local disk for their put: what is smaller than an upload part needs no upload in parts, of four
//! requests, but one request when the commit completes it.
//!
//! All files of a run are in one unnamed temporary file. Nothing of them is in the store before, so that nothing is to be aborted.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::Semaphore;

use crate::error::{Error, Result};
use crate::store::remote::Remote;

/// What a run's files may take on disk, which may be memory. Those beyond are uploaded in parts, as large ones are.
const SPOOL_BYTES: u64 = 256 << 20;
/// What is in memory of files that are being put: more than one file has.
const PUT_BYTES: u32 = 8 << 20;

/// The temporary file of a run's small files. It goes with the last of them.
#[derive(Debug)]
pub struct SmallFileSpool {
    directory: PathBuf,
    limit: u64,
    spooled: Mutex<Option<Spooled>>,
    /// Bytes that may be read back.
    memory: Semaphore,
}

#[derive(Debug)]
struct Spooled {
    file: File,
    bytes: u64,
}

/// A file that waits. Serialised, its bytes are in the record, so that another process can put it.
#[derive(Clone)]
pub struct SmallFile(Content);

#[derive(Clone)]
enum Content {
    Spooled {
        spool: Arc<SmallFileSpool>,
        offset: u64,
        length: u32,
    },
    Here(Bytes),
}

impl SmallFileSpool {
    /// For files in that directory. Nothing is created there before the first.
    pub fn new(directory: &Path) -> Self {
        Self::up_to(SPOOL_BYTES, directory)
    }

    fn up_to(limit: u64, directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            limit,
            spooled: Mutex::new(None),
            memory: Semaphore::new(PUT_BYTES as usize),
        }
    }

    /// Keeps a file, unless it is too large, or there is no more room on disk.
    pub(crate) async fn keep(self: &Arc<Self>, content: &Bytes) -> Result<Option<SmallFile>> {
        let Some(length) = u32::try_from(content.len())
            .ok()
            .filter(|&length| length <= PUT_BYTES)
        else {
            return Ok(None);
        };
        let (spool, bytes) = (Arc::clone(self), content.clone());
        let offset = match on_disk(move || spool.append(&bytes)).await? {
            Ok(offset) => offset,
            Err(error) => {
                let directory = self.directory.display();
                tracing::debug!(%error, %directory, "a small file is uploaded in parts");
                None
            }
        };
        Ok(offset.map(|offset| {
            SmallFile(Content::Spooled {
                spool: Arc::clone(self),
                offset,
                length,
            })
        }))
    }

    fn append(&self, content: &[u8]) -> io::Result<Option<u64>> {
        let mut spooled = self.spooled.lock().unwrap_or_else(PoisonError::into_inner);
        let spooled = match &mut *spooled {
            Some(spooled) => spooled,
            none => none.insert(Spooled {
                file: tempfile::tempfile_in(&self.directory)?,
                bytes: 0,
            }),
        };
        let end = spooled.bytes + content.len() as u64;
        if end > self.limit {
            return Ok(None);
        }
        let offset = spooled.bytes;
        spooled.file.seek(SeekFrom::Start(offset))?;
        spooled.file.write_all(content)?;
        spooled.bytes = end;
        Ok(Some(offset))
    }

    fn read(&self, offset: u64, length: u32) -> io::Result<Bytes> {
        let mut spooled = self.spooled.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(spooled) = &mut *spooled else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let mut content = vec![0; length as usize];
        spooled.file.seek(SeekFrom::Start(offset))?;
        spooled.file.read_exact(&mut content)?;
        Ok(content.into())
    }
}

impl SmallFile {
    /// Puts the file at `path`, in the place of one that may be there.
    pub(crate) async fn put(&self, remote: &Remote, path: &str) -> Result<()> {
        match &self.0 {
            Content::Here(content) => remote.replace(path, content.clone().into()).await,
            Content::Spooled {
                spool,
                offset,
                length,
            } => {
                let _memory = spool.memory.acquire_many(*length).await;
                let (from, offset, length) = (Arc::clone(spool), *offset, *length);
                let content = on_disk(move || from.read(offset, length)).await?;
                let content = content.map_err(|error| {
                    let directory = spool.directory.display().to_string();
                    Error::disk("read a small file back from", &directory, &error)
                })?;
                remote.replace(path, content.into()).await
            }
        }
    }

    fn content(&self) -> io::Result<Bytes> {
        match &self.0 {
            Content::Here(content) => Ok(content.clone()),
            Content::Spooled {
                spool,
                offset,
                length,
            } => spool.read(*offset, *length),
        }
    }
}

async fn on_disk<T: Send + 'static>(operation: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(operation).await;
    done.map_err(|error| Error::task(&error))
}

impl fmt::Debug for SmallFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Content::Spooled { offset, length, .. } => write!(f, "SmallFile({offset}, {length})"),
            Content::Here(content) => write!(f, "SmallFile({})", content.len()),
        }
    }
}

/// The same bytes are the same file.
impl PartialEq for SmallFile {
    fn eq(&self, other: &Self) -> bool {
        matches!((self.content(), other.content()), (Ok(own), Ok(others)) if own == others)
    }
}

impl Eq for SmallFile {}

impl Serialize for SmallFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let content = self.content().map_err(S::Error::custom)?;
        serializer.serialize_str(&BASE64_STANDARD.encode(content))
    }
}

impl<'de> Deserialize<'de> for SmallFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let content = BASE64_STANDARD.decode(text).map_err(D::Error::custom)?;
        Ok(Self(Content::Here(content.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_come_back_until_the_disk_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Arc::new(SmallFileSpool::up_to(10, folder.path()));
        let keep =
            async |text: &'static str| spool.keep(&Bytes::from_static(text.as_bytes())).await;
        let (one, two) = (keep("one").await.unwrap(), keep("two").await.unwrap());
        assert_eq!(keep("three").await.unwrap(), None);
        let four = keep("four").await.unwrap();
        for (file, text) in [(four, "four"), (one, "one"), (two, "two")] {
            assert_eq!(file.unwrap().content().unwrap(), text);
        }
        let absent = SmallFileSpool::new(&folder.path().join("absent"));
        assert_eq!(Arc::new(absent).keep(&Bytes::new()).await.unwrap(), None);
    }
}
