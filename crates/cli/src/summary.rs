//! A run report for people: a few aligned lines with human sizes.

use std::fmt::{self, Write};

use indicatif::{BinaryBytes, HumanCount};
use pipeline::report::{DriftKind, Outcome, RunReport};

/// How many lines of drift are shown; the run report has them all.
const DRIFT_SHOWN: usize = 10;

/// The closing summary of a run.
pub(crate) fn of(report: &RunReport) -> String {
    let mut lines = Lines::default();
    lines.counts(report);
    lines.news(report);
    lines.bad_records(report);
    lines.drift(report);
    let Lines(out) = lines;

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

/// A line for each of several runs, aligned; what they warn of below it.
pub(crate) fn table(reports: &[RunReport]) -> String {
    let mut rows = vec![
        [
            "dataset",
            "outcome",
            "snapshot",
            "rows",
            "quarantined",
            "files",
            "written",
            "seconds",
        ]
        .map(str::to_owned),
    ];
    rows.extend(reports.iter().map(|report| {
        let snapshot = report.snapshot.as_ref().map(ToString::to_string);
        [
            report.dataset.clone(),
            report.outcome.to_string(),
            snapshot.unwrap_or_else(|| "-".to_owned()),
            HumanCount(report.rows_written).to_string(),
            HumanCount(report.records_quarantined).to_string(),
            HumanCount(report.files).to_string(),
            BinaryBytes(report.bytes_written).to_string(),
            format!("{:.1}", report.elapsed_seconds),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..8).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells: Vec<String> = cells
            .map(|(column, (cell, &width))| match column {
                0..=2 => format!("{cell:width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    for report in reports {
        let mut lines = Lines::default();
        lines.news(report);
        if !lines.0.is_empty() {
            out.push_str(&format!("{}:\n{}", report.dataset, lines.0));
        }
    }
    out
}

/// Lines of a name and what there is to say of it.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, text: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "  {name:<11} {text}");
    }

    fn counts(&mut self, report: &RunReport) {
        let (read, rows) = (
            HumanCount(report.records_read),
            HumanCount(report.rows_written),
        );
        let quarantined = HumanCount(report.records_quarantined);
        self.add(
            "records",
            format_args!("{read} read = {rows} rows + {quarantined} quarantined"),
        );
        let rescued = HumanCount(report.rows_rescued);
        self.add(
            "rescued",
            format_args!(
                "{rescued} rows with something that the schema does not name or that does not fit"
            ),
        );
        let (bytes, blobs) = (BinaryBytes(report.bytes_read), HumanCount(report.blobs));
        self.add("read", format_args!("{bytes} in {blobs} blobs"));
        let (bytes, files) = (BinaryBytes(report.bytes_written), HumanCount(report.files));
        self.add("written", format_args!("{bytes} in {files} files"));
        self.add("time", format_args!("{}", rate(report)));
    }

    fn news(&mut self, report: &RunReport) {
        if let Some(replaced) = &report.replaced {
            self.add(
                "replaced",
                format_args!("snapshot {replaced} of the same date"),
            );
        }
        if let Some(unfinished) = &report.unfinished {
            self.add(
                "unfinished",
                format_args!(
                    "the snapshot is published; what follows is left to the next run: {unfinished}"
                ),
            );
        }
        for warning in &report.warnings {
            self.add("warning", format_args!("{warning}"));
        }
        if report.parts_restarted > 0 {
            let parts = HumanCount(report.parts_restarted);
            self.add(
                "again",
                format_args!("{parts} parts made again, because blobs changed or arrived broken"),
            );
        }
    }

    fn bad_records(&mut self, report: &RunReport) {
        if report.duplicate_keys > 0 {
            let rows = HumanCount(report.duplicate_keys);
            self.add(
                "duplicates",
                format_args!("{rows} rows have a unique key that another row has"),
            );
        }
        for reason in &report.quarantined {
            let records = HumanCount(reason.records);
            self.add(
                "quarantined",
                format_args!("{records} for {}", reason.reason),
            );
        }
    }

    fn drift(&mut self, report: &RunReport) {
        for drift in report.drift.iter().take(DRIFT_SHOWN) {
            let why = match drift.kind {
                DriftKind::Unnamed => "not in the schema",
                DriftKind::Misfit => "does not fit its column",
                DriftKind::Spelling => "is another spelling of a key",
                DriftKind::Damaged => "has bytes that are no text, read as U+FFFD",
                DriftKind::Blank => "is empty or unknown, read as null",
            };
            let (path, records) = (&drift.wire_path, HumanCount(drift.records));
            self.add("drift", format_args!("{path} in {records} records: {why}"));
        }
        let more = report.drift.len().saturating_sub(DRIFT_SHOWN);
        if more > 0 {
            self.add(
                "drift",
                format_args!("and {more} more paths, see the run report"),
            );
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
            error_kind: None,
            advice: None,
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
