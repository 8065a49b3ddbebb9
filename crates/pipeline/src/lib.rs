//! plan -> work -> gate -> commit: the pipeline file, the run and its report, progress events.
//!
//! ```text
//! settings -> source (listing, sizes) -> plan (parts, segments) -> work (bring, decode, encode, stage) -> gate -> commit
//! ```
//! Joins the extractor, the transformer and the writer, which know nothing of each other. Prints nothing: a run tells of itself
//! by events, a report and an error.

#[path = "work/cpu_pool.rs"]
mod cpu;
mod error;
pub mod events;
#[path = "gate/checks.rs"]
mod gate;
#[path = "lake/history.rs"]
mod lake_commands;
#[path = "work/part_assembler.rs"]
mod part;
mod plan;
#[path = "quarantine/replay.rs"]
mod quarantine;
#[path = "work/quarantine_file.rs"]
mod quarantine_file;
pub mod report;
#[path = "run/publish.rs"]
mod run;
#[path = "work/segment.rs"]
mod segment;
#[path = "settings/resolve.rs"]
pub mod settings;
#[path = "lake/snippet.rs"]
pub mod snippet;
#[path = "source/api.rs"]
mod source;
#[path = "work/key_hashes.rs"]
mod unique_key;
#[path = "lake/verify.rs"]
mod verify;
#[path = "work/scheduler.rs"]
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
