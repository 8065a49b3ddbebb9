//! What can go wrong when a snapshot is written or the server started. A request's errors are answers, not these.

use std::path::PathBuf;

use dataset::BlobPathError;
use thiserror::Error;

use crate::recipe::RecipeError;

/// Result of the simulator's operations.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a snapshot was not written or a server not started.
#[derive(Debug, Error)]
pub enum Error {
    /// An option has a value that makes no snapshot.
    #[error("option `{option}`: {reason}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file's place in the folder served is not a blob path.
    #[error(transparent)]
    BlobPath(#[from] BlobPathError),
    /// A dataset has no recipe, or one that cannot be followed.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A script of faults cannot be followed.
    #[error("faults: {reason}")]
    Faults {
        /// What is wrong with it.
        reason: String,
    },
    /// The loopback port cannot be listened on.
    #[error("listen on 127.0.0.1:{port}: {source}")]
    Listen {
        /// The port asked for.
        port: u16,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A background task was cancelled or panicked.
    #[error("background task: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        |source| Self::File { path, source }
    }
}
