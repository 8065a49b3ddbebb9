//! What a commit is about to publish, written down before it touches the table: a later run can finish it or undo it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::layout;
use crate::store::document::parse;
use crate::store::lake::Lake;
use crate::table::latest::Latest;
use crate::table::manifest::Manifest;

/// A commit that is under way, or that was when its process died.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// Version of this document's form.
    pub(crate) version: u32,
    /// Whether it may put an older snapshot in the place of a later one.
    pub(crate) backfill: bool,
    /// The manifest of the snapshot that it adds rows to: it can take the place of no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) amends: Option<String>,
    /// What it publishes.
    pub(crate) manifest: Manifest,
}

const VERSION: u32 = 1;
/// A commit takes seconds. One that was begun this long ago is taken for dead where no lock tells.
const ABANDONED_AFTER: TimeDelta = TimeDelta::hours(1);

impl Intent {
    pub(crate) fn new(manifest: Manifest, backfill: bool) -> Self {
        Self {
            version: VERSION,
            backfill,
            amends: None,
            manifest,
        }
    }

    /// The commit of an amendment.
    pub(crate) fn amending(published: &Manifest, manifest: Manifest) -> Self {
        Self {
            amends: Some(published.path()),
            ..Self::new(manifest, false)
        }
    }

    fn path(&self) -> String {
        layout::begun(&self.manifest.dataset, &self.manifest.run_id)
    }

    pub(crate) async fn write(&self, lake: &Lake) -> Result<()> {
        lake.put_json(&self.path(), self).await
    }

    pub(crate) async fn delete(&self, lake: &Lake) -> Result<()> {
        lake.delete(&[self.path()]).await
    }

    /// Whether it is still written down: if not, another run took it for dead.
    pub(crate) async fn is_there(&self, lake: &Lake) -> Result<bool> {
        Self::has(lake, &self.manifest.dataset, &self.manifest.run_id).await
    }

    /// Whether a run has a commit written down.
    pub(crate) async fn has(lake: &Lake, dataset: &str, run_id: &str) -> Result<bool> {
        lake.exists(&layout::begun(dataset, run_id)).await
    }

    /// All that is written down for a dataset.
    pub(crate) async fn list(lake: &Lake, dataset: &str) -> Result<Vec<Self>> {
        let mut begun = Vec::new();
        for object in lake.list(&layout::begun_folder(dataset)).await? {
            // One that is gone by now is over; one that is cut short is a temporary file.
            if object.path.ends_with(".json")
                && let Some(content) = lake.get(&object.path).await?
            {
                let read: Self = parse(&content, &object.path, VERSION)?;
                match read.foreign_path(dataset, &object.path) {
                    None => begun.push(read),
                    // No commit of ours wrote it. What it names is not touched.
                    Some(foreign) => tracing::warn!(
                        path = object.path,
                        foreign,
                        "this commit document names what its snapshot cannot have: it is left alone"
                    ),
                }
            }
        }
        Ok(begun)
    }

    /// What it names that the layout does not make for its dataset, snapshot and run.
    fn foreign_path<'a>(&'a self, dataset: &str, path: &'a str) -> Option<&'a str> {
        let manifest = &self.manifest;
        if manifest.dataset != dataset || self.path() != path {
            return Some(path);
        }
        let amends = self.amends.as_deref();
        let foreign =
            amends.filter(|amends| !layout::is_manifest(dataset, &manifest.snapshot, amends));
        let own = manifest.path();
        let is_own = layout::is_manifest(dataset, &manifest.snapshot, &own);
        foreign
            .or(manifest.foreign_path())
            .or((!is_own).then_some(path))
    }
}

/// Whether a commit can no longer succeed, or has, or has taken so long that it must be dead.
pub(crate) fn is_over(begun: &Intent, latest: &Latest, now: DateTime<Utc>) -> bool {
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
