//! A recipe as it stands in its file. What the keys mean is told in `recipes/README.md`.

use serde::Deserialize;
use toml::Table;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecipeFile {
    pub(super) export: String,
    pub(super) permission: String,
    pub(super) files: Option<EndpointFile>,
    pub(super) pages: Option<PagesFile>,
    pub(super) changes: Option<ChangesFile>,
    /// The rows are written in Rust, by `generator/record.rs`.
    #[serde(default)]
    pub(super) hand_written: bool,
    #[serde(default)]
    pub(super) key: Vec<String>,
    #[serde(default)]
    pub(super) rows: [u32; 2],
    #[serde(default)]
    pub(super) no_rows: f64,
    #[serde(default = "one")]
    pub(super) changed_rows: f64,
    #[serde(default)]
    pub(super) platforms: Vec<String>,
    #[serde(default)]
    pub(super) omit_nulls: bool,
    #[serde(default)]
    pub(super) columns: Vec<Table>,
    #[serde(default)]
    pub(super) every_item: Table,
    #[serde(default)]
    pub(super) item: Vec<Table>,
    #[serde(default)]
    pub(super) case: Vec<Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndpointFile {
    pub(super) endpoint: String,
    pub(super) calls_per_minute: Option<usize>,
    pub(super) calls_per_hour: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PagesFile {
    pub(super) endpoint: String,
    pub(super) calls_per_minute: Option<usize>,
    pub(super) calls_per_hour: Option<usize>,
    #[serde(default)]
    pub(super) by: Paging,
    pub(super) page: usize,
    pub(super) max_page: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangesFile {
    pub(super) endpoint: String,
    pub(super) calls_per_minute: Option<usize>,
    pub(super) calls_per_hour: Option<usize>,
    pub(super) compared: Vec<String>,
}

/// How a client gets the next page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Paging {
    /// `pageSize`, and a token that names snapshot, file and line.
    #[default]
    Token,
    /// `$top` and `$skip`.
    Skip,
}

fn one() -> f64 {
    1.0
}
