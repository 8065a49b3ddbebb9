//! What a panic prints: where it was, and its text if that stands in the program. Formatted texts may hold data or secrets.
//!
//! Ends nothing: `main` and the pipeline catch panics, and report them as defects.

use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};

/// From now on.
pub(crate) fn tell_where() {
    panic::set_hook(Box::new(|info| {
        // Nothing is left to do for a standard error that cannot be written to.
        let _ = io::stderr().lock().write_all(line(info).as_bytes());
    }));
}

fn line(info: &PanicHookInfo<'_>) -> String {
    let text = info.payload().downcast_ref::<&str>().copied();
    let place = info.location().map(ToString::to_string);
    format!(
        "defect: panic at {}: {}\n",
        place.as_deref().unwrap_or("an unknown place"),
        text.unwrap_or("(text withheld)")
    )
}
