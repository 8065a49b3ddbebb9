//! Runs that outlive their URLs.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dataset::BlobPath;
use extractor::{BlobSource, Credential, ExtractorError, discover};

use crate::fixture::{self, api, blob, body, budget, http, listing, md5_of, signed, spools, store};
use crate::server::{Answer, TestServer};

const TIME: &str = "2026-05-03T10:01:00Z";
const BLOBS: u32 = 20;

/// A service whose n-th listing (from 0) has its URLs in `temp-<n>`, and a blob store beside it on the same host.
/// `ends` and `time` say the n-th listing's expiry and snapshot time.
async fn service(
    ends: fn(usize) -> DateTime<Utc>,
    time: fn(usize) -> &'static str,
    mut blob: impl FnMut(&str) -> Answer + Send + 'static,
) -> (TestServer, Arc<AtomicUsize>) {
    let listings = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&listings);
    let server = TestServer::serve(move |request| {
        if !request.contains("InfoGatheringExport HTTP") {
            return blob(request);
        }
        let number = counted.fetch_add(1, Ordering::SeqCst);
        let host = request
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .unwrap();
        let container = format!("temp-{number}");
        let urls: Vec<String> = (1..=BLOBS)
            .map(|part| signed(&format!("http://{host}"), &container, part, ends(number)))
            .collect();
        Answer::whole(200, &[], listing(time(number), &urls))
    })
    .await;
    (server, listings)
}

async fn source(server: &TestServer) -> BlobSource {
    let credential = Credential::Token("tok".to_owned().into());
    let budget = budget(None, Duration::from_secs(1));
    let api = api(&server.url, credential, budget);
    fixture::source(api, store(http(), &spools())).await
}

async fn fetch(source: &BlobSource, part: u32) -> Result<Vec<u8>, ExtractorError> {
    let path = BlobPath::parse(&blob(part)).unwrap();
    let spool = source.fetch(&path, &|_| {}).await?;
    let mut content = Vec::new();
    spool
        .into_reader()
        .unwrap()
        .read_to_end(&mut content)
        .unwrap();
    Ok(content)
}

fn in_an_hour(_: usize) -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

fn expired() -> Answer {
    Answer::whole(403, &[("x-ms-error-code", "AuthenticationFailed")], "")
}

#[tokio::test]
async fn many_waiting_downloads_cost_one_listing() {
    let ends = |listing| Utc::now() + TimeDelta::hours(if listing == 0 { -1 } else { 1 });
    let (server, listings) = service(
        ends,
        |_| TIME,
        |request| {
            if request.contains("/temp-0/") {
                expired()
            } else {
                Answer::whole(200, &[], request)
            }
        },
    )
    .await;
    let source = source(&server).await;
    let fetched = futures::future::join_all((1..=BLOBS).map(|part| fetch(&source, part))).await;
    for (part, content) in (1..=BLOBS).zip(fetched) {
        let request = String::from_utf8(content.unwrap()).unwrap();
        assert!(
            request.contains(&format!("/temp-1/{}", blob(part))),
            "{request}"
        );
    }
    assert_eq!(listings.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn urls_refused_before_their_time_cost_one_listing_too() {
    let (server, listings) = service(
        in_an_hour,
        |_| TIME,
        |request| {
            // The service ended the key early: only the answer tells.
            let body = "<Error><Code>AuthenticationFailed</Code></Error>";
            let date = (Utc::now() + TimeDelta::hours(2)).to_rfc2822();
            if request.contains("/temp-0/") {
                Answer::whole(403, &[("Date", &date)], body)
            } else {
                Answer::whole(200, &[], "content")
            }
        },
    )
    .await;
    let source = source(&server).await;
    let fetched = futures::future::join_all((1..=BLOBS).map(|part| fetch(&source, part))).await;
    assert!(
        fetched
            .into_iter()
            .all(|content| content.unwrap() == b"content")
    );
    assert_eq!(listings.load(Ordering::SeqCst), 2);
}

/// Fetches a blob that is cut in the first container after 1,200 bytes, of which one may be damaged, and is whole in the second.
async fn fetched_from_two_containers(damaged: bool) -> (Vec<u8>, usize) {
    let whole = body(5000);
    let mut first = whole[..1200].to_vec();
    first[500] ^= u8::from(damaged);
    let (server, _) = service(
        in_an_hour,
        |_| TIME,
        move |request| {
            let md5 = md5_of(&whole);
            let lower = request.to_ascii_lowercase();
            let date = (Utc::now() + TimeDelta::hours(2)).to_rfc2822();
            match (
                request.contains("/temp-0/"),
                lower.contains("range: bytes=1200-"),
            ) {
                (true, false) => {
                    let headers = [
                        ("ETag", "\"old\""),
                        ("Content-MD5", &md5),
                        ("Content-Length", "5000"),
                    ];
                    Answer::new(200, &headers).body(&first)
                }
                (true, true) => Answer::whole(403, &[("Date", &date)], ""),
                (false, true) if !lower.contains("if-match") => {
                    let range = ("Content-Range", "bytes 1200-4999/5000");
                    let headers = [("ETag", "\"new\""), ("x-ms-blob-content-md5", &md5), range];
                    Answer::whole(206, &headers, &whole[1200..])
                }
                (false, false) if !lower.contains("range:") => {
                    Answer::whole(200, &[("ETag", "\"new\"")], &whole)
                }
                _ => Answer::whole(400, &[], ""),
            }
        },
    )
    .await;
    let fetched = fetch(&source(&server).await, 1).await.unwrap();
    let of_blob = server.requests().into_iter();
    let requests = of_blob.filter(|request| request.contains("/temp-1/"));
    (fetched, requests.count())
}

#[tokio::test]
async fn bytes_at_hand_survive_a_new_container_if_proven() {
    assert_eq!(fetched_from_two_containers(false).await, (body(5000), 1));
}

#[tokio::test]
async fn bytes_at_hand_that_the_checksum_refutes_are_fetched_again() {
    assert_eq!(fetched_from_two_containers(true).await, (body(5000), 2));
}

#[tokio::test]
async fn without_a_checksum_a_new_container_starts_from_nothing() {
    let whole = body(5000);
    let expected = whole.clone();
    let (server, _) = service(
        in_an_hour,
        |_| TIME,
        move |request| {
            let date = (Utc::now() + TimeDelta::hours(2)).to_rfc2822();
            match (
                request.contains("/temp-0/"),
                request.to_ascii_lowercase().contains("range:"),
            ) {
                (true, false) => {
                    let headers = [("ETag", "\"old\""), ("Content-Length", "5000")];
                    Answer::new(200, &headers).body(&whole[..1200])
                }
                (true, true) => Answer::whole(403, &[("Date", &date)], ""),
                (false, false) => Answer::whole(200, &[("ETag", "\"new\"")], &whole),
                (false, true) => Answer::whole(400, &[], ""),
            }
        },
    )
    .await;
    assert_eq!(fetch(&source(&server).await, 1).await.unwrap(), expected);
}

#[tokio::test]
async fn a_newer_snapshot_is_told_to_all_and_asked_for_once() {
    let time = |listing| {
        if listing == 0 {
            TIME
        } else {
            "2026-05-03T16:01:00Z"
        }
    };
    let (server, listings) =
        service(|_| Utc::now() - TimeDelta::hours(1), time, |_| expired()).await;
    let source = source(&server).await;
    let fetched = futures::future::join_all((1..=BLOBS).map(|part| fetch(&source, part))).await;
    for result in fetched {
        let error = result.unwrap_err();
        assert!(
            matches!(error, ExtractorError::SnapshotReplaced { .. }),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .contains("of 2026-05-03T10:01:00Z by that of 2026-05-03T16:01:00Z")
        );
    }
    assert_eq!(listings.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn urls_that_never_work_do_not_eat_the_budget() {
    let (server, listings) = service(
        in_an_hour,
        |_| TIME,
        |_| {
            Answer::whole(
                403,
                &[("Date", &(Utc::now() + TimeDelta::hours(2)).to_rfc2822())],
                "",
            )
        },
    )
    .await;
    let error = fetch(&source(&server).await, 1).await.unwrap_err();
    assert!(
        matches!(error, ExtractorError::UrlExpired { .. }),
        "{error}"
    );
    assert_eq!(listings.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_source_tells_sizes_and_what_it_does_not_have() {
    let (server, _) = service(
        in_an_hour,
        |_| TIME,
        |_| Answer::new(200, &[("Content-Length", "77")]),
    )
    .await;
    let source = source(&server).await;
    let path = BlobPath::parse(&blob(1)).unwrap();
    assert_eq!(source.size(&path).await.unwrap(), Some(77));
    let error = fetch(&source, 999).await.unwrap_err();
    assert!(
        matches!(error, ExtractorError::BlobMissing { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn files_on_disk_are_a_source_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(blob(1));
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, b"on disk").unwrap();
    let found = discover(folder.path().join("**/*.json.gz").to_str().unwrap()).unwrap();
    let source = BlobSource::files(&found);
    assert_eq!(source.size(&found[0].path).await.unwrap(), Some(7));
    assert_eq!(fetch(&source, 1).await.unwrap(), b"on disk");
    assert!(matches!(
        fetch(&source, 2).await,
        Err(ExtractorError::BlobMissing { .. })
    ));
}
