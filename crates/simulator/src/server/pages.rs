//! The JSON endpoints: the rows of an export's files page by page, and the rows that changed from snapshot to snapshot.
//!
//! | endpoint | a page | the next one |
//! |---|---|---|
//! | `...ByMachine` | `pageSize` rows | `$skiptoken`: snapshot, file and line; none with `$top` |
//! | `machines` | `$top` rows | `$skip` |
//! | `...ChangesByMachine` | `pageSize` rows since `sinceTime` | `$skiptoken`: how many were had; none with `$top` |

use std::io;
use std::path::Path;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::catalogue::Export;
use super::changes;
use super::responses::{api_error, json_response};
use super::rows::{self, Place};
use crate::recipe::Paging;

/// What a page's URL says, and where the next page's begins.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// The endpoint's URL, without a query.
    pub(super) url: String,
    pub(super) query: String,
    /// Rows of a page where the call names no number, in place of what the recipe says.
    pub(super) page: Option<usize>,
}

/// Why there is no page.
enum Refused {
    Input(String),
    NoDevices,
    Unreadable(io::Error),
}

type Row = Map<String, Value>;

/// Rows, and the query of the next page.
struct Page {
    rows: Vec<Row>,
    next: Option<String>,
}

/// The rows of the newest snapshot.
pub(super) async fn answer(export: Arc<Export>, asked: Asked) -> Response {
    respond(move || rows_of(&export, &asked).map(|page| (page, asked.url))).await
}

/// The rows that changed.
pub(super) async fn answer_changes(export: Arc<Export>, asked: Asked) -> Response {
    respond(move || changes_of(&export, &asked).map(|page| (page, asked.url))).await
}

async fn respond(
    page: impl FnOnce() -> Result<(Page, String), Refused> + Send + 'static,
) -> Response {
    let page = tokio::task::spawn_blocking(page).await;
    let page = page.unwrap_or_else(|error| Err(Refused::Unreadable(io::Error::other(error))));
    match page {
        Ok((Page { rows, next }, url)) => {
            let mut body = json!({
                "@odata.context": "https://api.securitycenter.microsoft.com/api/$metadata#Collection",
                "value": rows,
            });
            if let Some(next) = next {
                body["@odata.nextLink"] = json!(format!("{url}?{next}"));
            }
            json_response(StatusCode::OK, &body)
        }
        Err(Refused::Input(message)) => {
            api_error(StatusCode::BAD_REQUEST, "InvalidInput", &message)
        }
        Err(Refused::NoDevices) => api_error(
            StatusCode::NOT_FOUND,
            "ResourceNotFound",
            "No device was found.",
        ),
        Err(Refused::Unreadable(error)) => {
            tracing::error!(%error, "a page's rows cannot be read");
            api_error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "")
        }
    }
}

fn rows_of(export: &Export, asked: &Asked) -> Result<Page, Refused> {
    let pages = export.recipe.pages.as_ref();
    let (page, max) = pages.map_or((0, 0), |pages| (pages.page, pages.max_page));
    let page = asked.page.unwrap_or(page);
    match pages.map(|pages| pages.by) {
        Some(Paging::Skip) => by_skip(export, asked, page, max),
        _ => by_token(export, asked, page, max),
    }
}

fn by_token(export: &Export, asked: &Asked, page: usize, max: usize) -> Result<Page, Refused> {
    let top = asked.number("$top", max)?;
    let size = asked.number("pageSize", max)?.unwrap_or(page);
    let time_path = export
        .newest
        .generated_time
        .map(|time| time.format("%Y-%m-%d/%H%M/").to_string())
        .unwrap_or_default();
    let from = match asked.token()? {
        None => Place::default(),
        Some(token) => {
            // A snapshot that is no longer served has no further pages.
            if token["ExportDefinition"]["TimePath"] != time_path.as_str() {
                return Err(invalid("$skiptoken", "it is of another snapshot"));
            }
            Place {
                file: position(&token["ExportFileIndex"])?,
                line: position(&token["LineStoppedAt"])?,
            }
        }
    };
    let (rows, stopped) = read(export, from, 0, top.unwrap_or(size))?;
    let next = stopped.filter(|_| top.is_none()).map(|place| {
        next_by_token(
            &[("pagesize", &size.to_string())],
            &json!({
                "ExportDefinition": {"TimePath": time_path},
                "ExportFileIndex": place.file,
                "LineStoppedAt": place.line,
            }),
        )
    });
    Ok(Page { rows, next })
}

fn by_skip(export: &Export, asked: &Asked, page: usize, max: usize) -> Result<Page, Refused> {
    let top = asked.number("$top", max)?.unwrap_or(page);
    let skip = match asked.value("$skip") {
        None => 0,
        Some(text) => text
            .parse::<usize>()
            .map_err(|_| invalid("$skip", "it is a number of rows"))?,
    };
    let (rows, stopped) = read(export, Place::default(), skip, top)?;
    if rows.is_empty() && skip == 0 {
        return Err(Refused::NoDevices);
    }
    let next = stopped.map(|_| format!("$top={top}&$skip={}", skip + top));
    Ok(Page { rows, next })
}

/// So many rows, and the place of the one after them.
fn read(
    export: &Export,
    from: Place,
    skip: usize,
    size: usize,
) -> Result<(Vec<Row>, Option<Place>), Refused> {
    let files = export
        .newest
        .blobs
        .values()
        .map(|blob| Path::new(&blob.file));
    let (mut rows, mut stopped, mut passed) = (Vec::new(), None, 0);
    rows::read(&export.recipe, files, from, |place, row| {
        if passed < skip {
            passed += 1;
            return true;
        }
        if rows.len() == size {
            stopped = Some(place);
            return false;
        }
        rows.push(row);
        true
    })
    .map_err(Refused::Unreadable)?;
    Ok((rows, stopped))
}

fn changes_of(export: &Export, asked: &Asked) -> Result<Page, Refused> {
    const PAGE: usize = 50_000;
    const MAX: usize = 200_000;
    let top = asked.number("$top", MAX)?;
    let size = asked
        .number("pageSize", MAX)?
        .unwrap_or(asked.page.unwrap_or(PAGE));
    let since = asked
        .value("sinceTime")
        .ok_or_else(|| invalid("sinceTime", "it is required"))?;
    let time = changes::parse_since(&since).ok_or_else(|| invalid("sinceTime", "it is no time"))?;
    let newest = export.newest.generated_time.unwrap_or_default();
    if time < newest - changes::LONGEST {
        return Err(invalid("sinceTime", "it is more than 14 days back"));
    }
    let offset = match asked.token()? {
        None => 0,
        Some(token) => position(&token["Offset"])?,
    };
    let all = changes::since(export, time).map_err(Refused::Unreadable)?;
    let count = top.unwrap_or(size);
    let left = all.len().saturating_sub(offset) > count;
    let rows = all.into_iter().skip(offset).take(count).collect();
    let next = (left && top.is_none()).then(|| {
        next_by_token(
            &[
                ("sinceTime", since.as_str()),
                ("pageSize", &size.to_string()),
            ],
            &json!({"Offset": offset + count}),
        )
    });
    Ok(Page { rows, next })
}

fn next_by_token(query: &[(&str, &str)], token: &Value) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query)
        .append_pair("$skiptoken", &STANDARD.encode(token.to_string()))
        .finish()
}

fn invalid(parameter: &str, reason: &str) -> Refused {
    Refused::Input(format!("{parameter} is invalid: {reason}."))
}

fn position(value: &Value) -> Result<usize, Refused> {
    value
        .as_u64()
        .and_then(|position| usize::try_from(position).ok())
        .ok_or_else(|| invalid("$skiptoken", "it is none of this endpoint"))
}

impl Asked {
    fn value(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.into_owned())
    }

    fn number(&self, name: &str, max: usize) -> Result<Option<usize>, Refused> {
        let Some(text) = self.value(name) else {
            return Ok(None);
        };
        let number = text
            .parse()
            .ok()
            .filter(|number| (1..=max).contains(number));
        let wrong = || invalid(name, &format!("it is a whole number between 1 and {max}"));
        number.ok_or_else(wrong).map(Some)
    }

    fn token(&self) -> Result<Option<Value>, Refused> {
        let Some(text) = self.value("$skiptoken") else {
            return Ok(None);
        };
        let json = STANDARD.decode(text).ok();
        let token = json.and_then(|json| serde_json::from_slice(&json).ok());
        token
            .ok_or_else(|| invalid("$skiptoken", "it is no token"))
            .map(Some)
    }
}
