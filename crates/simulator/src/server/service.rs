//! The service on loopback: one port that is sign-in authority, API and blob store at once.
//!
//! | request | answered by |
//! |---|---|
//! | `POST /{tenant}/oauth2/v2.0/token`, `POST /{tenant}/oauth2/token` | `token` |
//! | `GET /api/machines/InfoGatheringExport`, `GET /api/v1.0/...` (any case) | `listing` |
//! | `GET`, `HEAD` of everything else | `blob_store` |
//!
//! Time is the system's, moved by `clock_skew`; what is random (keys, container names, request ids) is random.

mod blob_store;
mod catalogue;
mod faulty;
mod listing;
mod token;

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::serve::ListenerExt;
use chrono::{DateTime, TimeDelta, Utc};
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::faults::{FaultKind, FaultScript, Subject};
use crate::options::SnapshotOptions;
use crate::rate_limit::{CallLog, RateLimit};
use crate::signature::{HTTP_DATE, SignatureKind, Signer};
use crate::{Error, Result};
use catalogue::Catalogue;
use faulty::Faults;

/// What a client signs in with unless [`ServerOptions`] say otherwise. Invented: they open nothing but a simulator.
pub mod credentials {
    /// The tenant that the application belongs to.
    pub const TENANT_ID: &str = "6f1d2c9e-3b75-4d0a-9a55-0c1b7e8f2d34";
    /// The application.
    pub const CLIENT_ID: &str = "c0ffee00-5a1e-4c5b-8f0e-1d2c3b4a5968";
    /// The application's secret.
    pub const CLIENT_SECRET: &str = "simulated-client-secret";
}

/// Where the blobs come from.
#[derive(Debug, Clone)]
pub enum Served {
    /// A folder of `*.json.gz`, as [`write_snapshot`](crate::write_snapshot) writes it: the newest snapshot in it.
    Files(PathBuf),
    /// A snapshot that is generated into a temporary folder first.
    Generated(SnapshotOptions),
}

/// How the service behaves. The default is as the documentation describes it.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Port on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    /// What the first listings hand out.
    pub served: Served,
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
    /// Calls that the API lets through; none is no limit.
    pub rate_limit: Option<RateLimit>,
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
            tenant_id: credentials::TENANT_ID.to_owned(),
            client_id: credentials::CLIENT_ID.to_owned(),
            client_secret: credentials::CLIENT_SECRET.to_owned(),
            roles: vec!["Vulnerability.Read.All".to_owned()],
            token_lifetime: Duration::from_secs(3_599),
            rate_limit: Some(RateLimit::default()),
            default_sas_valid_hours: 1,
            max_sas_valid_hours: 6,
            url_lifetime: None,
            signature: SignatureKind::default(),
            clock_skew: TimeDelta::zero(),
            faults: FaultScript::default(),
        }
    }
}

/// What the service has been asked for since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Requests to the token endpoint.
    pub token_calls: u64,
    /// Calls of the API, answered or refused.
    pub api_calls: u64,
    /// Calls of the API that got a listing.
    pub listings: u64,
    /// GETs of blobs, answered or refused.
    pub blob_gets: u64,
    /// HEADs of blobs, answered or refused.
    pub blob_heads: u64,
    /// Bytes of blobs handed to connections.
    pub blob_bytes: u64,
}

#[derive(Debug, Default)]
struct Tally {
    token_calls: AtomicU64,
    api_calls: AtomicU64,
    listings: AtomicU64,
    blob_gets: AtomicU64,
    blob_heads: AtomicU64,
    blob_bytes: AtomicU64,
}

/// All that the answers depend on.
struct Site {
    options: ServerOptions,
    url: String,
    token_key: [u8; 32],
    signer: Signer,
    served: Mutex<Arc<Catalogue>>,
    /// The containers that listings handed out, each with the snapshot of its time.
    containers: Mutex<HashMap<String, Arc<Catalogue>>>,
    /// By application and tenant.
    calls: Mutex<HashMap<String, CallLog>>,
    faults: Faults,
    /// Shared with bodies that are still being sent.
    tally: Arc<Tally>,
}

impl Site {
    fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.options.clock_skew
    }
}

/// No invariant spans two of the maps behind these locks, so a panic of one holder spoils nothing for the others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// A running service. It stops when dropped, or in an orderly way by [`shutdown`](Self::shutdown).
pub struct Server {
    site: Arc<Site>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Generates or reads what is served, then listens.
    ///
    /// # Errors
    /// [`Error::Listen`] if the port is taken; [`Error::Faults`] for a script that makes no sense; what
    /// [`serve`](Self::serve) returns.
    pub async fn start(options: ServerOptions) -> Result<Self> {
        let port = options.port;
        let listen = |source| Error::Listen { port, source };
        let catalogue = Catalogue::load(options.served.clone()).await?;
        let faults = Faults::load(options.faults.clone()).await?;
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .await
            .map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        // Else the end of every body waits for the client's delayed acknowledgement: 40 ms a blob.
        let listener = listener.tap_io(|connection| {
            let _ = connection.set_nodelay(true);
        });
        let site = Arc::new(Site {
            url: format!("http://{address}"),
            token_key: random_key(),
            signer: Signer::new(random_key(), options.signature, &options.tenant_id),
            served: Mutex::new(Arc::new(catalogue)),
            containers: Mutex::default(),
            calls: Mutex::default(),
            faults,
            tally: Arc::default(),
            options,
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&site));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let serve = axum::serve(listener, router).with_graceful_shutdown(async {
                let _ = stopped.await;
            });
            if let Err(error) = serve.await {
                tracing::error!(%error, "server ended");
            }
        });
        Ok(Self {
            site,
            stop: Some(stop),
            task,
        })
    }

    /// `http://127.0.0.1:<port>`: authority and base URL of the API alike.
    pub fn url(&self) -> &str {
        &self.site.url
    }

    /// Serves another snapshot from the next listing on. URLs of earlier listings go on reading what they listed.
    ///
    /// # Errors
    /// What [`write_snapshot`](crate::write_snapshot) returns; [`Error::File`] or [`Error::BlobPath`] for a folder.
    pub async fn serve(&self, served: Served) -> Result<()> {
        let catalogue = Catalogue::load(served).await?;
        *lock(&self.site.served) = Arc::new(catalogue);
        Ok(())
    }

    /// Removes the containers of all listings so far: their URLs get 404 `ContainerNotFound`.
    pub fn remove_containers(&self) {
        lock(&self.site.containers).clear();
    }

    /// A token for the API, as the token endpoint gives it.
    pub fn token(&self) -> String {
        token::issue(&self.site, token::API_AUDIENCE)
    }

    /// What was asked for so far.
    pub fn counters(&self) -> Counters {
        let tally = &self.site.tally;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            token_calls: read(&tally.token_calls),
            api_calls: read(&tally.api_calls),
            listings: read(&tally.listings),
            blob_gets: read(&tally.blob_gets),
            blob_heads: read(&tally.blob_heads),
            blob_bytes: read(&tally.blob_bytes),
        }
    }

    /// Faults so far, by the names that they have in a script.
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.site.faults.injected()
    }

    /// Stops listening and lets the answers under way end, for two seconds at most.
    pub async fn shutdown(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = tokio::time::timeout(Duration::from_secs(2), &mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn random_key() -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(Uuid::new_v4().as_bytes());
    key[16..].copy_from_slice(Uuid::new_v4().as_bytes());
    key
}

async fn answer(State(site): State<Arc<Site>>, request: Request) -> Response {
    let method = request.method().clone();
    let path = percent_decode_str(request.uri().path())
        .decode_utf8_lossy()
        .into_owned();
    let now = site.now();
    let lower = path.to_ascii_lowercase();
    let mut response = if lower == "/api" || lower.starts_with("/api/") {
        listing::answer(&site, &request, &lower, now)
    } else if let Some(endpoint) = token::Endpoint::of_path(&path) {
        token::answer(&site, endpoint, request, now).await
    } else {
        blob_store::answer(&site, &request.into_parts().0, &path, now).await
    };
    if let Ok(date) = HeaderValue::from_str(&now.format(HTTP_DATE).to_string()) {
        response.headers_mut().insert(header::DATE, date);
    }
    // The path alone: queries are signatures.
    tracing::debug!(%method, path, status = response.status().as_u16(), "answered");
    response
}

fn method_not_allowed(allowed: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    response
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

#[cfg(test)]
mod tests;
