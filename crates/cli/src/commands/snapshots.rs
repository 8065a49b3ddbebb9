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
            let (set, only) = (arguments.set, arguments.only);
            let pipeline = PipelineArguments {
                pipeline,
                set,
                only,
            };
            list(&pipeline, arguments.json, log).await
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

async fn list(pipeline: &PipelineArguments, json: bool, log: &Log) -> Result<ExitCode, Failure> {
    let pipeline = super::lake_pipeline(pipeline)?;
    let resources = Resources::new(&pipeline.work);
    let mut failures = super::Failures::of(&pipeline, log);
    let mut each = Vec::new();
    for settings in &pipeline.each {
        let snapshots = pipeline::snapshots(&resources, settings).await;
        let Some(snapshots) = failures.take(settings, snapshots)? else {
            continue;
        };
        if !json && !snapshots.is_empty() {
            let heading = super::heading(&pipeline, settings);
            let lines = snapshots.iter().map(line).collect::<String>();
            output::line(&(heading + &lines))?;
        }
        each.push(snapshots);
    }
    if json {
        super::print_each(&pipeline, &each)?;
    }
    Ok(failures.code(ExitCode::Done))
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
