//! A Parquet file of a table as manifests and log entries list it.

use std::sync::Arc;

use dataset::Partition;
use serde::{Deserialize, Serialize};

use crate::parquet::row_group::KeyRange;
use crate::parquet::statistics::ColumnStatistics;

/// A published Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Path from the lake's root.
    pub path: String,
    /// Values of the partition columns.
    pub partition: Partition,
    /// Rows.
    pub rows: u64,
    /// Size.
    pub bytes: u64,
    /// Hexadecimal SHA-256.
    pub sha256: String,
    /// Bounds of the string columns of the unique key.
    pub key_ranges: Vec<KeyRange>,
    /// Bounds and null counts of the columns that readers filter by.
    #[serde(default, with = "crate::parquet::shared")]
    pub column_statistics: Arc<[ColumnStatistics]>,
}
