//! What can go wrong with a request.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::target::Target;

/// The MD5 header of a body that is not what it should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Md5Header {
    /// That of the true blob, which does not match.
    #[default]
    True,
    /// That of what is sent, which does.
    Fixed,
    /// None.
    Absent,
}

/// Which of a signature's times has passed, in the words of the blob store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFrame {
    /// The URL's.
    #[default]
    Url,
    /// The signing key's: also said for a key that is not valid yet.
    Key,
}

/// What goes wrong. Positions and lengths are bytes; pauses are milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    // Of every body; of HEAD, which has none, those of the length.
    /// The connection breaks after so many bytes of the body.
    Cut {
        /// Bytes that are sent.
        after: u64,
    },
    /// Nothing comes for a while after so many bytes; then the rest does.
    Stall {
        /// Bytes that are sent first.
        after: u64,
        /// Length of the silence.
        millis: u64,
    },
    /// The body comes in small pieces.
    Trickle {
        /// Bytes of a piece.
        piece: u64,
        /// Pause after each.
        millis: u64,
    },
    /// `Content-Length` is off by so many bytes. A body that is longer than announced ends where it was announced to.
    ContentLength {
        /// Added to the true length.
        by: i64,
    },

    /// Nothing says how long the body is: it comes in chunks.
    NoLength,

    // In place of a body.
    /// A status; without a body of its own it has the one that the service gives errors.
    Answer {
        /// Status code.
        status: u16,
        /// Body, as `text/html` where it begins with `<`, else as JSON.
        #[serde(default)]
        body: Option<String>,
        /// Seconds of `Retry-After`.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// 302 to another address.
    Redirect {
        /// `Location`.
        to: String,
    },

    // Of blobs alone.
    /// 403 in the words for a signature out of its time.
    Expired {
        /// Whose time.
        #[serde(default)]
        frame: TimeFrame,
    },
    /// 404 `BlobNotFound`.
    NotFound,
    /// 409 `PendingCopyOperation`.
    PendingCopy,
    /// 200 without a byte.
    Empty {
        /// `x-ms-copy-status`: `pending`, `success`, `aborted`, `failed`; none where not given.
        #[serde(default)]
        copy_status: Option<String>,
    },
    /// The blob ends early and all headers but the MD5 agree that it does.
    Truncate {
        /// Length that is left of the blob.
        to: u64,
        /// The MD5 that is sent.
        #[serde(default)]
        md5: Md5Header,
    },
    /// One byte is another.
    Corrupt {
        /// Position in the blob; past its end it is the last byte.
        at: u64,
        /// The MD5 that is sent.
        #[serde(default)]
        md5: Md5Header,
    },
    /// The blob is another version: other bytes of the same records, another ETag, another MD5.
    Changed {
        /// Whether its length is another too.
        #[serde(default)]
        resized: bool,
    },

    /// A range that was asked for is not looked at: the answer is the whole blob.
    RangeIgnored,

    // Of listings alone.
    /// The snapshot listed is the newest one of that folder.
    Snapshot(PathBuf),
    /// The containers of all earlier listings are gone: their URLs get 404 `ContainerNotFound`.
    ContainersRemoved,
    /// The signed URLs live so many seconds.
    UrlLifetime {
        /// From now on.
        seconds: u32,
    },
    /// One of the URLs is missing.
    BlobMissing,
    /// One of the URLs is there twice, with two signatures.
    BlobTwice,
    /// A text more among the URLs. `{origin}` in it becomes the server's own scheme, host and port.
    ExtraUrl(String),
    /// The listing is preceded by so many MiB of a key that nobody knows, with no length announced.
    Huge {
        /// Size.
        mebibytes: u64,
    },
}

impl FaultKind {
    /// Its name in a script: what faults are counted by.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cut { .. } => "cut",
            Self::Stall { .. } => "stall",
            Self::Trickle { .. } => "trickle",
            Self::ContentLength { .. } => "content_length",
            Self::NoLength => "no_length",
            Self::Answer { .. } => "answer",
            Self::Redirect { .. } => "redirect",
            Self::Expired { .. } => "expired",
            Self::NotFound => "not_found",
            Self::PendingCopy => "pending_copy",
            Self::Empty { .. } => "empty",
            Self::Truncate { .. } => "truncate",
            Self::Corrupt { .. } => "corrupt",
            Self::Changed { .. } => "changed",
            Self::RangeIgnored => "range_ignored",
            Self::Snapshot(_) => "snapshot",
            Self::ContainersRemoved => "containers_removed",
            Self::UrlLifetime { .. } => "url_lifetime",
            Self::BlobMissing => "blob_missing",
            Self::BlobTwice => "blob_twice",
            Self::ExtraUrl(_) => "extra_url",
            Self::Huge { .. } => "huge",
        }
    }

    /// Whether it means something for requests of that target.
    pub(super) fn fits(&self, target: &Target) -> bool {
        match self {
            Self::Cut { .. } | Self::Stall { .. } | Self::Trickle { .. } => {
                !matches!(target, Target::Heads(_) | Target::Token)
            }
            Self::ContentLength { .. } | Self::NoLength => *target != Target::Token,
            Self::Answer { .. } | Self::Redirect { .. } => true,
            Self::Expired { .. }
            | Self::NotFound
            | Self::PendingCopy
            | Self::Empty { .. }
            | Self::Truncate { .. }
            | Self::Corrupt { .. }
            | Self::Changed { .. }
            | Self::RangeIgnored => !matches!(target, Target::Listings | Target::Token),
            Self::Snapshot(_)
            | Self::ContainersRemoved
            | Self::UrlLifetime { .. }
            | Self::BlobMissing
            | Self::BlobTwice
            | Self::ExtraUrl(_)
            | Self::Huge { .. } => *target == Target::Listings,
        }
    }
}
