//! `layout.json`: the version of the layout that a dataset's control documents have. A writer refuses a version that it does not know.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::layout::{self, CONTROL_VERSION};
use crate::store::document::{parse, to_pretty_json};
use crate::store::lake::Lake;
use crate::store::object::Version;
use crate::store::remote::ConditionalPut;

#[derive(Debug, Serialize, Deserialize)]
struct LayoutVersion {
    version: u32,
}

/// What a lake says of its layout: a version that this program knows.
#[derive(Debug)]
pub(crate) struct SeenLayout {
    is_current: bool,
    document: Version,
}

/// Refuses a lake of a later version.
///
/// # Errors
/// [`crate::Error::Newer`]; what the store answers.
pub(crate) async fn check(lake: &Lake, dataset: &str) -> Result<SeenLayout> {
    let path = layout::version(dataset);
    let (content, document) = lake.get_versioned(&path).await?;
    let is_current = match content {
        Some(content) => {
            let LayoutVersion { version } = parse(&content, &path, CONTROL_VERSION)?;
            version == CONTROL_VERSION
        }
        None => false,
    };
    Ok(SeenLayout {
        is_current,
        document,
    })
}

/// Writes the version, if the lake says another or none. Before the first document that only this version knows.
///
/// # Errors
/// Those of [`check`].
pub(crate) async fn write(
    lake: &Lake,
    dataset: &str,
    single_writer: bool,
    seen: &SeenLayout,
) -> Result<()> {
    if seen.is_current {
        return Ok(());
    }
    let path = layout::version(dataset);
    let version = CONTROL_VERSION;
    let document = to_pretty_json(&LayoutVersion { version }, &path)?;
    if single_writer {
        return lake.put(&path, document).await;
    }
    let put = lake.compare_and_swap(&path, &seen.document, document);
    match put.await? {
        ConditionalPut::Done => Ok(()),
        // Another run wrote it first.
        ConditionalPut::Refused(_) => check(lake, dataset).await.map(drop),
    }
}
