//! What is to be published, and what became of it.

use std::collections::BTreeMap;

use dataset::{Dataset, Snapshot, SnapshotId};

use crate::commit::followers::Followed;
use crate::parquet::data_file::DataFile;
use crate::stage::staged_file::StagedFile;
use crate::table::current_snapshot::CurrentSnapshot;
use crate::table::manifest::{self, BlobCounts, Manifest};
use crate::table::state::Table;

/// What is to be published.
#[derive(Debug, Clone)]
pub struct PublishRequest {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Its columns.
    pub dataset: Dataset,
    /// The run.
    pub run_id: String,
    /// Version of the program.
    pub program_version: String,
    /// Every staged file of the snapshot.
    pub files: Vec<StagedFile>,
    /// Every blob of the listing.
    pub blobs: Vec<BlobCounts>,
    /// Rows whose unique key another row has.
    pub duplicate_keys: u64,
    /// Of each column: rows without a value, of the rows.
    pub column_nulls: BTreeMap<String, u64>,
    /// The files of the quarantined records.
    pub quarantine_files: Vec<String>,
    /// Whether an older snapshot may be put in the place of its date.
    pub backfill: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishOutcome {
    /// The snapshot is current.
    Committed {
        /// What was published.
        manifest: Box<Manifest>,
        /// The snapshot whose place it took.
        replaced: Option<CurrentSnapshot>,
        /// What became of what follows. The commit stands all the same.
        followed: Followed,
    },
    /// It was current already, or another run committed it meanwhile. The staged files were thrown away.
    Unchanged(CurrentSnapshot),
    /// The lake holds a later one and `backfill` was not asked for. The staged files were thrown away.
    OlderThanCurrent(CurrentSnapshot),
    /// A rollback displaced it and `backfill` was not asked for. The staged files were thrown away.
    RolledBack {
        /// The current one.
        current: CurrentSnapshot,
        /// The latest one that was displaced.
        displaced: SnapshotId,
    },
    /// The store kept refusing the write that decides: others kept committing first, or it has another reason. Nothing was
    /// committed.
    Conflict {
        /// Writes that it refused.
        attempts: u32,
        /// The store's words of the last refusal, without secrets.
        message: String,
    },
    /// Another run took this one for dead: it was silent for too long. Nothing was committed.
    TakenForDead,
}

pub(crate) fn manifest_of(table: &Table<'_>, request: &PublishRequest) -> Manifest {
    let mut files: Vec<DataFile> = request.files.iter().map(|file| file.data.clone()).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Manifest {
        version: manifest::VERSION,
        dataset: request.snapshot.dataset.clone(),
        snapshot: request.snapshot.id(),
        org_id: request.snapshot.org_id.clone(),
        generated_time: request.snapshot.generated_time,
        schema_fingerprint: request.dataset.fingerprint(),
        run_id: request.run_id.clone(),
        program_version: request.program_version.clone(),
        committed_at: table.now,
        rows: files.iter().map(|file| file.rows).sum(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        records_read: request.blobs.iter().map(|blob| blob.records).sum(),
        records_quarantined: request.blobs.iter().map(|blob| blob.quarantined).sum(),
        duplicate_keys: request.duplicate_keys,
        column_nulls: request.column_nulls.clone(),
        amendment: 0,
        quarantine_files: sorted(request.quarantine_files.clone()),
        files,
        blobs: request.blobs.clone(),
    }
}

pub(crate) fn sorted(mut paths: Vec<String>) -> Vec<String> {
    paths.sort();
    paths
}
