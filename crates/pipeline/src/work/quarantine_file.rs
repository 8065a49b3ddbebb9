//! Quarantined records to JSON lines in the lake's control folder: blob, line, byte offset, reason and the record's text.
//!
//! One file a part, or several numbered ones where a part has much: memory is bounded by the size of one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dataset::{Snapshot, SnapshotId};
use serde::{Deserialize, Serialize};
use transformer::QuarantinedRecord;
use writer::{Lake, layout};

use crate::error::PipelineError;
use crate::refusal::Refusal;
use crate::settings::ByteSize;

/// The code of [`transformer::Reason::LineTooLong`].
const CUT: &str = "line_too_long";
/// Bytes after which a new file is started.
const FILE_BYTES: usize = 8 << 20;

/// A record that was quarantined: one line of a quarantine file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineEntry {
    /// Blob path.
    pub blob: String,
    /// Line in the inflated blob, from 1.
    pub line: u64,
    /// Offset of the line in the inflated blob, bytes.
    pub offset: u64,
    /// The reason's code, such as `invalid_json`.
    pub reason: String,
    /// The reason in words.
    pub message: String,
    /// The record's text, if it is UTF-8; of one that is too long, the beginning.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub raw: Option<String>,
    /// Its bytes, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub raw_base64: Option<String>,
}

impl QuarantineEntry {
    fn new(blob: &str, record: &QuarantinedRecord) -> Self {
        let raw = std::str::from_utf8(&record.raw).ok();
        Self {
            blob: blob.to_owned(),
            line: record.line,
            offset: record.offset,
            reason: record.reason.code().to_owned(),
            message: record.reason.to_string(),
            raw: raw.map(str::to_owned),
            raw_base64: raw.is_none().then(|| STANDARD.encode(&record.raw)),
        }
    }

    /// Whether only the beginning is kept, so that it cannot be decoded again.
    pub fn is_cut(&self) -> bool {
        self.reason == CUT
    }

    /// The record as it came; `None` if the file does not hold it.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        match (&self.raw, &self.raw_base64) {
            (Some(raw), _) => Some(raw.clone().into_bytes()),
            (None, Some(encoded)) => STANDARD.decode(encoded).ok(),
            (None, None) => None,
        }
    }
}

/// The records of a quarantine file.
pub(crate) async fn read(lake: &Lake, path: &str) -> Result<Vec<QuarantineEntry>, PipelineError> {
    let content = lake.get(path).await?.unwrap_or_default();
    let lines = content.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            serde_json::from_slice(line).map_err(|error| PipelineError::QuarantineFile {
                path: path.to_owned(),
                message: error.to_string(),
            })
        })
        .collect()
}

/// Writes the quarantine files of one part.
#[derive(Debug)]
pub(crate) struct QuarantineWriter {
    lake: Lake,
    snapshot: Snapshot,
    run_id: String,
    name: String,
    lines: Vec<u8>,
    written: Vec<String>,
    in_run: Arc<QuarantinedInRun>,
}

/// All that a run has quarantined, parts that failed included.
#[derive(Debug)]
pub(crate) struct QuarantinedInRun {
    files: Mutex<Vec<String>>,
    bytes: AtomicU64,
    most: ByteSize,
}

impl QuarantinedInRun {
    /// `most`: what its files may have.
    pub(crate) fn new(most: ByteSize) -> Self {
        Self {
            files: Mutex::default(),
            bytes: AtomicU64::new(0),
            most,
        }
    }

    /// Paths of the files.
    pub(crate) fn files(&self) -> Vec<String> {
        let files = self.files.lock();
        files.map(|files| files.clone()).unwrap_or_default()
    }

    fn has_room_for(&self, bytes: u64) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= self.most.bytes()
    }
}

impl QuarantineWriter {
    /// `name` tells the files from others of the run.
    pub(crate) fn new(
        lake: &Lake,
        snapshot: &Snapshot,
        run_id: &str,
        name: String,
        in_run: Arc<QuarantinedInRun>,
    ) -> Self {
        Self {
            lake: lake.clone(),
            snapshot: snapshot.clone(),
            run_id: run_id.to_owned(),
            name,
            lines: Vec::new(),
            written: Vec::new(),
            in_run,
        }
    }

    pub(crate) async fn add(
        &mut self,
        blob: &str,
        records: &[QuarantinedRecord],
    ) -> Result<(), PipelineError> {
        for record in records {
            self.add_line(&QuarantineEntry::new(blob, record)).await?;
        }
        Ok(())
    }

    /// # Errors
    /// [`Refusal::QuarantineFull`]: what the run has quarantined before is in files, to be looked at. No snapshot is published whose
    /// quarantined records are not all kept.
    pub(crate) async fn add_line(&mut self, record: &QuarantineEntry) -> Result<(), PipelineError> {
        let start = self.lines.len();
        serde_json::to_writer(&mut self.lines, record)
            .map_err(|error| PipelineError::Defect(error.to_string()))?;
        self.lines.push(b'\n');
        if !self.in_run.has_room_for((self.lines.len() - start) as u64) {
            self.lines.truncate(start);
            self.write_rest().await?;
            return Err(PipelineError::Refused(Refusal::QuarantineFull {
                limit: self.in_run.most,
                reason: record.reason.clone(),
                blob: record.blob.clone(),
                line: record.line,
            }));
        }
        if self.lines.len() >= FILE_BYTES {
            self.write().await?;
        }
        Ok(())
    }

    /// The paths of the files, all written.
    pub(crate) async fn finish(mut self) -> Result<Vec<String>, PipelineError> {
        self.write_rest().await?;
        Ok(self.written)
    }

    async fn write_rest(&mut self) -> Result<(), PipelineError> {
        match self.lines.is_empty() {
            true => Ok(()),
            false => self.write().await,
        }
    }

    async fn write(&mut self) -> Result<(), PipelineError> {
        let (dataset, run_id) = (&self.snapshot.dataset, &self.run_id);
        // Runs of one snapshot at once do not overwrite or delete each other's.
        let name = format!("{}-{:04}", self.name, self.written.len());
        let path = layout::quarantine_file(dataset, &self.snapshot.id(), run_id, &name);
        let lines = std::mem::take(&mut self.lines);
        // Before the write: one that fails may have written all the same.
        if let Ok(mut files) = self.in_run.files.lock() {
            files.push(path.clone());
        }
        self.lake
            .put_in_run(dataset, run_id, &path, lines.into())
            .await?;
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

#[cfg(test)]
mod tests {
    use transformer::Reason;

    use super::*;

    fn lake() -> (tempfile::TempDir, Lake) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap();
        let lake = Lake::open(root, &std::collections::BTreeMap::new()).unwrap();
        (folder, lake)
    }

    fn writer(lake: &Lake, in_run: &Arc<QuarantinedInRun>, name: &str) -> QuarantineWriter {
        let snapshot = Snapshot {
            dataset: "x".to_owned(),
            org_id: "47d41a0c-188d-46d3-bbea-a93dbc0bfcaa".parse().unwrap(),
            generated_time: chrono::DateTime::UNIX_EPOCH,
        };
        QuarantineWriter::new(lake, &snapshot, "run", name.to_owned(), Arc::clone(in_run))
    }

    fn in_run(most: u64) -> Arc<QuarantinedInRun> {
        Arc::new(QuarantinedInRun::new(ByteSize(most)))
    }

    #[tokio::test]
    async fn a_run_stops_at_its_limit_and_keeps_what_it_has() {
        let (_folder, lake) = lake();
        let record = |line| QuarantinedRecord {
            line,
            offset: 0,
            reason: Reason::NotAnObject,
            raw: b"{}".to_vec(),
        };
        let in_run = in_run(1_000);
        // The limit is that of all parts together.
        let (mut one, mut two) = (
            writer(&lake, &in_run, "part-00000"),
            writer(&lake, &in_run, "part-00001"),
        );
        let mut kept = 0;
        let refused = loop {
            let writer = match kept % 2 {
                0 => &mut one,
                _ => &mut two,
            };
            match writer.add("blob", &[record(kept)]).await {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
            assert!(kept < 100, "no limit");
        };
        let words = refused.to_string();
        assert!(words.contains("gate.max_quarantine_size"), "{words}");
        assert!(words.contains("1000B"), "{words}");
        one.finish().await.unwrap();
        two.finish().await.unwrap();
        let (mut bytes, mut lines) = (0, 0);
        for file in in_run.files() {
            bytes += lake.get(&file).await.unwrap().unwrap().len();
            lines += read(&lake, &file).await.unwrap().len() as u64;
        }
        assert!((500..=1_000).contains(&bytes), "{bytes}");
        assert_eq!(lines, kept);
    }

    #[tokio::test]
    async fn records_come_back_as_they_were_quarantined() {
        let (_folder, lake) = lake();
        let record = |line, raw: &[u8], reason| QuarantinedRecord {
            line,
            offset: 7,
            reason,
            raw: raw.to_vec(),
        };
        let records = [
            record(1, b"bad \"\0\n", Reason::NotAnObject),
            record(2, b"\xff\xfe", Reason::InvalidUtf8 { column: 1 }),
            record(3, b"long", Reason::LineTooLong { limit: 4 }),
        ];
        let mut writer = writer(&lake, &in_run(1 << 20), "part-00000");
        writer.add("blob", &records).await.unwrap();
        let [path] = &writer.finish().await.unwrap()[..] else {
            panic!("one file");
        };
        assert!(path.ends_with("/run-part-00000-0000.jsonl"), "{path}");
        let read = read(&lake, path).await.unwrap();
        for (read, record) in read.iter().zip(&records) {
            assert_eq!(read.bytes().unwrap(), record.raw);
            assert_eq!(
                (read.line, read.reason.as_str()),
                (record.line, record.reason.code())
            );
        }
        assert_eq!(read.iter().filter(|record| record.is_cut()).count(), 1);
        assert_eq!(read.len(), 3);
    }
}
