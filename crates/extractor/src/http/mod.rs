//! HTTP as every request here needs it: one client and its safety rules, what its answers carry, retries, the clock.
//!
//! Knows neither the API nor the blob store, and no secret but those that it is given to mask. Uses no other folder.

pub(crate) mod arriving_body;
pub(crate) mod blocking;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod headers;
pub(crate) mod pace;
pub(crate) mod response;
pub(crate) mod retry;
pub(crate) mod safe_url;

pub use client::HttpClient;
pub use clock::Clock;
pub use retry::RetryPolicy;
