//! Record batches in, a committed snapshot out: Parquet parts, object stores, the lake's layout, the commit.
//!
//! ```text
//! RecordBatch -> RowGroupEncoder -> EncodedRowGroup -> StagedFileWriter -> StagedFile -> commit -> manifest,
//! `latest`
//!                (CPU, no I/O)                         (async, streams up)  (not visible) (visible)
//! ```
//!
//! A lake is a local folder, an S3 bucket or an Azure container; [`Lake`] is the only part that knows which.
//! Reads no export and decodes no record, and knows no pipeline settings: values come in as parameters.

mod amend;
mod begun;
mod column_chunk;
mod commit;
mod contention;
mod delta_log;
mod document;
mod draft;
mod error;
mod failpoint;
mod file_format;
mod invariants;
mod kept_buffers;
mod latest;
pub mod layout;
mod local_disk;
mod log_kernel;
mod manifest;
mod open_part;
mod parquet_file;
mod patience;
mod remote;
mod row_group;
mod row_group_spool;
mod snapshots;
mod sorted_folder;
mod staged_file;
mod staging;
mod statistics;
mod store;
mod store_environment;
mod store_identity;
mod store_options;
mod store_value;
mod table;
mod table_schema;
mod text_flaw;
mod upload;
mod vacuum;
mod verify;

#[cfg(test)]
mod fixtures;

pub use amend::{AmendOutcome, AmendRequest, amend};
pub use commit::{
    CommitOutcome, CommitRequest, Standing, abort, abort_files, commit, settle, standing,
};
pub use error::{Error, Result};
pub use file_format::{FileFormat, ParquetSettings};
pub use latest::{CurrentSnapshot, Latest, RetiredSnapshot};
pub use manifest::{BlobCounts, Manifest, DataFile};
pub use row_group::{EncodedRowGroup, KeyRange, RowGroupEncoder};
pub use row_group_spool::{RowGroupSpool, SpooledRowGroup};
pub use snapshots::{
    KeptSnapshot, RollbackOutcome, SnapshotState, log_version, probe_conditional_put, rollback,
    snapshots,
};
pub use staged_file::{StagedFile, StagedFileWriter};
pub use staging::{RunGuard, begin_run};
pub use statistics::{Bounds, ColumnStatistics, StringBounds};
pub use store::{Lake, ObjectInfo};
pub use table::{TableFormat, TableSettings};
pub use text_flaw::TextFlaw;
pub use upload::OpenUpload;
pub use vacuum::{Orphan, OrphanKind, VacuumReport, vacuum};
pub use verify::{Problem, VerifyReport, differing_columns, read_columns, verify};

#[cfg(test)]
mod tests {
    use crate::fixtures;

    #[tokio::test]
    async fn futures_may_change_threads() {
        fn is_send(_: impl Send) {}
        let (_folder, [lake, ..]) = fixtures::lakes();
        let snapshot = fixtures::snapshot(26, 10);
        let request = fixtures::request(&snapshot, "run", Vec::new());
        is_send(crate::standing(
            &lake,
            &snapshot,
            request.table,
            fixtures::now(),
        ));
        is_send(crate::commit(&lake, &request));
        is_send(fixtures::staged(&lake, &snapshot, "run", 1));
        is_send(crate::abort(&lake, "devices", "run", &[]));
        let crate::CommitOutcome::Committed { manifest, .. } =
            crate::commit(&lake, &request).await.unwrap()
        else {
            panic!("not committed");
        };
        is_send(crate::verify(&lake, &manifest, &fixtures::dataset()));
        is_send(lake.list("devices"));
        is_send(lake.delete(&[]));
    }
}
