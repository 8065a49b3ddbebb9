//! A Parquet file of a table as manifests and log entries list it.

use std::sync::Arc;

use dataset::Partition;
use serde::{Deserialize, Serialize};

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
    /// Bounds and null counts of the columns that readers filter by.
    #[serde(default, with = "crate::parquet::shared")]
    pub column_statistics: Arc<[ColumnStatistics]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_the_key_ranges_of_earlier_versions_is_read() {
        let text = r#"{"path": "x", "partition": {"generated_date": "2022-07-26", "rbac_group_id": 7}, "rows": 1,
            "bytes": 2, "sha256": "00", "key_ranges": [{"column": "device_id", "min": "a", "max": "b"}]}"#;
        let file: DataFile = serde_json::from_str(text).unwrap();
        assert_eq!((file.rows, file.column_statistics.len()), (1, 0));
        let written = serde_json::to_string(&file).unwrap();
        assert!(!written.contains("key_ranges"), "{written}");
    }
}
