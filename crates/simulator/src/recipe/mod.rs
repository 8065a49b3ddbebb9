//! Recipes: what an export is called, where and how often it may be asked for, and how its rows come about.
//!
//! ```text
//! recipes/NAME.toml -> file (as written) -> compile, template (one value, of one item and case) -> record (resolved)
//! ```
//!
//! Loading a recipe is cheap and checks what the server needs; resolving its record checks the rest. It writes no rows.

mod built_in;
mod casing;
mod compile;
mod error;
mod file;
mod record;
mod scope;
mod template;
mod value;

use std::path::Path;

use crate::rate_limit::RateLimit;

pub(crate) use casing::camel;
pub use error::RecipeError;
pub(crate) use file::Paging;
pub(crate) use record::{Record, Variant};
pub(crate) use template::escaped;
pub(crate) use value::{Fact, Field, Piece, TimeForm, Value};

use built_in::BUILT_IN;
use file::{EndpointFile, RecipeFile};

/// The dataset of blobs and options that name none.
pub(crate) const DEFAULT: &str = "info_gathering";

/// Calls of a JSON endpoint unless its recipe says otherwise.
const OF_PAGES: RateLimit = RateLimit {
    per_minute: 30,
    per_hour: 1_000,
};

/// One export.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) dataset: String,
    /// The segment of the blob path.
    pub(crate) export: String,
    /// The application permission that all its endpoints ask for.
    pub(crate) permission: String,
    /// Lists its files.
    pub(crate) files: Option<Endpoint>,
    /// Answers with its rows.
    pub(crate) pages: Option<Pages>,
    /// Answers with the rows that changed.
    pub(crate) changes: Option<Endpoint>,
    /// The keys of a row that identify it.
    pub(crate) key: Vec<String>,
    file: RecipeFile,
}

/// A resource of the API.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// In lower case, without `/api/`.
    pub(crate) path: String,
    pub(crate) limit: RateLimit,
}

/// A resource that answers with pages of rows.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    pub(crate) endpoint: Endpoint,
    pub(crate) by: Paging,
    /// Rows of a page where the call names no number.
    pub(crate) page: usize,
    /// The most that a call may ask for.
    pub(crate) max_page: usize,
}

impl Recipe {
    /// The recipe in a file, or the built-in one of the dataset.
    pub(crate) fn of(dataset: &str, file: Option<&Path>) -> Result<Self, RecipeError> {
        if let Some(path) = file {
            return match std::fs::read_to_string(path) {
                Ok(text) => Self::parse(dataset, &text),
                Err(source) => Err(RecipeError::Read {
                    path: path.to_owned(),
                    source,
                }),
            };
        }
        match BUILT_IN.iter().find(|(name, _)| *name == dataset) {
            Some((_, text)) => Self::parse(dataset, text),
            None => Err(RecipeError::Unknown {
                dataset: dataset.to_owned(),
                known: datasets().collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// All that the program carries.
    pub(crate) fn built_in() -> Result<Vec<Self>, RecipeError> {
        BUILT_IN
            .iter()
            .map(|(dataset, text)| Self::parse(dataset, text))
            .collect()
    }

    fn parse(dataset: &str, text: &str) -> Result<Self, RecipeError> {
        let file: RecipeFile = toml::from_str(text).map_err(|source| RecipeError::Syntax {
            dataset: dataset.to_owned(),
            source,
        })?;
        let own = |endpoint: &str, minute: Option<usize>, hour: Option<usize>, other: RateLimit| {
            let path = endpoint.trim_matches('/').to_ascii_lowercase();
            Endpoint {
                path: path.strip_prefix("api/").unwrap_or(&path).to_owned(),
                limit: RateLimit {
                    per_minute: minute.unwrap_or(other.per_minute),
                    per_hour: hour.unwrap_or(other.per_hour),
                },
            }
        };
        let files = file.files.as_ref().map(|files| {
            let EndpointFile {
                endpoint,
                calls_per_minute,
                calls_per_hour,
            } = files;
            own(
                endpoint,
                *calls_per_minute,
                *calls_per_hour,
                RateLimit::default(),
            )
        });
        let pages = file.pages.as_ref().map(|pages| Pages {
            endpoint: own(
                &pages.endpoint,
                pages.calls_per_minute,
                pages.calls_per_hour,
                OF_PAGES,
            ),
            by: pages.by,
            page: pages.page,
            max_page: pages.max_page,
        });
        let changes = file.changes.as_ref().map(|changes| {
            own(
                &changes.endpoint,
                changes.calls_per_minute,
                changes.calls_per_hour,
                OF_PAGES,
            )
        });
        Ok(Self {
            dataset: dataset.to_owned(),
            export: file.export.clone(),
            permission: file.permission.clone(),
            files,
            pages,
            changes,
            key: file.key.clone(),
            file,
        })
    }

    /// The keys whose values make a row an updated one when they change.
    pub(crate) fn compared(&self) -> &[String] {
        match &self.file.changes {
            Some(changes) => &changes.compared,
            None => &[],
        }
    }

    /// How its rows come about; none where they are written in Rust.
    pub(crate) fn record(&self) -> Result<Option<Record>, RecipeError> {
        if self.file.hand_written {
            return Ok(None);
        }
        Record::of_file(&self.dataset, &self.file).map(Some)
    }

    /// The keys of its rows, as the recipe spells them.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.file
            .columns
            .iter()
            .filter_map(|column| column.get("key")?.as_str())
    }
}

/// Names of the datasets that can be simulated without a recipe file of one's own.
pub fn datasets() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests;
