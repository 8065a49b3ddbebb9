//! Page after page: what is asked and stored, where a fetch goes on, what an interrupted one leaves.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use extractor::{
    BlobSource, Credential, ExtractorError, LocalBlob, PageLimits, PagesError, PagesRequest,
};

use crate::fixture::{self, budget_of_pages, client_secret, http_that_waits, paged_by, token};
use crate::page_fixture::{
    Place, SECRET, all_lines, error_of, ids, page_asked, paged, pages_asked, request, three_pages,
};
use crate::server::{Answer, TestServer};

#[tokio::test]
async fn pages_become_blobs_of_the_snapshot() {
    let service = TestServer::serve(three_pages).await;
    let place = Place::new();
    let fetched = paged(&service.url).fetch(&request(), &place.folder()).await;
    let fetched = fetched.unwrap();

    let requests = service.requests();
    assert!(requests[0].starts_with("GET /api/machines/SoftwareByMachine?pageSize=2 HTTP/1.1"));
    assert!(requests[0].contains("authorization: Bearer "));
    assert_eq!(pages_asked(&service), [0, 1, 2]);
    assert_eq!(fetched.rows(), 5);
    assert_eq!(all_lines(&fetched), ids("abcde"));
    assert_eq!(
        fetched.generated_time().to_rfc3339(),
        "2026-05-03T10:01:00+00:00"
    );
    assert_eq!(fetched.snapshot_time, Some(fetched.generated_time()));
    assert_eq!(
        fetched.first_page_at.to_rfc3339(),
        "2026-05-03T10:02:03+00:00"
    );
    assert_eq!(
        place.names(),
        [
            "page-00000.json.gz",
            "page-00001.json.gz",
            "page-00002.json.gz",
            "pages.json"
        ]
    );

    let blobs = LocalBlob::of_pages(&fetched);
    let path = &blobs[2].path;
    let beginning = "2026-05-03/1001/SoftwareInventory/json/OrgId=47d41a0c-188d-46d3-bbea-a93dbc0bfcaa/part-00002-";
    assert!(path.as_str().starts_with(beginning), "{path}");
    assert!(path.as_str().ends_with(".c000.json.gz"), "{path}");
    assert_eq!(path.generated_time(), Some(fetched.generated_time()));
    assert_eq!(path.export_name(), Some("SoftwareInventory"));
    let jobs = blobs.iter().map(|blob| &blob.path.part_name().unwrap().job);
    assert!(jobs.clone().all(|job| job == jobs.clone().next().unwrap()));
    let spool = BlobSource::files(&blobs)
        .fetch(path, &|_| {})
        .await
        .unwrap();
    assert_eq!(spool.len(), blobs[2].size);

    assert!(!format!("{fetched:?}").contains("skiptoken"));
    fetched.delete().unwrap();
    assert!(!place.folder().exists());
}

#[tokio::test]
async fn a_fetch_goes_on_after_the_last_stored_page() {
    let is_away = Arc::new(Mutex::new(true));
    let answer = {
        let is_away = Arc::clone(&is_away);
        move |request: &str| {
            if page_asked(request) == 2 && *is_away.lock().unwrap() {
                return Answer::whole(503, &[], "<html>");
            }
            three_pages(request)
        }
    };
    let service = TestServer::serve(answer).await;
    let place = Place::new();
    let api = paged(&service.url);
    let error = error_of(api.fetch(&request(), &place.folder()).await);
    assert!(
        matches!(error, PagesError::Call(ExtractorError::Unavailable { .. })),
        "{error}"
    );
    assert_eq!(pages_asked(&service), [0, 1, 2, 2, 2]);
    assert_eq!(
        place.names(),
        ["page-00000.json.gz", "page-00001.json.gz", "pages.json"]
    );

    *is_away.lock().unwrap() = false;
    let fetched = api.fetch(&request(), &place.folder()).await.unwrap();
    assert_eq!(pages_asked(&service)[5..], [2]);
    assert_eq!(all_lines(&fetched), ids("abcde"));
    let paths: Vec<_> = fetched.pages.iter().map(|page| page.path.clone()).collect();

    // All are there: nothing is asked, and the blobs are the same.
    let used = error_of(api.fetch(&request(), &place.folder()).await);
    assert!(matches!(used, PagesError::FolderInUse { .. }), "{used}");
    drop(fetched);
    let again = api.fetch(&request(), &place.folder()).await.unwrap();
    assert_eq!(service.requests().len(), 6);
    assert!(again.pages.iter().map(|page| &page.path).eq(&paths));
    drop(again);

    // Those of another request are of no use.
    let other = PagesRequest {
        query: Vec::new(),
        ..request()
    };
    let fetched = api.fetch(&other, &place.folder()).await.unwrap();
    assert_eq!(pages_asked(&service)[6..], [0, 1, 2]);
    assert!(fetched.pages[0].path != paths[0]);
    drop(fetched);

    // So are broken ones.
    std::fs::write(place.folder().join("page-00001.json.gz"), "cut").unwrap();
    let fetched = api.fetch(&other, &place.folder()).await.unwrap();
    assert_eq!(pages_asked(&service)[9..], [0, 1, 2]);
    assert_eq!(all_lines(&fetched), ids("abcde"));
}

#[tokio::test]
async fn a_page_beyond_the_limit_leaves_no_file() {
    let service = TestServer::serve(three_pages).await;
    let limits = PageLimits {
        page_bytes: 40,
        ..PageLimits::default()
    };
    let limited = PagesRequest {
        limits,
        ..request()
    };
    let place = Place::new();
    let error = error_of(paged(&service.url).fetch(&limited, &place.folder()).await);
    assert!(
        matches!(
            error,
            PagesError::Call(ExtractorError::AnswerTooLarge { .. })
        ),
        "{error}"
    );
    assert!(place.names().is_empty());
    assert_eq!(service.requests().len(), 1);
}

#[tokio::test]
async fn a_token_is_renewed_and_a_throttled_call_waits_under_way() {
    let signed_in = Answer::whole(200, &[], r#"{"expires_in":3599,"access_token":"tok-1"}"#);
    let authority = TestServer::start(vec![signed_in]).await;
    let mut calls = 0;
    let service = TestServer::serve(move |request| {
        calls += 1;
        match calls {
            2 | 5 => Answer::whole(401, &[], r#"{"error":{"code":"Unauthorized"}}"#),
            3 => Answer::whole(429, &[("Retry-After", "1")], ""),
            _ => three_pages(request),
        }
    })
    .await;
    let place = Place::new();
    let start = std::time::Instant::now();
    let api = fixture::paged(&service.url, client_secret(&authority.url));
    let fetched = api.fetch(&request(), &place.folder()).await.unwrap();
    assert_eq!(all_lines(&fetched), ids("abcde"));
    assert_eq!(pages_asked(&service), [0, 1, 1, 1, 2, 2]);
    assert_eq!(authority.requests().len(), 3);
    assert!(start.elapsed() >= Duration::from_millis(900));
}

#[tokio::test]
async fn no_first_page_means_no_rows_where_the_request_says_so() {
    let missing = Answer::whole(404, &[], r#"{"error":{"code":"ResourceNotFound"}}"#);
    let service = TestServer::start(vec![missing]).await;
    let place = Place::new();
    let api = paged(&service.url);
    let error = error_of(api.fetch(&request(), &place.folder()).await);
    assert!(
        matches!(
            error,
            PagesError::Call(ExtractorError::UnexpectedAnswer { .. })
        ),
        "{error}"
    );
    let of_machines = PagesRequest {
        not_found_is_empty: true,
        ..request()
    };
    let fetched = api.fetch(&of_machines, &place.folder()).await.unwrap();
    assert_eq!((fetched.pages.len(), fetched.rows()), (0, 0));
    fetched.delete().unwrap();
    assert_eq!(service.requests().len(), 2);
}

#[tokio::test]
async fn a_page_that_is_cut_is_asked_again_and_leaves_no_file() {
    let body = r#"{"value":[{"deviceId":"a"},{"deviceId":"b"}]}"#;
    let cut = &body[..30];
    let announced = Answer::new(200, &[("Content-Length", "45")]).body(cut);
    let unannounced = Answer::new(200, &[]).body(cut);
    for cut in [announced, unannounced] {
        let service = TestServer::start(vec![cut.clone(), Answer::whole(200, &[], body)]).await;
        let place = Place::new();
        let fetched = paged(&service.url).fetch(&request(), &place.folder()).await;
        assert_eq!(all_lines(&fetched.unwrap()), ids("ab"));

        let service = TestServer::start(vec![cut]).await;
        let place = Place::new();
        let error = error_of(paged(&service.url).fetch(&request(), &place.folder()).await);
        assert!(
            matches!(error, PagesError::Call(ExtractorError::Connection { .. })),
            "{error}"
        );
        assert_eq!(service.requests().len(), 3);
        assert!(place.names().is_empty());
    }

    let no_page = Answer::whole(200, &[], format!(r#"{{"value":[{SECRET}]}}"#));
    let service = TestServer::start(vec![no_page]).await;
    let place = Place::new();
    let error = error_of(paged(&service.url).fetch(&request(), &place.folder()).await);
    assert!(matches!(error, PagesError::Malformed { .. }), "{error}");
    assert_eq!(service.requests().len(), 1);
}

#[tokio::test]
async fn a_page_that_stalls_or_drips_is_not_waited_for() {
    let begins = Answer::new(200, &[("Content-Length", "1000")]);
    let stalls = begins.clone().body(r#"{"value":["#);
    let drips = begins.body(" ".repeat(1000));
    for (answer, words) in [
        (stalls.stall(Duration::from_secs(60)), "timed out"),
        (
            drips.drip(Duration::from_millis(20)),
            "less than 1024 a second",
        ),
    ] {
        let service = TestServer::start(vec![answer]).await;
        let place = Place::new();
        let http = http_that_waits(Duration::from_millis(300));
        let credential = Credential::Token("tok".to_owned().into());
        let api = paged_by(&service.url, credential, budget_of_pages(1000, None), http);
        let error = error_of(api.fetch(&request(), &place.folder()).await);
        assert!(
            matches!(error, PagesError::Call(ExtractorError::Timeout { .. })),
            "{error}"
        );
        assert!(error.to_string().contains(words), "{error}");
        assert!(place.names().is_empty());
    }
}

#[tokio::test]
async fn stored_pages_whose_link_expired_are_thrown_away() {
    let calls = Arc::new(Mutex::new(0));
    let answer = {
        let calls = Arc::clone(&calls);
        move |request: &str| {
            let mut calls = calls.lock().unwrap();
            *calls += 1;
            match *calls {
                2..=4 => Answer::whole(500, &[], ""),
                5 => Answer::whole(400, &[], r#"{"error":{"code":"InvalidInput"}}"#),
                _ => three_pages(request),
            }
        }
    };
    let service = TestServer::serve(answer).await;
    let place = Place::new();
    let api = paged(&service.url);
    error_of(api.fetch(&request(), &place.folder()).await);
    assert_eq!(place.names(), ["page-00000.json.gz", "pages.json"]);
    let fetched = api.fetch(&request(), &place.folder()).await.unwrap();
    assert_eq!(pages_asked(&service), [0, 1, 1, 1, 1, 0, 1, 2]);
    assert_eq!(all_lines(&fetched), ids("abcde"));
}

#[tokio::test]
async fn calls_are_counted_by_endpoint_and_an_exhausted_budget_keeps_the_pages() {
    let service = TestServer::serve(three_pages).await;
    let place = Place::new();
    let state_file = place.path("state/rate-budget.json");
    let api = |per_minute| {
        let credential = Credential::Token(token(r#"{"tid":"t1","appid":"c1"}"#).into());
        let budget = budget_of_pages(per_minute, Some(&state_file));
        paged_by(&service.url, credential, budget, fixture::http())
    };
    let error = error_of(api(2).fetch(&request(), &place.folder()).await);
    assert!(
        matches!(
            error,
            PagesError::Call(ExtractorError::RateBudgetExhausted { .. })
        ),
        "{error}"
    );
    assert_eq!(pages_asked(&service), [0, 1]);
    // Another endpoint's calls are its own.
    let of_machines = PagesRequest {
        endpoint: "/api/machines".to_owned(),
        export_name: "Machines".to_owned(),
        ..request()
    };
    let other_folder = place.path("state/machines");
    error_of(api(2).fetch(&of_machines, &other_folder).await);
    assert_eq!(service.requests().len(), 4);
    let counted = std::fs::read_to_string(&state_file).unwrap();
    assert!(counted.contains("/api/machines\""), "{counted}");
    assert!(
        counted.contains("/api/machines/SoftwareByMachine\""),
        "{counted}"
    );
    assert!(counted.contains("t1/c1@"), "{counted}");

    let fetched = api(3).fetch(&request(), &place.folder()).await.unwrap();
    assert_eq!(pages_asked(&service)[4..], [2]);
    assert_eq!(fetched.rows(), 5);
}

#[tokio::test]
async fn names_that_would_be_no_blob_path_are_refused_before_any_request() {
    let service = TestServer::serve(three_pages).await;
    let place = Place::new();
    for export_name in ["", "..", "a/b", "a\nb"] {
        let hostile = PagesRequest {
            export_name: export_name.to_owned(),
            ..request()
        };
        let error = error_of(paged(&service.url).fetch(&hostile, &place.folder()).await);
        assert!(
            matches!(
                error,
                PagesError::Call(ExtractorError::InvalidSetting { .. })
            ),
            "{error}"
        );
    }
    assert!(service.requests().is_empty());
}
