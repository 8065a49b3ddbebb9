//! Bytes of a blob to its records, each with its place. Does not look into records, and uses no other folder.

mod lines;

pub use lines::{Line, Lines};
