//! Blobs over a network that cuts, stalls, lies and changes its mind.

use std::io::Read;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use dataset::BlobPath;
use extractor::{ExtractorError, HttpClient, Spool};

use crate::fixture::{
    ETAG, SIGNATURE, blob, body, http, http_that_waits, md5_of, source_listed, spools, store,
};
use crate::server::{Answer, TestServer};

fn content(spool: Spool) -> Vec<u8> {
    let mut content = Vec::new();
    spool
        .into_reader()
        .unwrap()
        .read_to_end(&mut content)
        .unwrap();
    content
}

/// Downloads what was listed five minutes ago, and holds the promise about progress and memory on success and on failure.
async fn download(base: &str) -> Result<Vec<u8>, ExtractorError> {
    download_by(http(), TimeDelta::minutes(5), base).await
}

async fn download_right_after_listing(base: &str) -> Result<Vec<u8>, ExtractorError> {
    download_by(http(), TimeDelta::zero(), base).await
}

async fn download_hastily(base: &str) -> Result<Vec<u8>, ExtractorError> {
    let http = http_that_waits(Duration::from_millis(200));
    download_by(http, TimeDelta::minutes(5), base).await
}

async fn download_by(
    http: HttpClient,
    listed_ago: TimeDelta,
    base: &str,
) -> Result<Vec<u8>, ExtractorError> {
    let spools = spools();
    let reported = AtomicI64::new(0);
    let progress = |delta| {
        reported.fetch_add(delta, Ordering::Relaxed);
    };
    let source = source_listed(listed_ago, base, store(http, &spools)).await;
    let path = BlobPath::parse(&blob(1)).unwrap();
    let result = source.fetch(&path, &progress).await;
    let len = result.as_ref().map_or(0, Spool::len) as i64;
    assert_eq!(
        reported.load(Ordering::Relaxed),
        len,
        "progress adds up to what is kept"
    );
    let content = result.map(content);
    assert_eq!(spools.available(), 1 << 20, "all memory is given back");
    if let Err(error) = &content {
        assert!(!format!("{error} {error:?}").contains("sig="), "{error:?}");
    }
    content
}

/// Whether the request has the header line.
fn has(request: &str, header: &str) -> bool {
    request
        .to_ascii_lowercase()
        .lines()
        .any(|line| line == header.to_ascii_lowercase())
}

fn ranged(body: &[u8], from: usize) -> Answer {
    let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
    Answer::whole(206, &[ETAG, ("Content-Range", &range)], &body[from..])
}

#[tokio::test]
async fn the_signature_is_sent_byte_for_byte_and_no_token_with_it() {
    let body = body(1000);
    let server = TestServer::start(vec![Answer::whole(200, &[ETAG], &body)]).await;
    assert_eq!(download(&server.url).await.unwrap(), body);
    let request = server.requests().remove(0);
    let line = request.lines().next().unwrap().to_owned();
    assert!(
        line.ends_with(&format!("&sr=b&sp=r&sig={SIGNATURE} HTTP/1.1")),
        "{line}"
    );
    assert!(
        !request.to_ascii_lowercase().contains("authorization"),
        "{request}"
    );
    assert!(
        !request.to_ascii_lowercase().contains("accept-encoding"),
        "{request}"
    );
}

#[tokio::test]
async fn resumes_after_cuts_and_stalls_without_duplicates() {
    let body = body(5000);
    let length = body.len().to_string();
    let announced = [
        ETAG,
        ("Content-Length", length.as_str()),
        ("Content-MD5", &md5_of(&body)),
    ];
    let rest = [
        ETAG,
        ("Content-Length", "3800"),
        ("Content-Range", "bytes 1200-4999/5000"),
    ];
    let server = TestServer::start(vec![
        Answer::new(200, &announced).body(&body[..1200]),
        Answer::new(206, &rest)
            .body(&body[1200..3000])
            .stall(Duration::from_secs(60)),
        Answer::whole(503, &[], "busy"),
        ranged(&body, 3000),
    ])
    .await;
    assert_eq!(download_hastily(&server.url).await.unwrap(), body);
    let requests = server.requests();
    assert_eq!(requests.len(), 4);
    assert!(has(&requests[1], "range: bytes=1200-") && has(&requests[1], "if-match: \"v1\""));
    assert!(has(&requests[2], "range: bytes=3000-") && has(&requests[3], "range: bytes=3000-"));
}

#[tokio::test]
async fn resumes_into_a_file_when_memory_is_short() {
    let body = body(3 << 20);
    let length = body.len().to_string();
    let server = TestServer::start(vec![
        Answer::new(200, &[ETAG, ("Content-Length", &length)]).body(&body[..1 << 20]),
        ranged(&body, 1 << 20),
    ])
    .await;
    assert_eq!(download(&server.url).await.unwrap(), body);
}

#[tokio::test]
async fn a_range_that_does_not_fit_is_not_appended() {
    let body = body(5000);
    for range in [
        "bytes 1199-4999/5000",
        "bytes 1200-4999/6000",
        "bytes 1200-4998/5000",
        "nonsense",
    ] {
        let server = TestServer::start(vec![
            Answer::new(200, &[ETAG, ("Content-Length", "5000")]).body(&body[..1200]),
            Answer::whole(206, &[ETAG, ("Content-Range", range)], &body[1200..]),
            Answer::whole(200, &[ETAG], &body),
        ])
        .await;
        assert_eq!(download(&server.url).await.unwrap(), body, "{range}");
        assert!(
            !server.requests()[2].to_ascii_lowercase().contains("range:"),
            "{range}"
        );
    }
}

#[tokio::test]
async fn a_server_that_ignores_ranges_starts_the_body_anew() {
    let body = body(5000);
    let server = TestServer::start(vec![
        Answer::new(200, &[ETAG, ("Content-Length", "5000")]).body(&body[..1200]),
        Answer::whole(200, &[ETAG], &body),
    ])
    .await;
    assert_eq!(download(&server.url).await.unwrap(), body);
}

#[tokio::test]
async fn a_blob_that_changed_under_way_is_fetched_again_and_not_for_ever() {
    let (old, new) = (body(5000), body(6000));
    let range = ("Content-Range", "bytes 1200-4999/5000");
    let cut = Answer::new(200, &[ETAG, ("Content-Length", "5000")]).body(&old[..1200]);
    for changed in [
        Answer::whole(412, &[("x-ms-error-code", "ConditionNotMet")], ""),
        Answer::whole(206, &[("ETag", "\"v2\""), range], &old[1200..]),
    ] {
        let whole = Answer::whole(200, &[("ETag", "\"v2\"")], &new);
        let server = TestServer::start(vec![cut.clone(), changed.clone(), whole]).await;
        assert_eq!(download(&server.url).await.unwrap(), new);
        assert!(!server.requests()[2].to_ascii_lowercase().contains("range:"));

        let again = [cut.clone(), changed];
        let answers = [&again[..], &again, &again].concat();
        let server = TestServer::start(answers).await;
        let error = download(&server.url).await.unwrap_err();
        assert!(
            matches!(error, ExtractorError::BlobChanged { .. }),
            "{error}"
        );
        assert_eq!(server.requests().len(), 6);
    }
}

#[tokio::test]
async fn a_wrong_length_is_never_taken_for_the_whole() {
    let body = body(1000);
    let too_long = TestServer::serve({
        let body = body.clone();
        move |request| {
            if request.to_ascii_lowercase().contains("range:") {
                Answer::whole(416, &[("Content-Range", "bytes */1000")], "")
            } else {
                Answer::new(200, &[ETAG, ("Content-Length", "1500")]).body(&body)
            }
        }
    })
    .await;
    let error = download(&too_long.url).await.unwrap_err();
    let told = ExtractorError::LengthMismatch {
        blob: String::new(),
        expected: 1500,
        received: 1000,
    };
    assert_eq!(
        error.to_string().split(" has ").nth(1),
        told.to_string().split(" has ").nth(1)
    );
}

/// A body in chunks of 300 bytes; without the last one it is cut.
fn chunked(headers: &[(&str, &str)], body: &[u8], whole: bool) -> Answer {
    let mut wire = Vec::new();
    for chunk in body.chunks(300) {
        wire.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        wire.extend(chunk);
        wire.extend(b"\r\n");
    }
    if whole {
        wire.extend(b"0\r\n\r\n");
    }
    let headers = [headers, &[ETAG, ("Transfer-Encoding", "chunked")]].concat();
    Answer::new(200, &headers).body(wire)
}

#[tokio::test]
async fn a_body_in_chunks_needs_no_length_and_is_resumed_like_others() {
    let body = body(1000);
    let server = TestServer::start(vec![chunked(&[], &body, true)]).await;
    assert_eq!(download(&server.url).await.unwrap(), body);
    assert_eq!(server.requests().len(), 1);

    let cut = chunked(&[], &body[..600], false);
    for (rest, requests) in [
        (ranged(&body, 600), 2),
        // A server that ignores ranges.
        (chunked(&[], &body, true), 2),
    ] {
        let server = TestServer::start(vec![cut.clone(), rest]).await;
        assert_eq!(download(&server.url).await.unwrap(), body);
        assert_eq!(server.requests().len(), requests);
        assert!(has(&server.requests()[1], "range: bytes=600-"));
    }

    // Into a file when memory is short.
    let long = self::body(3 << 20);
    let server = TestServer::start(vec![chunked(&[], &long, true)]).await;
    assert_eq!(download(&server.url).await.unwrap(), long);

    let empty = chunked(&[], b"", true);
    let server = TestServer::start(vec![empty.clone(), chunked(&[], &body, true)]).await;
    assert_eq!(download(&server.url).await.unwrap(), body);
    let server = TestServer::start(vec![empty]).await;
    let error = download(&server.url).await.unwrap_err();
    assert!(matches!(error, ExtractorError::BlobEmpty { .. }), "{error}");
    let pending = chunked(&[("x-ms-copy-status", "pending")], &body, true);
    let server = TestServer::start(vec![pending, chunked(&[], &body, true)]).await;
    assert_eq!(download(&server.url).await.unwrap(), body);
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_is_whole_by_a_size_asked_for() {
    let body = body(1000);
    let of_size = Answer::whole(206, &[ETAG, ("Content-Range", "bytes 0-0/1000")], "x");
    let endless = Answer::new(200, &[ETAG]).body(&body);
    let cut = Answer::new(200, &[ETAG]).body(&body[..700]);
    let answers = vec![cut, of_size.clone(), ranged(&body, 700)];
    let server = TestServer::start(answers).await;
    assert_eq!(download(&server.url).await.unwrap(), body);
    assert!(has(&server.requests()[1], "range: bytes=0-0"));
    assert!(has(&server.requests()[2], "range: bytes=700-"));

    let server = TestServer::start(vec![endless.clone(), of_size]).await;
    assert_eq!(download(&server.url).await.unwrap(), body);

    // Nobody knows whether it was cut.
    let server = TestServer::start(vec![endless]).await;
    let error = download(&server.url).await.unwrap_err();
    assert!(
        error.to_string().contains("no length of any kind"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 2);
}

/// A server without `ETag`, whose first body is cut after 1,200 bytes, of which it has damaged one at times.
fn cut_and_resumed_by_md5(body: &[u8], damaged: bool) -> Vec<Answer> {
    let mut first = body[..1200].to_vec();
    first[500] ^= u8::from(damaged);
    let (length, md5) = (body.len().to_string(), md5_of(body));
    let range = format!("bytes 1200-{}/{length}", body.len() - 1);
    let whole = [("Content-Length", length.as_str()), ("Content-MD5", &md5)];
    let rest = [("Content-Range", &*range), ("x-ms-blob-content-md5", &md5)];
    vec![
        Answer::new(200, &whole).body(first),
        Answer::whole(206, &rest, &body[1200..]),
    ]
}

#[tokio::test]
async fn what_no_etag_holds_together_is_proven_by_its_md5() {
    // In memory and in a file.
    for len in [5000, 3 << 20] {
        let body = body(len);
        let server = TestServer::start(cut_and_resumed_by_md5(&body, false)).await;
        assert_eq!(download(&server.url).await.unwrap(), body);
        assert_eq!(server.requests().len(), 2);

        let mut answers = cut_and_resumed_by_md5(&body, true);
        answers.push(Answer::whole(200, &[], &body));
        let server = TestServer::start(answers).await;
        assert_eq!(download(&server.url).await.unwrap(), body);
        let requests = server.requests();
        assert_eq!(requests.len(), 3);
        assert!(has(&requests[1], "range: bytes=1200-"));
        assert!(!requests[2].to_ascii_lowercase().contains("range:"));
    }
}

#[tokio::test]
async fn a_wrong_md5_time_after_time_is_an_error() {
    let answers = cut_and_resumed_by_md5(&body(5000), true);
    let server = TestServer::start([&answers[..], &answers, &answers].concat()).await;
    let error = download(&server.url).await.unwrap_err();
    assert!(
        matches!(error, ExtractorError::ChecksumMismatch { .. }),
        "{error}"
    );
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn an_empty_body_is_waited_for_while_its_copy_is_pending() {
    let body = body(1000);
    let pending = Answer::whole(200, &[ETAG, ("x-ms-copy-status", "pending")], "");
    let done = Answer::whole(200, &[ETAG, ("x-ms-copy-status", "success")], &body);
    let server = TestServer::start(vec![pending.clone(), pending.clone(), done]).await;
    assert_eq!(download(&server.url).await.unwrap(), body);

    let server = TestServer::start(vec![pending]).await;
    let error = download(&server.url).await.unwrap_err();
    assert!(
        matches!(&error, ExtractorError::BlobEmpty { copy_status, .. } if copy_status == "pending")
    );
    assert_eq!(server.requests().len(), 5);
    let failed = Answer::whole(200, &[ETAG, ("x-ms-copy-status", "failed")], "");
    let server = TestServer::start(vec![failed]).await;
    assert!(download(&server.url).await.is_err());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_missing_blob_is_waited_for_only_right_after_the_listing() {
    let body = body(1000);
    let missing = Answer::whole(404, &[("x-ms-error-code", "BlobNotFound")], "");
    let server = TestServer::start(vec![missing.clone(), Answer::whole(200, &[], &body)]).await;
    assert_eq!(
        download_right_after_listing(&server.url).await.unwrap(),
        body
    );
    let server = TestServer::start(vec![missing]).await;
    let error = download(&server.url).await.unwrap_err();
    assert!(
        matches!(error, ExtractorError::BlobMissing { .. }),
        "{error}"
    );
    assert_eq!(server.requests().len(), 3, "once by each URL");
}

fn forbidden(code: &str, detail: &str) -> Answer {
    let xml = format!(
        "\u{feff}<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>Server failed to authenticate the \
         request.</Message><AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail></Error>"
    );
    Answer::whole(403, &[("x-ms-error-code", code)], xml)
}

#[tokio::test]
async fn refusals_of_the_blob_store_are_told_apart() {
    let frame =
        "Signature not valid in the specified key time frame: Key start [x] - Key expiry [y]";
    let body = body(10);
    let early = forbidden("AuthenticationFailed", frame);
    let server = TestServer::start(vec![early.clone(), Answer::whole(200, &[], &body)]).await;
    assert_eq!(
        download_right_after_listing(&server.url).await.unwrap(),
        body
    );

    let server = TestServer::start(vec![early]).await;
    let error = download(&server.url).await.unwrap_err();
    assert!(
        matches!(error, ExtractorError::UrlExpired { .. }),
        "{error}"
    );
    assert_eq!(server.requests().len(), 3, "once by each URL");

    for refused in [
        forbidden(
            "AuthenticationFailed",
            "Signature did not match. String to sign used was r",
        ),
        forbidden("AuthorizationPermissionMismatch", ""),
        // Not even the store's words: no sign that the URL has expired, which it has not by its own times.
        Answer::whole(403, &[], "<html>blocked by policy</html>"),
    ] {
        let server = TestServer::start(vec![refused]).await;
        let error = download(&server.url).await.unwrap_err();
        assert!(
            matches!(error, ExtractorError::BlobRefused { .. }),
            "{error}"
        );
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn redirects_are_errors_that_name_the_other_host_only() {
    let location = "https://evil.example/steal?sig=Top%2BSecret";
    let server = TestServer::start(vec![Answer::whole(302, &[("Location", location)], "")]).await;
    let error = download(&server.url).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("redirects (302) to https://evil.example,"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_never_gets_on_is_given_up() {
    let server = TestServer::start(vec![Answer::whole(500, &[], "<html>")]).await;
    let error = download(&server.url).await.unwrap_err();
    assert!(
        matches!(error, ExtractorError::Unavailable { .. }),
        "{error}"
    );
    assert_eq!(server.requests().len(), 5);
    let stalled = Answer::new(200, &[ETAG, ("Content-Length", "9")]).stall(Duration::from_secs(60));
    let server = TestServer::start(vec![stalled]).await;
    let error = download_hastily(&server.url).await.unwrap_err();
    assert!(matches!(error, ExtractorError::Timeout { .. }), "{error}");
    let error = download("http://127.0.0.1:1").await.unwrap_err();
    assert!(
        matches!(error, ExtractorError::Connection { .. }),
        "{error}"
    );
}

/// What the service says of the blob's size, and how many requests that took.
async fn size(answers: Vec<Answer>) -> (Result<Option<u64>, ExtractorError>, usize) {
    let server = TestServer::start(answers).await;
    let source = source_listed(TimeDelta::minutes(5), &server.url, store(http(), &spools())).await;
    let size = source.size(&BlobPath::parse(&blob(1)).unwrap()).await;
    let requests = server.requests();
    for request in &requests {
        assert!(request.starts_with("GET /temp-1/2026-05-03/"), "{request}");
        assert!(has(request, "range: bytes=0-0"), "{request}");
    }
    (size, requests.len())
}

#[tokio::test]
async fn a_size_is_that_of_the_whole_in_the_answer_to_its_first_byte() {
    let part = Answer::whole(206, &[ETAG, ("Content-Range", "bytes 0-0/4711")], "x");
    // The body is not waited for.
    let whole = Answer::new(200, &[ETAG, ("Content-Length", "4711")]);
    let whole = whole.body("abc").stall(Duration::from_secs(60));
    for answer in [part.clone(), whole] {
        let (size, requests) = size(vec![answer]).await;
        assert_eq!((size.unwrap(), requests), (Some(4711), 1));
    }
    let silent = Answer::whole(206, &[ETAG, ("Content-Range", "bytes 0-0/*")], "x");
    for answer in [silent, chunked(&[], b"abc", true)] {
        assert_eq!(size(vec![answer]).await.0.unwrap(), None);
    }
    let copying = ("x-ms-copy-status", "pending");
    for pending in [
        Answer::whole(416, &[("Content-Range", "bytes */0")], ""),
        Answer::whole(200, &[copying], ""),
        Answer::whole(206, &[copying, ("Content-Range", "bytes 0-0/4711")], "x"),
    ] {
        let (size, requests) = size(vec![pending, part.clone()]).await;
        assert_eq!((size.unwrap(), requests), (Some(4711), 2));
    }
    let (size, requests) = size(vec![Answer::whole(403, &[], "<html>")]).await;
    let error = size.unwrap_err();
    assert!(
        matches!(error, ExtractorError::BlobRefused { .. }),
        "{error}"
    );
    assert_eq!(requests, 1, "a URL that is still valid is not replaced");
}

#[tokio::test]
async fn any_sequence_of_faults_yields_exactly_the_body() {
    for seed in 0..60 {
        let whole = body(20_000);
        let (truth, md5) = (whole.clone(), md5_of(&whole));
        let mut random = fastrand::Rng::with_seed(seed);
        let mut faults = 4;
        let server = TestServer::serve(move |request| {
            let asked = request.to_ascii_lowercase();
            let from = asked
                .split_once("range: bytes=")
                .map(|(_, rest)| rest.split_once('-').unwrap().0.parse::<usize>().unwrap());
            // Some servers ignore a range.
            let from = from.filter(|_| random.usize(..6) > 0);
            let (status, start) = from.map_or((200, 0), |from| (206, from));
            let rest = &whole[start..];
            let length = rest.len().to_string();
            let range = format!("bytes {start}-{}/{}", whole.len() - 1, whole.len());
            let mut headers = vec![ETAG, ("Content-Length", length.as_str())];
            headers.push(if from.is_some() {
                ("Content-Range", &range)
            } else {
                ("Content-MD5", &md5)
            });
            let answer = Answer::new(status, &headers);
            if faults == 0 {
                return answer.body(rest);
            }
            faults -= 1;
            match random.usize(..4) {
                0 => Answer::whole(503, &[], "busy"),
                1 => Answer::new(
                    200,
                    &[
                        ETAG,
                        ("x-ms-copy-status", "pending"),
                        ("Content-Length", "0"),
                    ],
                ),
                _ => answer.body(&rest[..random.usize(..rest.len())]),
            }
        })
        .await;
        assert_eq!(download(&server.url).await.unwrap(), truth, "seed {seed}");
    }
}
