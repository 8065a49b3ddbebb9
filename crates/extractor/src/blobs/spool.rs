//! Spools: whole compressed bodies, in memory while a shared budget of bytes allows, else in a file.
//!
//! A body is complete before anything is computed from it, so that resuming a download is an offset and a cut can never
//! yield half the rows. In memory it is kept in the pieces that it is given in, without a copy, and each is given back as soon as
//! it is read. Temporary files have no name: they vanish with the process. Does not look into the bytes, but for an MD5 where it is asked for.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use md5::digest::Output;
use md5::{Digest, Md5};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::error::ExtractorError;

/// Small enough for malloc to have it from one spool for the next.
const READ_BUFFER: usize = 64 * 1024;

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

    /// An empty spool for a body of `size` bytes; it is in memory if they are free now, and never waits for them. One of unknown
    /// size is in memory for as long as there is any.
    pub(crate) fn writer(&self, size: Option<u64>) -> Result<SpoolWriter, ExtractorError> {
        let body = match self.free_now(size.unwrap_or(0)) {
            Some(permit) => Unfinished::Memory {
                pieces: VecDeque::new(),
                permit,
            },
            None => Unfinished::File(Writer::Idle(self.temporary_file()?)),
        };
        Ok(SpoolWriter {
            body,
            len: 0,
            budget: self.clone(),
        })
    }

    fn free_now(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        Arc::clone(&self.bytes).try_acquire_many_owned(bytes).ok()
    }

    fn temporary_file(&self) -> Result<File, ExtractorError> {
        tempfile::tempfile_in(&self.directory).map_err(|error| self.error(error))
    }

    fn error(&self, source: io::Error) -> ExtractorError {
        ExtractorError::Spool {
            directory: self.directory.clone(),
            source: Arc::new(source),
        }
    }
}

/// A spool that is being filled.
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
    File(Writer),
}

/// A file that pieces are written to one after the other, on a thread that may block. Some are on their way while the next
/// arrive.
#[derive(Debug)]
enum Writer {
    Idle(File),
    Busy(JoinHandle<io::Result<File>>),
    /// A piece could not be written.
    Failed,
}

impl SpoolWriter {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Adds what comes next.
    pub(crate) async fn write(&mut self, more: Vec<Bytes>) -> Result<(), ExtractorError> {
        self.len += more.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let more = match self.keep_in_memory(more) {
            Ok(()) => return Ok(()),
            Err(more) => more,
        };
        if let Unfinished::Memory { .. } = self.body {
            self.body = Unfinished::File(Writer::Idle(self.budget.temporary_file()?));
        }
        if let Unfinished::File(writer) = &mut self.body {
            let file = writer.file().await.map_err(|e| self.budget.error(e))?;
            *writer = Writer::Busy(spawn_blocking(move || {
                let mut pieces = more.iter();
                pieces.try_for_each(|piece| (&file).write_all(piece))?;
                Ok(file)
            }));
        }
        Ok(())
    }

    /// Gives back what is to go to the file: with all that came before, if that was in memory and there is no more of it.
    fn keep_in_memory(&mut self, more: Vec<Bytes>) -> Result<(), Vec<Bytes>> {
        let Unfinished::Memory { pieces, permit } = &mut self.body else {
            return Err(more);
        };
        // One without bytes would be taken for the end.
        pieces.extend(more.into_iter().filter(|piece| !piece.is_empty()));
        let unannounced = self.len.saturating_sub(permit.num_permits() as u64);
        match self.budget.free_now(unannounced) {
            Some(further) => {
                permit.merge(further);
                Ok(())
            }
            None => Err(std::mem::take(pieces).into()),
        }
    }

    /// MD5 of all bytes so far, taken on a thread that may block.
    pub(crate) async fn md5(&mut self) -> Result<[u8; 16], ExtractorError> {
        let hashed = match &mut self.body {
            Unfinished::Memory { pieces, .. } => {
                let pieces = pieces.clone();
                let md5 = move || pieces.iter().fold(Md5::new(), Md5::chain_update).finalize();
                spawn_blocking(md5).await.map_err(io::Error::other)
            }
            Unfinished::File(writer) => writer.md5().await,
        };
        hashed.map(Into::into).map_err(|e| self.budget.error(e))
    }

    pub(crate) async fn finish(self) -> Result<Spool, ExtractorError> {
        let body = match self.body {
            Unfinished::Memory { pieces, permit } => Body::Memory { pieces, permit },
            Unfinished::File(mut writer) => {
                Body::File(writer.file().await.map_err(|e| self.budget.error(e))?)
            }
        };
        Ok(Spool {
            body,
            len: self.len,
        })
    }
}

impl Writer {
    /// The file, once the last piece is in it; another writer is to be put in this one's place.
    async fn file(&mut self) -> io::Result<File> {
        match std::mem::replace(self, Self::Failed) {
            Self::Idle(file) => Ok(file),
            Self::Busy(writing) => writing.await.map_err(io::Error::other)?,
            Self::Failed => Err(io::Error::other("an earlier piece could not be written")),
        }
    }

    /// MD5 of the file, which is written to at its end afterwards.
    async fn md5(&mut self) -> io::Result<Output<Md5>> {
        let mut file = self.file().await?;
        let hashing = spawn_blocking(move || {
            let mut md5 = Md5::new();
            file.rewind()?;
            io::copy(&mut file, &mut md5)?;
            Ok::<_, io::Error>((file, md5.finalize()))
        });
        let (file, md5) = hashing.await.map_err(io::Error::other)??;
        *self = Self::Idle(file);
        Ok(md5)
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

    /// Whether the body is in memory.
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

/// Reads a spool, synchronously: what is in memory without a copy.
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

impl BufRead for SpoolReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match &mut self.0 {
            Source::Memory { pieces, .. } => Ok(pieces.front().map_or(&[], |piece| piece)),
            Source::File(file) => file.fill_buf(),
        }
    }

    fn consume(&mut self, bytes: usize) {
        match &mut self.0 {
            Source::Memory {
                pieces,
                read,
                permit,
            } => {
                let Some(piece) = pieces.front_mut() else {
                    return;
                };
                piece.advance(bytes);
                *read += bytes;
                if piece.is_empty() {
                    pieces.pop_front();
                    drop(permit.split(*read));
                    *read = 0;
                }
            }
            Source::File(file) => file.consume(bytes),
        }
    }
}

impl Read for SpoolReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?.read(buffer)?;
        self.consume(bytes);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn filled(budget: &SpoolBudget, body: &[u8]) -> Spool {
        let mut writer = budget.writer(Some(body.len() as u64)).unwrap();
        for piece in body.chunks(3) {
            let piece = Bytes::copy_from_slice(piece);
            writer.write(vec![piece]).await.unwrap();
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
    async fn memory_is_given_back_and_the_rest_goes_to_a_nameless_file() {
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
        drop(budget.writer(Some(10)).unwrap());
        assert_eq!(budget.available(), 10);
    }

    #[tokio::test]
    async fn both_kinds_give_the_same_bytes_and_the_same_md5() {
        let folder = tempfile::tempdir().unwrap();
        let body: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        for memory in [0, 1 << 20] {
            let budget = SpoolBudget::new(memory, folder.path());
            let mut writer = budget.writer(Some(body.len() as u64 + 1)).unwrap();
            for pieces in body.chunks(100_007) {
                let pieces = pieces.chunks(10_007).flat_map(|piece| [&[][..], piece]);
                let pieces = pieces.map(Bytes::copy_from_slice).collect();
                writer.write(pieces).await.unwrap();
            }
            assert_eq!(writer.md5().await.unwrap(), *Md5::digest(&body));
            writer.write(vec![Bytes::from_static(b"!")]).await.unwrap();
            let content = content(writer.finish().await.unwrap());
            assert_eq!(content, [&body, &b"!"[..]].concat());
        }
    }

    #[tokio::test]
    async fn a_body_of_unknown_size_is_in_memory_while_there_is_any() {
        let folder = tempfile::tempdir().unwrap();
        let budget = SpoolBudget::new(10, folder.path());
        let mut writer = budget.writer(None).unwrap();
        let pieces = [&b"1234"[..], b"5678", b"abcd", b"efgh"];
        for (piece, free) in pieces.into_iter().zip([6, 2, 10, 10]) {
            writer.write(vec![Bytes::from_static(piece)]).await.unwrap();
            assert_eq!(budget.available(), free);
        }
        let spool = writer.finish().await.unwrap();
        assert!(!spool.is_in_memory() && spool.len() == 16);
        assert_eq!(content(spool), b"12345678abcdefgh");

        let mut writer = budget.writer(None).unwrap();
        writer.write(vec![Bytes::from_static(b"12")]).await.unwrap();
        let spool = writer.finish().await.unwrap();
        assert!(spool.is_in_memory());
        let mut reader = spool.into_reader().unwrap();
        reader.read_exact(&mut [0; 2]).unwrap();
        assert_eq!(budget.available(), 10);
    }

    #[test]
    fn a_missing_directory_is_an_error_that_names_it() {
        let budget = SpoolBudget::new(0, "/nonexistent/spool");
        let error = budget.writer(Some(1)).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/spool"), "{error}");
    }
}
