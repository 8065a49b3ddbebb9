//! From a pipeline file, `--set` and the environment to the [`Settings`] of each dataset, step by step.

use std::path::Path;

use super::error::SettingsError;
use super::exclusive;
use super::model::{Pipeline, Settings};
use super::resolve::{self, Purpose};
use super::values::Values;

impl Pipeline {
    /// Reads a pipeline file. `overrides` are `key.path=value`; `only` names the datasets to take, if not all of them; `environment`
    /// gives the value of a variable.
    pub fn load(
        path: &Path,
        overrides: &[String],
        only: &[String],
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let pipeline = Self::parse_for(Purpose::Run, &read(path)?, path, overrides, environment)?;
        pipeline.only(only, path)
    }

    /// [`Pipeline::load`] for a command that uses the lake alone. The environment variables of the API's address and
    /// credentials and of the files' pattern need not be set, and are not read. The rest of the file is checked as ever.
    pub fn load_for_lake(
        path: &Path,
        overrides: &[String],
        only: &[String],
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let pipeline = Self::parse_for(Purpose::Lake, &read(path)?, path, overrides, environment)?;
        pipeline.only(only, path)
    }

    /// [`Pipeline::load`] for a text that is at hand; `path` is named in errors.
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
        exclusive::choose_datasets(&mut values)?;
        exclusive::choose_source(&mut values)?;
        exclusive::choose_credentials(&mut values)?;
        if purpose == Purpose::Lake {
            values.forget_variables(exclusive::is_for_runs_alone)?;
        }
        values.interpolate(&environment)?;
        Ok(Self {
            each: resolve::resolve(purpose, &values, &environment)?,
            is_list: values.get(exclusive::DATASETS).is_some(),
            work: resolve::work(&values)?,
        })
    }

    pub(super) fn only(self, names: &[String], path: &Path) -> Result<Self, SettingsError> {
        let datasets = || self.each.iter().map(|settings| &settings.dataset.name);
        if let Some(unknown) = names
            .iter()
            .find(|name| !datasets().any(|known| known == *name))
        {
            return Err(SettingsError::NotInPipeline {
                name: unknown.clone(),
                file: path.to_owned(),
                known: datasets().cloned().collect(),
            });
        }
        let mut pipeline = self;
        if !names.is_empty() {
            pipeline
                .each
                .retain(|settings| names.contains(&settings.dataset.name));
        }
        Ok(pipeline)
    }

    /// The settings of the one dataset that there is.
    pub fn one(mut self) -> Result<Settings, SettingsError> {
        match (self.each.pop(), self.each.is_empty()) {
            (Some(settings), true) => Ok(settings),
            (last, _) => {
                self.each.extend(last);
                let names = self.each.into_iter().map(|settings| settings.dataset.name);
                Err(SettingsError::SeveralDatasets {
                    names: names.collect(),
                })
            }
        }
    }
}

impl Settings {
    /// The settings of a text of one dataset, [parsed](Pipeline::parse).
    pub fn parse(
        text: &str,
        path: &Path,
        overrides: &[String],
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        Pipeline::parse(text, path, overrides, environment)?.one()
    }
}

fn read(path: &Path) -> Result<String, SettingsError> {
    std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
        what: "pipeline file",
        path: path.to_owned(),
        source,
    })
}
