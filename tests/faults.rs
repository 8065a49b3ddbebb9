//! The network and the service fail; after each run the table holds exactly the truth, or the lake is as it was and the
//! program says why.
//!
//! Faults are scripts of the simulator (`simulator::FaultScript`), blobs told by their place in the order of blob paths.

mod blobs;
mod calls;
mod expiry;

use std::collections::BTreeMap;

use simulator::SnapshotOptions;

use crate::harness::api::Api;
use crate::harness::blobs::Blobs;
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::readers::Reader::DuckDb;
use crate::harness::truth::Truth;

fn few_devices() -> SnapshotOptions {
    SnapshotOptions {
        devices: 60,
        groups: 3,
        blobs: 5,
        ..SnapshotOptions::default()
    }
}

fn few_blobs() -> Blobs {
    Blobs::simulated(&few_devices())
}

#[track_caller]
fn holds_exactly(lake: &Lake, truth: &Truth) {
    DuckDb.values(&lake.on_this_machine().table()).is(truth);
}

/// A lake that holds the day before, which runs that fail leave as it is.
struct Yesterday<'a> {
    lake: &'a Lake,
    state: BTreeMap<String, Vec<u8>>,
}

impl<'a> Yesterday<'a> {
    fn in_lake(lake: &'a Lake) -> Self {
        let today = few_devices();
        let yesterday = SnapshotOptions {
            generated_time: today.generated_time - chrono::TimeDelta::days(1),
            ..today
        };
        Pipeline::from_files(&Blobs::simulated(&yesterday), lake).run();
        let state = lake.state();
        Self { lake, state }
    }

    /// A run under the script fails, with the code of its kind, and says these words.
    #[track_caller]
    fn run_fails(&self, blobs: &Blobs, script: &str, arguments: &[&str], words: &[&str]) {
        let api = Api::faulty(blobs, script);
        let pipeline = Pipeline::from_faulty_api(&api, self.lake);
        let impatient = [
            "--json",
            "--set",
            "source.api_attempts=2",
            "--set",
            "source.blob_attempts=3",
        ];
        let ran = pipeline.command("run", &[&impatient[..], arguments].concat());
        ran.says(words);
        let report = ran.json();
        let code = match report["error_kind"].as_str() {
            Some("retry_later") => 5,
            Some("mend") => 1,
            _ => panic!("{script}\n{ran:?}"),
        };
        assert!(ran.code == code, "{script}\n{ran:?}");
        assert_eq!(report["outcome"], "failed", "{script}");
        assert!(!api.faults().is_empty(), "{script}");
    }

    #[track_caller]
    fn is_all_there_is(&self) {
        let state = self.lake.state();
        let paths = |state: &BTreeMap<String, Vec<u8>>| state.keys().cloned().collect::<Vec<_>>();
        assert!(
            state == self.state,
            "the lake changed: {:?}\n{:?}",
            paths(&self.state),
            paths(&state)
        );
        let open = self.lake.open_uploads();
        assert!(open.is_empty(), "{open:?}");
    }
}

/// A run under the script fails, says these words, and leaves a lake that held the day before as it was.
#[track_caller]
fn fails(script: &str, words: &[&str]) {
    fails_with(&few_blobs(), script, &[], words);
}

#[track_caller]
fn fails_with(blobs: &Blobs, script: &str, arguments: &[&str], words: &[&str]) {
    let lake = Lake::on_disk();
    let yesterday = Yesterday::in_lake(&lake);
    yesterday.run_fails(blobs, script, arguments, words);
    yesterday.is_all_there_is();
}
