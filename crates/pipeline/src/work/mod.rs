//! The work of a plan: blobs are fetched, decoded, encoded and staged. Nothing becomes visible.
//!
//! Uses the plan, the settings and the error; knows neither the gate nor the commit. `scheduler` shows the flow.

mod attempt;
mod fetch;
pub(crate) mod part_assembler;
pub(crate) mod quarantine_file;
pub(crate) mod row_groups;
pub(crate) mod run_context;
pub(crate) mod scheduler;
mod segment;
pub(crate) mod segment_context;
pub(crate) mod segment_output;
pub(crate) mod segment_sink;
pub(crate) mod segment_stream;
pub(crate) mod staged_part;

#[cfg(test)]
mod tests;
