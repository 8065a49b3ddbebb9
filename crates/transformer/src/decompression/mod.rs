//! Compressed bytes to plain bytes, checked and within a limit. Uses no other folder.

mod gzip;

pub(crate) use gzip::TooLarge;
pub use gzip::inflate;
