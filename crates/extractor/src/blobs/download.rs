//! One blob's download into its spool: resumed from the last byte, restarted only when the bytes at hand cannot be trusted.
//!
//! | at hand | next request |
//! |---|---|
//! | nothing | the whole body |
//! | bytes, same container, strong `ETag` | `Range` from the last byte, `If-Match` |
//! | bytes, another container or no `ETag`, MD5 of the whole | `Range` from the last byte; the MD5 must be the same |
//! | bytes, neither | the whole body again |
//!
//! A body is whole when its length is the announced one, or where it comes in chunks, with the last of them. One that ends with its
//! connection could be cut anywhere: its size is asked for by a request of its own. Damage on the way is found by the transformer, which reads every gzip
//! stream to its CRC-32 and length. Only a body that is put together without an `ETag` is hashed here: parts of two versions,
//! each of whole gzip members, would pass there.

use std::time::Instant;

use bytes::Bytes;
use dataset::BlobPath;
use reqwest::Response;
use reqwest::header::{IF_MATCH, RANGE};

use crate::api::signed_url::SignedUrl;
use crate::blobs::head::{
    BlobHead, content_length, content_range, head_of, is_chunked, require_content,
};
use crate::blobs::spool::{Spool, SpoolWriter};
use crate::blobs::store::{BlobStoreClient, unexpected};
use crate::error::ExtractorError;
use crate::http::pace::Pace;
use crate::http::response::transport_error;
use crate::http::retry::{Attempts, Setback};
use crate::limits::MAX_BLOB_BYTES;

/// Called with the change in the number of bytes kept: positive as they arrive, negative when they are thrown away.
/// The sum is the blob's size after success, and zero after an error or a cancelled download.
pub type Progress<'a> = dyn Fn(i64) + Send + Sync + 'a;

/// Times that a body which failed a check is fetched again.
const MAX_FAILED_CHECKS: u32 = 3;
/// A download is kept in pieces of one size, copied out of the client's buffers: those are of any size up to 400 KB, and while a
/// few bytes of one are kept it is not filled again. The copy was measured to cost less than the memory that is first touched
/// without it.
const PIECE_BYTES: usize = 64 << 10;
/// Progress after which the count of attempts starts again: a server that cuts after every byte is not waited for.
const NOTABLE_PROGRESS: u64 = 1024 * 1024;

/// A download in progress. Survives a change of the signed URL.
pub(crate) struct Transfer<'a> {
    blob: &'a BlobPath,
    progress: &'a Progress<'a>,
    kept: Option<Kept>,
    failed_checks: u32,
}

/// The bytes at hand and what they are the beginning of.
struct Kept {
    spool: SpoolWriter,
    head: BlobHead,
    location: String,
    /// Whether no `ETag` says that all bytes are of one version: the MD5 decides.
    needs_md5: bool,
}

impl<'a> Transfer<'a> {
    pub(crate) fn new(blob: &'a BlobPath, progress: &'a Progress<'a>) -> Self {
        Self {
            blob,
            progress,
            kept: None,
            failed_checks: 0,
        }
    }

    /// Bytes at hand.
    pub(crate) fn len(&self) -> u64 {
        self.kept.as_ref().map_or(0, |kept| kept.spool.len())
    }

    /// Makes attempts until the body is whole. After an error the bytes at hand stay, for another URL.
    pub(crate) async fn run(
        &mut self,
        store: &BlobStoreClient,
        url: &SignedUrl,
    ) -> Result<(), ExtractorError> {
        let mut attempts = Attempts::new(&store.retry);
        let mut counted_from = self.len();
        loop {
            let failed_checks = self.failed_checks;
            let Err(setback) = self.attempt(store, url).await else {
                return Ok(());
            };
            let len = self.len();
            if self.failed_checks > failed_checks {
                // A body fetched again is a new beginning; how many there may be is counted apart.
                attempts.progressed();
                counted_from = 0;
            }
            if len >= counted_from.saturating_add(NOTABLE_PROGRESS) {
                attempts.progressed();
                counted_from = len;
            }
            tokio::time::sleep(attempts.after(setback)?).await;
        }
    }

    /// The spool of a body that `run` found whole.
    pub(crate) async fn finish(mut self) -> Result<Spool, ExtractorError> {
        match self.kept.take() {
            Some(kept) => kept.spool.finish().await,
            None => Err(ExtractorError::BlobEmpty {
                blob: self.blob.to_string(),
                copy_status: "none".to_owned(),
            }),
        }
    }

    async fn attempt(&mut self, store: &BlobStoreClient, url: &SignedUrl) -> Result<(), Setback> {
        let mut request = store.get(url)?;
        let mut bound_by_etag = false;
        if let Some(kept) = self.kept.take_if(|kept| !kept.can_resume(url)) {
            (self.progress)(-(kept.spool.len() as i64));
        }
        if let Some(kept) = &self.kept {
            if kept.head.size == Some(kept.spool.len()) {
                return self.check().await;
            }
            request = request.header(RANGE, format!("bytes={}-", kept.spool.len()));
            if let Some(etag) = kept
                .head
                .etag
                .as_ref()
                .filter(|_| kept.location == url.location())
            {
                bound_by_etag = true;
                request = request.header(IF_MATCH, etag);
            }
        }
        let response = store.send(url, request).await?;
        match response.status().as_u16() {
            200 => self.begin(store, url, &response).await?,
            206 if self.kept.is_some() => self.resume(url, &response, bound_by_etag)?,
            206 => return Err(unexpected(url, 206, "a range that was not asked for")),
            416 if self.kept.is_some() => {
                return Err(self.failed_check(self.length_mismatch()));
            }
            412 if self.kept.is_some() => return Err(self.failed_check(self.changed())),
            _ => return Err(store.refused(url, response).await),
        }
        self.receive(store, url, response).await?;
        self.check().await
    }

    /// A whole body comes: what is at hand is thrown away.
    async fn begin(
        &mut self,
        store: &BlobStoreClient,
        url: &SignedUrl,
        response: &Response,
    ) -> Result<(), Setback> {
        self.discard();
        let headers = response.headers();
        let size = match content_length(headers) {
            _ if is_chunked(headers) => None,
            Some(length) => Some(length),
            None => Some(store.ask_size(url).await?.ok_or_else(|| {
                let what = "no length of any kind: a cut could not be told from the end";
                unexpected(url, 200, what)
            })?),
        };
        require_content(url, headers, size)?;
        fits(self.blob, size.unwrap_or(0))?;
        let head = head_of(headers, size);
        self.kept = Some(Kept {
            spool: store.spools.writer(size)?,
            head,
            location: url.location(),
            needs_md5: false,
        });
        Ok(())
    }

    /// A range comes: it must go on where the bytes at hand end, and be of the same version.
    fn resume(
        &mut self,
        url: &SignedUrl,
        response: &Response,
        bound_by_etag: bool,
    ) -> Result<(), Setback> {
        let Some(kept) = &mut self.kept else {
            return Ok(());
        };
        let head = head_of(response.headers(), None);
        let same_version = if bound_by_etag {
            head.etag.is_some() && head.etag == kept.head.etag
        } else {
            head.content_md5.is_some() && head.content_md5 == kept.head.content_md5
        };
        let size = content_range(response.headers())
            .filter(|(first, size)| {
                *first == kept.spool.len() && kept.head.size.is_none_or(|known| known == *size)
            })
            .map(|(_, size)| size);
        if !same_version || size.is_none() {
            let error = self.changed();
            return Err(self.failed_check(error));
        }
        kept.head.size = size;
        kept.head.etag = head.etag;
        kept.location = url.location();
        kept.needs_md5 |= !bound_by_etag;
        tracing::debug!(blob = %self.blob, from = kept.spool.len(), "download resumed");
        Ok(())
    }

    async fn receive(
        &mut self,
        store: &BlobStoreClient,
        url: &SignedUrl,
        mut response: Response,
    ) -> Result<(), Setback> {
        let Some(kept) = &mut self.kept else {
            return Ok(());
        };
        let mut pace = Pace::new(store.http.no_progress_timeout());
        loop {
            let asked = Instant::now();
            let chunk = response
                .chunk()
                .await
                .map_err(|error| transport_error(url.expose(), &error))?;
            let Some(chunk) = chunk else {
                // The last chunk is what ends a body of unknown size.
                kept.head.size.get_or_insert(kept.spool.len());
                return Ok(());
            };
            if let Some((bytes, waited)) = pace.too_slow(chunk.len() as u64, asked.elapsed()) {
                return Err(Setback::passing(ExtractorError::TooSlow {
                    blob: self.blob.to_string(),
                    bytes,
                    seconds: waited.as_secs(),
                }));
            }
            let received = kept.spool.len() + chunk.len() as u64;
            fits(self.blob, received)?;
            if let Some(expected) = kept.head.size.filter(|size| received > *size) {
                let error = ExtractorError::LengthMismatch {
                    blob: self.blob.to_string(),
                    expected,
                    received,
                };
                return Err(self.failed_check(error));
            }
            let pieces = pieces_of(&chunk);
            let length = chunk.len() as i64;
            drop(chunk);
            kept.spool.write(pieces).await?;
            (self.progress)(length);
        }
    }

    async fn check(&mut self) -> Result<(), Setback> {
        let Some(kept) = &mut self.kept else {
            return Ok(());
        };
        if kept.head.size != Some(kept.spool.len()) {
            return Err(Setback::passing(self.length_mismatch()));
        }
        if kept.spool.len() == 0 {
            self.discard();
            return Err(Setback::passing(ExtractorError::BlobEmpty {
                blob: self.blob.to_string(),
                copy_status: "none".to_owned(),
            }));
        }
        if kept.needs_md5 && Some(kept.spool.md5().await?) != kept.head.content_md5 {
            let blob = self.blob.to_string();
            return Err(self.failed_check(ExtractorError::ChecksumMismatch { blob }));
        }
        Ok(())
    }

    /// Fewer bytes than were announced, or where nothing was, than there are.
    fn length_mismatch(&self) -> ExtractorError {
        match self.kept.as_ref().and_then(|kept| kept.head.size) {
            Some(expected) => ExtractorError::LengthMismatch {
                blob: self.blob.to_string(),
                expected,
                received: self.len(),
            },
            None => self.changed(),
        }
    }

    fn changed(&self) -> ExtractorError {
        ExtractorError::BlobChanged {
            blob: self.blob.to_string(),
        }
    }

    /// The bytes at hand are not what they should be: the body is fetched again, a bounded number of times.
    fn failed_check(&mut self, error: ExtractorError) -> Setback {
        self.discard();
        self.failed_checks += 1;
        if self.failed_checks >= MAX_FAILED_CHECKS {
            return Setback::Final(error);
        }
        tracing::info!(blob = %self.blob, %error, "fetching the body again");
        Setback::passing(error)
    }

    fn discard(&mut self) {
        if let Some(kept) = self.kept.take() {
            (self.progress)(-(kept.spool.len() as i64));
        }
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        self.discard();
    }
}

/// Refuses a blob of that size if it is larger than any.
fn fits(blob: &BlobPath, bytes: u64) -> Result<(), Setback> {
    match bytes > MAX_BLOB_BYTES {
        true => Err(Setback::Final(ExtractorError::BlobTooLarge {
            blob: blob.to_string(),
            bytes,
        })),
        false => Ok(()),
    }
}

fn pieces_of(chunk: &[u8]) -> Vec<Bytes> {
    let pieces = chunk.chunks(PIECE_BYTES);
    pieces.map(Bytes::copy_from_slice).collect()
}

impl Kept {
    fn can_resume(&self, url: &SignedUrl) -> bool {
        let same_container = self.location == url.location() && self.head.etag.is_some();
        same_container || self.head.content_md5.is_some()
    }
}
