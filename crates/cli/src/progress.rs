//! A run's events on standard error: progress bars on a terminal, plain log lines elsewhere.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{
    HumanCount, HumanDuration, MultiProgress, ProgressBar, ProgressState, ProgressStyle,
};
use pipeline::events::{Event, JobEvent, Observer};

use crate::log::Log;

/// The shortest time between two log lines that only tell how far the run is.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows one run.
pub(crate) struct Progress {
    bars: Option<Bars>,
    lines: Lines,
}

impl Progress {
    /// Bars if the log shows them, lines otherwise.
    pub(crate) fn new(log: &Log) -> Arc<Self> {
        Arc::new(Self {
            bars: log.bars().map(Bars::new),
            lines: Lines::default(),
        })
    }

    /// What the pipeline calls.
    pub(crate) fn observer(self: &Arc<Self>) -> Observer {
        let progress = Arc::clone(self);
        Arc::new(move |event| progress.see(&event))
    }

    /// Takes the bars away, for the closing summary to stand in their place.
    pub(crate) fn clear(&self) {
        if let Some(bars) = &self.bars {
            bars.clear();
        }
    }

    fn see(&self, event: &JobEvent) {
        match &self.bars {
            Some(bars) => bars.see(event),
            None => self.lines.see(event),
        }
    }
}

struct Bars {
    status: ProgressBar,
    /// What the status says when there is no wait.
    doing: Mutex<String>,
    blobs: ProgressBar,
    bytes: ProgressBar,
    rows: ProgressBar,
    multi: MultiProgress,
}

impl Bars {
    fn new(multi: &MultiProgress) -> Self {
        let bar = |name: &'static str, template: &str| {
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::no_length().with_prefix(name);
            let a_second = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                // A bar without its rate is still a bar.
                let _ = write!(out, "{}/s", HumanCount(state.per_sec() as u64));
            };
            bar.set_style(
                style
                    .with_key("human_per_sec", a_second)
                    .progress_chars("━╸ "),
            );
            bar
        };
        let status = multi.add(bar("", "{spinner} {msg}"));
        status.enable_steady_tick(Duration::from_millis(120));
        Self {
            status,
            doing: Mutex::default(),
            // How many bytes there are is seldom known before they are read: how far a run is, its blobs say.
            blobs: bar(
                "blobs",
                "  {prefix:5} {bar:32} {human_pos}/{human_len}, {eta} left",
            ),
            bytes: bar(
                "bytes",
                "  {prefix:5} {binary_bytes}, {binary_bytes_per_sec}",
            ),
            rows: bar("rows", "  {prefix:5} {human_pos}, {human_per_sec}"),
            multi: multi.clone(),
        }
    }

    fn doing(&self, what: String) {
        self.status.set_message(what.clone());
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    fn see(&self, JobEvent { job, event }: &JobEvent) {
        match event {
            Event::Listing => self.doing(format!("{}: listing blobs", job.dataset)),
            Event::Planned {
                snapshot, blobs, ..
            } => {
                self.doing(format!("{snapshot}: {blobs} blobs"));
                for (bar, length) in [
                    (&self.blobs, Some(*blobs)),
                    (&self.bytes, None),
                    (&self.rows, None),
                ] {
                    let bar = self.multi.add(bar.clone());
                    if let Some(length) = length {
                        bar.set_length(length);
                    }
                    bar.reset();
                    bar.tick();
                }
            }
            Event::Unchanged { snapshot } => self.doing(format!("{snapshot}: unchanged")),
            Event::BytesRead { bytes } => match u64::try_from(*bytes) {
                Ok(more) => self.bytes.inc(more),
                Err(_) => self.bytes.dec(bytes.unsigned_abs()),
            },
            Event::RecordsRead { records } => self.rows.inc(*records),
            Event::BlobDone { .. } => self.blobs.inc(1),
            Event::PartStaged { .. } => {}
            Event::PartRestarted {
                bytes,
                records,
                blobs,
                ..
            } => {
                self.bytes.dec(bytes.unsigned_abs());
                self.rows.dec(*records);
                self.blobs.dec(*blobs);
            }
            Event::SnapshotReplaced { .. } => {
                for bar in [&self.blobs, &self.bytes, &self.rows] {
                    bar.reset();
                }
            }
            Event::Waiting { reason, wait } => {
                self.status
                    .set_message(format!("waiting {} for {reason}", HumanDuration(*wait)));
            }
            Event::WaitOver => {
                let doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
                self.status.set_message(doing.clone());
            }
            Event::Committing { files } => self.doing(format!("committing {files} files")),
            Event::Finished { .. } => self.clear(),
        }
    }

    fn clear(&self) {
        for bar in [&self.rows, &self.bytes, &self.blobs, &self.status] {
            bar.finish_and_clear();
        }
    }
}

/// Counts for the lines that tell how far the run is.
struct Lines {
    blobs: AtomicU64,
    blobs_done: AtomicU64,
    bytes_read: AtomicI64,
    records_read: AtomicU64,
    last_line: Mutex<Instant>,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            blobs: AtomicU64::new(0),
            blobs_done: AtomicU64::new(0),
            bytes_read: AtomicI64::new(0),
            records_read: AtomicU64::new(0),
            last_line: Mutex::new(Instant::now()),
        }
    }
}

impl Lines {
    fn see(&self, JobEvent { job, event }: &JobEvent) {
        match event {
            Event::Listing => tracing::info!(dataset = job.dataset, "listing blobs"),
            Event::Planned {
                snapshot,
                blobs,
                bytes,
            } => {
                self.blobs.store(*blobs, Ordering::Relaxed);
                // Those of the dataset before.
                self.begin_again();
                tracing::info!(dataset = job.dataset, %snapshot, blobs, bytes, "planned");
            }
            Event::Unchanged { snapshot } => {
                tracing::info!(dataset = job.dataset, %snapshot, "the lake holds this snapshot already");
            }
            Event::BytesRead { bytes } => {
                self.bytes_read.fetch_add(*bytes, Ordering::Relaxed);
                self.tell_how_far();
            }
            Event::RecordsRead { records } => {
                self.records_read.fetch_add(*records, Ordering::Relaxed);
            }
            Event::BlobDone {
                blob,
                records,
                quarantined,
            } => {
                self.blobs_done.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(blob, records, quarantined, "blob read");
            }
            Event::PartStaged { part, rows, bytes } => {
                tracing::debug!(part, rows, bytes, "part staged");
            }
            Event::PartRestarted {
                bytes,
                records,
                blobs,
                ..
            } => {
                self.bytes_read.fetch_sub(*bytes, Ordering::Relaxed);
                self.records_read.fetch_sub(*records, Ordering::Relaxed);
                self.blobs_done.fetch_sub(*blobs, Ordering::Relaxed);
            }
            Event::SnapshotReplaced { snapshot, reason } => {
                let snapshot = snapshot.as_ref().map(ToString::to_string);
                tracing::info!(
                    dataset = job.dataset,
                    snapshot,
                    reason,
                    "starting again with the new snapshot"
                );
                self.begin_again();
            }
            Event::Waiting { reason, wait } => {
                tracing::info!(
                    dataset = job.dataset,
                    seconds = wait.as_secs(),
                    "waiting for {reason}"
                );
            }
            Event::WaitOver => {}
            Event::Committing { files } => {
                tracing::info!(dataset = job.dataset, files, "committing");
            }
            Event::Finished { report } => {
                let (outcome, snapshot) = (
                    report.outcome,
                    report.snapshot.as_ref().map(ToString::to_string),
                );
                tracing::info!(
                    dataset = report.dataset,
                    run_id = report.run_id,
                    %outcome,
                    snapshot,
                    records_read = report.records_read,
                    rows_written = report.rows_written,
                    records_quarantined = report.records_quarantined,
                    rows_rescued = report.rows_rescued,
                    bytes_read = report.bytes_read,
                    bytes_written = report.bytes_written,
                    elapsed_seconds = report.elapsed_seconds,
                    "finished"
                );
            }
        }
    }

    fn begin_again(&self) {
        self.bytes_read.store(0, Ordering::Relaxed);
        self.records_read.store(0, Ordering::Relaxed);
        self.blobs_done.store(0, Ordering::Relaxed);
    }

    fn tell_how_far(&self) {
        {
            let mut last_line = self
                .last_line
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if last_line.elapsed() < LINE_EVERY {
                return;
            }
            *last_line = Instant::now();
        }
        tracing::info!(
            blobs_done = self.blobs_done.load(Ordering::Relaxed),
            blobs = self.blobs.load(Ordering::Relaxed),
            records_read = self.records_read.load(Ordering::Relaxed),
            bytes_read = self.bytes_read.load(Ordering::Relaxed),
            "working"
        );
    }
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressDrawTarget;
    use pipeline::events::Job;

    use super::*;

    #[test]
    fn a_wait_stands_in_the_place_of_what_is_done_and_gives_it_back() {
        let bars = Bars::new(&MultiProgress::with_draw_target(
            ProgressDrawTarget::hidden(),
        ));
        let job = Arc::new(Job {
            run_id: "run".to_owned(),
            dataset: "info_gathering".to_owned(),
        });
        let event = |event| JobEvent {
            job: Arc::clone(&job),
            event,
        };
        let listing = event(Event::Listing);
        let waiting = event(Event::Waiting {
            reason: "the API's rate budget",
            wait: Duration::from_secs(42),
        });
        bars.see(&listing);
        bars.see(&waiting);
        assert_eq!(
            bars.status.message(),
            "waiting 42 seconds for the API's rate budget"
        );
        bars.see(&event(Event::WaitOver));
        assert_eq!(bars.status.message(), "info_gathering: listing blobs");
        bars.see(&waiting);
        // Downloads under way go on meanwhile.
        bars.see(&event(Event::Committing { files: 3 }));
        bars.see(&event(Event::WaitOver));
        assert_eq!(bars.status.message(), "committing 3 files");
    }
}
