//! One answer of the export API: signed URLs and the time of the snapshot. Parses and checks; makes no request.
//!
//! Wire form (`ExportFilesResponse`): `exportFiles`, a nullable collection of strings, and `generatedTime`, a nullable
//! `DateTimeOffset`. No paging, sizes or hashes. An empty collection is an answer, not an error. A listing may have a hundred
//! thousand URLs of 850 bytes: it is parsed as it arrives, and what is kept of it is the URLs.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{BufReader, Read};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dataset::BlobPath;
use reqwest::Response;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use url::Url;

use crate::api::signed_url::SignedUrl;
use crate::error::ExtractorError;
use crate::http::arriving_body::{BodyBounds, BodyReader, parse_arriving};
use crate::http::safe_url::{bare, is_loopback};

/// The longest listing that is read, bytes: some 600,000 blobs.
const MAX_LISTING: u64 = 512 << 20;

/// Where the service keeps exported blobs: commercial, US government and China clouds.
const BLOB_HOSTS: [&str; 3] = [
    "*.blob.core.windows.net",
    "*.blob.core.usgovcloudapi.net",
    "*.blob.core.chinacloudapi.cn",
];

/// The signed URLs of one snapshot's blobs.
#[derive(Debug, Clone)]
pub struct Listing {
    /// When the service generated the snapshot; the API may give none.
    pub generated_time: Option<DateTime<Utc>>,
    /// One URL a blob, in the order of the answer. Duplicates are kept: what they mean is the caller's decision.
    pub blobs: Vec<SignedUrl>,
    /// When the answer arrived, by this machine's clock.
    pub listed_at: DateTime<Utc>,
    /// How far the service's clock is ahead of this machine's, from the answer's `Date`; zero if it had none.
    pub clock_skew: TimeDelta,
}

impl Listing {
    /// The snapshot's time: `generatedTime`, else the date and time of the blob paths if they agree on one.
    pub fn snapshot_time(&self) -> Option<DateTime<Utc>> {
        self.generated_time.or_else(|| {
            let times: BTreeSet<_> = self.paths().map(BlobPath::generated_time).collect();
            if times.len() == 1 {
                times.into_iter().next()?
            } else {
                None
            }
        })
    }

    /// The same with one URL a blob path, in the order of the paths, for which it can be searched.
    pub(crate) fn by_path(mut self) -> Self {
        self.blobs.sort_by(|a, b| a.blob_path().cmp(b.blob_path()));
        self.blobs.dedup_by(|a, b| a.blob_path() == b.blob_path());
        self
    }

    /// Whether both listings, each by path, are of the same snapshot: same time, same blob paths.
    pub(crate) fn same_snapshot(&self, other: &Self) -> bool {
        self.snapshot_time() == other.snapshot_time() && self.paths().eq(other.paths())
    }

    fn paths(&self) -> impl Iterator<Item = &BlobPath> {
        self.blobs.iter().map(SignedUrl::blob_path)
    }
}

/// Which hosts a listing may send us to.
#[derive(Debug, Clone)]
pub(crate) struct BlobHosts {
    patterns: Vec<String>,
    loopback_api: Option<String>,
}

impl BlobHosts {
    /// The service's own, those of the settings (`host` or `*.domain`), and the API's host if it is loopback.
    pub(crate) fn new(api: &Url, allowed: &[String]) -> Self {
        let own = BLOB_HOSTS.iter().map(|host| (*host).to_owned());
        Self {
            patterns: own
                .chain(allowed.iter().map(|host| host.to_ascii_lowercase()))
                .collect(),
            loopback_api: is_loopback(api)
                .then(|| api.host_str().map(str::to_owned))
                .flatten(),
        }
    }

    fn check(&self, url: &Url) -> Result<(), ExtractorError> {
        let host = url.host_str().unwrap_or_default();
        let allowed = self.loopback_api.as_deref() == Some(host)
            || self
                .patterns
                .iter()
                .any(|pattern| match pattern.strip_prefix('*') {
                    Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
                    None => host == pattern,
                });
        if allowed {
            Ok(())
        } else {
            Err(ExtractorError::HostNotAllowed {
                host: host.to_owned(),
            })
        }
    }
}

/// Reads the body of the answer of `call`. Every URL is checked: one bad URL refuses the listing.
pub(crate) async fn read(
    call: &Url,
    response: Response,
    hosts: &BlobHosts,
    listed_at: DateTime<Utc>,
    clock_skew: TimeDelta,
    pace_window: Duration,
) -> Result<Listing, ExtractorError> {
    let bounds = BodyBounds {
        bytes: MAX_LISTING,
        pace_window,
    };
    let parsing = {
        let (call, hosts) = (call.clone(), hosts.clone());
        move |body: BodyReader| parse(&call, body, &hosts, listed_at, clock_skew)
    };
    match parse_arriving(call, response, bounds, parsing).await {
        Ok(parsed) => parsed,
        Err(ExtractorError::AnswerTooLarge { url, .. }) => Err(ExtractorError::ListingTooLong {
            url,
            limit: MAX_LISTING,
        }),
        Err(error) => Err(error),
    }
}

fn parse(
    call: &Url,
    body: impl Read,
    hosts: &BlobHosts,
    listed_at: DateTime<Utc>,
    clock_skew: TimeDelta,
) -> Result<Listing, ExtractorError> {
    let mut urls = Urls {
        hosts,
        listed_at,
        blobs: Vec::new(),
        refused: None,
    };
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(body));
    let parsed = WireListing(&mut urls).deserialize(&mut json);
    let parsed = parsed.and_then(|generated_time| json.end().map(|()| generated_time));
    match (parsed, urls.refused) {
        (Ok(generated_time), _) => Ok(Listing {
            generated_time,
            blobs: urls.blobs,
            listed_at,
            clock_skew,
        }),
        (Err(_), Some(refused)) => Err(refused),
        // The message of the JSON error is left out: it may quote a signed URL.
        (Err(error), None) => Err(ExtractorError::ListingMalformed {
            url: bare(call),
            reason: format!(
                "not the expected JSON ({:?} error at line {}, column {})",
                error.classify(),
                error.line(),
                error.column()
            ),
        }),
    }
}

/// The URLs of a listing so far.
struct Urls<'a> {
    hosts: &'a BlobHosts,
    listed_at: DateTime<Utc>,
    blobs: Vec<SignedUrl>,
    /// Why one of them cannot be used, which ends the listing.
    refused: Option<ExtractorError>,
}

impl Urls<'_> {
    fn add(&mut self, text: &str) -> Result<(), ExtractorError> {
        let url = SignedUrl::parse(text, self.listed_at)?;
        self.hosts.check(url.expose())?;
        self.blobs.push(url);
        Ok(())
    }
}

/// The answer's object: gives `generatedTime`, and the URLs to what it holds.
struct WireListing<'a, 'b>(&'a mut Urls<'b>);

impl<'de> DeserializeSeed<'de> for WireListing<'_, '_> {
    type Value = Option<DateTime<Utc>>;

    fn deserialize<D: Deserializer<'de>>(self, wire: D) -> Result<Self::Value, D::Error> {
        wire.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for WireListing<'_, '_> {
    type Value = Option<DateTime<Utc>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a listing")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut generated_time = None;
        let mut has_files = false;
        while let Some(key) = members.next_key::<String>()? {
            match key.as_str() {
                "exportFiles" if has_files => return Err(A::Error::duplicate_field("exportFiles")),
                "exportFiles" => {
                    members.next_value_seed(WireFiles(&mut *self.0))?;
                    has_files = true;
                }
                "generatedTime" if generated_time.is_some() => {
                    return Err(A::Error::duplicate_field("generatedTime"));
                }
                "generatedTime" => generated_time = members.next_value()?,
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        match has_files {
            true => Ok(generated_time),
            false => Err(A::Error::missing_field("exportFiles")),
        }
    }
}

/// The collection of URLs, or null.
struct WireFiles<'a, 'b>(&'a mut Urls<'b>);

impl<'de> DeserializeSeed<'de> for WireFiles<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, wire: D) -> Result<(), D::Error> {
        wire.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for WireFiles<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("URLs")
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, wire: D) -> Result<(), D::Error> {
        wire.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut files: A) -> Result<(), A::Error> {
        while let Some(file) = files.next_element::<String>()? {
            if let Err(error) = self.0.add(&file) {
                self.0.refused = Some(error);
                return Err(A::Error::custom("a URL that cannot be used"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    const BLOB: &str = "https://acc.blob.core.windows.net/temp-1/2026-05-03/1001/InfoGatheringExport/json/\
        part-00001-u.c000.json.gz?sig=s3cr3t";

    fn parsed(body: &str) -> Result<Listing, ExtractorError> {
        parsed_by("https://api.example/api/export", body)
    }

    fn parsed_by(api: &str, body: &str) -> Result<Listing, ExtractorError> {
        let api = Url::parse(api).unwrap();
        let hosts = BlobHosts::new(
            &api,
            &["*.internal.example".to_owned(), "one.example".to_owned()],
        );
        let result = parse(&api, body.as_bytes(), &hosts, Utc::now(), TimeDelta::zero());
        if let Err(error) = &result {
            assert!(
                !format!("{error} {error:?}").contains("s3cr3t"),
                "{error:?}"
            );
        }
        result
    }

    #[test]
    fn reads_blobs_and_the_snapshot_time() {
        let body = format!(
            r#"{{"@odata.context":"c","exportFiles":["{BLOB}"],"generatedTime":"2026-05-03T10:01:00.1234567Z"}}"#
        );
        let listing = parsed(&body).unwrap();
        assert_eq!(
            listing.generated_time.unwrap().timestamp_subsec_nanos(),
            123_456_700
        );
        assert_eq!(
            listing.blobs[0].blob_path().generated_time(),
            Utc.with_ymd_and_hms(2026, 5, 3, 10, 1, 0).single()
        );
        let silent = parsed(&format!(
            r#"{{"exportFiles":["{BLOB}"],"generatedTime":null}}"#
        ))
        .unwrap();
        assert_eq!(
            silent.snapshot_time(),
            Utc.with_ymd_and_hms(2026, 5, 3, 10, 1, 0).single()
        );
        for empty in [
            r#"{"exportFiles":[]}"#,
            r#"{"exportFiles":null,"generatedTime":null}"#,
        ] {
            assert!(parsed(empty).unwrap().blobs.is_empty());
        }
    }

    #[test]
    fn malformed_answers_are_refused_without_quoting_them() {
        for body in [
            "",
            "<html>",
            "{}",
            "[]",
            r#"{"exportFiles":[null]}"#,
            r#"{"exportFiles":"https://acc.blob.core.windows.net/x?sig=s3cr3t"}"#,
            r#"{"exportFiles":[],"generatedTime":"s3cr3t"}"#,
            r#"{"exportFiles":[{"url":"s3cr3t"}]}"#,
        ] {
            let error = parsed(body).unwrap_err();
            assert!(
                matches!(error, ExtractorError::ListingMalformed { .. }),
                "{body}: {error}"
            );
        }
        assert!(matches!(
            parsed(r#"{"exportFiles":["s3cr3t"]}"#),
            Err(ExtractorError::SignedUrlMalformed { .. })
        ));
    }

    #[test]
    fn only_allowed_hosts_are_followed() {
        let with_host = |api: &str, host: &str| {
            let url = BLOB.replace("https://acc.blob.core.windows.net", host);
            parsed_by(api, &format!(r#"{{"exportFiles":["{url}"]}}"#))
        };
        let (cloud, local) = ("https://api.example", "http://127.0.0.1:8080");
        for host in [
            "https://acc.blob.core.usgovcloudapi.net",
            "https://acc.blob.core.chinacloudapi.cn",
            "https://a.b.internal.example",
            "https://one.example",
        ] {
            assert!(with_host(cloud, host).is_ok(), "{host}");
        }
        assert!(with_host(local, "http://127.0.0.1:9090").is_ok());
        for (api, host) in [
            (cloud, "https://evil.example"),
            (cloud, "https://blob.core.windows.net.evil.example"),
            (cloud, "https://evilblob.core.windows.net"),
            (cloud, "https://.blob.core.windows.net"),
            (cloud, "https://two.one.example"),
            (cloud, "http://127.0.0.1:9090"),
            (local, "http://127.0.0.2:9090"),
            (local, "http://acc.blob.core.windows.net"),
            (cloud, "https://acc.blob.core.windows.net@evil.example"),
        ] {
            assert!(with_host(api, host).is_err(), "{host}");
        }
    }
}
