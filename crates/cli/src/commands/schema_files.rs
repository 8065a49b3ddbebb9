//! `schema infer|diff|promote|check`: schema files against what the service sends and says.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use dataset::Dataset;
use dataset::schema_tools::{Metadata, ProposedDataset, diff, promote};
use pipeline::Sample;

use super::schema_argument::dataset;
use crate::arguments::{
    CheckArguments, DiffArguments, InferArguments, PromoteArguments, SampleArguments,
};
use crate::exit_code::ExitCode;
use crate::failure::{Failure, chain};
use crate::log::Log;
use crate::output;

/// Prints a schema file for the records of some files.
pub(super) fn infer(arguments: &InferArguments) -> Result<ExitCode, Failure> {
    let sample = sample(&arguments.files, &arguments.sample)?;
    let proposed = ProposedDataset {
        name: &arguments.name,
        endpoint: &arguments.endpoint,
        export_name: arguments.export_name.as_deref().unwrap_or(&arguments.name),
        permission: &arguments.permission,
    };
    let text = sample.inference.propose(&proposed);
    output::line(&text.map_err(|error| Failure::usage(chain(&error), None))?)?;
    Ok(ExitCode::Done)
}

/// Compares a schema with the records of some files. Ends with 1 where they differ.
pub(super) fn compare(arguments: &DiffArguments) -> Result<ExitCode, Failure> {
    let dataset = dataset(&arguments.schema)?;
    let sample = sample(&arguments.files, &arguments.sample)?;
    let found = diff(&dataset, &sample.inference);
    match arguments.json {
        true => output::json(&found)?,
        false => output::line(&found.to_string())?,
    }
    Ok(match found.is_empty() {
        true => ExitCode::Done,
        false => ExitCode::Failed,
    })
}

/// Adds a column for a wire path to a schema file.
pub(super) fn add_column(arguments: &PromoteArguments, log: &Log) -> Result<ExitCode, Failure> {
    let file = &arguments.schema;
    let unusable = |what: &str, error: &std::io::Error| {
        Failure::usage(
            format!("cannot {what} schema file `{}`: {error}", file.display()),
            None,
        )
    };
    let text = fs::read_to_string(file).map_err(|error| unusable("read", &error))?;
    let sample = sample(&arguments.files, &arguments.sample)?;
    let promoted = promote(&text, &arguments.path, &sample.inference);
    let promoted = promoted.map_err(|error| Failure::usage(chain(&error), None))?;
    if !arguments.write {
        output::line(&promoted)?;
        return Ok(ExitCode::Done);
    }
    replace(file, &promoted).map_err(|error| unusable("write", &error))?;
    log.not_shown(output::line(&format!(
        "{} has a column for {}; the next run fills it, and older rows are null",
        file.display(),
        arguments.path
    )));
    Ok(ExitCode::Done)
}

/// Compares schemas with the service's `$metadata`. Ends with 1 where they lack something.
pub(super) fn check(arguments: &CheckArguments) -> Result<ExitCode, Failure> {
    let file = &arguments.metadata;
    let text = fs::read_to_string(file).map_err(|error| {
        Failure::usage(format!("cannot read `{}`: {error}", file.display()), None)
    })?;
    let metadata = Metadata::parse(&text);
    let metadata = metadata.map_err(|error| {
        Failure::usage(format!("`{}`: {}", file.display(), chain(&error)), None)
    })?;
    let datasets = match &arguments.schema {
        Some(name) => vec![dataset(name)?],
        None => Dataset::built_in_names()
            .filter_map(Dataset::built_in)
            .collect(),
    };
    let mut differences = Vec::new();
    let mut is_same = true;
    for dataset in &datasets {
        let found = metadata.compare(dataset, arguments.of_type.as_deref());
        let found = found.map_err(|error| {
            Failure::usage(format!("{}: {}", dataset.name, chain(&error)), None)
        })?;
        is_same &= found.is_empty();
        if !arguments.json {
            output::line(&format!("{}: {found}", dataset.name))?;
        }
        differences.push((dataset.name.as_str(), found));
    }
    if arguments.json {
        let by_dataset: BTreeMap<_, _> = differences.into_iter().collect();
        output::json(&by_dataset)?;
    }
    Ok(match is_same {
        true => ExitCode::Done,
        false => ExitCode::Failed,
    })
}

fn sample(files: &[String], arguments: &SampleArguments) -> Result<Sample, Failure> {
    let sample = pipeline::sample(files, arguments.records)?;
    if sample.passed_over > 0 {
        tracing::warn!(records = sample.passed_over, "no JSON objects: passed over");
    }
    Ok(sample)
}

/// Whole or not at all.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut written = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    written.write_all(text.as_bytes())?;
    written
        .as_file()
        .set_permissions(fs::metadata(file)?.permissions())?;
    written.persist(file).map_err(|error| error.error)?;
    Ok(())
}
