//! Places where a test can have the process die, as a crash would: not in release builds.
//!
//! `DEFENDER_LAKE_FAILPOINT` names the place. What the lake is like after each is the table at the head of
//! [`crate::commit::publish`].

/// Variable that names the place to die at.
#[cfg(debug_assertions)]
const VARIABLE: &str = "DEFENDER_LAKE_FAILPOINT";

/// Dies here if this place was chosen.
#[cfg(debug_assertions)]
pub(crate) fn reached(place: &str) {
    if std::env::var_os(VARIABLE).is_some_and(|chosen| chosen == place) {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub(crate) fn reached(_place: &str) {}
