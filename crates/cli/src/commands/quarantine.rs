//! `quarantine`: what is quarantined, and its replay.

use indicatif::HumanCount;
use pipeline::report::QuarantineReport;
use pipeline::{Quarantine, QuarantinedSnapshot, Replayed, Resources};

use crate::arguments::{QuarantineArguments, QuarantineCommand, QuarantineSelection};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::log::Log;
use crate::{output, signals};

pub(super) async fn run(command: &QuarantineCommand, log: &Log) -> Result<ExitCode, Failure> {
    match command {
        QuarantineCommand::List(arguments) => list(arguments).await,
        QuarantineCommand::Show {
            quarantine,
            reason,
            limit,
        } => show(quarantine, reason.as_deref(), *limit).await,
        QuarantineCommand::Replay(arguments) => replay(arguments, log).await,
    }
}

async fn list(arguments: &QuarantineArguments) -> Result<ExitCode, Failure> {
    let settings = super::lake_settings(&arguments.quarantine.pipeline)?;
    let resources = Resources::new(&settings.work);
    let quarantine = Quarantine::open(&resources, &settings).await?;
    let only = arguments.quarantine.snapshot.as_ref();
    let found = quarantine.list(only).await?;
    if arguments.json {
        output::json(&found)?;
    } else if found.is_empty() {
        output::line("nothing is quarantined")?;
    } else {
        output::line(&found.iter().map(listed).collect::<String>())?;
    }
    Ok(ExitCode::Done)
}

async fn show(
    selection: &QuarantineSelection,
    reason: Option<&str>,
    limit: Option<usize>,
) -> Result<ExitCode, Failure> {
    let settings = super::lake_settings(&selection.pipeline)?;
    let resources = Resources::new(&settings.work);
    let quarantine = Quarantine::open(&resources, &settings).await?;
    let mut left = limit.unwrap_or(usize::MAX);
    for snapshot in quarantine.list(selection.snapshot.as_ref()).await? {
        for file in &snapshot.files {
            let records = quarantine.records(file).await?;
            let wanted = records
                .iter()
                .filter(|record| reason.is_none_or(|reason| reason == record.reason));
            for record in wanted {
                if left == 0 {
                    return Ok(ExitCode::Done);
                }
                left -= 1;
                output::json_line(record)?;
            }
        }
    }
    Ok(ExitCode::Done)
}

async fn replay(arguments: &QuarantineArguments, log: &Log) -> Result<ExitCode, Failure> {
    let settings = super::lake_settings(&arguments.quarantine.pipeline)?;
    let stop = signals::cancelled_by_signal();
    let resources = Resources::new(&settings.work);
    let quarantine = Quarantine::open(&resources, &settings).await?;
    let only = arguments.quarantine.snapshot.as_ref();
    let replayed = quarantine.replay(only, &stop).await?;
    log.not_shown(if arguments.json {
        output::json(&replayed)
    } else if replayed.is_empty() {
        output::line("nothing is quarantined in published snapshots")
    } else {
        output::line(&replayed.iter().map(replayed_text).collect::<String>())
    });
    let mut unfinished = replayed.iter().filter_map(|one| one.unfinished.as_ref());
    match unfinished.next() {
        Some(why) => Err(Failure::unfinished("replay", why)),
        None => Ok(ExitCode::Done),
    }
}

fn listed(snapshot: &QuarantinedSnapshot) -> String {
    let state = match snapshot.published {
        true => "published",
        false => "not published: its run failed or was refused",
    };
    let head = format!("{}  {state}\n", snapshot.snapshot);
    head + &reasons(&snapshot.reasons)
}

fn replayed_text(replayed: &Replayed) -> String {
    let mut out = match replayed.rows_added {
        0 => format!("{}  unchanged: nothing passes\n", replayed.snapshot),
        rows => format!(
            "{}  {} rows added in {} files\n",
            replayed.snapshot,
            HumanCount(rows),
            HumanCount(replayed.files_added)
        ),
    };
    out.push_str(&reasons(&replayed.remaining));
    if replayed.cut > 0 {
        out.push_str(&format!(
            "  {} of these were too long to be kept whole: only their beginning is kept, and they cannot come back\n",
            HumanCount(replayed.cut)
        ));
    }
    out
}

fn reasons(reasons: &[QuarantineReport]) -> String {
    let lines = reasons.iter().map(|report| {
        let records = HumanCount(report.records).to_string();
        format!("  {records:>9} {}\n", report.reason)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_and_what_stays_is_told() {
        let replayed = Replayed {
            snapshot: "20220726T100100Z-47d41a0c".parse().unwrap(),
            rows_added: 1200,
            files_added: 2,
            remaining: vec![QuarantineReport {
                reason: "line_too_long".to_owned(),
                records: 3,
                example: None,
            }],
            cut: 3,
            unfinished: None,
        };
        let text = replayed_text(&replayed);
        assert!(text.starts_with("20220726T100100Z-47d41a0c  1,200 rows added in 2 files\n"));
        assert!(
            text.contains("        3 line_too_long\n  3 of these were too long"),
            "{text}"
        );
        let nothing = Replayed {
            rows_added: 0,
            remaining: Vec::new(),
            cut: 0,
            ..replayed
        };
        assert_eq!(
            replayed_text(&nothing),
            "20220726T100100Z-47d41a0c  unchanged: nothing passes\n"
        );
    }
}
