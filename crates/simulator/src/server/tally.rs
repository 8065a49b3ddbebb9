//! Counts what the service is asked for.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the service has been asked for since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Requests to the token endpoint.
    pub token_calls: u64,
    /// Calls of the API, answered or refused.
    pub api_calls: u64,
    /// Calls of the API that got a listing.
    pub listings: u64,
    /// Calls of the API that were left to an endpoint of pages, JSON rows or changes.
    pub pages: u64,
    /// GETs of blobs, answered or refused.
    pub blob_gets: u64,
    /// HEADs of blobs, answered or refused.
    pub blob_heads: u64,
    /// Bytes of blobs handed to connections.
    pub blob_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) token_calls: AtomicU64,
    pub(super) api_calls: AtomicU64,
    pub(super) listings: AtomicU64,
    pub(super) pages: AtomicU64,
    pub(super) blob_gets: AtomicU64,
    pub(super) blob_heads: AtomicU64,
    pub(super) blob_bytes: AtomicU64,
}

impl Tally {
    pub(super) fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            token_calls: read(&self.token_calls),
            api_calls: read(&self.api_calls),
            listings: read(&self.listings),
            pages: read(&self.pages),
            blob_gets: read(&self.blob_gets),
            blob_heads: read(&self.blob_heads),
            blob_bytes: read(&self.blob_bytes),
        }
    }
}

pub(super) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
