//! What the tests stand on: snapshots and the API that lists them, the program, lakes in stores, readers, and the truth.
//!
//! ```text
//! blobs (simulated or by hand) --> api (simulator) --> program (the real binary) --> lake (disk, S3, Azure) --> readers
//!        `----------------------------> truth (decoded here, on its own) <------------- compared -----------------'
//! ```
//!
//! Nothing here uses the program's own crates but `dataset`, for the names and wire paths of columns.

pub(crate) mod api;
pub(crate) mod bare_service;
pub(crate) mod blobs;
pub(crate) mod imports;
pub(crate) mod lake;
pub(crate) mod pipeline;
pub(crate) mod poller;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod readers;
pub(crate) mod servers;
pub(crate) mod totals;
pub(crate) mod truth;

use std::path::{Path, PathBuf};

/// The workspace's root.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A program that `tools/install.sh` installed, as a path below `.tools/`.
pub(crate) fn tool(path: &str) -> PathBuf {
    let tool = workspace().join(".tools").join(path);
    assert!(
        tool.exists(),
        "{} is missing: run `make tools` first",
        tool.display()
    );
    tool
}
