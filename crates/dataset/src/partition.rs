//! A partition of a table: one generated date and one RBAC group. Does not know where a table is stored.

use std::fmt;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// Name of the partition column that holds the UTC date of the snapshot's `generatedTime`.
pub const GENERATED_DATE: &str = "generated_date";

/// The values that all rows of one Parquet file share, written into its path and not into the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Partition {
    /// UTC date of the snapshot.
    pub generated_date: NaiveDate,
    /// Device group; 0 is no group.
    pub rbac_group_id: i64,
}

impl fmt::Display for Partition {
    /// The Hive-style folder of the partition: `generated_date=2022-07-26/rbac_group_id=1001`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{GENERATED_DATE}={}/rbac_group_id={}",
            self.generated_date, self.rbac_group_id
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_as_a_hive_style_folder() {
        let partition = Partition {
            generated_date: NaiveDate::from_ymd_opt(2022, 7, 26).unwrap(),
            rbac_group_id: 1001,
        };
        assert_eq!(
            partition.to_string(),
            "generated_date=2022-07-26/rbac_group_id=1001"
        );
    }
}
