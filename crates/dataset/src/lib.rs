//! What the data is: datasets and their columns, blob paths, snapshots, partitions.
//!
//! Every other crate builds on these nouns; this one does no I/O and knows neither the API's transport nor the lake's store.

mod blob_path;
mod partition;
mod schema;
mod snapshot;

pub use blob_path::{BlobPath, BlobPathError, PartName};
pub use partition::{GENERATED_DATE, Partition};
pub use schema::{
    Column, ColumnType, Dataset, GENERATED_TIME, ORG_ID, PartitionColumn, RESCUED_DATA,
    SchemaError, WirePath,
};
pub use snapshot::{OrgId, OrgIdError, Snapshot, SnapshotId, SnapshotIdError, SnapshotTimeError};
