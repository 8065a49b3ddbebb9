//! The program is killed at every step of what changes a published snapshot: a rollback, a replay of quarantined records.
//! The next command, whatever it is, leaves the state before or the state after.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use simulator::SnapshotOptions;

use crate::crashes::{impatient, is_tidy, until_taken_for_dead};
use crate::harness::blobs::{Blobs, gzip, path};
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::poller::{Answer, Poller};

const ROLLBACK_STEPS: &[&str] = &["log-entry", "latest"];
const REPLAY_STEPS: &[&str] = &[
    "staged",
    "intent",
    "upload-completed",
    "uploads-completed",
    "log-entry",
    "manifest",
    "latest",
    "rolled-back",
    "intent-deleted",
];
const KEEPING: [&str; 2] = ["--set", "lake.retire_after=1h"];
/// A device group for records without one.
const CORRECTED: [&str; 2] = ["--set", "source.rbac_group_id=9"];

fn readers(lake: &Lake) -> &'static [&'static str] {
    match lake.root().contains("://") {
        true => &["deltalake", "polars"],
        false => &["deltalake", "polars", "chdb", "manifest"],
    }
}

/// The numbers of rows that readers see, each of one snapshot.
#[track_caller]
fn seen(poller: &Poller) -> BTreeSet<u64> {
    let rows_in = |answer: Answer| {
        let rows = answer.rows.as_ref().unwrap();
        assert_eq!(rows.len(), 1, "{answer:?}");
        *rows.values().next().unwrap()
    };
    poller.next_answers().into_iter().map(rows_in).collect()
}

fn dies(pipeline: &mut Pipeline, failpoint: &str, command: &[&str]) {
    pipeline.set_variable("DEFENDER_LAKE_FAILPOINT", failpoint);
    let died = pipeline.start_plain(command[0], &command[1..]);
    let died = died.into_child().wait().unwrap();
    assert_eq!(died.code(), None, "{command:?} did not reach {failpoint}");
    pipeline.unset_variable("DEFENDER_LAKE_FAILPOINT");
    until_taken_for_dead(pipeline.lake());
}

fn rollbacks_that_die(lake: &Lake, next: &[&str]) {
    let morning = SnapshotOptions {
        devices: 30,
        groups: 3,
        blobs: 4,
        ..SnapshotOptions::default()
    };
    let noon = SnapshotOptions {
        devices: 33,
        generated_time: morning.generated_time + TimeDelta::hours(2),
        ..morning.clone()
    };
    let blobs = [Blobs::simulated(&morning), Blobs::simulated(&noon)];
    let [morning_run, noon_run] = [&blobs[0], &blobs[1]].map(|blobs| impatient(blobs, lake));
    let mut back = (morning_run, "20260503T100100Z-47d41a0c", 30);
    let mut current = (noon_run, "20260503T120100Z-47d41a0c", 33);
    back.0.run_with(&KEEPING);
    current.0.run_with(&KEEPING);
    let poller = Poller::start(lake, readers(lake));
    for failpoint in ROLLBACK_STEPS {
        for next in next {
            let words = format!("{failpoint}, then {next}");
            let to = ["rollback", "pipeline.toml", "--to", back.1];
            let to = [&to[..], &KEEPING].concat();
            dies(&mut back.0, failpoint, &to);
            let either = BTreeSet::from([current.2, back.2]);
            assert!(seen(&poller).is_subset(&either), "after {words}");
            match *next {
                "rollback" => back.0.plain(to[0], &to[1..]).exits_with(0),
                "vacuum" => back
                    .0
                    .command("vacuum", &["--apply", KEEPING[0], KEEPING[1]])
                    .exits_with(0),
                _ => back.0.command("run", &KEEPING).exits_with(0),
            };
            assert_eq!(seen(&poller), BTreeSet::from([back.2]), "after {words}");
            is_tidy(&back.0, &KEEPING, &words);
            back.0.command("verify", &["--all"]).exits_with(0);
            (back, current) = (current, back);
        }
    }
}

#[test]
fn a_rollback_that_dies_is_finished_or_undone_on_disk() {
    rollbacks_that_die(&Lake::on_disk(), &["rollback", "vacuum", "run"]);
}

#[test]
fn a_rollback_that_dies_is_finished_or_undone_in_s3() {
    rollbacks_that_die(&Lake::in_moto(), &["rollback", "run"]);
}

#[test]
fn a_rollback_that_dies_is_finished_or_undone_in_azure() {
    rollbacks_that_die(&Lake::in_azurite(), &["rollback", "run"]);
}

/// Two rows, a record that wants a device group, and one that is none; of another minute each time.
fn with_quarantined_records(minute: u32) -> Blobs {
    let blobs = Blobs::none();
    let time = format!("2026-05-03/10{minute:02}/");
    let at = |group, part| path(group, part).replace("2026-05-03/1001/", &time);
    blobs.add(
        &at(Some(7), 0),
        &gzip(b"{\"DeviceId\":\"a\"}\n{\"DeviceId\":\"b\"}\nnone\n"),
    );
    blobs.add(&at(None, 1), &gzip(b"{\"DeviceId\":\"c\"}\n"));
    blobs
}

/// `next`: the commands that each step is tried with; a further row is for the step after.
fn replays_that_die(lake: &Lake, next: &[&[&str]]) {
    let mut poller = None;
    let mut minute = 0;
    for (step, failpoint) in REPLAY_STEPS.iter().enumerate() {
        for next in next[step % next.len()] {
            minute += 1;
            let words = format!("{failpoint}, then {next}");
            let blobs = with_quarantined_records(minute);
            let mut pipeline = impatient(&blobs, lake);
            pipeline.run();
            let poller = poller.get_or_insert_with(|| Poller::start(lake, readers(lake)));
            let replay = [
                "quarantine",
                "replay",
                "pipeline.toml",
                CORRECTED[0],
                CORRECTED[1],
            ];
            dies(&mut pipeline, failpoint, &replay);
            let (before, after) = (BTreeSet::from([2]), BTreeSet::from([3]));
            assert!(seen(poller).is_subset(&(&before | &after)), "after {words}");
            match *next {
                "replay" => pipeline.plain(replay[0], &replay[1..]).exits_with(0),
                "vacuum" => pipeline.command("vacuum", &["--apply"]).exits_with(0),
                _ => pipeline.command("run", &[]).exits_with(0),
            };
            is_tidy(&pipeline, &[], &words);
            assert_eq!(lake.open_uploads(), [""; 0], "after {words}");
            if *next != "replay" {
                let rows = seen(poller);
                assert!(rows == before || rows == after, "after {words}: {rows:?}");
                pipeline.plain(replay[0], &replay[1..]).exits_with(0);
            }
            assert_eq!(seen(poller), after, "after {words}");
            let snapshot = format!("20260503T10{minute:02}00Z-47d41a0c");
            let show = ["show", "pipeline.toml", "--snapshot", &snapshot];
            let left = pipeline.plain("quarantine", &show).exits_with(0).stdout;
            assert_eq!(left.lines().count(), 1, "after {words}: {left}");
            assert!(left.contains("\"raw\":\"none\""), "{left}");
            pipeline.command("verify", &["--all"]).exits_with(0);
        }
    }
}

#[test]
fn a_replay_that_dies_is_finished_or_undone_on_disk() {
    replays_that_die(
        &Lake::on_disk(),
        &[&["replay", "vacuum"], &["run", "vacuum"]],
    );
}

#[test]
fn a_replay_that_dies_is_finished_or_undone_in_s3() {
    replays_that_die(&Lake::in_moto(), &[&["replay"]]);
}

#[test]
fn a_replay_that_dies_is_finished_or_undone_in_azure() {
    replays_that_die(&Lake::in_azurite(), &[&["replay"]]);
}
