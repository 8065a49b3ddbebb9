//! One table: how it is committed, what it holds now, and the tidying of what commits leave behind.
//!
//! With a Delta log the log decides and `latest` follows it: a `latest` that is behind is brought up by whoever
//! comes next. Without one `latest` decides.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dataset::SnapshotId;

use crate::table::intent::Begun;
use crate::store::contention::Contention;
use crate::delta::log::{DeltaLog, LogState};
use crate::error::{Error, Result};
use crate::store::failpoint;
use crate::table::latest::{CurrentSnapshot, Latest, RetiredSnapshot, Retirement};
use crate::layout;
use crate::store::local_disk::LocalDisk;
use crate::table::manifest::{self, Manifest};
use crate::store::remote::ConditionalPut;
use crate::stage::run_lease;
use crate::store::backend::{Store, blocking};
use crate::store::lake::Lake;
use crate::store::object::Version;

/// A commit takes seconds. One that was begun this long ago is taken for dead where no lock tells.
const ABANDONED_AFTER: TimeDelta = TimeDelta::hours(1);
/// Reads of the table that may be overtaken by commits before reading gives up.
const READ_ATTEMPTS: u32 = 10;
const READ_PAUSE: Duration = Duration::from_millis(50);
const STRIKE_OFF_ATTEMPTS: u32 = 3;

/// A table in a lake.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    pub(crate) lake: &'a Lake,
    pub(crate) dataset: &'a str,
    pub(crate) settings: TableSettings,
    pub(crate) log: DeltaLog,
}

/// What a table holds.
#[derive(Debug)]
pub(crate) struct TableState {
    /// The current and the retired snapshots.
    pub(crate) latest: Latest,
    /// What [`Latest::swap`] compares.
    pub(crate) seen: Version,
    /// Whether the pointer in the lake says something else.
    pub(crate) is_behind: bool,
    /// What the log says; empty if there is none.
    pub(crate) log: LogState,
}

impl<'a> Table<'a> {
    pub(crate) fn new(lake: &'a Lake, dataset: &'a str, settings: TableSettings) -> Self {
        Self {
            lake,
            dataset,
            settings,
            log: DeltaLog::new(lake, dataset, settings.single_writer),
        }
    }

    /// What the table holds now.
    ///
    /// # Errors
    /// [`Error::HasDeltaLog`] if it has a log that the settings do not know of; what the store answers.
    pub(crate) async fn read(&self, now: DateTime<Utc>) -> Result<TableState> {
        self.read_again(LogState::default(), None, now).await
    }

    /// What the table holds now; `known` is what its log said before, and `own` a manifest that need not be read: with
    /// thousands of files it is megabytes.
    ///
    /// # Errors
    /// Those of [`Table::read`].
    pub(crate) async fn read_again(
        &self,
        mut known: LogState,
        own: Option<&Manifest>,
        now: DateTime<Utc>,
    ) -> Result<TableState> {
        for attempt in 1..READ_ATTEMPTS {
            match self.read_once(std::mem::take(&mut known), own, now).await {
                // Another commit replaced in between what was about to be read.
                Err(Error::NotFound { .. }) => tokio::time::sleep(READ_PAUSE * attempt).await,
                read => return read,
            }
        }
        self.read_once(known, own, now).await
    }

    async fn read_once(
        &self,
        known: LogState,
        own: Option<&Manifest>,
        now: DateTime<Utc>,
    ) -> Result<TableState> {
        // The pointer first: a swap that succeeds then follows a log at least as new as that of any swap before.
        let (stored, seen) = Latest::read_versioned(self.lake, self.dataset).await?;
        let (log, latest) = match self.settings.format {
            TableFormat::Delta => {
                let log = self.log.read(known).await?;
                let latest = self.following(&stored, &log, own, now).await?;
                (log, latest)
            }
            TableFormat::Parquet if self.log.exists().await? => {
                let dataset = self.dataset.to_owned();
                return Err(Error::HasDeltaLog { dataset });
            }
            TableFormat::Parquet => (LogState::default(), stored.clone()),
        };
        Ok(TableState {
            is_behind: latest != stored,
            latest,
            seen,
            log,
        })
    }

    /// The pointer as the log has it.
    async fn following(
        &self,
        stored: &Latest,
        log: &LogState,
        own: Option<&Manifest>,
        now: DateTime<Utc>,
    ) -> Result<Latest> {
        let mut latest = stored.clone();
        let Some(last) = log.version else {
            return Ok(latest);
        };
        // Grouped once: with years of history there are thousands of snapshots, and tens of thousands of files.
        let in_log = log.paths_by_snapshot();
        let listed: HashMap<&SnapshotId, u64> = stored
            .snapshots
            .iter()
            .map(|current| (&current.snapshot, current.files))
            .collect();
        let retirement = self.retirement(now);
        // What other runs published and the pointer does not show yet.
        let unlisted = in_log.keys().copied().filter(|snapshot| {
            !listed.contains_key(snapshot) && own.is_none_or(|own| own.snapshot != **snapshot)
        });
        let entries = self.log.entries_of(unlisted, last).await?;
        for (&snapshot, files) in &in_log {
            // Rows may have been added to a snapshot that is current.
            if listed.get(snapshot) != Some(&(files.len() as u64)) {
                let is_own = |own: &&Manifest| own.snapshot == *snapshot && lists(own, files);
                let mut current: CurrentSnapshot = match own.filter(is_own) {
                    Some(own) => own.into(),
                    None => (&self.manifest(&latest, snapshot, files).await?).into(),
                };
                let entry = entries.get(snapshot);
                current.rolled_back = entry.and_then(|entry| entry.rolled_back.clone());
                let promised = entry.and_then(|entry| entry.replaced_kept_until);
                latest.put(current, retirement.or_until(promised));
            }
        }
        // A snapshot without files leaves no trace in the log's state.
        latest.keep_current(
            |current| current.files == 0 || in_log.contains_key(&current.snapshot),
            retirement,
        );
        Ok(latest)
    }

    /// The manifest of a snapshot that has those files in the log, if need be from what its commit wrote down
    /// beforehand.
    async fn manifest(
        &self,
        latest: &Latest,
        snapshot: &SnapshotId,
        files: &BTreeSet<&str>,
    ) -> Result<Manifest> {
        let first = layout::manifest(self.dataset, snapshot);
        let retired = latest.retired(snapshot);
        let path = retired.map_or(&first, |retired| &retired.was.manifest);
        let is_whole = |manifest: &Manifest| lists(manifest, files);
        let published = Manifest::read_at(self.lake, path).await?;
        if let Some(manifest) = published.filter(is_whole) {
            return Ok(manifest);
        }
        let begun = Begun::list(self.lake, self.dataset).await?.into_iter();
        let mut begun = begun.map(|begun| begun.manifest);
        let is_it = |manifest: &Manifest| manifest.snapshot == *snapshot && is_whole(manifest);
        if let Some(manifest) = begun.find(is_it) {
            return Ok(manifest);
        }
        // Its commit may have finished between the two.
        match Manifest::read_at(self.lake, path).await?.filter(is_whole) {
            Some(manifest) => Ok(manifest),
            None => Err(Error::NotFound {
                action: "read",
                path: path.clone(),
                message: format!("the table's log has {} files of this snapshot", files.len()),
            }),
        }
    }

    /// Whether [`Table::tidy`] would have anything to do.
    pub(crate) async fn is_untidy(&self, state: &TableState, now: DateTime<Utc>) -> Result<bool> {
        let overdue = state
            .latest
            .retired
            .iter()
            .any(|retired| self.is_overdue(retired, now));
        if state.is_behind || overdue {
            return Ok(true);
        }
        let begun = self.lake.list(&layout::begun_folder(self.dataset)).await?;
        Ok(!begun.is_empty()
            || !self.abandoned_runs(now).await?.is_empty()
            || self.has_temporary_documents().await?)
    }

    /// Whether somebody died, or is, in the midst of writing a document.
    async fn has_temporary_documents(&self) -> Result<bool> {
        if let Store::Local(disk) = &self.lake.store {
            for folder in layout::folders_of_documents(self.dataset) {
                let temporary = blocking(disk, "tidy", &folder, LocalDisk::temporary_files);
                if !temporary.await?.is_empty() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Runs that died with something staged.
    pub(crate) async fn abandoned_runs(&self, now: DateTime<Utc>) -> Result<BTreeSet<String>> {
        staging::abandoned_runs(self.lake, self.dataset, self.settings, now).await
    }

    /// Throws away what a dead run has staged and set aside. One that has begun to commit is left to the fate of its commit.
    pub(crate) async fn discard(&self, run_id: &str, now: DateTime<Utc>) -> Result<()> {
        // In this order: a run that was only silent writes down what it begins, and then looks for its lease.
        let Some(_seized) = staging::seize(self.lake, self.dataset, run_id).await? else {
            return Ok(());
        };
        if Begun::has(self.lake, self.dataset, run_id).await? {
            return Ok(());
        }
        let state = self.read(now).await?;
        let mut set_aside = Vec::new();
        for object in self.lake.list(&layout::quarantines(self.dataset)).await? {
            if let Some((snapshot, run)) = layout::run_of_set_aside(self.dataset, &object.path)
                && run == run_id
                && !self
                    .kept_files(&state, &snapshot)
                    .await?
                    .contains(&object.path)
            {
                set_aside.push(object.path);
            }
        }
        self.lake.delete(&set_aside).await?;
        staging::discard(self.lake, self.dataset, run_id).await
    }

    /// What the table holds, after what dead runs left was finished or undone.
    pub(crate) async fn settled(&self, now: DateTime<Utc>) -> Result<TableState> {
        let state = self.read(now).await?;
        if !self.is_untidy(&state, now).await? {
            return Ok(state);
        }
        let lock = self.lake.lock_commits(self.dataset).await?;
        let alone = lock.is_some() || self.settings.single_writer;
        self.tidy(self.read_again(state.log, None, now).await?, alone, now)
            .await?;
        self.read(now).await
    }

    /// Finishes what died after its commit: the pointer follows the log, and what it names is there.
    pub(crate) async fn finish(&self, state: TableState, now: DateTime<Utc>) -> Result<TableState> {
        let state = self.publish(state, None, now).await?;
        for begun in Begun::list(self.lake, self.dataset).await? {
            let path = begun.manifest.path();
            let is_published = |current: &CurrentSnapshot| current.manifest == path;
            if state.latest.snapshots.iter().any(is_published) && !self.lake.exists(&path).await? {
                begun.manifest.write(self.lake).await?;
            }
        }
        Ok(state)
    }

    /// Finishes what died after its commit, undoes what died before it, and deletes the files of snapshots that
    /// were retired long enough ago. `alone`: no other commit can be under way. Returns files that could not be
    /// deleted.
    pub(crate) async fn tidy(
        &self,
        state: TableState,
        alone: bool,
        now: DateTime<Utc>,
    ) -> Result<Vec<String>> {
        let state = self.finish(state, now).await?;
        for begun in Begun::list(self.lake, self.dataset).await? {
            if alone || is_over(&begun, &state.latest, now) {
                self.undo(&begun, &state).await?;
            }
        }
        for run_id in self.abandoned_runs(now).await? {
            self.discard(&run_id, now).await?;
        }
        if let Store::Local(disk) = &self.lake.store {
            // Under the lock nobody else writes the documents of commits; a run report is only a report.
            for folder in layout::folders_of_documents(self.dataset) {
                blocking(disk, "tidy", &folder, LocalDisk::delete_temporary).await?;
            }
        }
        self.delete_retired(state, now).await
    }

    /// Takes back what a commit has put into the lake and the commit record does not hold: what it has not published, and
    /// what an amendment that it has published replaced.
    pub(crate) async fn undo(&self, begun: &Begun, state: &TableState) -> Result<()> {
        let manifest = &begun.manifest;
        let snapshot = &manifest.snapshot;
        let mut kept = self.kept_files(state, snapshot).await?;
        // Runs of one snapshot give their files the same names.
        for other in Begun::list(self.lake, self.dataset).await? {
            if other.manifest.run_id != manifest.run_id {
                kept.extend(other.manifest.files.into_iter().map(|file| file.path));
            }
        }
        let is_stale = |path: &String| !kept.contains(path);
        let files = manifest.files.iter().map(|file| file.path.clone());
        let files: Vec<String> = files.filter(is_stale).collect();
        delete_files(self.lake, &files).await?;
        let current = kept_manifest(&state.latest, snapshot);
        let mut documents = manifest.quarantine_files.clone();
        if let Some(amended) = &begun.amends
            && current != Some(amended)
        {
            let replaced = Manifest::read_at(self.lake, amended).await?;
            documents.extend(
                replaced
                    .into_iter()
                    .flat_map(|replaced| replaced.quarantine_files),
            );
            documents.push(amended.clone());
        }
        documents.retain(is_stale);
        if current != Some(&manifest.path()) {
            documents.push(manifest.path());
        }
        self.lake.delete(&documents).await?;
        failpoint::reached("taken-back");
        begun.delete(self.lake).await
    }

    /// Deletes files under a current snapshot's names that a run with other settings left.
    pub(crate) async fn delete_strays(
        &self,
        state: &TableState,
        manifest: &Manifest,
    ) -> Result<()> {
        if kept_manifest(&state.latest, &manifest.snapshot) != Some(&manifest.path()) {
            return Ok(());
        }
        let folder = layout::date_folder(self.dataset, manifest.identity().generated_date());
        let listed: HashSet<&str> = manifest
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        let found = self.lake.list(&folder).await?.into_iter();
        let strays: Vec<String> = found
            .map(|object| object.path)
            .filter(|path| {
                layout::snapshot_of_part(path).as_ref() == Some(&manifest.snapshot)
                    && !listed.contains(path.as_str())
            })
            .collect();
        delete_files(self.lake, &strays).await
    }

    /// Files of the snapshot that are part of the table, or kept after they were, and of its records set aside.
    async fn kept_files(
        &self,
        state: &TableState,
        snapshot: &SnapshotId,
    ) -> Result<HashSet<String>> {
        let mut kept: HashSet<String> = state.log.paths().map(str::to_owned).collect();
        if let Some(path) = kept_manifest(&state.latest, snapshot)
            && let Some(manifest) = Manifest::read_at(self.lake, path).await?
        {
            kept.extend(manifest.quarantine_files);
            kept.extend(manifest.files.into_iter().map(|file| file.path));
        }
        Ok(kept)
    }

    /// Brings the pointer up to the log. `own`: a snapshot that is to be current though the log may not show it.
    pub(crate) async fn publish(
        &self,
        mut state: TableState,
        own: Option<&Manifest>,
        now: DateTime<Utc>,
    ) -> Result<TableState> {
        let mut contention = Contention::new();
        loop {
            if let Some(own) = own.filter(|own| own.files.is_empty())
                && !state.latest.is_current(&own.snapshot)
            {
                let retirement = self.retirement(now);
                state.latest.put(CurrentSnapshot::from(own), retirement);
                state.is_behind = true;
            }
            if !state.is_behind {
                return Ok(state);
            }
            let alone = self.settings.single_writer;
            match state.latest.swap(self.lake, &state.seen, alone).await? {
                ConditionalPut::Done => {
                    state.is_behind = false;
                    return Ok(state);
                }
                // Mostly another commit's success, which may have published this one's too.
                ConditionalPut::Refused(why) => {
                    if !contention.refused(why).await {
                        return Err(contention.error(layout::latest(self.dataset)));
                    }
                }
            }
            state = self.read_again(state.log, own, now).await?;
        }
    }

    /// How snapshots are retired by what happens now.
    pub(crate) fn retirement(&self, now: DateTime<Utc>) -> Retirement {
        Retirement::new(now, self.settings.retire_after)
    }

    pub(crate) fn is_overdue(&self, retired: &RetiredSnapshot, now: DateTime<Utc>) -> bool {
        now >= retired.kept_until(self.settings.retire_after)
    }

    /// Deletes the files of overdue snapshots, their manifests after them, and takes them off the pointer last.
    async fn delete_retired(&self, state: TableState, now: DateTime<Utc>) -> Result<Vec<String>> {
        let (mut not_deleted, mut deleted) = (Vec::new(), Vec::new());
        for retired in &state.latest.retired {
            if !self.is_overdue(retired, now) {
                continue;
            }
            let paths = self.files_of_retired(&state, &retired.was).await?;
            match self.delete_snapshot(&paths, &retired.was).await {
                Ok(()) => deleted.push(retired.was.snapshot.clone()),
                Err(error) => {
                    tracing::warn!(%error, "could not delete the files of a replaced snapshot");
                    not_deleted.extend(paths);
                }
            }
        }
        if deleted.is_empty() {
            return Ok(not_deleted);
        }
        if let Err(error) = self.strike_off(&deleted, state.log, now).await {
            tracing::warn!(%error, "deleted snapshots are still listed as retired");
        }
        Ok(not_deleted)
    }

    /// Takes deleted snapshots off the pointer. Where others keep replacing it, one of them does it.
    async fn strike_off(
        &self,
        deleted: &[SnapshotId],
        mut known: LogState,
        now: DateTime<Utc>,
    ) -> Result<()> {
        for _ in 0..STRIKE_OFF_ATTEMPTS {
            let mut state = self.read_again(known, None, now).await?;
            let listed = state.latest.retired.len();
            state
                .latest
                .retired
                .retain(|retired| !deleted.contains(&retired.was.snapshot));
            let (lake, alone) = (self.lake, self.settings.single_writer);
            if state.latest.retired.len() == listed
                || state.latest.swap(lake, &state.seen, alone).await? == ConditionalPut::Done
            {
                break;
            }
            known = state.log;
        }
        Ok(())
    }

    async fn files_of_retired(
        &self,
        state: &TableState,
        was: &CurrentSnapshot,
    ) -> Result<Vec<String>> {
        let files = manifest::paths_at(self.lake, &was.manifest).await?;
        let in_log: HashSet<&str> = state.log.paths().collect();
        let date = layout::date_folder(self.dataset, was.generated_date) + "/";
        let in_table = |path: &String| {
            path.starts_with(&date)
                && layout::snapshot_of_part(path).as_ref() == Some(&was.snapshot)
                && !in_log.contains(path.as_str())
        };
        Ok(files.into_iter().filter(in_table).collect())
    }

    async fn delete_snapshot(&self, paths: &[String], was: &CurrentSnapshot) -> Result<()> {
        if let [first, rest @ ..] = paths {
            delete_files(self.lake, std::slice::from_ref(first)).await?;
            failpoint::reached("file-deleted");
            delete_files(self.lake, rest).await?;
        }
        failpoint::reached("files-deleted");
        self.lake.delete(std::slice::from_ref(&was.manifest)).await
    }
}

/// Whether a manifest's files are these.
fn lists(manifest: &Manifest, files: &BTreeSet<&str>) -> bool {
    let listed: BTreeSet<&str> = manifest.files.iter().map(|file| &*file.path).collect();
    listed == *files
}

/// Path of the manifest of a snapshot that is current or kept.
fn kept_manifest<'a>(latest: &'a Latest, snapshot: &SnapshotId) -> Option<&'a String> {
    let current = latest.snapshots.iter();
    let retired = latest.retired.iter().map(|retired| &retired.was);
    let found = current
        .chain(retired)
        .find(|kept| kept.snapshot == *snapshot);
    found.map(|kept| &kept.manifest)
}

/// Whether a commit can no longer succeed, or has, or has taken so long that it must be dead.
pub(crate) fn is_over(begun: &Begun, latest: &Latest, now: DateTime<Utc>) -> bool {
    let manifest = &begun.manifest;
    let date = manifest.identity().generated_date();
    let is_late = now.signed_duration_since(manifest.committed_at) > ABANDONED_AFTER;
    let is_overtaken = latest
        .current(&manifest.org_id, date)
        .is_some_and(|current| match &begun.amends {
            Some(amended) => current.manifest != *amended,
            None => {
                current.snapshot == manifest.snapshot
                    || (current.generated_time > manifest.generated_time && !begun.backfill)
            }
        });
    is_late || is_overtaken
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
