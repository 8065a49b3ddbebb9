//! A run report for people: a few aligned lines with human sizes.

use std::fmt::Write;

use indicatif::{BinaryBytes, HumanCount};
use pipeline::report::{DriftKind, Outcome, RunReport};

/// How many lines of drift are shown; the run report has them all.
const DRIFT_SHOWN: usize = 10;

/// The closing summary of a run.
pub(crate) fn of(report: &RunReport) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {name:<11} {text}");
    };
    let count = HumanCount;
    line(
        "records",
        format!(
            "{} read = {} rows + {} quarantined",
            count(report.records_read),
            count(report.rows_written),
            count(report.records_quarantined)
        ),
    );
    line(
        "rescued",
        format!(
            "{} rows with something that the schema does not name or that does not fit",
            count(report.rows_rescued)
        ),
    );
    line(
        "read",
        format!(
            "{} in {} blobs",
            BinaryBytes(report.bytes_read),
            count(report.blobs)
        ),
    );
    line(
        "written",
        format!(
            "{} in {} files",
            BinaryBytes(report.bytes_written),
            count(report.files)
        ),
    );
    line("time", rate(report));
    if let Some(replaced) = &report.replaced {
        line("replaced", format!("snapshot {replaced} of the same date"));
    }
    if let Some(unfinished) = &report.unfinished {
        line(
            "unfinished",
            format!(
                "the snapshot is published; what follows is left to the next run: {unfinished}"
            ),
        );
    }
    for warning in &report.warnings {
        line("warning", warning.clone());
    }
    if report.duplicate_keys > 0 {
        line(
            "duplicates",
            format!(
                "{} rows have a unique key that another row has",
                count(report.duplicate_keys)
            ),
        );
    }
    if report.parts_restarted > 0 {
        line(
            "again",
            format!(
                "{} parts made again, because blobs changed or arrived broken",
                count(report.parts_restarted)
            ),
        );
    }
    for reason in &report.quarantined {
        line(
            "quarantined",
            format!("{} for {}", count(reason.records), reason.reason),
        );
    }
    for drift in report.drift.iter().take(DRIFT_SHOWN) {
        let why = match drift.kind {
            DriftKind::Unnamed => "not in the schema",
            DriftKind::Misfit => "does not fit its column",
            DriftKind::Spelling => "is another spelling of a key",
            DriftKind::Damaged => "has bytes that are no text, read as U+FFFD",
            DriftKind::Blank => "is empty or unknown, read as null",
        };
        line(
            "drift",
            format!(
                "{} in {} records: {why}",
                drift.wire_path,
                count(drift.records)
            ),
        );
    }
    if let Some(more) = report
        .drift
        .len()
        .checked_sub(DRIFT_SHOWN)
        .filter(|more| *more > 0)
    {
        line(
            "drift",
            format!("and {more} more paths, see the run report"),
        );
    }

    let snapshot = report
        .snapshot
        .as_ref()
        .map_or(String::new(), |snapshot| format!("  {snapshot}"));
    let head = format!("{}  {}{snapshot}\n", report.outcome, report.dataset);
    match report.outcome {
        Outcome::Committed => head + &out,
        Outcome::Unchanged => {
            head + "  the lake holds this snapshot already; nothing was written\n"
        }
        Outcome::Refused | Outcome::Failed => head + &out + "  the lake is as before\n",
        Outcome::Undecided => {
            head + &out + "  the next run finds out whether the snapshot is published\n"
        }
    }
}

fn rate(report: &RunReport) -> String {
    let seconds = report.elapsed_seconds;
    if seconds <= 0.0 {
        return format!("{seconds:.1} s");
    }
    let a_second = |number: u64| (number as f64 / seconds) as u64;
    format!(
        "{seconds:.1} s: {} records/s, {}/s",
        HumanCount(a_second(report.records_read)),
        BinaryBytes(a_second(report.bytes_read))
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use pipeline::report::{DriftReport, QuarantineReport, REPORT_VERSION};

    use super::*;

    pub(crate) fn report(outcome: Outcome) -> RunReport {
        RunReport {
            version: REPORT_VERSION,
            run_id: "20220726T100200Z-1".to_owned(),
            program_version: "0.1.0".to_owned(),
            dataset: "info_gathering".to_owned(),
            snapshot: Some("20220726T100100Z-47d41a0c".parse().unwrap()),
            org_id: None,
            generated_time: None,
            outcome,
            error: None,
            unfinished: None,
            warnings: Vec::new(),
            replaced: None,
            started_at: chrono::DateTime::UNIX_EPOCH,
            elapsed_seconds: 2.0,
            blobs: 24,
            parts: 12,
            files: 13,
            records_read: 200_000,
            rows_written: 199_990,
            records_quarantined: 10,
            rows_rescued: 1_000,
            bytes_read: 50 << 20,
            bytes_written: 40 << 20,
            drift: vec![DriftReport {
                wire_path: "DeviceGatheredInfo.New".to_owned(),
                kind: DriftKind::Unnamed,
                records: 50,
            }],
            quarantined: vec![QuarantineReport {
                reason: "invalid_json".to_owned(),
                records: 10,
                example: None,
            }],
            duplicate_keys: 3,
            duplicate_key_examples: Vec::new(),
            parts_restarted: 0,
            restarts: 0,
            blob_counts: Vec::new(),
        }
    }

    #[test]
    fn a_committed_run_tells_its_counts_sizes_and_rates() {
        let summary = of(&report(Outcome::Committed));
        for expected in [
            "committed  info_gathering  20220726T100100Z-47d41a0c\n",
            "200,000 read = 199,990 rows + 10 quarantined",
            "50.00 MiB in 24 blobs",
            "40.00 MiB in 13 files",
            "2.0 s: 100,000 records/s, 25.00 MiB/s",
            "10 for invalid_json",
            "3 rows have a unique key",
            "DeviceGatheredInfo.New in 50 records: not in the schema",
        ] {
            assert!(summary.contains(expected), "{expected}\n{summary}");
        }
    }

    #[test]
    fn what_did_not_publish_says_that_the_lake_is_as_before() {
        for outcome in [Outcome::Refused, Outcome::Failed] {
            assert!(of(&report(outcome)).contains("the lake is as before"));
        }
        let unchanged = of(&report(Outcome::Unchanged));
        assert!(
            unchanged.contains("nothing was written") && !unchanged.contains("records"),
            "{unchanged}"
        );
    }
}
