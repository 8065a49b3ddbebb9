//! Records of files on disk, for the schema tools: what keys and values there are. Decodes nothing into columns, and asks no API.

use std::fs::File;
use std::io::{BufRead, BufReader};

use dataset::schema_tools::Inference;
use extractor::{LocalBlob, discover};
use transformer::{Compression, Records, TransformError, inflate};

use crate::error::PipelineError;

/// The longest record that is looked at.
const RECORD_BYTES: usize = 16 << 20;
/// The most that a file may inflate to: reading stops before, with the records that were asked for.
const FILE_BYTES: u64 = 64 << 30;

/// What was seen of some files.
#[derive(Debug)]
pub struct Sample {
    /// What the records hold.
    pub inference: Inference,
    /// Records that are no JSON objects, and were passed over.
    pub passed_over: u64,
}

/// Looks at the records of the files that match the patterns: at most `records` of them, as many of each file.
///
/// # Errors
/// If a pattern matches no file, or a file cannot be read.
pub fn sample(patterns: &[String], records: u64) -> Result<Sample, PipelineError> {
    let mut files = Vec::new();
    for pattern in patterns {
        files.extend(discover(pattern)?);
    }
    let of_each = records.div_ceil(files.len().max(1) as u64);
    let mut sample = Sample {
        inference: Inference::default(),
        passed_over: 0,
    };
    for file in &files {
        let read = sample.add(file, of_each);
        read.map_err(|source| PipelineError::UnreadableFile {
            blob: file.path.to_string(),
            source,
        })?;
    }
    Ok(sample)
}

impl Sample {
    fn add(&mut self, file: &LocalBlob, most: u64) -> Result<(), TransformError> {
        let unreadable = |inflated_bytes, source| TransformError::Inflate {
            inflated_bytes,
            source,
        };
        let opened = File::open(&file.file).map_err(|source| unreadable(0, source))?;
        let mut compressed = BufReader::new(opened);
        let beginning = compressed.fill_buf();
        let compression = Compression::detect(beginning.map_err(|source| unreadable(0, source))?)?;
        let plain = inflate(compressed, compression, FILE_BYTES);
        let mut frames = Records::new(plain, RECORD_BYTES, Vec::new());
        let mut seen = 0;
        while seen < most {
            let at = frames.bytes_read();
            let frame = frames
                .next_record()
                .map_err(|source| unreadable(at, source))?;
            let Some(frame) = frame else {
                break;
            };
            if frame.bytes.trim_ascii().is_empty() {
                continue;
            }
            seen += 1;
            match serde_json::from_slice(frame.bytes) {
                Ok(record @ serde_json::Value::Object(_)) => self.inference.add(&record),
                _ => self.passed_over += 1,
            }
        }
        Ok(())
    }
}
