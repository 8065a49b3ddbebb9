//! A blob is read to its end or is an error, as `flate2` says; its records are its lines that are not blank.
//!
//! The first byte says what the rest is: a gzip stream as it is, or text that is compressed here, in as many members.

#![no_main]

use std::io::{Read, Write};
use std::sync::LazyLock;

use chrono::DateTime;
use dataset::{Dataset, Snapshot};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use transformer::{BatchLimits, GroupSource, RecordDecoder, TransformError, decode_blob};

static DATASET: LazyLock<Dataset> =
    LazyLock::new(|| Dataset::built_in("info_gathering").expect("a dataset"));

const LIMITS: BatchLimits = BatchLimits {
    rows: 3,
    line_bytes: 1_024,
    inflated_bytes: 1 << 20,
};

fn members(text: &[u8], count: usize) -> Vec<u8> {
    let mut gzip = Vec::new();
    for piece in text.chunks(text.len() / count + 1) {
        let mut encoder = GzEncoder::new(&mut gzip, Compression::fast());
        encoder.write_all(piece).expect("memory");
        encoder.finish().expect("memory");
    }
    gzip
}

/// Records of the text, and how many of them are longer than the limit.
fn count(text: &[u8]) -> u64 {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter(|line| !line.trim_ascii().is_empty()).count() as u64
}

fuzz_target!(|data: &[u8]| {
    let Some((&mode, rest)) = data.split_first() else {
        return;
    };
    let gzip = match mode {
        0..=127 => rest.to_vec(),
        more => members(rest, usize::from(more - 127)),
    };
    let snapshot = Snapshot {
        dataset: "info_gathering".to_owned(),
        org_id: "47d41a0c-188d-46d3-bbea-a93dbc0bfcaa"
            .parse()
            .expect("a GUID"),
        generated_time: DateTime::from_timestamp(1_777_802_460, 0).expect("a time"),
    };
    let mut text = Vec::new();
    let limited = MultiGzDecoder::new(&gzip[..])
        .take(LIMITS.inflated_bytes + 1)
        .read_to_end(&mut text);
    let is_good = limited.is_ok() && text.len() as u64 <= LIMITS.inflated_bytes;

    let mut records = RecordDecoder::new(&DATASET, &snapshot);
    let gzip_only = Some(transformer::Compression::Gzip);
    let group = GroupSource::BlobPath(7);
    let mut decoder = decode_blob(&gzip[..], gzip_only, group, &mut records, LIMITS)
        .expect("how it is compressed is known");
    let (mut rows, mut quarantined) = (0, 0);
    loop {
        match decoder.next_batch() {
            Ok(Some(progress)) => {
                rows += progress.batch.rows.num_rows() as u64;
                quarantined += progress.quarantined.len() as u64;
            }
            Ok(None) => break,
            // Text that is no lines of records has other tests.
            Err(TransformError::NotAnExport(_) | TransformError::Framing(_)) => return,
            Err(error) => {
                assert!(!is_good, "{error}");
                return;
            }
        }
    }
    assert!(
        // `flate2` takes no padding.
        is_good || gzip.last() == Some(&0),
        "{} inflated bytes of a bad stream were taken",
        text.len()
    );
    let counts = decoder.finish();
    assert_eq!((counts.rows, counts.quarantined), (rows, quarantined));
    assert_eq!(counts.records, rows + quarantined);
    // A line may hold several records, and an array more than its lines.
    let is_array = text.iter().find(|byte| !byte.is_ascii_whitespace() && byte.is_ascii()) == Some(&b'[');
    assert!(counts.records >= count(&text) || is_array);
});
