//! An export's listing: signed URLs of its newest snapshot's blobs.
//!
//! Each listing has a container and an order of its own, as nothing promises either.

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use uuid::Uuid;

use super::catalogue::Export;
use super::faulty;
use super::lock::lock;
use super::responses::{api_error, json_response};
use super::site::Site;
use super::tally::count;
use crate::faults::{FaultKind, Wire};

const CONTEXT: &str = "https://api.securitycenter.microsoft.com/api/$metadata\
                       #microsoft.windowsDefenderATP.api.ExportFilesResponse";
/// Blob paths stand in URLs as the service writes them: `=` as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'=')
    .remove(b'/');

/// Token, role and quota are checked.
pub(super) fn answer(
    site: &Site,
    export: &Export,
    query: &str,
    now: DateTime<Utc>,
    fault: Option<&FaultKind>,
) -> Response {
    match lifetime(site, query) {
        Ok(lifetime) => list(site, export, lifetime, now, fault),
        Err(message) => api_error(StatusCode::BAD_REQUEST, "InvalidInput", &message),
    }
}

/// How long the signed URLs of this call live. `$sasValidHours` is not `sasValidHours`: what is not known is ignored.
fn lifetime(site: &Site, query: &str) -> Result<TimeDelta, String> {
    let options = &site.options;
    let asked = url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key.eq_ignore_ascii_case("sasValidHours"));
    let hours = match asked {
        None => options.default_sas_valid_hours,
        Some((_, text)) => text
            .parse()
            .ok()
            .filter(|hours| (1..=options.max_sas_valid_hours).contains(hours))
            .ok_or_else(|| {
                let max = options.max_sas_valid_hours;
                format!("sasValidHours is invalid: '{text}'. Expected a whole number of hours between 1 and {max}.")
            })?,
    };
    Ok(options
        .url_lifetime
        .and_then(|lifetime| TimeDelta::from_std(lifetime).ok())
        .unwrap_or(TimeDelta::hours(i64::from(hours))))
}

fn list(
    site: &Site,
    export: &Export,
    lifetime: TimeDelta,
    now: DateTime<Utc>,
    fault: Option<&FaultKind>,
) -> Response {
    count(&site.tally.listings, 1);
    let lifetime = match fault {
        Some(FaultKind::UrlLifetime { seconds }) => TimeDelta::seconds(i64::from(*seconds)),
        _ => lifetime,
    };
    let other = match fault {
        Some(FaultKind::Snapshot(folder)) => site.faults.snapshot(folder),
        _ => None,
    };
    let other = other.and_then(|offer| offer.export(&export.recipe.dataset).cloned());
    let catalogue = Arc::clone(
        other
            .as_deref()
            .map_or(&export.newest, |export| &export.newest),
    );
    let container = format!("temp-{}", Uuid::new_v4());
    {
        let mut containers = lock(&site.containers);
        if matches!(fault, Some(FaultKind::ContainersRemoved)) {
            containers.clear();
        }
        containers.insert(container.clone(), Arc::clone(&catalogue));
    }
    let sign = |path: &str, lifetime: TimeDelta| {
        let blob = format!("{container}/{path}");
        let query = site.signer.query(&blob, now, lifetime);
        format!("{}/{}?{query}", site.url, utf8_percent_encode(&blob, PATH))
    };
    let mut files: Vec<String> = catalogue
        .blobs
        .keys()
        .map(|path| sign(path, lifetime))
        .collect();
    match (fault, catalogue.blobs.keys().next()) {
        (Some(FaultKind::BlobMissing), _) => drop(files.pop()),
        (Some(FaultKind::BlobTwice), Some(path)) => {
            files.push(sign(path, lifetime + TimeDelta::seconds(1)));
        }
        (Some(FaultKind::ExtraUrl(url)), _) => files.push(url.replace("{origin}", &site.url)),
        _ => {}
    }
    files.sort_by(|one, other| {
        let signature = |url: &str| url.rsplit("sig=").next().map(str::to_owned);
        signature(one).cmp(&signature(other))
    });
    let answer = json!({
        "@odata.context": CONTEXT,
        "exportFiles": files,
        "generatedTime": catalogue.generated_time.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)),
    });
    let mut response = json_response(StatusCode::OK, &answer);
    match fault {
        Some(FaultKind::Huge { mebibytes }) => {
            *response.body_mut() = faulty::huge(&answer.to_string(), *mebibytes);
        }
        Some(fault) => {
            if let Some(wire) = Wire::of(fault) {
                let text = answer.to_string();
                let announced = (text.len() as u64).saturating_add_signed(wire.length_off_by);
                *response.body_mut() = faulty::body(text.into(), wire, None);
                if !wire.without_length {
                    let announced = HeaderValue::from(announced);
                    response
                        .headers_mut()
                        .insert(header::CONTENT_LENGTH, announced);
                }
            }
        }
        None => {}
    }
    response
}
