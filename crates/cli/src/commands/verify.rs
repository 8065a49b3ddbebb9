//! `verify`: reads what is published back and compares it with the manifests.

use indicatif::{BinaryBytes, HumanCount};
use pipeline::{Resources, Verification, VerifiedSnapshot, Which};

use crate::arguments::VerifyArguments;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::log::Log;
use crate::output;

pub(super) async fn run(arguments: &VerifyArguments, log: &Log) -> Result<ExitCode, Failure> {
    let pipeline = super::lake_pipeline(&arguments.pipeline)?;
    let which = match &arguments.snapshot {
        Some(snapshot) => Which::One(snapshot.clone()),
        None if arguments.all => Which::All,
        None => Which::Latest,
    };
    let resources = Resources::new(&pipeline.work);
    let mut failures = super::Failures::of(&pipeline, log);
    let mut verifications = Vec::new();
    for settings in &pipeline.each {
        let verification = pipeline::verify(&resources, settings, &which).await;
        let Some(verification) = failures.take(settings, verification)? else {
            continue;
        };
        if !arguments.json {
            let heading = super::heading(&pipeline, settings);
            output::line(&(heading + &text(&verification)))?;
        }
        verifications.push(verification);
    }
    if arguments.json {
        super::print_each(&pipeline, &verifications)?;
    }
    let code = match verifications.iter().all(Verification::is_proven) {
        true => ExitCode::Done,
        false => ExitCode::Failed,
    };
    Ok(failures.code(code))
}

fn text(verification: &Verification) -> String {
    verification.snapshots.iter().map(snapshot).collect()
}

fn snapshot(read: &VerifiedSnapshot) -> String {
    let verdict = match read.problems.len() {
        0 => "proven".to_owned(),
        1 => "1 problem".to_owned(),
        many => format!("{many} problems"),
    };
    let mut out = format!(
        "{}  {verdict}: {} files, {} rows, {} read\n",
        read.snapshot,
        HumanCount(read.files),
        HumanCount(read.rows),
        BinaryBytes(read.bytes)
    );
    for problem in &read.problems {
        out.push_str(&format!("  {}: {}\n", problem.file, problem.what));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_snapshot_has_its_verdict() {
        let verification = Verification {
            dataset: "info_gathering".to_owned(),
            snapshots: vec![VerifiedSnapshot {
                snapshot: "20220726T100100Z-47d41a0c".parse().unwrap(),
                files: 12,
                rows: 20_000,
                bytes: 3 << 20,
                problems: Vec::new(),
            }],
        };
        assert!(verification.is_proven());
        assert_eq!(
            text(&verification),
            "20220726T100100Z-47d41a0c  proven: 12 files, 20,000 rows, 3.00 MiB read\n"
        );
    }
}
