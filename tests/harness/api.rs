//! The export API: the simulator on loopback, over a folder of blobs.

use std::sync::LazyLock;

use simulator::{Counters, RateLimit, Served, Server, ServerOptions, credentials};
use tokio::runtime::Runtime;

use super::blobs::Blobs;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// A running API. It stops when dropped.
pub(crate) struct Api {
    server: Server,
}

impl Api {
    /// Lists the newest snapshot of the folder. Tests run more often than the service would let them.
    pub(crate) fn of(blobs: &Blobs) -> Self {
        let options = ServerOptions {
            served: Served::Files(blobs.folder().to_owned()),
            rate_limit: Some(RateLimit {
                per_minute: 1_000,
                per_hour: 1_000,
            }),
            ..ServerOptions::default()
        };
        Self {
            server: RUNTIME.block_on(Server::start(options)).unwrap(),
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> &str {
        self.server.url()
    }

    /// A token as somebody else would hand it over.
    pub(crate) fn token(&self) -> String {
        self.server.token()
    }

    /// What was asked for so far.
    pub(crate) fn counters(&self) -> Counters {
        self.server.counters()
    }

    /// The variables that the pipeline files of [`super::pipeline`] name.
    pub(crate) fn credentials() -> Vec<(String, String)> {
        [
            ("AZURE_TENANT_ID", credentials::TENANT_ID),
            ("AZURE_CLIENT_ID", credentials::CLIENT_ID),
            ("AZURE_CLIENT_SECRET", credentials::CLIENT_SECRET),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }
}
