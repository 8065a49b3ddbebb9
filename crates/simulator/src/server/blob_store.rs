//! The blob store: checks a signed URL, then streams a blob or a range of it. Its errors are XML, as the store's are.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use futures::stream;
use uuid::Uuid;

use super::faulty::{self, Seen};
use super::lock::lock;
use super::responses::{is_read, method_not_allowed};
use super::site::Site;
use super::tally::count;
use crate::faults::{FaultKind, Subject, TimeFrame, Wire};
use crate::signature::{HTTP_DATE, Refused};

/// Bodies are read and sent in pieces of this many bytes.
const PIECE: u64 = 256 * 1024;
const VERSION: &str = "2020-02-10";
const NOT_AUTHENTICATED: &str = "Server failed to authenticate the request. Make sure the value of Authorization header \
                                 is formed correctly including the signature.";

/// An answer that is an error.
struct Failure {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
    detail: Option<String>,
    /// For 416: the blob's length.
    length: Option<u64>,
    /// Seconds.
    retry_after: Option<u64>,
}

/// `path` is decoded: `/<container>/<blob path>`.
pub(super) async fn answer(
    site: &Site,
    request: &Parts,
    path: &str,
    now: DateTime<Utc>,
) -> Response {
    if !is_read(&request.method) {
        return method_not_allowed("GET, HEAD");
    }
    let tally = &site.tally;
    count(
        if request.method == Method::GET {
            &tally.blob_gets
        } else {
            &tally.blob_heads
        },
        1,
    );
    match read(site, request, path, now).await {
        Ok(response) => response,
        Err(failure) => failure.response(now),
    }
}

async fn read(
    site: &Site,
    request: &Parts,
    path: &str,
    now: DateTime<Utc>,
) -> Result<Response, Failure> {
    let headers = &request.headers;
    let path = path.trim_start_matches('/');
    authenticate(site, headers, path, request.uri.query(), now)?;
    let (container, blob_path) = path.split_once('/').unwrap_or((path, ""));
    let catalogue = lock(&site.containers)
        .get(container)
        .cloned()
        .ok_or(Failure::new(
            StatusCode::NOT_FOUND,
            "ContainerNotFound",
            "The specified container does not exist.",
        ))?;
    let not_found = || {
        Failure::new(
            StatusCode::NOT_FOUND,
            "BlobNotFound",
            "The specified blob does not exist.",
        )
    };
    let blob = catalogue.blobs.get(blob_path).ok_or_else(not_found)?;
    let is_get = request.method == Method::GET;
    let subject = if is_get {
        let place = catalogue.blobs.range(..blob_path.to_owned()).count();
        Subject::Get(blob_path, place, blob.bytes)
    } else {
        Subject::Head(blob_path)
    };
    let fault = site.faults.next(&subject);
    let seen = match &fault {
        None => Seen::truly(blob),
        Some(fault) => {
            if let Some(response) = in_place_of_content(fault)? {
                return Ok(response);
            }
            Seen::spoiled(blob, fault).await.map_err(|_| not_found())?
        }
    };
    let etag = site.faults.etag(&seen.etag, container);
    check_condition(headers, &etag)?;
    let range = match fault {
        Some(FaultKind::RangeIgnored) => None,
        _ => wanted_range(headers, seen.bytes)?,
    };

    let (first, length) = range.map_or((0, seen.bytes), |(first, last)| (first, last - first + 1));
    let wire = fault.as_ref().and_then(Wire::of);
    let without_length = wire.is_some_and(|wire| wire.without_length);
    let body = if !is_get && without_length {
        // Of an empty body the server itself would tell the length.
        Body::from_stream(stream::empty::<io::Result<Bytes>>())
    } else if !is_get {
        Body::empty()
    } else if wire.is_some() || seen.content.is_some() {
        let content = match &seen.content {
            Some(content) => content.clone(),
            None => read_file(&blob.file).await.map_err(|_| not_found())?,
        };
        let wanted = content.slice(first as usize..(first + length) as usize);
        let tally = Some(Arc::clone(&site.tally));
        faulty::body(wanted, wire.unwrap_or_default(), tally)
    } else {
        stream_file(site, &blob.file, first, length).map_err(|_| not_found())?
    };
    let mut response = Response::new(body);
    let described = Described {
        length: length.saturating_add_signed(wire.unwrap_or_default().length_off_by),
        range,
        bytes: seen.bytes,
        md5: seen.md5.filter(|_| !site.faults.hides_md5()),
        etag,
        modified: blob.modified,
    };
    described.write_to(response.headers_mut());
    if without_length {
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// Refuses a request for a version of the blob that is not this one.
fn check_condition(headers: &HeaderMap, etag: &str) -> Result<(), Failure> {
    if let Some(wanted) = text(headers, &header::IF_MATCH)
        && !wanted
            .split(',')
            .any(|wanted| ["*", etag].contains(&wanted.trim()))
    {
        return Err(Failure::new(
            StatusCode::PRECONDITION_FAILED,
            "ConditionNotMet",
            "The condition specified using HTTP conditional header(s) is not met.",
        ));
    }
    Ok(())
}

/// The first and the last byte that a request wants of a blob of so many; `None` for all.
fn wanted_range(headers: &HeaderMap, bytes: u64) -> Result<Option<(u64, u64)>, Failure> {
    Ok(match text(headers, &header::RANGE).and_then(parse_range) {
        Some((first, _)) if first >= bytes => {
            return Err(Failure {
                length: Some(bytes),
                ..Failure::new(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "InvalidRange",
                    "The range specified is invalid for the current size of the resource.",
                )
            });
        }
        range => range.map(|(first, last)| (first, last.unwrap_or(u64::MAX).min(bytes - 1))),
    })
}

async fn read_file(file: &Path) -> io::Result<Bytes> {
    tokio::fs::read(file).await.map(Bytes::from)
}

/// The answer of a fault that gives no content of the blob; `None` for the others.
fn in_place_of_content(fault: &FaultKind) -> Result<Option<Response>, Failure> {
    let failure = |status, code, message| Err(Failure::new(status, code, message));
    match fault {
        FaultKind::Answer {
            status,
            body: Some(body),
            retry_after,
        } => {
            let response = faulty::scripted(*status, body);
            Ok(Some(faulty::retry_after(response, *retry_after)))
        }
        FaultKind::Answer {
            status,
            body: None,
            retry_after,
        } => {
            let status = StatusCode::from_u16(*status).unwrap_or_default();
            let (code, message) = match status.as_u16() {
                403 => (
                    "AuthorizationFailure",
                    "This request is not authorized to perform this operation.",
                ),
                408 | 500 => (
                    "OperationTimedOut",
                    "Operation could not be completed within the specified time.",
                ),
                429 | 503 => ("ServerBusy", "The server is busy."),
                _ => ("InvalidInput", "One of the request inputs is not valid."),
            };
            Err(Failure {
                retry_after: *retry_after,
                ..Failure::new(status, code, message)
            })
        }
        FaultKind::Redirect { to } => Ok(Some(faulty::redirect(to))),
        FaultKind::Expired { frame } => {
            let frame = match frame {
                TimeFrame::Url => "time frame: Start",
                TimeFrame::Key => "key time frame: Key start",
            };
            Err(Failure {
                detail: Some(format!(
                    "Signature not valid in the specified {frame} [...]"
                )),
                ..Failure::new(
                    StatusCode::FORBIDDEN,
                    "AuthenticationFailed",
                    NOT_AUTHENTICATED,
                )
            })
        }
        FaultKind::NotFound => failure(
            StatusCode::NOT_FOUND,
            "BlobNotFound",
            "The specified blob does not exist.",
        ),
        FaultKind::PendingCopy => failure(
            StatusCode::CONFLICT,
            "PendingCopyOperation",
            "There is currently a pending copy operation.",
        ),
        FaultKind::Empty { copy_status } => {
            let mut response = Response::new(Body::empty());
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            if let Some(status) = copy_status
                && let Ok(status) = HeaderValue::from_str(status)
            {
                headers.insert("x-ms-copy-status", status);
            }
            Ok(Some(response))
        }
        _ => Ok(None),
    }
}

fn authenticate(
    site: &Site,
    headers: &HeaderMap,
    blob: &str,
    query: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let fail = |detail: Option<String>| Failure {
        detail,
        ..Failure::new(
            StatusCode::FORBIDDEN,
            "AuthenticationFailed",
            NOT_AUTHENTICATED,
        )
    };
    if headers.contains_key(header::AUTHORIZATION) {
        return Err(fail(Some(
            "Issuer validation failed. Issuer did not match.".to_owned(),
        )));
    }
    let query = query.ok_or(Failure::new(
        StatusCode::NOT_FOUND,
        "ResourceNotFound",
        "The specified resource does not exist.",
    ))?;
    site.signer
        .check(blob, query, now)
        .map_err(|Refused(detail)| fail(Some(detail)))
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// First and last byte of `bytes=N-` and `bytes=N-M`. Every other form is ignored, as the store does.
fn parse_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let first = first.parse().ok()?;
    match last {
        "" => Some((first, None)),
        last => last
            .parse()
            .ok()
            .filter(|&last| last >= first)
            .map(|last| (first, Some(last))),
    }
}

fn stream_file(site: &Site, file: &Path, first: u64, length: u64) -> io::Result<Body> {
    let mut file = File::open(file)?;
    file.seek(io::SeekFrom::Start(first))?;
    let start = (Arc::clone(&site.tally), file, length, Buffers::default());
    Ok(Body::from_stream(stream::try_unfold(
        start,
        async |(tally, file, left, buffers)| {
            if left == 0 {
                return Ok::<_, io::Error>(None);
            }
            let mut buffer = buffers.take(left.min(PIECE) as usize);
            let reading = tokio::task::spawn_blocking(move || {
                (&file).read_exact(&mut buffer.bytes)?;
                Ok::<_, io::Error>((file, buffer))
            });
            let (file, buffer) = reading.await.map_err(io::Error::other)??;
            let length = buffer.bytes.len() as u64;
            count(&tally.blob_bytes, length);
            let next = (tally, file, left - length, buffers);
            Ok(Some((Bytes::from_owner(buffer), next)))
        },
    )))
}

/// The buffers of one body: those that were sent are filled again. Fresh memory for every piece costs more than its copy.
#[derive(Clone, Default)]
struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    fn take(&self, length: usize) -> Buffer {
        let mut bytes = lock(&self.0).pop().unwrap_or_default();
        bytes.resize(length, 0);
        let home = self.clone();
        Buffer { bytes, home }
    }
}

/// Goes back to where it was taken from.
struct Buffer {
    bytes: Vec<u8>,
    home: Buffers,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        lock(&self.home.0).push(std::mem::take(&mut self.bytes));
    }
}

/// What the headers of a blob's answer say.
struct Described {
    /// Of the body.
    length: u64,
    range: Option<(u64, u64)>,
    /// Of the blob.
    bytes: u64,
    md5: Option<String>,
    etag: String,
    modified: DateTime<Utc>,
}

impl Described {
    fn write_to(self, headers: &mut HeaderMap) {
        let mut set = |name: &'static str, value: String| {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        set("content-length", self.length.to_string());
        set("content-type", "application/octet-stream".to_owned());
        set("etag", self.etag);
        set("last-modified", self.modified.format(HTTP_DATE).to_string());
        set("accept-ranges", "bytes".to_owned());
        set("x-ms-request-id", Uuid::new_v4().to_string());
        set("x-ms-version", VERSION.to_owned());
        set("x-ms-blob-type", "BlockBlob".to_owned());
        set("x-ms-server-encrypted", "true".to_owned());
        if let Some(md5) = self.md5 {
            let of_whole = match self.range {
                None => "content-md5",
                Some(_) => "x-ms-blob-content-md5",
            };
            set(of_whole, md5);
        }
        if let Some((first, last)) = self.range {
            set(
                "content-range",
                format!("bytes {first}-{last}/{}", self.bytes),
            );
        }
    }
}

impl Failure {
    fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self {
            status,
            code,
            message,
            detail: None,
            length: None,
            retry_after: None,
        }
    }

    fn response(self, now: DateTime<Utc>) -> Response {
        let Self {
            status,
            code,
            message,
            detail,
            length,
            retry_after,
        } = self;
        let request_id = Uuid::new_v4().to_string();
        let time = now.format("%Y-%m-%dT%H:%M:%S%.6f0Z");
        let detail = detail.map_or_else(String::new, |detail| {
            let detail = detail
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            format!("<AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail>")
        });
        let body = format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}\n\
             RequestId:{request_id}\nTime:{time}</Message>{detail}</Error>"
        );
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/xml"),
        );
        headers.insert("x-ms-error-code", HeaderValue::from_static(code));
        headers.insert("x-ms-version", HeaderValue::from_static(VERSION));
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            headers.insert("x-ms-request-id", value);
        }
        if let Some(value) =
            length.and_then(|length| HeaderValue::from_str(&format!("bytes */{length}")).ok())
        {
            headers.insert(header::CONTENT_RANGE, value);
        }
        faulty::retry_after(response, retry_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_and_closed_ranges_are_read_and_others_ignored() {
        assert_eq!(parse_range("bytes=5-"), Some((5, None)));
        assert_eq!(parse_range("bytes=5-7"), Some((5, Some(7))));
        for ignored in [
            "bytes=-5",
            "bytes=7-5",
            "bytes=1-2,4-5",
            "items=1-2",
            "bytes=x-",
        ] {
            assert_eq!(parse_range(ignored), None, "{ignored}");
        }
    }
}
