//! The service as a client sees it, over HTTP.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{Client, Response as Reply};
use serde_json::Value;

use super::*;
use crate::faults::{FaultKind, FaultScript};
use crate::options::{Oddities, SnapshotOptions};
use crate::rate_limit::RateLimit;
use crate::signature::SignatureKind;

mod exports;
mod faults;

const EXPORT: &str = "/api/machines/InfoGatheringExport";

fn options() -> ServerOptions {
    ServerOptions {
        served: Served::Generated(SnapshotOptions {
            devices: 60,
            groups: 4,
            blobs: 6,
            ..SnapshotOptions::default()
        }),
        rate_limit: None,
        ..ServerOptions::default()
    }
}

async fn start(options: ServerOptions) -> Server {
    Server::start(options).await.unwrap()
}

async fn sign_in(server: &Server, path: &str, changed: &[(&str, &str)]) -> (u16, Value) {
    let mut form = HashMap::from([
        ("grant_type", "client_credentials"),
        ("client_id", credentials::CLIENT_ID),
        ("client_secret", credentials::CLIENT_SECRET),
        ("scope", "https://api.securitycenter.microsoft.com/.default"),
        ("resource", "https://api.securitycenter.microsoft.com"),
    ]);
    form.extend(changed.iter().copied());
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let reply = Client::new()
        .post(format!("{}/{path}", server.url()))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .unwrap();
    (reply.status().as_u16(), json(reply).await)
}

async fn json(reply: Reply) -> Value {
    serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap()
}

async fn call(server: &Server, path: &str, token: &str) -> Reply {
    Client::new()
        .get(format!("{}{path}", server.url()))
        .bearer_auth(token)
        .send()
        .await
        .unwrap()
}

async fn listing(server: &Server) -> Vec<String> {
    let reply = call(server, EXPORT, &server.token()).await;
    assert_eq!(reply.status(), 200);
    let files = json(reply).await["exportFiles"].as_array().unwrap().clone();
    files
        .iter()
        .map(|url| url.as_str().unwrap().to_owned())
        .collect()
}

async fn get(url: &str, headers: &[(&str, &str)]) -> Reply {
    let request = headers
        .iter()
        .fold(Client::new().get(url), |request, (name, value)| {
            request.header(*name, *value)
        });
    request.send().await.unwrap()
}

fn header_of<'r>(reply: &'r Reply, name: &str) -> &'r str {
    reply
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

fn v2_path() -> String {
    format!("{}/oauth2/v2.0/token", credentials::TENANT_ID)
}

#[tokio::test]
async fn tokens_of_both_endpoints_open_the_api() {
    let server = start(options()).await;
    for path in [v2_path(), v2_path().replace("v2.0/", "")] {
        let (status, body) = sign_in(&server, &path, &[]).await;
        assert_eq!((status, &body["token_type"]), (200, &Value::from("Bearer")));
        let reply = call(&server, EXPORT, body["access_token"].as_str().unwrap()).await;
        assert_eq!(reply.status(), 200, "{path}");
    }
    let counters = server.counters();
    assert_eq!(
        (counters.token_calls, counters.api_calls, counters.listings),
        (2, 2, 2)
    );
}

#[tokio::test]
async fn wrong_sign_ins_get_the_error_of_the_authority() {
    let server = start(options()).await;
    for (changed, status, error, code) in [
        (("client_secret", "wrong"), 401, "invalid_client", 7_000_215),
        (("client_id", "other"), 400, "unauthorized_client", 700_016),
        (
            ("grant_type", "password"),
            400,
            "unsupported_grant_type",
            70_003,
        ),
        (("grant_type", ""), 400, "invalid_request", 900_144),
        (
            ("scope", "https://api.securitycenter.microsoft.com"),
            400,
            "invalid_scope",
            1_002_012,
        ),
        (
            ("scope", "https://elsewhere.example/.default"),
            400,
            "invalid_resource",
            500_011,
        ),
    ] {
        let (got, body) = sign_in(&server, &v2_path(), &[changed]).await;
        assert_eq!(
            (got, body["error"].as_str().unwrap()),
            (status, error),
            "{changed:?}"
        );
        assert_eq!(body["error_codes"][0], code);
        assert!(
            body["error_description"]
                .as_str()
                .unwrap()
                .starts_with(&format!("AADSTS{code}: "))
        );
        assert!(!body.to_string().contains(credentials::CLIENT_SECRET));
    }
    let (status, body) = sign_in(&server, "other-tenant/oauth2/v2.0/token", &[]).await;
    assert_eq!(
        (status, &body["error_codes"][0]),
        (400, &Value::from(90_002))
    );
}

#[tokio::test]
async fn a_token_must_be_valid_for_this_audience_and_carry_the_role() {
    let server = start(options()).await;
    let (status, body) = sign_in(
        &server,
        &v2_path(),
        &[("scope", "https://api.security.microsoft.com/.default")],
    )
    .await;
    assert_eq!(status, 200);
    let reply = call(&server, EXPORT, body["access_token"].as_str().unwrap()).await;
    assert_eq!(reply.status(), 401);
    assert!(header_of(&reply, "www-authenticate").contains("The audience is invalid"));
    assert_eq!(json(reply).await["error"]["code"], "Unauthorized");
    assert_eq!(call(&server, EXPORT, "made.up.token").await.status(), 401);
    assert_eq!(
        get(&format!("{}{EXPORT}", server.url()), &[])
            .await
            .status(),
        401
    );

    let short = start(ServerOptions {
        token_lifetime: Duration::ZERO,
        ..options()
    });
    let short = short.await;
    let reply = call(&short, EXPORT, &short.token()).await;
    assert!(header_of(&reply, "www-authenticate").contains("The token is expired"));

    let roleless = start(ServerOptions {
        roles: vec!["Machine.Read.All".to_owned()],
        ..options()
    });
    let roleless = roleless.await;
    let reply = call(&roleless, EXPORT, &roleless.token()).await;
    assert_eq!(reply.status(), 403);
    assert_eq!(json(reply).await["error"]["code"], "Forbidden");
}

#[tokio::test]
async fn the_sixth_call_in_a_minute_gets_a_time_to_come_back() {
    let server = start(ServerOptions {
        rate_limit: Some(RateLimit::default()),
        ..options()
    })
    .await;
    for path in [
        EXPORT,
        "/api/Machines/infogatheringexport",
        "/api/v1.0/machines/InfoGatheringExport",
        EXPORT,
        EXPORT,
    ] {
        assert_eq!(
            call(&server, path, &server.token()).await.status(),
            200,
            "{path}"
        );
    }
    let reply = call(&server, EXPORT, &server.token()).await;
    assert_eq!(reply.status(), 429);
    assert!((50..=60).contains(&header_of(&reply, "retry-after").parse::<u32>().unwrap()));
    assert_eq!(json(reply).await["error"]["code"], "TooManyRequests");
    assert_eq!(
        (server.counters().api_calls, server.counters().listings),
        (6, 5)
    );
}

#[tokio::test]
async fn hours_that_the_service_does_not_take_are_invalid_input() {
    let server = start(options()).await;
    for hours in ["0", "-1", "7", "1.5", "x", ""] {
        let reply = call(
            &server,
            &format!("{EXPORT}?sasValidHours={hours}"),
            &server.token(),
        )
        .await;
        assert_eq!(reply.status(), 400, "{hours}");
        assert_eq!(json(reply).await["error"]["code"], "InvalidInput");
    }
    for query in ["?sasValidHours=6", "?$sasValidHours=99", ""] {
        assert_eq!(
            call(&server, &format!("{EXPORT}{query}"), &server.token())
                .await
                .status(),
            200,
            "{query}"
        );
    }
    assert_eq!(
        call(&server, "/api/machines", &server.token())
            .await
            .status(),
        404
    );
}

#[tokio::test]
async fn every_listing_has_a_container_and_signatures_of_its_own() {
    let server = start(options()).await;
    let (one, other) = (listing(&server).await, listing(&server).await);
    assert_eq!((one.len(), other.len()), (6, 6));
    let sorted = |mut urls: Vec<String>| {
        urls.sort_by_key(|url| url.split('?').next().unwrap().to_owned());
        urls
    };
    let (one, other) = (sorted(one), sorted(other));
    for (one, other) in one.iter().zip(&other) {
        let parts = |url: &str| {
            let url = url.strip_prefix(server.url()).unwrap().to_owned();
            let (container, rest) = url[1..].split_once('/').unwrap();
            let (path, query) = rest.split_once('?').unwrap();
            (container.to_owned(), path.to_owned(), query.to_owned())
        };
        let (a, b) = (parts(one), parts(other));
        assert_ne!((&a.0, &a.2), (&b.0, &b.2));
        assert_eq!(a.1, b.1);
        assert!(a.1.starts_with(
            "2026-05-03/1001/InfoGatheringExport/json/OrgId=47d41a0c-188d-46d3-bbea-a93dbc0bfcaa/"
        ));
        let (first, second) = (get(one, &[]).await, get(other, &[]).await);
        assert_eq!(
            (first.status().as_u16(), header_of(&first, "etag")),
            (200, header_of(&second, "etag"))
        );
    }
    let mixed = one[0].replacen(
        one[0].split('/').nth(3).unwrap(),
        other[0].split('/').nth(3).unwrap(),
        1,
    );
    assert_eq!(get(&mixed, &[]).await.status(), 403);

    server.remove_containers();
    let reply = get(&one[0], &[]).await;
    assert_eq!(
        (
            reply.status().as_u16(),
            header_of(&reply, "x-ms-error-code")
        ),
        (404, "ContainerNotFound")
    );
}

#[tokio::test]
async fn blobs_come_with_length_checksum_and_etag_and_resume_by_range() {
    use base64::Engine;
    use md5::{Digest, Md5};

    let server = start(options()).await;
    let url = &listing(&server).await[0];
    let whole = get(url, &[]).await;
    let (etag, md5) = (
        header_of(&whole, "etag").to_owned(),
        header_of(&whole, "content-md5").to_owned(),
    );
    assert!(etag.starts_with('"') && etag.ends_with('"'));
    assert!(header_of(&whole, "content-encoding").is_empty());
    let whole = whole.bytes().await.unwrap();
    assert_eq!(
        md5,
        base64::engine::general_purpose::STANDARD.encode(Md5::digest(&whole))
    );

    let head = Client::new().head(url).send().await.unwrap();
    assert_eq!(header_of(&head, "content-length"), whole.len().to_string());
    assert_eq!(header_of(&head, "x-ms-blob-type"), "BlockBlob");

    let rest = get(url, &[("range", "bytes=100-"), ("if-match", &etag)]).await;
    assert_eq!(rest.status(), 206);
    assert_eq!(
        header_of(&rest, "content-range"),
        format!("bytes 100-{}/{}", whole.len() - 1, whole.len())
    );
    assert_eq!(
        (
            header_of(&rest, "content-md5"),
            header_of(&rest, "x-ms-blob-content-md5")
        ),
        ("", md5.as_str())
    );
    assert_eq!(rest.bytes().await.unwrap(), whole[100..]);
    let some = get(url, &[("range", "bytes=3-7")]).await;
    assert_eq!(some.bytes().await.unwrap(), whole[3..8]);

    let changed = get(url, &[("range", "bytes=100-"), ("if-match", "\"0x0\"")]).await;
    assert_eq!(
        (
            changed.status().as_u16(),
            header_of(&changed, "x-ms-error-code")
        ),
        (412, "ConditionNotMet")
    );
    let beyond = get(url, &[("range", &format!("bytes={}-", whole.len()))]).await;
    assert_eq!(
        (
            beyond.status().as_u16(),
            header_of(&beyond, "x-ms-error-code")
        ),
        (416, "InvalidRange")
    );

    let counters = server.counters();
    assert_eq!((counters.blob_gets, counters.blob_heads), (5, 1));
    assert_eq!(counters.blob_bytes, (2 * whole.len() - 100 + 5) as u64);
}

#[tokio::test]
async fn urls_die_at_their_expiry_with_the_xml_of_the_store() {
    for (signature, text) in [
        (
            SignatureKind::Service,
            "Signature not valid in the specified time frame: Start [",
        ),
        (
            SignatureKind::UserDelegation { key_lifetime: None },
            "Signature not valid in the specified key time frame: Key start [",
        ),
    ] {
        let server = start(ServerOptions {
            url_lifetime: Some(Duration::from_secs(2)),
            signature,
            ..options()
        })
        .await;
        let url = &listing(&server).await[0];
        assert_eq!(get(url, &[]).await.status(), 200);
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        let reply = get(url, &[]).await;
        assert_eq!(
            (
                reply.status().as_u16(),
                header_of(&reply, "x-ms-error-code")
            ),
            (403, "AuthenticationFailed")
        );
        let body = reply.text().await.unwrap();
        assert!(body.contains("<Code>AuthenticationFailed</Code>"), "{body}");
        assert!(
            body.contains(&format!("<AuthenticationErrorDetail>{text}")),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_request_with_the_api_token_or_another_signature_is_refused() {
    let server = start(options()).await;
    let url = &listing(&server).await[0];
    let reply = get(
        url,
        &[("authorization", &format!("Bearer {}", server.token()))],
    )
    .await;
    assert_eq!(
        (
            reply.status().as_u16(),
            header_of(&reply, "x-ms-error-code")
        ),
        (403, "AuthenticationFailed")
    );
    let reply = get(&url[..url.len() - 4], &[]).await;
    assert_eq!(reply.status(), 403);
    assert!(
        reply
            .bytes()
            .await
            .unwrap()
            .starts_with(b"\xef\xbb\xbf<?xml")
    );
    assert_eq!(get(url.split('?').next().unwrap(), &[]).await.status(), 404);
}

#[tokio::test]
async fn the_clock_of_the_service_may_be_off() {
    let server = start(ServerOptions {
        clock_skew: TimeDelta::minutes(10),
        ..options()
    })
    .await;
    let url = &listing(&server).await[0];
    let reply = get(url, &[]).await;
    assert_eq!(reply.status(), 200);
    let date = DateTime::parse_from_rfc2822(header_of(&reply, "date")).unwrap();
    assert!((date.to_utc() - Utc::now() - TimeDelta::minutes(10)).abs() < TimeDelta::seconds(5));
}

#[tokio::test]
async fn a_newer_snapshot_appears_while_old_urls_go_on() {
    let server = start(options()).await;
    let old = listing(&server).await;
    let Served::Generated(today) = options().served else {
        panic!("generated")
    };
    let tomorrow = SnapshotOptions {
        oddities: Oddities::all(),
        ..today.next_day()
    };
    let folder = tempfile::tempdir().unwrap();
    crate::write_snapshot(folder.path(), &today).unwrap();
    let written = crate::write_snapshot(folder.path(), &tomorrow).unwrap();
    server
        .serve(Served::Files(folder.path().to_owned()))
        .await
        .unwrap();

    let new = listing(&server).await;
    assert_eq!(new.len(), written.blobs);
    assert!(new.iter().all(|url| url.contains("/2026-05-04/1001/")));
    for url in old.iter().chain(&new) {
        assert_eq!(get(url, &[]).await.status(), 200);
    }
    server.shutdown().await;
    assert!(Client::new().get(&new[0]).send().await.is_err());
}
