//! A scripted HTTP server for tests: raw bytes on a loopback socket, so that it can lie about lengths, stall and cut.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// One answer; the connection is closed after it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    head: String,
    body: Vec<u8>,
    stall: Option<Duration>,
    drip: Option<Duration>,
}

impl Answer {
    /// A status line's code and headers; `Content-Length` is not added.
    pub(crate) fn new(status: u16, headers: &[(&str, &str)]) -> Self {
        let mut head = format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        Self {
            head,
            ..Self::default()
        }
    }

    /// Headers with a right length, and a body.
    pub(crate) fn whole(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let length = body.as_ref().len().to_string();
        let headers = [headers, &[("Content-Length", &length)]].concat();
        Self::new(status, &headers).body(body)
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// Sends the body byte by byte, with a pause after each.
    pub(crate) fn drip(mut self, pause: Duration) -> Self {
        self.drip = Some(pause);
        self
    }

    /// Keeps the connection open after the body, silently.
    pub(crate) fn stall(mut self, time: Duration) -> Self {
        self.stall = Some(time);
        self
    }
}

/// Serves the answers in order; asked for more, it repeats the last.
pub(crate) struct TestServer {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl TestServer {
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        let mut answers = answers.into_iter();
        let mut last = Answer::default();
        Self::serve(move |_| {
            last = answers.next().unwrap_or_else(|| last.clone());
            last.clone()
        })
        .await
    }

    /// Answers each request (head and body as text) as the function says.
    pub(crate) async fn serve(answer: impl FnMut(&str) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new((answer, Arc::clone(&requests))));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let script = Arc::clone(&script);
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !is_complete(&request) {
                        match stream.read_buf(&mut request).await {
                            Ok(0) | Err(_) => return,
                            Ok(_) => {}
                        }
                    }
                    let request = String::from_utf8(request).unwrap();
                    let answer = {
                        let mut script = script.lock().unwrap();
                        let answer = (script.0)(&request);
                        script.1.lock().unwrap().push(request);
                        answer
                    };
                    // The client may have gone: that is its right.
                    let _ = stream
                        .write_all(format!("{}\r\n", answer.head).as_bytes())
                        .await;
                    let step = answer.drip.map_or(answer.body.len().max(1), |_| 1);
                    for bytes in answer.body.chunks(step) {
                        if stream.write_all(bytes).await.is_err() {
                            break;
                        }
                        tokio::time::sleep(answer.drip.unwrap_or_default()).await;
                    }
                    if let Some(time) = answer.stall {
                        tokio::time::sleep(time).await;
                    }
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { url, requests }
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn is_complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length: ")?
            .parse()
            .ok()
    });
    body.len() >= length.unwrap_or(0)
}
