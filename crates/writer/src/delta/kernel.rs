//! Delta's kernel on a table's log: reads it, and writes its checkpoints, a few actions at a time.
//!
//! With the kernel's own settings a thousand files' statistics are in memory at once, and a checkpoint whole. All calls block.
//! Knows nothing of snapshots and partitions.

use std::num::NonZero;
use std::sync::Arc;

use delta_kernel::checkpoint::{CheckpointWriter, LastCheckpointHintStats};
use delta_kernel::engine::arrow_data::EngineDataArrowExt;
use delta_kernel::scan::StatsOptions;
use delta_kernel::scan::state::ScanFile;
use delta_kernel::{DeltaResult, Engine, Error, Snapshot, SnapshotRef};
use delta_kernel_default_engine::DefaultEngineBuilder;
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use object_store::ObjectStore;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::store::document_writer::DocumentWriter;

/// Actions that are read at a time; of an added file, 3 KB.
const BATCH_ACTIONS: NonZero<usize> = NonZero::new(256).unwrap();
/// Files of the log that are open at a time: the entries since a checkpoint. They are read one after the other.
const OPEN_FILES: NonZero<usize> = NonZero::new(10).unwrap();
/// Actions in a row group of a checkpoint: what a reader holds of it, compressed.
const ROW_GROUP_ACTIONS: usize = 2 << 10;

/// The log as it was at one time.
#[derive(Clone)]
pub(crate) struct KernelLog {
    engine: Arc<dyn Engine>,
    snapshot: SnapshotRef,
}

/// A checkpoint that has been written, and of which the log does not tell yet.
pub(crate) struct WrittenCheckpoint {
    writer: CheckpointWriter,
    hint: LastCheckpointHintStats,
}

/// How a store is called by the kernel. To be made in tokio's context, and used from a thread that may block. A store on local disk
/// is read by one thread of the kernel's own, another one by those of the runtime, which have its connections.
pub(crate) fn engine(store: Arc<dyn ObjectStore>, is_local: bool) -> Arc<dyn Engine> {
    let builder = DefaultEngineBuilder::new(store)
        .with_batch_size(BATCH_ACTIONS)
        .with_buffer_size(OPEN_FILES);
    let runtime = Handle::current();
    match runtime.runtime_flavor() {
        _ if is_local => Arc::new(builder.build()),
        RuntimeFlavor::CurrentThread => Arc::new(builder.build()),
        _ => {
            let executor = TokioMultiThreadExecutor::new(runtime);
            Arc::new(builder.with_task_executor(Arc::new(executor)).build())
        }
    }
}

impl KernelLog {
    /// The log of the table at a URL of the engine's store, up to version `last`, or to its last entry.
    pub(crate) fn read(
        engine: Arc<dyn Engine>,
        table: &str,
        last: Option<u64>,
    ) -> DeltaResult<Self> {
        let builder = Snapshot::builder_for(table);
        let builder = match last {
            Some(version) => builder.at_version(version),
            None => builder,
        };
        let snapshot = builder.build(engine.as_ref())?;
        Ok(Self { engine, snapshot })
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Folds the files that are part of the table, without their statistics.
    pub(crate) fn fold_files<T>(&self, mut found: T, add: fn(&mut T, ScanFile)) -> DeltaResult<T> {
        let scan = Arc::clone(&self.snapshot).scan_builder();
        let scan = scan
            .with_stats(StatsOptions::none())
            .without_row_transforms()
            .build()?;
        for batch in scan.scan_metadata(self.engine.as_ref())? {
            found = batch?.visit_scan_files(found, add)?;
        }
        Ok(found)
    }

    /// The last version that was committed under an application id.
    pub(crate) fn transaction(&self, app_id: &str) -> DeltaResult<Option<i64>> {
        self.snapshot
            .get_app_id_version(app_id, self.engine.as_ref())
    }

    /// Writes what a checkpoint of the log holds into a document, which is then to be put in its place.
    pub(crate) fn write_checkpoint(
        &self,
        document: &mut DocumentWriter,
    ) -> DeltaResult<WrittenCheckpoint> {
        let engine = self.engine.as_ref();
        let writer = Arc::clone(&self.snapshot).create_checkpoint_writer(engine)?;
        let mut actions = writer.checkpoint_data(engine)?;
        let state = actions.state();
        let mut next = || {
            let batch = actions.next().transpose()?;
            let selected =
                batch.map(|batch| batch.apply_selection_vector()?.try_into_record_batch());
            selected.transpose()
        };
        let first = next()?.ok_or_else(|| Error::generic("the log has no actions"))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ACTIONS))
            .set_dictionary_enabled(false)
            // Tells readers which row groups have what they look for.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .build();
        let mut file = ArrowWriter::try_new(&mut *document, first.schema(), Some(properties))?;
        file.write(&first)?;
        while let Some(batch) = next()? {
            file.write(&batch)?;
        }
        file.close()?;
        drop(actions);
        let state = Arc::into_inner(state)
            .ok_or_else(|| Error::generic("the actions of a checkpoint are still being read"))?;
        let hint = LastCheckpointHintStats::from_reconciliation_state(state, document.bytes(), 0)?;
        Ok(WrittenCheckpoint { writer, hint })
    }

    /// Makes the log tell of a checkpoint that is in its place.
    pub(crate) fn announce(&self, checkpoint: WrittenCheckpoint) -> DeltaResult<()> {
        checkpoint
            .writer
            .finalize(self.engine.as_ref(), &checkpoint.hint)
    }
}

impl std::fmt::Debug for KernelLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelLog").finish_non_exhaustive()
    }
}
