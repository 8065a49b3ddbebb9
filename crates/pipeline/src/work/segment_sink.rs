//! Where the job of a segment sends its outputs, in order: a bounded channel to its part.
//!
//! While the channel is full, row groups go to an unnamed temporary file and the job goes on, so that a segment that is not yet next in
//! its part leaves its thread: memory is bounded by the channel and one row group, whatever the size of the blobs.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;
use writer::RowGroupSpool;

use crate::error::PipelineError;
use crate::work::segment_output::SegmentOutput;

/// The channel from a job to its part. Closed when the part, or the run, has ended.
#[derive(Debug, Clone)]
pub(crate) struct OutputChannel {
    pub(crate) outputs: mpsc::Sender<SegmentOutput>,
    pub(crate) cancel: CancellationToken,
}

impl OutputChannel {
    /// [`PipelineError::Cancelled`] if nobody receives any more.
    pub(crate) fn check_open(&self) -> Result<(), PipelineError> {
        if self.cancel.is_cancelled() || self.outputs.is_closed() {
            return Err(PipelineError::Cancelled);
        }
        Ok(())
    }
}

/// Sends outputs in order. Stops the job when nobody receives them any more.
pub(crate) struct SegmentSink {
    channel: OutputChannel,
    /// Outputs that found the channel full.
    backlog: VecDeque<SegmentOutput>,
    directory: PathBuf,
    spool: Option<RowGroupSpool>,
}

impl SegmentSink {
    /// `directory` is for row groups that find the channel full.
    pub(crate) fn new(channel: OutputChannel, directory: &Path) -> Self {
        Self {
            channel,
            backlog: VecDeque::new(),
            directory: directory.to_owned(),
            spool: None,
        }
    }

    /// Sends an output, or keeps it for later, a row group on disk. Blocks for quarantined records: they are in memory, and
    /// there may be any number of them.
    pub(crate) fn send(&mut self, output: SegmentOutput) -> Result<(), PipelineError> {
        self.channel.check_open()?;
        if matches!(output, SegmentOutput::Quarantined { .. }) {
            self.backlog.push_back(output);
            for output in self.backlog.drain(..) {
                let sent = self.channel.outputs.blocking_send(output);
                sent.map_err(|_| PipelineError::Cancelled)?;
            }
            return Ok(());
        }
        while let Some(oldest) = self.backlog.pop_front() {
            if let Some(oldest) = self.try_send(oldest)? {
                self.backlog.push_front(oldest);
                break;
            }
        }
        let output = if self.backlog.is_empty() {
            self.try_send(output)?
        } else {
            Some(output)
        };
        if let Some(output) = output {
            let output = self.spool(output)?;
            self.backlog.push_back(output);
        }
        Ok(())
    }

    /// What is not sent yet when the job ends.
    pub(crate) fn into_unsent(self) -> VecDeque<SegmentOutput> {
        self.backlog
    }

    /// Gives the output back if the channel is full.
    fn try_send(&self, output: SegmentOutput) -> Result<Option<SegmentOutput>, PipelineError> {
        match self.channel.outputs.try_send(output) {
            Ok(()) => Ok(None),
            Err(TrySendError::Full(output)) => Ok(Some(output)),
            Err(TrySendError::Closed(_)) => Err(PipelineError::Cancelled),
        }
    }

    fn spool(&mut self, output: SegmentOutput) -> Result<SegmentOutput, PipelineError> {
        let SegmentOutput::RowGroup {
            rbac_group_id,
            row_group,
        } = output
        else {
            return Ok(output);
        };
        let directory = &self.directory;
        let failed = |source| PipelineError::Machine {
            what: format!("keep a row group in {}", directory.display()),
            source,
        };
        let spool = match &mut self.spool {
            Some(spool) => spool,
            none => none.insert(RowGroupSpool::new(directory).map_err(failed)?),
        };
        Ok(SegmentOutput::SpooledRowGroup {
            rbac_group_id,
            row_group: spool.put(row_group).map_err(failed)?,
        })
    }
}

/// Reads while somebody receives what is made of the bytes: a blob with long records or none stops within.
pub(crate) struct CancellableReader<R> {
    pub(crate) reader: R,
    pub(crate) channel: OutputChannel,
}

impl<R: BufRead> BufRead for CancellableReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.channel.check_open().map_err(io::Error::other)?;
        self.reader.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.reader.consume(bytes);
    }
}

impl<R: BufRead> Read for CancellableReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?.read(buffer)?;
        self.consume(bytes);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dataset::Snapshot;
    use writer::{Compatibility, FileFormat, ParquetSettings, RowGroupEncoder};

    use super::*;
    use crate::fixtures::{ORG, Place};

    #[test]
    fn bytes_are_read_while_somebody_receives() {
        let (outputs, receiver) = mpsc::channel(1);
        let cancel = CancellationToken::new();
        let mut reader = CancellableReader {
            reader: &[1, 2, 3][..],
            channel: OutputChannel { outputs, cancel },
        };
        let mut one = [0];
        assert_eq!(reader.read(&mut one).unwrap(), 1);
        drop(receiver);
        assert!(reader.read(&mut one).is_err());

        let (outputs, _receiver) = mpsc::channel(1);
        reader.channel.outputs = outputs;
        assert_eq!(reader.read(&mut one).unwrap(), 1);
        reader.channel.cancel.cancel();
        assert!(reader.read(&mut one).is_err());
    }

    #[test]
    fn row_groups_wait_on_disk_and_quarantined_records_block() {
        let place = Place::new();
        let settings = place.settings(&[]);
        let snapshot = Snapshot {
            dataset: settings.dataset.name.clone(),
            org_id: ORG.parse().unwrap(),
            generated_time: chrono::DateTime::UNIX_EPOCH,
        };
        let parquet = ParquetSettings {
            row_group_rows: 8,
            zstd_level: 1,
            compatibility: Compatibility::Modern,
        };
        let format =
            Arc::new(FileFormat::new(&settings.dataset, &snapshot, "test", &parquet).unwrap());
        let mut encoder = RowGroupEncoder::new(&format).unwrap();
        let mut row_group = |rbac_group_id| SegmentOutput::RowGroup {
            rbac_group_id,
            row_group: encoder.finish().unwrap(),
        };
        let (outputs, mut receiver) = mpsc::channel(1);
        let cancel = CancellationToken::new();
        let mut sink = SegmentSink {
            channel: OutputChannel { outputs, cancel },
            backlog: VecDeque::new(),
            directory: place.path("").into(),
            spool: None,
        };
        let group_of = |output: &SegmentOutput| match output {
            SegmentOutput::RowGroup { rbac_group_id, .. } => (*rbac_group_id, false),
            SegmentOutput::SpooledRowGroup { rbac_group_id, .. } => (*rbac_group_id, true),
            _ => panic!("{output:?}"),
        };
        for group in 0..3 {
            sink.send(row_group(group)).unwrap();
        }
        assert_eq!(group_of(&receiver.try_recv().unwrap()), (0, false));
        sink.send(row_group(3)).unwrap();
        assert_eq!(group_of(&receiver.try_recv().unwrap()), (1, true));

        let taker = std::thread::spawn(move || {
            let taken = [(); 3].map(|()| receiver.blocking_recv().unwrap());
            (taken, receiver)
        });
        let (blob, records) = ("b".to_owned(), Vec::new());
        sink.send(SegmentOutput::Quarantined { blob, records })
            .unwrap();
        let ([two, three, lines], mut receiver) = taker.join().unwrap();
        assert_eq!((group_of(&two), group_of(&three)), ((2, true), (3, true)));
        assert!(matches!(lines, SegmentOutput::Quarantined { .. }));

        sink.send(row_group(4)).unwrap();
        sink.send(row_group(5)).unwrap();
        let rest: Vec<_> = sink.into_unsent().iter().map(group_of).collect();
        assert_eq!(rest, [(5, true)]);
        assert_eq!(group_of(&receiver.try_recv().unwrap()), (4, false));
        assert!(receiver.try_recv().is_err());
    }
}
