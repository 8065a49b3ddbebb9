//! The blobs of the snapshot that is served: their paths, files, sizes and checksums. Knows nothing of requests.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use dataset::BlobPath;
use md5::{Digest, Md5};
use tempfile::TempDir;

use super::options::Served;
use crate::error::{Error, Result};
use crate::snapshot_files::write_snapshot;

/// One snapshot's blobs, by blob path.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    pub(super) generated_time: Option<DateTime<Utc>>,
    pub(super) blobs: BTreeMap<String, Blob>,
    /// Holds generated files for as long as a container refers to them.
    _folder: Option<TempDir>,
}

#[derive(Debug, Clone)]
pub(super) struct Blob {
    pub(super) file: PathBuf,
    pub(super) bytes: u64,
    /// Base64, as in `Content-MD5`.
    pub(super) md5: String,
    /// With its quotes. The same in every container, since it follows from the content.
    pub(super) etag: String,
    pub(super) modified: DateTime<Utc>,
}

impl Catalogue {
    pub(super) async fn load(served: Served) -> Result<Self> {
        tokio::task::spawn_blocking(move || match served {
            Served::Files(folder) => Self::of_folder(&folder),
            Served::Generated(options) => {
                let folder = TempDir::new().map_err(Error::file(std::env::temp_dir()))?;
                write_snapshot(folder.path(), &options)?;
                let mut catalogue = Self::of_folder(folder.path())?;
                catalogue.generated_time = Some(options.generated_time);
                catalogue._folder = Some(folder);
                Ok(catalogue)
            }
        })
        .await?
    }

    fn of_folder(folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        find_files(folder, &mut files)?;
        let mut paths = Vec::new();
        for file in files {
            let below: Vec<_> = file
                .strip_prefix(folder)
                .unwrap_or(&file)
                .iter()
                .map(|segment| segment.to_string_lossy())
                .collect();
            paths.push((BlobPath::parse(&below.join("/"))?, file));
        }
        let generated_time = paths
            .iter()
            .map(|(path, _)| path.generated_time())
            .max()
            .flatten();
        let blobs = paths
            .into_iter()
            .filter(|(path, _)| path.generated_time() == generated_time)
            .map(|(path, file)| Ok((path.as_str().to_owned(), Blob::of_file(file)?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            generated_time,
            blobs,
            _folder: None,
        })
    }
}

impl Blob {
    fn of_file(path: PathBuf) -> Result<Self> {
        let mut digest = Md5::new();
        let mut bytes = 0;
        let read = || -> std::io::Result<(SystemTime, u64, [u8; 16])> {
            let mut file = File::open(&path)?;
            let mut buffer = vec![0; 256 * 1024];
            loop {
                let read = file.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                digest.update(&buffer[..read]);
                bytes += read as u64;
            }
            Ok((
                file.metadata()?.modified()?,
                bytes,
                digest.finalize().into(),
            ))
        };
        let (modified, bytes, md5) = read().map_err(Error::file(&path))?;
        Ok(Self {
            file: path,
            bytes,
            md5: STANDARD.encode(md5),
            etag: etag_of(&md5),
            modified: modified.into(),
        })
    }
}

/// In the form of the store, with its quotes.
pub(super) fn etag_of(digest: &[u8; 16]) -> String {
    let hex: String = digest[..7]
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    format!("\"0x8{hex}\"")
}

fn find_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::file(folder))? {
        let path = entry.map_err(Error::file(folder))?.path();
        if path.is_dir() {
            find_files(&path, found)?;
        } else if path.to_string_lossy().ends_with(".json.gz") {
            found.push(path);
        }
    }
    Ok(())
}
