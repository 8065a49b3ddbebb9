//! One run: plan -> work -> gate -> commit, and the report of it.
//!
//! Joins the stages, which know nothing of each other. Holds no rule of its own about records, files or limits.

mod counts;
pub(crate) mod publish;
mod published;
mod report;
pub(crate) mod run_id;
pub(crate) mod start;

#[cfg(test)]
mod tests;
