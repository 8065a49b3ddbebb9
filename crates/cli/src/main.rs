//! The binary `defender-lake`.

fn main() {}
