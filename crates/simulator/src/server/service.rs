//! The service on loopback: one port that is sign-in authority, API and blob store at once.
//!
//! | request | answered by |
//! |---|---|
//! | `POST /{tenant}/oauth2/v2.0/token`, `POST /{tenant}/oauth2/token` | `token` |
//! | `GET /api/machines/InfoGatheringExport`, `GET /api/v1.0/...` (any case) | `api`: `listing`, `pages` |
//! | `GET`, `HEAD` of everything else | `blob_store` |
//!
//! Time is the system's, moved by `clock_skew`; what is random (keys, container names, request ids) is random.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::serve::ListenerExt;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::api;
use super::blob_store;
use super::catalogue::Offer;
use super::faulty::Faults;
use super::lock::lock;
use super::options::{Served, ServerOptions};
use super::site::Site;
use super::tally::Counters;
use super::token;
use crate::error::{Error, Result};
use crate::signature::{HTTP_DATE, Signer};

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
        let offer = Offer::load(options.served.clone(), options.recipes.clone()).await?;
        let faults = Faults::load(options.faults.clone(), &options.recipes).await?;
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
            served: Mutex::new(Arc::new(offer)),
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

    /// Serves other snapshots from the next listing on. URLs of earlier listings go on reading what they listed.
    ///
    /// # Errors
    /// What [`write_snapshot`](crate::write_snapshot) returns; [`Error::File`] or [`Error::BlobPath`] for a folder.
    pub async fn serve(&self, served: Served) -> Result<()> {
        let offer = Offer::load(served, self.site.options.recipes.clone()).await?;
        *lock(&self.site.served) = Arc::new(offer);
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
        self.site.tally.counters()
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
        api::answer(&site, &request.into_parts().0, &lower, now).await
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
