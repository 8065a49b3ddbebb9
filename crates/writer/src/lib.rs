//! Record batches in, a committed snapshot out: Parquet parts, object stores, the lake's layout, the commit.
//!
//! ```text
//! RecordBatch -> RowGroupEncoder -> EncodedRowGroup -> StagedFileWriter -> StagedFile -> commit -> manifest,
//! `latest`
//!                (CPU, no I/O)                         (async, streams up)  (not visible) (visible)
//! ```
//!
//! Folders are layers, and each uses only those before it: `parquet`, `store`, `delta`, `table`, `stage`, `commit`, `maintain`.
//! A lake is a local folder, an S3 bucket or an Azure container; only `store` knows which.
//! Reads no export and decodes no record, and knows no pipeline settings: values come in as parameters.

mod commit;
mod delta;
mod error;
pub mod layout;
mod maintain;
mod parquet;
mod stage;
mod store;
mod table;

#[cfg(test)]
mod fixtures;

pub use commit::append::{AppendOutcome, AppendRequest, append};
pub use commit::followers::Followed;
pub use commit::publish::publish;
pub use commit::request::{PublishOutcome, PublishRequest};
pub use commit::rollback::{RollbackOutcome, rollback};
pub use commit::standing::{Standing, recover, standing};
pub use commit::traces::delete_old_quarantine;
pub use commit::uploads::{abort, abort_files};
pub use delta::log::FollowedLog;
pub use error::{Error, Result};
pub use maintain::remove::drop_snapshot;
pub use maintain::snapshots::{KeptSnapshot, SnapshotState, log_version, snapshots};
pub use maintain::vacuum::{Orphan, OrphanKind, VacuumOptions, VacuumReport, vacuum};
pub use maintain::verify::{Problem, Verifier, VerifyReport, differing_columns, read_columns};
pub use parquet::data_file::DataFile;
pub use parquet::format::{Compatibility, FileFormat, ParquetSettings};
pub use parquet::row_group::{EncodedRowGroup, RowGroupEncoder};
pub use parquet::row_group_spool::{RowGroupSpool, SpooledRowGroup};
pub use parquet::statistics::{Bounds, ColumnStatistics, StringBounds};
pub use stage::key_hashes::{
    DuplicateKey, Duplicates, KeyHasher, KeyHashes, KeySpool, duplicate_keys,
};
pub use stage::staged_file::{StagedFile, StagedFileWriter};
pub use store::lake::Lake;
pub use store::lease::{RunGuard, begin_run, probe_store};
pub use store::object::ObjectInfo;
pub use store::small_files::{SmallFile, SmallFileSpool};
pub use store::text_flaw::{TextFlaw, is_invisible};
pub use store::upload::OpenUpload;
pub use table::current_snapshot::CurrentSnapshot;
pub use table::latest::{Latest, RetiredSnapshot, read_manifest};
pub use table::manifest::{BlobCounts, Manifest};
pub use table::older::Older;
pub use table::settings::{TableFormat, TableSettings};
pub use table::state::Table;

#[cfg(test)]
mod tests {
    use crate::fixtures;

    #[tokio::test]
    async fn futures_may_change_threads() {
        fn is_send(_: impl Send) {}
        let (_folder, [lake, ..]) = fixtures::lakes();
        let snapshot = fixtures::snapshot(26, 10);
        let request = fixtures::request(&snapshot, "run", Vec::new());
        let table = fixtures::table(&lake);
        is_send(crate::standing(&table, &snapshot));
        is_send(crate::publish(&table, &request));
        is_send(fixtures::staged(&lake, &snapshot, "run", 1));
        is_send(crate::abort(&lake, "devices", "run", &[]));
        let crate::PublishOutcome::Committed { manifest, .. } =
            crate::publish(&table, &request).await.unwrap()
        else {
            panic!("not committed");
        };
        let dataset = fixtures::dataset();
        is_send(crate::Verifier::open(&table, &dataset));
        let verifier = crate::Verifier::open(&table, &dataset).await.unwrap();
        is_send(verifier.verify(&manifest));
        is_send(lake.list("devices"));
        is_send(lake.delete(&[]));
    }
}
