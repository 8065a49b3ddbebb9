//! `rollback`: an earlier snapshot of a day, current again.

use pipeline::Resources;

use crate::arguments::RollbackArguments;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::log::Log;
use crate::output;

pub(super) async fn run(arguments: &RollbackArguments, log: &Log) -> Result<ExitCode, Failure> {
    let settings = super::lake_settings(&arguments.pipeline)?;
    let resources = Resources::new(&settings.work);
    let rolled_back = pipeline::rollback(&resources, &settings, &arguments.to).await?;
    let current = &rolled_back.current;
    let what = match (&rolled_back.replaced, rolled_back.unchanged) {
        (_, true) => "was current already".to_owned(),
        (Some(replaced), _) => format!("is current again, in place of {}", replaced.snapshot),
        (None, _) => "is current again".to_owned(),
    };
    let mut told = format!("{} {what}", current.snapshot);
    if let Some(displaced) = &current.rolled_back {
        told.push_str(&format!(
            "\nsnapshots up to {displaced} are not published again unless asked for; a newer one is"
        ));
    }
    log.not_shown(output::line(&told));
    match rolled_back.unfinished {
        Some(why) => Err(Failure::unfinished("rollback", &why)),
        None => Ok(ExitCode::Done),
    }
}
