//! The CPU's share of a replay: quarantined records, decoded again and encoded into row groups, in one synchronous job.

use std::collections::VecDeque;

use dataset::BlobPath;
use tokio::sync::mpsc;
use transformer::{BlobCounts, QuarantinedRecord};
use writer::KeyHashes;

use crate::error::PipelineError;
use crate::plan::SizedBlob;
use crate::work::quarantine_file::QuarantineEntry;
use crate::work::row_groups::RowGroupBuilder;
use crate::work::segment_context::{SegmentBuffers, SegmentContext};
use crate::work::segment_output::SegmentOutput;
use crate::work::segment_sink::{OutputChannel, SegmentSink};

/// Decodes records again, file by file, in the order in which they were quarantined. Returns the outputs that the channel had
/// no room for.
pub(super) fn decode_again(
    context: &SegmentContext,
    mut files: mpsc::Receiver<Vec<QuarantineEntry>>,
    channel: &OutputChannel,
) -> Result<VecDeque<SegmentOutput>, PipelineError> {
    let mut sink = SegmentSink::new(channel.clone(), &context.spool_directory);
    let SegmentBuffers {
        records: mut decoder,
        keys: mut key_hasher,
        mut encoder,
    } = context.take_buffers()?;
    let mut rows = RowGroupBuilder::new(&context.format, &mut encoder);
    while let Some(records) = files.blocking_recv() {
        for of_blob in records.chunk_by(|one, other| one.blob == other.blob) {
            let Some(first) = of_blob.first() else {
                continue;
            };
            let path = BlobPath::try_from(first.blob.clone())
                .map_err(|error| PipelineError::Defect(format!("blob path: {error}")))?;
            decoder.set_group_source(context.group_source(&path));
            let blob = SizedBlob { path, bytes: 0 };
            let (mut counts, mut keys) = (BlobCounts::default(), KeyHashes::new(&context.keys));
            for batch in of_blob.chunks(context.limits.rows) {
                channel.check_open()?;
                let still_bad: Vec<_> = batch
                    .iter()
                    .filter_map(|record| {
                        let raw = record.bytes().unwrap_or_default();
                        let reason = decoder.decode(&raw).err()?;
                        Some(QuarantinedRecord {
                            line: record.line,
                            offset: record.offset,
                            reason,
                            raw,
                        })
                    })
                    .collect();
                let decoded = decoder
                    .take_batch()
                    .map_err(|error| PipelineError::Transform {
                        blob: blob.path.to_string(),
                        source: error.into(),
                    })?;
                key_hasher.add(&decoded.rows, &mut keys)?;
                counts.records += batch.len() as u64;
                counts.rows += decoded.rows.num_rows() as u64;
                counts.quarantined += still_bad.len() as u64;
                rows.add_unsorted(decoded, &mut sink)
                    .map_err(|error| error.for_blob(&blob))?;
                sink.send(SegmentOutput::Quarantined {
                    blob: blob.path.to_string(),
                    records: still_bad,
                })?;
            }
            let drift = decoder.take_drift();
            counts.rows_rescued = drift.rows_rescued;
            counts.drift = drift.paths;
            counts.column_nulls = drift.column_nulls;
            let keys = keys.finish()?;
            sink.send(SegmentOutput::BlobDone { blob, counts, keys })?;
        }
    }
    rows.finish(&mut sink)?;
    Ok(sink.into_unsent())
}
