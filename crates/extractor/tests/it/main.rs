//! The extractor over real sockets: every fault that the API, the blob store and the network have, by script.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api_calls;
mod downloads;
mod fixture;
mod next_links;
mod page_fixture;
mod paged_api;
mod secrets;
mod server;
mod url_refresh;
