//! What a table holds now: the pointer, the log, and the one as the other has it.
//!
//! With a Delta log the log decides and the pointer follows it: the next command updates a pointer that lags. Without a log the
//! pointer decides. Commits nothing.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use dataset::SnapshotId;

use crate::delta::log::{DeltaLog, LogState};
use crate::error::{Error, Result};
use crate::layout;
use crate::store::contention::Contention;
use crate::store::lake::Lake;
use crate::store::local_disk::FileLock;
use crate::store::object::Version;
use crate::store::remote::ConditionalPut;
use crate::table::current_snapshot::CurrentSnapshot;
use crate::table::intent::Intent;
use crate::table::latest::{Latest, Retirement};
use crate::table::layout_version::{self, SeenLayout};
use crate::table::manifest::Manifest;
use crate::table::rereads::Rereads;
use crate::table::rewritten;
use crate::table::settings::{TableFormat, TableSettings};

/// A table in a lake, as it is at some time: what is published, appended, rolled back and cleaned up is asked of it.
#[derive(Debug)]
pub struct Table<'a> {
    pub(crate) lake: &'a Lake,
    pub(crate) dataset: &'a str,
    pub(crate) settings: TableSettings,
    pub(crate) log: DeltaLog,
    /// The time now, for all that is done with the table.
    pub(crate) now: DateTime<Utc>,
}

/// Held while commits are made or undone: on local disk no other process does meanwhile.
#[derive(Debug)]
pub(crate) struct CommitLock {
    _held: Option<FileLock>,
    /// Whether no other commit can be under way.
    pub(crate) is_alone: bool,
    pub(crate) layout: SeenLayout,
}

/// What is known of a log before it is read.
#[derive(Debug, Default)]
enum Known {
    /// Nothing: it is to be read.
    #[default]
    Nothing,
    /// What the pointer tells, if it follows the log to its end.
    Pointer,
    /// What it said before.
    Log(Box<LogState>),
}

/// What a table holds.
#[derive(Debug)]
pub(crate) struct TableState {
    /// The current and the retired snapshots. At least those of [`TableState::since`].
    pub(crate) latest: Latest,
    /// The first date of which all snapshots were asked for. `None`: all dates.
    since: Option<NaiveDate>,
    /// What [`Latest::swap`] compares.
    pub(crate) seen: Version,
    /// Whether the pointer in the lake says something else.
    pub(crate) is_behind: bool,
    /// What the log says; empty if there is none.
    pub(crate) log: LogState,
    /// Manifests that the pointer is to name and that are not there yet: of snapshots that maintenance rewrote.
    pub(crate) rewritten: Vec<Manifest>,
}

impl TableState {
    /// Writes the pointer, and before it the manifests that it is the first to name.
    pub(crate) async fn swap(&self, table: &Table<'_>) -> Result<ConditionalPut> {
        for manifest in &self.rewritten {
            manifest.write(table.lake).await?;
        }
        let alone = table.settings.single_writer;
        self.latest.swap(table.lake, &self.seen, alone).await
    }
}

impl<'a> Table<'a> {
    /// The table of a dataset, with the settings of the lake. `now` is the time of all that is done with this value.
    pub fn new(
        lake: &'a Lake,
        dataset: &'a str,
        settings: TableSettings,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            now,
            lake,
            dataset,
            settings,
            log: DeltaLog::new(lake, dataset, settings.single_writer),
        }
    }

    /// Waits until no other commit runs, where a lock can tell.
    ///
    /// # Errors
    /// [`Error::Newer`] if a later version of this program writes to the table; what the store answers.
    pub(crate) async fn lock(&self) -> Result<CommitLock> {
        let single_writer = self.settings.single_writer;
        let held = self.lake.lock_commits(self.dataset, single_writer).await?;
        let layout = layout_version::check(self.lake, self.dataset).await?;
        Ok(CommitLock {
            layout,
            is_alone: held.is_some() || single_writer,
            _held: held,
        })
    }

    /// What the table holds now: all snapshots, and the files that its log has.
    ///
    /// # Errors
    /// [`Error::HasDeltaLog`] if it has a log that the settings do not know of; what the store answers.
    pub(crate) async fn read(&self) -> Result<TableState> {
        self.read_until_whole(Known::Nothing, None, None).await
    }

    /// What the table holds now. Where the pointer follows the log to its end, the log's files are not read: with years of history
    /// that takes longer than all else. Nor are snapshots of dates before `since`.
    ///
    /// # Errors
    /// Those of [`Table::read`].
    pub(crate) async fn read_pointer(&self, since: Option<NaiveDate>) -> Result<TableState> {
        self.read_until_whole(Known::Pointer, since, None).await
    }

    /// What the table holds now, as far as `state` was read; `own` is a manifest that need not be read: with thousands of files
    /// it is megabytes.
    ///
    /// # Errors
    /// Those of [`Table::read`].
    pub(crate) async fn read_again(
        &self,
        state: TableState,
        own: Option<&Manifest>,
    ) -> Result<TableState> {
        let known = Known::Log(Box::new(state.log));
        self.read_until_whole(known, state.since, own).await
    }

    /// The same state with all snapshots, and the files that the log has.
    pub(crate) async fn whole(&self, state: TableState) -> Result<TableState> {
        match state.log.has_files() && state.latest.is_whole() {
            true => Ok(state),
            false => self.read().await,
        }
    }

    async fn read_until_whole(
        &self,
        mut known: Known,
        since: Option<NaiveDate>,
        own: Option<&Manifest>,
    ) -> Result<TableState> {
        let mut rereads = Rereads::default();
        loop {
            let known = std::mem::take(&mut known);
            let read = self.read_once(known, since, own).await;
            if let Some(read) = rereads.unless_overtaken(read).await {
                return read;
            }
        }
    }

    async fn read_once(
        &self,
        known: Known,
        mut since: Option<NaiveDate>,
        own: Option<&Manifest>,
    ) -> Result<TableState> {
        // The pointer first: a swap that succeeds then follows a log at least as new as that of any swap before.
        let (mut stored, seen) = Latest::read_versioned(self.lake, self.dataset).await?;
        if since.is_none_or(|since| !stored.has_all_since(since)) {
            stored.read_older(self.lake).await?;
        }
        let mut rewritten = Vec::new();
        let (log, latest) = match self.settings.format {
            TableFormat::Delta => {
                let log = self.read_log(known, &mut stored, own).await?;
                if log.has_files() {
                    since = None;
                }
                rewritten = rewritten::manifests(self.lake, &stored, &log).await?;
                let latest = self.following(&stored, &log, own, &rewritten).await?;
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
            since,
            seen,
            log,
            rewritten,
        })
    }

    /// The log as it is now; not read again where what is known of it still holds. Where its files are read, the pointer is read
    /// whole: each of them is of a snapshot.
    async fn read_log(
        &self,
        known: Known,
        stored: &mut Latest,
        own: Option<&Manifest>,
    ) -> Result<LogState> {
        let pointer = stored.log.as_ref();
        match (known, pointer) {
            (Known::Pointer, Some(pointer)) => {
                if let Some(followed) = self.log.followed_by(pointer).await? {
                    return Ok(followed);
                }
            }
            (Known::Log(known), pointer) => {
                let pointed = pointer.map(|pointer| pointer.version);
                // All that can have happened since is what this run published.
                let is_before_own = pointed == known.trusts() && own.is_some();
                let is_pointed = known.has_files()
                    || (pointed.is_some() && (pointed == known.version || is_before_own));
                if is_pointed && !self.log.goes_on_after(&known).await? {
                    return Ok(*known);
                }
            }
            _ => {}
        }
        stored.read_older(self.lake).await?;
        let mut log = self.log.read(stored.log.as_ref()).await?;
        rewritten::take_over(&self.log, &mut log, self.lake, stored).await?;
        Ok(log)
    }

    /// The pointer as the log has it.
    async fn following(
        &self,
        stored: &Latest,
        log: &LogState,
        own: Option<&Manifest>,
        rewritten: &[Manifest],
    ) -> Result<Latest> {
        let mut latest = match log.has_files() {
            true => self.following_files(stored, log, own, rewritten).await?,
            false => self.following_own(stored, log, own),
        };
        latest.log = log.followed();
        Ok(latest)
    }

    /// The same where the files are not known: all that can have happened since is that this run published.
    fn following_own(&self, stored: &Latest, log: &LogState, own: Option<&Manifest>) -> Latest {
        let mut latest = stored.clone();
        let is_ahead = log.version != stored.log.as_ref().map(|pointer| pointer.version);
        if let Some(own) = own.filter(|_| is_ahead) {
            latest.put(own.into(), self.retirement());
        }
        latest
    }

    async fn following_files(
        &self,
        stored: &Latest,
        log: &LogState,
        own: Option<&Manifest>,
        rewritten: &[Manifest],
    ) -> Result<Latest> {
        let mut latest = stored.clone();
        for manifest in rewritten {
            latest.put(manifest.into(), self.retirement());
        }
        let Some(last) = log.version else {
            return Ok(latest);
        };
        // Grouped once: with years of history there are thousands of snapshots, and tens of thousands of files.
        let in_log = log.paths_by_snapshot()?;
        let listed: HashMap<SnapshotId, u64> = latest
            .snapshots
            .iter()
            .map(|current| (current.snapshot.clone(), current.files))
            .collect();
        let retirement = self.retirement();
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
        let intents = Intent::list(self.lake, self.dataset).await?.into_iter();
        let mut intended = intents.map(|intent| intent.manifest);
        let is_it = |manifest: &Manifest| manifest.snapshot == *snapshot && is_whole(manifest);
        if let Some(manifest) = intended.find(is_it) {
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

    /// Brings the pointer up to the log. `decided`: a snapshot that is to be current, of which the log shows nothing if it has no
    /// file; `own` is for [`Table::read_again`].
    pub(crate) async fn update_pointer(
        &self,
        state: TableState,
        decided: Option<&CurrentSnapshot>,
        own: Option<&Manifest>,
    ) -> Result<TableState> {
        let publish = |latest: &mut Latest| {
            let decided = decided
                .filter(|decided| decided.files == 0 && !latest.is_current(&decided.snapshot));
            if let Some(decided) = decided {
                latest.put(decided.clone(), self.retirement());
            }
            decided.is_some()
        };
        self.change_pointer(state, own, publish).await
    }

    /// Changes the pointer, and brings it up to the log. `change` says whether it had anything to change; it is asked again where
    /// somebody else came first. `own` is for [`Table::read_again`].
    ///
    /// # Errors
    /// [`Error::PutRefused`] if others keep coming first; what the store answers.
    pub(crate) async fn change_pointer(
        &self,
        mut state: TableState,
        own: Option<&Manifest>,
        change: impl Fn(&mut Latest) -> bool,
    ) -> Result<TableState> {
        let mut contention = Contention::new();
        loop {
            let is_changed = change(&mut state.latest);
            if !is_changed && !state.is_behind {
                return Ok(state);
            }
            match state.swap(self).await? {
                ConditionalPut::Done => {
                    state.is_behind = false;
                    return Ok(state);
                }
                // Mostly another commit's success, which may have made this change too.
                ConditionalPut::Refused(why) => {
                    if !contention.refused(why).await {
                        return Err(contention.error(layout::latest(self.dataset)));
                    }
                }
            }
            state = self.read_again(state, own).await?;
        }
    }

    /// How long a run's lease may stay unrenewed; `None` where there are no leases, since nobody else writes to the lake.
    pub fn lease_time(&self) -> Option<Duration> {
        (!self.settings.single_writer).then_some(self.settings.dead_after)
    }

    /// How snapshots are retired by what happens now.
    pub(crate) fn retirement(&self) -> Retirement {
        Retirement::new(self.now, self.settings.retire_after)
    }
}

/// Whether a manifest's files are these.
fn lists(manifest: &Manifest, files: &BTreeSet<&str>) -> bool {
    let listed: BTreeSet<&str> = manifest.files.iter().map(|file| &*file.path).collect();
    listed == *files
}

/// Path of the manifest of a snapshot that is current or kept.
pub(crate) fn kept_manifest<'a>(latest: &'a Latest, snapshot: &SnapshotId) -> Option<&'a String> {
    let current = latest.snapshots.iter();
    let retired = latest.retired.iter().map(|retired| &retired.was);
    let found = current
        .chain(retired)
        .find(|kept| kept.snapshot == *snapshot);
    found.map(|kept| &kept.manifest)
}
