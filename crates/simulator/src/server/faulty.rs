//! Acts on the script of faults: numbers requests, tells what goes wrong with each, spoils blobs and bodies.
//!
//! Bodies that are spoiled are held in memory whole: faults are for snapshots of tests, not of gigabytes.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::{GzEncoder, MultiGzDecoder};
use futures::{Stream, stream};
use md5::{Digest, Md5};

use super::catalogue::{Blob, Offer, etag_of};
use super::lock::lock;
use super::options::Served;
use super::tally::{Tally, count};
use crate::error::Result;
use crate::faults::{FaultKind, FaultScript, Md5Header, Subject, Wire};

const PIECE: u64 = 64 * 1024;
/// Time for what was sent to leave, before the connection is broken.
const FLUSH: Duration = Duration::from_millis(20);

/// The script, how far it has come, and what it has done.
#[derive(Default)]
pub(super) struct Faults {
    script: FaultScript,
    snapshots: HashMap<PathBuf, Arc<Offer>>,
    /// Requests so far, by subject.
    numbers: Mutex<HashMap<String, u64>>,
    /// Faults so far, by name.
    injected: Mutex<BTreeMap<&'static str, u64>>,
}

impl Faults {
    pub(super) async fn load(script: FaultScript, recipes: &[PathBuf]) -> Result<Self> {
        script.check()?;
        let mut snapshots = HashMap::new();
        for folder in script.folders() {
            let offer = Offer::load(Served::Files(folder.clone()), recipes.to_vec()).await?;
            snapshots.insert(folder.clone(), Arc::new(offer));
        }
        Ok(Self {
            script,
            snapshots,
            ..Self::default()
        })
    }

    /// What goes wrong with this request, which counts.
    pub(super) fn next(&self, subject: &Subject) -> Option<FaultKind> {
        let number = {
            let mut numbers = lock(&self.numbers);
            let number = numbers.entry(subject.key()).or_default();
            *number += 1;
            *number
        };
        let fault = self.script.due(subject, number)?;
        *lock(&self.injected).entry(fault.name()).or_default() += 1;
        tracing::debug!(subject = subject.key(), number, ?fault, "fault");
        Some(fault)
    }

    pub(super) fn injected(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.injected).clone()
    }

    /// The snapshots of a folder that the script names.
    pub(super) fn snapshot(&self, folder: &PathBuf) -> Option<Arc<Offer>> {
        self.snapshots.get(folder).cloned()
    }

    /// Another ETag in every container, if the script wants it so.
    pub(super) fn etag(&self, etag: &str, container: &str) -> String {
        if !self.script.etag_by_container {
            return etag.to_owned();
        }
        let of_both = Md5::digest(format!("{etag}{container}"));
        etag_of(&of_both.into())
    }

    pub(super) fn hides_md5(&self) -> bool {
        self.script.without_md5
    }
}

/// The blob as a request sees it.
pub(super) struct Seen {
    pub(super) bytes: u64,
    pub(super) md5: Option<String>,
    pub(super) etag: String,
    /// Its content, where it is not that of the file.
    pub(super) content: Option<Bytes>,
}

impl Seen {
    pub(super) fn truly(blob: &Blob) -> Self {
        Self {
            bytes: blob.bytes,
            md5: Some(blob.md5.clone()),
            etag: blob.etag.clone(),
            content: None,
        }
    }

    /// The blob spoiled by a fault of blobs; as it is, for every other fault.
    pub(super) async fn spoiled(blob: &Blob, fault: &FaultKind) -> io::Result<Self> {
        let truly = Self::truly(blob);
        let (content, md5_header) = match *fault {
            FaultKind::Truncate { to, md5 } => {
                let mut content = tokio::fs::read(&blob.file).await?;
                content.truncate(usize::try_from(to).unwrap_or(usize::MAX));
                (content, md5)
            }
            FaultKind::Corrupt { at, md5 } => {
                let mut content = tokio::fs::read(&blob.file).await?;
                let at = at.min(blob.bytes.saturating_sub(1)) as usize;
                if let Some(byte) = content.get_mut(at) {
                    *byte ^= 0x55;
                }
                (content, md5)
            }
            FaultKind::Changed { resized } => {
                let content = tokio::fs::read(&blob.file).await?;
                let content = if resized {
                    recompressed(&content)?
                } else {
                    of_another_system(content)
                };
                let digest: [u8; 16] = Md5::digest(&content).into();
                return Ok(Self {
                    etag: etag_of(&digest),
                    ..truly.with(content, Md5Header::Fixed)
                });
            }
            _ => return Ok(truly),
        };
        Ok(truly.with(content, md5_header))
    }

    fn with(self, content: Vec<u8>, md5: Md5Header) -> Self {
        Self {
            bytes: content.len() as u64,
            md5: match md5 {
                Md5Header::True => self.md5,
                Md5Header::Fixed => Some(STANDARD.encode(Md5::digest(&content))),
                Md5Header::Absent => None,
            },
            content: Some(content.into()),
            etag: self.etag,
        }
    }
}

/// The same records in a gzip stream of another length.
fn recompressed(gzip: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(MultiGzDecoder::new(gzip), Compression::none());
    let mut content = Vec::new();
    io::Read::read_to_end(&mut encoder, &mut content)?;
    Ok(content)
}

/// The same records in a gzip stream of the same length: the byte that names the operating system is another.
fn of_another_system(mut gzip: Vec<u8>) -> Vec<u8> {
    const OS: usize = 9;
    if let Some(byte) = gzip.get_mut(OS) {
        *byte = byte.wrapping_add(1);
    }
    gzip
}

/// An answer that a script gives in place of the service's.
pub(super) fn scripted(status: u16, body: &str) -> Response {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let kind = if body.starts_with('<') {
        "text/html"
    } else {
        "application/json; charset=utf-8"
    };
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(super) fn retry_after(mut response: Response, seconds: Option<u64>) -> Response {
    if let Some(seconds) = seconds {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

pub(super) fn redirect(to: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    if let Ok(location) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// How far a body has come.
struct Sending {
    rest: Bytes,
    sent: u64,
    wire: Wire,
    tally: Option<Arc<Tally>>,
}

/// A body that goes wrong on its way. `tally` counts the bytes of blobs.
pub(super) fn body(bytes: Bytes, wire: Wire, tally: Option<Arc<Tally>>) -> Body {
    Body::from_stream(pieces(Sending {
        rest: bytes,
        sent: 0,
        wire,
        tally,
    }))
}

fn pieces(start: Sending) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(start, async |mut at| {
        let Sending { sent, wire, .. } = at;
        if wire.cut_after.is_some_and(|after| after <= sent) {
            tokio::time::sleep(FLUSH).await;
            return Err(io::Error::other("cut by the script"));
        }
        if let Some((after, pause)) = wire.stall
            && after <= sent
        {
            at.wire.stall = None;
            tokio::time::sleep(pause).await;
        }
        if at.rest.is_empty() {
            // More was announced than there is: the server breaks the connection.
            if wire.length_off_by > 0 {
                tokio::time::sleep(FLUSH).await;
            }
            return Ok(None);
        }
        if let Some((_, pause)) = wire.trickle
            && sent > 0
        {
            tokio::time::sleep(pause).await;
        }
        let until = |position: Option<u64>| position.map_or(PIECE, |position| position - sent);
        let length = PIECE
            .min(at.rest.len() as u64)
            .min(wire.trickle.map_or(PIECE, |(piece, _)| piece))
            .min(until(wire.cut_after))
            .min(until(at.wire.stall.map(|(after, _)| after)));
        let piece = at.rest.split_to(length as usize);
        at.sent += length;
        if let Some(tally) = &at.tally {
            count(&tally.blob_bytes, length);
        }
        Ok(Some((piece, at)))
    })
}

/// `{"padding":"xxx...` of that many MiB, then the rest of the object, with no length announced.
pub(super) fn huge(object: &str, mebibytes: u64) -> Body {
    let members = object.strip_prefix('{').unwrap_or(object).to_owned();
    let head = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"{\"padding\":\""))]);
    let padding = Bytes::from(vec![b'x'; 1 << 20]);
    let middle = stream::iter((0..mebibytes).map(move |_| Ok(padding.clone())));
    let tail = stream::iter([Ok(Bytes::from(format!("\",{members}")))]);
    Body::from_stream(futures::StreamExt::chain(
        futures::StreamExt::chain(head, middle),
        tail,
    ))
}
