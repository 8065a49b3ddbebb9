//! End-to-end tests: the real binary against the simulator, into real stores, read back by readers that nobody here wrote.
//!
//! `make end-to-end-tests` installs what they need and runs them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a matrix prints its figures"
)]

mod harness;

mod appends;
mod architecture;
mod commands;
mod compatibility;
mod concurrency;
mod crashes;
mod datasets;
mod every_dataset;
mod exit_codes;
mod faults;
mod gate;
mod history;
mod hostile;
mod kept;
mod long_listings;
mod maintenance;
mod mounted_disks;
mod object_stores;
mod oddities;
mod printed_code;
mod proxies;
mod quarantine;
mod readers;
mod readme;
mod refusals;
mod report;
mod schema_tools;
mod script_files;
mod secrets;
mod settings;
mod signals;
mod soak;
mod stores_that_lack;
mod untrusted;
