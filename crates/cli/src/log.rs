//! What goes to standard error: log lines, and the message that a command failed with.
//!
//! Only this project's crates follow `-v`. Others (the HTTP and object store clients) may print URLs with signatures at
//! `debug` and `trace`: they are held at `warn` whatever is asked for, and `RUST_LOG` is not read.

use std::io::{self, IsTerminal, Write};

use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::arguments::{ColorChoice, LogFormat, Terminal};
use crate::failure::Failure;
use crate::printable;

/// The targets of this project's crates.
const OWN_TARGETS: &[&str] = &[
    "dataset",
    "extractor",
    "transformer",
    "writer",
    "pipeline",
    "simulator",
    "defender_lake",
];

/// Standard error as the arguments want it.
pub(crate) struct Log {
    format: LogFormat,
    bars: MultiProgress,
    shows_bars: bool,
    is_quiet: bool,
}

impl Log {
    /// Sets up logging for the whole process.
    pub(crate) fn start(terminal: &Terminal) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let shows_bars = is_terminal && !dumb && !terminal.quiet && terminal.log == LogFormat::Text;
        let bars = MultiProgress::with_draw_target(match shows_bars {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        });
        let color = match terminal.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                is_terminal && !dumb && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
            }
        };
        let level = level(terminal, shows_bars);
        let registry = tracing_subscriber::registry().with(filter(level));
        let form = match (terminal.log, color) {
            (LogFormat::Json, _) => Form::Json,
            (LogFormat::Text, true) => Form::Coloured,
            (LogFormat::Text, false) => Form::Plain,
        };
        let lines = BesideBars(bars.clone(), form);
        let layer = tracing_subscriber::fmt::layer().with_writer(lines);
        // A second start in one process (tests) keeps the first log.
        let _ = match terminal.log {
            LogFormat::Text => {
                let layer = layer
                    .with_ansi(color)
                    .with_target(level >= LevelFilter::DEBUG);
                registry.with(layer).try_init()
            }
            LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
        };
        Self {
            format: terminal.log,
            bars,
            shows_bars,
            is_quiet: terminal.quiet,
        }
    }

    /// Where progress bars are drawn; `None` where log lines stand in for them.
    pub(crate) fn bars(&self) -> Option<&MultiProgress> {
        self.shows_bars.then_some(&self.bars)
    }

    /// Prints a text for people, such as the closing summary. Log lines, quiet and JSON go without.
    pub(crate) fn show(&self, text: &str) {
        if self.shows_bars {
            self.write(text);
        }
    }

    /// Prints a text for people that log lines do not replace. Quiet and JSON go without.
    pub(crate) fn show_table(&self, text: &str) {
        if self.format == LogFormat::Text && !self.is_quiet {
            self.write(text);
        }
    }

    /// Takes what printing a result came to, once the work is done: that it could not be printed undoes nothing.
    pub(crate) fn not_shown(&self, printed: io::Result<()>) {
        if let Err(error) = printed {
            tracing::warn!("cannot write to standard output: {error}");
        }
    }

    /// Tells why the command failed.
    pub(crate) fn tell(&self, failure: &Failure) {
        match (self.format, &failure.advice) {
            (LogFormat::Json, advice) => tracing::error!(advice, "{}", failure.message),
            (LogFormat::Text, advice) => {
                let message = printable::lines(&failure.message);
                let advice = advice.as_ref();
                let advice =
                    advice.map(|advice| format!("  what to do: {}\n", printable::text(advice)));
                self.write(&format!("error: {message}\n{}", advice.unwrap_or_default()));
            }
        }
    }

    fn write(&self, text: &str) {
        // Nothing is left to do for a standard error that cannot be written to.
        let mut out = BesideBars(self.bars.clone(), Form::Text);
        let _ = out.write_all(text.as_bytes());
    }
}

/// Bars tell what `info` lines would tell, so that lines beside them start at `warn`.
fn level(terminal: &Terminal, shows_bars: bool) -> LevelFilter {
    match (terminal.log_level, terminal.verbose, terminal.quiet) {
        (Some(level), _, _) => level.into(),
        (None, 0, true) => LevelFilter::ERROR,
        (None, 0, false) if shows_bars => LevelFilter::WARN,
        (None, 0, false) => LevelFilter::INFO,
        (None, 1, _) => LevelFilter::DEBUG,
        (None, _, _) => LevelFilter::TRACE,
    }
}

fn filter(level: LevelFilter) -> Targets {
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_targets(OWN_TARGETS.iter().map(|&target| (target, level)))
}

/// Standard error without what a terminal would obey; bars make room while something is written.
#[derive(Clone)]
struct BesideBars(MultiProgress, Form);

/// What is written at a time.
#[derive(Clone, Copy)]
enum Form {
    /// A text of several lines.
    Text,
    /// A line of the log.
    Plain,
    /// One with colours.
    Coloured,
    /// One of JSON.
    Json,
}

impl Write for BesideBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let shown = match self.1 {
            Form::Text => printable::text(&text),
            Form::Plain => printable::log_line(&text, false).into(),
            Form::Coloured => printable::log_line(&text, true).into(),
            Form::Json => printable::json(&text),
        };
        let shown = shown.as_bytes();
        self.0.suspend(|| io::stderr().lock().write_all(shown))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

impl<'a> MakeWriter<'a> for BesideBars {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tracing::Level;

    use super::*;
    use crate::arguments::Arguments;

    fn terminal(options: &[&str]) -> Terminal {
        let line = ["defender-lake"]
            .iter()
            .chain(options)
            .chain(&["schema", "list"]);
        Arguments::try_parse_from(line).unwrap().terminal
    }

    #[test]
    fn foreign_crates_stay_at_warn_whatever_is_asked_for() {
        for options in [&["-vv"][..], &["--log-level", "trace"]] {
            let filter = filter(level(&terminal(options), false));
            for target in OWN_TARGETS {
                assert!(filter.would_enable(target, &Level::TRACE), "{target}");
            }
            assert!(filter.would_enable("writer::upload", &Level::TRACE));
            for target in [
                "hyper",
                "reqwest::connect",
                "object_store::client",
                "h2",
                "rustls",
            ] {
                assert!(!filter.would_enable(target, &Level::INFO), "{target}");
                assert!(filter.would_enable(target, &Level::WARN), "{target}");
            }
        }
        let filter = filter(level(&terminal(&["--quiet"]), false));
        assert!(!filter.would_enable("hyper", &Level::WARN));
        assert!(!filter.would_enable("pipeline", &Level::WARN));
        assert!(filter.would_enable("pipeline", &Level::ERROR));
    }

    #[test]
    fn lines_begin_at_info_and_beside_bars_at_warn() {
        assert_eq!(level(&terminal(&[]), false), LevelFilter::INFO);
        assert_eq!(level(&terminal(&[]), true), LevelFilter::WARN);
        assert_eq!(level(&terminal(&["-v"]), true), LevelFilter::DEBUG);
        assert_eq!(
            level(&terminal(&["--log-level", "warn"]), false),
            LevelFilter::WARN
        );
    }
}
