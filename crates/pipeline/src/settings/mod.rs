//! The pipeline file: where from, which dataset, where to. Parsed once, strictly, into [`Settings`]; the rest of the
//! program sees resolved values only.
//!
//! ```text
//! defaults (keys) -> the file -> --set key.path=value -> ${NAME} from the environment (values) -> resolve -> Settings
//! ```
//!
//! Where two keys exclude each other (`source.api` and `source.files`; the keys of the two kinds of `source.auth`), one
//! that is given by `--set` displaces the other that the file gives. Relative paths are relative to the current folder,
//! not to the pipeline file. Nothing here touches the network or the lake.

mod error;
mod exclusive;
mod keys;
mod kind;
mod load;
mod lookup;
mod model;
mod quarantine_limit;
mod resolve;
mod size;
mod typed;
mod values;
mod variables;

#[cfg(test)]
mod tests;

pub use error::{Place, SettingsError, VariableProblem};
pub use keys::{KEYS, Key};
pub use kind::Kind;
pub use lookup::is_secret;
pub use model::{
    ApiSource, Auth, DuplicateKeys, Gate, Lake, OnNewSnapshot, Origin, Pipeline, Settings,
    ShownSetting, Source, SourceKind, Work,
};
pub use quarantine_limit::{QuarantineLimit, QuarantineLimitError};
pub use size::{ByteSize, ByteSizeError};
