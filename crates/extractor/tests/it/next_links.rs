//! Next links: which are followed, and what becomes of those that lead in a circle, to another snapshot or nowhere.

use std::sync::{Arc, Mutex};

use extractor::{ExtractorError, LocalBlob, PageLimits, PagesError, PagesRequest};

use crate::page_fixture::{
    ENDPOINT, Place, SECRET, all_lines, error_of, host, ids, link, page, page_asked, paged,
    pages_asked, request, skip_token, three_pages,
};
use crate::server::{Answer, TestServer};

#[tokio::test]
async fn links_elsewhere_are_not_followed() {
    let other = TestServer::serve(three_pages).await;
    let other_port = other.url.strip_prefix("http://").unwrap().to_owned();
    for (to, words) in [
        (
            format!("http://{other_port}{ENDPOINT}?$skiptoken={SECRET}"),
            "another port",
        ),
        (
            format!("https://HOST{ENDPOINT}?$skiptoken={SECRET}"),
            "another scheme",
        ),
        (
            format!("https://evil.example{ENDPOINT}?$skiptoken={SECRET}"),
            "evil.example",
        ),
        (
            format!("//evil.example{ENDPOINT}?$skiptoken={SECRET}"),
            "evil.example",
        ),
        (format!("http://user:{SECRET}@HOST{ENDPOINT}"), "user name"),
        (
            format!("http://HOST@evil.example{ENDPOINT}?{SECRET}"),
            "evil.example",
        ),
        (
            format!("http://HOST/api/users?$skiptoken={SECRET}"),
            "not to the endpoint",
        ),
    ] {
        let service = TestServer::serve(move |request| {
            page(&["a"], Some(&to.replace("HOST", &host(request))))
        })
        .await;
        let place = Place::new();
        let error = error_of(paged(&service.url).fetch(&request(), &place.folder()).await);
        assert!(
            matches!(error, PagesError::NextLinkRefused { .. }),
            "{error}"
        );
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(service.requests().len(), 1);
        assert!(place.names().is_empty());
    }
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn pages_without_end_are_an_error() {
    let endless = |error: &PagesError, words: &str| {
        assert!(matches!(error, PagesError::Endless { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    // 0, 1, 2, 1, …
    let circle = TestServer::serve(|request| {
        let next = page_asked(request) % 2 + 1;
        page(&["a"], Some(&link(&host(request), next)))
    })
    .await;
    let place = Place::new();
    let error = error_of(paged(&circle.url).fetch(&request(), &place.folder()).await);
    endless(&error, "was asked for before");
    assert_eq!(circle.requests().len(), 3);
    assert!(place.names().is_empty());

    let to_itself = TestServer::serve(|request| {
        page(
            &["a"],
            Some(&format!("http://{}{ENDPOINT}?pageSize=2", host(request))),
        )
    })
    .await;
    let error = error_of(
        paged(&to_itself.url)
            .fetch(&request(), &place.folder())
            .await,
    );
    endless(&error, "was asked for before");

    let empty = |until: u32| {
        move |request: &str| {
            let asked = page_asked(request);
            let next = link(&host(request), asked + 1);
            let rows: &[&str] = if asked == 0 || asked > until {
                &["a"]
            } else {
                &[]
            };
            page(rows, (asked < 9).then_some(&next))
        }
    };
    let few = TestServer::serve(empty(3)).await;
    let fetched = paged(&few.url)
        .fetch(&request(), &place.folder())
        .await
        .unwrap();
    assert_eq!((fetched.pages.len(), fetched.rows()), (10, 7));
    assert_eq!(LocalBlob::of_pages(&fetched).len(), 7);
    fetched.delete().unwrap();
    let many = TestServer::serve(empty(4)).await;
    let error = error_of(paged(&many.url).fetch(&request(), &place.folder()).await);
    endless(&error, "4 pages have no rows");
    assert_eq!(many.requests().len(), 5);

    for (limits, words) in [
        (
            PageLimits {
                pages: 2,
                ..PageLimits::default()
            },
            "more than 2 pages",
        ),
        (
            PageLimits {
                total_bytes: 300,
                ..PageLimits::default()
            },
            "more than 300 bytes",
        ),
    ] {
        let service = TestServer::serve(three_pages).await;
        let limited = PagesRequest {
            limits,
            ..request()
        };
        endless(
            &error_of(paged(&service.url).fetch(&limited, &place.folder()).await),
            words,
        );
    }
}

#[tokio::test]
async fn two_snapshots_are_never_mixed() {
    let replaced = Arc::new(Mutex::new(true));
    let answer = {
        let replaced = Arc::clone(&replaced);
        move |request: &str| {
            if page_asked(request) == 1 && *replaced.lock().unwrap() {
                let token = skip_token("2026-05-03/1601/", 2);
                let host = host(request);
                let next =
                    format!("http://{host}/api/v1.0/machines/softwarebymachine?$skiptoken={token}");
                return page(&["x"], Some(&next));
            }
            three_pages(request)
        }
    };
    let service = TestServer::serve(answer).await;
    let place = Place::new();
    let api = paged(&service.url);
    let error = error_of(api.fetch(&request(), &place.folder()).await);
    let PagesError::Call(ExtractorError::SnapshotReplaced { listed, now }) = error else {
        panic!("{error}");
    };
    assert!(listed < now);
    assert!(place.names().is_empty());
    *replaced.lock().unwrap() = false;
    let fetched = api.fetch(&request(), &place.folder()).await.unwrap();
    assert_eq!(pages_asked(&service), [0, 1, 0, 1, 2]);
    assert_eq!(all_lines(&fetched), ids("abcde"));
}

#[tokio::test]
async fn an_expired_link_begins_once_again() {
    for status in [400, 404, 410] {
        let refusals = Arc::new(Mutex::new(1));
        let answer = {
            let refusals = Arc::clone(&refusals);
            move |request: &str| {
                let mut left = refusals.lock().unwrap();
                if page_asked(request) == 1 && *left > 0 {
                    *left -= 1;
                    let echoed = request.lines().next().unwrap();
                    let body =
                        format!(r#"{{"error":{{"code":"InvalidInput","message":"{echoed}"}}}}"#);
                    return Answer::whole(status, &[], body);
                }
                three_pages(request)
            }
        };
        let service = TestServer::serve(answer).await;
        let place = Place::new();
        let api = paged(&service.url);
        let fetched = api.fetch(&request(), &place.folder()).await.unwrap();
        assert_eq!(all_lines(&fetched), ids("abcde"));
        assert_eq!(pages_asked(&service), [0, 1, 0, 1, 2]);
        fetched.delete().unwrap();

        *refusals.lock().unwrap() = 2;
        let error = error_of(api.fetch(&request(), &place.folder()).await);
        assert!(
            matches!(error, PagesError::NextLinkExpired { .. }),
            "{error}"
        );
        assert_eq!(pages_asked(&service)[5..], [0, 1, 0, 1]);
        assert!(place.names().is_empty());
    }
}
