//! Where the device group of a record comes from: its blob, or the record itself.

/// Which partition a blob's rows belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupSource {
    /// The blob path names the device group; a record that names another has its own rescued.
    BlobPath(i64),
    /// Each record names its group; one that does not belongs to `fallback`, or is quarantined without one.
    Records {
        /// The group of records that name none.
        fallback: Option<i64>,
    },
}

impl GroupSource {
    /// Whether a record may carry this group; one that carries none, or no number, may not.
    pub(super) fn allows(self, carried: Option<i64>) -> bool {
        match self {
            Self::BlobPath(group) => carried == Some(group),
            Self::Records { .. } => carried.is_some(),
        }
    }

    /// The group of a record that carries this one, or none.
    pub(super) fn group(self, carried: Option<i64>) -> Option<i64> {
        match self {
            Self::BlobPath(group) => Some(group),
            Self::Records { fallback } => carried.or(fallback),
        }
    }
}
