//! What a table holds: manifests, the pointer to the current ones, intents of commits, and the state that they give together.
//!
//! Reads; writes no more than a document, or a pointer that lags behind the log. Commits and deletes nothing.

pub(crate) mod current_snapshot;
pub(crate) mod intent;
pub(crate) mod latest;
pub(crate) mod layout_version;
pub(crate) mod manifest;
pub(crate) mod older;
pub(crate) mod rereads;
pub(crate) mod rewritten;
pub(crate) mod settings;
pub(crate) mod state;
