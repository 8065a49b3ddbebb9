//! Hundreds of runs under random faults and signals: not one row lost or doubled. `make soak` runs it.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `SOAK_SEED` | what all that is random follows from, but for the order in which threads meet | the time |
//! | `SOAK_RUNS` | number of runs | 300 |
//! | `SOAK_THREADS` | runs at once | 4 |
//!
//! Each thread has a lake after the other, which takes one day's snapshot after the other. A run that fails leaves the lake
//! as it was and is tried again; one that commits leaves the very bytes that a run without faults makes, which DuckDB has
//! found to hold exactly the truth.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use simulator::{FaultScript, Oddities, RandomFaults, ServerOptions, SnapshotOptions};

use crate::harness::api::Api;
use crate::harness::blobs::Blobs;
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::program::Ran;
use crate::harness::readers::Reader::DuckDb;
use crate::harness::truth::Truth;

const DAYS: usize = 3;

/// One day's snapshot and what a run without faults makes of it.
struct Day {
    blobs: Blobs,
    truth: Truth,
    files: BTreeMap<String, Vec<u8>>,
}

impl Day {
    fn all() -> Vec<Self> {
        let first = SnapshotOptions {
            devices: 300,
            blobs: 16,
            oddities: Oddities::all(),
            ..SnapshotOptions::default()
        };
        let days = std::iter::successors(Some(first), |day| Some(day.next_day()));
        days.take(DAYS).map(|day| Self::of(&day)).collect()
    }

    fn of(options: &SnapshotOptions) -> Self {
        let (blobs, lake) = (Blobs::simulated(options), Lake::on_disk());
        Pipeline::from_files(&blobs, &lake).run();
        let (truth, disk) = (Truth::of(&blobs), lake.on_this_machine());
        DuckDb.values(&disk.table()).is(&truth);
        Self {
            blobs,
            truth,
            files: disk.table_files(),
        }
    }
}

/// Choices of one run.
struct Dice(fastrand::Rng);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0.u64(..limit)
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

#[derive(Debug, Default)]
struct Figures {
    outcomes: BTreeMap<String, u64>,
    faults: BTreeMap<&'static str, u64>,
    signals: u64,
    rows_committed: u64,
    rows_lost: u64,
    rows_doubled: u64,
    parts_restarted: u64,
    errors: BTreeMap<String, u64>,
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

#[test]
#[ignore = "takes minutes: `make soak`"]
#[allow(clippy::print_stdout, reason = "its figures are what it is for")]
fn soak() {
    let time = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let seed = variable("SOAK_SEED").unwrap_or_else(time);
    let runs = variable("SOAK_RUNS").unwrap_or(300);
    let threads = variable("SOAK_THREADS").unwrap_or(4);
    println!("SOAK_SEED={seed} SOAK_RUNS={runs} SOAK_THREADS={threads}");
    let (days, begun) = (Day::all(), Instant::now());
    let (next, figures) = (AtomicU64::new(0), Mutex::new(Figures::default()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while next.load(Ordering::Relaxed) < runs {
                    fill_a_lake(
                        &days,
                        || {
                            let run = next.fetch_add(1, Ordering::Relaxed);
                            (run < runs).then(|| seed.wrapping_mul(1_000_003).wrapping_add(run))
                        },
                        &figures,
                    );
                }
            });
        }
    });
    let figures = figures.into_inner().unwrap();
    println!(
        "runs           {runs} in {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    let list = |counts: &mut dyn Iterator<Item = (String, u64)>| {
        let counts: Vec<String> = counts
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        counts.join(", ")
    };
    fn named<K: Display + Clone>(counts: &BTreeMap<K, u64>) -> impl Iterator<Item = (String, u64)> {
        counts
            .iter()
            .map(|(name, count)| (name.to_string(), *count))
    }
    println!("outcomes       {}", list(&mut named(&figures.outcomes)));
    println!(
        "faults         {}: {}",
        figures.faults.values().sum::<u64>(),
        list(&mut named(&figures.faults))
    );
    println!("signals        {}", figures.signals);
    println!("parts anew     {}", figures.parts_restarted);
    for (error, count) in &figures.errors {
        println!("error          {count} x {error}");
    }
    println!("rows committed {}", figures.rows_committed);
    println!("rows lost      {}", figures.rows_lost);
    println!("rows doubled   {}", figures.rows_doubled);
    assert_eq!(
        (figures.rows_lost, figures.rows_doubled),
        (0, 0),
        "SOAK_SEED={seed}"
    );
    assert!(figures.outcomes.contains_key("committed"));
}

/// Takes the days' snapshots into a new lake until all are there or `seeds` end.
fn fill_a_lake(days: &[Day], seeds: impl Fn() -> Option<u64>, figures: &Mutex<Figures>) {
    let lake = Lake::on_disk();
    let mut day = 0;
    // A run that was killed may leave files staged, and files in the table that no commit names yet, until the next commit.
    let mut killed = false;
    while let Some(today) = days.get(day)
        && let Some(seed) = seeds()
    {
        let before = lake.state();
        let (ran, api) = run(today, &lake, seed);
        let mut figures = figures.lock().unwrap();
        for (fault, count) in api.faults() {
            *figures.faults.entry(fault).or_default() += count;
        }
        let Some(ran) = ran else {
            killed = true;
            figures.signals += 1;
            *figures.outcomes.entry("killed".to_owned()).or_default() += 1;
            continue;
        };
        let report = ran.json();
        let outcome = report["outcome"].as_str().unwrap();
        *figures.outcomes.entry(outcome.to_owned()).or_default() += 1;
        figures.parts_restarted += report["parts_restarted"].as_u64().unwrap_or(0);
        match outcome {
            "committed" | "unchanged" => {
                assert_eq!(ran.code, 0);
                day += 1;
                figures.rows_committed += today.truth.rows.len() as u64;
                check_rows(&lake, &days[..day], &mut figures, seed);
                let left = left_of_runs(&lake);
                assert!(left.is_empty(), "seed {seed}: {left:?}");
                killed = false;
            }
            _ => {
                assert_eq!(ran.code, 1, "seed {seed}: {ran:?}");
                let error = without_names(report["error"].as_str().unwrap());
                figures.signals += u64::from(error.contains("stopped before the commit"));
                *figures.errors.entry(error).or_default() += 1;
                let left = changed(&before, &lake.state());
                assert!(
                    killed || left.is_empty(),
                    "seed {seed}: {ran:?}\nchanged: {left:?}"
                );
            }
        }
        let open = lake.open_uploads();
        assert!(killed || open.is_empty(), "seed {seed}: {ran:?}\n{open:?}");
    }
}

/// What runs hold while they live.
fn left_of_runs(lake: &Lake) -> Vec<String> {
    let of_runs = |path: &String| {
        path.contains("/staging/") || path.contains("/begun/") || path.ends_with(".tmp")
    };
    lake.files().into_keys().filter(of_runs).collect()
}

/// Paths whose files differ.
fn changed(one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let paths = one.keys().chain(other.keys());
    let differ = paths.filter(|path| one.get(*path) != other.get(*path));
    differ.cloned().collect()
}

/// One run of the day's snapshot, and the API that it met; no report if the run was killed.
fn run(day: &Day, lake: &Lake, seed: u64) -> (Option<Ran>, Api) {
    let mut dice = Dice(fastrand::Rng::with_seed(seed));
    let faults = FaultScript {
        random: Some(RandomFaults {
            seed,
            rate: dice.pick(&[0.02, 0.1, 0.3, 0.5]),
            api_rate: dice.pick(&[0.0, 0.1, 0.3]),
        }),
        etag_by_container: dice.below(2) == 0,
        without_md5: dice.below(2) == 0,
        ..FaultScript::default()
    };
    let url_lifetime = dice.pick(&[None, None, None, Some(Duration::from_secs(2))]);
    let options = ServerOptions {
        faults,
        url_lifetime,
        ..ServerOptions::default()
    };
    let api = Api::with(&day.blobs, options);
    let pipeline = Pipeline::from_faulty_api(&api, lake);
    let downloads = format!("work.downloads={}", dice.pick(&[1, 3, 8]));
    let threads = format!("work.threads={}", dice.pick(&[1, 2]));
    let memory = format!("work.spool_memory={}", dice.pick(&["0B", "8KiB", "64MiB"]));
    let arguments = [
        "--json", "--set", &downloads, "--set", &threads, "--set", &memory,
    ];
    let running = pipeline.start("run", &arguments);
    let signal = dice.pick(&[
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        Some("TERM"),
        Some("KILL"),
    ]);
    if let Some(signal) = signal {
        // A program that has just begun does not listen to signals yet.
        while api.counters().token_calls == 0 && running.peak_memory().is_some() {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(dice.below(400)));
        if running.peak_memory().is_some() {
            running.signal(signal);
        }
        if signal == "KILL" {
            drop(running);
            return (None, api);
        }
    }
    (Some(running.wait()), api)
}

/// Compares with the lakes without faults; where the bytes differ, a reader counts what is lost or doubled.
fn check_rows(lake: &Lake, days: &[Day], figures: &mut Figures, seed: u64) {
    let expected: BTreeMap<_, _> = days.iter().flat_map(|day| day.files.clone()).collect();
    let disk = lake.on_this_machine();
    if disk.table_files() == expected {
        return;
    }
    let table = DuckDb.values(&disk.table());
    let key = |device: &Value, date: &Value, group: &Value| format!("{device} {date} {group}");
    let mut missing: BTreeMap<String, i64> = BTreeMap::new();
    for row in days.iter().flat_map(|day| &day.truth.rows) {
        let row_key = key(
            &row["device_id"],
            &row["generated_date"],
            &row["rbac_group_id"],
        );
        *missing.entry(row_key).or_default() += 1;
    }
    let [devices, dates, groups] =
        ["device_id", "generated_date", "rbac_group_id"].map(|name| table.column(name));
    for ((device, date), group) in devices.iter().zip(dates).zip(groups) {
        *missing.entry(key(device, date, group)).or_default() -= 1;
    }
    let lost: i64 = missing.values().filter(|count| **count > 0).sum();
    let doubled: i64 = -missing.values().filter(|count| **count < 0).sum::<i64>();
    assert!(
        lost + doubled > 0,
        "seed {seed}: the same rows in other bytes"
    );
    figures.rows_lost += lost.unsigned_abs();
    figures.rows_doubled += doubled.unsigned_abs();
}

/// The error's words without paths, addresses and numbers, so that errors of a kind count together.
fn without_names(error: &str) -> String {
    let words = error.split(' ').map(|word| {
        if word.contains('/') {
            "..."
        } else if word.chars().any(|c| c.is_ascii_digit()) {
            "N"
        } else {
            word
        }
    });
    words.collect::<Vec<_>>().join(" ")
}
