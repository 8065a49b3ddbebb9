//! The service over HTTP: token endpoint, listings and blob store. Uses the faults, signatures and rate limits of the folders
//! and files beside it, and generated snapshots.

mod api;
mod blob_store;
mod catalogue;
mod changes;
mod faulty;
mod listing;
mod lock;
mod options;
mod pages;
mod responses;
mod rows;
mod service;
mod site;
mod tally;
mod token;

pub use options::{Served, ServerOptions, credentials};
pub use service::Server;
pub use tally::Counters;

#[cfg(test)]
mod tests;
