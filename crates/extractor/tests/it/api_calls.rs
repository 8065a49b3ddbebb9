//! Sign-in and the export call: what is sent where, and how refusals are told.

use std::time::Duration;

use extractor::{ApiSettings, Clock, Credential, ExportApi, ExtractorError};

use crate::fixture::{
    CLIENT_SECRET, api, budget, client_secret, fast, http, listing, request, signed, token, tokens,
};
use crate::server::{Answer, TestServer};

const MINUTES: Duration = Duration::from_secs(600);
const TIME: &str = "2026-05-03T10:01:00Z";

fn signed_in() -> Answer {
    let body =
        r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":0,"access_token":"tok-1"}"#;
    Answer::whole(200, &[], body)
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body =
        format!(r#"{{"error":{{"code":"{code}","message":"{message}","target":"0f1e-guid"}}}}"#);
    Answer::whole(status, &[], body)
}

fn empty_listing() -> Answer {
    Answer::whole(200, &[], listing(TIME, &[]))
}

fn with_token(base: &str, claims: &str) -> ExportApi {
    api(
        base,
        Credential::Token(token(claims).into()),
        budget(None, MINUTES),
    )
}

#[tokio::test]
async fn signs_in_once_and_lists() {
    let authority = TestServer::start(vec![signed_in()]).await;
    let later = chrono::Utc::now() + chrono::TimeDelta::hours(1);
    let service = TestServer::serve(move |_| {
        let urls = [signed("http://127.0.0.1:9", "temp-1", 1, later)];
        Answer::whole(
            200,
            &[("Date", "Sun, 03 May 2026 10:02:03 GMT")],
            listing(TIME, &urls),
        )
    })
    .await;
    let api = api(
        &service.url,
        client_secret(&authority.url),
        budget(None, MINUTES),
    );
    let first = api.list(&request(Some(3))).await.unwrap();
    api.list(&request(None)).await.unwrap();
    assert_eq!(first.blobs.len(), 1);
    assert_eq!(
        first.generated_time.unwrap().to_rfc3339(),
        "2026-05-03T10:01:00+00:00"
    );
    assert_eq!(
        (first.listed_at + first.clock_skew).timestamp(),
        "2026-05-03T10:02:03Z"
            .parse::<chrono::DateTime<chrono::Utc>>()
            .unwrap()
            .timestamp()
    );

    let sign_in = authority.requests();
    assert_eq!(sign_in.len(), 1);
    assert!(sign_in[0].starts_with("POST /t1/oauth2/v2.0/token HTTP/1.1"));
    assert!(sign_in[0].ends_with(
        "grant_type=client_credentials&client_id=c1&scope=https%3A%2F%2Faudience.example%2F.default\
         &client_secret=cl13nt-s3cr3t%7Evalue"
    ));
    let calls = service.requests();
    assert!(calls[0].starts_with("GET /api/machines/InfoGatheringExport?sasValidHours=3 HTTP/1.1"));
    assert!(calls[1].starts_with("GET /api/machines/InfoGatheringExport HTTP/1.1"));
    assert!(calls[0].contains("authorization: Bearer tok-1"));
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let authority = TestServer::start(vec![signed_in()]).await;
    let unauthorized = refusal(401, "Unauthorized", "token expired");
    let service = TestServer::start(vec![unauthorized.clone(), empty_listing()]).await;
    let found = api(
        &service.url,
        client_secret(&authority.url),
        budget(None, MINUTES),
    );
    assert!(found.list(&request(None)).await.is_ok());
    assert_eq!(authority.requests().len(), 2);

    let service = TestServer::start(vec![unauthorized]).await;
    let lost = api(
        &service.url,
        client_secret(&authority.url),
        budget(None, MINUTES),
    );
    let error = lost.list(&request(None)).await.unwrap_err();
    assert!(matches!(error, ExtractorError::Unauthorized { .. }));
    assert!(
        error
            .to_string()
            .contains("made for https://audience.example"),
        "{error}"
    );
    assert_eq!(service.requests().len(), 2);
}

#[tokio::test]
async fn refusals_name_permission_audience_and_setting() {
    let claims = r#"{"aud":"https://wrong.example","roles":["Machine.Read.All"]}"#;
    let service = TestServer::start(vec![refusal(403, "Forbidden", "missing role")]).await;
    let error = with_token(&service.url, claims)
        .list(&request(None))
        .await
        .unwrap_err();
    let text = error.to_string();
    for words in [
        "403 Forbidden: missing role (correlation id 0f1e-guid)",
        "Vulnerability.Read.All",
        "permissions in the token: Machine.Read.All",
        "made for https://wrong.example",
        "`audience`",
    ] {
        assert!(text.contains(words), "`{words}` in {text}");
    }
    assert!(matches!(error, ExtractorError::Forbidden { .. }));

    let challenge = ("WWW-Authenticate", "Bearer error=\"invalid_token\"");
    let service = TestServer::start(vec![Answer::whole(401, &[challenge], "")]).await;
    let error = with_token(&service.url, "{}")
        .list(&request(None))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("invalid_token") && error.contains("unknown audience"),
        "{error}"
    );

    let service = TestServer::start(vec![refusal(400, "InvalidInput", "bad")]).await;
    let error = with_token(&service.url, "{}")
        .list(&request(Some(6)))
        .await
        .unwrap_err();
    assert!(matches!(error, ExtractorError::BadRequest { .. }));
    assert!(error.to_string().contains("`sas_valid_hours`"), "{error}");
    assert_eq!(service.requests().len(), 1);
}

#[tokio::test]
async fn refused_hours_are_asked_again_as_six() {
    let refused = refusal(400, "ODataError", "sasValidHours");
    let service = TestServer::start(vec![refused.clone(), empty_listing()]).await;
    with_token(&service.url, "{}")
        .list(&request(Some(24)))
        .await
        .unwrap();
    assert!(service.requests()[1].contains("?sasValidHours=6 "));
    let service = TestServer::start(vec![refused]).await;
    assert!(
        with_token(&service.url, "{}")
            .list(&request(Some(24)))
            .await
            .is_err()
    );
    assert_eq!(service.requests().len(), 2);
}

#[tokio::test]
async fn sign_in_refusals_name_the_setting() {
    let refused = |number: u32, code: &str| {
        let body = format!(
            r#"{{"error":"{code}","error_description":"AADSTS{number}: no {CLIENT_SECRET}.\r\nTrace"}}"#
        );
        Answer::whole(401, &[], body)
    };
    for (number, code, setting) in [
        (7_000_215, "invalid_client", "`client_secret`"),
        (700_016, "unauthorized_client", "`client_id`"),
        (90002, "invalid_request", "`tenant_id`"),
        (500_011, "invalid_resource", "`audience`"),
    ] {
        let authority = TestServer::start(vec![refused(number, code)]).await;
        let service = TestServer::start(vec![empty_listing()]).await;
        let api = api(
            &service.url,
            client_secret(&authority.url),
            budget(None, MINUTES),
        );
        let error = api.list(&request(None)).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(
            matches!(error, ExtractorError::SignInRefused { .. }),
            "{text}"
        );
        assert!(
            text.contains(setting) && !text.contains(CLIENT_SECRET),
            "{text}"
        );
        assert!(service.requests().is_empty());
    }
}

#[tokio::test]
async fn passing_failures_are_tried_again_a_few_times() {
    let busy = Answer::whole(502, &[], "<html>Bad gateway</html>");
    let service = TestServer::start(vec![busy.clone(), empty_listing()]).await;
    with_token(&service.url, "{}")
        .list(&request(None))
        .await
        .unwrap();
    let service = TestServer::start(vec![busy]).await;
    let error = with_token(&service.url, "{}")
        .list(&request(None))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ExtractorError::Unavailable { .. }),
        "{error}"
    );
    assert_eq!(service.requests().len(), 3);
}

#[tokio::test]
async fn retry_after_is_obeyed_and_kept_for_the_next_run() {
    let throttled = |seconds: &str| {
        Answer::whole(
            429,
            &[("Retry-After", seconds)],
            r#"{"error":{"code":"TooManyRequests"}}"#,
        )
    };
    let service = TestServer::start(vec![throttled("1"), empty_listing()]).await;
    let start = std::time::Instant::now();
    with_token(&service.url, "{}")
        .list(&request(None))
        .await
        .unwrap();
    assert!(
        start.elapsed() >= Duration::from_millis(900),
        "{:?}",
        start.elapsed()
    );

    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("cache/rate-budget.json");
    let service = TestServer::start(vec![throttled("900")]).await;
    for _ in 0..2 {
        let budget = budget(Some(&state), Duration::from_secs(60));
        let api = api(
            &service.url,
            client_secret(&service_token().await.url),
            budget,
        );
        let error = api.list(&request(None)).await.unwrap_err();
        let ExtractorError::RateBudgetExhausted { wait, .. } = &error else {
            panic!("{error}")
        };
        assert!((840..=900).contains(&wait.as_secs()), "{error}");
    }
    assert_eq!(service.requests().len(), 1);
}

async fn service_token() -> TestServer {
    TestServer::start(vec![signed_in()]).await
}

#[tokio::test]
async fn answers_that_are_no_listing_are_refused() {
    let large = Answer::new(200, &[("Content-Length", "536870913")]).body("{");
    let service = TestServer::start(vec![large]).await;
    let error = with_token(&service.url, "{}")
        .list(&request(None))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ExtractorError::ListingTooLong { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("longer than 512 MiB"), "{error}");
    for (status, body) in [(200, "<html>"), (404, "nothing here")] {
        let service = TestServer::start(vec![Answer::whole(status, &[], body)]).await;
        let error = with_token(&service.url, "{}")
            .list(&request(None))
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                ExtractorError::ListingMalformed { .. } | ExtractorError::UnexpectedAnswer { .. }
            ),
            "{error}"
        );
    }
}

#[tokio::test]
async fn no_redirect_takes_the_token_elsewhere() {
    let other = TestServer::start(vec![empty_listing()]).await;
    let location = format!("{}/api", other.url);
    let service = TestServer::start(vec![Answer::whole(307, &[("Location", &location)], "")]).await;
    let error = with_token(&service.url, "{}")
        .list(&request(None))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ExtractorError::Redirected { status: 307, .. }),
        "{error}"
    );
    assert!(other.requests().is_empty());
}

#[test]
fn plain_http_is_refused_before_any_request() {
    let made = |base: &str, credential| {
        let settings = ApiSettings {
            base_url: base.to_owned(),
            allowed_blob_hosts: Vec::new(),
            retry: fast(1),
        };
        let (budget, http, clock) = (budget(None, MINUTES), http(), Clock::system());
        let tokens = tokens(credential, &http, &clock)?;
        ExportApi::new(settings, tokens, budget, http, clock)
    };
    let token = || Credential::Token("tok".to_owned().into());
    assert!(matches!(
        made("http://api.example", token()),
        Err(ExtractorError::InsecureUrl { .. })
    ));
    let authority = client_secret("http://login.example");
    assert!(matches!(
        made("https://api.example", authority),
        Err(ExtractorError::InsecureUrl { .. })
    ));
    assert!(made("https://api.example", token()).is_ok());
}
