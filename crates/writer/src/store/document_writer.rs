//! A document on its way into the lake, with no place there yet: JSON values, a line each, or whatever is written into it.
//!
//! What lists thousands of files takes megabytes. On local disk they go into a temporary file as they come; a store
//! takes an object at once, so that its pieces wait in memory.

use std::io::{self, BufWriter, Write};

use object_store::PutPayloadMut;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::layout;
use crate::store::backend::{Store, blocking};
use crate::store::document::malformed;
use crate::store::folder::TemporaryFile;
use crate::store::local_disk::LocalDisk;
use crate::store::remote::{ConditionalPut, Remote};

/// Size of the pieces: small ones leave no holes in memory that nothing else fits in.
const PIECE_BYTES: usize = 32 << 10;

/// A document that is being written down. Dropped, it leaves nothing behind.
pub(crate) struct DocumentWriter {
    kept: Kept,
    bytes: u64,
}

enum Kept {
    OnDisk(LocalDisk, BufWriter<TemporaryFile>),
    InMemory(Remote, PutPayloadMut),
}

impl DocumentWriter {
    /// `folder` is where the temporary file is, on local disk.
    pub(crate) async fn new(store: &Store, folder: &str) -> Result<Self> {
        layout::check(folder)?;
        let kept = match store {
            Store::Local(disk) => {
                let file = blocking(disk, "write", folder, LocalDisk::temporary_file).await?;
                Kept::OnDisk(disk.clone(), BufWriter::with_capacity(PIECE_BYTES, file))
            }
            Store::Remote(remote) => {
                let pieces = PutPayloadMut::new().with_block_size(PIECE_BYTES);
                Kept::InMemory(remote.clone(), pieces)
            }
        };
        Ok(Self { kept, bytes: 0 })
    }

    /// How many were written.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends a value on a line of its own. `path` is named if that fails.
    ///
    /// Runs where it is called: on the way to the operating system's cache a line takes less time than to be made.
    pub(crate) fn push(&mut self, value: &impl Serialize, path: &str) -> Result<()> {
        let pushed = serde_json::to_writer(&mut *self, value)
            .and_then(|()| self.write_all(b"\n").map_err(serde_json::Error::io));
        pushed.map_err(|error| {
            if error.is_io() {
                Error::disk("write", path, &error.into())
            } else {
                malformed(path, &error)
            }
        })
    }

    /// Puts the document in the place of one that may be there, durably.
    pub(crate) async fn replace(self, path: &str) -> Result<()> {
        match self.kept {
            Kept::OnDisk(disk, file) => {
                blocking(&disk, "write", path, move |disk, path| {
                    disk.replace(path, file.into_inner()?)
                })
                .await
            }
            Kept::InMemory(remote, pieces) => remote.replace(path, pieces.freeze()).await,
        }
    }

    /// Puts the document where none may be, durably. A single writer's store need not know puts under a condition, and its file
    /// system no links.
    pub(crate) async fn create(self, path: &str, single_writer: bool) -> Result<ConditionalPut> {
        let taken = || ConditionalPut::Refused("there is one already".to_owned());
        match self.kept {
            Kept::OnDisk(disk, file) => {
                let created = blocking(&disk, "write", path, move |disk, path| {
                    let file = file.into_inner()?;
                    if !single_writer {
                        return disk.create_new(path, file);
                    }
                    let is_free = !disk.exists(path)?;
                    if is_free {
                        disk.replace(path, file)?;
                    }
                    Ok(is_free)
                });
                Ok(match created.await? {
                    true => ConditionalPut::Done,
                    false => taken(),
                })
            }
            Kept::InMemory(remote, pieces) if single_writer => {
                if remote.modified(path).await?.is_some() {
                    return Ok(taken());
                }
                remote.replace(path, pieces.freeze()).await?;
                Ok(ConditionalPut::Done)
            }
            Kept::InMemory(remote, pieces) => remote.replace_if(path, pieces.freeze(), None).await,
        }
    }
}

impl Write for DocumentWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.kept {
            Kept::OnDisk(_, file) => file.write(bytes)?,
            Kept::InMemory(_, pieces) => {
                pieces.extend_from_slice(bytes);
                bytes.len()
            }
        };
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.kept {
            Kept::OnDisk(_, file) => file.flush(),
            Kept::InMemory(..) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[tokio::test]
    async fn long_documents_read_back_the_same_a_line_each() {
        let (_folder, lakes) = fixtures::lakes();
        let document: Vec<String> = (0..20_000)
            .map(|number| format!("file\n{number}"))
            .collect();
        for lake in lakes {
            let mut draft = DocumentWriter::new(&lake.store, "c").await.unwrap();
            draft.push(&document, "c/x.json").unwrap();
            draft.push(&[1, 2], "c/x.json").unwrap();
            draft.replace("c/x.json").await.unwrap();
            let content = lake.get("c/x.json").await.unwrap().unwrap();
            let lines: Vec<_> = content.split(|byte| *byte == b'\n').collect();
            let [first, b"[1,2]", b""] = lines[..] else {
                panic!("{} lines in {lake}", lines.len());
            };
            let read: Vec<String> = serde_json::from_slice(first).unwrap();
            assert_eq!(read, document);
        }
    }

    #[tokio::test]
    async fn a_document_is_created_once_and_drafts_leave_nothing() {
        let (_folder, lakes) = fixtures::lakes();
        for lake in lakes {
            for single_writer in [false, true] {
                let path = format!("t/{single_writer}.json");
                for (value, is_free) in [("one", true), ("two", false)] {
                    let mut draft = DocumentWriter::new(&lake.store, "c").await.unwrap();
                    draft.push(&value, &path).unwrap();
                    let created = draft.create(&path, single_writer).await.unwrap();
                    assert_eq!(created == ConditionalPut::Done, is_free);
                }
                assert_eq!(*lake.get(&path).await.unwrap().unwrap(), *b"\"one\"\n");
            }
            let mut dropped = DocumentWriter::new(&lake.store, "c").await.unwrap();
            dropped.push(&"three", "t/x.json").unwrap();
            drop(dropped);
            assert_eq!(lake.list("c").await.unwrap(), []);
            assert_eq!(lake.list("t").await.unwrap().len(), 2);
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn documents_are_for_whomever_the_umask_lets_read() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, [lake, ..]) = fixtures::lakes();
        lake.put_json("c/x.json", &1).await.unwrap();
        let path = lake.local_path("c/x.json").unwrap();
        let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode();
        let plain = path.with_file_name("plain");
        std::fs::write(&plain, "").unwrap();
        assert_eq!(mode(&path), mode(&plain));
    }
}
