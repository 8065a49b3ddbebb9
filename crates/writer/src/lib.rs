//! Record batches in, a committed snapshot out: Parquet parts, object stores, the lake's layout, the commit.
//!
//! ```text
//! RecordBatch -> RowGroupEncoder -> EncodedRowGroup -> StagedFileWriter -> StagedFile -> commit -> manifest, `latest`
//!                (CPU, no I/O)                         (async, streams up)  (not visible) (visible)
//! ```
//!
//! A lake is a local folder, an S3 bucket or an Azure container; [`Lake`] is the only part that knows which.
//! Reads no export and decodes no record, and knows no pipeline settings: values come in as parameters.

mod commit;
mod error;
mod file_format;
mod invariants;
mod latest;
pub mod layout;
mod local_disk;
mod manifest;
mod remote;
mod row_group;
mod staged_file;
mod store;
mod store_options;
mod upload;
mod verify;

#[cfg(test)]
mod fixtures;

pub use commit::{CommitOutcome, CommitRequest, Standing, abort, commit, standing};
pub use error::{Error, Result};
pub use file_format::{FileFormat, ParquetSettings};
pub use latest::{CurrentSnapshot, Latest};
pub use manifest::{BlobCounts, Manifest, ManifestFile};
pub use row_group::{EncodedRowGroup, KeyRange, RowGroupEncoder};
pub use staged_file::{StagedFile, StagedFileWriter};
pub use store::{Lake, ObjectInfo};
pub use upload::OpenUpload;
pub use verify::{Problem, VerifyReport, verify};
