//! Whatever stands in the place of a control document: commands read it and act on it, and touch nothing but what the layout has for this
//! dataset.

#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use writer::{Lake, Table, TableFormat, TableSettings, VacuumOptions};

/// What is none of the dataset's, and must stay as it is.
const FOREIGN: [&str; 5] = [
    "notes.txt",
    "other/generated_date=2026-05-03/part.parquet",
    "_lake/other/latest.json",
    "devices.txt",
    "_lake/notes.txt",
];
const PLACES: [&str; 6] = [
    "_lake/devices/intents/20260503T100000Z-0a1b2c3d.json",
    "_lake/devices/begun/20260503T100000Z-0a1b2c3d.json",
    "_lake/devices/latest.json",
    "_lake/devices/snapshots/20260503T100100Z-47d41a0c.json",
    "_lake/devices/latest/20260503T100100Z-0a1b2c3d.json",
    "_lake/devices/layout.json",
];

fuzz_target!(|data: &[u8]| {
    let Some((place, document)) = data.split_first() else {
        return;
    };
    let outside = tempfile::tempdir().unwrap();
    let root = outside.path().join("lake");
    let write = |path: &str, content: &[u8]| {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    };
    for path in FOREIGN {
        write(path, b"theirs");
    }
    fs::write(outside.path().join("outside"), "theirs").unwrap();
    // Several documents of one input, each in a place of its own.
    for (number, document) in document.split(|byte| *byte == 0x1f).enumerate() {
        let place = PLACES[(usize::from(*place) + number) % PLACES.len()];
        write(place, document);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(act(&root));
    for path in FOREIGN {
        assert_eq!(fs::read(root.join(path)).unwrap(), b"theirs", "{path}");
    }
    assert_eq!(fs::read(outside.path().join("outside")).unwrap(), b"theirs");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 2);
});

async fn act(root: &Path) {
    let lake = Lake::open(root.to_str().unwrap(), &BTreeMap::new()).unwrap();
    for format in [TableFormat::Parquet, TableFormat::Delta] {
        let settings = TableSettings {
            format,
            retire_after: Duration::ZERO,
            keep: Some(Duration::from_secs(86_400)),
            dead_after: Duration::from_secs(60),
            single_writer: false,
        };
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let table = Table::new(&lake, "devices", settings, now);
        let options = VacuumOptions {
            apply: true,
            shorten: true,
        };
        // Errors are in words, and may be of any kind.
        for error in [
            soon(writer::recover(&table)).await,
            soon(writer::snapshots(&table)).await,
            soon(writer::vacuum(&table, options)).await,
        ] {
            assert!(error.is_none_or(|error| !error.to_string().is_empty()));
        }
    }
}

/// The error of a command. Where documents are missing it waits for a commit that may have replaced them: not here.
async fn soon<T>(command: impl Future<Output = writer::Result<T>>) -> Option<writer::Error> {
    let ended = tokio::time::timeout(Duration::from_millis(100), command).await;
    ended.ok()?.err()
}
