//! `layout.json`: the version of the layout that a dataset's control documents have. A writer refuses a version that it does not know.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::layout::{self, CONTROL_VERSION};
use crate::store::document::{parse, to_pretty_json};
use crate::store::lake::Lake;
use crate::store::remote::ConditionalPut;

#[derive(Debug, Serialize, Deserialize)]
struct LayoutVersion {
    version: u32,
}

/// Refuses a lake of a later version.
///
/// # Errors
/// [`crate::Error::Newer`]; what the store answers.
pub(crate) async fn check(lake: &Lake, dataset: &str) -> Result<()> {
    let path = layout::version(dataset);
    match lake.get(&path).await? {
        Some(content) => parse::<LayoutVersion>(&content, &path, CONTROL_VERSION).map(drop),
        None => Ok(()),
    }
}

/// Writes the version, if the lake says another or none. Before the first document that only this version knows.
///
/// # Errors
/// Those of [`check`].
pub(crate) async fn write(lake: &Lake, dataset: &str, single_writer: bool) -> Result<()> {
    let path = layout::version(dataset);
    let (content, seen) = lake.get_versioned(&path).await?;
    if let Some(content) = content {
        let LayoutVersion { version } = parse(&content, &path, CONTROL_VERSION)?;
        if version == CONTROL_VERSION {
            return Ok(());
        }
    }
    let version = CONTROL_VERSION;
    let document = to_pretty_json(&LayoutVersion { version }, &path)?;
    if single_writer {
        return lake.put(&path, document).await;
    }
    match lake.compare_and_swap(&path, &seen, document).await? {
        ConditionalPut::Done => Ok(()),
        // Another run wrote it first.
        ConditionalPut::Refused(_) => check(lake, dataset).await,
    }
}
