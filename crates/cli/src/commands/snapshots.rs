//! `snapshots`: what the lake holds, oldest first.

use indicatif::HumanCount;
use pipeline::{KeptSnapshot, Resources, SnapshotState};

use crate::arguments::SnapshotsArguments;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output;

pub(super) async fn run(arguments: &SnapshotsArguments) -> Result<ExitCode, Failure> {
    let settings = super::lake_settings(&arguments.pipeline)?;
    let snapshots = pipeline::snapshots(&Resources::new(&settings.work), &settings).await?;
    if arguments.json {
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
