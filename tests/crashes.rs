//! The program is killed at every step of a commit, and at any moment, while readers look on.

use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use simulator::SnapshotOptions;

use crate::harness::blobs::Blobs;
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::poller::{Answer, Poller};

/// Every step between the first upload and the last deletion, in order.
const FAILPOINTS: &[&str] = &[
    "staged",
    "intent",
    "upload-completed",
    "uploads-completed",
    "log-entry",
    "manifest",
    "latest",
    "intent-deleted",
    "file-deleted",
    "files-deleted",
];
/// Kills at no particular step.
const KILLS_AT_RANDOM: u32 = 5;

/// Snapshots of one day, each later than the one before and with more rows.
struct Day {
    made: Vec<(i64, u64)>,
}

impl Day {
    fn next(&mut self) -> Blobs {
        let number = self.made.len() as u32;
        let first = SnapshotOptions::default();
        let options = SnapshotOptions {
            devices: 20 + number,
            groups: 3,
            blobs: 4,
            generated_time: first.generated_time + TimeDelta::minutes(number.into()),
            ..first
        };
        let time = options.generated_time.timestamp_micros();
        self.made.push((time, options.devices.into()));
        Blobs::simulated(&options)
    }

    /// The number of the snapshot that an answer is exactly.
    fn snapshot_in(&self, answer: &Answer) -> Option<usize> {
        let rows = answer.rows.as_ref().ok()?;
        let seen: Vec<(i64, u64)> = rows.iter().map(|(time, rows)| (*time, *rows)).collect();
        let position = |made: &(i64, u64)| seen == [*made];
        self.made.iter().position(position)
    }
}

#[track_caller]
fn every_reader_sees_the_last_snapshot(poller: &Poller, day: &Day, after: &str) {
    for answer in poller.next_answers() {
        let expected = day.made.len() - 1;
        assert_eq!(
            day.snapshot_in(&answer),
            Some(expected),
            "after {after}: {answer:?}"
        );
    }
}

/// The pipeline, with little patience for runs that are silent.
pub(crate) fn impatient<'a>(blobs: &Blobs, lake: &'a Lake) -> Pipeline<'a> {
    let pipeline = Pipeline::from_files(blobs, lake);
    pipeline.replace("[lake]\n", "[lake]\ndead_after = \"300ms\"\n");
    pipeline
}

/// Waits until a run that died in a store has been silent for too long. On disk its locks are gone at once.
pub(crate) fn until_taken_for_dead(lake: &Lake) {
    if lake.root().contains("://") && !lake.single_writer() {
        thread::sleep(Duration::from_millis(400));
    }
}

/// Nothing is there that nothing holds, be it seen by `vacuum` or not.
#[track_caller]
pub(crate) fn is_tidy(pipeline: &Pipeline, arguments: &[&str], after: &str) {
    let lake = pipeline.lake();
    let arguments = [&["--json"], arguments].concat();
    let vacuum = pipeline.command("vacuum", &arguments).exits_with(0).json();
    assert_eq!(vacuum["found"], serde_json::json!([]), "after {after}");
    let left: Vec<String> = lake
        .files()
        .into_keys()
        .filter(|path| {
            path.contains("/begun/") || path.contains("/staging/") || path.contains(".tmp")
        })
        .collect();
    assert!(left.is_empty(), "after {after}: {left:?}");
}

#[track_caller]
fn nothing_is_left_behind(pipeline: &Pipeline, after: &str) {
    is_tidy(pipeline, &[], after);
    let snapshots = pipeline
        .command("snapshots", &["--json"])
        .exits_with(0)
        .json();
    assert_eq!(
        snapshots.as_array().unwrap().len(),
        1,
        "after {after}: {snapshots}"
    );
    assert_eq!(snapshots[0]["state"], "current");
}

fn killed_within(mut run: Child, after: Duration) -> bool {
    thread::sleep(after);
    // One that ended before it could be killed is no kill.
    let ended = run.try_wait().unwrap().is_some();
    run.kill().unwrap();
    run.wait().unwrap();
    !ended
}

fn crash_matrix(lake: &Lake, readers: &[&'static str]) {
    let begun = Instant::now();
    let mut day = Day { made: Vec::new() };
    let first = day.next();
    let started = Instant::now();
    Pipeline::from_files(&first, lake).run();
    let run_takes = started.elapsed();
    let poller = Poller::start(lake, readers);
    let mut kills = 0_u32;
    let mut cut_off = Vec::new();
    every_reader_sees_the_last_snapshot(&poller, &day, "the first run");

    for failpoint in FAILPOINTS {
        let blobs = day.next();
        let mut pipeline = impatient(&blobs, lake);
        pipeline.set_variable("DEFENDER_LAKE_FAILPOINT", failpoint);
        let died = pipeline.start("run", &[]).into_child().wait().unwrap();
        assert_eq!(died.code(), None, "{failpoint} was not reached");
        kills += 1;
        poller.next_answers();
        until_taken_for_dead(lake);
        pipeline.unset_variable("DEFENDER_LAKE_FAILPOINT");
        pipeline.run();
        every_reader_sees_the_last_snapshot(&poller, &day, failpoint);
        nothing_is_left_behind(&pipeline, failpoint);
        if *failpoint == "staged" && lake.root().starts_with("s3://") {
            // Other files are under way then. An upload that S3 opened before its note was written is known to S3 alone.
            cut_off = lake.open_uploads();
        }
        assert_eq!(lake.open_uploads(), cut_off, "after {failpoint}");
    }
    for kill in 0..KILLS_AT_RANDOM {
        let blobs = day.next();
        let pipeline = impatient(&blobs, lake);
        let after = run_takes * (kill + 1) / KILLS_AT_RANDOM;
        kills += u32::from(killed_within(
            pipeline.start("run", &[]).into_child(),
            after,
        ));
        until_taken_for_dead(lake);
        pipeline.run();
        let words = format!("a kill after {after:?}");
        every_reader_sees_the_last_snapshot(&poller, &day, &words);
        nothing_is_left_behind(&pipeline, &words);
    }

    let answers = poller.stop();
    let (mut reads, mut no_answer, mut mixtures, mut glob_mixtures) = (0_u32, 0_u32, 0_u32, 0_u32);
    for reader in readers {
        let mut newest = 0;
        for answer in answers.iter().filter(|answer| answer.reader == *reader) {
            match (day.snapshot_in(answer), *reader) {
                _ if answer.rows.is_err() => no_answer += 1,
                (Some(snapshot), _) => {
                    assert!(snapshot >= newest, "{reader} went back: {answer:?}");
                    newest = snapshot;
                    reads += 1;
                }
                (None, "glob") => glob_mixtures += 1,
                (None, _) => {
                    eprintln!("mixture: {answer:?}");
                    mixtures += 1;
                }
            }
        }
    }
    println!(
        "crash matrix in {}: {kills} kills, {reads} whole reads by {}, {mixtures} mixtures by log and manifest readers, \
         {glob_mixtures} by the glob between a crash and the next run, {no_answer} reads that failed, {:.0?}",
        lake.root(),
        readers.join(", "),
        begun.elapsed()
    );
    assert_eq!(mixtures, 0);
    assert!(reads > kills);
}

#[test]
fn half_a_report_goes_with_the_next_run_though_nothing_is_new() {
    let lake = Lake::on_disk();
    let mut day = Day { made: Vec::new() };
    let blobs = day.next();
    let pipeline = Pipeline::from_files(&blobs, &lake);
    pipeline.run();
    let runs = format!("{}/_lake/info_gathering/runs", lake.root());
    std::fs::write(format!("{runs}/.1-0.tmp"), "{").unwrap();
    let report = pipeline.run();
    assert_eq!(report["outcome"], "unchanged");
    nothing_is_left_behind(&pipeline, "a report cut short");
}

#[test]
fn a_run_that_dies_in_quarantine_leaves_nothing_after_the_next() {
    let lake = Lake::on_disk();
    let blobs = Blobs::of_lines(Some(7), b"{\"DeviceId\":\"a\"}\nnot JSON\n");
    let mut pipeline = Pipeline::from_files(&blobs, &lake);
    pipeline.set_variable("DEFENDER_LAKE_FAILPOINT", "temporary-file");
    let died = pipeline.start("run", &[]).into_child().wait().unwrap();
    assert_eq!(died.code(), None, "no file was written");
    let temporary = |path: &String| path.ends_with(".tmp");
    assert_eq!(
        lake.files().keys().filter(|path| temporary(path)).count(),
        1
    );
    pipeline.unset_variable("DEFENDER_LAKE_FAILPOINT");
    let vacuum = pipeline.command("vacuum", &["--json"]).exits_with(0).json();
    let found = vacuum["found"].as_array().unwrap();
    assert!(!found.is_empty() && found.iter().all(|orphan| orphan["kind"] == "staged"));

    // Another snapshot, which does not write to the same places.
    let mut day = Day { made: Vec::new() };
    day.next();
    let next = day.next();
    let pipeline = Pipeline::from_files(&next, &lake);
    pipeline.run();
    nothing_is_left_behind(&pipeline, "the run after it");
}

#[test]
fn readers_see_old_or_new_whatever_dies_on_disk() {
    crash_matrix(
        &Lake::on_disk(),
        &["deltalake", "polars", "chdb", "manifest", "glob"],
    );
}

#[test]
fn readers_see_old_or_new_whatever_dies_in_s3() {
    crash_matrix(&Lake::in_moto(), &["deltalake", "polars"]);
}

#[test]
fn readers_see_old_or_new_whatever_dies_in_s3_single_writer() {
    crash_matrix(&Lake::in_garage(), &["deltalake", "polars"]);
}

#[test]
fn readers_see_old_or_new_whatever_dies_in_azure() {
    crash_matrix(&Lake::in_azurite(), &["deltalake", "polars"]);
}
