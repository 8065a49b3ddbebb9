//! What the headers of a blob's answer say: size, version, checksum, range, and whether its copy on the server has ended.
//!
//! Only answers to GET are asked: proxies refuse HEAD, or tell no length, 0, or that of the inflated body.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{CONTENT_LENGTH, ETAG, HeaderMap, TRANSFER_ENCODING};

use crate::api::signed_url::SignedUrl;
use crate::error::ExtractorError;
use crate::http::headers::text;
use crate::http::retry::Setback;
use crate::service_answer::scrub;

/// What the blob store says of a blob.
#[derive(Debug)]
pub(crate) struct BlobHead {
    /// Bytes of the compressed body. Unknown while one arrives in chunks whose end alone tells it.
    pub(crate) size: Option<u64>,
    /// Version of the blob in its container. Another listing's container has another.
    pub(crate) etag: Option<String>,
    /// MD5 of the whole body, where the blob store has one.
    pub(crate) content_md5: Option<[u8; 16]>,
}

/// Refuses a blob without content: its copy on the server has not ended, or failed.
pub(crate) fn require_content(
    url: &SignedUrl,
    headers: &HeaderMap,
    size: Option<u64>,
) -> Result<(), Setback> {
    let status = text(headers, "x-ms-copy-status");
    if size != Some(0) && status != Some("pending") {
        return Ok(());
    }
    let error = ExtractorError::BlobEmpty {
        blob: url.blob_path().to_string(),
        copy_status: scrub(status.unwrap_or("none"), &[]),
    };
    Err(match status {
        Some("failed" | "aborted") => Setback::Final(error),
        _ => Setback::passing(error),
    })
}

/// Version and checksum of the whole blob, whose size is in another header for a range than for the whole.
pub(crate) fn head_of(headers: &HeaderMap, size: Option<u64>) -> BlobHead {
    // On a range, Content-MD5 is that of the range.
    let md5 = text(headers, "x-ms-blob-content-md5").or_else(|| {
        let whole = !headers.contains_key("content-range");
        whole.then(|| text(headers, "content-md5")).flatten()
    });
    BlobHead {
        size,
        // A weak ETag does not promise the same bytes.
        etag: text(headers, ETAG.as_str())
            .filter(|etag| !etag.starts_with("W/"))
            .map(str::to_owned),
        content_md5: md5.and_then(|md5| BASE64_STANDARD.decode(md5).ok()?.try_into().ok()),
    }
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_LENGTH.as_str())?.parse().ok()
}

/// Whether the body comes in chunks: it then says itself where it ends, and a cut is told from its end.
pub(crate) fn is_chunked(headers: &HeaderMap) -> bool {
    text(headers, TRANSFER_ENCODING.as_str())
        .is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"))
}

/// Size of the whole of `bytes 0-0/10`.
pub(crate) fn size_of_whole(headers: &HeaderMap) -> Option<u64> {
    text(headers, "content-range")?
        .rsplit_once('/')?
        .1
        .parse()
        .ok()
}

/// First byte and size of the whole of `bytes 5-9/10`.
pub(crate) fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let (range, total) = text(headers, "content-range")?
        .strip_prefix("bytes ")?
        .split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total): (u64, u64, u64) =
        (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (last.checked_add(1) == Some(total)).then_some((first, total))
}
