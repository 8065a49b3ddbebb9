//! The CPU's share of the work: the blobs of one segment, decoded and encoded into row groups, in one synchronous job.

use std::collections::VecDeque;

use transformer::{BatchLimits, Compression, GroupSource, TransformError, decode_blob};
use writer::KeyHashes;

use crate::error::PipelineError;
use crate::events::{Event, JobObserver};
use crate::plan::SizedBlob;
use crate::work::fetch::FetchedBlob;
use crate::work::row_groups::RowGroupBuilder;
use crate::work::segment_context::{SegmentBuffers, SegmentContext, inflate_limit};
use crate::work::segment_output::SegmentOutput;
use crate::work::segment_sink::{CancellableReader, OutputChannel, SegmentSink};

/// Decodes and encodes one segment. Returns the outputs that the channel had no room for.
pub(crate) fn process(
    context: &SegmentContext,
    blobs: Vec<FetchedBlob>,
    channel: &OutputChannel,
    observer: &JobObserver,
) -> Result<VecDeque<SegmentOutput>, PipelineError> {
    let mut sink = SegmentSink::new(channel.clone(), &context.spool_directory);
    let mut buffers = context.take_buffers()?;
    let SegmentBuffers {
        records: decoder,
        keys: key_hasher,
        encoder,
    } = &mut buffers;
    let mut rows = RowGroupBuilder::new(&context.format, encoder);
    for FetchedBlob { blob, spool } in blobs {
        let group_source = context.group_source(&blob.path);
        // Rows of several groups are put together before they are sorted, for which their batches have to be of one type.
        decoder.allow_dictionaries(blob.path.rbac_group_id().is_some());
        let (inflated_bytes, rule) = inflate_limit(context.limits.inflated_bytes, blob.bytes);
        let limits = BatchLimits {
            inflated_bytes,
            ..context.limits
        };
        let reader = CancellableReader {
            reader: spool
                .into_reader()
                .map_err(|source| PipelineError::Machine {
                    what: format!("read the spool of blob {}", blob.path),
                    source,
                })?,
            channel: channel.clone(),
        };
        let mut keys = KeyHashes::new(&context.keys);
        // What stopped the job is the reason, and not that its blob ended early.
        let compression = context.compression;
        let failed = |error| {
            let stopped = channel.check_open().err();
            stopped.unwrap_or_else(|| undecodable(&blob, compression, rule, error))
        };
        let mut batches =
            decode_blob(reader, compression, group_source, decoder, limits).map_err(failed)?;
        while let Some(progress) = batches.next_batch().map_err(failed)? {
            channel.check_open()?;
            let (decoded, quarantined) = (progress.batch, progress.quarantined);
            key_hasher.add(&decoded.rows, &mut keys)?;
            observer(Event::RecordsRead {
                records: (decoded.rows.num_rows() + quarantined.len()) as u64,
            });
            if !quarantined.is_empty() {
                sink.send(SegmentOutput::Quarantined {
                    blob: blob.path.to_string(),
                    records: quarantined,
                })?;
            }
            match group_source {
                GroupSource::BlobPath(group) => rows.add(group, &decoded.rows, &mut sink)?,
                GroupSource::Records { .. } => rows
                    .add_unsorted(decoded, &mut sink)
                    .map_err(|error| error.for_blob(&blob))?,
            }
        }
        let counts = batches.finish();
        let keys = keys.finish()?;
        sink.send(SegmentOutput::BlobDone { blob, counts, keys })?;
    }
    rows.finish(&mut sink)?;
    context.buffers.give_back(buffers);
    Ok(sink.into_unsent())
}

/// `rule` is the one that limits what the blob may inflate to; `compression` is not known of a file on disk.
fn undecodable(
    blob: &SizedBlob,
    compression: Option<Compression>,
    rule: &'static str,
    source: TransformError,
) -> PipelineError {
    let blob = blob.path.to_string();
    match source {
        TransformError::TooLarge { limit } => PipelineError::BlobTooLarge { blob, limit, rule },
        source if compression.is_none() => PipelineError::UnreadableFile { blob, source },
        source => PipelineError::Transform { blob, source },
    }
}
