//! The pipeline file: where from, which dataset, where to. Parsed once, strictly, into [`Settings`]; the rest of the
//! program sees resolved values only.
//!
//! ```text
//! defaults (keys.rs) -> the file -> --set key.path=value -> ${NAME} from the environment -> Settings
//! ```
//!
//! Where two keys exclude each other (`source.api` and `source.files`; the keys of the two kinds of `source.auth`), one
//! that is given by `--set` displaces the other that the file gives. Relative paths are relative to the current folder,
//! not to the pipeline file. Nothing here touches the network or the lake.

mod error;
mod keys;
mod size;
mod typed;
mod values;
mod variables;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use dataset::{Dataset, OrgId, SnapshotId};
use secrecy::SecretString;
use url::Url;
use writer::{TableFormat, TableSettings};

pub use error::{Place, SettingsError, VariableProblem};
pub use keys::{KEYS, Key, Kind};
pub use size::{ByteSize, ByteSizeError};
use values::{AUTH, Values};

/// A pipeline, resolved. Secrets in it do not print.
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
    shown: Vec<ShownSetting>,
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
}

/// Where blobs come from.
#[derive(Debug, Clone)]
pub enum SourceKind {
    /// The export API.
    Api(Box<ApiSource>),
    /// Files, as a glob pattern relative to the current folder.
    Files(String),
    /// Not resolved: the settings are for a command that uses the lake alone ([`Settings::load_for_lake`]).
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
    pub calls_per_minute: u32,
    /// Calls an hour.
    pub calls_per_hour: u32,
    /// Folder where the calls made are kept across runs.
    pub state_dir: PathBuf,
    /// What to do when the service replaces the snapshot under way.
    pub on_new_snapshot: OnNewSnapshot,
    /// The longest waits of the HTTP client.
    pub timeouts: Timeouts,
    /// Retries of calls of the API and the sign-in authority.
    pub api_retry: Retry,
    /// Retries of requests of the blob store.
    pub blob_retry: Retry,
}

/// What a run does whose snapshot the service replaces under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNewSnapshot {
    /// Throws away what it has staged and starts again with the new snapshot.
    Restart,
    /// Ends with an error.
    Stop,
}

/// The longest waits of the HTTP client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For the next byte.
    pub no_progress: Duration,
    /// For a whole answer that is not a blob.
    pub request: Duration,
}

/// How often a request is made, and the delays in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, the first included.
    pub attempts: u32,
    /// Upper limit of the first delay; each further one doubles it.
    pub delay: Duration,
    /// Upper limit of any delay.
    pub max_delay: Duration,
    /// Upper limit of all delays together.
    pub time: Duration,
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
    /// How long the files of a replaced snapshot are kept.
    pub retire_after: Duration,
    /// How long a run may be silent in a store before it is taken for dead.
    pub dead_after: Duration,
    /// Nobody else writes to this lake.
    pub single_writer: bool,
    /// Options of the object store.
    pub options: BTreeMap<String, SecretString>,
}

impl Lake {
    /// How the table is committed.
    pub fn table(&self) -> TableSettings {
        TableSettings {
            format: self.format,
            retire_after: self.retire_after,
            dead_after: self.dead_after,
            single_writer: self.single_writer,
        }
    }
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
    /// Compressed bytes that one CPU job takes at a time.
    pub segment_size: ByteSize,
    /// Parts that are worked on at once.
    pub parts_in_flight: usize,
    /// Times that a part is made whose blobs change or arrive broken.
    pub part_attempts: u32,
    /// Rows of a row group.
    pub row_group_rows: usize,
    /// Rows of a record batch.
    pub batch_rows: usize,
    /// Level of zstd.
    pub compression_level: i32,
    /// The longest record.
    pub max_line_bytes: ByteSize,
    /// The most that a blob may inflate to.
    pub max_blob_inflated: ByteSize,
    /// The most that a blob may inflate to, times its compressed size.
    pub max_inflate_ratio: u64,
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
    /// Share of the records that may be quarantined, 0 to 1; up to 10 pass whatever their share.
    pub max_quarantined_share: f64,
    /// Number of records that may be quarantined, however small their share.
    pub max_quarantined: u64,
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
    /// Reads a pipeline file. `overrides` are `key.path=value`; `environment` gives the value of a variable.
    pub fn load(
        path: &Path,
        overrides: &[String],
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        Self::parse(&read(path)?, path, overrides, environment)
    }

    /// [`Settings::load`] for a command that uses the lake alone. The environment variables of the API's address and
    /// credentials and of the files' pattern need not be set, and are not read. The rest of the file is checked as ever.
    pub fn load_for_lake(
        path: &Path,
        overrides: &[String],
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        Self::parse_for(Purpose::Lake, &read(path)?, path, overrides, environment)
    }

    /// [`Settings::load`] for a text that is at hand; `path` is named in errors.
    pub fn parse(
        text: &str,
        path: &Path,
        overrides: &[String],
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        Self::parse_for(Purpose::Run, text, path, overrides, environment)
    }

    fn parse_for(
        purpose: Purpose,
        text: &str,
        path: &Path,
        overrides: &[String],
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let mut values = Values::parse(text.trim_start_matches('\u{feff}'), path)?;
        for (index, assignment) in overrides.iter().enumerate() {
            values.set(index + 1, assignment)?;
        }
        settle_source(&mut values)?;
        settle_auth(&mut values)?;
        if purpose == Purpose::Lake {
            values.forget_variables(is_for_runs_alone)?;
        }
        values.interpolate(&environment)?;
        Ok(Self {
            dataset: dataset(&values)?,
            source: source(purpose, &values, &environment)?,
            lake: lake(&values)?,
            work: work(&values)?,
            gate: gate(&values)?,
            shown: shown(&values),
        })
    }

    /// Every setting with its origin, in the order of [`KEYS`]; secrets are withheld. Keys that have neither value nor
    /// default are left out.
    pub fn shown(&self) -> &[ShownSetting] {
        &self.shown
    }
}

/// What settings are loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Commands that read the source.
    Run,
    /// Commands that use the lake alone.
    Lake,
}

fn read(path: &Path) -> Result<String, SettingsError> {
    std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
        what: "pipeline file",
        path: path.to_owned(),
        source,
    })
}

const API: &str = "source.api";
const FILES: &str = "source.files";
const AUTH_KIND: &str = "source.auth.kind";
const CLIENT_SECRET_KEYS: &[&str] = &[
    "source.auth.tenant_id",
    "source.auth.client_id",
    "source.auth.client_secret",
    "source.auth.authority",
    "source.auth.audience",
];
const TOKEN: &str = "source.auth.token";
const STATE_DIR: &str = "source.state_dir";

/// Keys that say where the source is and who calls it.
fn is_for_runs_alone(key: &str) -> bool {
    matches!(key, API | FILES | STATE_DIR) || key.starts_with(AUTH)
}

/// Leaves one of `api` and `files`. With `files`, nobody signs in: `[source.auth]` and its variables do not matter.
fn settle_source(values: &mut Values) -> Result<(), SettingsError> {
    match (values.get(API), values.get(FILES)) {
        (None, None) => {
            return Err(SettingsError::NoSource {
                file: values.file().to_owned(),
            });
        }
        (Some(api), Some(files)) => match (api.is_override(), files.is_override()) {
            (true, false) => values.forget(FILES),
            (false, true) => values.forget(API),
            _ => {
                return Err(SettingsError::Contradiction {
                    key: FILES,
                    place: values.place(FILES),
                    other: API,
                    reason: "blobs come from the API or from files, not from both; remove one of them",
                });
            }
        },
        _ => {}
    }
    if values.get(FILES).is_some() {
        values.forget(AUTH);
    }
    Ok(())
}

/// Leaves the keys of one kind of credentials.
fn settle_auth(values: &mut Values) -> Result<(), SettingsError> {
    if values.get(API).is_none() {
        return Ok(());
    }
    let Some(kind) = values.get(AUTH_KIND) else {
        return Err(values.missing(AUTH_KIND));
    };
    let kind_is_override = kind.is_override();
    let foreign: &[&'static str] = match values.choice(AUTH_KIND)? {
        Some("token") => CLIENT_SECRET_KEYS,
        _ => &[TOKEN],
    };
    for &key in foreign {
        let displaced =
            kind_is_override && values.get(key).is_some_and(|value| !value.is_override());
        if values.is_given(key) && !displaced {
            return Err(SettingsError::Contradiction {
                key,
                place: values.place(key),
                other: AUTH_KIND,
                reason: "it belongs to another kind of credentials; remove it or change the kind",
            });
        }
        values.forget(key);
    }
    Ok(())
}

fn required<T>(values: &Values, key: &'static str, value: Option<T>) -> Result<T, SettingsError> {
    value.ok_or_else(|| values.missing(key))
}

fn duration(values: &Values, key: &'static str) -> Result<Duration, SettingsError> {
    required(values, key, values.duration(key)?)
}

fn dataset(values: &Values) -> Result<Dataset, SettingsError> {
    let name = required(values, "dataset", values.text("dataset")?)?;
    let Some(file) = values.text("schema")? else {
        return Dataset::built_in(&name).ok_or_else(|| SettingsError::UnknownDataset {
            name: values.written("dataset"),
            place: values.place("dataset"),
            known: Dataset::built_in_names().collect(),
        });
    };
    let written = values.written("schema");
    let text = std::fs::read_to_string(file).map_err(|source| SettingsError::Unreadable {
        what: "schema file",
        path: PathBuf::from(&written),
        source,
    })?;
    let dataset = Dataset::parse(&text, &written)?;
    if dataset.name != name {
        return Err(SettingsError::OtherDataset {
            name: values.written("dataset"),
            place: values.place("schema"),
            declared: dataset.name,
        });
    }
    Ok(dataset)
}

fn source(
    purpose: Purpose,
    values: &Values,
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<Source, SettingsError> {
    // Read whether or not it is used, so that a wrong value never hides behind the kind of source.
    let sas_valid_hours = values.integer("source.sas_valid_hours")?;
    let blob_hosts = values.text_list("source.blob_hosts")?.unwrap_or_default();
    let max_wait = values.duration("source.max_wait")?;
    let calls_per_minute = values.integer("source.calls_per_minute")?;
    let calls_per_hour = values.integer("source.calls_per_hour")?;
    let state_dir = values.text(STATE_DIR)?;
    let on_new_snapshot = match values.choice("source.on_new_snapshot")? {
        Some("stop") => OnNewSnapshot::Stop,
        _ => OnNewSnapshot::Restart,
    };
    let timeouts = Timeouts {
        connect: duration(values, "source.connect_timeout")?,
        no_progress: duration(values, "source.no_progress_timeout")?,
        request: duration(values, "source.request_timeout")?,
    };
    let max_delay = duration(values, "source.max_retry_delay")?;
    let api_attempts = values.integer("source.api_attempts")?;
    let api_retry = Retry {
        attempts: required(values, "source.api_attempts", api_attempts)?,
        delay: duration(values, "source.api_retry_delay")?,
        max_delay,
        time: duration(values, "source.api_retry_time")?,
    };
    let blob_attempts = values.integer("source.blob_attempts")?;
    let blob_retry = Retry {
        attempts: required(values, "source.blob_attempts", blob_attempts)?,
        delay: duration(values, "source.blob_retry_delay")?,
        max_delay,
        time: duration(values, "source.blob_retry_time")?,
    };
    let from = match values.address(API)? {
        _ if purpose == Purpose::Lake => {
            values.text(FILES)?;
            check_auth(values)?;
            SourceKind::Unresolved
        }
        Some(base) => SourceKind::Api(Box::new(ApiSource {
            base,
            auth: auth(values)?,
            sas_valid_hours,
            blob_hosts,
            max_wait: required(values, "source.max_wait", max_wait)?,
            calls_per_minute: required(values, "source.calls_per_minute", calls_per_minute)?,
            calls_per_hour: required(values, "source.calls_per_hour", calls_per_hour)?,
            state_dir: match state_dir {
                Some(folder) => PathBuf::from(folder),
                None => cache_dir(environment).ok_or_else(|| SettingsError::NoStateDir {
                    file: values.file().to_owned(),
                })?,
            },
            on_new_snapshot,
            timeouts,
            api_retry,
            blob_retry,
        })),
        None => SourceKind::Files(required(values, FILES, values.text(FILES)?)?),
    };
    Ok(Source {
        from,
        generated_time: values.time("source.generated_time")?,
        org_id: values.parsed("source.org_id")?,
        rbac_group_id: values.integer("source.rbac_group_id")?,
        snapshot: values.parsed("source.snapshot")?,
    })
}

fn auth(values: &Values) -> Result<Auth, SettingsError> {
    let text = |key: &'static str| required(values, key, values.text(key)?);
    let secret = |key: &'static str| required(values, key, values.secret(key)?);
    let address = |key: &'static str| required(values, key, values.address(key)?);
    match values.choice(AUTH_KIND)? {
        Some("token") => Ok(Auth::Token {
            token: secret(TOKEN)?,
        }),
        _ => Ok(Auth::ClientSecret {
            tenant_id: text("source.auth.tenant_id")?,
            client_id: text("source.auth.client_id")?,
            client_secret: secret("source.auth.client_secret")?,
            authority: address("source.auth.authority")?,
            audience: text("source.auth.audience")?,
        }),
    }
}

/// The credentials that are there may be used, whether or not others are missing.
fn check_auth(values: &Values) -> Result<(), SettingsError> {
    for &key in CLIENT_SECRET_KEYS.iter().chain([&TOKEN]) {
        match values.get(key).map(|value| value.kind) {
            Some(Kind::Address) => drop(values.address(key)?),
            _ => drop(values.text(key)?),
        }
    }
    Ok(())
}

/// `defender-lake` in the user's cache folder, where there is one. A folder that all users share is no substitute: another
/// user could prepare it.
fn cache_dir(environment: &impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let folder = |variable: &str| {
        environment(variable)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    };
    let cache = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        folder("HOME").map(|home| home.join("Library/Caches"))
    } else {
        folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")))
    };
    Some(cache?.join("defender-lake"))
}

fn lake(values: &Values) -> Result<Lake, SettingsError> {
    let root = required(values, "lake.root", values.text("lake.root")?)?;
    if root.contains("://") && root.contains('?') {
        // A query is where people put a SAS: it would be printed with the root.
        return Err(values.invalid("lake.root"));
    }
    let format = match values.choice("lake.format")? {
        Some("parquet") => TableFormat::Parquet,
        _ => TableFormat::Delta,
    };
    Ok(Lake {
        root,
        format,
        retire_after: required(
            values,
            "lake.retire_after",
            values.duration("lake.retire_after")?,
        )?,
        dead_after: required(
            values,
            "lake.dead_after",
            values.duration("lake.dead_after")?,
        )?,
        single_writer: required(
            values,
            "lake.single_writer",
            values.bool("lake.single_writer")?,
        )?,
        options: values.option_values("lake.options.")?,
    })
}

fn work(values: &Values) -> Result<Work, SettingsError> {
    let count = |key: &'static str| required(values, key, values.integer::<usize>(key)?);
    let size = |key: &'static str| required(values, key, values.size(key)?);
    let level = values.integer("work.compression_level")?;
    let part_attempts = values.integer("work.part_attempts")?;
    let ratio = values.integer("work.max_inflate_ratio")?;
    Ok(Work {
        threads: count("work.threads")?,
        downloads: count("work.downloads")?,
        spool_memory: size("work.spool_memory")?,
        spool_dir: values.text("work.spool_dir")?.map(PathBuf::from),
        target_file_size: size("work.target_file_size")?,
        segment_size: size("work.segment_size")?,
        parts_in_flight: count("work.parts_in_flight")?,
        part_attempts: required(values, "work.part_attempts", part_attempts)?,
        row_group_rows: count("work.row_group_rows")?,
        batch_rows: count("work.batch_rows")?,
        compression_level: required(values, "work.compression_level", level)?,
        max_line_bytes: size("work.max_line_bytes")?,
        max_blob_inflated: size("work.max_blob_inflated")?,
        max_inflate_ratio: required(values, "work.max_inflate_ratio", ratio)?,
    })
}

fn gate(values: &Values) -> Result<Gate, SettingsError> {
    let share = |key: &'static str| required(values, key, values.share(key)?);
    let most = values.integer("gate.max_quarantined")?;
    Ok(Gate {
        max_quarantined_share: share("gate.max_quarantined_share")?,
        max_quarantined: required(values, "gate.max_quarantined", most)?,
        min_rows_ratio: share("gate.min_rows_ratio")?,
        allow_empty: required(values, "gate.allow_empty", values.bool("gate.allow_empty")?)?,
        duplicate_keys: match values.choice("gate.duplicate_keys")? {
            Some("refuse") => DuplicateKeys::Refuse,
            _ => DuplicateKeys::Keep,
        },
    })
}

fn shown(values: &Values) -> Vec<ShownSetting> {
    let show = |(key, value): (&str, &values::Value)| ShownSetting {
        key: key.to_owned(),
        value: value.shown(),
        origin: match &value.place {
            _ if !value.variables.is_empty() => Origin::Environment(value.variables.clone()),
            Place::Default => Origin::Default,
            Place::File { line, .. } => Origin::File(*line),
            Place::Override { .. } => Origin::Override,
        },
    };
    values.in_order().map(show).collect()
}

#[cfg(test)]
mod tests;
