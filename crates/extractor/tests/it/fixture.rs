//! What the tests share: fast retries, blob URLs, a body with its checksum.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use extractor::{
    ApiSettings, BlobSource, BlobStoreClient, Clock, Credential, ExportApi, ExtractorError,
    HttpClient, ListingRequest, PagedApi, RateBudget, RateBudgetSettings, RetryPolicy, SpoolBudget,
    TokenSource, UrlSource,
};
use md5::{Digest, Md5};

use crate::server::{Answer, TestServer};

/// Signature bytes that any re-encoding would change, and that no text may show.
pub(crate) const SIGNATURE: &str = "Top%2BSecret%2Fsig%3D";
pub(crate) const CLIENT_SECRET: &str = "cl13nt-s3cr3t~value";
pub(crate) const ENDPOINT: &str = "/api/machines/InfoGatheringExport";
pub(crate) const ETAG: (&str, &str) = ("ETag", "\"v1\"");

/// Retries that take no time worth mention.
pub(crate) fn fast(max_attempts: u32) -> RetryPolicy {
    RetryPolicy {
        max_attempts,
        base_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(5),
        max_total_delay: Duration::from_secs(5),
    }
}

pub(crate) fn http() -> HttpClient {
    http_that_waits(Duration::from_secs(10))
}

/// A client that takes a longer silence for a stall.
pub(crate) fn http_that_waits(no_progress_timeout: Duration) -> HttpClient {
    HttpClient::new(no_progress_timeout)
}

pub(crate) fn store(http: HttpClient, spools: &SpoolBudget) -> BlobStoreClient {
    BlobStoreClient::new(http, fast(5), spools.clone(), Clock::system())
}

pub(crate) fn spools() -> SpoolBudget {
    SpoolBudget::new(1 << 20, std::env::temp_dir())
}

/// A blob path of the snapshot of 10:01 on 3 May 2026.
pub(crate) fn blob(number: u32) -> String {
    format!(
        "2026-05-03/1001/InfoGatheringExport/json/OrgId=47d41a0c-188d-46d3-bbea-a93dbc0bfcaa/\
         _RbacGroupId=7/part-{number:05}-5f0c7a52-3a5e-4a6e-9d0d-2a0f9f4f2c11.c000.json.gz"
    )
}

/// A signed URL's text, valid until `ends`.
pub(crate) fn signed(base: &str, container: &str, number: u32, ends: DateTime<Utc>) -> String {
    let ends = ends.format("%Y-%m-%dT%H%%3A%M%%3A%SZ");
    let blob = blob(number);
    format!("{base}/{container}/{blob}?sv=2020-02-10&se={ends}&sr=b&sp=r&sig={SIGNATURE}")
}

/// A source of one blob at `base`, of which every listing gives the same URL, by its own time `ago`.
pub(crate) async fn source_listed(
    ago: TimeDelta,
    base: &str,
    store: BlobStoreClient,
) -> BlobSource {
    let ends = Utc::now() + TimeDelta::hours(1);
    let urls = [signed(base, "temp-1", 1, ends)];
    let answer = Answer::whole(200, &[], listing("2026-05-03T10:01:00Z", &urls));
    let server = TestServer::start(vec![answer]).await;
    let credential = Credential::Token("tok".to_owned().into());
    let clock = Clock::from_fn(move || Utc::now() - ago);
    let budget = budget(None, Duration::ZERO);
    source(api_by(clock, &server.url, credential, budget), store).await
}

/// What the API lists, from its first listing on.
pub(crate) async fn source(api: ExportApi, store: BlobStoreClient) -> BlobSource {
    let api = Arc::new(api);
    let first = api.list(&request(None)).await.unwrap();
    let minute = Duration::from_secs(60);
    let urls = UrlSource::new(api, request(None), first, minute, Clock::system());
    BlobSource::Service {
        store,
        urls: Arc::new(urls),
    }
}

pub(crate) fn body(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 251) as u8).collect()
}

pub(crate) fn md5_of(body: &[u8]) -> String {
    BASE64_STANDARD.encode(Md5::digest(body))
}

/// An unsigned web token with these claims.
pub(crate) fn token(claims: &str) -> String {
    format!(
        "eyJhbGciOiJub25lIn0.{}.T0kenS1gnature",
        BASE64_URL_SAFE_NO_PAD.encode(claims)
    )
}

pub(crate) fn client_secret(authority: &str) -> Credential {
    Credential::ClientSecret {
        authority: authority.to_owned(),
        tenant_id: "t1".to_owned(),
        client_id: "c1".to_owned(),
        client_secret: CLIENT_SECRET.to_owned().into(),
        audience: "https://audience.example".to_owned(),
    }
}

pub(crate) fn budget(state_file: Option<&Path>, max_wait: Duration) -> RateBudget {
    let settings = RateBudgetSettings {
        per_minute: NonZeroU32::new(5).unwrap(),
        per_hour: NonZeroU32::new(20).unwrap(),
        max_wait,
        state_file: state_file.map(Path::to_owned),
    };
    RateBudget::new(settings, Clock::system())
}

pub(crate) fn api(base: &str, credential: Credential, budget: RateBudget) -> ExportApi {
    api_by(Clock::system(), base, credential, budget)
}

fn api_by(clock: Clock, base: &str, credential: Credential, budget: RateBudget) -> ExportApi {
    let settings = ApiSettings {
        base_url: base.to_owned(),
        allowed_blob_hosts: Vec::new(),
        retry: fast(3),
    };
    let http = http();
    let tokens = tokens(credential, &http, &clock).unwrap();
    ExportApi::new(settings, tokens, budget, http, clock).unwrap()
}

/// Endpoints that answer page by page, with calls to spare.
pub(crate) fn paged(base: &str, credential: Credential) -> PagedApi {
    paged_by(base, credential, budget_of_pages(1000, None), http())
}

pub(crate) fn paged_by(
    base: &str,
    credential: Credential,
    budget: RateBudget,
    http: HttpClient,
) -> PagedApi {
    let clock = Clock::system();
    let tokens = tokens(credential, &http, &clock).unwrap();
    PagedApi::new(base, fast(3), tokens, budget, http, clock).unwrap()
}

pub(crate) fn budget_of_pages(per_minute: u32, state_file: Option<&Path>) -> RateBudget {
    let settings = RateBudgetSettings {
        per_minute: NonZeroU32::new(per_minute).unwrap(),
        per_hour: NonZeroU32::new(1000).unwrap(),
        max_wait: Duration::from_secs(5),
        state_file: state_file.map(Path::to_owned),
    };
    RateBudget::new(settings, Clock::system())
}

pub(crate) fn tokens(
    credential: Credential,
    http: &HttpClient,
    clock: &Clock,
) -> Result<Arc<TokenSource>, ExtractorError> {
    let (http, clock) = (http.clone(), clock.clone());
    TokenSource::new(credential, http, fast(3), clock).map(Arc::new)
}

pub(crate) fn request(sas_valid_hours: Option<u32>) -> ListingRequest {
    ListingRequest {
        endpoint: ENDPOINT.to_owned(),
        permission: "Vulnerability.Read.All".to_owned(),
        sas_valid_hours,
    }
}

/// A listing's JSON.
pub(crate) fn listing(generated_time: &str, urls: &[String]) -> String {
    let urls = urls
        .iter()
        .map(|url| format!("\"{url}\""))
        .collect::<Vec<_>>()
        .join(",");
    format!(r#"{{"exportFiles":[{urls}],"generatedTime":"{generated_time}"}}"#)
}
