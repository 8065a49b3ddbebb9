//! Each fault as a client meets it.

use std::time::Instant;

use axum::http::Method;
use flate2::read::MultiGzDecoder;

use super::*;
use crate::error::Error;
use crate::faults::{Fault, Md5Header, RandomFaults, Target, TimeFrame, When};

fn script(at: Target, when: When, what: FaultKind) -> FaultScript {
    FaultScript {
        faults: vec![Fault { at, when, what }],
        ..FaultScript::default()
    }
}

async fn with(faults: FaultScript) -> Server {
    start(ServerOptions {
        faults,
        ..options()
    })
    .await
}

/// A server whose blobs all have the fault at those requests, and the URL of one of them.
async fn with_blob_fault(when: When, what: FaultKind) -> (Server, String) {
    let server = with(script(Target::Blobs("*".to_owned()), when, what)).await;
    let url = largest(&server).await;
    (server, url)
}

async fn largest(server: &Server) -> String {
    let mut best = (0, String::new());
    for url in listing(server).await {
        let head = Client::new().head(&url).send().await.unwrap();
        let length = header_of(&head, "content-length").parse::<u64>().unwrap();
        best = best.max((length, url));
    }
    best.1
}

async fn with_listing_fault(when: When, what: FaultKind) -> Server {
    with(script(Target::Listings, when, what)).await
}

async fn ask(server: &Server) -> Reply {
    call(server, EXPORT, &server.token()).await
}

async fn body(url: &str) -> Vec<u8> {
    get(url, &[]).await.bytes().await.unwrap().to_vec()
}

/// Bytes that come before the connection breaks, and whether it does.
async fn receive(mut reply: Reply) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    loop {
        match reply.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return (bytes, false),
            Err(_) => return (bytes, true),
        }
    }
}

fn md5(bytes: &[u8]) -> String {
    use base64::Engine;
    use md5::Digest;
    base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(bytes))
}

fn records(gzip: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    std::io::Read::read_to_end(&mut MultiGzDecoder::new(gzip), &mut records).unwrap();
    records
}

#[tokio::test]
async fn a_cut_breaks_the_connection_after_so_many_bytes_of_each_body() {
    let (server, url) = with_blob_fault(When::First(2), FaultKind::Cut { after: 100 }).await;
    let (first, broke) = receive(get(&url, &[]).await).await;
    assert_eq!((first.len(), broke), (100, true));
    let reply = get(&url, &[("range", "bytes=100-")]).await;
    assert_eq!(reply.status(), 206);
    let (second, broke) = receive(reply).await;
    assert_eq!((second.len(), broke), (100, true));
    let whole = body(&url).await;
    assert_eq!([first, second].concat(), whole[..200]);
    assert_eq!(server.faults(), BTreeMap::from([("cut", 2)]));
}

#[tokio::test]
async fn a_stall_is_a_silence_and_a_trickle_comes_in_small_pieces() {
    for what in [
        FaultKind::Stall {
            after: 50,
            millis: 300,
        },
        FaultKind::Trickle {
            piece: 100,
            millis: 30,
        },
    ] {
        let (_server, url) = with_blob_fault(When::Nth(1), what).await;
        let start = Instant::now();
        let slow = body(&url).await;
        assert!(start.elapsed() >= Duration::from_millis(290));
        assert_eq!(slow, body(&url).await);
    }
}

#[tokio::test]
async fn a_wrong_content_length_cuts_or_shortens_the_body() {
    let (_server, url) = with_blob_fault(When::Nth(1), FaultKind::ContentLength { by: 10 }).await;
    let reply = get(&url, &[]).await;
    let announced = reply.content_length().unwrap();
    let (bytes, broke) = receive(reply).await;
    assert_eq!((bytes.len() as u64, broke), (announced - 10, true));
    assert_eq!(body(&url).await, bytes);

    let (_server, url) = with_blob_fault(When::Nth(1), FaultKind::ContentLength { by: -10 }).await;
    let (bytes, broke) = receive(get(&url, &[]).await).await;
    assert!(!broke);
    assert_eq!(body(&url).await.len(), bytes.len() + 10);
}

#[tokio::test]
async fn lengths_and_ranges_may_be_withheld_as_proxies_do() {
    let (server, url) = with_blob_fault(When::Always, FaultKind::NoLength).await;
    let reply = get(&url, &[]).await;
    assert_eq!(header_of(&reply, "transfer-encoding"), "chunked");
    assert_eq!(reply.content_length(), None);
    let whole = reply.bytes().await.unwrap();
    assert!(!whole.is_empty());
    drop(server);

    let (server, url) = with_blob_fault(When::Always, FaultKind::RangeIgnored).await;
    let reply = get(&url, &[("range", "bytes=5-7")]).await;
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.bytes().await.unwrap(), whole);
    drop(server);

    for (fault, by) in [
        (FaultKind::NoLength, None),
        (FaultKind::ContentLength { by: 9 }, Some(9)),
    ] {
        let heads = Target::Heads("*".to_owned());
        let server = with(script(heads, When::Always, fault)).await;
        let url = listing(&server).await.remove(0);
        let head = Client::new().head(&url).send().await.unwrap();
        let length = head.headers().get("content-length");
        let length = length.map(|length| length.to_str().unwrap().parse::<u64>().unwrap());
        let true_length = get(&url, &[]).await.content_length().unwrap();
        assert_eq!(length, by.map(|by| true_length + by));
    }

    let server = with_listing_fault(When::Always, FaultKind::NoLength).await;
    let reply = ask(&server).await;
    assert_eq!(reply.content_length(), None);
    let bytes = reply.bytes().await.unwrap();
    let listing: Value = serde_json::from_slice(&bytes).unwrap();
    assert!(listing["exportFiles"].is_array());
}

#[tokio::test]
async fn a_truncated_blob_looks_whole_but_for_its_md5() {
    for (header, fits) in [
        (Md5Header::True, Some(false)),
        (Md5Header::Fixed, Some(true)),
        (Md5Header::Absent, None),
    ] {
        let what = FaultKind::Truncate {
            to: 120,
            md5: header,
        };
        let (_server, url) = with_blob_fault(When::Nth(1), what).await;
        let reply = get(&url, &[]).await;
        let announced = header_of(&reply, "content-md5").to_owned();
        let (bytes, broke) = receive(reply).await;
        assert_eq!((bytes.len(), broke), (120, false));
        assert_eq!(
            (!announced.is_empty()).then(|| announced == md5(&bytes)),
            fits
        );
        assert!(body(&url).await.len() > 120);
    }
}

#[tokio::test]
async fn a_corrupt_blob_has_one_other_byte() {
    for (header, fits) in [
        (Md5Header::True, Some(false)),
        (Md5Header::Fixed, Some(true)),
        (Md5Header::Absent, None),
    ] {
        let what = FaultKind::Corrupt {
            at: 30,
            md5: header,
        };
        let (_server, url) = with_blob_fault(When::Nth(1), what).await;
        let reply = get(&url, &[]).await;
        let announced = header_of(&reply, "content-md5").to_owned();
        let bytes = reply.bytes().await.unwrap();
        assert_eq!(
            (!announced.is_empty()).then(|| announced == md5(&bytes)),
            fits
        );
        let good = body(&url).await;
        let other = (0..good.len()).filter(|&at| good[at] != bytes[at]);
        assert_eq!(other.collect::<Vec<_>>(), [30]);
    }
}

#[tokio::test]
async fn a_changed_blob_is_another_version_of_the_same_records() {
    for resized in [false, true] {
        let (_server, url) = with_blob_fault(When::After(1), FaultKind::Changed { resized }).await;
        let first = get(&url, &[]).await;
        let etag = header_of(&first, "etag").to_owned();
        let old = first.bytes().await.unwrap();
        let bound = get(&url, &[("range", "bytes=5-"), ("if-match", &etag)]).await;
        assert_eq!(bound.status(), 412);
        let second = get(&url, &[]).await;
        assert_ne!(header_of(&second, "etag"), etag);
        let announced = header_of(&second, "content-md5").to_owned();
        let new = second.bytes().await.unwrap();
        assert_eq!(announced, md5(&new));
        assert_eq!(new.len() == old.len(), !resized);
        assert_ne!(new, old);
        assert_eq!(records(&new), records(&old));
    }
}

#[tokio::test]
async fn refusals_of_blobs_are_those_of_the_store() {
    let expired = |frame| FaultKind::Expired { frame };
    for (what, status, code, word) in [
        (
            expired(TimeFrame::Url),
            403,
            "AuthenticationFailed",
            "the specified time frame",
        ),
        (
            expired(TimeFrame::Key),
            403,
            "AuthenticationFailed",
            "the specified key time frame",
        ),
        (FaultKind::NotFound, 404, "BlobNotFound", "does not exist"),
        (
            FaultKind::PendingCopy,
            409,
            "PendingCopyOperation",
            "pending copy",
        ),
        (
            FaultKind::Answer {
                status: 503,
                body: None,
                retry_after: Some(7),
            },
            503,
            "ServerBusy",
            "busy",
        ),
    ] {
        let (_server, url) = with_blob_fault(When::First(2), what.clone()).await;
        for _ in 0..2 {
            let reply = get(&url, &[]).await;
            assert_eq!(reply.status().as_u16(), status, "{what:?}");
            assert_eq!(header_of(&reply, "x-ms-error-code"), code);
            assert_eq!(
                header_of(&reply, "retry-after"),
                if status == 503 { "7" } else { "" }
            );
            let text = reply.text().await.unwrap();
            assert!(text.contains(word), "{text}");
        }
        assert_eq!(get(&url, &[]).await.status(), 200);
    }
}

#[tokio::test]
async fn a_blob_and_its_head_may_be_empty_while_its_copy_is_pending() {
    let what = FaultKind::Empty {
        copy_status: Some("pending".to_owned()),
    };
    let mut faults = script(
        Target::Blobs("*part-*".to_owned()),
        When::First(1),
        what.clone(),
    );
    faults.faults.push(Fault {
        at: Target::Heads("*".to_owned()),
        when: When::First(1),
        what,
    });
    let server = with(faults).await;
    let url = &listing(&server).await[0];
    for method in [Method::GET, Method::HEAD] {
        let ask = || Client::new().request(method.clone(), url).send();
        let reply = ask().await.unwrap();
        assert_eq!(
            (reply.status().as_u16(), reply.content_length()),
            (200, Some(0))
        );
        assert_eq!(header_of(&reply, "x-ms-copy-status"), "pending");
        let reply = ask().await.unwrap();
        assert_ne!(header_of(&reply, "content-length"), "0");
    }
}

#[tokio::test]
async fn answers_and_redirects_stand_in_for_every_answer() {
    let html = || FaultKind::Answer {
        status: 500,
        body: Some("<html>".to_owned()),
        retry_after: None,
    };
    let away = || FaultKind::Redirect {
        to: "https://elsewhere.example/x".to_owned(),
    };
    for (what, status) in [(html(), 500), (away(), 302)] {
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let faults = [
            Target::Blobs("*".to_owned()),
            Target::Listings,
            Target::Token,
        ];
        let faults = faults.map(|at| Fault {
            at,
            when: When::Nth(2),
            what: what.clone(),
        });
        let server = with(FaultScript {
            faults: faults.into(),
            ..FaultScript::default()
        })
        .await;
        let (token, urls) = (server.token(), listing(&server).await);
        assert_eq!(sign_in(&server, &v2_path(), &[]).await.0, 200);
        assert_eq!(get(&urls[0], &[]).await.status(), 200);
        let requests = [
            client.get(&urls[0]),
            client
                .get(format!("{}{EXPORT}", server.url()))
                .bearer_auth(token),
            client.post(format!("{}/{}", server.url(), v2_path())),
        ];
        for request in requests {
            let reply = request.send().await.unwrap();
            assert_eq!(reply.status().as_u16(), status);
            match status {
                302 => assert_eq!(header_of(&reply, "location"), "https://elsewhere.example/x"),
                _ => assert_eq!(header_of(&reply, "content-type"), "text/html"),
            }
        }
    }
}

#[tokio::test]
async fn the_api_may_be_throttled_fail_or_answer_nonsense() {
    let answer = |status, body: Option<&str>, retry_after| FaultKind::Answer {
        status,
        body: body.map(str::to_owned),
        retry_after,
    };
    let server = with_listing_fault(When::Nth(1), answer(429, None, Some(3))).await;
    let reply = ask(&server).await;
    assert_eq!(
        (reply.status().as_u16(), header_of(&reply, "retry-after")),
        (429, "3")
    );
    assert!(json(reply).await["error"]["code"].is_string());
    assert_eq!(ask(&server).await.status(), 200);

    let server =
        with_listing_fault(When::Always, answer(200, Some("{\"exportFiles\":["), None)).await;
    assert_eq!(
        ask(&server).await.text().await.unwrap(),
        "{\"exportFiles\":["
    );
    let server = with_listing_fault(When::Always, FaultKind::Cut { after: 20 }).await;
    let (bytes, broke) = receive(ask(&server).await).await;
    assert_eq!((bytes.len(), broke), (20, true));
}

#[tokio::test]
async fn a_listing_may_be_of_another_snapshot_from_some_call_on() {
    let folder = tempfile::tempdir().unwrap();
    let Served::Generated(today) = options().served else {
        panic!("generated")
    };
    crate::write_snapshot(folder.path(), &today.next_day()).unwrap();
    let what = FaultKind::Snapshot(folder.path().to_owned());
    let server = with_listing_fault(When::After(1), what).await;
    let (old, new) = (listing(&server).await, listing(&server).await);
    assert!(old.iter().all(|url| url.contains("/2026-05-03/")));
    assert!(new.iter().all(|url| url.contains("/2026-05-04/")));
    for url in old.iter().chain(&new) {
        assert_eq!(get(url, &[]).await.status(), 200);
    }
}

#[tokio::test]
async fn a_listing_may_lose_a_blob_or_name_one_twice_or_none() {
    let number = |what| async {
        let server = with_listing_fault(When::Always, what).await;
        let files = listing(&server).await;
        let paths: std::collections::BTreeSet<_> = files
            .iter()
            .map(|url| url.split('?').next().unwrap().to_owned())
            .collect();
        (files.len(), paths.len(), files, server.url().to_owned())
    };
    let server = with(FaultScript::default()).await;
    let all = listing(&server).await.len();
    let (urls, paths, ..) = number(FaultKind::BlobMissing).await;
    assert_eq!((urls, paths), (all - 1, all - 1));
    let (urls, paths, files, _) = number(FaultKind::BlobTwice).await;
    assert_eq!((urls, paths), (all + 1, all));
    assert_ne!(files.first(), files.last());
    let (urls, paths, files, url) = number(FaultKind::ExtraUrl("{origin}/../x".to_owned())).await;
    assert_eq!((urls, paths), (all + 1, all + 1));
    assert!(files.contains(&format!("{url}/../x")));
}

#[tokio::test]
async fn a_listing_may_end_the_urls_of_others_and_its_own_soon() {
    let server = with_listing_fault(When::Nth(2), FaultKind::ContainersRemoved).await;
    let (old, new) = (listing(&server).await, listing(&server).await);
    assert_eq!(get(&old[0], &[]).await.status(), 404);
    assert_eq!(get(&new[0], &[]).await.status(), 200);

    let server = with_listing_fault(When::Nth(1), FaultKind::UrlLifetime { seconds: 1 }).await;
    let (short, long) = (listing(&server).await, listing(&server).await);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(get(&short[0], &[]).await.status(), 403);
    assert_eq!(get(&long[0], &[]).await.status(), 200);
}

#[tokio::test]
async fn a_huge_listing_is_still_json() {
    let server = with_listing_fault(When::Always, FaultKind::Huge { mebibytes: 3 }).await;
    let reply = ask(&server).await;
    assert_eq!(reply.content_length(), None);
    let bytes = reply.bytes().await.unwrap();
    assert!(bytes.len() > 3 << 20);
    let listing: Value = serde_json::from_slice(&bytes).unwrap();
    assert!(!listing["exportFiles"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn etags_may_differ_by_container_and_the_md5_be_withheld() {
    let server = with(FaultScript {
        etag_by_container: true,
        without_md5: true,
        ..FaultScript::default()
    })
    .await;
    let mut etags = Vec::new();
    for _ in 0..2 {
        let url = largest(&server).await;
        let reply = get(&url, &[]).await;
        assert_eq!(header_of(&reply, "content-md5"), "");
        let etag = header_of(&reply, "etag").to_owned();
        let resumed = get(&url, &[("range", "bytes=9-"), ("if-match", &etag)]).await;
        assert_eq!(
            (resumed.status().as_u16(), header_of(&resumed, "etag")),
            (206, etag.as_str())
        );
        etags.push(etag);
    }
    assert_ne!(etags[0], etags[1]);
}

#[tokio::test]
async fn one_blob_is_named_by_its_place_and_some_by_a_pattern() {
    let not_found = |at| script(at, When::Always, FaultKind::NotFound);
    let missing = |faults| async {
        let server = with(faults).await;
        let mut urls = listing(&server).await;
        urls.sort();
        let mut missing = Vec::new();
        for (place, url) in urls.iter().enumerate() {
            if get(url, &[]).await.status() == 404 {
                missing.push(place);
            }
        }
        (missing, urls)
    };
    assert_eq!(missing(not_found(Target::Blob(2))).await.0, [2]);
    let (found, urls) = missing(not_found(Target::Blobs("*_RbacGroupId=0/*".to_owned()))).await;
    assert!(!found.is_empty() && found.len() < urls.len());
    for (place, url) in urls.iter().enumerate() {
        assert_eq!(found.contains(&place), url.contains("_RbacGroupId=0/"));
    }
}

#[tokio::test]
async fn random_faults_spoil_requests_and_are_counted() {
    let server = with(FaultScript {
        random: Some(RandomFaults {
            seed: 5,
            rate: 0.5,
            api_rate: 0.0,
        }),
        ..FaultScript::default()
    })
    .await;
    let urls = listing(&server).await;
    for _ in 0..10 {
        for url in &urls {
            if let Ok(reply) = Client::new().get(url).send().await {
                receive(reply).await;
            }
        }
    }
    let faults = server.faults();
    let requests = 10 * urls.len() as u64;
    let total: u64 = faults.values().sum();
    assert!(
        (requests / 3..requests * 2 / 3).contains(&total),
        "{faults:?}"
    );
    assert!(faults.len() >= 6, "{faults:?}");
}

#[tokio::test]
async fn a_script_that_makes_no_sense_starts_no_server() {
    let faults = script(Target::Token, When::Always, FaultKind::NotFound);
    let started = Server::start(ServerOptions {
        faults,
        ..options()
    })
    .await;
    assert!(matches!(started.err(), Some(Error::Faults { .. })));
}
