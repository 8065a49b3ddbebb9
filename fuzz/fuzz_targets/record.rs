//! A record is decoded or quarantined exactly as `serde_json` says that it is an object or not, unless its text is damaged, and a record that is quarantined
//! leaves no trace in the rows around it.

#![no_main]

use std::sync::{LazyLock, Mutex};

use chrono::DateTime;
use dataset::{Dataset, RESCUED_DATA, Snapshot};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use transformer::{GroupSource, Reason, RecordDecoder};

/// One for all inputs, as the program has one for many blobs: what a batch leaves behind would show in the next.
static DECODER: LazyLock<Mutex<RecordDecoder>> = LazyLock::new(|| {
    let dataset = Dataset::built_in("info_gathering").expect("a dataset");
    let snapshot = Snapshot {
        dataset: dataset.name.clone(),
        org_id: "47d41a0c-188d-46d3-bbea-a93dbc0bfcaa"
            .parse()
            .expect("a GUID"),
        generated_time: DateTime::from_timestamp(1_777_802_460, 0).expect("a time"),
    };
    let mut decoder = RecordDecoder::new(&dataset, &snapshot);
    decoder.set_group_source(GroupSource::BlobPath(7));
    decoder.allow_dictionaries(true);
    Mutex::new(decoder)
});

fuzz_target!(|data: &[u8]| {
    let mut decoder = DECODER.lock().expect("no panic before");
    let mut rows = 0;
    let lines = data.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.trim_ascii().is_empty());
    // Several times, since a line is read in another way where it is as the one before.
    for line in lines.flat_map(|line| [line; 4]) {
        let outcome = decoder.decode(line);
        let is_object = serde_json::from_slice::<Value>(line).is_ok_and(|value| value.is_object());
        let taken_for_object = match &outcome {
            Ok(()) | Err(Reason::MissingKey { .. } | Reason::MissingPartition { .. }) => true,
            Err(_) => false,
        };
        // One that is damaged is read with U+FFFD in the place of what is no text.
        let is_damaged = std::str::from_utf8(line).is_err() || line.windows(2).any(|two| two == b"\\u");
        if taken_for_object != is_object {
            assert!(taken_for_object && is_damaged, "{outcome:?}");
        }
        rows += usize::from(outcome.is_ok());
        assert_eq!(decoder.rows(), rows);
    }
    let drift = decoder.take_drift();
    assert!(drift.rows_rescued <= rows as u64);
    let batch = decoder.take_batch().expect("a batch");
    assert_eq!(
        (batch.rows.num_rows(), batch.rbac_group_ids.len()),
        (rows, rows)
    );
    assert!(batch.rows.column_by_name(RESCUED_DATA).is_some());
});
