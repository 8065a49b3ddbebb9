//! The blobs of snapshots as files in a folder: simulated, or written by hand.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use simulator::{SnapshotOptions, write_snapshot};
use tempfile::TempDir;

/// The organisation of blobs written by hand.
pub(crate) const ORG_ID: &str = "47d41a0c-188d-46d3-bbea-a93dbc0bfcaa";

/// A folder of blobs, gone when dropped.
pub(crate) struct Blobs {
    folder: TempDir,
}

/// One blob: its path below the folder and its compressed bytes.
pub(crate) struct Blob {
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

impl Blobs {
    /// An empty folder.
    pub(crate) fn none() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A snapshot of the simulator.
    pub(crate) fn simulated(options: &SnapshotOptions) -> Self {
        let blobs = Self::none();
        blobs.add_simulated(options);
        blobs
    }

    /// Adds another snapshot of the simulator.
    pub(crate) fn add_simulated(&self, options: &SnapshotOptions) {
        write_snapshot(self.folder(), options).unwrap();
    }

    /// One blob of the group, of the snapshot of 2026-05-03 10:01.
    pub(crate) fn of_lines(group: Option<i64>, lines: &[u8]) -> Self {
        let blobs = Self::none();
        blobs.add(&path(group, 1), &gzip(lines));
        blobs
    }

    /// Adds a file.
    pub(crate) fn add(&self, path: &str, bytes: &[u8]) {
        let file = self.folder().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// For `source.files`.
    pub(crate) fn pattern(&self) -> String {
        format!("{}/**/*.json.gz", self.folder().display())
    }

    /// All blobs, by path.
    pub(crate) fn all(&self) -> Vec<Blob> {
        files_below(self.folder())
            .into_iter()
            .map(|path| Blob {
                bytes: fs::read(self.folder().join(&path)).unwrap(),
                path,
            })
            .collect()
    }
}

/// A blob path of the snapshot of 2026-05-03 10:01; `None` is a path that names no group.
pub(crate) fn path(group: Option<i64>, part: u32) -> String {
    let group = group
        .map(|group| format!("_RbacGroupId={group}/"))
        .unwrap_or_default();
    format!(
        "2026-05-03/1001/InfoGatheringExport/json/OrgId={ORG_ID}/{group}part-{part:05}-5f0c7a52-3a5e-4a6e-9d0d-2a0f9f4f2c11.c000.json.gz"
    )
}

/// One gzip member.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Paths of all files below a folder, relative to it, with `/`, sorted.
pub(crate) fn files_below(folder: &Path) -> Vec<String> {
    let mut folders = vec![PathBuf::from(folder)];
    let mut files = Vec::new();
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(
                    path.strip_prefix(folder)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                );
            }
        }
    }
    files.sort();
    files
}
