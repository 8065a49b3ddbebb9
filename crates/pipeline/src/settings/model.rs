//! The settings of a pipeline, resolved: what the rest of the program sees. Nothing here reads a file or checks a value.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use dataset::{Dataset, OrgId, SnapshotId};
use secrecy::SecretString;
use url::Url;
use writer::{Compatibility, Table, TableFormat, TableSettings};

use super::quarantine_limit::QuarantineLimit;
use super::size::ByteSize;

/// A pipeline file, resolved: what is to be done for each of its datasets. Secrets in it do not print.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Each dataset's settings, in the order of the file; they differ in nothing but the dataset and its call limits. At least one.
    pub each: Vec<Settings>,
    /// Whether the file has a list of datasets, of which there may be one.
    pub is_list: bool,
    /// What all datasets share: the sizes of [`Resources`](crate::Resources).
    pub work: Work,
}

/// One dataset of a pipeline, resolved. Secrets in it do not print.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The dataset, from the program or from a schema file.
    pub dataset: Dataset,
    /// Where the blobs come from.
    pub source: Source,
    /// Where the table goes.
    pub lake: Lake,
    /// How much is done at once.
    pub work: Work,
    /// What a snapshot must fulfil to be published.
    pub gate: Gate,
    pub(super) shown: Vec<ShownSetting>,
}

/// `[source]`
#[derive(Debug, Clone)]
pub struct Source {
    /// The API or files.
    pub from: SourceKind,
    /// The snapshot's generated time, where blob paths do not carry it.
    pub generated_time: Option<DateTime<Utc>>,
    /// The organisation, where blob paths do not carry it.
    pub org_id: Option<OrgId>,
    /// The device group, where neither blob paths nor records carry it.
    pub rbac_group_id: Option<i64>,
    /// Which snapshot to take, where the source holds several.
    pub snapshot: Option<SnapshotId>,
    /// Whether files of other exports are passed over, since other datasets of the pipeline may be theirs.
    pub passes_over_others: bool,
}

/// Where blobs come from.
#[derive(Debug, Clone)]
pub enum SourceKind {
    /// The export API.
    Api(Box<ApiSource>),
    /// Files, as a glob pattern relative to the current folder.
    Files(String),
    /// Not resolved: the settings are for a command that uses the lake alone ([`Pipeline::load_for_lake`]).
    Unresolved,
}

/// The export API and how it is called.
#[derive(Debug, Clone)]
pub struct ApiSource {
    /// Base address: `https`, or `http` to a loopback host.
    pub base: Url,
    /// How to sign in.
    pub auth: Auth,
    /// `sasValidHours` of the listing call; `None` leaves it to the service.
    pub sas_valid_hours: Option<u32>,
    /// Hosts, or `*.suffix` patterns, that blobs may be fetched from beside Azure's own.
    pub blob_hosts: Vec<String>,
    /// The longest wait for the rate budget.
    pub max_wait: Duration,
    /// Calls a minute.
    pub calls_per_minute: NonZeroU32,
    /// Calls an hour.
    pub calls_per_hour: NonZeroU32,
    /// Folder where the calls made are kept across runs.
    pub state_dir: PathBuf,
    /// What to do when the service replaces the snapshot under way.
    pub on_new_snapshot: OnNewSnapshot,
    /// The longest wait for the next byte of an answer or a blob.
    pub no_progress_timeout: Duration,
    /// Tries of a call of the API or the sign-in authority, the first included.
    pub api_attempts: u32,
    /// Tries of a request of the blob store, the first included.
    pub blob_attempts: u32,
}

/// What a run does whose snapshot the service replaces under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNewSnapshot {
    /// Throws away what it has staged and starts again with the new snapshot.
    Restart,
    /// Ends with an error.
    Stop,
}

/// `[source.auth]`
#[derive(Debug, Clone)]
pub enum Auth {
    /// Client credentials of an app registration.
    ClientSecret {
        /// Entra tenant.
        tenant_id: String,
        /// Client id.
        client_id: String,
        /// The secret.
        client_secret: SecretString,
        /// Sign-in authority: `https`, or `http` to a loopback host.
        authority: Url,
        /// Audience of the token.
        audience: String,
    },
    /// A token that somebody else got.
    Token {
        /// The bearer token.
        token: SecretString,
    },
}

/// `[lake]`
#[derive(Debug, Clone)]
pub struct Lake {
    /// A folder, `s3://bucket/prefix`, `az://container/prefix` or `abfss://...`.
    pub root: String,
    /// Form of the table.
    pub format: TableFormat,
    /// Which readers files are for.
    pub compatibility: Compatibility,
    /// How long the files of a replaced snapshot are kept.
    pub retire_after: Duration,
    /// How long whole days stay in the table; `None` is for good.
    pub keep: Option<Duration>,
    /// How long a run may be silent in a store before it is taken for dead.
    pub dead_after: Duration,
    /// Nobody else writes to this lake.
    pub single_writer: bool,
    /// Options of the object store.
    pub options: BTreeMap<String, SecretString>,
}

/// `[work]`: the capacities that bound memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// CPU threads; 0 is one a core.
    pub threads: usize,
    /// Blobs that download at once.
    pub downloads: usize,
    /// Compressed bytes held in memory before blobs are spooled to disk.
    pub spool_memory: ByteSize,
    /// Folder for spooled blobs and row groups, and for hashes of unique keys; `None` is the system's.
    pub spool_dir: Option<PathBuf>,
    /// Parquet bytes up to which small blobs of a partition share a file.
    pub target_file_size: ByteSize,
    /// Level of zstd.
    pub compression_level: i32,
    /// The most that a blob may inflate to.
    pub max_blob_inflated: ByteSize,
}

impl Work {
    /// The folder for what does not stay in memory.
    pub(crate) fn spool_directory(&self) -> PathBuf {
        self.spool_dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}

/// `[gate]`
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// The most records that may be quarantined.
    pub max_quarantined: QuarantineLimit,
    /// The most that the files of a run's quarantined records may have.
    pub max_quarantine_size: ByteSize,
    /// Of each column that most rows of the last snapshot had a value in: the share of rows without one that passes, 0 to 1.
    pub max_rescued: f64,
    /// The least rows, as a ratio to the last committed snapshot, 0 to 1.
    pub min_rows_ratio: f64,
    /// Whether a snapshot without records may be published.
    pub allow_empty: bool,
    /// What becomes of a snapshot in which a unique key comes twice.
    pub duplicate_keys: DuplicateKeys,
}

/// What becomes of a snapshot in which a unique key comes twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuplicateKeys {
    /// All rows are published, and the report counts them.
    Keep,
    /// It is refused.
    Refuse,
}

/// A setting as `--show-config` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownSetting {
    /// Path of the key.
    pub key: String,
    /// The value as TOML, or `(withheld)`.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Where the value of a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave it.
    Default,
    /// The pipeline file, at this line.
    File(usize),
    /// The command line.
    Override,
    /// These environment variables, put into a text of the file or of the command line.
    Environment(Vec<String>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(line) => write!(f, "file, line {line}"),
            Self::Override => f.write_str("--set"),
            Self::Environment(names) => write!(f, "env {}", names.join(", ")),
        }
    }
}

impl Settings {
    /// Every setting with its origin, in the order of [`KEYS`](super::KEYS); secrets are withheld. Keys that have neither
    /// value nor default are left out.
    pub fn shown(&self) -> &[ShownSetting] {
        &self.shown
    }

    /// The dataset's table in the lake that these settings name, now.
    pub fn table<'a>(&'a self, lake: &'a writer::Lake) -> Table<'a> {
        let settings = TableSettings {
            format: self.lake.format,
            retire_after: self.lake.retire_after,
            keep: self.lake.keep,
            dead_after: self.lake.dead_after,
            single_writer: self.lake.single_writer,
        };
        Table::new(lake, &self.dataset.name, settings, Utc::now())
    }
}
