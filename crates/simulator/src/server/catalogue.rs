//! What is served: the snapshots of each export, and of the newest one the blobs with their files, sizes and checksums. Knows
//! nothing of requests.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use dataset::BlobPath;
use md5::{Digest, Md5};
use tempfile::TempDir;

use super::options::Served;
use crate::error::{Error, Result};
use crate::options::SnapshotOptions;
use crate::recipe::{DEFAULT, Recipe};
use crate::snapshot_files::write_snapshot;

/// All exports that are served.
#[derive(Debug, Default)]
pub(super) struct Offer {
    pub(super) exports: Vec<Arc<Export>>,
}

/// One export: its newest snapshot, and the ones before.
#[derive(Debug)]
pub(super) struct Export {
    pub(super) recipe: Recipe,
    pub(super) newest: Arc<Catalogue>,
    /// From the oldest on.
    pub(super) earlier: Vec<Snapshot>,
}

/// A snapshot's files, by blob path.
#[derive(Debug, Default, Clone)]
pub(super) struct Snapshot {
    pub(super) generated_time: Option<DateTime<Utc>>,
    pub(super) files: BTreeMap<String, PathBuf>,
}

/// One snapshot's blobs, by blob path.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    pub(super) generated_time: Option<DateTime<Utc>>,
    pub(super) blobs: BTreeMap<String, Blob>,
    /// Holds generated files for as long as a container refers to them.
    _folder: Option<Arc<TempDir>>,
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

impl Offer {
    /// `recipes` are files of recipes beyond those that the program carries.
    pub(super) async fn load(served: Served, recipes: Vec<PathBuf>) -> Result<Self> {
        tokio::task::spawn_blocking(move || match served {
            Served::Files(folder) => Self::of_folder(&folder, &recipes),
            Served::Generated(options) => Self::generated(&[options]),
            Served::Several(options) => Self::generated(&options),
        })
        .await?
    }

    /// Every known export, with what the folder has of it.
    fn of_folder(folder: &Path, recipes: &[PathBuf]) -> Result<Self> {
        let mut known = Recipe::built_in()?;
        for file in recipes {
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            known.push(Recipe::of(&name, Some(file))?);
        }
        let mut files: BTreeMap<&str, Vec<(BlobPath, PathBuf)>> = BTreeMap::new();
        for (path, file) in blob_paths(folder)? {
            let recipe = known
                .iter()
                .find(|recipe| path.export_name() == Some(recipe.export.as_str()));
            let dataset = recipe.map_or(DEFAULT, |recipe| recipe.dataset.as_str());
            files.entry(dataset).or_default().push((path, file));
        }
        let mut snapshots: Vec<Vec<Snapshot>> = known
            .iter()
            .map(|recipe| snapshots_of(files.remove(recipe.dataset.as_str()).unwrap_or_default()))
            .collect();
        let exports = known.into_iter().zip(snapshots.drain(..));
        let exports = exports.map(|(recipe, snapshots)| Export::new(recipe, snapshots, None));
        Ok(Self {
            exports: exports.collect::<Result<_>>()?,
        })
    }

    fn generated(options: &[SnapshotOptions]) -> Result<Self> {
        let folder = TempDir::new().map_err(Error::file(std::env::temp_dir()))?;
        let folder = Arc::new(folder);
        let mut of_dataset: BTreeMap<&str, Vec<(&SnapshotOptions, Snapshot)>> = BTreeMap::new();
        for (place, options) in options.iter().enumerate() {
            // A folder for each: a snapshot without devices has no blob whose path would tell its time.
            let folder = folder.path().join(place.to_string());
            fs::create_dir(&folder).map_err(Error::file(&folder))?;
            write_snapshot(&folder, options)?;
            let files = blob_paths(&folder)?.into_iter();
            let snapshot = Snapshot {
                generated_time: Some(options.generated_time),
                files: files
                    .map(|(path, file)| (path.as_str().to_owned(), file))
                    .collect(),
            };
            let snapshots = of_dataset.entry(&options.dataset).or_default();
            snapshots.push((options, snapshot));
        }
        let exports = of_dataset.into_iter().map(|(dataset, mut snapshots)| {
            snapshots.sort_by_key(|(options, _)| options.generated_time);
            let recipe_file = snapshots
                .first()
                .and_then(|(options, _)| options.recipe.as_deref());
            let recipe = Recipe::of(dataset, recipe_file)?;
            let snapshots = snapshots
                .into_iter()
                .map(|(_, snapshot)| snapshot)
                .collect();
            Export::new(recipe, snapshots, Some(&folder))
        });
        Ok(Self {
            exports: exports.collect::<Result<_>>()?,
        })
    }

    /// The export of a dataset.
    pub(super) fn export(&self, dataset: &str) -> Option<&Arc<Export>> {
        self.exports
            .iter()
            .find(|export| export.recipe.dataset == dataset)
    }
}

impl Export {
    /// `snapshots` are in the order of their times.
    fn new(
        recipe: Recipe,
        mut snapshots: Vec<Snapshot>,
        folder: Option<&Arc<TempDir>>,
    ) -> Result<Arc<Self>> {
        let newest = snapshots.pop().unwrap_or_default();
        let blobs = newest.files.into_iter();
        Ok(Arc::new(Self {
            recipe,
            newest: Arc::new(Catalogue {
                generated_time: newest.generated_time,
                blobs: blobs
                    .map(|(path, file)| Ok((path, Blob::of_file(file)?)))
                    .collect::<Result<_>>()?,
                _folder: folder.cloned(),
            }),
            earlier: snapshots,
        }))
    }
}

/// Files by the time that their paths name, from the oldest snapshot on.
fn snapshots_of(files: Vec<(BlobPath, PathBuf)>) -> Vec<Snapshot> {
    let mut snapshots: BTreeMap<Option<DateTime<Utc>>, Snapshot> = BTreeMap::new();
    for (path, file) in files {
        let generated_time = path.generated_time();
        let snapshot = snapshots.entry(generated_time).or_default();
        snapshot.generated_time = generated_time;
        snapshot.files.insert(path.as_str().to_owned(), file);
    }
    snapshots.into_values().collect()
}

fn blob_paths(folder: &Path) -> Result<Vec<(BlobPath, PathBuf)>> {
    let mut files = Vec::new();
    find_files(folder, &mut files)?;
    let parsed = files.into_iter().map(|file| {
        let below: Vec<_> = file
            .strip_prefix(folder)
            .unwrap_or(&file)
            .iter()
            .map(|segment| segment.to_string_lossy())
            .collect();
        Ok((BlobPath::parse(&below.join("/"))?, file))
    });
    parsed.collect()
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
