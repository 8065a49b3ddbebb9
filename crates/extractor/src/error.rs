//! What can go wrong between the API and a whole blob here. A variant exists where a caller acts differently.
//!
//! Retries have already failed when one of these is returned. URLs appear without their query, blobs by their blob path,
//! and texts of the service are cut short and cleaned (see [`ServiceAnswer`]). Errors are cheap to clone: one failed
//! listing is the error of every download that waited for it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::limits::{LEAST_BYTES_PER_SECOND, MAX_BLOB_BYTES};
use crate::service_answer::ServiceAnswer;

/// Why the extractor could not do what it was asked.
#[derive(Debug, Clone, Error)]
pub enum ExtractorError {
    /// A setting is not a URL, or the HTTP client cannot be built from it.
    #[error("{setting}: {reason}")]
    InvalidSetting {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it; holds no secret.
        reason: String,
    },
    /// An `http` URL to another host than loopback.
    #[error("{url} is not secure: only https is accepted, and http for loopback addresses")]
    InsecureUrl {
        /// The URL without its query.
        url: String,
    },
    /// The sign-in authority refused the credentials.
    #[error("sign-in at {authority} for tenant {tenant_id} was refused: {answer}; {hint}")]
    SignInRefused {
        /// The authority's URL.
        authority: String,
        /// The tenant.
        tenant_id: String,
        /// The authority's words.
        answer: Box<ServiceAnswer>,
        /// Which setting to look at.
        hint: String,
    },
    /// 401 of the API: token missing, expired, or made for another audience.
    #[error("{url} did not accept the token: {answer}; {hint}")]
    Unauthorized {
        /// The call.
        url: String,
        /// The service's words.
        answer: Box<ServiceAnswer>,
        /// Which audience was used and which setting to look at.
        hint: String,
    },
    /// 403 of the API: permission or licence missing.
    #[error("{url} is forbidden: {answer}; {hint}")]
    Forbidden {
        /// The call.
        url: String,
        /// The service's words.
        answer: Box<ServiceAnswer>,
        /// Which permission is needed.
        hint: String,
    },
    /// 400 of the API: a parameter was refused.
    #[error("{url} refused the request: {answer}; {hint}")]
    BadRequest {
        /// The call.
        url: String,
        /// The service's words.
        answer: Box<ServiceAnswer>,
        /// Which setting to look at.
        hint: String,
    },
    /// An answer that is none of the expected, for example a 404 of the API or a missing length.
    #[error("{url} gave an unexpected answer: {answer}")]
    UnexpectedAnswer {
        /// The call, without query.
        url: String,
        /// What came.
        answer: Box<ServiceAnswer>,
    },
    /// A redirect. None is followed: a token or a signature would go to another host.
    #[error("{url} redirects ({status}) to {location}, and redirects are not followed")]
    Redirected {
        /// The call, without query.
        url: String,
        /// The status code.
        status: u16,
        /// Scheme and host of the target.
        location: String,
    },
    /// The service kept answering 408, 409, 429 or 5xx.
    #[error("{url} is unavailable: {answer}")]
    Unavailable {
        /// The call, without query.
        url: String,
        /// The last answer.
        answer: Box<ServiceAnswer>,
    },
    /// No connection, or it broke, time after time.
    #[error("connection to {url} failed: {reason}")]
    Connection {
        /// The call, without query.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// No answer, or no byte of it, within the time set, time after time.
    #[error("{url} did not answer in time: {reason}")]
    Timeout {
        /// The call, without query.
        url: String,
        /// Which wait was too long.
        reason: String,
    },
    /// The next call of the API is allowed only after a longer wait than `max_wait`.
    #[error(
        "the rate budget of {api} is exhausted: the next call is allowed in {}s, longer than the accepted wait of {}s",
        wait.as_secs(), max_wait.as_secs()
    )]
    RateBudgetExhausted {
        /// Which budget.
        api: String,
        /// Time until the next call is allowed.
        wait: Duration,
        /// The wait that was accepted.
        max_wait: Duration,
    },
    /// The API's answer is not a listing.
    #[error("listing of {url} is malformed: {reason}")]
    ListingMalformed {
        /// The call.
        url: String,
        /// What is wrong, without any of the answer's values.
        reason: String,
    },
    /// A text of the listing is no usable signed URL.
    #[error("signed URL {url} cannot be used: {reason}")]
    SignedUrlMalformed {
        /// The URL without its query, as far as it could be read.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The listing is longer than any that is read.
    #[error("listing of {url} is longer than {} MiB, the most that is read", limit >> 20)]
    ListingTooLong {
        /// The call.
        url: String,
        /// The limit, bytes.
        limit: u64,
    },
    /// An answer is longer than its kind may be.
    #[error("answer of {url} is longer than {limit} bytes")]
    AnswerTooLarge {
        /// The call.
        url: String,
        /// The limit, bytes.
        limit: usize,
    },
    /// A signed URL points at a host that is not on the allow-list.
    #[error("blob host `{host}` is not allowed: add it to the allowed blob hosts if it is yours")]
    HostNotAllowed {
        /// The host.
        host: String,
    },
    /// A later listing is of another snapshot; its blobs are not mixed with those of the first.
    #[error("the service replaced the snapshot of {} by that of {} during the run", time(*listed), time(*now))]
    SnapshotReplaced {
        /// Snapshot time of the first listing.
        listed: Option<DateTime<Utc>>,
        /// Snapshot time of the later listing.
        now: Option<DateTime<Utc>>,
    },
    /// The signed URL is no longer valid; a new listing gives another.
    #[error("signed URL of blob {blob} expired")]
    UrlExpired {
        /// The blob path.
        blob: String,
    },
    /// The blob store refuses the URL for another reason than its expiry.
    #[error("blob store refused blob {blob}: {answer}")]
    BlobRefused {
        /// The blob path.
        blob: String,
        /// The blob store's words.
        answer: Box<ServiceAnswer>,
    },
    /// The blob is not in the listing, or not in the store though it was listed.
    #[error("blob {blob} does not exist")]
    BlobMissing {
        /// The blob path.
        blob: String,
    },
    /// The blob changed while it was downloaded.
    #[error("blob {blob} changed while it was downloaded")]
    BlobChanged {
        /// The blob path.
        blob: String,
    },
    /// The blob stayed without content: its copy on the server did not end, or failed.
    #[error("blob {blob} is empty (copy status: {copy_status})")]
    BlobEmpty {
        /// The blob path.
        blob: String,
        /// The blob store's `x-ms-copy-status`, or `none`.
        copy_status: String,
    },
    /// The body comes too slowly to be waited for.
    #[error(
        "blob {blob}: {bytes} bytes came in {seconds} s, less than {LEAST_BYTES_PER_SECOND} a second"
    )]
    TooSlow {
        /// The blob path.
        blob: String,
        /// Bytes that came.
        bytes: u64,
        /// In which time.
        seconds: u64,
    },
    /// The body is larger than any that is fetched.
    #[error(
        "blob {blob} has {bytes} bytes or more: beyond the {MAX_BLOB_BYTES} of any that is fetched"
    )]
    BlobTooLarge {
        /// The blob path.
        blob: String,
        /// Bytes that were announced, or that came.
        bytes: u64,
    },
    /// The body is shorter or longer than announced.
    #[error("blob {blob} has {received} bytes where {expected} were announced")]
    LengthMismatch {
        /// The blob path.
        blob: String,
        /// Bytes announced.
        expected: u64,
        /// Bytes received.
        received: u64,
    },
    /// A body that was put together without an `ETag` does not have the MD5 that the blob store gave.
    #[error("blob {blob} does not match its MD5 checksum")]
    ChecksumMismatch {
        /// The blob path.
        blob: String,
    },
    /// The spool's temporary file failed, for example on a full disk.
    #[error("spool in {}: {source}", directory.display())]
    Spool {
        /// Where the temporary file is.
        directory: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// A file on disk cannot be read or is not a blob.
    #[error("{}: {reason}", file.display())]
    LocalFile {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A pattern that matches no file.
    #[error("no file matches `{pattern}`")]
    NoFilesMatch {
        /// The pattern.
        pattern: String,
    },
}

fn time(time: Option<DateTime<Utc>>) -> String {
    time.map_or_else(
        || "unknown time".to_owned(),
        |t| t.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}
