//! The API's one call: checks token, quota and parameters, then hands out signed URLs.
//!
//! Each listing has a container and an order of its own, as nothing promises either.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use uuid::Uuid;

use super::faulty;
use super::lock::lock;
use super::responses::{json_response, method_not_allowed};
use super::site::Site;
use super::tally::count;
use super::token::{self, Denied};
use crate::faults::{FaultKind, Subject, Wire};

const EXPORT: &str = "machines/infogatheringexport";
const ROLE: &str = "Vulnerability.Read.All";
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

/// `path` is decoded and in lower case, and begins with `/api`.
pub(super) fn answer(site: &Site, request: &Request, path: &str, now: DateTime<Utc>) -> Response {
    let resource = path.strip_prefix("/api").unwrap_or(path).trim_matches('/');
    if resource.strip_prefix("v1.0/").unwrap_or(resource) != EXPORT {
        return error(
            StatusCode::NOT_FOUND,
            "NotFound",
            &format!("No HTTP resource was found that matches {path}."),
        );
    }
    if *request.method() != Method::GET {
        return method_not_allowed("GET");
    }
    count(&site.tally.api_calls, 1);
    let header = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let caller = match token::check(site, header, ROLE, now) {
        Ok(caller) => caller,
        Err(denied) => return deny(denied),
    };
    if let Some(limit) = site.options.rate_limit {
        let call = lock(&site.calls)
            .entry(caller)
            .or_default()
            .call(limit, now);
        if let Err(refused) = call {
            let seconds = refused.window.num_seconds();
            let window = format!(
                "{:02}:{:02}:{:02}",
                seconds / 3_600,
                seconds / 60 % 60,
                seconds % 60
            );
            let mut response = error(
                StatusCode::TOO_MANY_REQUESTS,
                "TooManyRequests",
                &format!(
                    "API calls quota exceeded! Maximum {} calls per {window} allowed.",
                    refused.limit
                ),
            );
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(refused.retry_after));
            return response;
        }
    }
    let fault = site.faults.next(&Subject::Listing);
    if let Some(answer) = fault.as_ref().and_then(in_place_of_a_listing) {
        return answer;
    }
    match lifetime(site, request.uri().query().unwrap_or_default()) {
        Ok(lifetime) => list(site, lifetime, now, fault.as_ref()),
        Err(message) => error(StatusCode::BAD_REQUEST, "InvalidInput", &message),
    }
}

fn in_place_of_a_listing(fault: &FaultKind) -> Option<Response> {
    match fault {
        FaultKind::Answer {
            status,
            body,
            retry_after,
        } => {
            let response = match body {
                Some(body) => faulty::scripted(*status, body),
                None => error(
                    StatusCode::from_u16(*status).unwrap_or_default(),
                    "ServiceError",
                    "The service could not answer.",
                ),
            };
            Some(faulty::retry_after(response, *retry_after))
        }
        FaultKind::Redirect { to } => Some(faulty::redirect(to)),
        _ => None,
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
    lifetime: TimeDelta,
    now: DateTime<Utc>,
    fault: Option<&FaultKind>,
) -> Response {
    count(&site.tally.listings, 1);
    let lifetime = match fault {
        Some(FaultKind::UrlLifetime { seconds }) => TimeDelta::seconds(i64::from(*seconds)),
        _ => lifetime,
    };
    let catalogue = match fault {
        Some(FaultKind::Snapshot(folder)) => site.faults.snapshot(folder),
        _ => None,
    };
    let catalogue = catalogue.unwrap_or_else(|| Arc::clone(&lock(&site.served)));
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

fn deny(denied: Denied) -> Response {
    let (challenge, message) = match denied {
        Denied::Role => {
            return error(
                StatusCode::FORBIDDEN,
                "Forbidden",
                &format!(
                    "The application does not have any of the required application permissions ({ROLE})."
                ),
            );
        }
        Denied::Missing => ("Bearer", "The request has no bearer token."),
        Denied::Invalid => (
            "Bearer error=\"invalid_token\", error_description=\"The signature is invalid\"",
            "The token is invalid.",
        ),
        Denied::Expired => (
            "Bearer error=\"invalid_token\", error_description=\"The token is expired\"",
            "The token is expired.",
        ),
        Denied::Audience => (
            "Bearer error=\"invalid_token\", error_description=\"The audience is invalid\"",
            "The token is for another audience.",
        ),
    };
    let mut response = error(StatusCode::UNAUTHORIZED, "Unauthorized", message);
    response.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(challenge),
    );
    response
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let target = Uuid::new_v4().to_string();
    json_response(
        status,
        &json!({"error": {"code": code, "message": message, "target": target}}),
    )
}
