//! Several exports at once: listings, roles, quotas, and the endpoints that answer with rows.

use std::collections::BTreeSet;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::MultiGzDecoder;

use super::*;

const MACHINES: &str = "/api/machines";
const CERTIFICATES: &str = "/api/machines/certificateAssessmentExport";

fn of(dataset: &str) -> SnapshotOptions {
    SnapshotOptions {
        dataset: dataset.to_owned(),
        devices: 40,
        groups: 3,
        blobs: 4,
        ..SnapshotOptions::default()
    }
}

fn several(datasets: &[&str]) -> ServerOptions {
    ServerOptions {
        served: Served::Several(datasets.iter().map(|dataset| of(dataset)).collect()),
        ..options()
    }
}

async fn get_json(server: &Server, path: &str) -> (u16, Value) {
    let reply = call(server, path, &server.token()).await;
    (reply.status().as_u16(), json(reply).await)
}

/// The rows of all pages, and how many pages there were.
async fn pages(server: &Server, path: &str) -> (Vec<Value>, usize) {
    let (mut rows, mut pages) = (Vec::new(), 0);
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let (status, page) = get_json(server, &path).await;
        assert_eq!(status, 200, "{page}");
        rows.extend(page["value"].as_array().unwrap().clone());
        let link = page["@odata.nextLink"].as_str();
        next = link.map(|link| link.strip_prefix(server.url()).unwrap().to_owned());
        pages += 1;
    }
    (rows, pages)
}

/// The rows of the files that an endpoint lists.
async fn rows_of_files(server: &Server, path: &str) -> Vec<Value> {
    let (_, listing) = get_json(server, path).await;
    let mut rows = Vec::new();
    for url in listing["exportFiles"].as_array().unwrap() {
        let bytes = get(url.as_str().unwrap(), &[]).await.bytes().await.unwrap();
        let mut text = String::new();
        MultiGzDecoder::new(&bytes[..])
            .read_to_string(&mut text)
            .unwrap();
        rows.extend(
            text.lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()),
        );
    }
    rows
}

fn texts(rows: &[Value], key: &str) -> BTreeSet<String> {
    rows.iter().map(|row| row[key].to_string()).collect()
}

#[tokio::test]
async fn every_export_has_a_listing_of_its_own() {
    let datasets: Vec<&str> = crate::datasets().collect();
    let server = start(several(&datasets)).await;
    let info = texts(&rows_of_files(&server, EXPORT).await, "DeviceId");
    for (path, segment) in [
        (
            "/api/machines/SecureConfigurationsAssessmentExport",
            "ScaExport",
        ),
        ("/api/machines/SoftwareInventoryExport", "SoftwareInventory"),
        (
            "/api/machines/softwareinventorynoncpeexport",
            "NonCpeSoftwareInventory",
        ),
        (
            "/api/v1.0/machines/SoftwareVulnerabilitiesExport",
            "VaExport",
        ),
        (
            "/api/Machines/BrowserExtensionsInventoryExport",
            "BrowserExtensions",
        ),
        (CERTIFICATES, "CertificateAssessmentExport"),
        (
            "/api/machines/HardwareFirmwareInventoryExport",
            "FirmwareHardwareExport",
        ),
        (
            "/api/machines/BaselineComplianceAssessmentExport",
            "BaselineAssessmentExport",
        ),
    ] {
        let (status, listing) = get_json(&server, path).await;
        assert_eq!(status, 200, "{path}");
        let urls = listing["exportFiles"].as_array().unwrap();
        assert!(!urls.is_empty(), "{path}");
        let segment = format!("/2026-05-03/1001/{segment}/json/OrgId=");
        assert!(
            urls.iter()
                .all(|url| url.as_str().unwrap().contains(&segment)),
            "{path}"
        );
        let ids = texts(&rows_of_files(&server, path).await, "DeviceId");
        assert!(ids.is_subset(&info), "{path}");
    }
    let (rows, _) = pages(&server, MACHINES).await;
    assert_eq!(texts(&rows, "id"), info);
    assert_eq!(get_json(&server, "/api/machines/NoExport").await.0, 404);
}

#[tokio::test]
async fn a_folder_serves_what_it_holds_of_each_export() {
    let folder = tempfile::tempdir().unwrap();
    crate::write_snapshot(folder.path(), &of("info_gathering")).unwrap();
    let today = of("software_inventory");
    crate::write_snapshot(folder.path(), &today).unwrap();
    crate::write_snapshot(folder.path(), &today.next_day()).unwrap();
    let server = start(ServerOptions {
        served: Served::Files(folder.path().to_owned()),
        ..options()
    })
    .await;
    let (_, info) = get_json(&server, EXPORT).await;
    assert_eq!(info["generatedTime"], "2026-05-03T10:01:00Z");
    let (_, software) = get_json(&server, "/api/machines/SoftwareInventoryExport").await;
    assert_eq!(software["generatedTime"], "2026-05-04T10:01:00Z");
    let (status, none) = get_json(&server, CERTIFICATES).await;
    assert_eq!(
        (status, none["exportFiles"].as_array().unwrap().len()),
        (200, 0)
    );
    let (status, answer) = get_json(&server, MACHINES).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (404, &Value::from("ResourceNotFound"))
    );
}

#[tokio::test]
async fn each_endpoint_asks_for_its_role_and_counts_its_calls() {
    let server = start(ServerOptions {
        roles: vec!["Software.Read.All".to_owned()],
        rate_limit: Some(RateLimit::default()),
        ..several(&["info_gathering", "software_inventory"])
    })
    .await;
    let (status, answer) = get_json(&server, EXPORT).await;
    assert_eq!(status, 403);
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("Vulnerability.Read.All")
    );
    for call in 0..6 {
        let (status, _) = get_json(&server, "/api/machines/SoftwareInventoryExport").await;
        assert_eq!(status, if call < 5 { 200 } else { 429 });
    }
    for _ in 0..7 {
        let path = "/api/machines/SoftwareInventoryByMachine?pageSize=3";
        assert_eq!(get_json(&server, path).await.0, 200);
    }
}

#[tokio::test]
async fn an_unknown_dataset_is_refused_with_the_known_ones() {
    let refused = Server::start(several(&["software"]))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        refused.contains("`software`") && refused.contains("software_inventory"),
        "{refused}"
    );
}

#[tokio::test]
async fn pages_hold_the_rows_of_the_files() {
    let mut odd = of("software_vulnerabilities");
    odd.oddities = Oddities {
        bad_lines: 8,
        other_casing: 0.1,
        bom_blobs: 0.5,
        crlf_blobs: 0.5,
        blank_line_blobs: 0.5,
        ..Oddities::none()
    };
    let odd = start(ServerOptions {
        served: Served::Generated(odd),
        ..options()
    })
    .await;
    let server = start(several(&["software_vulnerabilities"])).await;
    let files = rows_of_files(&server, "/api/machines/SoftwareVulnerabilitiesExport").await;
    let path = "/api/machines/SoftwareVulnerabilitiesByMachine";
    let (rows, count) = pages(&server, &format!("{path}?pageSize=100")).await;
    assert_eq!(count, rows.len().div_ceil(100));
    assert_eq!(
        (rows.len(), texts(&rows, "id")),
        (files.len(), texts(&files, "Id"))
    );
    assert!(rows.iter().all(|row| row.as_object().unwrap().len() == 33));

    let (of_odd, _) = pages(&odd, &format!("{path}?pageSize=70")).await;
    assert_eq!(
        (of_odd.len(), texts(&of_odd, "id")),
        (rows.len(), texts(&rows, "id"))
    );

    let (_, first) = get_json(&server, &format!("{path}?pageSize=5")).await;
    let link = first["@odata.nextLink"].as_str().unwrap();
    let token = url::Url::parse(link).unwrap();
    let token = token
        .query_pairs()
        .find(|(key, _)| key == "$skiptoken")
        .unwrap()
        .1
        .into_owned();
    let token: Value = serde_json::from_slice(&STANDARD.decode(token).unwrap()).unwrap();
    assert_eq!(token["ExportDefinition"]["TimePath"], "2026-05-03/1001/");
    assert_eq!(
        (&token["ExportFileIndex"], &token["LineStoppedAt"]),
        (&0.into(), &5.into())
    );

    let (_, top) = get_json(&server, &format!("{path}?$top=7")).await;
    assert_eq!(top["value"].as_array().unwrap().len(), 7);
    assert!(top.get("@odata.nextLink").is_none());
    for wrong in [
        "pageSize=0",
        "pageSize=200001",
        "$top=x",
        "$skiptoken=x",
        "$skiptoken=e30=",
    ] {
        let (status, answer) = get_json(&server, &format!("{path}?{wrong}")).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (400, &"InvalidInput".into()),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn machines_come_by_top_and_skip() {
    let server = start(ServerOptions {
        page_rows: Some(15),
        ..several(&["machines"])
    })
    .await;
    let (rows, count) = pages(&server, MACHINES).await;
    assert_eq!((rows.len(), texts(&rows, "id").len(), count), (40, 40, 3));
    let (rows, count) = pages(&server, "/api/machines?$top=7&$skip=10").await;
    assert_eq!((rows.len(), count), (30, 5));
    assert_eq!(get_json(&server, "/api/machines?$top=10001").await.0, 400);
    let none = ServerOptions {
        served: Served::Several(vec![SnapshotOptions {
            devices: 0,
            ..of("machines")
        }]),
        ..options()
    };
    assert_eq!(get_json(&start(none).await, MACHINES).await.0, 404);
}

#[tokio::test]
async fn changes_lead_from_one_snapshot_to_the_next() {
    let first = SnapshotOptions {
        changed: 0.5,
        turnover: 0.1,
        ..of("software_vulnerabilities")
    };
    let second = SnapshotOptions {
        generated_time: first.generated_time + TimeDelta::days(1),
        ..first.next_day()
    };
    let third = second.next_day();
    let served = Served::Several(vec![third.clone(), first.clone(), second]);
    let server = start(ServerOptions {
        served,
        ..options()
    })
    .await;
    let path = "/api/machines/SoftwareVulnerabilityChangesByMachine";
    let of_time = |time: &str| format!("{path}?sinceTime={time}&pageSize=40");
    let (all, count) = pages(&server, &of_time("2026-05-03")).await;
    assert_eq!(count, all.len().div_ceil(40));
    for status in ["New", "Fixed", "Updated"] {
        assert!(all.iter().any(|row| row["status"] == status), "{status}");
    }
    // The six hours in which the last snapshot was generated, and the ones after.
    let (last, _) = pages(&server, &of_time("2026-05-05T11:59:00Z")).await;
    assert!(!last.is_empty() && last.len() < all.len());
    assert!(
        last.iter()
            .all(|row| row["eventTimestamp"] == "2026-05-05T10:01:00Z")
    );
    assert!(
        pages(&server, &of_time("2026-05-05T12:00:00Z"))
            .await
            .0
            .is_empty()
    );

    // Applied to the first snapshot, the changes give the last.
    let ids = |rows: &[Value]| texts(rows, "Id");
    let old = start(ServerOptions {
        served: Served::Generated(first),
        ..options()
    })
    .await;
    let export = "/api/machines/SoftwareVulnerabilitiesExport";
    let mut rows = ids(&rows_of_files(&old, export).await);
    for change in &all {
        let id = change["id"].to_string();
        match change["status"].as_str().unwrap() {
            "New" => assert!(rows.insert(id)),
            "Fixed" => assert!(rows.remove(&id)),
            _ => assert!(rows.contains(&id)),
        }
    }
    assert_eq!(rows, ids(&rows_of_files(&server, export).await));

    for wrong in ["2026-04-21T10:00:00Z", "yesterday"] {
        assert_eq!(get_json(&server, &of_time(wrong)).await.0, 400, "{wrong}");
    }
    assert_eq!(get_json(&server, path).await.0, 400);
}
