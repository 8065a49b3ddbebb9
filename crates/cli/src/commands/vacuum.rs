//! `vacuum`: what nothing holds any more; shown, or deleted.

use indicatif::{BinaryBytes, HumanCount};
use pipeline::{OrphanKind, Resources, VacuumOptions, VacuumReport};

use crate::arguments::VacuumArguments;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::log::Log;
use crate::output;

pub(super) async fn run(arguments: &VacuumArguments, log: &Log) -> Result<ExitCode, Failure> {
    let pipeline = super::lake_pipeline(&arguments.pipeline)?;
    let options = VacuumOptions {
        apply: arguments.apply,
        shorten: arguments.shorten,
    };
    let resources = Resources::new(&pipeline.work);
    let mut failures = super::Failures::of(&pipeline, log);
    let mut reports = Vec::new();
    let shown = |printed: std::io::Result<()>| match arguments.apply {
        true => {
            log.not_shown(printed);
            Ok(())
        }
        false => printed,
    };
    for settings in &pipeline.each {
        let report = pipeline::vacuum(&resources, settings, options).await;
        let Some(report) = failures.take(settings, report)? else {
            continue;
        };
        if !arguments.json {
            let heading = super::heading(&pipeline, settings);
            shown(output::line(&(heading + &text(&report))))?;
        }
        reports.push(report);
    }
    if arguments.json {
        shown(super::print_each(&pipeline, &reports))?;
    }
    Ok(failures.code(ExitCode::Done))
}

fn text(report: &VacuumReport) -> String {
    let mut out = String::new();
    for orphan in &report.found {
        let kind = match orphan.kind {
            OrphanKind::Unlisted => "in no snapshot",
            OrphanKind::Retired => "replaced",
            OrphanKind::Expired => "of a day past lake.keep",
            OrphanKind::Report => "run report of more than 90 days",
            OrphanKind::Staged => "staged by a run that died",
            OrphanKind::Control => "control document",
        };
        out.push_str(&format!(
            "{}  {kind}, {}\n",
            orphan.path,
            BinaryBytes(orphan.bytes)
        ));
    }
    let bytes: u64 = report.found.iter().map(|orphan| orphan.bytes).sum();
    let verb = match report.applied {
        true => "deleted",
        false => "would be deleted with --apply",
    };
    let files = report.found.len() as u64;
    out + &format!("{} files, {} {verb}", HumanCount(files), BinaryBytes(bytes))
}

#[cfg(test)]
mod tests {
    use pipeline::Orphan;

    use super::*;

    #[test]
    fn a_dry_run_says_what_it_would_delete() {
        let report = VacuumReport {
            applied: false,
            found: vec![Orphan {
                path: "t/part-1.parquet".to_owned(),
                bytes: 2048,
                kind: OrphanKind::Unlisted,
            }],
        };
        assert_eq!(
            text(&report),
            "t/part-1.parquet  in no snapshot, 2.00 KiB\n1 files, 2.00 KiB would be deleted with --apply"
        );
    }
}
