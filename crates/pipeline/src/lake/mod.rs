//! What can be done to a pipeline's lake besides publishing: list, vacuum, roll back, verify, read.
//!
//! Needs no source and no plan: the settings say where the lake is, and the writer does the work.

pub(crate) mod history;
pub mod literal;
pub mod snippet;
pub(crate) mod verify;
