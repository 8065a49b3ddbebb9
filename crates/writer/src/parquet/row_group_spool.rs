//! Encoded row groups that wait for their turn in a file: their bytes lie in a nameless file on disk meanwhile.
//!
//! What the footer will say of them stays in memory. Does not decide which row groups wait.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::parquet::row_group::EncodedRowGroup;

/// An unnamed temporary file for the bytes of row groups. It goes with the spool and the last row group that is in it.
#[derive(Debug)]
pub struct RowGroupSpool(Arc<Mutex<File>>);

/// A row group whose bytes lie on disk.
#[derive(Debug)]
pub struct SpooledRowGroup {
    /// Without its content.
    row_group: EncodedRowGroup,
    file: Arc<Mutex<File>>,
    offset: u64,
    length: usize,
}

impl RowGroupSpool {
    /// An empty file in that directory.
    ///
    /// # Errors
    /// If it cannot be made there.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(directory)?;
        Ok(Self(Arc::new(Mutex::new(file))))
    }

    /// Moves a row group's bytes to the end of the file.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn put(&self, mut row_group: EncodedRowGroup) -> io::Result<SpooledRowGroup> {
        let content = std::mem::take(&mut row_group.content);
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = file.seek(SeekFrom::End(0))?;
        file.write_all(&content)?;
        Ok(SpooledRowGroup {
            row_group,
            file: Arc::clone(&self.0),
            offset,
            length: content.len(),
        })
    }
}

impl SpooledRowGroup {
    /// The row group with its bytes in memory again.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn take(mut self) -> io::Result<EncodedRowGroup> {
        let mut content = self.row_group.buffers.take();
        content.reserve_exact(self.length);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.offset))?;
        let read = (&*file)
            .take(self.length as u64)
            .read_to_end(&mut content)?;
        drop(file);
        if read < self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.row_group.content = self.row_group.buffers.lend(content);
        Ok(self.row_group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{batch, format, snapshot};
    use crate::parquet::row_group::RowGroupEncoder;

    #[test]
    fn row_groups_come_back_in_any_order_as_they_were() {
        let snapshot = snapshot(26, 10);
        let mut encoder = RowGroupEncoder::new(&format(&snapshot)).unwrap();
        let mut encoded = |from: u64| {
            encoder.write(&batch(&snapshot, from..from + 50)).unwrap();
            encoder.finish().unwrap()
        };
        let folder = tempfile::tempdir().unwrap();
        let spool = RowGroupSpool::new(folder.path()).unwrap();
        let mut waiting = Vec::new();
        for from in [0, 100, 200] {
            let row_group = encoded(from);
            let content = row_group.content.clone();
            waiting.push((content, spool.put(row_group).unwrap()));
        }
        drop(spool);
        waiting.swap(0, 2);
        for (content, spooled) in waiting {
            assert!(spooled.row_group.content.is_empty());
            let row_group = spooled.take().unwrap();
            assert_eq!((row_group.rows(), &row_group.content), (50, &content));
        }
        assert!(RowGroupSpool::new(&folder.path().join("absent")).is_err());
    }
}
