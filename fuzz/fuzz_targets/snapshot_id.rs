//! Ids of snapshots: what is a time of a snapshot comes back from its id, and what is read as an id is written as it was.

#![no_main]

use chrono::DateTime;
use dataset::{Snapshot, SnapshotId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some((seconds, _)) = data.split_first_chunk::<8>()
        && let Some(time) = DateTime::from_timestamp(i64::from_le_bytes(*seconds), 0)
        && Snapshot::checked_time(time).is_ok()
    {
        let snapshot = Snapshot {
            dataset: "devices".to_owned(),
            org_id: "47d41a0c-188d-46d3-bbea-a93dbc0bfcaa".parse().unwrap(),
            generated_time: time,
        };
        let id = snapshot.id();
        assert_eq!(id.as_str().parse::<SnapshotId>().as_ref(), Ok(&id));
        let expected = format!("{}-47d41a0c", time.format("%Y%m%dT%H%M%SZ"));
        assert_eq!(id.as_str(), expected);
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(id) = text.parse::<SnapshotId>()
    {
        assert_eq!(id.as_str(), text);
    }
});
