//! The intent: what a commit is about to publish, written before it touches the table: a later run can finish it or undo it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::layout;
use crate::store::document::parse;
use crate::store::lake::Lake;
use crate::store::object::ObjectInfo;
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
    #[serde(rename = "amends", default, skip_serializing_if = "Option::is_none")]
    pub(crate) appends_to: Option<String>,
    /// What it publishes.
    pub(crate) manifest: Manifest,
}

const VERSION: u32 = 1;
/// A commit takes seconds. One whose intent is this old is taken for dead where no lock tells.
const ABANDONED_AFTER: TimeDelta = TimeDelta::hours(1);

impl Intent {
    pub(crate) fn new(manifest: Manifest, backfill: bool) -> Self {
        Self {
            version: VERSION,
            backfill,
            appends_to: None,
            manifest,
        }
    }

    /// An append of rows to a published snapshot.
    pub(crate) fn appending(published: &Manifest, manifest: Manifest) -> Self {
        Self {
            appends_to: Some(published.path()),
            ..Self::new(manifest, false)
        }
    }

    fn path(&self) -> String {
        layout::intent(&self.manifest.dataset, &self.manifest.run_id)
    }

    /// Where it may be: an earlier version of this program had another folder for it.
    pub(crate) fn paths(&self) -> [String; 2] {
        let (dataset, run_id) = (&self.manifest.dataset, &self.manifest.run_id);
        [self.path(), layout::old_intent(dataset, run_id)]
    }

    pub(crate) async fn write(&self, lake: &Lake) -> Result<()> {
        lake.put_json(&self.path(), self).await
    }

    pub(crate) async fn delete(&self, lake: &Lake) -> Result<()> {
        lake.delete(&self.paths()).await
    }

    /// Whether it is still there: if not, another run took it for dead.
    pub(crate) async fn is_there(&self, lake: &Lake) -> Result<bool> {
        Self::has(lake, &self.manifest.dataset, &self.manifest.run_id).await
    }

    /// Whether a run has an intent.
    pub(crate) async fn has(lake: &Lake, dataset: &str, run_id: &str) -> Result<bool> {
        Ok(lake.exists(&layout::intent(dataset, run_id)).await?
            || lake.exists(&layout::old_intent(dataset, run_id)).await?)
    }

    /// The documents of all intents for a dataset.
    pub(crate) async fn objects(lake: &Lake, dataset: &str) -> Result<Vec<ObjectInfo>> {
        let mut objects = lake.list(&layout::intents(dataset)).await?;
        objects.extend(lake.list(&layout::old_intents(dataset)).await?);
        Ok(objects)
    }

    /// All intents for a dataset.
    pub(crate) async fn list(lake: &Lake, dataset: &str) -> Result<Vec<Self>> {
        let mut intents = Vec::new();
        for object in Self::objects(lake, dataset).await? {
            // One that is gone by now is over; one that is cut short is a temporary file.
            if object.path.ends_with(".json")
                && let Some(content) = lake.get(&object.path).await?
            {
                let read: Self = parse(&content, &object.path, VERSION)?;
                match read.foreign_path(dataset, &object.path) {
                    None => intents.push(read),
                    // No commit of ours wrote it. What it names is not touched.
                    Some(foreign) => tracing::warn!(
                        path = object.path,
                        foreign,
                        "this commit document names what its snapshot cannot have: it is left alone"
                    ),
                }
            }
        }
        Ok(intents)
    }

    /// What it names that the layout does not make for its dataset, snapshot and run.
    fn foreign_path<'a>(&'a self, dataset: &str, path: &'a str) -> Option<&'a str> {
        let manifest = &self.manifest;
        if manifest.dataset != dataset || !self.paths().iter().any(|own| own == path) {
            return Some(path);
        }
        let appends_to = self.appends_to.as_deref();
        let foreign =
            appends_to.filter(|path| !layout::is_manifest(dataset, &manifest.snapshot, path));
        let own = manifest.path();
        let is_own = layout::is_manifest(dataset, &manifest.snapshot, &own);
        foreign
            .or(manifest.foreign_path())
            .or((!is_own).then_some(path))
    }
}

/// Whether a commit can no longer succeed, or has, or has taken so long that it must be dead.
pub(crate) fn is_over(intent: &Intent, latest: &Latest, now: DateTime<Utc>) -> bool {
    let manifest = &intent.manifest;
    let date = manifest.identity().generated_date();
    let is_late = now.signed_duration_since(manifest.committed_at) > ABANDONED_AFTER;
    let is_overtaken = latest
        .current(&manifest.org_id, date)
        .is_some_and(|current| match &intent.appends_to {
            Some(published) => current.manifest != *published,
            None => {
                current.snapshot == manifest.snapshot
                    || (current.generated_time > manifest.generated_time && !intent.backfill)
            }
        });
    is_late || is_overtaken
}
