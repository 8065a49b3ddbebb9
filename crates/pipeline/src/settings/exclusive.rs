//! Keys that exclude each other, or that a command does not need: which of the values count.
//!
//! After these steps at most one of `dataset` and `datasets` is left, and of `source.api` and `source.files`, and the keys of one kind of
//! credentials.

use super::error::SettingsError;
use super::values::{AUTH, Values};

pub(super) const DATASET: &str = "dataset";
pub(super) const DATASETS: &str = "datasets";
pub(super) const SCHEMA: &str = "schema";
pub(super) const API: &str = "source.api";
pub(super) const FILES: &str = "source.files";
pub(super) const AUTH_KIND: &str = "source.auth.kind";
pub(super) const CLIENT_SECRET_KEYS: &[&str] = &[
    "source.auth.tenant_id",
    "source.auth.client_id",
    "source.auth.client_secret",
    "source.auth.authority",
    "source.auth.audience",
];
pub(super) const TOKEN: &str = "source.auth.token";
pub(super) const STATE_DIR: &str = "source.state_dir";

/// Keys that say where the source is and who calls it.
pub(super) fn is_for_runs_alone(key: &str) -> bool {
    matches!(key, API | FILES | STATE_DIR) || key.starts_with(AUTH)
}

/// Leaves one of `dataset` and `datasets`.
pub(super) fn choose_datasets(values: &mut Values) -> Result<(), SettingsError> {
    let Some(datasets) = values.get(DATASETS) else {
        return Ok(());
    };
    let is_override = datasets.is_override();
    for (key, reason) in [
        (
            DATASET,
            "a pipeline has one dataset or several; remove one of the keys",
        ),
        (
            SCHEMA,
            "a schema file of one of several datasets stands in their list; remove it here",
        ),
    ] {
        let Some(value) = values.get(key) else {
            continue;
        };
        match (value.is_override(), is_override) {
            (true, false) if key == DATASET => values.forget(DATASETS),
            (false, true) => values.forget(key),
            _ if values.get(DATASETS).is_none() => {}
            _ => {
                return Err(SettingsError::Contradiction {
                    key,
                    place: values.place(key),
                    other: DATASETS,
                    reason,
                });
            }
        }
    }
    Ok(())
}

/// Leaves one of `api` and `files`. With `files`, nobody signs in: `[source.auth]` and its variables do not matter.
pub(super) fn choose_source(values: &mut Values) -> Result<(), SettingsError> {
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
pub(super) fn choose_credentials(values: &mut Values) -> Result<(), SettingsError> {
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
