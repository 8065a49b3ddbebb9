//! Spools: whole compressed bodies, in memory while a shared budget of bytes allows, else in a file.
//!
//! A body is complete before anything is computed from it, so that resuming a download is an offset and a cut can never
//! yield half the rows. In memory it is kept in the pieces that it came in, without a copy, and each is given back as soon as
//! it is read. Temporary files have no name: they vanish with the process. Does not look into the bytes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ExtractorError;

const READ_BUFFER: usize = 128 * 1024;

/// How many bytes all spools together may hold in memory, and where the others go. Clones share the bytes.
#[derive(Debug, Clone)]
pub struct SpoolBudget {
    bytes: Arc<Semaphore>,
    directory: PathBuf,
}

impl SpoolBudget {
    /// A budget of `memory` bytes, and a directory for temporary files.
    pub fn new(memory: usize, directory: impl Into<PathBuf>) -> Self {
        let bytes = Arc::new(Semaphore::new(memory.min(Semaphore::MAX_PERMITS)));
        Self {
            bytes,
            directory: directory.into(),
        }
    }

    /// Bytes of memory that are free.
    pub fn available(&self) -> usize {
        self.bytes.available_permits()
    }

    /// An empty spool for a body of `size` bytes; it is in memory if they are free now, and never waits for them.
    pub(crate) fn writer(&self, size: u64) -> Result<SpoolWriter, ExtractorError> {
        let permit = u32::try_from(size)
            .ok()
            .and_then(|bytes| Arc::clone(&self.bytes).try_acquire_many_owned(bytes).ok());
        let body = match permit {
            Some(permit) => Unfinished::Memory {
                pieces: VecDeque::new(),
                permit,
            },
            None => {
                let file = tempfile::tempfile_in(&self.directory).map_err(|e| self.error(e))?;
                Unfinished::File(tokio::fs::File::from_std(file))
            }
        };
        Ok(SpoolWriter {
            body,
            len: 0,
            budget: self.clone(),
        })
    }

    fn error(&self, source: io::Error) -> ExtractorError {
        ExtractorError::Spool {
            directory: self.directory.clone(),
            source: Arc::new(source),
        }
    }
}

/// A spool that is being filled. The caller adds no more bytes than it announced.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    body: Unfinished,
    len: u64,
    budget: SpoolBudget,
}

#[derive(Debug)]
enum Unfinished {
    Memory {
        pieces: VecDeque<Bytes>,
        permit: OwnedSemaphorePermit,
    },
    File(tokio::fs::File),
}

impl SpoolWriter {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) async fn write(&mut self, piece: Bytes) -> Result<(), ExtractorError> {
        let len = piece.len() as u64;
        match &mut self.body {
            Unfinished::Memory { pieces, .. } => pieces.push_back(piece),
            Unfinished::File(file) => {
                file.write_all(&piece)
                    .await
                    .map_err(|e| self.budget.error(e))?;
            }
        }
        self.len += len;
        Ok(())
    }

    pub(crate) async fn finish(self) -> Result<Spool, ExtractorError> {
        let body = match self.body {
            Unfinished::Memory { pieces, permit } => Body::Memory { pieces, permit },
            Unfinished::File(mut file) => {
                file.flush().await.map_err(|e| self.budget.error(e))?;
                Body::File(file.into_std().await)
            }
        };
        Ok(Spool {
            body,
            len: self.len,
        })
    }
}

/// A whole compressed body. Its memory goes back to the budget as it is read, and when it, or its reader, is dropped.
#[derive(Debug)]
pub struct Spool {
    body: Body,
    len: u64,
}

#[derive(Debug)]
enum Body {
    Memory {
        pieces: VecDeque<Bytes>,
        permit: OwnedSemaphorePermit,
    },
    File(File),
}

impl Spool {
    /// A file on disk as its own spool.
    pub fn open(file: &Path) -> Result<Self, ExtractorError> {
        let error = |error: io::Error| ExtractorError::LocalFile {
            file: file.to_owned(),
            reason: error.to_string(),
        };
        let opened = File::open(file).map_err(error)?;
        let len = opened.metadata().map_err(error)?.len();
        Ok(Self {
            body: Body::File(opened),
            len,
        })
    }

    /// Bytes of the compressed body.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the body has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the body lies in memory.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.body, Body::Memory { .. })
    }

    /// The body from its first byte, for a thread of the CPU pool.
    pub fn into_reader(self) -> io::Result<SpoolReader> {
        Ok(SpoolReader(match self.body {
            Body::Memory { pieces, permit } => Source::Memory {
                pieces,
                read: 0,
                permit,
            },
            Body::File(mut file) => {
                file.rewind()?;
                Source::File(BufReader::with_capacity(READ_BUFFER, file))
            }
        }))
    }
}

/// Reads a spool, synchronously.
#[derive(Debug)]
pub struct SpoolReader(Source);

#[derive(Debug)]
enum Source {
    Memory {
        pieces: VecDeque<Bytes>,
        /// Bytes read of the first piece.
        read: usize,
        permit: OwnedSemaphorePermit,
    },
    File(BufReader<File>),
}

impl Read for SpoolReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Source::Memory {
                pieces,
                read,
                permit,
            } => {
                let mut filled = 0;
                while filled < buffer.len()
                    && let Some(piece) = pieces.front_mut()
                {
                    let length = piece.len().min(buffer.len() - filled);
                    piece.copy_to_slice(&mut buffer[filled..filled + length]);
                    filled += length;
                    *read += length;
                    if piece.is_empty() {
                        pieces.pop_front();
                        drop(permit.split(*read));
                        *read = 0;
                    }
                }
                Ok(filled)
            }
            Source::File(file) => file.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn filled(budget: &SpoolBudget, body: &[u8]) -> Spool {
        let mut writer = budget.writer(body.len() as u64).unwrap();
        for piece in body.chunks(3) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        writer.finish().await.unwrap()
    }

    fn content(spool: Spool) -> Vec<u8> {
        let mut content = Vec::new();
        spool
            .into_reader()
            .unwrap()
            .read_to_end(&mut content)
            .unwrap();
        content
    }

    #[tokio::test]
    async fn memory_is_given_back_and_what_does_not_fit_goes_to_a_nameless_file() {
        let folder = tempfile::tempdir().unwrap();
        let budget = SpoolBudget::new(10, folder.path());
        let first = filled(&budget, b"12345678").await;
        assert!(first.is_in_memory());
        assert_eq!(budget.available(), 2);
        let second = filled(&budget, b"abcdefgh").await;
        assert!(!second.is_in_memory());
        assert_eq!((second.len(), budget.available()), (8, 2));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

        let mut reader = first.into_reader().unwrap();
        assert_eq!(budget.available(), 2);
        reader.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(budget.available(), 5, "the first piece of three bytes");
        drop(reader);
        assert_eq!(budget.available(), 10);
        assert_eq!(content(second), b"abcdefgh");
        drop(budget.writer(10).unwrap());
        assert_eq!(budget.available(), 10);
    }

    #[tokio::test]
    async fn both_kinds_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let body: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        for memory in [0, 1 << 20] {
            let budget = SpoolBudget::new(memory, folder.path());
            let mut writer = budget.writer(body.len() as u64).unwrap();
            for piece in body.chunks(10_007) {
                writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            assert_eq!(content(writer.finish().await.unwrap()), body);
        }
    }

    #[test]
    fn a_missing_directory_is_an_error_that_names_it() {
        let budget = SpoolBudget::new(0, "/nonexistent/spool");
        let error = budget.writer(1).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/spool"), "{error}");
    }
}
