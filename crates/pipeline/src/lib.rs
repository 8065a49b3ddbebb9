//! plan -> work -> gate -> commit: the pipeline file, the run and its report, progress events.
//!
//! ```text
//! settings -> source (listing, sizes) -> plan (parts, segments) -> work (bring, decode, encode, stage) -> gate -> commit
//! ```
//! Joins the extractor, the transformer and the writer, which know nothing of each other. Prints nothing: a run tells of itself
//! by events, a report and an error.

mod cpu;
mod error;
pub mod events;
mod gate;
mod lake_commands;
mod part;
mod plan;
mod quarantine;
mod quarantine_file;
pub mod report;
mod run;
mod segment;
pub mod settings;
pub mod snippet;
mod source;
mod unique_key;
mod verify;
mod work;

#[cfg(test)]
mod fixtures;

pub use error::PipelineError;
pub use gate::Refusal;
pub use lake_commands::{RolledBack, rollback, snapshots, vacuum};
pub use plan::{PLAN_VERSION, Part, Plan, PlannedBlob};
pub use quarantine::{Quarantine, QuarantinedSnapshot, Replayed};
pub use quarantine_file::SetAsideRecord;
pub use run::{Run, RunOptions, plan, run};
pub use settings::Settings;
pub use verify::{Verification, VerifiedSnapshot, verify};
pub use writer::{KeptSnapshot, Orphan, OrphanKind, SnapshotState, VacuumReport};

/// Version of the program, as reports and file footers carry it.
pub const PROGRAM_VERSION: &str = env!("CARGO_PKG_VERSION");
