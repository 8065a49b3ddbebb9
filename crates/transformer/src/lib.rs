//! Bytes in, record batches out: inflate, split into lines, decode against the columns, quarantine bad records.
//!
//! ```text
//! compressed bytes -> decompression -> framing -> decode -> batches of typed columns
//!                                                    \----> quarantined records, drift
//! ```
//! Pure computation: no I/O of its own (a `Read` comes in), no async, no threads.

mod blob;
mod columns;
mod decode;
mod decompression;
mod framing;
mod quarantine;

pub use blob::{BatchLimits, BlobCounts, BlobDecoder, Progress, TransformError, decode_blob};
pub use decode::{DecodedBatch, Drift, DriftKind, GroupSource, RecordDecoder};
pub use decompression::{Compression, NotAnExport, inflate};
pub use framing::{Frame, FramingError, Records};
pub use quarantine::{QuarantinedRecord, Reason};
