//! `run`: plan, work, gate, commit, of each dataset.

use pipeline::report::RunReport;
use pipeline::settings::Settings;
use pipeline::{Resources, RunOptions};
use serde::Serialize;

use crate::arguments::RunArguments;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::log::Log;
use crate::progress::Progress;
use crate::{output, signals, summary};

pub(super) async fn run(arguments: &RunArguments, log: &Log) -> Result<ExitCode, Failure> {
    let pipeline = super::pipeline(
        &arguments.pipeline,
        arguments
            .known
            .overrides()
            .chain(arguments.allowed.overrides()),
    )?;
    if arguments.show_config {
        // But for its dataset each has the same.
        for settings in pipeline.each.iter().take(1) {
            output::line(&shown(settings))?;
        }
        return Ok(ExitCode::Done);
    }
    let options = RunOptions {
        backfill: arguments.backfill,
    };
    let progress = Progress::new(log);
    let observer = progress.observer();
    let stop = signals::cancelled_by_signal();
    let resources = Resources::new(&pipeline.work);
    let runs = pipeline::run_each(&resources, &pipeline.each, options, &observer, stop).await;
    progress.clear();

    let codes: Vec<ExitCode> = runs.iter().map(|run| code_of(&run.report)).collect();
    let (reports, errors): (Vec<_>, Vec<_>) =
        runs.into_iter().map(|run| (run.report, run.error)).unzip();
    let code = ExitCode::worst(&codes);
    match &reports[..] {
        [report] if !pipeline.is_list => {
            if code != ExitCode::Usage {
                log.show(&summary::of(report));
            }
            if arguments.json {
                log.not_shown(output::json(report));
            }
        }
        reports => {
            log.show_table(&summary::table(reports));
            if arguments.json {
                let runs = Runs {
                    exit_code: code.number(),
                    runs: reports,
                };
                log.not_shown(output::json(&runs));
            }
        }
    }
    for (error, report) in errors.into_iter().zip(&reports) {
        if let Some(error) = error {
            let failure = Failure::from(error);
            log.tell(&match pipeline.is_list {
                true => failure.of(&report.dataset),
                false => failure,
            });
        }
    }
    Ok(code)
}

/// What `--json` prints of the runs of several datasets.
#[derive(Serialize)]
struct Runs<'a> {
    exit_code: u8,
    runs: &'a [RunReport],
}

fn code_of(report: &RunReport) -> ExitCode {
    match &report.unfinished {
        Some(_) => ExitCode::Unfinished,
        None => ExitCode::of(report.outcome, report.error_kind),
    }
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
