//! `latest.json`: which snapshot is current, for each organisation and date. Replaced only by compare-and-swap.
//!
//! Snapshots of older dates are in a document that it names ([`older`](crate::table::older)): a run reads that only if it has to do
//! with such a date.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use dataset::{OrgId, SnapshotId};
use serde::{Deserialize, Serialize};

use crate::delta::log::FollowedLog;
use crate::error::{Error, Result};
use crate::layout;
use crate::store::document::{parse, to_pretty_json};
use crate::store::lake::Lake;
use crate::store::object::Version;
use crate::store::remote::ConditionalPut;
use crate::table::current_snapshot::{CurrentSnapshot, check_manifests, place};
use crate::table::manifest::Manifest;
use crate::table::older::{self, Older};
use crate::table::rereads::Rereads;

/// Of a pointer with an older document, which a program that does not know of it must not take for the whole.
const VERSION: u32 = 2;
const VERSION_OF_WHOLE: u32 = 1;
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
    /// At most one snapshot for each organisation and date, sorted by these. In `latest.json` without those of the older document.
    pub snapshots: Vec<CurrentSnapshot>,
    /// Snapshots that were replaced and whose files may still be there, the last one replaced last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<RetiredSnapshot>,
    /// The table's log, as far as the pointer follows it. `None`: the table has none, or an earlier version of this program wrote
    /// the pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<FollowedLog>,
    /// The older document, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older: Option<Older>,
    /// What it holds, once it was read.
    #[serde(skip)]
    in_older: Option<Vec<CurrentSnapshot>>,
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

impl Latest {
    /// The pointer of a dataset with all its snapshots; without any if nothing was ever committed.
    ///
    /// # Errors
    /// [`crate::Error::Newer`], [`crate::Error::Malformed`], or what the store answers.
    pub async fn read(lake: &Lake, dataset: &str) -> Result<Self> {
        let mut rereads = Rereads::default();
        loop {
            let (mut latest, _) = Self::read_versioned(lake, dataset).await?;
            let read = latest.read_older(lake).await;
            if let Some(read) = rereads.unless_overtaken(read).await {
                return read.map(|()| latest);
            }
        }
    }

    /// The newest snapshot of an organisation, over all dates.
    ///
    /// # Errors
    /// Those of [`Latest::read`].
    pub async fn read_newest(
        lake: &Lake,
        dataset: &str,
        org_id: &OrgId,
    ) -> Result<Option<CurrentSnapshot>> {
        let (latest, _) = Self::read_versioned(lake, dataset).await?;
        Ok(latest.newest(org_id).cloned())
    }

    /// The pointer alone, and what [`Latest::swap`] compares.
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
                version: VERSION_OF_WHOLE,
                dataset: dataset.to_owned(),
                snapshots: Vec::new(),
                retired: Vec::new(),
                log: None,
                older: None,
                in_older: None,
            },
        };
        Ok((latest, version))
    }

    /// Adds the snapshots of the older document, unless that was done.
    ///
    /// # Errors
    /// Those of [`Older::read`].
    pub(crate) async fn read_older(&mut self, lake: &Lake) -> Result<()> {
        if let (Some(older), None) = (&self.older, &self.in_older) {
            let snapshots = older.read(lake, &self.dataset).await?;
            self.snapshots.extend(snapshots.iter().cloned());
            self.snapshots.sort_by_key(place);
            self.in_older = Some(snapshots);
        }
        Ok(())
    }

    /// Whether it has all snapshots.
    pub(crate) fn is_whole(&self) -> bool {
        self.older.is_none() || self.in_older.is_some()
    }

    /// Whether it has all snapshots of a date and later ones.
    pub(crate) fn has_all_since(&self, date: NaiveDate) -> bool {
        let unread = self.older.as_ref().filter(|_| self.in_older.is_none());
        unread.is_none_or(|older| date >= older.before)
    }

    /// Refuses a pointer to what the layout does not make: what it names is deleted in the end.
    fn check(&self, dataset: &str, path: &str) -> Result<()> {
        let retired = self.retired.iter().map(|retired| &retired.was);
        check_manifests(
            dataset,
            &self.dataset,
            self.snapshots.iter().chain(retired),
            path,
        )?;
        match &self.older {
            Some(Older { document, .. })
                if layout::older_written_at(dataset, document).is_none() =>
            {
                Err(Error::Malformed {
                    path: path.to_owned(),
                    message: format!("`{document}` is no document of older snapshots"),
                })
            }
            _ => Ok(()),
        }
    }

    /// The current snapshot of an organisation on a date.
    pub fn current(&self, org_id: &OrgId, date: NaiveDate) -> Option<&CurrentSnapshot> {
        debug_assert!(
            self.has_all_since(date),
            "the older document is to be read first"
        );
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
        self.with_id(snapshot).is_some()
    }

    /// The snapshot, if it is current.
    pub(crate) fn with_id(&self, snapshot: &SnapshotId) -> Option<&CurrentSnapshot> {
        self.snapshots
            .iter()
            .find(|current| current.snapshot == *snapshot)
    }

    /// The snapshot, if it is retired.
    pub fn retired(&self, snapshot: &SnapshotId) -> Option<&RetiredSnapshot> {
        self.retired
            .iter()
            .find(|retired| retired.was.snapshot == *snapshot)
    }

    /// Writes the pointer if it is still as it was read, or in any case if this run is the lake's single writer. What it is the
    /// first to name is written before.
    pub(crate) async fn swap(
        &self,
        lake: &Lake,
        seen: &Version,
        single_writer: bool,
    ) -> Result<ConditionalPut> {
        let path = layout::latest(&self.dataset);
        let pointer = match self.divided(lake).await {
            // Another commit replaced the document, and with it the pointer.
            Err(error @ Error::NotFound { .. }) => {
                return Ok(ConditionalPut::Refused(error.to_string()));
            }
            divided => divided?,
        };
        let content = to_pretty_json(&pointer, &path)?;
        if single_writer {
            lake.put(&path, content)
                .await
                .map(|()| ConditionalPut::Done)
        } else {
            lake.compare_and_swap(&path, seen, content).await
        }
    }

    /// The pointer as it is to be written. Most swaps leave the older document as it is.
    async fn divided(&self, lake: &Lake) -> Result<Self> {
        let mut pointer = self.clone();
        let in_older = pointer.in_older.take().unwrap_or_default();
        let as_written = older::are_as_written(&in_older, &self.snapshots);
        let moved: HashSet<&SnapshotId> = in_older.iter().map(|was| &was.snapshot).collect();
        pointer
            .snapshots
            .retain(|current| !moved.contains(&current.snapshot));
        if !as_written || older::is_long(&pointer.snapshots) {
            let mut whole = self.clone();
            whole.read_older(lake).await?;
            let divided = older::divide(whole.snapshots);
            pointer.snapshots = divided.recent;
            pointer.older = match divided.older {
                older if older.is_empty() => None,
                older => Some(Older::write(lake, &self.dataset, older, divided.before).await?),
            };
        }
        pointer.version = match pointer.older {
            Some(_) => VERSION,
            None => VERSION_OF_WHOLE,
        };
        Ok(pointer)
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
    match latest.with_id(snapshot) {
        Some(current) => Manifest::read_at(lake, &current.manifest).await,
        None => Manifest::read_at(lake, &layout::manifest(dataset, snapshot)).await,
    }
}
