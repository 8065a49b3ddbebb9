//! Micro benchmarks of the stages that a run's CPU time goes to, each alone on one thread, over one generated blob. All speeds
//! are of the blob's JSON, so that they compare: a run's is that of the three one after another.

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot be set up has nothing to say"
)]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use dataset::{Dataset, Snapshot};
use divan::Bencher;
use divan::counter::BytesCount;
use simulator::SnapshotOptions;
use transformer::{BatchLimits, Compression, GroupSource, RecordDecoder, decode_blob, inflate};
use writer::{Compatibility, FileFormat, ParquetSettings, RowGroupEncoder};

/// Rows of the blob and of its one row group, about as many as in a run.
const DEVICES: u32 = 20_000;
const BATCH_ROWS: usize = 1024;
const GROUP: GroupSource = GroupSource::BlobPath(0);

struct Blob {
    gzip: Vec<u8>,
    json: Vec<u8>,
    batches: Vec<RecordBatch>,
    dataset: Dataset,
    snapshot: Snapshot,
}

static BLOB: LazyLock<Blob> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let options = SnapshotOptions {
        devices: DEVICES,
        groups: 1,
        blobs: 1,
        ..SnapshotOptions::default()
    };
    simulator::write_snapshot(folder.path(), &options).unwrap();
    let gzip = fs::read(only_file(folder.path())).unwrap();
    let mut json = Vec::new();
    inflate(&gzip[..], Compression::Gzip, u64::MAX)
        .read_to_end(&mut json)
        .unwrap();
    let dataset = Dataset::built_in("info_gathering").unwrap();
    let snapshot = Snapshot {
        dataset: dataset.name.clone(),
        org_id: options.org_id,
        generated_time: options.generated_time,
    };
    let limits = BatchLimits {
        rows: BATCH_ROWS,
        line_bytes: usize::MAX,
        inflated_bytes: u64::MAX,
    };
    let mut batches = Vec::new();
    let mut records = RecordDecoder::new(&dataset, &snapshot);
    records.allow_dictionaries(true);
    let mut decoder = decode_blob(&gzip[..], None, GROUP, &mut records, limits).unwrap();
    while let Some(progress) = decoder.next_batch().unwrap() {
        batches.push(progress.batch.rows);
    }
    drop(decoder);
    Blob {
        gzip,
        json,
        batches,
        dataset,
        snapshot,
    }
});

fn only_file(folder: &Path) -> PathBuf {
    let entry = fs::read_dir(folder).unwrap().next().unwrap().unwrap();
    let path = entry.path();
    if path.is_dir() {
        only_file(&path)
    } else {
        path
    }
}

fn main() {
    divan::main();
}

#[divan::bench(name = "1 inflate")]
fn inflating(bencher: Bencher) {
    let mut buffer = vec![0; 256 << 10];
    bencher
        .counter(BytesCount::of_slice(&BLOB.json))
        .bench_local(|| {
            let mut reader = inflate(&BLOB.gzip[..], Compression::Gzip, u64::MAX);
            while reader.read(&mut buffer).unwrap() > 0 {}
        });
}

#[divan::bench(name = "2 decode")]
fn decoding(bencher: Bencher) {
    let mut records = RecordDecoder::new(&BLOB.dataset, &BLOB.snapshot);
    records.set_group_source(GROUP);
    records.allow_dictionaries(true);
    bencher
        .counter(BytesCount::of_slice(&BLOB.json))
        .bench_local(|| {
            for line in BLOB.json.split(|byte| *byte == b'\n') {
                if line.is_empty() {
                    continue;
                }
                records.decode(line).unwrap();
                if records.rows() == BATCH_ROWS {
                    divan::black_box(records.take_batch().unwrap());
                }
            }
            divan::black_box(records.take_batch().unwrap());
        });
}

#[divan::bench(name = "3 encode")]
fn encoding(bencher: Bencher) {
    let settings = ParquetSettings {
        row_group_rows: DEVICES as usize,
        zstd_level: 1,
        compatibility: Compatibility::Modern,
    };
    let format = FileFormat::new(&BLOB.dataset, &BLOB.snapshot, "benchmark", &settings).unwrap();
    let format = Arc::new(format);
    bencher
        .counter(BytesCount::of_slice(&BLOB.json))
        .bench_local(|| {
            let mut encoder = RowGroupEncoder::new(&format).unwrap();
            for batch in &BLOB.batches {
                encoder.write(batch).unwrap();
            }
            encoder.finish().unwrap()
        });
}
