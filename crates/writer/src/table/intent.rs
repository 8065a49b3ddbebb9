//! The intent: what a commit is about to publish, written before it touches the table: a later run can finish it or undo it.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout;
use crate::store::document::parse;
use crate::store::lake::Lake;
use crate::store::object::{DOCUMENT_BYTES, ObjectInfo, too_long};
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

/// A document in the place of one that a commit of this program cannot have written.
struct Refused {
    path: String,
    /// `None`: it is too long to be read.
    content: Option<Bytes>,
    why: String,
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

    /// All intents for a dataset, without documents that no commit of this program can have written.
    pub(crate) async fn list(lake: &Lake, dataset: &str) -> Result<Vec<Self>> {
        Ok(Self::read_all(lake, dataset).await?.0)
    }

    /// The same, with these documents moved out of the way, so that none is in the way of commits. What they name is not touched.
    pub(crate) async fn list_and_set_aside(lake: &Lake, dataset: &str) -> Result<Vec<Self>> {
        let (intents, refused) = Self::read_all(lake, dataset).await?;
        for Refused { path, content, why } in refused {
            let Some(content) = content else {
                tracing::warn!(path, why, "this is no commit document: it is left alone");
                continue;
            };
            let moved_to = layout::refused_intent(dataset, &path);
            lake.put(&moved_to, content).await?;
            lake.delete(std::slice::from_ref(&path)).await?;
            tracing::warn!(
                path,
                moved_to,
                why,
                "this is no document of a commit, and nothing that it names was touched"
            );
        }
        Ok(intents)
    }

    async fn read_all(lake: &Lake, dataset: &str) -> Result<(Vec<Self>, Vec<Refused>)> {
        let (mut intents, mut refused) = (Vec::new(), Vec::new());
        for ObjectInfo { path, bytes } in Self::objects(lake, dataset).await? {
            // One that is cut short is a temporary file.
            if !path.ends_with(".json") {
                continue;
            }
            if bytes > DOCUMENT_BYTES {
                let (content, why) = (None, too_long());
                refused.push(Refused { path, content, why });
                continue;
            }
            // One that is gone by now is over.
            let Some(content) = lake.get(&path).await? else {
                continue;
            };
            let why = match parse::<Self>(&content, &path, VERSION) {
                Ok(read) => match read.foreign_path(dataset, &path) {
                    None => {
                        intents.push(read);
                        continue;
                    }
                    Some(foreign) => {
                        let foreign = foreign.escape_debug();
                        format!("it names `{foreign}`, which its snapshot cannot have")
                    }
                },
                Err(Error::Malformed { message, .. }) => message,
                Err(error) => return Err(error),
            };
            let content = Some(content);
            refused.push(Refused { path, content, why });
        }
        Ok((intents, refused))
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
