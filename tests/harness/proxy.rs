//! A proxy before a store that answers some requests in the store's place, or never. One request a connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// What the proxy makes of a request.
pub(crate) enum Rule {
    /// The store answers.
    Pass,
    /// The proxy does, with that status and body.
    Answer(u16, &'static str),
    /// The proxy does, with that status and the request's head, a hundred times.
    Repeat(u16),
    /// Nobody does.
    Silence,
}

/// A request's head.
pub(crate) struct Request {
    pub(crate) method: String,
    /// With the query.
    pub(crate) target: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_conditional_put(&self) -> bool {
        self.method == "PUT"
            && (self.header("if-match").is_some() || self.header("if-none-match").is_some())
    }
}

/// Starts a proxy before `upstream`, a port on loopback, for as long as the tests' process lives; its port.
pub(crate) fn start(upstream: u16, rule: impl Fn(&Request) -> Rule + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let rule = Arc::new(rule);
    thread::spawn(move || {
        for client in listener.incoming() {
            let rule = Arc::clone(&rule);
            // A client that is gone ends its connection's thread, and nothing else.
            thread::spawn(move || client.and_then(|client| serve(client, upstream, &*rule)));
        }
    });
    port
}

fn serve(
    mut client: TcpStream,
    upstream: u16,
    rule: &dyn Fn(&Request) -> Rule,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (first, headers) = head(&mut reader)?;
    let mut words = first.split(' ').map(str::to_owned);
    let said = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"));
    let said = format!("{first}\n{}", said.collect::<String>());
    let request = Request {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        headers,
    };
    let length = request.header("content-length");
    let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body)?;
    match rule(&request) {
        Rule::Silence => loop {
            thread::park();
        },
        Rule::Answer(status, text) => answer(&mut client, status, text),
        Rule::Repeat(status) => answer(&mut client, status, &said.repeat(100)),
        Rule::Pass => {
            let mut store = TcpStream::connect(("127.0.0.1", upstream))?;
            forward(&mut store, &first, &request.headers)?;
            store.write_all(&body)?;
            let mut answered = BufReader::new(store);
            let (first, headers) = head(&mut answered)?;
            forward(&mut client, &first, &headers)?;
            std::io::copy(&mut answered, &mut client).map(drop)
        }
    }
}

fn answer(client: &mut TcpStream, status: u16, text: &str) -> std::io::Result<()> {
    let length = text.len();
    write!(
        client,
        "HTTP/1.1 {status} x\r\ncontent-type: application/xml\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
    )
}

/// The first line and the headers.
fn head(reader: &mut impl BufRead) -> std::io::Result<(String, Vec<(String, String)>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut lines = lines.into_iter();
    let first = lines.next().unwrap_or_default();
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Ok((first, headers.collect()))
}

fn forward(to: &mut TcpStream, first: &str, headers: &[(String, String)]) -> std::io::Result<()> {
    write!(to, "{first}\r\n")?;
    for (name, value) in headers {
        if name != "connection" && name != "keep-alive" {
            write!(to, "{name}: {value}\r\n")?;
        }
    }
    write!(to, "connection: close\r\n\r\n")
}
