//! Standard output: results for people and programs, without what a terminal would obey. A reader that went away is no error.

use std::io::{self, Write};

use serde::Serialize;

use crate::printable;

/// Writes text and a line end.
pub(crate) fn line(text: &str) -> io::Result<()> {
    write(&printable::text(text))
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(text.trim_end_matches('\n').as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes one pretty JSON document.
pub(crate) fn json(document: &impl Serialize) -> io::Result<()> {
    write(&printable::json(&serde_json::to_string_pretty(document)?))
}

/// Writes one JSON document on a line of its own.
pub(crate) fn json_line(document: &impl Serialize) -> io::Result<()> {
    write(&printable::json(&serde_json::to_string(document)?))
}
