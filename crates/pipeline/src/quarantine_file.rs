//! Quarantined records to JSON lines in the lake's control folder: blob, line, byte offset, reason and the record's text.
//!
//! One file a part, or several numbered ones where a part has much: memory is bounded by the size of one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dataset::SnapshotId;
use serde::Serialize;
use transformer::QuarantinedRecord;
use writer::{Lake, layout};

use crate::error::PipelineError;

/// Bytes after which a new file is begun.
const FILE_BYTES: usize = 8 << 20;

/// One line of a quarantine file.
#[derive(Debug, Serialize)]
struct Line<'a> {
    blob: &'a str,
    line: u64,
    offset: u64,
    reason: &'a str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a str>,
    /// Where the text is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_base64: Option<String>,
}

/// Writes the quarantine files of one part.
#[derive(Debug)]
pub(crate) struct QuarantineWriter {
    lake: Lake,
    folder: String,
    part: u32,
    lines: Vec<u8>,
    written: Vec<String>,
}

impl QuarantineWriter {
    pub(crate) fn new(lake: &Lake, dataset: &str, snapshot: &SnapshotId, part: u32) -> Self {
        Self {
            lake: lake.clone(),
            folder: layout::quarantine(dataset, snapshot),
            part,
            lines: Vec::new(),
            written: Vec::new(),
        }
    }

    pub(crate) async fn add(
        &mut self,
        blob: &str,
        records: &[QuarantinedRecord],
    ) -> Result<(), PipelineError> {
        for record in records {
            let raw = std::str::from_utf8(&record.raw).ok();
            let line = Line {
                blob,
                line: record.line,
                offset: record.offset,
                reason: record.reason.code(),
                message: record.reason.to_string(),
                raw,
                raw_base64: raw.is_none().then(|| STANDARD.encode(&record.raw)),
            };
            serde_json::to_writer(&mut self.lines, &line)
                .map_err(|error| PipelineError::Defect(error.to_string()))?;
            self.lines.push(b'\n');
            if self.lines.len() >= FILE_BYTES {
                self.write().await?;
            }
        }
        Ok(())
    }

    /// The paths of the files, all written.
    pub(crate) async fn finish(mut self) -> Result<Vec<String>, PipelineError> {
        if !self.lines.is_empty() {
            self.write().await?;
        }
        Ok(self.written)
    }

    async fn write(&mut self) -> Result<(), PipelineError> {
        let path = format!(
            "{}/part-{:05}-{:04}.jsonl",
            self.folder,
            self.part,
            self.written.len()
        );
        let lines = std::mem::take(&mut self.lines);
        self.lake.put(&path, lines.into()).await?;
        self.written.push(path);
        Ok(())
    }
}

/// Deletes the quarantine files of a snapshot but for those of this run: an earlier try may have left others.
pub(crate) async fn keep_only(
    lake: &Lake,
    dataset: &str,
    snapshot: &SnapshotId,
    kept: &[String],
) -> Result<(), PipelineError> {
    let found = lake.list(&layout::quarantine(dataset, snapshot)).await?;
    let stale: Vec<String> = found
        .into_iter()
        .map(|object| object.path)
        .filter(|path| !kept.contains(path))
        .collect();
    Ok(lake.delete(&stale).await?)
}
