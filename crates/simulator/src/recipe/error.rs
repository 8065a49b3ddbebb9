//! What can be wrong with a recipe.

use std::path::PathBuf;

use thiserror::Error;

/// Why a dataset cannot be simulated.
#[derive(Debug, Error)]
pub enum RecipeError {
    /// No recipe has this name.
    #[error("no recipe for the dataset `{dataset}`; there are {known}")]
    Unknown {
        /// The name asked for.
        dataset: String,
        /// The names that there are, separated by commas.
        known: String,
    },
    /// The recipe's file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The recipe is not TOML, or has keys that a recipe does not have.
    #[error("recipe of `{dataset}`: {source}")]
    Syntax {
        /// The dataset.
        dataset: String,
        /// Where and what.
        source: toml::de::Error,
    },
    /// A part of the recipe makes no sense.
    #[error("recipe of `{dataset}`, {part}: {reason}")]
    Part {
        /// The dataset.
        dataset: String,
        /// Which part, such as a column.
        part: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl RecipeError {
    pub(crate) fn part(dataset: &str, part: impl Into<String>) -> impl FnOnce(String) -> Self {
        let (dataset, part) = (dataset.to_owned(), part.into());
        |reason| Self::Part {
            dataset,
            part,
            reason,
        }
    }
}
