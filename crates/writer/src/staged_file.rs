//! Encoded row groups to one Parquet file in the store, uploaded while it grows and left invisible.
//!
//! Memory: the row group being appended and four upload parts of 8 MiB, whatever the size of the file.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use dataset::Partition;
use parquet::file::writer::SerializedFileWriter;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::file_format::FileFormat;
use crate::layout;
use crate::row_group::{EncodedRowGroup, KeyRange, cover};
use crate::store::Lake;
use crate::upload::{OpenUpload, PART_BYTES, Upload};

/// A Parquet file that the store has whole and that no reader sees yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFile {
    /// Path from the lake's root where the file will appear.
    pub path: String,
    /// Partition of its rows.
    pub partition: Partition,
    /// Number of the file in its snapshot.
    pub number: u32,
    /// Rows, at least one.
    pub rows: u64,
    /// Size.
    pub bytes: u64,
    /// Hexadecimal SHA-256 of the file.
    pub sha256: String,
    /// Bounds of the string columns of the unique key.
    pub key_ranges: Vec<KeyRange>,
    /// What completes or aborts the upload.
    pub upload: OpenUpload,
}

/// Writes one Parquet file to the store. Finish or abort it: what is dropped stays behind as an open upload.
#[derive(Debug)]
pub struct StagedFileWriter {
    lake: Lake,
    format: Arc<FileFormat>,
    path: String,
    staging_path: String,
    partition: Partition,
    number: u32,
    file: SerializedFileWriter<PartBuffer>,
    upload: Option<Upload>,
    rows: u64,
    bytes: u64,
    sha256: Sha256,
    key_ranges: Vec<KeyRange>,
}

impl StagedFileWriter {
    /// Begins file `number` of the snapshot, in `partition`. Contacts no store yet. `run_id` names the run's staging folder.
    ///
    /// # Errors
    /// [`Error::Parquet`]; [`Error::Malformed`] for a run id that is no file name.
    pub fn new(
        lake: &Lake,
        format: &Arc<FileFormat>,
        run_id: &str,
        partition: Partition,
        number: u32,
    ) -> Result<Self> {
        if run_id.contains('/') || !layout::is_within_lake(run_id) {
            let message = "run id is not a file name".to_owned();
            return Err(Error::Malformed {
                path: run_id.to_owned(),
                message,
            });
        }
        let (dataset, snapshot) = (&format.snapshot.dataset, format.snapshot.id());
        let buffer = PartBuffer::default();
        let file = SerializedFileWriter::new(
            buffer,
            format.parquet_schema.clone(),
            format.properties.clone(),
        );
        Ok(Self {
            lake: lake.clone(),
            path: layout::part(dataset, &partition, &snapshot, number),
            staging_path: layout::staged_part(dataset, run_id, &partition, &snapshot, number),
            partition,
            number,
            file: file.map_err(|error| format.failed(&error))?,
            format: format.clone(),
            upload: None,
            rows: 0,
            bytes: 0,
            sha256: Sha256::new(),
            key_ranges: Vec::new(),
        })
    }

    /// Rows appended so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Appends a row group; one without rows adds nothing. Uploads the parts that it fills.
    ///
    /// # Errors
    /// What Parquet or the store answers; the file is then to be aborted.
    pub async fn append(&mut self, row_group: EncodedRowGroup) -> Result<()> {
        if row_group.rows == 0 {
            return Ok(());
        }
        self.splice(row_group)
            .map_err(|error| self.format.failed(&error))?;
        self.send_full_parts().await
    }

    /// Writes the footer and uploads the rest. `None` if the file has no rows: nothing is staged then.
    ///
    /// # Errors
    /// What Parquet or the store answers; what was uploaded is then aborted.
    pub async fn finish(mut self) -> Result<Option<StagedFile>> {
        if self.rows == 0 {
            return Ok(None);
        }
        match self.upload_rest().await {
            Ok(upload) => Ok(Some(StagedFile {
                path: self.path,
                partition: self.partition,
                number: self.number,
                rows: self.rows,
                bytes: self.bytes,
                sha256: hexadecimal(&self.sha256.finalize()),
                key_ranges: self.key_ranges,
                upload,
            })),
            Err(error) => {
                // The first error is the one to report.
                let _ = self.abort().await;
                Err(error)
            }
        }
    }

    /// Throws the file away.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn abort(self) -> Result<()> {
        match self.upload {
            Some(upload) => upload.abort().await,
            None => Ok(()),
        }
    }

    fn splice(&mut self, row_group: EncodedRowGroup) -> Result<(), parquet::errors::ParquetError> {
        let mut writer = self.file.next_row_group()?;
        for chunk in row_group.chunks {
            chunk.append_to_row_group(&mut writer)?;
        }
        writer.close()?;
        self.rows += row_group.rows;
        cover(&mut self.key_ranges, row_group.key_ranges);
        Ok(())
    }

    async fn upload_rest(&mut self) -> Result<OpenUpload> {
        self.file
            .finish()
            .map_err(|error| self.format.failed(&error))?;
        self.send_full_parts().await?;
        let rest = self.file.inner_mut().take_rest();
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        match &mut self.upload {
            Some(upload) => upload.finish().await,
            None => Err(Error::Task {
                message: "a file with rows has no bytes".to_owned(),
            }),
        }
    }

    async fn send_full_parts(&mut self) -> Result<()> {
        while let Some(part) = self.file.inner_mut().full.pop_front() {
            self.send(part).await?;
        }
        Ok(())
    }

    async fn send(&mut self, part: Bytes) -> Result<()> {
        self.sha256.update(&part);
        self.bytes += part.len() as u64;
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => none.insert(Upload::open(&self.lake, &self.path, &self.staging_path).await?),
        };
        upload.send(part).await
    }
}

pub(crate) fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Cuts what Parquet writes into upload parts of equal size.
#[derive(Debug, Default)]
struct PartBuffer {
    full: VecDeque<Bytes>,
    /// Shorter than a part. Grows as needed: most files of small groups never fill one.
    open: Vec<u8>,
}

impl PartBuffer {
    fn take_rest(&mut self) -> Bytes {
        std::mem::take(&mut self.open).into()
    }
}

impl Write for PartBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PART_BYTES - self.open.len());
        self.open.extend_from_slice(&bytes[..taken]);
        if self.open.len() == PART_BYTES {
            self.full.push_back(std::mem::take(&mut self.open).into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
