//! A stand-in for the Defender export API and its blob store on loopback, and a deterministic generator of snapshots.
//!
//! ```text
//! SnapshotOptions, recipe -> generator (devices, rows, oddities) -> snapshot_files (blobs in a folder)
//!                                                                        |
//! token endpoint -> listing (rate limit, containers, signatures) -> blob store (expiry, ranges, ETags)
//!       `------------------------------`---- faults ------------------------'
//! ```
//!
//! It shares no wire type with the extractor: both follow the API's description on their own. It computes no expected
//! results either: tests decode the blobs independently.

mod dice;
mod error;
mod faults;
mod generator;
mod options;
mod rate_limit;
mod recipe;
mod server;
mod signature;
mod snapshot_files;

pub use error::{Error, Result};
pub use faults::{Fault, FaultKind, FaultScript, Md5Header, RandomFaults, Target, TimeFrame, When};
pub use options::{Oddities, SnapshotOptions};
pub use rate_limit::RateLimit;
pub use recipe::{RecipeError, datasets};
pub use server::{Counters, Served, Server, ServerOptions, credentials};
pub use signature::SignatureKind;
pub use snapshot_files::{Written, write_snapshot};
