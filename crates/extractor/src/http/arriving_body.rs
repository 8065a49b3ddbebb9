//! A body that is parsed as it arrives, by a parser that may wait: memory does not grow with the body.
//!
//! A few chunks wait between the connection and the parser's thread. A body that is too long or that drips is an error; what
//! its bytes mean is the parser's business.

use std::io::Read;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use reqwest::Response;
use tokio::sync::mpsc;
use url::Url;

use crate::error::ExtractorError;
use crate::http::blocking::blocking;
use crate::http::pace::Pace;
use crate::http::response::transport_error;
use crate::http::safe_url::bare;
use crate::limits::LEAST_BYTES_PER_SECOND;

/// Chunks of an answer that wait for the parser.
const CHUNKS_WAITING: usize = 4;

/// What a body may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyBounds {
    /// Bytes of the longest body.
    pub(crate) bytes: u64,
    /// Over which time of waiting its pace is judged.
    pub(crate) pace_window: Duration,
}

/// What `parse` made of the body of the answer of `url`.
///
/// # Errors
/// Where the body broke off, was too long or too slow, that is the error, whatever the parser said of its part of it.
pub(crate) async fn parse_arriving<T: Send + 'static>(
    url: &Url,
    response: Response,
    bounds: BodyBounds,
    parse: impl FnOnce(BodyReader) -> T + Send + 'static,
) -> Result<T, ExtractorError> {
    let (chunks, waiting) = mpsc::channel(CHUNKS_WAITING);
    let body = BodyReader {
        chunks: waiting,
        chunk: Bytes::new(),
    };
    let (passed_on, parsed) = tokio::join!(
        pass_on(url, response, bounds, chunks),
        blocking(move || parse(body))
    );
    passed_on?;
    Ok(parsed)
}

/// Gives the parser what arrives, until the body or the parser has ended.
async fn pass_on(
    url: &Url,
    mut response: Response,
    bounds: BodyBounds,
    chunks: mpsc::Sender<Bytes>,
) -> Result<(), ExtractorError> {
    let too_large = || ExtractorError::AnswerTooLarge {
        url: bare(url),
        limit: usize::try_from(bounds.bytes).unwrap_or(usize::MAX),
    };
    let announced = response.content_length();
    if announced.is_some_and(|length| length > bounds.bytes) {
        return Err(too_large());
    }
    let mut pace = Pace::new(bounds.pace_window);
    let mut received = 0;
    loop {
        let asked = Instant::now();
        let chunk = response.chunk().await;
        let Some(chunk) = chunk.map_err(|error| transport_error(url, &error))? else {
            return Ok(());
        };
        if let Some((bytes, waited)) = pace.too_slow(chunk.len() as u64, asked.elapsed()) {
            return Err(ExtractorError::Timeout {
                url: bare(url),
                reason: format!(
                    "{bytes} bytes came in {} s, less than {LEAST_BYTES_PER_SECOND} a second",
                    waited.as_secs()
                ),
            });
        }
        received += chunk.len() as u64;
        if received > bounds.bytes {
            return Err(too_large());
        }
        if chunks.send(chunk).await.is_err() {
            return Ok(());
        }
    }
}

/// A body that arrives chunk by chunk, for a thread that may wait.
pub(crate) struct BodyReader {
    chunks: mpsc::Receiver<Bytes>,
    chunk: Bytes,
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.chunk.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
