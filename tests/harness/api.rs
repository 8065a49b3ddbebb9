//! The export API: the simulator on loopback, over a folder of blobs.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use simulator::{Counters, FaultScript, RateLimit, Served, Server, ServerOptions, credentials};
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
        Self::with(blobs, ServerOptions::default())
    }

    /// The same, with faults by a script in TOML.
    pub(crate) fn faulty(blobs: &Blobs, script: &str) -> Self {
        Self::with(
            blobs,
            ServerOptions {
                faults: FaultScript::parse(script).unwrap(),
                ..ServerOptions::default()
            },
        )
    }

    /// The same, with other options of the simulator.
    pub(crate) fn with(blobs: &Blobs, options: ServerOptions) -> Self {
        let options = ServerOptions {
            served: Served::Files(blobs.folder().to_owned()),
            rate_limit: Some(RateLimit {
                per_minute: 1_000,
                per_hour: 1_000,
            }),
            ..options
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

    /// Faults so far, by kind.
    pub(crate) fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.server.faults()
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
