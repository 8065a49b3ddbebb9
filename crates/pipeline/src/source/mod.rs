//! What is to be read: asks the API, or looks for files, and finds the one snapshot that the blobs are of.
//!
//! Fetches no blob, and decides nothing about how blobs are read: that is the plan's. Sizes are for who looks at a plan; a run needs
//! none.

mod api;
mod files;
pub(crate) mod list;
pub(crate) mod listed;
pub(crate) mod sizes;
mod snapshots;
