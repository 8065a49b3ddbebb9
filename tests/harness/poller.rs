//! Readers that read a table over and over while something happens to it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use simulator::SnapshotOptions;

use super::lake::Lake;
use super::{tool, workspace};

/// Long enough for one round of slow readers over a slow store on a busy machine.
const ANSWERS_WITHIN: Duration = Duration::from_secs(120);

/// What a reader saw: rows by generated time in microseconds; `None` where it failed.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) reader: String,
    began: f64,
    pub(crate) rows: Result<BTreeMap<i64, u64>, String>,
}

/// `readers/poller.py`, running.
pub(crate) struct Poller {
    process: Child,
    readers: Vec<&'static str>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl Poller {
    pub(crate) fn start(lake: &Lake, readers: &[&'static str]) -> Self {
        let mut process = Command::new(tool("readers/bin/python3"))
            .arg(workspace().join("tests/readers/poller.py"))
            .arg(lake.root())
            .args(readers)
            .env("STORAGE_OPTIONS", lake.storage_options().to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let answers = Arc::new(Mutex::new(Vec::new()));
        let kept = answers.clone();
        thread::spawn(move || {
            for line in lines {
                kept.lock().unwrap().push(Answer::of(&line.unwrap()));
            }
        });
        Self {
            process,
            readers: readers.to_vec(),
            answers,
        }
    }

    /// One answer of each reader that it began to look for after this call.
    #[track_caller]
    pub(crate) fn next_answers(&self) -> Vec<Answer> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let deadline = Instant::now() + ANSWERS_WITHIN;
        loop {
            let answers = self.answers.lock().unwrap().clone();
            let fresh = |reader: &&'static str| {
                let mut since = answers.iter().filter(|answer| answer.began > now);
                since.find(|answer| answer.reader == **reader).cloned()
            };
            let fresh: Vec<Answer> = self.readers.iter().filter_map(fresh).collect();
            if fresh.len() == self.readers.len() {
                return fresh;
            }
            assert!(Instant::now() < deadline, "readers are silent: {fresh:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// All answers, in order.
    pub(crate) fn stop(mut self) -> Vec<Answer> {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
        self.answers.lock().unwrap().clone()
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Answer {
    fn of(line: &str) -> Self {
        let answer: Value = serde_json::from_str(line).unwrap();
        let rows = match answer["rows"].as_object() {
            Some(rows) => Ok(rows
                .iter()
                .map(|(time, rows)| (time.parse().unwrap(), rows.as_u64().unwrap()))
                .collect()),
            None => Err(answer["error"].as_str().unwrap().to_owned()),
        };
        Self {
            reader: answer["reader"].as_str().unwrap().to_owned(),
            began: answer["began"].as_f64().unwrap(),
            rows,
        }
    }
}

/// Readers of the log see these days, whole.
#[track_caller]
pub(crate) fn shows(lake: &Lake, days: &[&SnapshotOptions]) {
    let expected = days
        .iter()
        .map(|day| (day.generated_time.timestamp_micros(), day.devices.into()))
        .collect();
    for answer in Poller::start(lake, &["deltalake", "polars"]).next_answers() {
        assert_eq!(answer.rows.as_ref(), Ok(&expected), "{answer:?}");
    }
}
