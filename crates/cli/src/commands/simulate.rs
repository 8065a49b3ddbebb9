//! `simulate`: the export API on loopback until Ctrl-C, or a snapshot's blobs in a folder.

use std::path::Path;

use indicatif::{BinaryBytes, HumanCount};
use simulator::{
    FaultScript, RateLimit, Served, Server, ServerOptions, SnapshotOptions, credentials,
};

use crate::exit_code::ExitCode;
use crate::failure::{Failure, chain};
use crate::simulator_arguments::SimulateArguments;
use crate::{output, signals};

pub(super) async fn run(arguments: &SimulateArguments) -> Result<ExitCode, Failure> {
    match &arguments.write {
        Some(folder) => {
            let snapshots = arguments.snapshots();
            for options in &snapshots {
                // A pipeline reads all that is below a folder: datasets have one each.
                match snapshots.len() {
                    1 => write(folder, options)?,
                    _ => write(&folder.join(&options.dataset), options)?,
                }
            }
            Ok(ExitCode::Done)
        }
        None => serve(arguments).await,
    }
}

fn write(folder: &Path, options: &SnapshotOptions) -> Result<(), Failure> {
    let written = simulator::write_snapshot(folder, options).map_err(|error| failure(&error))?;
    let files = shell_word(&format!("source.files={}/**/*.json.gz", folder.display()));
    let pipeline = pipeline(std::slice::from_ref(&options.dataset));
    output::line(&format!(
        "# {} devices generated {} in {} blobs, {} ({} of JSON) below {}\n\
         defender-lake run {pipeline} --set {files}",
        HumanCount(written.devices),
        written.generated_time.format("%Y-%m-%dT%H:%M:%SZ"),
        written.blobs,
        BinaryBytes(written.gzip_bytes),
        BinaryBytes(written.json_bytes),
        folder.display(),
    ))?;
    Ok(())
}

/// The pipeline file of some datasets, and the option that chooses them.
fn pipeline(datasets: &[String]) -> String {
    match datasets {
        [one] if one == "info_gathering" => format!("pipelines/{one}.toml"),
        _ if datasets.iter().any(|name| name == "all") => "pipelines/all.toml".to_owned(),
        _ => {
            let only = datasets
                .iter()
                .map(|name| format!(" --only {}", shell_word(name)));
            format!("pipelines/all.toml{}", only.collect::<String>())
        }
    }
}

async fn serve(arguments: &SimulateArguments) -> Result<ExitCode, Failure> {
    let stop = signals::cancelled_by_signal();
    let faults = match &arguments.faults {
        Some(file) => FaultScript::read(file).map_err(|error| failure(&error))?,
        None => FaultScript::default(),
    };
    let server = Server::start(ServerOptions {
        faults,
        port: arguments.port,
        served: match &arguments.serve {
            Some(folder) => Served::Files(folder.clone()),
            None => Served::Several(arguments.snapshots()),
        },
        rate_limit: (!arguments.no_rate_limit).then(RateLimit::default),
        url_lifetime: arguments.url_lifetime.map(Into::into),
        ..ServerOptions::default()
    })
    .await
    .map_err(|error| failure(&error))?;
    output::line(&how_to_use(server.url(), &arguments.datasets))?;
    tracing::info!(url = server.url(), "serving until Ctrl-C");
    stop.cancelled().await;
    server.shutdown().await;
    Ok(ExitCode::Done)
}

/// Lines for a shell: the environment that the pipeline file asks for, and the command.
fn how_to_use(url: &str, datasets: &[String]) -> String {
    let pipelines = pipeline(datasets);
    let overrides: String = overrides(url)
        .iter()
        .map(|assignment| format!(" \\\n  --set {}", shell_word(assignment)))
        .collect();
    format!(
        "export AZURE_TENANT_ID={}\nexport AZURE_CLIENT_ID={}\nexport AZURE_CLIENT_SECRET={}\n\
         defender-lake run {pipelines}{overrides}",
        credentials::TENANT_ID,
        credentials::CLIENT_ID,
        credentials::CLIENT_SECRET,
    )
}

/// What turns a pipeline for the real service into one for the simulator at `url`.
pub(super) fn overrides(url: &str) -> Vec<String> {
    vec![
        format!("source.api={url}"),
        format!("source.auth.authority={url}"),
    ]
}

/// The value of an environment variable that the pipeline file names, for the simulator.
pub(super) fn environment(name: &str) -> Option<String> {
    let value = match name {
        "AZURE_TENANT_ID" => credentials::TENANT_ID,
        "AZURE_CLIENT_ID" => credentials::CLIENT_ID,
        "AZURE_CLIENT_SECRET" => credentials::CLIENT_SECRET,
        _ => return None,
    };
    Some(value.to_owned())
}

/// A word of a shell command, quoted where it must be.
pub(super) fn shell_word(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:=,@%+".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

pub(super) fn failure(error: &simulator::Error) -> Failure {
    match error {
        simulator::Error::Option { .. } | simulator::Error::Recipe(_) => {
            Failure::usage(chain(error), None)
        }
        _ => Failure::failed(chain(error)),
    }
}

#[cfg(test)]
mod tests {
    use pipeline::settings::{Settings, SourceKind};

    use super::*;

    #[test]
    fn shell_words_are_quoted_where_a_shell_would_change_them() {
        assert_eq!(
            shell_word("source.api=http://127.0.0.1:80"),
            "source.api=http://127.0.0.1:80"
        );
        assert_eq!(shell_word("blob_hosts=[\"a\"]"), "'blob_hosts=[\"a\"]'");
        assert_eq!(shell_word("x/**/*.gz"), "'x/**/*.gz'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn the_printed_command_makes_a_pipeline_for_the_simulator() {
        let url = "http://127.0.0.1:8080";
        let text = include_str!("../../../../pipelines/info_gathering.toml");
        let environment = |name: &str| match name {
            "HOME" | "LOCALAPPDATA" => Some("home".to_owned()),
            _ => environment(name),
        };
        let settings = Settings::parse(
            text,
            Path::new("pipelines/info_gathering.toml"),
            &overrides(url),
            environment,
        )
        .unwrap();
        let SourceKind::Api(api) = settings.source.from else {
            panic!("files");
        };
        assert_eq!(api.base.as_str(), "http://127.0.0.1:8080/");
        let printed = how_to_use(url, &["info_gathering".to_owned()]);
        assert!(
            printed.contains("run pipelines/info_gathering.toml"),
            "{printed}"
        );
        assert!(
            printed.contains("--set source.auth.authority=http://127.0.0.1:8080"),
            "{printed}"
        );
        assert!(printed.contains(&format!(
            "export AZURE_TENANT_ID={}",
            credentials::TENANT_ID
        )));
    }
}
