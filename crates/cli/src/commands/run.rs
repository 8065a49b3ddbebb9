//! `run`: plan, work, gate, commit.

use pipeline::settings::Settings;
use pipeline::{Resources, Run, RunOptions};

use crate::arguments::RunArguments;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::log::Log;
use crate::progress::Progress;
use crate::{output, signals, summary};

pub(super) async fn run(arguments: &RunArguments, log: &Log) -> Result<ExitCode, Failure> {
    let settings = super::settings(
        &arguments.pipeline,
        arguments
            .known
            .overrides()
            .chain(arguments.allowed.overrides()),
    )?;
    if arguments.show_config {
        output::line(&shown(&settings))?;
        return Ok(ExitCode::Done);
    }
    let options = RunOptions {
        backfill: arguments.backfill,
    };
    let progress = Progress::new(log);
    let stop = signals::cancelled_by_signal();
    let resources = Resources::new(&settings.work);
    let Run { report, error } =
        pipeline::run(&resources, &settings, options, &progress.observer(), stop).await;
    progress.clear();

    let code = match &report.unfinished {
        Some(_) => ExitCode::Unfinished,
        None => ExitCode::of(report.outcome, report.error_kind),
    };
    let failure = error.map(Failure::from);
    if code != ExitCode::Usage {
        log.show(&summary::of(&report));
    }
    if arguments.json {
        log.not_shown(output::json(&report));
    }
    if let Some(failure) = failure {
        log.tell(&failure);
    }
    Ok(code)
}

/// Every setting, its value and where it came from, aligned.
fn shown(settings: &Settings) -> String {
    let lines: Vec<(String, String)> = settings
        .shown()
        .iter()
        .map(|shown| {
            (
                format!("{} = {}", shown.key, shown.value),
                shown.origin.to_string(),
            )
        })
        .collect();
    let width = lines
        .iter()
        .map(|(setting, _)| setting.chars().count())
        .max()
        .unwrap_or(0);
    lines
        .iter()
        .map(|(setting, origin)| format!("{setting:width$}  # {origin}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn show_config_tells_values_and_origins_and_no_secret() {
        let text = include_str!("../../../../pipelines/info_gathering.toml");
        let overrides = [
            "work.threads=2".to_owned(),
            "lake.options.key=s3cr3t".to_owned(),
        ];
        let environment = |_: &str| Some("s3cr3t-from-env".to_owned());
        let settings = Settings::parse(text, Path::new("p.toml"), &overrides, environment).unwrap();
        let shown = shown(&settings);
        let line = |key: &str| {
            let found = shown
                .lines()
                .find(|line| line.starts_with(&format!("{key} = ")));
            found
                .unwrap_or_else(|| panic!("{key} in\n{shown}"))
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(line("work.threads"), "work.threads = 2 # --set");
        assert_eq!(line("work.downloads"), "work.downloads = 8 # default");
        assert!(line("dataset").starts_with("dataset = \"info_gathering\" # file, line "));
        assert_eq!(
            line("source.auth.client_secret"),
            "source.auth.client_secret = (withheld) # env AZURE_CLIENT_SECRET"
        );
        assert_eq!(
            line("lake.options.key"),
            "lake.options.key = (withheld) # --set"
        );
    }
}
