//! The one act that makes staged files the lake's state. With `format = "parquet"` the commit is `latest`, and
//! the manifest that it points to.
//!
//! | step | readers of `latest` see | readers of a glob see | a crash after it leaves |
//! |---|---|---|---|
//! | 0 lock (local disk), decide on `latest` | the old snapshot | the old files | open uploads |
//! | 1 complete the uploads | the old snapshot | old and new files, for a moment | new files that no manifest lists |
//! | 2 write the manifest | the old snapshot | old and new files | new files and manifest that `latest` does not name |
//! | 3 **swap `latest`** | the new snapshot | old and new files | replaced files and manifest, likewise |
//! | 4 delete the replaced files, then their manifest | the new snapshot | the new files | nothing |
//!
//! The same snapshot gives the same file names: a run after a crash in 1 or 2 overwrites what the crash left. A
//! crash in 4 leaves the replaced snapshot's manifest until all its files are gone, so that what is left can be
//! found.
//!
//! On S3 and Azure there is no lock. Two runs of one snapshot complete the same names with the same bytes;
//! whichever swaps second finds the snapshot current. Runs of other snapshots write other names, and the swap
//! decides between them: who loses it decides again on the new `latest`. Where it is not certain that nobody
//! else is committing the same names, files are left in place rather than deleted.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use dataset::Snapshot;
use futures::{StreamExt, TryStreamExt, stream};

use crate::error::Result;
use crate::invariants;
use crate::latest::{CurrentSnapshot, Latest};
use crate::layout;
use crate::local_disk::LocalDisk;
use crate::manifest::{self, BlobCounts, Manifest, ManifestFile};
use crate::staged_file::StagedFile;
use crate::store::{Lake, Store, Version, blocking};

/// Uploads completed or aborted side by side.
const UPLOADS_AT_ONCE: usize = 16;
/// Swaps of `latest` that may be lost before the commit gives up: more than runs that could sensibly meet.
const SWAP_ATTEMPTS: u32 = 40;
const SWAP_PAUSE: Duration = Duration::from_millis(20);

/// How a snapshot stands to what the lake holds of its organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The organisation has no snapshot of that date, and none of a later time.
    New,
    /// This very snapshot is current.
    Unchanged(CurrentSnapshot),
    /// It is later than the current one of its date and would take its place.
    Replaces(CurrentSnapshot),
    /// The organisation has a snapshot of a later time: that of the same date where there is one, else its newest.
    OlderThan(CurrentSnapshot),
}

/// What is to be committed.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// [`dataset::Dataset::fingerprint`].
    pub schema_fingerprint: String,
    /// The run.
    pub run_id: String,
    /// Version of the program.
    pub program_version: String,
    /// The time now.
    pub committed_at: DateTime<Utc>,
    /// Every staged file of the snapshot.
    pub files: Vec<StagedFile>,
    /// Every blob of the listing.
    pub blobs: Vec<BlobCounts>,
    /// Rows whose unique key another row has.
    pub duplicate_keys: u64,
    /// The files of the records set aside.
    pub quarantine_files: Vec<String>,
    /// Whether an older snapshot may be put in the place of its date.
    pub backfill: bool,
    /// Whether nobody else writes to this lake: `latest` is then replaced without a condition.
    pub single_writer: bool,
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// The snapshot is current.
    Committed {
        /// What was published.
        manifest: Box<Manifest>,
        /// The snapshot whose place it took.
        replaced: Option<CurrentSnapshot>,
        /// Files of the replaced snapshot that could not be deleted. The commit stands all the same.
        not_deleted: Vec<String>,
    },
    /// It was current already, or another run committed it meanwhile. The staged files were thrown away.
    Unchanged(CurrentSnapshot),
    /// The lake holds a later one and `backfill` was not asked for. The staged files were thrown away.
    OlderThanCurrent(CurrentSnapshot),
    /// Others kept replacing `latest`. Nothing was committed.
    Conflict {
        /// Swaps that were lost.
        attempts: u32,
    },
}

/// How `snapshot` stands to the lake now. A commit decides again.
///
/// # Errors
/// What reading `latest` gives.
pub async fn standing(lake: &Lake, snapshot: &Snapshot) -> Result<Standing> {
    let latest = Latest::read(lake, &snapshot.dataset).await?;
    Ok(decide(&latest, snapshot))
}

fn decide(latest: &Latest, snapshot: &Snapshot) -> Standing {
    let current = latest.current(&snapshot.org_id, snapshot.generated_date());
    let newest = latest.newest(&snapshot.org_id);
    let is_later = |other: &&CurrentSnapshot| other.generated_time > snapshot.generated_time;
    match current {
        Some(current) if current.snapshot == snapshot.id() => Standing::Unchanged(current.clone()),
        current => match (
            current.filter(is_later).or(newest.filter(is_later)),
            current,
        ) {
            (Some(later), _) => Standing::OlderThan(later.clone()),
            (None, Some(current)) => Standing::Replaces(current.clone()),
            (None, None) => Standing::New,
        },
    }
}

/// Makes the staged files the current snapshot of their organisation and date.
///
/// # Errors
/// [`crate::Error::Invariant`] if the request contradicts itself: nothing was touched, the uploads are open.
/// After an error of the store the uploads that were not completed have been aborted, and the lake's state is
/// as before unless the swap itself failed without an answer.
pub async fn commit(lake: &Lake, request: &CommitRequest) -> Result<CommitOutcome> {
    invariants::check(request)?;
    let dataset = &request.snapshot.dataset;
    let lock = lake.lock_commits(dataset).await?;

    let (latest, version) = Latest::read_versioned(lake, dataset).await?;
    invariants::id_belongs_to_this_organisation(request, &latest)?;
    if let Some(outcome) = refusal(&latest, request) {
        abort(lake, dataset, &request.run_id, &request.files).await?;
        return Ok(outcome);
    }

    if let Err(error) = complete_uploads(lake, &request.files).await {
        abort_quietly(lake, request).await;
        // Another commit may have come first, and deleted or voided what this one wanted to complete.
        let latest = Latest::read(lake, dataset).await?;
        let refused = refusal(&latest, request);
        let nobody_else_has_these_names =
            lock.is_some() || matches!(refused, Some(CommitOutcome::OlderThanCurrent(_)));
        if nobody_else_has_these_names {
            delete_published(lake, request).await?;
        }
        if let Some(outcome) = refused {
            return Ok(outcome);
        }
        return Err(error);
    }
    let manifest = manifest_of(request);
    manifest.write(lake).await?;
    let outcome = swap(lake, request, manifest, latest, version).await?;
    if let Store::Local(disk) = &lake.store {
        let folder = layout::staging(dataset, &request.run_id);
        blocking(disk, "delete", &folder, LocalDisk::delete_folder).await?;
    }
    drop(lock);
    Ok(outcome)
}

/// Throws staged files away, and on local disk the run's staging folder with all in it.
///
/// # Errors
/// What the store answers.
pub async fn abort(lake: &Lake, dataset: &str, run_id: &str, files: &[StagedFile]) -> Result<()> {
    abort_files(lake, files).await?;
    match &lake.store {
        Store::Local(disk) => {
            let folder = layout::staging(dataset, run_id);
            blocking(disk, "delete", &folder, LocalDisk::delete_folder).await
        }
        Store::Remote(_) => Ok(()),
    }
}

/// Throws staged files away, and leaves whatever else the run has staged.
///
/// # Errors
/// What the store answers.
pub async fn abort_files(lake: &Lake, files: &[StagedFile]) -> Result<()> {
    let aborts: Vec<_> = files
        .iter()
        .map(|file| {
            let (lake, upload, path) = (lake.clone(), file.upload.clone(), file.path.clone());
            async move { upload.abort(&lake, &path).await }
        })
        .collect();
    stream::iter(aborts)
        .buffer_unordered(UPLOADS_AT_ONCE)
        .try_collect::<()>()
        .await
}

async fn abort_quietly(lake: &Lake, request: &CommitRequest) {
    // Reported as a warning: the error that led here is the one to return.
    if let Err(error) = abort(
        lake,
        &request.snapshot.dataset,
        &request.run_id,
        &request.files,
    )
    .await
    {
        tracing::warn!(%error, "could not abort all uploads");
    }
}

/// The outcome that ends a commit before it publishes anything.
fn refusal(latest: &Latest, request: &CommitRequest) -> Option<CommitOutcome> {
    match decide(latest, &request.snapshot) {
        Standing::Unchanged(current) => Some(CommitOutcome::Unchanged(current)),
        Standing::OlderThan(current) if !request.backfill => {
            Some(CommitOutcome::OlderThanCurrent(current))
        }
        _ => None,
    }
}

pub(crate) async fn complete_uploads(lake: &Lake, files: &[StagedFile]) -> Result<()> {
    let completions: Vec<_> = files
        .iter()
        .map(|file| {
            let (lake, file) = (lake.clone(), file.clone());
            async move { file.upload.complete(&lake, &file.path, &file.sha256).await }
        })
        .collect();
    stream::iter(completions)
        .buffer_unordered(UPLOADS_AT_ONCE)
        .try_collect()
        .await
}

fn manifest_of(request: &CommitRequest) -> Manifest {
    let mut files: Vec<ManifestFile> = request.files.iter().map(ManifestFile::from).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Manifest {
        version: manifest::VERSION,
        dataset: request.snapshot.dataset.clone(),
        snapshot: request.snapshot.id(),
        org_id: request.snapshot.org_id.clone(),
        generated_time: request.snapshot.generated_time,
        schema_fingerprint: request.schema_fingerprint.clone(),
        run_id: request.run_id.clone(),
        program_version: request.program_version.clone(),
        committed_at: request.committed_at,
        rows: files.iter().map(|file| file.rows).sum(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        records_read: request.blobs.iter().map(|blob| blob.records).sum(),
        records_quarantined: request.blobs.iter().map(|blob| blob.quarantined).sum(),
        duplicate_keys: request.duplicate_keys,
        amendment: 0,
        quarantine_files: sorted(request.quarantine_files.clone()),
        files,
        blobs: request.blobs.clone(),
    }
}

pub(crate) fn sorted(mut paths: Vec<String>) -> Vec<String> {
    paths.sort();
    paths
}

/// Steps 3 and 4. Each lost swap means that another commit was made: decide again on top of it.
async fn swap(
    lake: &Lake,
    request: &CommitRequest,
    manifest: Manifest,
    mut latest: Latest,
    mut version: Version,
) -> Result<CommitOutcome> {
    let entry = CurrentSnapshot::from(&manifest);
    for attempt in 1..=SWAP_ATTEMPTS {
        let replaced = latest.current(&entry.org_id, entry.generated_date).cloned();
        latest.put(entry.clone());
        if latest.swap(lake, &version, request.single_writer).await? {
            return Ok(committed(lake, manifest, replaced).await);
        }
        tokio::time::sleep(SWAP_PAUSE * attempt).await;
        (latest, version) = Latest::read_versioned(lake, &manifest.dataset).await?;
        match refusal(&latest, request) {
            // The store took the swap and its answer was lost.
            Some(CommitOutcome::Unchanged(current)) if current.run_id == request.run_id => {
                return Ok(committed(lake, manifest, replaced).await);
            }
            Some(CommitOutcome::Unchanged(current)) => {
                return Ok(CommitOutcome::Unchanged(current));
            }
            Some(refused) => {
                delete_published(lake, request).await?;
                return Ok(refused);
            }
            None => {
                tracing::info!(attempt, snapshot = %entry.snapshot, "another commit came first, deciding again");
            }
        }
    }
    Ok(CommitOutcome::Conflict {
        attempts: SWAP_ATTEMPTS,
    })
}

async fn committed(
    lake: &Lake,
    manifest: Manifest,
    replaced: Option<CurrentSnapshot>,
) -> CommitOutcome {
    let not_deleted = retire(lake, &manifest, replaced.as_ref()).await;
    CommitOutcome::Committed {
        manifest: Box::new(manifest),
        replaced,
        not_deleted,
    }
}

/// Deletes what the commit made obsolete, the replaced manifest last. Returns what could not be deleted: the
/// commit stands.
pub(crate) async fn retire(
    lake: &Lake,
    manifest: &Manifest,
    replaced: Option<&CurrentSnapshot>,
) -> Vec<String> {
    let old_manifest: Vec<String> = replaced
        .map(|replaced| replaced.manifest.clone())
        .into_iter()
        .collect();
    let obsolete = match obsolete_files(lake, manifest, replaced).await {
        Ok(obsolete) => obsolete,
        Err(error) => {
            tracing::warn!(%error, "could not find the files that the commit replaced");
            return old_manifest;
        }
    };
    let deleted = match delete_files(lake, &obsolete).await {
        Ok(()) => lake.delete(&old_manifest).await,
        failed => failed,
    };
    match deleted {
        Ok(()) => Vec::new(),
        Err(error) => {
            tracing::warn!(%error, "could not delete the files that the commit replaced");
            obsolete.into_iter().chain(old_manifest).collect()
        }
    }
}

/// The replaced snapshot's files, and files under this snapshot's names that a run with other settings left
/// when it died.
async fn obsolete_files(
    lake: &Lake,
    manifest: &Manifest,
    replaced: Option<&CurrentSnapshot>,
) -> Result<Vec<String>> {
    let folder = layout::date_folder(&manifest.dataset, manifest.identity().generated_date());
    let own_name = format!("/part-{}-", manifest.snapshot);
    let found = lake
        .list(&folder)
        .await?
        .into_iter()
        .map(|object| object.path);
    let mut paths: Vec<String> = found.filter(|path| path.contains(&own_name)).collect();
    if let Some(replaced) = replaced
        && let Some(old) = Manifest::read_at(lake, &replaced.manifest).await?
    {
        let in_place =
            |path: &String| path.starts_with(&format!("{folder}/")) && path.ends_with(".parquet");
        paths.extend(old.files.into_iter().map(|file| file.path).filter(in_place));
    }
    let listed: HashSet<&str> = manifest
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    paths.retain(|path| !listed.contains(path.as_str()));
    Ok(paths)
}

/// Takes back what this commit published, before anything pointed to it.
async fn delete_published(lake: &Lake, request: &CommitRequest) -> Result<()> {
    let paths: Vec<String> = request.files.iter().map(|file| file.path.clone()).collect();
    delete_files(lake, &paths).await?;
    lake.delete(&[layout::manifest(
        &request.snapshot.dataset,
        &request.snapshot.id(),
    )])
    .await
}

/// Deletes files of the table, and on local disk the partition folders that they leave empty.
pub(crate) async fn delete_files(lake: &Lake, paths: &[String]) -> Result<()> {
    lake.delete(paths).await?;
    if let Store::Local(disk) = &lake.store {
        let folders: BTreeSet<String> = paths
            .iter()
            .filter_map(|path| Some(path.rsplit_once('/')?.0.to_owned()))
            .collect();
        for folder in folders {
            let group_and_date = 2;
            blocking(disk, "delete", &folder, move |disk, folder| {
                disk.delete_empty_folders(folder, group_and_date);
                Ok(())
            })
            .await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
