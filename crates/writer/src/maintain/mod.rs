//! What keeps a table in order: snapshots that are kept, files that nothing holds, and the proof of what is there.

pub(crate) mod expire;
pub(crate) mod snapshots;
pub(crate) mod statistics_check;
pub(crate) mod vacuum;
pub(crate) mod verify;

/// Documents or files that are read side by side: a store answers each after tens of milliseconds.
const READS_AT_ONCE: usize = 16;
