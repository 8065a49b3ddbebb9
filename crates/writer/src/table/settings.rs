//! How a table is committed, and what its runs may rely on.

use std::time::Duration;

/// What a table's commit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    /// Parquet files; the manifest and `latest` are the commit.
    Parquet,
    /// Parquet files and a Delta log, whose entries are the commit.
    Delta,
}

/// How a table is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSettings {
    /// What its commit is.
    pub format: TableFormat,
    /// How long the files of a replaced snapshot are kept.
    pub retire_after: Duration,
    /// How long whole days stay in the table. `None`: for good.
    pub keep: Option<Duration>,
    /// How long a run may leave its lease unrenewed before it is taken for dead. Longer than clocks may differ.
    pub dead_after: Duration,
    /// Whether nobody else writes to this lake: nothing is then written under a condition.
    pub single_writer: bool,
}
