//! plan -> work -> gate -> commit: the pipeline file, the run and its report, progress events.

pub mod events;
pub mod report;
pub mod settings;
