//! The identity of a run.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// An identity for a run, sorting by time.
pub(crate) fn new_run_id(started_at: DateTime<Utc>) -> String {
    let random = Uuid::new_v4().simple().to_string();
    format!("{}-{}", started_at.format("%Y%m%dT%H%M%SZ"), &random[..8])
}
