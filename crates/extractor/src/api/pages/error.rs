//! What can go wrong between a first page and the last. A variant exists where a caller acts differently.
//!
//! No message has a query, a row or any other text of a page.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::error::ExtractorError;
use crate::service_answer::ServiceAnswer;

/// Why pages could not be fetched.
#[derive(Debug, Clone, Error)]
pub enum PagesError {
    /// As any call of the API can fail. After [`ExtractorError::SnapshotReplaced`] the caller begins again: nothing of the
    /// first snapshot is kept. After other errors, what is stored is kept for the next fetch.
    #[error(transparent)]
    Call(#[from] ExtractorError),
    /// An answer is not a page.
    #[error("page of {url} is malformed: {reason}")]
    Malformed {
        /// The call, without query.
        url: String,
        /// What is wrong, without any of the page's values.
        reason: String,
    },
    /// A next link leads elsewhere than to the endpoint that was asked. It would be given the token.
    #[error("next link of {url} is not followed: it leads to {host}, {reason}")]
    NextLinkRefused {
        /// The call, without query.
        url: String,
        /// The host that the link names.
        host: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The service did not know its own next link any more, and did so again after a new beginning.
    #[error("{url} does not know its next link any more: {answer}")]
    NextLinkExpired {
        /// The call, without query.
        url: String,
        /// The service's words.
        answer: Box<ServiceAnswer>,
    },
    /// The pages lead in a circle, or are more than any dataset has.
    #[error("pages of {url} do not end: {reason}")]
    Endless {
        /// The call, without query.
        url: String,
        /// How that shows.
        reason: String,
    },
    /// The folder of the stored pages cannot be used, for example on a full disk.
    #[error("pages in {}: {source}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// Another run stores pages in the folder.
    #[error("another run keeps its pages in {}", folder.display())]
    FolderInUse {
        /// The folder.
        folder: PathBuf,
    },
}
