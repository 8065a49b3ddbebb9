//! Rows to row groups: those of one device group as they come, those of several sorted by group first.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::error::ArrowError;
use transformer::{DecodedBatch, TransformError};
use writer::{FileFormat, RowGroupEncoder};

use crate::error::PipelineError;
use crate::plan::SizedBlob;
use crate::work::segment_output::SegmentOutput;
use crate::work::segment_sink::SegmentSink;

/// Bytes of rows of several partitions that are sorted together in memory.
const SORTED_BYTES: usize = 32 << 20;

/// An error that does not know its blob yet.
pub(crate) enum RowGroupError {
    Arrow(ArrowError),
    Pipeline(PipelineError),
}

impl RowGroupError {
    pub(crate) fn for_blob(self, blob: &SizedBlob) -> PipelineError {
        match self {
            Self::Arrow(error) => PipelineError::Transform {
                blob: blob.path.to_string(),
                source: TransformError::Batch(error),
            },
            Self::Pipeline(error) => error,
        }
    }
}

impl From<ArrowError> for RowGroupError {
    fn from(error: ArrowError) -> Self {
        Self::Arrow(error)
    }
}

impl From<PipelineError> for RowGroupError {
    fn from(error: PipelineError) -> Self {
        Self::Pipeline(error)
    }
}

/// Bytes of the rows' values. What their arrays have room for beyond depends on the batches before, and so on which thread had
/// them; and where rows are cut must not: the same snapshot gives the same files.
fn bytes_of(rows: &RecordBatch) -> Result<usize, ArrowError> {
    let columns = rows.columns().iter();
    columns
        .map(|column| column.to_data().get_slice_memory_size())
        .sum()
}

/// Collects rows into row groups, and sends those that are full.
pub(crate) struct RowGroupBuilder<'a> {
    format: &'a FileFormat,
    encoder: &'a mut RowGroupEncoder,
    /// The device group of the rows that are being encoded.
    open: i64,
    /// RowGroupBuilder of several device groups that wait to be sorted.
    unsorted: Vec<DecodedBatch>,
    unsorted_bytes: usize,
}

impl<'a> RowGroupBuilder<'a> {
    /// `encoder` is an empty one of that format.
    pub(crate) fn new(format: &'a FileFormat, encoder: &'a mut RowGroupEncoder) -> Self {
        Self {
            format,
            encoder,
            open: 0,
            unsorted: Vec::new(),
            unsorted_bytes: 0,
        }
    }

    /// Encodes rows of one device group; a full row group is sent.
    pub(crate) fn add(
        &mut self,
        group: i64,
        rows: &RecordBatch,
        sink: &mut SegmentSink,
    ) -> Result<(), PipelineError> {
        let mut rest = rows.clone();
        while rest.num_rows() > 0 {
            if self.open != group || self.encoder.rows() >= self.format.row_group_rows() {
                self.close(sink)?;
                self.open = group;
            }
            let fits = self.format.row_group_rows() - self.encoder.rows();
            if rest.num_rows() <= fits {
                // Most batches fit, and a slice of 140 columns is 140 allocations.
                self.encoder.write(&rest)?;
                break;
            }
            self.encoder.write(&rest.slice(0, fits))?;
            rest = rest.slice(fits, rest.num_rows() - fits);
        }
        Ok(())
    }

    fn close(&mut self, sink: &mut SegmentSink) -> Result<(), PipelineError> {
        if self.encoder.rows() == 0 {
            return Ok(());
        }
        let row_group = self.encoder.finish()?;
        sink.send(SegmentOutput::RowGroup {
            rbac_group_id: self.open,
            row_group,
        })
    }

    /// Keeps rows of several device groups until there are enough to be sorted by group and encoded.
    pub(crate) fn add_unsorted(
        &mut self,
        batch: DecodedBatch,
        sink: &mut SegmentSink,
    ) -> Result<(), RowGroupError> {
        self.unsorted_bytes += bytes_of(&batch.rows)?;
        self.unsorted.push(batch);
        if self.unsorted_bytes < SORTED_BYTES {
            return Ok(());
        }
        self.sort(sink)
    }

    fn sort(&mut self, sink: &mut SegmentSink) -> Result<(), RowGroupError> {
        let batches = std::mem::take(&mut self.unsorted);
        self.unsorted_bytes = 0;
        let Some(first) = batches.first() else {
            return Ok(());
        };
        let rows = concat_batches(
            &first.rows.schema(),
            batches.iter().map(|batch| &batch.rows),
        )?;
        let mut rows_of_group: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (row, group) in (0..).zip(batches.iter().flat_map(|batch| &batch.rbac_group_ids)) {
            rows_of_group.entry(*group).or_default().push(row);
        }
        drop(batches);
        for (group, indices) in rows_of_group {
            let rows = take_record_batch(&rows, &UInt32Array::from(indices))?;
            self.add(group, &rows, sink)?;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self, sink: &mut SegmentSink) -> Result<(), PipelineError> {
        self.sort(sink).map_err(|error| match error {
            RowGroupError::Arrow(error) => PipelineError::Defect(error.to_string()),
            RowGroupError::Pipeline(error) => error,
        })?;
        self.close(sink)
    }
}
