//! Headers that more than one caller reads: texts, dates and `Retry-After`. Does not sleep.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// A header's text; `None` where it is missing or no text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The answer's `Date`: the clock of the host that gave it.
pub(crate) fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    http_date(text(headers, DATE.as_str())?)
}

/// `Retry-After`: seconds, or a date, which is read by the clock of the host that gave it (`Date`), else by `now`.
pub(crate) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = text(headers, RETRY_AFTER.as_str())?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = http_date(text)?;
    let wait = until - date(headers).unwrap_or(now);
    // A date in the past asks for no wait.
    Some(wait.to_std().unwrap_or_default())
}

/// A date of an HTTP header, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text)
        .ok()
        .map(|date| date.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = http_date("Sun, 06 Nov 1994 08:50:00 GMT").unwrap();
        let wait = |value: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(wait(" 17 ", None), Some(17));
        let date = "Sun, 06 Nov 1994 08:50:30 GMT";
        assert_eq!(wait(date, None), Some(30));
        assert_eq!(wait(date, Some("Sun, 06 Nov 1994 08:50:20 GMT")), Some(10));
        assert_eq!(wait(date, Some("Sun, 06 Nov 1994 08:55:00 GMT")), Some(0));
        assert_eq!(wait("soon", None), None);
        assert_eq!(wait("-1", None), None);
    }
}
