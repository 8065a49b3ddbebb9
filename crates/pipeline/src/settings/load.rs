//! From a pipeline file, `--set` and the environment to [`Settings`], step by step.

use std::path::Path;

use super::error::SettingsError;
use super::exclusive;
use super::model::Settings;
use super::resolve::{self, Purpose};
use super::values::Values;

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

    pub(super) fn parse_for(
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
        exclusive::choose_source(&mut values)?;
        exclusive::choose_credentials(&mut values)?;
        if purpose == Purpose::Lake {
            values.forget_variables(exclusive::is_for_runs_alone)?;
        }
        values.interpolate(&environment)?;
        resolve::resolve(purpose, &values, &environment)
    }
}

fn read(path: &Path) -> Result<String, SettingsError> {
    std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
        what: "pipeline file",
        path: path.to_owned(),
        source,
    })
}
