//! How the service behaves: what it serves, whom it lets in, and what goes wrong.

use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;

use crate::faults::FaultScript;
use crate::options::SnapshotOptions;
use crate::rate_limit::RateLimit;
use crate::signature::SignatureKind;

/// What a client signs in with unless [`ServerOptions`] say otherwise. Invented: they open nothing but a simulator.
pub mod credentials {
    /// The tenant that the application belongs to.
    pub const TENANT_ID: &str = "6f1d2c9e-3b75-4d0a-9a55-0c1b7e8f2d34";
    /// The application.
    pub const CLIENT_ID: &str = "c0ffee00-5a1e-4c5b-8f0e-1d2c3b4a5968";
    /// The application's secret.
    pub const CLIENT_SECRET: &str = "simulated-client-secret";
}

/// The permissions that the API's endpoints ask for.
const ROLES: [&str; 4] = [
    "Vulnerability.Read.All",
    "Software.Read.All",
    "SecurityBaselinesAssessment.Read.All",
    "Machine.Read.All",
];

/// Where the blobs come from.
#[expect(
    clippy::large_enum_variant,
    reason = "a server has one, and callers write it without a box"
)]
#[derive(Debug, Clone)]
pub enum Served {
    /// A folder of `*.json.gz`, as [`write_snapshot`](crate::write_snapshot) writes it: the newest snapshot in it of every
    /// export. Blobs whose paths name none that is known are InfoGathering's.
    Files(PathBuf),
    /// A snapshot that is generated into a temporary folder first: the only export that exists then.
    Generated(SnapshotOptions),
    /// Snapshots of one or more datasets, generated likewise. Of each dataset the newest is listed, and the ones before are
    /// what it is compared with where an endpoint answers with changes.
    Several(Vec<SnapshotOptions>),
}

/// How the service behaves. The default is as the documentation describes it.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Port on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    /// What the first listings hand out.
    pub served: Served,
    /// Recipes of further exports that a folder may hold blobs of; a recipe's file name is the dataset's.
    pub recipes: Vec<PathBuf>,
    /// The only tenant that exists.
    pub tenant_id: String,
    /// The only application in it.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// Application permissions in the tokens for the API.
    pub roles: Vec<String>,
    /// Life of a token.
    pub token_lifetime: Duration,
    /// Calls that the API lets through at each of its endpoints; none is no limit. The default stands for what each
    /// endpoint's recipe says: 5 a minute and 20 an hour for listings, more for pages.
    pub rate_limit: Option<RateLimit>,
    /// Rows of a page of JSON where a call names no number, in place of the recipe's.
    pub page_rows: Option<usize>,
    /// Life of the signed URLs where a call names none, in hours.
    pub default_sas_valid_hours: u32,
    /// The longest life that a call may ask for, in hours.
    pub max_sas_valid_hours: u32,
    /// Life of the signed URLs whatever a call asks for.
    pub url_lifetime: Option<Duration>,
    /// Kind of signature.
    pub signature: SignatureKind,
    /// How far the service's clock is ahead of the system's.
    pub clock_skew: TimeDelta,
    /// What goes wrong.
    pub faults: FaultScript,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            port: 0,
            served: Served::Generated(SnapshotOptions::default()),
            recipes: Vec::new(),
            tenant_id: credentials::TENANT_ID.to_owned(),
            client_id: credentials::CLIENT_ID.to_owned(),
            client_secret: credentials::CLIENT_SECRET.to_owned(),
            roles: ROLES.map(str::to_owned).to_vec(),
            token_lifetime: Duration::from_secs(3_599),
            rate_limit: Some(RateLimit::default()),
            page_rows: None,
            default_sas_valid_hours: 1,
            max_sas_valid_hours: 6,
            url_lifetime: None,
            signature: SignatureKind::default(),
            clock_skew: TimeDelta::zero(),
            faults: FaultScript::default(),
        }
    }
}
