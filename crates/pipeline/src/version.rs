//! The version of the program.

/// Version of the program, as reports and file footers carry it.
pub const PROGRAM_VERSION: &str = env!("CARGO_PKG_VERSION");
