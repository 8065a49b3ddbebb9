//! Bytes of a blob to its records, each with its place: lines, or the elements of one JSON array. Does not look into records, and
//! uses no other folder.

mod frame;
mod json_array;
mod lines;
mod records;
mod window;

pub use frame::{Frame, FramingError};
pub use records::Records;
