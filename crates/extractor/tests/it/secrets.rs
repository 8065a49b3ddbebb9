//! No secret in any log, at trace and from any crate, nor in any error.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use dataset::BlobPath;
use extractor::{PageLimits, PagesError, PagesRequest};
use tracing_subscriber::filter::LevelFilter;

use crate::fixture::{
    CLIENT_SECRET, SIGNATURE, api, blob, budget, client_secret, http, listing, paged, request,
    signed, source_listed, spools, store,
};
use crate::server::{Answer, TestServer};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn neither_logs_nor_errors_show_a_secret() {
    let log = Log::default();
    let written = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(move || written.clone())
        .finish();
    // While a process has one subscriber, the first thread that reaches a log line decides for all threads whether it is wanted, and
    // other tests' threads have none.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);

    let token = "eyJ0.T0ken.Sign";
    let sign_in = format!(r#"{{"expires_in":"3599","access_token":"{token}"}}"#);
    let authority = TestServer::start(vec![Answer::whole(200, &[], sign_in)]).await;
    // A service that repeats what it was given.
    let service = TestServer::serve(move |request| {
        if request.contains("sasValidHours=1") {
            let urls = [signed(
                "http://127.0.0.1:9",
                "temp-1",
                1,
                Utc::now() + TimeDelta::hours(1),
            )];
            return Answer::whole(200, &[], listing("2026-05-03T10:01:00Z", &urls));
        }
        let echoed = request.replace(['\r', '\n', '"'], " ");
        Answer::whole(
            403,
            &[],
            format!(r#"{{"error":{{"code":"Forbidden","message":"{echoed}"}}}}"#),
        )
    })
    .await;
    let api = api(
        &service.url,
        client_secret(&authority.url),
        budget(None, Duration::ZERO),
    );
    let found = api.list(&request(Some(1))).await.unwrap();
    let refused = api.list(&request(Some(2))).await.unwrap_err();

    let store = store(http(), &spools());
    let path = BlobPath::parse(&blob(1)).unwrap();
    let closed = source_listed(TimeDelta::zero(), "http://127.0.0.1:9", store.clone()).await;
    let closed = closed.fetch(&path, &|_| {}).await.unwrap_err();
    let blobs = TestServer::serve(|request| {
        let echoed = request.lines().next().unwrap().to_owned();
        Answer::whole(
            403,
            &[],
            format!("<Error><Code>Other</Code><Message>{echoed}</Message></Error>"),
        )
    })
    .await;
    let source = source_listed(TimeDelta::zero(), &blobs.url, store.clone()).await;
    let echoed = source.fetch(&path, &|_| {}).await.unwrap_err();

    // A next link, and a service that repeats it.
    let pages = TestServer::serve(|request| {
        let asked = request.lines().next().unwrap();
        if asked.contains("skiptoken") {
            let body = format!(r#"{{"error":{{"code":"Gone","message":"no {asked}"}}}}"#);
            return Answer::whole(410, &[], body);
        }
        let host = request.lines().find_map(|line| line.strip_prefix("host: "));
        let link = format!(
            "http://{}/api/machines?$skiptoken={SIGNATURE}",
            host.unwrap()
        );
        let body = format!(r#"{{"value":[{{"id":"a"}}],"@odata.nextLink":"{link}"}}"#);
        Answer::whole(200, &[], body)
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let paged = paged(&pages.url, client_secret(&authority.url));
    let of_machines = PagesRequest {
        endpoint: "/api/machines".to_owned(),
        permission: "Machine.Read.All".to_owned(),
        query: Vec::new(),
        export_name: "Machines".to_owned(),
        org_id: None,
        not_found_is_empty: true,
        limits: PageLimits::default(),
    };
    let gone = paged.fetch(&of_machines, folder.path()).await.unwrap_err();
    assert!(matches!(gone, PagesError::NextLinkExpired { .. }), "{gone}");

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("listing received") && log.contains("hyper_util"),
        "{log}"
    );
    let told = format!(
        "{log} {refused} {refused:?} {closed} {closed:?} {echoed} {echoed:?} {gone} {gone:?} {found:?} {api:?} \
         {paged:?} {source:?}"
    );
    for secret in [
        "Top%2BSecret",
        "Top+Secret",
        token,
        "T0ken",
        CLIENT_SECRET,
        "sig=",
    ] {
        assert!(!told.contains(secret), "`{secret}` in {told}");
    }
}
