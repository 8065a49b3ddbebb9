//! Compressed bytes to plain bytes, checked and within a limit. Uses no other folder.

mod compression;
mod gzip;
mod limited;

pub use compression::{Compression, NotAnExport, inflate};
pub(crate) use limited::TooLarge;
