//! Which requests a fault concerns: a script's way to say so, and a request as a script sees it.

use glob::Pattern;
use serde::{Deserialize, Serialize};

/// Which requests a fault concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// GETs of one blob of the container, by its place in the order of blob paths, from 0.
    Blob(usize),
    /// GETs of the blobs whose path matches the pattern (`*`, `?`, `[...]`; `*` matches `/` too).
    Blobs(String),
    /// HEADs of the blobs whose path matches the pattern.
    Heads(String),
    /// Calls of the export API that passed the checks of token and rate.
    Listings,
    /// Requests to the token endpoint.
    Token,
}

/// A request, as far as a script is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject<'a> {
    /// GET of a blob: path, place in the order of paths, length.
    Get(&'a str, usize, u64),
    /// HEAD of a blob: path.
    Head(&'a str),
    Listing,
    Token,
}

impl Subject<'_> {
    /// What requests are numbered by.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Get(path, ..) => format!("GET {path}"),
            Self::Head(path) => format!("HEAD {path}"),
            Self::Listing => "listing".to_owned(),
            Self::Token => "token".to_owned(),
        }
    }
}

impl Target {
    pub(super) fn concerns(&self, subject: &Subject) -> bool {
        let matches = |pattern: &str, path: &str| {
            Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(path))
        };
        match (self, subject) {
            (Self::Blob(place), Subject::Get(_, at, _)) => place == at,
            (Self::Blobs(pattern), Subject::Get(path, ..))
            | (Self::Heads(pattern), Subject::Head(path)) => matches(pattern, path),
            (Self::Listings, Subject::Listing) | (Self::Token, Subject::Token) => true,
            _ => false,
        }
    }
}
