//! Places where a test can have the process die, as a crash would, or panic: not in release builds.
//!
//! `DEFENDER_LAKE_FAILPOINT` names the place, or `panic:` and the place. What the lake is like after each is the table at the head of
//! [`crate::commit::publish`].

/// Variable that names the place to die at.
#[cfg(debug_assertions)]
const VARIABLE: &str = "DEFENDER_LAKE_FAILPOINT";

/// Dies here if this place was chosen.
#[cfg(debug_assertions)]
#[expect(clippy::panic, reason = "it is what a test asks for")]
pub(crate) fn reached(place: &str) {
    let Ok(chosen) = std::env::var(VARIABLE) else {
        return;
    };
    match chosen.strip_prefix("panic:") {
        Some(chosen) if chosen == place => panic!("a test asked for it"),
        None if chosen == place => std::process::abort(),
        _ => {}
    }
}

#[cfg(not(debug_assertions))]
pub(crate) fn reached(_place: &str) {}
