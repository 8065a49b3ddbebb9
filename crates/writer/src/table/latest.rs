//! `latest.json`: which snapshot is current, for each organisation and date. Replaced only by compare-and-swap.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use dataset::{OrgId, Snapshot, SnapshotId};
use serde::{Deserialize, Serialize};

use crate::delta::log::FollowedLog;
use crate::error::{Error, Result};
use crate::layout;
use crate::store::document::{parse, to_pretty_json};
use crate::store::lake::Lake;
use crate::store::object::Version;
use crate::store::remote::ConditionalPut;
use crate::table::manifest::Manifest;

const VERSION: u32 = 1;
/// The last second that every reader of times can name: the end of the year 9999.
const FAR_FUTURE: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_799, 0) {
    Some(time) => time,
    None => DateTime::<Utc>::MAX_UTC,
};

/// The pointer document of one dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    /// Version of this document's form.
    pub version: u32,
    /// Name of the dataset.
    pub dataset: String,
    /// At most one snapshot for each organisation and date, sorted by these.
    pub snapshots: Vec<CurrentSnapshot>,
    /// Snapshots that were replaced and whose files may still be there, the last one replaced last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<RetiredSnapshot>,
    /// The table's log, as far as the pointer follows it. `None`: the table has none, or an earlier version of this program wrote
    /// the pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<FollowedLog>,
}

/// A snapshot that is no longer current. Its files are kept for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredSnapshot {
    /// What it was.
    #[serde(flatten)]
    pub was: CurrentSnapshot,
    /// When it was replaced.
    pub retired_at: DateTime<Utc>,
    /// Until when its files are kept, whatever the settings of later runs. `None`: an earlier version of this program retired
    /// it, and the setting of each run decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<DateTime<Utc>>,
}

/// When snapshots are retired, and until when their files are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retirement {
    at: DateTime<Utc>,
    pub(crate) kept_until: DateTime<Utc>,
}

/// The snapshot that is current for its organisation and date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentSnapshot {
    /// Id of the snapshot.
    pub snapshot: SnapshotId,
    /// The organisation.
    pub org_id: OrgId,
    /// UTC date of the generated time.
    pub generated_date: NaiveDate,
    /// When the service generated it.
    pub generated_time: DateTime<Utc>,
    /// Path of its manifest from the lake's root.
    pub manifest: String,
    /// The run that committed it.
    pub run_id: String,
    /// Rows of all its files.
    pub rows: u64,
    /// Number of its files.
    pub files: u64,
    /// The latest snapshot of its date that a rollback displaced for this one. Neither it nor an earlier one is published
    /// again unless a user asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<SnapshotId>,
}

impl Retirement {
    pub(crate) fn new(at: DateTime<Utc>, retire_after: Duration) -> Self {
        Self {
            at,
            kept_until: kept_until(at, retire_after),
        }
    }

    /// The same, with what was promised when another run retired the snapshot.
    pub(crate) fn or_until(self, promised: Option<DateTime<Utc>>) -> Self {
        Self {
            kept_until: promised.unwrap_or(self.kept_until),
            ..self
        }
    }
}

impl RetiredSnapshot {
    /// Until when its files are kept; `retire_after` decides where nothing was promised.
    pub(crate) fn kept_until(&self, retire_after: Duration) -> DateTime<Utc> {
        self.kept_until
            .unwrap_or_else(|| self.kept_by_setting(retire_after))
    }

    /// Until when they would be kept if nothing had been promised.
    pub(crate) fn kept_by_setting(&self, retire_after: Duration) -> DateTime<Utc> {
        kept_until(self.retired_at, retire_after)
    }
}

fn kept_until(retired_at: DateTime<Utc>, retire_after: Duration) -> DateTime<Utc> {
    let retire_after = TimeDelta::from_std(retire_after).ok();
    let until = retire_after.and_then(|kept| retired_at.checked_add_signed(kept));
    until.map_or(FAR_FUTURE, |until| until.min(FAR_FUTURE))
}

impl CurrentSnapshot {
    /// What a rollback to snapshot `to` displaces, if this is the current one of its date.
    pub(crate) fn displaced_by_rollback(&self, to: &SnapshotId) -> Option<SnapshotId> {
        let displaced = self.rolled_back.iter().chain([&self.snapshot]).max();
        displaced.filter(|displaced| *displaced > to).cloned()
    }

    /// What stays displaced when snapshot `by` takes the place of this one without a rollback.
    pub(crate) fn still_displaced(&self, by: &SnapshotId) -> Option<SnapshotId> {
        self.rolled_back.clone().filter(|displaced| displaced > by)
    }
}

impl Latest {
    /// The pointer of a dataset; without snapshots if nothing was ever committed.
    ///
    /// # Errors
    /// [`crate::Error::Newer`], [`crate::Error::Malformed`], or what the store answers.
    pub async fn read(lake: &Lake, dataset: &str) -> Result<Self> {
        Ok(Self::read_versioned(lake, dataset).await?.0)
    }

    pub(crate) async fn read_versioned(lake: &Lake, dataset: &str) -> Result<(Self, Version)> {
        let path = layout::latest(dataset);
        let (content, version) = lake.get_versioned(&path).await?;
        let latest = match content {
            Some(content) => {
                let latest: Self = parse(&content, &path, VERSION)?;
                latest.check(dataset, &path)?;
                latest
            }
            None => Self {
                version: VERSION,
                dataset: dataset.to_owned(),
                snapshots: Vec::new(),
                retired: Vec::new(),
                log: None,
            },
        };
        Ok((latest, version))
    }

    /// Refuses a pointer to what the layout does not make: what it names is deleted in the end.
    fn check(&self, dataset: &str, path: &str) -> Result<()> {
        let retired = self.retired.iter().map(|retired| &retired.was);
        let mut named = self.snapshots.iter().chain(retired);
        let is_foreign = |named: &&CurrentSnapshot| {
            !layout::is_manifest(dataset, &named.snapshot, &named.manifest)
        };
        match named.find(is_foreign) {
            None if self.dataset == dataset => Ok(()),
            None => Err(Error::Malformed {
                path: path.to_owned(),
                message: format!("it is of dataset `{}`", self.dataset),
            }),
            Some(foreign) => Err(Error::Malformed {
                path: path.to_owned(),
                message: format!(
                    "`{}` is no manifest of snapshot {}",
                    foreign.manifest, foreign.snapshot
                ),
            }),
        }
    }

    /// The current snapshot of an organisation on a date.
    pub fn current(&self, org_id: &OrgId, date: NaiveDate) -> Option<&CurrentSnapshot> {
        self.snapshots
            .iter()
            .find(|current| current.org_id == *org_id && current.generated_date == date)
    }

    /// The newest snapshot of an organisation, over all dates.
    pub fn newest(&self, org_id: &OrgId) -> Option<&CurrentSnapshot> {
        let of_org = self
            .snapshots
            .iter()
            .filter(|current| current.org_id == *org_id);
        of_org.max_by_key(|current| current.generated_time)
    }

    /// Puts a snapshot in the place of the one of its organisation and date, which is retired.
    pub(crate) fn put(&mut self, mut entry: CurrentSnapshot, retirement: Retirement) {
        let replaced = self.current(&entry.org_id, entry.generated_date);
        if let (None, Some(replaced)) = (&entry.rolled_back, replaced) {
            entry.rolled_back = replaced.still_displaced(&entry.snapshot);
        }
        let place = |current: &CurrentSnapshot| (current.org_id.clone(), current.generated_date);
        let entry_place = place(&entry);
        self.keep_current(|current| place(current) != entry_place, retirement);
        self.retired
            .retain(|retired| retired.was.snapshot != entry.snapshot);
        self.snapshots.push(entry);
        self.snapshots.sort_by_key(place);
    }

    /// Retires all current snapshots but those.
    pub(crate) fn keep_current(
        &mut self,
        keep: impl Fn(&CurrentSnapshot) -> bool,
        retirement: Retirement,
    ) {
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.snapshots)
            .into_iter()
            .partition(keep);
        self.snapshots = kept;
        self.retired
            .retain(|retired| gone.iter().all(|was| was.snapshot != retired.was.snapshot));
        self.retired
            .extend(gone.into_iter().map(|was| RetiredSnapshot {
                was: CurrentSnapshot {
                    rolled_back: None,
                    ..was
                },
                retired_at: retirement.at,
                kept_until: Some(retirement.kept_until),
            }));
    }

    /// Whether the snapshot is current.
    pub fn is_current(&self, snapshot: &SnapshotId) -> bool {
        self.snapshots
            .iter()
            .any(|current| current.snapshot == *snapshot)
    }

    /// The snapshot, if it is retired.
    pub fn retired(&self, snapshot: &SnapshotId) -> Option<&RetiredSnapshot> {
        self.retired
            .iter()
            .find(|retired| retired.was.snapshot == *snapshot)
    }

    /// Writes the pointer if it is still as it was read, or in any case if this run is the lake's single writer.
    pub(crate) async fn swap(
        &self,
        lake: &Lake,
        seen: &Version,
        single_writer: bool,
    ) -> Result<ConditionalPut> {
        let path = layout::latest(&self.dataset);
        let content = to_pretty_json(self, &path)?;
        if single_writer {
            lake.put(&path, content)
                .await
                .map(|()| ConditionalPut::Done)
        } else {
            lake.compare_and_swap(&path, seen, content).await
        }
    }
}

/// Reads the manifest of a snapshot: the one that `latest` names, or the first one of a snapshot that is not current. `None` if the
/// lake has none.
///
/// # Errors
/// [`crate::Error::Newer`], [`crate::Error::Malformed`], or what the store answers.
pub async fn read_manifest(
    lake: &Lake,
    dataset: &str,
    snapshot: &SnapshotId,
) -> Result<Option<Manifest>> {
    let latest = Latest::read(lake, dataset).await?;
    let mut current = latest.snapshots.into_iter();
    match current.find(|current| current.snapshot == *snapshot) {
        Some(current) => Manifest::read_at(lake, &current.manifest).await,
        None => Manifest::read_at(lake, &layout::manifest(dataset, snapshot)).await,
    }
}

impl From<&Manifest> for CurrentSnapshot {
    fn from(manifest: &Manifest) -> Self {
        let identity: Snapshot = manifest.identity();
        Self {
            snapshot: manifest.snapshot.clone(),
            org_id: manifest.org_id.clone(),
            generated_date: identity.generated_date(),
            generated_time: manifest.generated_time,
            manifest: manifest.path(),
            run_id: manifest.run_id.clone(),
            rows: manifest.rows,
            files: manifest.files.len() as u64,
            rolled_back: None,
        }
    }
}
