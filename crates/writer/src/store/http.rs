//! The HTTP client below `object_store`. Answers that will stay as they are end a request at once: `object_store` would repeat
//! every answer from 500 on. What an error says is kept short, and without the secrets of its request.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::TryStreamExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService, ReqwestConnector,
};

use crate::error::NotImplemented;
use crate::store::sent_secrets::SentSecrets;

const NOT_IMPLEMENTED: u16 = 501;
/// What is kept of an answer's text.
const WORDS_BYTES: usize = 4 << 10;

/// Makes the client of a store, and remembers it for requests that `object_store` does not know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connector {
    made: Arc<Mutex<Option<HttpClient>>>,
}

impl Connector {
    /// The client that was made last: that of the store, which is made after those of its credentials.
    pub(crate) fn client(&self) -> Option<HttpClient> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.clone()
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        let client = HttpClient::new(Client { inner });
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        *made = Some(client.clone());
        Ok(client)
    }
}

/// Gives a client that is there already.
#[derive(Debug)]
pub(crate) struct Connected(pub(crate) HttpClient);

impl HttpConnector for Connected {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.0.clone())
    }
}

#[derive(Debug)]
struct Client {
    inner: HttpClient,
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let sent = SentSecrets::of(&request);
        let answer = self.inner.execute(request).await?;
        let status = answer.status();
        if !status.is_client_error() && !status.is_server_error() {
            return Ok(answer);
        }
        let (head, body) = answer.into_parts();
        let message = sent.withheld_from(beginning(body).await);
        if status.as_u16() != NOT_IMPLEMENTED {
            return Ok(HttpResponse::from_parts(head, message.into()));
        }
        // Of all kinds of errors, this one is not tried again.
        Err(HttpError::new(
            HttpErrorKind::Unknown,
            NotImplemented { message },
        ))
    }
}

/// The beginning of what an error says: `object_store` would hold all of it, however long it is.
pub(crate) async fn beginning(body: HttpResponseBody) -> String {
    let mut pieces = body.bytes_stream();
    let mut text = Vec::new();
    while text.len() < WORDS_BYTES
        && let Ok(Some(piece)) = pieces.try_next().await
    {
        text.extend_from_slice(&piece);
    }
    text.truncate(WORDS_BYTES);
    String::from_utf8_lossy(&text).trim().to_owned()
}
