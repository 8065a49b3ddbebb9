//! What the answers depend on: options, keys, what is served, and what was handed out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};

use super::catalogue::{Catalogue, Offer};
use super::faulty::Faults;
use super::options::ServerOptions;
use super::tally::Tally;
use crate::rate_limit::CallLog;
use crate::signature::Signer;

/// All that the answers depend on.
pub(super) struct Site {
    pub(super) options: ServerOptions,
    pub(super) url: String,
    pub(super) token_key: [u8; 32],
    pub(super) signer: Signer,
    pub(super) served: Mutex<Arc<Offer>>,
    /// The containers that listings handed out, each with the snapshot of its time.
    pub(super) containers: Mutex<HashMap<String, Arc<Catalogue>>>,
    /// By application, tenant and endpoint.
    pub(super) calls: Mutex<HashMap<String, CallLog>>,
    pub(super) faults: Faults,
    /// Shared with bodies that are still being sent.
    pub(super) tally: Arc<Tally>,
}

impl Site {
    pub(super) fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.options.clock_skew
    }
}
