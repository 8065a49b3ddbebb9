//! `schema`: what the columns are, where they come from and what they mean. What compares them with records is in `schema_files`.

use super::{schema_argument, schema_files};
use crate::arguments::{SchemaCommand, SchemaFormat};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::log::Log;
use crate::{output, schema_description};

pub(super) fn run(command: SchemaCommand, log: &Log) -> Result<ExitCode, Failure> {
    match command {
        SchemaCommand::List => output::line(&schema_description::list())?,
        SchemaCommand::Show { name, format } => {
            let dataset = schema_argument::dataset(&name)?;
            match format {
                SchemaFormat::Table => output::line(&schema_description::table(&dataset))?,
                SchemaFormat::Markdown => output::line(&schema_description::markdown(&dataset))?,
                SchemaFormat::JsonSchema => {
                    output::json(&schema_description::json_schema(&dataset))?;
                }
            }
        }
        SchemaCommand::Infer(arguments) => return schema_files::infer(&arguments),
        SchemaCommand::Diff(arguments) => return schema_files::compare(&arguments),
        SchemaCommand::Promote(arguments) => return schema_files::add_column(&arguments, log),
        SchemaCommand::Check(arguments) => return schema_files::check(&arguments),
    }
    Ok(ExitCode::Done)
}
