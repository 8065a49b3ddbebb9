//! What is known of an object in a lake: its place and size, and its content's checksum.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};

use bytes::Bytes;
use object_store::UpdateVersion;
use sha2::{Digest, Sha256};

/// The longest document that is read: that of a snapshot with tens of thousands of files is a tenth of it.
pub(crate) const DOCUMENT_BYTES: u64 = 256 << 20;

/// Why a longer one is not read.
pub(crate) fn too_long() -> String {
    format!(
        "it is longer than the {} MiB of any document",
        DOCUMENT_BYTES >> 20
    )
}

/// An object's path from the lake's root, and its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Path from the lake's root.
    pub path: String,
    /// Size.
    pub bytes: u64,
}

/// What a compare-and-swap compares: the state of a small object when it was read.
#[derive(Debug, Clone)]
pub(crate) enum Version {
    Missing,
    /// On local disk the content itself is compared, under the commit lock.
    Content(Bytes),
    Tag(UpdateVersion),
}

/// Hexadecimal SHA-256 of a file from its start, and its size.
pub(crate) fn sha256(file: &mut File) -> io::Result<(String, u64)> {
    let mut hash = Sha256::new();
    file.seek(SeekFrom::Start(0))?;
    let bytes = io::copy(file, &mut hash)?;
    Ok((hexadecimal(&hash.finalize()), bytes))
}

pub(crate) fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
