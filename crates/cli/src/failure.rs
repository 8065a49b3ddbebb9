//! Why a command ended without doing its work: one message of what and where, what kind it is, and what to do about it.

use std::error::Error;

use pipeline::settings::{SettingsError, VariableProblem, is_secret};
use pipeline::{ErrorKind, PipelineError};
use serde::Serialize;

use crate::exit_code::ExitCode;

/// What `main` prints before it ends.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What a scheduler can do about it.
    pub(crate) kind: ErrorKind,
    /// What went wrong and where.
    pub(crate) message: String,
    /// What to do.
    pub(crate) advice: Option<String>,
    /// Whether what was asked for is done all the same.
    is_done: bool,
}

/// A failure as `--json` prints it, in the words of the run report.
#[derive(Serialize)]
pub(crate) struct FailureReport<'a> {
    outcome: &'static str,
    error: &'a str,
    error_kind: ErrorKind,
    advice: Option<&'a str>,
    exit_code: u8,
}

impl Failure {
    fn new(kind: ErrorKind, message: impl Into<String>, advice: Option<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            advice,
            is_done: false,
        }
    }

    /// Something went wrong that is not the caller's fault.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Mend, message, None)
    }

    /// What was asked for stands, and what follows it was not finished.
    pub(crate) fn unfinished(what: &str, why: &str) -> Self {
        Self {
            is_done: true,
            ..Self::new(
                ErrorKind::Undecided,
                format!("what follows the {what} was not finished: {why}"),
                Some("the next run finishes it".to_owned()),
            )
        }
    }

    /// The caller asked for what cannot be.
    pub(crate) fn usage(message: impl Into<String>, advice: Option<String>) -> Self {
        Self::new(ErrorKind::Configuration, message, advice)
    }

    /// The program went where it never should.
    pub(crate) fn defect() -> Self {
        Self::new(
            ErrorKind::Defect,
            "the program has a defect, and stopped; the next run cleans up what this one left",
            Some("please report it with the lines above".to_owned()),
        )
    }

    /// The same, of one of several datasets.
    pub(crate) fn of(self, dataset: &str) -> Self {
        Self {
            message: format!("{dataset}: {}", self.message),
            ..self
        }
    }

    /// The code to end with.
    pub(crate) fn code(&self) -> ExitCode {
        self.kind.into()
    }

    /// What `--json` prints of it; nothing if the command has printed that it did its work.
    pub(crate) fn report(&self) -> Option<FailureReport<'_>> {
        (!self.is_done).then(|| FailureReport {
            outcome: match self.kind {
                ErrorKind::Refused => "refused",
                ErrorKind::Undecided => "undecided",
                _ => "failed",
            },
            error: &self.message,
            error_kind: self.kind,
            advice: self.advice.as_deref(),
            exit_code: self.code().number(),
        })
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        let advice = match &error {
            SettingsError::Unreadable { what: "pipeline file", .. } => {
                Some("give the path of a pipeline file; pipelines/info_gathering.toml is one to start from".to_owned())
            }
            SettingsError::Variable { name, problem: VariableProblem::Flawed(_), .. } => Some(format!(
                "set {name} again without it; text that was copied from a file or a secret store often ends like this"
            )),
            // Arguments are seen by every user of the machine.
            SettingsError::Variable { name, key, .. } if is_secret(key) => {
                Some(format!("export {name}=..."))
            }
            SettingsError::Variable { name, key, .. } => Some(format!(
                "export {name}=... or give the value by --set {key}=..."
            )),
            SettingsError::MalformedOverride { .. } => {
                Some("write for instance --set work.threads=2; quote the whole if the value holds spaces".to_owned())
            }
            SettingsError::SeveralDatasets { .. } => {
                Some("choose one of them with --only DATASET".to_owned())
            }
            _ => None,
        };
        Self::usage(chain(&error), advice)
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        let advice = error.advice().map(str::to_owned);
        Self::new(error.kind(), chain(&error), advice)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(format!("cannot write to standard output: {error}"))
    }
}

/// The error and what it came from, each once.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = error.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pipeline::settings::{Pipeline, Settings};

    use super::*;

    fn failure(overrides: &[&str]) -> Failure {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        let text = include_str!("../../../pipelines/info_gathering.toml");
        let path = Path::new("pipelines/info_gathering.toml");
        Settings::parse(text, path, &overrides, |_| None)
            .unwrap_err()
            .into()
    }

    #[test]
    fn wrong_configuration_ends_with_2_and_says_what_to_do() {
        let failure = failure(&[]);
        assert_eq!(failure.code().number(), 2);
        assert!(
            failure.message.contains("AZURE_CLIENT_ID"),
            "{}",
            failure.message
        );
        assert_eq!(
            failure.advice.as_deref(),
            Some("export AZURE_CLIENT_ID=... or give the value by --set source.auth.client_id=...")
        );
        let missing = Pipeline::load(Path::new("nowhere.toml"), &[], &[], |_| None).unwrap_err();
        let failure = Failure::from(missing);
        assert!(
            failure
                .message
                .starts_with("cannot read pipeline file `nowhere.toml`: ")
        );
        assert_eq!(
            failure.message.matches("No such file").count(),
            1,
            "{}",
            failure.message
        );
    }

    #[test]
    fn a_malformed_override_is_explained_without_its_text() {
        let failure = failure(&["hunter2"]);
        assert!(!failure.message.contains("hunter2"));
        assert!(failure.advice.unwrap().contains("--set work.threads=2"));
    }
}
