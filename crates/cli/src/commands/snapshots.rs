//! `snapshots`: what the lake holds, oldest first; and one taken out of the table.

use indicatif::HumanCount;
use pipeline::{KeptSnapshot, Resources, SnapshotState};

use crate::arguments::{DropArguments, PipelineArguments, SnapshotsArguments, SnapshotsCommand};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::log::Log;
use crate::output;

pub(super) async fn run(arguments: SnapshotsArguments, log: &Log) -> Result<ExitCode, Failure> {
    match (arguments.command, arguments.pipeline) {
        (Some(SnapshotsCommand::Drop(arguments)), _) => drop_snapshot(&arguments, log).await,
        (None, Some(pipeline)) => {
            let set = arguments.set;
            list(&PipelineArguments { pipeline, set }, arguments.json).await
        }
        (None, None) => Err(Failure::usage("which pipeline file?", None)),
    }
}

async fn drop_snapshot(arguments: &DropArguments, log: &Log) -> Result<ExitCode, Failure> {
    let settings = super::lake_settings(&arguments.pipeline)?;
    let resources = Resources::new(&settings.work);
    let dropped = pipeline::drop_snapshot(&resources, &settings, &arguments.snapshot).await?;
    log.not_shown(output::line(&format!(
        "{} is no longer part of the table",
        dropped.snapshot
    )));
    Ok(ExitCode::Done)
}

async fn list(pipeline: &PipelineArguments, json: bool) -> Result<ExitCode, Failure> {
    let settings = super::lake_settings(pipeline)?;
    let snapshots = pipeline::snapshots(&Resources::new(&settings.work), &settings).await?;
    if json {
        output::json(&snapshots)?;
    } else if !snapshots.is_empty() {
        output::line(&snapshots.iter().map(line).collect::<String>())?;
    }
    Ok(ExitCode::Done)
}

fn line(kept: &KeptSnapshot) -> String {
    let state = match kept.state {
        SnapshotState::Current => "current".to_owned(),
        SnapshotState::Unfinished => "unfinished".to_owned(),
        SnapshotState::Retired { kept_until, .. } => {
            format!("kept until {}", kept_until.format("%Y-%m-%dT%H:%M:%SZ"))
        }
    };
    let snapshot = &kept.snapshot;
    format!(
        "{}  {}  {state}: {} files, {} rows\n",
        snapshot.snapshot,
        snapshot.org_id,
        HumanCount(snapshot.files),
        HumanCount(snapshot.rows)
    )
}
