//! The manifest: one JSON document a snapshot that lists its files, and the counts that the gate looked at.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use dataset::{OrgId, Snapshot, SnapshotId};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout;
use crate::parquet::data_file::DataFile;
use crate::store::document::parse;
use crate::store::lake::Lake;

/// Version of the manifest that this program writes, and the newest that it reads.
pub(crate) const VERSION: u32 = 1;

/// Everything about a published snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this document's form.
    pub version: u32,
    /// Name of the dataset.
    pub dataset: String,
    /// Id of the snapshot.
    pub snapshot: SnapshotId,
    /// The organisation.
    pub org_id: OrgId,
    /// When the service generated the snapshot.
    pub generated_time: DateTime<Utc>,
    /// [`dataset::Dataset::fingerprint`] of the schema that the files were written with.
    pub schema_fingerprint: String,
    /// The run that committed the snapshot.
    pub run_id: String,
    /// Version of the program that did.
    pub program_version: String,
    /// When it did.
    pub committed_at: DateTime<Utc>,
    /// Rows of all files.
    pub rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Records read from the blobs: rows and quarantined ones.
    pub records_read: u64,
    /// Quarantined records.
    pub records_quarantined: u64,
    /// Rows whose unique key another row has.
    #[serde(default)]
    pub duplicate_keys: u64,
    /// Of each column: rows without a value. Empty where an earlier version published the snapshot.
    #[serde(default)]
    pub column_nulls: BTreeMap<String, u64>,
    /// How often rows were added to the snapshot after it was published.
    #[serde(default)]
    pub amendment: u32,
    /// The files of the quarantined records, sorted by path.
    #[serde(default)]
    pub quarantine_files: Vec<String>,
    /// The files, sorted by path.
    pub files: Vec<DataFile>,
    /// The blobs that were read, in the listing's order.
    pub blobs: Vec<BlobCounts>,
}

/// What was read from one blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobCounts {
    /// The blob path.
    pub path: String,
    /// Compressed size.
    pub bytes: u64,
    /// Records read.
    pub records: u64,
    /// Rows written.
    pub rows: u64,
    /// Quarantined records.
    pub quarantined: u64,
}

impl Manifest {
    /// Reads the manifest at a path that `latest` names; `None` if there is none.
    ///
    /// # Errors
    /// [`crate::Error::Newer`], [`crate::Error::Malformed`], or what the store answers.
    pub async fn read_at(lake: &Lake, path: &str) -> Result<Option<Self>> {
        let Some(content) = lake.get(path).await? else {
            return Ok(None);
        };
        let manifest: Self = parse(&content, path, VERSION)?;
        match manifest.named_outside(path) {
            None => Ok(Some(manifest)),
            Some(foreign) => Err(names_foreign(path, foreign)),
        }
    }

    /// What it names that is outside its snapshot, if it is the manifest at `path`. Files may have names of other programs, which
    /// rewrote them.
    fn named_outside<'a>(&'a self, path: &'a str) -> Option<&'a str> {
        let date = self.identity().generated_date();
        let date = layout::date_folder(&self.dataset, date) + "/";
        let is_outside = |path: &&String| !path.starts_with(&date) || layout::check(path).is_err();
        let mut files = self.files.iter().map(|file| &file.path);
        let file = files.find(is_outside).map(String::as_str);
        let is_other = self.path() != path;
        file.or(self.foreign_quarantine())
            .or(is_other.then_some(path))
    }

    fn foreign_quarantine(&self) -> Option<&str> {
        foreign_quarantine(&self.dataset, &self.snapshot, &self.quarantine_files)
    }

    pub(crate) async fn write(&self, lake: &Lake) -> Result<()> {
        lake.put_json(&self.path(), self).await
    }

    /// Its path from the lake's root.
    pub fn path(&self) -> String {
        match self.amendment {
            0 => layout::manifest(&self.dataset, &self.snapshot),
            _ => layout::appended_manifest(&self.dataset, &self.snapshot, &self.run_id),
        }
    }

    /// A path among its files that the layout does not make for its snapshot: another program wrote it there, and nothing that
    /// is named so may be deleted or published.
    pub(crate) fn foreign_path(&self) -> Option<&str> {
        let (dataset, snapshot, identity) = (&self.dataset, &self.snapshot, self.identity());
        let date = identity.generated_date();
        let file = self.files.iter().find(|file| {
            file.partition.generated_date != date
                || !layout::is_part(dataset, &file.partition, snapshot, &file.path)
        });
        let file = file.map(|file| file.path.as_str());
        let is_other_snapshot = identity.id() != *snapshot;
        file.or(self.foreign_quarantine())
            .or(is_other_snapshot.then_some(snapshot.as_str()))
    }

    /// The snapshot's identity.
    pub fn identity(&self) -> Snapshot {
        Snapshot {
            dataset: self.dataset.clone(),
            org_id: self.org_id.clone(),
            generated_time: self.generated_time,
        }
    }
}

/// What stands among the quarantine files of a snapshot and is none.
fn foreign_quarantine<'a>(
    dataset: &str,
    snapshot: &SnapshotId,
    files: &'a [String],
) -> Option<&'a str> {
    let foreign = files.iter().find(|path| {
        let of = layout::run_of_quarantined(dataset, path);
        of.is_none_or(|(of, _)| of != *snapshot)
    });
    foreign.map(String::as_str)
}

fn names_foreign(path: &str, foreign: &str) -> Error {
    Error::Malformed {
        path: path.to_owned(),
        message: format!(
            "it names `{}`, which its snapshot cannot have",
            foreign.escape_debug()
        ),
    }
}

/// Paths of the files of the manifest at a path, and of those of its quarantined records; none if it is not there. Nothing else of it
/// is kept in memory.
pub(crate) async fn paths_at(lake: &Lake, path: &str) -> Result<(Vec<String>, Vec<String>)> {
    #[derive(Deserialize)]
    struct Listed {
        dataset: String,
        snapshot: SnapshotId,
        files: Vec<ListedFile>,
        #[serde(default)]
        quarantine_files: Vec<String>,
    }
    #[derive(Deserialize)]
    struct ListedFile {
        path: String,
    }
    let Some(content) = lake.get(path).await? else {
        return Ok((Vec::new(), Vec::new()));
    };
    let listed: Listed = parse(&content, path, VERSION)?;
    let quarantined = &listed.quarantine_files;
    if let Some(foreign) = foreign_quarantine(&listed.dataset, &listed.snapshot, quarantined) {
        return Err(names_foreign(path, foreign));
    }
    let files = listed.files.into_iter().map(|file| file.path).collect();
    Ok((files, listed.quarantine_files))
}
