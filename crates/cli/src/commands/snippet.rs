//! `snippet`: code that reads the table, alone on standard output.

use pipeline::Resources;
use pipeline::snippet::{Reader, Selection};

use crate::arguments::{SnippetArguments, SnippetReader};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output;

pub(super) async fn run(arguments: &SnippetArguments) -> Result<ExitCode, Failure> {
    let settings = super::lake_settings(&arguments.pipeline)?;
    let reader = match arguments.reader {
        SnippetReader::DuckDb => Reader::DuckDb,
        SnippetReader::Spark => Reader::Spark,
        SnippetReader::SparkFiles => Reader::SparkFiles,
        SnippetReader::Polars => Reader::Polars,
        SnippetReader::Delta => Reader::Delta,
    };
    let selection = match (&arguments.snapshot, arguments.date) {
        (Some(snapshot), _) => Selection::Snapshot(snapshot.clone()),
        (None, Some(date)) => Selection::Date(date),
        (None, None) => Selection::Table,
    };
    let resources = Resources::new(&settings.work);
    let code = pipeline::snippet::snippet(&resources, &settings, reader, &selection).await?;
    output::line(&code)?;
    Ok(ExitCode::Done)
}
