//! Parquet files that the store has whole and that are not yet part of a table.

pub(crate) mod key_hashes;
pub(crate) mod staged_file;
