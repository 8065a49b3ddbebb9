//! A signed URL of a blob: a secret that knows how long it is valid and which blob it leads to. Makes no request.
//!
//! Query keys of the signature (reference: Azure's service and user-delegation SAS):
//!
//! | key | meaning here |
//! |---|---|
//! | `st`, `se` | start and end of the signature |
//! | `skt`, `ske` | start and end of the signing key; the URL dies at the earlier end |
//! | `sig` | the signature; the URL is sent byte for byte, or it would no longer match |

use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use dataset::BlobPath;
use url::Url;

use crate::error::ExtractorError;
use crate::http::safe_url::{bare, require_secure};
use crate::service_answer::scrub;

/// A URL whose query gives whoever knows it read access to one blob. Printed without the query.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUrl {
    url: Url,
    path: BlobPath,
    listed_at: DateTime<Utc>,
}

impl SignedUrl {
    /// Parses a URL of a listing that was received at `listed_at`. Refused are URLs that are not https (http on
    /// loopback excepted), that name a user, that would not be sent byte for byte, or whose path is no blob path.
    pub fn parse(text: &str, listed_at: DateTime<Utc>) -> Result<Self, ExtractorError> {
        let malformed =
            |url: String, reason: String| ExtractorError::SignedUrlMalformed { url, reason };
        let url = Url::parse(text)
            .map_err(|error| malformed("<unreadable>".to_owned(), error.to_string()))?;
        require_secure(&url).map_err(|_| {
            let reason = "only https is accepted, and http for loopback addresses";
            malformed(bare(&url), reason.to_owned())
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(malformed(bare(&url), "it names a user".to_owned()));
        }
        if url.fragment().is_some() || after_host(url.as_str()) != after_host(text) {
            let reason = "it would not be sent byte for byte as it was given";
            return Err(malformed(bare(&url), reason.to_owned()));
        }
        let path = BlobPath::parse(url.path())
            .map_err(|error| malformed(bare(&url), scrub(&error.to_string(), &[])))?;
        Ok(Self {
            url,
            path,
            listed_at,
        })
    }

    /// The blob that the URL leads to.
    pub fn blob_path(&self) -> &BlobPath {
        &self.path
    }

    /// When the URL was listed, by this machine's clock.
    pub fn listed_at(&self) -> DateTime<Utc> {
        self.listed_at
    }

    /// When the URL stops being valid: the earlier of `se` and `ske`. `None` if it says neither.
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        let ends = [self.time("se"), self.time("ske")];
        ends.into_iter().flatten().min()
    }

    /// When the URL starts being valid: the later of `st` and `skt`.
    pub fn valid_from(&self) -> Option<DateTime<Utc>> {
        self.time("st").max(self.time("skt"))
    }

    /// The URL with its secret, for the request.
    pub(crate) fn expose(&self) -> &Url {
        &self.url
    }

    /// The URL without its secret: the same for all signatures of one blob in one container.
    pub(crate) fn location(&self) -> String {
        bare(&self.url)
    }

    fn time(&self, key: &str) -> Option<DateTime<Utc>> {
        let (_, value) = self.url.query_pairs().find(|(name, _)| name == key)?;
        parse_time(&value)
    }
}

impl fmt::Display for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}?<signature withheld>", self.location())
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedUrl({self})")
    }
}

/// Path and query: what the request line carries. Scheme and host may change their case on parsing.
fn after_host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    rest.find('/').map(|start| &rest[start..])
}

/// The three forms of ISO 8601 that a signature may use.
fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    if let Ok(time) = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%MZ") {
        return Some(time.and_utc());
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc())
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    const URL: &str = "https://account.blob.core.windows.net/temp-1/2026-05-03/1001/InfoGatheringExport/json/\
        OrgId=47d41a0c-188d-46d3-bbea-a93dbc0bfcaa/_RbacGroupId=0/\
        part-00001-5f0c7a52-3a5e-4a6e-9d0d-2a0f9f4f2c11.c000.json.gz\
        ?sv=2020-02-10&st=2026-05-03T10%3A00%3A00Z&se=2026-05-03T13%3A00%3A00Z\
        &ske=2026-05-03T11%3A00%3A00Z&skt=2026-05-03T10%3A00%3A01Z&sr=b&sp=r&sig=a%2Bb%2Fc%3D";

    fn listed() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 5, 3, 10, 0, 0).unwrap()
    }

    #[test]
    fn prints_without_its_signature() {
        let url = SignedUrl::parse(URL, listed()).unwrap();
        for text in [url.to_string(), format!("{url:?}"), format!("{url:#?}")] {
            assert!(
                text.contains("account.blob.core.windows.net/temp-1/2026-05-03"),
                "{text}"
            );
            assert!(text.contains("?<signature withheld>"), "{text}");
            assert!(!text.contains("sig=") && !text.contains("a%2Bb"), "{text}");
        }
    }

    #[test]
    fn keeps_every_byte() {
        let url = SignedUrl::parse(URL, listed()).unwrap();
        assert_eq!(url.expose().as_str(), URL);
        for altered in [
            URL.replace("json/", "json/%2e%2e/json/"),
            URL.replace("sr=b", "sr=b c"),
            URL.replace("sr=b", "sr=b\tc"),
            format!("{URL}#fragment"),
        ] {
            let error = SignedUrl::parse(&altered, listed()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("a%2Bb"), "{error:?}");
        }
    }

    #[test]
    fn is_valid_within_the_signature_and_its_key() {
        let url = SignedUrl::parse(URL, listed()).unwrap();
        let at = |h, m, s| Utc.with_ymd_and_hms(2026, 5, 3, h, m, s).unwrap();
        assert_eq!(url.expires_at(), Some(at(11, 0, 0)));
        assert_eq!(url.valid_from(), Some(at(10, 0, 1)));
        let forms = URL.replace("11%3A00%3A00Z", "10%3A30Z");
        assert_eq!(
            SignedUrl::parse(&forms, listed()).unwrap().expires_at(),
            Some(at(10, 30, 0))
        );
        let silent = URL.split_once('?').unwrap().0;
        assert_eq!(
            SignedUrl::parse(silent, listed()).unwrap().expires_at(),
            None
        );
        assert_eq!(parse_time("2026-05-03"), Some(at(0, 0, 0)));
    }

    #[test]
    fn insecure_and_hostile_urls_are_refused() {
        for url in [
            URL.replace("https://", "http://"),
            URL.replace("https://", "https://user:pw@"),
            URL.replace("_RbacGroupId=0", "_RbacGroupId=x"),
            "not a url sig=a%2Bb".to_owned(),
        ] {
            let error = SignedUrl::parse(&url, listed()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("a%2Bb"), "{error:?}");
        }
    }
}
