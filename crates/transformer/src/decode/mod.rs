//! One line to one row: a record's JSON straight into growing columns, with no value tree in between.
//!
//! Uses `columns` and the reasons for which a record is quarantined; knows nothing of blobs, lines and compression.

mod collections;
mod damage;
mod decoder;
mod escapes;
mod group_source;
mod json_error;
mod plain;
mod record_walk;
mod rescue;
mod scalar;
mod scanner;
mod special_bytes;
mod spellings;
mod value;
mod wire_tree;
mod written_key;

pub use decoder::{DecodedBatch, RecordDecoder};
pub use group_source::GroupSource;
pub use rescue::{Drift, DriftKind};

#[cfg(test)]
mod tests;
