//! What can be wrong with a pipeline file or with `--set`.
//!
//! Messages name the place and never hold an interpolated value.

use std::fmt;
use std::path::PathBuf;

use dataset::SchemaError;
use thiserror::Error;
use writer::TextFlaw;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the pipeline file; line and column count from 1, columns in characters.
    File {
        /// The pipeline file.
        path: PathBuf,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// On the command line.
    Override {
        /// The key that was set.
        key: String,
    },
    /// Nowhere: the default.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Override { key } => write!(f, "--set {key}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What is wrong with an environment variable that a value names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableProblem {
    /// There is none of that name.
    Unset,
    /// It is the empty text.
    Empty,
    /// It has a character that cannot be meant.
    Flawed(TextFlaw),
}

impl fmt::Display for VariableProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => f.write_str("is not set"),
            Self::Empty => f.write_str("is empty"),
            Self::Flawed(flaw) => flaw.fmt(f),
        }
    }
}

/// Why there are no settings. All of them are for the caller of the program to mend.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The pipeline file or the schema file cannot be read.
    #[error("cannot read {what} `{}`: {source}", path.display())]
    Unreadable {
        /// `pipeline file` or `schema file`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The pipeline file is not TOML.
    #[error("{place}: not valid TOML: {message}")]
    NotToml {
        /// Where.
        place: Place,
        /// The parser's message, without the text of the line.
        message: String,
    },
    /// An override is not of the form `key.path=value`. Its text is withheld: it may hold a secret.
    #[error("override number {number} (--set) is not of the form key.path=value")]
    MalformedOverride {
        /// Which one, counted from 1.
        number: usize,
    },
    /// A key that nobody knows.
    #[error("{place}: unknown key `{key}`{}", nearest_or_known(*nearest, known))]
    UnknownKey {
        /// Path of the key.
        key: String,
        /// Where.
        place: Place,
        /// The known key that it is most like.
        nearest: Option<&'static str>,
        /// The known keys of the same section.
        known: Vec<&'static str>,
    },
    /// A key that was a setting once.
    #[error("{place}: `{key}` is no longer a setting: {instead}")]
    Removed {
        /// Path of the key.
        key: String,
        /// Where.
        place: Place,
        /// What to do about it.
        instead: &'static str,
    },
    /// A value of the wrong type, form or range.
    #[error("{place}: `{key}` must be {expected}, found {found}")]
    Invalid {
        /// Path of the key.
        key: String,
        /// Where.
        place: Place,
        /// What was expected.
        expected: String,
        /// What was found; text from the environment is shown as its `${NAME}`.
        found: String,
    },
    /// A key that is needed.
    #[error("{}: `{key}` is missing; add {}", file.display(), example_line(key, example))]
    Missing {
        /// Path of the key.
        key: &'static str,
        /// The pipeline file.
        file: PathBuf,
        /// A value for it, as TOML.
        example: &'static str,
    },
    /// Two schema files of the list are of one dataset, or one is of a dataset that the list names.
    #[error("{place}: `datasets` has the dataset `{name}` twice")]
    DatasetTwice {
        /// The dataset.
        name: String,
        /// Where.
        place: Place,
    },
    /// A dataset that the pipeline file does not have.
    #[error("{} has no dataset `{name}`, but {}", file.display(), known.join(", "))]
    NotInPipeline {
        /// What was asked for.
        name: String,
        /// The pipeline file.
        file: PathBuf,
        /// The datasets that it has.
        known: Vec<String>,
    },
    /// One dataset is needed, and the pipeline file has several.
    #[error("the pipeline file has several datasets: {}", names.join(", "))]
    SeveralDatasets {
        /// Their names.
        names: Vec<String>,
    },
    /// Neither `source.api` nor `source.files`.
    #[error(
        "{}: [source] says neither where the API is nor where files are; add \
         `api = \"https://api.securitycenter.microsoft.com\"` or `files = \"exports/**/*.json.gz\"` under [source]",
        file.display()
    )]
    NoSource {
        /// The pipeline file.
        file: PathBuf,
    },
    /// Neither `source.state_dir` nor a user's cache folder.
    #[error(
        "{}: `source.state_dir` is missing, and the environment (HOME) names no cache folder of the user; add \
         `state_dir = \"/var/cache/defender-lake\"`, a folder of your own, under [source]",
        file.display()
    )]
    NoStateDir {
        /// The pipeline file.
        file: PathBuf,
    },
    /// Two keys that exclude each other.
    #[error("{place}: `{key}` contradicts `{other}`: {reason}")]
    Contradiction {
        /// Path of the key.
        key: &'static str,
        /// Where.
        place: Place,
        /// Path of the other key.
        other: &'static str,
        /// Why they exclude each other.
        reason: &'static str,
    },
    /// A value names an environment variable that holds nothing, or nothing that can be used.
    #[error("{place}: `{key}` needs the environment variable {name}, which {problem}")]
    Variable {
        /// Path of the key.
        key: String,
        /// Where.
        place: Place,
        /// Name of the variable.
        name: String,
        /// Unset, empty or flawed.
        problem: VariableProblem,
    },
    /// A credential with a character that cannot be meant. The value is withheld.
    #[error("{place}: `{key}` {flaw}; write it without")]
    Flawed {
        /// Path of the key.
        key: String,
        /// Where.
        place: Place,
        /// The character.
        flaw: TextFlaw,
    },
    /// A `$`-brace without a variable's name and its closing brace.
    #[error(
        "{place}: `{key}` has a `${{` that is not of the form `${{NAME}}`; write `$${{` for the characters themselves"
    )]
    MalformedVariable {
        /// Path of the key.
        key: String,
        /// Where.
        place: Place,
    },
    /// `http` to a host that is not this machine.
    #[error(
        "{place}: `{key}` uses http for host `{host}`; http is accepted for loopback addresses only, write https"
    )]
    InsecureAddress {
        /// Path of the key.
        key: String,
        /// Where.
        place: Place,
        /// The host.
        host: String,
    },
    /// The program carries no dataset of that name.
    #[error(
        "{place}: unknown dataset `{name}`; the program carries {}, others need `schema = \"FILE\"`",
        known.join(", ")
    )]
    UnknownDataset {
        /// The name.
        name: String,
        /// Where.
        place: Place,
        /// The datasets that it carries.
        known: Vec<&'static str>,
    },
    /// The schema file declares another dataset.
    #[error(
        "{place}: the schema file declares the dataset `{declared}`, and the pipeline is for `{name}`"
    )]
    OtherDataset {
        /// The pipeline's dataset.
        name: String,
        /// Where the schema file is named.
        place: Place,
        /// The schema file's dataset.
        declared: String,
    },
    /// The schema file is no dataset.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

fn nearest_or_known(nearest: Option<&str>, known: &[&str]) -> String {
    match nearest {
        Some(nearest) => format!("; the nearest known key is `{nearest}`"),
        None if known.is_empty() => String::new(),
        None => format!("; known keys here: {}", known.join(", ")),
    }
}

fn example_line(key: &str, example: &str) -> String {
    match key.rsplit_once('.') {
        Some((section, name)) => format!("`{name} = {example}` under [{section}]"),
        None => format!("`{key} = {example}`"),
    }
}
