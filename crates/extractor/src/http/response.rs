//! What every answer is checked for: errors of the transport, redirects, bodies that are too long, the words of a refusal.
//! Does not judge what a status means to the caller.

use reqwest::Response;
use url::Url;

use crate::error::ExtractorError;
use crate::http::safe_url::{bare, origin};
use crate::service_answer::{ServiceAnswer, scrub};

/// The error of a request or a body, without the URL that `reqwest` would print.
pub(crate) fn transport_error(url: &Url, error: &reqwest::Error) -> ExtractorError {
    let (url, reason) = (bare(url), reason(error));
    if error.is_timeout() {
        ExtractorError::Timeout { url, reason }
    } else {
        ExtractorError::Connection { url, reason }
    }
}

/// The causes of the error. The outermost level alone would print the URL: it is left out where it has a cause.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    if causes.is_empty() {
        causes.push("request failed".to_owned());
    }
    causes.dedup();
    scrub(&causes.join(": "), &[])
}

/// A redirect, as the error that it is.
pub(crate) fn redirected(url: &Url, response: &Response) -> Option<ExtractorError> {
    let status = response.status();
    status.is_redirection().then(|| {
        let location = response
            .headers()
            .get(reqwest::header::LOCATION)
            .and_then(|value| url.join(value.to_str().ok()?).ok());
        ExtractorError::Redirected {
            url: bare(url),
            status: status.as_u16(),
            location: location.map_or_else(|| "nowhere".to_owned(), |target| origin(&target)),
        }
    })
}

/// The body of a short answer, refused when it is longer than `limit` bytes.
pub(crate) async fn bounded_body(
    url: &Url,
    mut response: Response,
    limit: usize,
) -> Result<Vec<u8>, ExtractorError> {
    let too_large = || ExtractorError::AnswerTooLarge {
        url: bare(url),
        limit,
    };
    if response
        .content_length()
        .is_some_and(|length| length > limit as u64)
    {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| transport_error(url, &error))?
    {
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The words of an answer that is not a success. A body that cannot be read leaves the status alone.
pub(crate) async fn refusal(mut response: Response, secrets: &[&str]) -> Box<ServiceAnswer> {
    const LIMIT: usize = 64 * 1024;
    let status = response.status().as_u16();
    let code = response
        .headers()
        .get("x-ms-error-code")
        .and_then(|code| code.to_str().ok())
        .map(|code| scrub(code, secrets));
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > LIMIT {
            body.truncate(LIMIT);
            break;
        }
    }
    let mut answer = ServiceAnswer::parse(status, &body, secrets);
    answer.code = answer.code.or(code);
    Box::new(answer)
}
