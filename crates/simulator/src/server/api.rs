//! The API's calls: finds the endpoint, checks token, role and quota, and leaves the answer to `listing` or `pages`.

use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, Utc};

use super::catalogue::{Export, Offer};
use super::faulty;
use super::listing;
use super::lock::lock;
use super::pages::{self, Asked};
use super::responses::{api_error, method_not_allowed};
use super::site::Site;
use super::tally::count;
use super::token::{self, Denied};
use crate::faults::{FaultKind, Subject};
use crate::rate_limit::{RateLimit, Refused};
use crate::recipe::Endpoint;

/// What an endpoint answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource {
    Files,
    Pages,
    Changes,
}

/// `path` is decoded and in lower case, and begins with `/api`.
pub(super) async fn answer(
    site: &Site,
    request: &Parts,
    path: &str,
    now: DateTime<Utc>,
) -> Response {
    let name = path.strip_prefix("/api").unwrap_or(path).trim_matches('/');
    let offer = Arc::clone(&lock(&site.served));
    let Some((export, resource, endpoint)) =
        find(&offer, name.strip_prefix("v1.0/").unwrap_or(name))
    else {
        return api_error(
            StatusCode::NOT_FOUND,
            "NotFound",
            &format!("No HTTP resource was found that matches {path}."),
        );
    };
    if request.method != Method::GET {
        return method_not_allowed("GET");
    }
    count(&site.tally.api_calls, 1);
    let header = request
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let role = &export.recipe.permission;
    let caller = match token::check(site, header, role, now) {
        Ok(caller) => caller,
        Err(denied) => return deny(denied, role),
    };
    if let Some(limit) = limit(site, endpoint) {
        let call = lock(&site.calls)
            .entry(format!("{caller} {}", endpoint.path))
            .or_default()
            .call(limit, now);
        if let Err(refused) = call {
            return too_many(refused);
        }
    }
    let fault = site.faults.next(&Subject::Listing);
    if let Some(answer) = fault.as_ref().and_then(in_place_of_an_answer) {
        return answer;
    }
    let query = request.uri.query().unwrap_or_default();
    if resource != Resource::Files {
        count(&site.tally.pages, 1);
    }
    let asked = || Asked {
        url: format!("{}{path}", site.url),
        query: query.to_owned(),
        page: site.options.page_rows,
    };
    match resource {
        Resource::Pages => pages::answer(Arc::clone(export), asked()).await,
        Resource::Changes => pages::answer_changes(Arc::clone(export), asked()).await,
        Resource::Files => listing::answer(site, export, query, now, fault.as_ref()),
    }
}

fn find<'o>(offer: &'o Offer, name: &str) -> Option<(&'o Arc<Export>, Resource, &'o Endpoint)> {
    offer.exports.iter().find_map(|export| {
        let recipe = &export.recipe;
        let pages = recipe.pages.as_ref().map(|pages| &pages.endpoint);
        let resources = [
            (Resource::Files, recipe.files.as_ref()),
            (Resource::Pages, pages),
            (Resource::Changes, recipe.changes.as_ref()),
        ];
        resources
            .into_iter()
            .filter_map(|(resource, endpoint)| Some((export, resource, endpoint?)))
            .find(|(_, _, endpoint)| endpoint.path == name)
    })
}

/// The default of the options stands for each endpoint's own limit.
fn limit(site: &Site, endpoint: &Endpoint) -> Option<RateLimit> {
    let limit = site.options.rate_limit?;
    Some(if limit == RateLimit::default() {
        endpoint.limit
    } else {
        limit
    })
}

fn too_many(refused: Refused) -> Response {
    let seconds = refused.window.num_seconds();
    let window = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    );
    let mut response = api_error(
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
    response
}

fn in_place_of_an_answer(fault: &FaultKind) -> Option<Response> {
    match fault {
        FaultKind::Answer {
            status,
            body,
            retry_after,
        } => {
            let response = match body {
                Some(body) => faulty::scripted(*status, body),
                None => api_error(
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

fn deny(denied: Denied, role: &str) -> Response {
    let (challenge, message) = match denied {
        Denied::Role => {
            return api_error(
                StatusCode::FORBIDDEN,
                "Forbidden",
                &format!(
                    "The application does not have any of the required application permissions ({role})."
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
    let mut response = api_error(StatusCode::UNAUTHORIZED, "Unauthorized", message);
    response.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(challenge),
    );
    response
}
