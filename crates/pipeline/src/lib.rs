//! plan -> work -> gate -> commit: the pipeline file, the run and its report, progress events.
//!
//! ```text
//! settings -> source (listing) -> plan (blobs in order) -> work (fetch, divide, decode, encode, stage) -> gate -> commit
//! ```
//! Joins the extractor, the transformer and the writer, which know nothing of each other. Prints nothing: a run reports by
//! events, a report and an error.

mod cpu_pool;
mod error;
mod error_kind;
pub mod events;
mod gate;
mod lake;
mod plan;
mod quarantine;
mod refusal;
pub mod report;
mod resources;
mod run;
mod sample;
pub mod settings;
mod source;
mod version;
mod work;

#[cfg(test)]
mod fixtures;

pub use error::PipelineError;
pub use error_kind::ErrorKind;
pub use lake::history::{RolledBack, drop_snapshot, rollback, snapshots, vacuum};
pub use lake::verify::{Verification, VerifiedSnapshot, Which, verify};
pub use lake::{literal, snippet};
pub use plan::{PLAN_VERSION, Part, Plan, PlannedBlob, SizedBlob};
pub use quarantine::browse::{Quarantine, QuarantinedSnapshot};
pub use quarantine::replay::Replayed;
pub use refusal::{LostColumn, Refusal};
pub use resources::Resources;
pub use run::publish::RunOptions;
pub use run::start::{Run, plan, run, run_each};
pub use sample::{Sample, sample};
pub use settings::{Pipeline, Settings};
pub use version::PROGRAM_VERSION;
pub use work::quarantine_file::QuarantineEntry;
pub use writer::{
    KeptSnapshot, Orphan, OrphanKind, SnapshotState, VacuumOptions, VacuumReport, is_invisible,
};
