//! Devices and their records: who exists on a day, what the service gathered of it, and the line that says so.
//!
//! The records of InfoGathering are written by `record`, the rows of all other exports by `rows`, as their recipe says.
//! Each is a pure function of (seed, slot, day), so blobs can be generated in any order and in parallel. A slot
//! is a place in the population: slots `0..devices`, cut into groups, each held by one device a day. Knows no blobs.

mod device;
mod facts;
mod groups;
mod oddity;
mod record;
mod rows;
mod text;
mod values;

pub(crate) use groups::{Group, groups};
pub(crate) use oddity::bad_line;
pub(crate) use record::Records;
pub(crate) use rows::{RowSource, Rows, salt};

#[cfg(test)]
mod tests;
