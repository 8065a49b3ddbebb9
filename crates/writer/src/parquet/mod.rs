//! Record batches to the bytes of Parquet files: column chunks, row groups, footers, statistics. CPU only; knows no store.

pub(crate) mod arrow_chunks;
pub(crate) mod buffers;
pub(crate) mod column_chunk;
pub(crate) mod data_file;
pub(crate) mod footer;
pub(crate) mod format;
pub(crate) mod row_group;
pub(crate) mod row_group_spool;
pub(crate) mod shared;
pub(crate) mod statistics;
