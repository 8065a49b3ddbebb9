//! What the record that decides a commit says, and what its failure means.

use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::table::manifest::Manifest;

/// What a log entry tells of the snapshot.
pub(crate) fn info(manifest: &Manifest) -> Map<String, Value> {
    let info = json!({
        "runId": manifest.run_id,
        "snapshot": manifest.snapshot,
        "orgId": manifest.org_id,
        "generatedTime": manifest.generated_time,
        "recordsRead": manifest.records_read,
        "recordsQuarantined": manifest.records_quarantined,
        "operationMetrics": {
            "numFiles": manifest.files.len().to_string(),
            "numOutputRows": manifest.rows.to_string(),
            "numOutputBytes": manifest.bytes.to_string(),
        },
    });
    match info {
        Value::Object(info) => info,
        _ => Map::new(),
    }
}

/// An error of the write that decides. Where no answer came, the store may have taken it.
pub(crate) fn undecided(manifest: &Manifest, error: Error) -> Error {
    match error {
        Error::Store { .. } | Error::Stopped { .. } => Error::Undecided {
            snapshot: manifest.snapshot.to_string(),
            source: Box::new(error),
        },
        error => error,
    }
}
