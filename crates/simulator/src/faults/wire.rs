//! What a fault does to the bytes of a body on their way.

use std::time::Duration;

use super::kind::FaultKind;

/// What a fault does to the bytes of a body on their way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) cut_after: Option<u64>,
    pub(crate) stall: Option<(u64, Duration)>,
    pub(crate) trickle: Option<(u64, Duration)>,
    pub(crate) length_off_by: i64,
    pub(crate) without_length: bool,
}

impl Wire {
    /// `None` if the fault leaves the way of the bytes alone.
    pub(crate) fn of(fault: &FaultKind) -> Option<Self> {
        let wire = Self::default();
        Some(match *fault {
            FaultKind::Cut { after } => Self {
                cut_after: Some(after),
                ..wire
            },
            FaultKind::Stall { after, millis } => Self {
                stall: Some((after, Duration::from_millis(millis))),
                ..wire
            },
            FaultKind::Trickle { piece, millis } => Self {
                trickle: Some((piece.max(1), Duration::from_millis(millis))),
                ..wire
            },
            FaultKind::ContentLength { by } => Self {
                length_off_by: by,
                ..wire
            },
            FaultKind::NoLength => Self {
                without_length: true,
                ..wire
            },
            _ => return None,
        })
    }
}
