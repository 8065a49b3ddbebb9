//! Lakes on disks that are mounted over a network, and lack what keeps two runs apart: refused before the work, or written by a
//! single writer. The kernel refuses the calls (`faults/without_calls.py`).

use simulator::SnapshotOptions;

use crate::crashes::is_tidy;
use crate::harness::blobs::Blobs;
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::readers::Reader::DuckDb;
use crate::harness::truth::Truth;

/// How file systems say that they have neither hard links nor a rename that replaces nothing, and that they have no locks.
const NO_LINKS: [&str; 5] = [
    "link:EPERM,rename:EINVAL",
    "link:ENOTSUP,rename:ENOTSUP",
    "link:ENOSYS,rename:ENOSYS",
    "link:EINVAL,rename:EPERM",
    "link:EPERM,rename:EINVAL,lock:ENOTSUP",
];
const NO_LOCKS: [&str; 5] = [
    "lock:ENOLCK",
    "lock:ENOTSUP",
    "lock:ENOSYS",
    "lock:EINVAL",
    "lock:EPERM",
];

fn day() -> SnapshotOptions {
    SnapshotOptions {
        devices: 100,
        groups: 3,
        blobs: 3,
        ..SnapshotOptions::default()
    }
}

#[test]
fn a_disk_without_links_or_locks_is_refused_before_the_work() {
    let blobs = Blobs::simulated(&day());
    for failures in NO_LINKS.into_iter().chain(NO_LOCKS) {
        // Locks are asked for first.
        let lack = match failures.contains("lock:") {
            true => "no locks",
            false => "no hard links",
        };
        let lake = Lake::on_disk();
        let pipeline = Pipeline::from_files(&blobs, &lake);
        let ran = pipeline.command_without(failures, "run", &[]).exits_with(2);
        ran.says(&[lack, "lake.single_writer = true"]);
        let left = lake.files();
        assert!(left.is_empty(), "{failures}: {:?}", left.keys());
    }
}

#[test]
fn one_of_link_and_rename_is_enough() {
    let blobs = Blobs::simulated(&day());
    for failures in ["link:EPERM", "rename:EINVAL", "rename:EPERM"] {
        let lake = Lake::on_disk();
        let pipeline = Pipeline::from_files(&blobs, &lake);
        pipeline.command_without(failures, "run", &[]).exits_with(0);
        pipeline.command("verify", &["--all"]).exits_with(0);
    }
}

#[test]
fn a_single_writer_needs_neither_links_nor_locks() {
    let morning = day();
    let noon = SnapshotOptions {
        generated_time: morning.generated_time + chrono::TimeDelta::hours(2),
        seed: 2,
        ..morning.clone()
    };
    let [one, two] = [&morning, &noon].map(Blobs::simulated);
    for format in ["delta", "parquet"] {
        for failures in NO_LINKS.into_iter().chain(NO_LOCKS) {
            let lake = Lake::on_disk();
            for blobs in [&one, &two] {
                let pipeline = Pipeline::from_files(blobs, &lake);
                let format = format!("format = \"{format}\"\nsingle_writer = true\n");
                pipeline.replace("format = \"delta\"\n", &format);
                for outcome in ["committed", "unchanged"] {
                    let ran = pipeline.command_without(failures, "run", &["--json"]);
                    assert_eq!(ran.exits_with(0).json()["outcome"], outcome, "{failures}");
                }
                let vacuum = pipeline.command_without(failures, "vacuum", &["--apply"]);
                vacuum.exits_with(0);
                pipeline.command("verify", &["--all"]).exits_with(0);
                is_tidy(&pipeline, &[], failures);
            }
            // A glob sees no file twice.
            DuckDb
                .values(&lake.on_this_machine().table())
                .is(&Truth::of(&two));
        }
    }
}

#[test]
fn a_run_that_died_on_such_a_disk_is_cleaned_up_by_the_next() {
    let failures = "link:EPERM,rename:EINVAL,lock:ENOLCK";
    let blobs = Blobs::simulated(&day());
    let truth = Truth::of(&blobs);
    for place in [
        "staged",
        "intent",
        "upload-completed",
        "uploads-completed",
        "log-entry",
    ] {
        let lake = Lake::on_disk();
        let mut pipeline = Pipeline::from_files(&blobs, &lake);
        let format = "format = \"delta\"\n";
        pipeline.replace(format, &format!("{format}single_writer = true\n"));
        pipeline.set_variable("DEFENDER_LAKE_FAILPOINT", place);
        let died = pipeline.start_without(failures, "run", &[]).into_child();
        assert!(
            !died.wait_with_output().unwrap().status.success(),
            "{place}"
        );
        pipeline.unset_variable("DEFENDER_LAKE_FAILPOINT");
        pipeline.command_without(failures, "run", &[]).exits_with(0);
        pipeline.command("verify", &["--all"]).exits_with(0);
        is_tidy(&pipeline, &[], place);
        DuckDb.values(&lake.on_this_machine().table()).is(&truth);
    }
}
