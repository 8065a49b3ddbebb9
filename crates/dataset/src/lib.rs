//! What the data is: datasets and their columns, blob paths, snapshots, partitions.
//!
//! Every other crate builds on these nouns; this one does no I/O and knows neither the API's transport nor the lake's store.

mod blob_path;
mod built_in;
mod column;
mod partition;
mod schema;
pub mod schema_tools;
mod snapshot;
mod wire_path;

pub use blob_path::{BlobPath, BlobPathError, PartName};
pub use column::{Column, ColumnType};
pub use partition::{GENERATED_DATE, Partition};
pub use schema::{
    CallLimits, Dataset, GENERATED_TIME, ORG_ID, PartitionColumn, RESCUED_DATA, SchemaError,
};
pub use snapshot::{OrgId, OrgIdError, Snapshot, SnapshotId, SnapshotIdError, SnapshotTimeError};
pub use wire_path::{WirePath, WirePaths};
