//! End-to-end tests: the real binary against the simulator, into real stores, read back by readers that nobody here wrote.
//!
//! `make end-to-end-tests` installs what they need and runs them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod harness;

mod architecture;
mod commands;
mod exit_codes;
mod faults;
mod history;
mod hostile;
mod object_stores;
mod oddities;
mod readers;
mod readme;
mod report;
mod secrets;
mod settings;
mod signals;
mod soak;
