//! What a service may do to this program: bounds that no setting changes.

/// The least speed of a body: one that drips would hold its connection and its part of the run for ever.
pub(crate) const LEAST_BYTES_PER_SECOND: u64 = 1024;
/// The largest blob that is fetched, compressed: ten times what the service is known to export for its largest tenants in one file.
pub(crate) const MAX_BLOB_BYTES: u64 = 16 << 30;
