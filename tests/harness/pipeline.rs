//! A pipeline file in a folder of its own, and the program run on it.

use std::fmt::Write;
use std::fs;
use std::fs::File;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::api::Api;
use super::bare_service::BareService;
use super::blobs::Blobs;
use super::lake::Lake;
use super::program::{Ran, Running};

/// Settings of `[source]` with which a run gives up, or gets over a fault, within seconds.
const SHORT_WAITS: &str = r#"no_progress_timeout = "700ms"
api_attempts = 4
blob_attempts = 6
max_wait = "5s"
"#;

/// A pipeline file, the environment that it needs, and the lake that it writes.
pub(crate) struct Pipeline<'a> {
    folder: TempDir,
    lake: &'a Lake,
    environment: Vec<(String, String)>,
}

impl<'a> Pipeline<'a> {
    /// From the API, signed in with a client secret.
    pub(crate) fn from_api(api: &Api, lake: &'a Lake) -> Self {
        let auth = format!(
            "kind = \"client_secret\"\ntenant_id = \"${{AZURE_TENANT_ID}}\"\nclient_id = \"${{AZURE_CLIENT_ID}}\"\n\
             client_secret = \"${{AZURE_CLIENT_SECRET}}\"\nauthority = \"{}\"\n",
            api.url()
        );
        Self::of(&api_source(api.url(), &auth), lake, Api::credentials())
    }

    /// From the API, with a token that somebody else got.
    pub(crate) fn from_api_with_token(api: &Api, token: &str, lake: &'a Lake) -> Self {
        Self::from_url_with_token(api.url(), token, lake)
    }

    /// From a service that takes every token.
    pub(crate) fn from_bare_service(service: &BareService, lake: &'a Lake) -> Self {
        Self::from_url_with_token(&service.url, "any", lake)
    }

    fn from_url_with_token(url: &str, token: &str, lake: &'a Lake) -> Self {
        let auth = "kind = \"token\"\ntoken = \"${DEFENDER_LAKE_TOKEN}\"\n";
        let environment = vec![("DEFENDER_LAKE_TOKEN".to_owned(), token.to_owned())];
        Self::of(&api_source(url, auth), lake, environment)
    }

    /// From an API that fails: the waits are those of a test.
    pub(crate) fn from_faulty_api(api: &Api, lake: &'a Lake) -> Self {
        let pipeline = Self::from_api(api, lake);
        pipeline.replace("[source]\n", &format!("[source]\n{SHORT_WAITS}"));
        pipeline
    }

    /// From blobs on disk.
    pub(crate) fn from_files(blobs: &Blobs, lake: &'a Lake) -> Self {
        Self::of(
            &format!("[source]\nfiles = \"{}\"\n", blobs.pattern()),
            lake,
            Vec::new(),
        )
    }

    fn of(source: &str, lake: &'a Lake, mut environment: Vec<(String, String)>) -> Self {
        // What was replaced goes at once, so that readers of the folder see what those of the log see.
        let mut text = format!(
            "dataset = \"info_gathering\"\n\n{source}\n[lake]\nroot = \"{}\"\nformat = \"delta\"\nretire_after = \"0s\"\n",
            lake.root()
        );
        if lake.single_writer() {
            text.push_str("single_writer = true\n");
        }
        text.push_str("\n[lake.options]\n");
        for (name, value) in lake.options() {
            let variable = format!("LAKE_{}", name.to_uppercase());
            writeln!(text, "{name} = \"${{{variable}}}\"").unwrap();
            environment.push((variable, value.clone()));
        }
        // Odd blobs have more records that cannot be rows than the gate lets through by default.
        text.push_str("\n[gate]\nmax_quarantined = \"100%\"\n");
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pipeline.toml"), text).unwrap();
        Self {
            folder,
            lake,
            environment,
        }
    }

    /// Replaces a text of the pipeline file, which must be there.
    pub(crate) fn replace(&self, from: &str, to: &str) -> &Self {
        let file = self.folder().join("pipeline.toml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "`{from}` is not in {text}");
        fs::write(file, text.replace(from, to)).unwrap();
        self
    }

    /// Sets a variable of the program's environment.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        self.unset_variable(name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Removes a variable of the program's environment.
    pub(crate) fn unset_variable(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// Values of the environment that must never be printed.
    pub(crate) fn secrets(&self) -> Vec<&str> {
        let is_secret = |name: &str| {
            ["SECRET", "TOKEN", "KEY"]
                .iter()
                .any(|word| name.contains(word))
        };
        self.environment
            .iter()
            .filter(|(name, _)| is_secret(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The folder that the program runs in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn lake(&self) -> &Lake {
        self.lake
    }

    /// Runs a command of the program on the pipeline file.
    #[track_caller]
    pub(crate) fn command(&self, command: &str, arguments: &[&str]) -> Ran {
        self.start(command, arguments).wait()
    }

    /// The same with a file for its standard output.
    #[track_caller]
    pub(crate) fn command_to(&self, stdout: File, command: &str, arguments: &[&str]) -> Ran {
        let all = [&[command, "pipeline.toml"], arguments].concat();
        Running::start_to(stdout.into(), self.folder(), &self.environment, &all).wait()
    }

    /// Starts a command of the program on the pipeline file.
    pub(crate) fn start(&self, command: &str, arguments: &[&str]) -> Running {
        let all: Vec<&str> = [command, "pipeline.toml"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        Running::start(self.folder(), &self.environment, &all)
    }

    /// Runs a command of the program on the pipeline file where some system calls fail.
    #[track_caller]
    pub(crate) fn command_without(&self, failures: &str, command: &str, arguments: &[&str]) -> Ran {
        self.start_without(failures, command, arguments).wait()
    }

    /// Starts a command of the program on the pipeline file where some system calls fail.
    pub(crate) fn start_without(
        &self,
        failures: &str,
        command: &str,
        arguments: &[&str],
    ) -> Running {
        let all = [&[command, "pipeline.toml"], arguments].concat();
        Running::start_without(failures, self.folder(), &self.environment, &all)
    }

    /// Runs a command of the program with just these arguments.
    #[track_caller]
    pub(crate) fn plain(&self, command: &str, arguments: &[&str]) -> Ran {
        self.start_plain(command, arguments).wait()
    }

    /// Starts a command of the program with just these arguments.
    pub(crate) fn start_plain(&self, command: &str, arguments: &[&str]) -> Running {
        let all: Vec<&str> = [command].iter().chain(arguments).copied().collect();
        Running::start(self.folder(), &self.environment, &all)
    }

    /// `run --json`, which must succeed; the run report.
    #[track_caller]
    pub(crate) fn run(&self) -> Value {
        self.run_with(&[])
    }

    /// `run --json` with more arguments, which must succeed; the run report.
    #[track_caller]
    pub(crate) fn run_with(&self, arguments: &[&str]) -> Value {
        let all: Vec<&str> = ["--json"].iter().chain(arguments).copied().collect();
        self.command("run", &all).exits_with(0).json()
    }
}

fn api_source(url: &str, auth: &str) -> String {
    format!(
        "[source]\napi = \"{url}\"\nblob_hosts = [\"127.0.0.1\"]\nstate_dir = \"state\"\ncalls_per_minute = 1000\n\
         calls_per_hour = 1000\n\n[source.auth]\n{auth}"
    )
}
