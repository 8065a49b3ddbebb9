//! Values to [`Settings`], section by section. The values that count are chosen before, in `exclusive`.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use dataset::{CallLimits, Dataset};
use writer::{Compatibility, TableFormat};

use super::error::{Place, SettingsError};
use super::exclusive::{
    API, AUTH_KIND, CLIENT_SECRET_KEYS, DATASET, DATASETS, FILES, SCHEMA, STATE_DIR, TOKEN,
};
use super::kind::Kind;
use super::model::{
    ApiSource, Auth, DuplicateKeys, Gate, Lake, OnNewSnapshot, Origin, Settings, ShownSetting,
    Source, SourceKind, Work,
};
use super::values::{Value, Values};

/// What settings are loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Commands that read the source.
    Run,
    /// Commands that use the lake alone.
    Lake,
}

/// The settings that the values make, of each dataset. `environment` is asked for the user's cache folder.
pub(super) fn resolve(
    purpose: Purpose,
    values: &Values,
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<Vec<Settings>, SettingsError> {
    let each = datasets(values)?.into_iter().map(|dataset| {
        Ok(Settings {
            source: source(purpose, values, dataset.limits, environment)?,
            lake: lake(values)?,
            work: work(values)?,
            gate: gate(values)?,
            shown: shown(values),
            dataset,
        })
    });
    each.collect()
}

fn required<T>(values: &Values, key: &'static str, value: Option<T>) -> Result<T, SettingsError> {
    value.ok_or_else(|| values.missing(key))
}

fn duration(values: &Values, key: &'static str) -> Result<Duration, SettingsError> {
    required(values, key, values.duration(key)?)
}

fn datasets(values: &Values) -> Result<Vec<Dataset>, SettingsError> {
    let Some(listed) = values.datasets(DATASETS)? else {
        return Ok(vec![dataset(values)?]);
    };
    if listed.is_empty() {
        return Dataset::built_in_names()
            .map(|name| built_in(values, DATASETS, name.to_owned()))
            .collect();
    }
    let datasets = listed
        .into_iter()
        .map(|name| match name.ends_with(".toml") {
            true => schema_file(&name, &name),
            false => built_in(values, DATASETS, name),
        });
    let datasets: Vec<Dataset> = datasets.collect::<Result<_, _>>()?;
    for (index, dataset) in datasets.iter().enumerate() {
        if datasets[..index]
            .iter()
            .any(|other| other.name == dataset.name)
        {
            return Err(SettingsError::DatasetTwice {
                name: dataset.name.clone(),
                place: values.place(DATASETS),
            });
        }
    }
    Ok(datasets)
}

fn built_in(values: &Values, key: &'static str, name: String) -> Result<Dataset, SettingsError> {
    Dataset::built_in(&name).ok_or_else(|| SettingsError::UnknownDataset {
        // The one of the key as it was written, since a variable may hold a secret.
        name: match values.text(key) {
            Ok(Some(_)) => values.written(key),
            _ => name,
        },
        place: values.place(key),
        known: Dataset::built_in_names().collect(),
    })
}

fn dataset(values: &Values) -> Result<Dataset, SettingsError> {
    let name = required(values, DATASET, values.text(DATASET)?)?;
    let Some(file) = values.text(SCHEMA)? else {
        return built_in(values, DATASET, name);
    };
    let dataset = schema_file(&file, &values.written(SCHEMA))?;
    if dataset.name != name {
        return Err(SettingsError::OtherDataset {
            name: values.written(DATASET),
            place: values.place(SCHEMA),
            declared: dataset.name,
        });
    }
    Ok(dataset)
}

/// Reads a schema file; errors name it as it was written.
fn schema_file(file: &str, written: &str) -> Result<Dataset, SettingsError> {
    let text = std::fs::read_to_string(file).map_err(|source| SettingsError::Unreadable {
        what: "schema file",
        path: PathBuf::from(written),
        source,
    })?;
    Ok(Dataset::parse(&text, written)?)
}

fn source(
    purpose: Purpose,
    values: &Values,
    limits: CallLimits,
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<Source, SettingsError> {
    // Read whether or not it is used, so that a wrong value never hides behind the kind of source.
    let sas_valid_hours = values.integer("source.sas_valid_hours")?;
    let blob_hosts = values.text_list("source.blob_hosts")?.unwrap_or_default();
    let max_wait = duration(values, "source.max_wait")?;
    let calls_per_minute = values.integer::<u32>("source.calls_per_minute")?;
    let calls_per_hour = values.integer::<u32>("source.calls_per_hour")?;
    let state_dir = values.text(STATE_DIR)?;
    let on_new_snapshot = match values.choice("source.on_new_snapshot")? {
        Some("stop") => OnNewSnapshot::Stop,
        _ => OnNewSnapshot::Restart,
    };
    let no_progress_timeout = duration(values, "source.no_progress_timeout")?;
    let api_attempts = values.integer("source.api_attempts")?;
    let blob_attempts = values.integer("source.blob_attempts")?;
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
            max_wait,
            calls_per_minute: calls_per_minute
                .and_then(NonZeroU32::new)
                .unwrap_or(limits.calls_per_minute),
            calls_per_hour: calls_per_hour
                .and_then(NonZeroU32::new)
                .unwrap_or(limits.calls_per_hour),
            state_dir: match state_dir {
                Some(folder) => PathBuf::from(folder),
                None => cache_dir(environment).ok_or_else(|| SettingsError::NoStateDir {
                    file: values.file().to_owned(),
                })?,
            },
            on_new_snapshot,
            no_progress_timeout,
            api_attempts: required(values, "source.api_attempts", api_attempts)?,
            blob_attempts: required(values, "source.blob_attempts", blob_attempts)?,
        })),
        None => SourceKind::Files(required(values, FILES, values.text(FILES)?)?),
    };
    Ok(Source {
        from,
        generated_time: values.time("source.generated_time")?,
        org_id: values.parsed("source.org_id")?,
        rbac_group_id: values.integer("source.rbac_group_id")?,
        snapshot: values.parsed("source.snapshot")?,
        passes_over_others: values.get(DATASETS).is_some(),
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
    // A service manager gives a service folders of its own, several separated by colons.
    let of_service = folder("STATE_DIRECTORY").or_else(|| folder("CACHE_DIRECTORY"));
    if let Some(first) = of_service.iter().flat_map(std::env::split_paths).next() {
        return Some(first);
    }
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
        compatibility: match values.choice("lake.compatibility")? {
            Some("broad") => Compatibility::Broad,
            _ => Compatibility::Modern,
        },
        retire_after: values
            .duration("lake.retire_after")?
            .unwrap_or_else(|| retire_after(format)),
        keep: values.duration_of_days("lake.keep")?,
        dead_after: duration(values, "lake.dead_after")?,
        single_writer: required(
            values,
            "lake.single_writer",
            values.bool("lake.single_writer")?,
        )?,
        options: values.option_values("lake.options.")?,
    })
}

/// How long replaced files are kept where nobody says it. A reader of the log that is under way needs them, and no other one sees them;
/// a table without a log is read by its folder, where they would be counted twice.
fn retire_after(format: TableFormat) -> Duration {
    match format {
        TableFormat::Delta => Duration::from_secs(60 * 60),
        TableFormat::Parquet => Duration::ZERO,
    }
}

pub(super) fn work(values: &Values) -> Result<Work, SettingsError> {
    let count = |key: &'static str| required(values, key, values.integer::<usize>(key)?);
    let size = |key: &'static str| required(values, key, values.size(key)?);
    let level = values.integer("work.compression_level")?;
    Ok(Work {
        threads: count("work.threads")?,
        downloads: count("work.downloads")?,
        spool_memory: size("work.spool_memory")?,
        spool_dir: values.text("work.spool_dir")?.map(PathBuf::from),
        target_file_size: size("work.target_file_size")?,
        compression_level: required(values, "work.compression_level", level)?,
        max_blob_inflated: size("work.max_blob_inflated")?,
    })
}

fn gate(values: &Values) -> Result<Gate, SettingsError> {
    let ratio = values.share("gate.min_rows_ratio")?;
    let most = values.quarantine_limit("gate.max_quarantined")?;
    Ok(Gate {
        max_quarantined: required(values, "gate.max_quarantined", most)?,
        max_quarantine_size: required(
            values,
            "gate.max_quarantine_size",
            values.size("gate.max_quarantine_size")?,
        )?,
        max_rescued: required(
            values,
            "gate.max_rescued",
            values.share("gate.max_rescued")?,
        )?,
        min_rows_ratio: required(values, "gate.min_rows_ratio", ratio)?,
        allow_empty: required(values, "gate.allow_empty", values.bool("gate.allow_empty")?)?,
        duplicate_keys: match values.choice("gate.duplicate_keys")? {
            Some("refuse") => DuplicateKeys::Refuse,
            _ => DuplicateKeys::Keep,
        },
    })
}

fn shown(values: &Values) -> Vec<ShownSetting> {
    let show = |(key, value): (&str, &Value)| ShownSetting {
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
