//! What keeps a table in order: snapshots that are kept, files that nothing holds, and the proof of what is there.

pub(crate) mod expire;
pub(crate) mod remove;
pub(crate) mod snapshots;
pub(crate) mod statistics_check;
pub(crate) mod vacuum;
pub(crate) mod verify;
