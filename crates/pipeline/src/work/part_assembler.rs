//! Assembles one part: the outputs of its segments, in order, into its files. Staged whole, or nothing of it is left.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use dataset::Partition;
use tokio::sync::mpsc;
use writer::{EncodedRowGroup, SpooledRowGroup, StagedFileWriter};

use crate::error::PipelineError;
use crate::events::{Event, JobObserver};
use crate::work::quarantine_file::QuarantineWriter;
use crate::work::run_context::RunContext;
use crate::work::segment_output::SegmentOutput;
use crate::work::segment_stream::PartInput;
use crate::work::staged_part::StagedPart;

/// A part and what is made of it so far.
pub(crate) struct PartAssembler<'a> {
    context: &'a RunContext,
    /// The part's number.
    number: u32,
    observer: &'a JobObserver,
    /// Files under way, by device group.
    files: BTreeMap<i64, StagedFileWriter>,
    staged: StagedPart,
}

impl<'a> PartAssembler<'a> {
    pub(crate) fn new(context: &'a RunContext, number: u32, observer: &'a JobObserver) -> Self {
        Self {
            context,
            number,
            observer,
            files: BTreeMap::new(),
            staged: StagedPart::default(),
        }
    }

    /// Takes the outputs of the part's segments, in order, into the part's files. After an error nothing of it is left.
    pub(crate) async fn assemble(
        mut self,
        segments: mpsc::UnboundedReceiver<PartInput>,
    ) -> Result<StagedPart, PipelineError> {
        let filled = self.fill(segments).await;
        let (part, observer) = (self.number, self.observer);
        let staged = self.finish(filled).await?;
        observer(Event::PartStaged {
            part,
            rows: staged.files.iter().map(|file| file.data.rows).sum(),
            bytes: staged.files.iter().map(|file| file.data.bytes).sum(),
        });
        Ok(staged)
    }

    async fn fill(
        &mut self,
        mut segments: mpsc::UnboundedReceiver<PartInput>,
    ) -> Result<(), PipelineError> {
        let mut quarantine = QuarantineWriter::new(
            &self.context.lake,
            &self.context.segments.snapshot,
            &self.context.run_id,
            format!("part-{:05}", self.number),
            Arc::clone(&self.context.quarantined),
        );
        loop {
            let mut segment = match segments.recv().await {
                Some(PartInput::Segment(segment)) => segment,
                Some(PartInput::End) => break,
                None => return Err(PipelineError::Cancelled),
            };
            while let Some(output) = segment.next().await? {
                self.add(output, &mut quarantine).await?;
            }
        }
        self.staged.quarantine_files = quarantine.finish().await?;
        Ok(())
    }

    async fn add(
        &mut self,
        output: SegmentOutput,
        quarantine: &mut QuarantineWriter,
    ) -> Result<(), PipelineError> {
        match output {
            SegmentOutput::RowGroup {
                rbac_group_id,
                row_group,
            } => self.file_of(rbac_group_id)?.append(row_group).await?,
            SegmentOutput::SpooledRowGroup {
                rbac_group_id,
                row_group,
            } => {
                let file = self.file_of(rbac_group_id)?;
                file.append(read_back(row_group).await?).await?;
            }
            SegmentOutput::Quarantined { blob, records } => {
                for record in &records {
                    self.staged.count_quarantined(&blob, record);
                }
                quarantine.add(&blob, &records).await?;
            }
            SegmentOutput::BlobDone { blob, counts, keys } => {
                (self.observer)(Event::BlobDone {
                    blob: blob.path.to_string(),
                    records: counts.records,
                    quarantined: counts.quarantined,
                });
                self.staged.add_blob(&blob, counts, keys);
            }
        }
        Ok(())
    }

    /// The part's file of a device group, opened if it was not yet.
    fn file_of(&mut self, rbac_group_id: i64) -> Result<&mut StagedFileWriter, PipelineError> {
        let file = match self.files.entry(rbac_group_id) {
            Entry::Occupied(file) => return Ok(file.into_mut()),
            Entry::Vacant(file) => file,
        };
        let segments = &self.context.segments;
        let partition = Partition {
            generated_date: segments.snapshot.generated_date(),
            column: segments.dataset.partition.column.as_str().into(),
            value: rbac_group_id,
        };
        Ok(file.insert(StagedFileWriter::new(
            &self.context.lake,
            &segments.format,
            &self.context.run_id,
            partition,
            self.number,
            &segments.small_files,
        )?))
    }

    /// Finishes the open files. After an error they are aborted, and with them those that are staged already.
    async fn finish(
        self,
        mut filled: Result<(), PipelineError>,
    ) -> Result<StagedPart, PipelineError> {
        let (part, mut staged) = (self.number, self.staged);
        for file in self.files.into_values() {
            if filled.is_ok() {
                match file.finish().await {
                    Ok(file) => staged.files.extend(file),
                    Err(error) => filled = Err(error.into()),
                }
            } else if let Err(error) = file.abort().await {
                tracing::warn!(%error, part, "an upload could not be aborted");
            }
        }
        if let Err(error) = filled {
            if let Err(error) = writer::abort_files(&self.context.lake, &staged.files).await {
                tracing::warn!(%error, part, "staged files could not be thrown away");
            }
            return Err(error);
        }
        Ok(staged)
    }
}

/// A row group from disk.
async fn read_back(row_group: SpooledRowGroup) -> Result<EncodedRowGroup, PipelineError> {
    let read = tokio::task::spawn_blocking(|| row_group.take()).await;
    read.map_err(|error| PipelineError::Defect(error.to_string()))?
        .map_err(|source| PipelineError::Machine {
            what: "read a row group back from work.spool_dir".to_owned(),
            source,
        })
}
