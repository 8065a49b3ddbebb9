//! An API and blob store of any number of blobs, which are in no file: for listings longer than a folder should be, and for answers
//! that the simulator's server does not let itself give. Takes every token.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::blobs::{gzip, path};

/// Rows of a blob.
pub(crate) const ROWS: u32 = 2;

/// How a blob's answer says where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Told,
    /// The body ends with its connection.
    Unsaid,
}

/// The service, for as long as the tests' process lives.
pub(crate) struct BareService {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    state: Arc<State>,
}

struct State {
    listing: String,
    length: Length,
    asked: Asked,
}

/// How often it was asked for what.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) listings: AtomicU64,
    pub(crate) heads: AtomicU64,
    /// First bytes alone, for the size.
    pub(crate) sizes: AtomicU64,
    pub(crate) bodies: AtomicU64,
}

impl BareService {
    /// Blobs of as many device groups, one group after the other.
    pub(crate) fn start(blobs: u32, groups: u32, length: Length) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            listing: listing(&url, blobs, groups),
            length,
            asked: Asked::default(),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                let state = Arc::clone(&shared);
                // A client that is gone ends its connection's thread, and nothing else.
                thread::spawn(move || client.and_then(|client| serve(client, &state)));
            }
        });
        Self { url, state }
    }

    /// Bytes of a listing.
    pub(crate) fn listing_bytes(&self) -> usize {
        self.state.listing.len()
    }

    /// Listings, HEADs, sizes and bodies that were asked for.
    pub(crate) fn asked(&self) -> [u64; 4] {
        let asked = &self.state.asked;
        let counts = [&asked.listings, &asked.heads, &asked.sizes, &asked.bodies];
        counts.map(|count| count.load(Ordering::SeqCst))
    }
}

/// URLs of some 850 bytes, as the service's are.
fn listing(url: &str, blobs: u32, groups: u32) -> String {
    let query = format!(
        "skoid=5f0c7a52-3a5e-4a6e-9d0d-2a0f9f4f2c11&sktid=47d41a0c-188d-46d3-bbea-a93dbc0bfcaa\
         &skt=2026-05-03T10%3A00%3A00Z&ske=2099-05-03T10%3A00%3A00Z&sks=b&skv=2020-02-10&sv=2020-02-10\
         &st=2026-05-03T10%3A00%3A00Z&se=2099-05-03T10%3A00%3A00Z&sr=b&sp=r&sig={}",
        "x".repeat(360)
    );
    let mut listing = "{\"@odata.context\":\"x\",\"exportFiles\":[".to_owned();
    for number in 0..blobs {
        let group = i64::from(number) * i64::from(groups) / i64::from(blobs);
        let comma = if number == 0 { "" } else { "," };
        let path = path(Some(group), number);
        write!(
            listing,
            "{comma}\"{url}/temp-5f0c7a52-3a5e-4a6e-9d0d-2a0f9f4f2c11/{path}?{query}\""
        )
        .unwrap();
    }
    listing.push_str("],\"generatedTime\":\"2026-05-03T10:01:00Z\"}");
    listing
}

fn serve(mut client: TcpStream, state: &State) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    client.set_nodelay(true)?;
    loop {
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            if reader.read_line(&mut request)? == 0 {
                return Ok(());
            }
        }
        let keeps_open = answer(&mut client, &request.to_lowercase(), state)?;
        if !keeps_open {
            return Ok(());
        }
    }
}

/// Whether the connection stays open.
fn answer(client: &mut TcpStream, request: &str, state: &State) -> io::Result<bool> {
    let count = |what: &AtomicU64| what.fetch_add(1, Ordering::SeqCst);
    let asked = &state.asked;
    let Some(blob) = number_of(request) else {
        count(&asked.listings);
        send(client, "200 OK", "", state.listing.as_bytes())?;
        return Ok(true);
    };
    if request.starts_with("head") {
        count(&asked.heads);
        send(client, "403 Forbidden", "", b"")?;
        return Ok(true);
    }
    let rows = (0..ROWS).map(|row| format!("{{\"DeviceId\":\"{blob}-{row}\"}}\n"));
    let body = gzip(rows.collect::<String>().as_bytes());
    let length = body.len();
    if request.contains("range: bytes=0-0\r\n") {
        count(&asked.sizes);
        let range = format!("Content-Range: bytes 0-0/{length}\r\n");
        send(client, "206 Partial Content", &range, &body[..1])?;
        return Ok(true);
    }
    count(&asked.bodies);
    if state.length == Length::Told {
        send(client, "200 OK", "ETag: \"v1\"\r\n", &body)?;
        return Ok(true);
    }
    client.write_all(b"HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nConnection: close\r\n\r\n")?;
    client.write_all(&body)?;
    Ok(false)
}

fn send(client: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
    client.write_all(head.as_bytes())?;
    client.write_all(body)
}

/// Of the blob in the first line; none if it is the API's.
fn number_of(request: &str) -> Option<u32> {
    let (_, rest) = request.lines().next()?.split_once("/part-")?;
    rest.split_once('-')?.0.parse().ok()
}
