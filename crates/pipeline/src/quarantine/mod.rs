//! The quarantined records of a dataset's lake: what there is, and the way back into their snapshots.
//!
//! Uses the work of a run for decoding and staging, and the writer for the append. Calls no API.

pub(crate) mod browse;
mod decode;
pub(crate) mod replay;

#[cfg(test)]
mod tests;
