//! One blob to batches: inflate, split into records, decode, quarantine. The caller owns the loop and says where batches go.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use arrow::error::ArrowError;
use thiserror::Error;

use crate::decode::{DecodedBatch, DriftKind, GroupSource, RecordDecoder};
use crate::decompression::{Compression, NotAnExport, TooLarge, inflate};
use crate::framing::{FramingError, Records};
use crate::quarantine::{QuarantinedRecord, Reason};

/// How much of a blob is decoded at a time, and in all.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Rows of a batch, at most.
    pub rows: usize,
    /// Length of a line, bytes, at most; a longer one is quarantined.
    pub line_bytes: usize,
    /// Inflated bytes of a blob, at most; a larger one is an error.
    pub inflated_bytes: u64,
}

/// Bytes of lines after which a batch is full, however few rows it has: bounds memory where records are large.
const BATCH_BYTES: usize = 32 << 20;

/// What came of some of a blob's lines.
#[derive(Debug)]
pub struct Progress {
    /// Rows; may be none.
    pub batch: DecodedBatch,
    /// Lines that are quarantined.
    pub quarantined: Vec<QuarantinedRecord>,
}

/// The counts of one blob that was read to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlobCounts {
    /// Lines that are not blank: `rows + quarantined`.
    pub records: u64,
    /// Rows decoded.
    pub rows: u64,
    /// Records that are quarantined.
    pub quarantined: u64,
    /// Rows with something in `_rescued_data`.
    pub rows_rescued: u64,
    /// In how many records each wire path was rescued.
    pub drift: HashMap<(Arc<str>, DriftKind), u64>,
    /// Of each column of the schema, in its order: rows without a value.
    pub column_nulls: Vec<u64>,
}

impl BlobCounts {
    /// Counts what decoding a text at that line and offset gave, and quarantines it if it is no record. Gives how much of it was
    /// read.
    fn take(
        &mut self,
        decoded: Result<usize, Reason>,
        text: &[u8],
        (line, offset): (u64, u64),
        quarantined: &mut Vec<QuarantinedRecord>,
    ) -> usize {
        self.records += 1;
        decoded.unwrap_or_else(|reason| {
            self.quarantined += 1;
            quarantined.push(QuarantinedRecord {
                line,
                offset,
                reason,
                raw: text.to_vec(),
            });
            text.len()
        })
    }
}

/// Why a blob cannot be read to its end.
#[derive(Debug, Error)]
pub enum TransformError {
    /// It holds no records of an export, by its first bytes.
    #[error(transparent)]
    NotAnExport(#[from] NotAnExport),
    /// It is a JSON array that is not closed, or that something comes after.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The gzip stream is cut, corrupt, followed by garbage, or no gzip stream. Or the spool cannot be read.
    #[error("gzip stream breaks off after {inflated_bytes} inflated bytes: {source}")]
    Inflate {
        /// How far it could be read.
        inflated_bytes: u64,
        /// What is wrong.
        source: io::Error,
    },
    /// The blob inflates to more than it may: a gzip bomb, or a limit that is too low.
    #[error("it inflates to more than {limit} bytes")]
    TooLarge {
        /// The limit, bytes.
        limit: u64,
    },
    /// A batch could not be made of decoded columns.
    #[error("batch cannot be made: {0}")]
    Batch(#[from] ArrowError),
}

/// Decodes one blob.
#[derive(Debug)]
pub struct BlobDecoder<'a, R> {
    frames: Records<R>,
    /// Of a line that holds several records: those that were not decoded yet.
    joined: Option<Joined>,
    records: &'a mut RecordDecoder,
    limits: BatchLimits,
    counts: BlobCounts,
    at_end: bool,
}

/// The rest of a line.
#[derive(Debug)]
struct Joined {
    text: Vec<u8>,
    /// Where the next record begins.
    at: usize,
    line: u64,
    /// Of the text's first byte in the inflated blob.
    offset: u64,
}

/// Decodes a blob with a decoder that is kept from blob to blob. Without a `compression` the blob's first bytes tell it: for files
/// that somebody else may have written.
///
/// # Errors
/// [`TransformError::NotAnExport`], and what reading the first bytes answers.
pub fn decode_blob<'a>(
    mut compressed: impl BufRead + Send + 'a,
    compression: Option<Compression>,
    group_source: GroupSource,
    records: &'a mut RecordDecoder,
    limits: BatchLimits,
) -> Result<BlobDecoder<'a, impl Read + 'a>, TransformError> {
    let compression = match compression {
        Some(compression) => compression,
        None => {
            let beginning = compressed.fill_buf();
            let beginning = beginning.map_err(|source| TransformError::Inflate {
                inflated_bytes: 0,
                source,
            })?;
            Compression::detect(beginning)?
        }
    };
    records.set_group_source(group_source);
    Ok(BlobDecoder {
        frames: Records::new(
            inflate(compressed, compression, limits.inflated_bytes),
            limits.line_bytes,
            records.take_line_buffer(),
        ),
        joined: None,
        records,
        limits,
        counts: BlobCounts::default(),
        at_end: false,
    })
}

impl<R: Read> BlobDecoder<'_, R> {
    /// The next rows and quarantined records; none at the blob's end.
    pub fn next_batch(&mut self) -> Result<Option<Progress>, TransformError> {
        let mut quarantined = Vec::new();
        let mut bytes = 0;
        if self.counts.records == 0 && self.frames.bytes_read() == 0 {
            self.check_beginning()?;
        }
        while !self.at_end && self.records.rows() < self.limits.rows && bytes < BATCH_BYTES {
            if let Some(joined) = self.joined.take() {
                bytes += self.decode_joined(joined, &mut quarantined);
                continue;
            }
            let frame = match self.frames.next_record() {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    self.at_end = true;
                    break;
                }
                Err(source) => return Err(self.unreadable(source)),
            };
            // Counted with its newline: a blob of blank lines gives its caller a say as well.
            bytes += frame.bytes.len() + 1;
            let decoded = if frame.too_long {
                let limit = self.limits.line_bytes;
                Err(Reason::LineTooLong { limit })
            } else if frame.bytes.trim_ascii().is_empty() {
                continue;
            } else {
                self.records.decode_first(frame.bytes)
            };
            let place = (frame.line, frame.offset);
            let read = self
                .counts
                .take(decoded, frame.bytes, place, &mut quarantined);
            if read < frame.bytes.len() {
                self.joined = Some(Joined {
                    text: frame.bytes.to_vec(),
                    at: read,
                    line: frame.line,
                    offset: frame.offset,
                });
            }
        }
        let rows = self.records.rows();
        if rows == 0 && quarantined.is_empty() && self.at_end {
            return Ok(None);
        }
        self.counts.rows += rows as u64;
        let batch = self.records.take_batch()?;
        Ok(Some(Progress { batch, quarantined }))
    }

    /// Decodes one more record of a line that holds several. Gives its length.
    #[cold]
    fn decode_joined(&mut self, joined: Joined, quarantined: &mut Vec<QuarantinedRecord>) -> usize {
        let rest = &joined.text[joined.at..];
        let decoded = self.records.decode_first(rest);
        let place = (joined.line, joined.offset + joined.at as u64);
        let read = self.counts.take(decoded, rest, place, quarantined);
        if read < rest.len() {
            let at = joined.at + read;
            self.joined = Some(Joined { at, ..joined });
        }
        read
    }

    /// Names text that no line of it could be read of.
    fn check_beginning(&mut self) -> Result<(), TransformError> {
        let found = match self.frames.beginning() {
            Ok(beginning) => Compression::detect(beginning),
            Err(source) => return Err(self.unreadable(source)),
        };
        match found {
            Err(utf_16 @ NotAnExport::Utf16) => Err(utf_16.into()),
            _ => Ok(()),
        }
    }

    fn unreadable(&self, source: io::Error) -> TransformError {
        let inner = source.get_ref();
        if let Some(inner) = inner {
            if inner.is::<TooLarge>() {
                let limit = self.limits.inflated_bytes;
                return TransformError::TooLarge { limit };
            }
            if let Some(framing) = inner.downcast_ref::<FramingError>() {
                return (*framing).into();
            }
        }
        TransformError::Inflate {
            inflated_bytes: self.frames.bytes_read(),
            source,
        }
    }

    /// The blob's counts; whole once `next_batch` gave none.
    pub fn finish(self) -> BlobCounts {
        let drift = self.records.take_drift();
        self.records.keep_line_buffer(self.frames.into_buffer());
        BlobCounts {
            rows_rescued: drift.rows_rescued,
            drift: drift.paths,
            column_nulls: drift.column_nulls,
            ..self.counts
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use dataset::{Dataset, Snapshot};
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn decoder() -> RecordDecoder {
        let snapshot = Snapshot {
            dataset: "info_gathering".to_owned(),
            org_id: "47d41a0c-188d-46d3-bbea-a93dbc0bfcaa".parse().unwrap(),
            generated_time: chrono::DateTime::UNIX_EPOCH,
        };
        RecordDecoder::new(&Dataset::built_in("info_gathering").unwrap(), &snapshot)
    }

    const LIMITS: BatchLimits = BatchLimits {
        rows: 2,
        line_bytes: 60,
        inflated_bytes: 1 << 20,
    };

    struct Decoded {
        batch_rows: Vec<usize>,
        quarantined: Vec<QuarantinedRecord>,
        counts: BlobCounts,
    }

    fn decode(compressed: &[u8], records: &mut RecordDecoder) -> Result<Decoded, TransformError> {
        let mut blob = decode_blob(compressed, None, GroupSource::BlobPath(0), records, LIMITS)?;
        let (mut batch_rows, mut quarantined) = (Vec::new(), Vec::new());
        while let Some(progress) = blob.next_batch()? {
            batch_rows.push(progress.batch.rows.num_rows());
            quarantined.extend(progress.quarantined);
        }
        let counts = blob.finish();
        Ok(Decoded {
            batch_rows,
            quarantined,
            counts,
        })
    }

    #[test]
    fn odd_line_ends_and_members_lose_no_record() {
        let members = [
            gzip("\u{feff}{\"DeviceId\":\"a\"}\r\n\r\n  \n{\"DeviceId\":\"b\"}\n{\"Dev"),
            gzip("iceId\":\"c\"}"),
        ];
        let decoded = decode(&members.concat(), &mut decoder()).unwrap();
        assert_eq!(decoded.batch_rows, [2, 1]);
        assert_eq!((decoded.counts.records, decoded.counts.rows), (3, 3));
    }

    #[test]
    fn bad_records_are_quarantined_with_line_offset_and_reason() {
        let long = "x".repeat(61);
        let text = format!(
            "{{\"DeviceId\":\"a\"}}\nbad\n\n{{}}\n[]\n{long}\n{{\"DeviceId\":\"b\",\"New\":1}}\n"
        );
        let decoded = decode(&gzip(&text), &mut decoder()).unwrap();
        let found: Vec<_> = decoded
            .quarantined
            .iter()
            .map(|record| (record.line, record.offset, record.reason.code()))
            .collect();
        assert_eq!(
            found,
            [
                (2, 17, "invalid_json"),
                (4, 22, "missing_key"),
                (5, 25, "not_an_object"),
                (6, 28, "line_too_long")
            ]
        );
        assert_eq!(decoded.quarantined[0].raw, b"bad");
        let counts = decoded.counts;
        assert_eq!(
            (
                counts.records,
                counts.rows,
                counts.quarantined,
                counts.rows_rescued
            ),
            (6, 2, 4, 1)
        );
        assert_eq!(counts.drift[&("New".into(), DriftKind::Unnamed)], 1);
    }

    #[test]
    fn a_stream_of_no_lines_has_no_records_and_no_body_is_an_error() {
        let decoded = decode(&gzip(""), &mut decoder()).unwrap();
        assert_eq!(
            (decoded.batch_rows, decoded.counts),
            (vec![], BlobCounts::default())
        );
        assert!(matches!(
            decode(b"", &mut decoder()),
            Err(TransformError::Inflate {
                inflated_bytes: 0,
                ..
            })
        ));
    }

    #[test]
    fn a_blob_that_inflates_too_far_is_an_error() {
        let bomb = gzip(&"{\"DeviceId\":\"a\"}\n".repeat(1 << 16));
        let refused = decode(&bomb, &mut decoder());
        assert!(matches!(
            refused,
            Err(TransformError::TooLarge { limit: 1_048_576 })
        ));
    }

    #[test]
    fn hostile_lines_are_quarantined_whole() {
        let deep = "[".repeat(20);
        let text =
            format!("{{\"DeviceId\":\"a\\u0000b\"}}\n{{\"DeviceId\":\"a\0\"}}\n\0\n{deep}\n");
        let mut bytes = text.into_bytes();
        bytes.extend(b"{\"DeviceId\":\"\xff\"\n");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&bytes).unwrap();
        let decoded = decode(&encoder.finish().unwrap(), &mut decoder()).unwrap();
        assert_eq!((decoded.counts.rows, decoded.counts.quarantined), (1, 4));
        let raw: Vec<&[u8]> = decoded
            .quarantined
            .iter()
            .map(|record| &record.raw[..])
            .collect();
        assert_eq!(raw[0], b"{\"DeviceId\":\"a\0\"}");
        assert_eq!(raw[1], b"\0");
        assert_eq!(raw[3], b"{\"DeviceId\":\"\xff\"");
        assert_eq!(decoded.quarantined[3].reason.code(), "invalid_utf8");
    }

    #[test]
    fn a_decoder_goes_from_blob_to_blob_without_mixing_them() {
        let mut records = decoder();
        let one = decode(&gzip("{\"DeviceId\":\"a\",\"New\":1}"), &mut records).unwrap();
        let two = decode(&gzip("{\"DeviceId\":\"b\"}"), &mut records).unwrap();
        assert_eq!((one.counts.rows_rescued, two.counts.rows_rescued), (1, 0));
        assert!(two.counts.drift.is_empty());
    }

    #[test]
    fn plain_and_padded_files_and_arrays_hold_the_same_records() {
        let lines = "{\"DeviceId\":\"a\"}\n{\"DeviceId\":\"b\"}\nbad\n";
        let array = "[{\"DeviceId\":\"a\"},\n{\"DeviceId\":\"b\"},\nbad]";
        let padded = [gzip(lines), vec![0; 700]].concat();
        for blob in [
            gzip(lines),
            padded,
            lines.into(),
            gzip(array),
            array.into(),
            format!("\u{feff}{array}").into_bytes(),
        ] {
            let decoded = decode(&blob, &mut decoder()).unwrap();
            assert_eq!((decoded.counts.rows, decoded.counts.quarantined), (2, 1));
            assert_eq!(decoded.quarantined[0].line, 3);
            assert_eq!(decoded.quarantined[0].raw, b"bad");
        }
    }

    #[test]
    fn records_on_one_line_are_rows_and_bad_ones_stand_alone() {
        let text = "{\"DeviceId\":\"a\"}{\"DeviceId\":\"b\"} {\"DeviceId\":\"c\"}{\"De\n{\"DeviceId\":\"d\"}x\n";
        let decoded = decode(&gzip(text), &mut decoder()).unwrap();
        assert_eq!(decoded.batch_rows, [2, 1]);
        let found: Vec<_> = decoded
            .quarantined
            .iter()
            .map(|record| (record.line, record.offset, &record.raw[..]))
            .collect();
        assert_eq!(
            found,
            [
                (1, 49, &b"{\"De"[..]),
                (2, 54, &b"{\"DeviceId\":\"d\"}x"[..])
            ]
        );
        assert_eq!((decoded.counts.records, decoded.counts.rows), (5, 3));
    }

    #[test]
    fn a_file_that_is_no_export_is_named_for_what_it_is() {
        let utf_16: Vec<u8> = "{}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&utf_16).unwrap();
        let held = encoder.finish().unwrap();
        for (blob, expected) in [
            (utf_16, NotAnExport::Utf16),
            (held, NotAnExport::Utf16),
            (b"<html>".to_vec(), NotAnExport::Markup),
        ] {
            let refused = decode(&blob, &mut decoder()).map(|decoded| decoded.counts);
            assert!(
                matches!(refused, Err(TransformError::NotAnExport(found)) if found == expected),
                "{refused:?}"
            );
        }
        let open = decode(b"[{\"DeviceId\":\"a\"}\n,", &mut decoder());
        assert!(matches!(
            open,
            Err(TransformError::Framing(FramingError { line: 2, .. }))
        ));
    }

    #[test]
    fn a_blob_of_the_service_is_gzip_or_an_error() {
        let mut records = decoder();
        let gzip = Some(crate::decompression::Compression::Gzip);
        let group = GroupSource::BlobPath(0);
        let mut blob = decode_blob(&b"{}\n"[..], gzip, group, &mut records, LIMITS).unwrap();
        let refused = blob.next_batch();
        assert!(matches!(refused, Err(TransformError::Inflate { .. })));
    }
}
