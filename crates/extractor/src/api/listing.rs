//! One answer of the export API: signed URLs and the time of the snapshot. Parses and checks; makes no request.
//!
//! Wire form (`ExportFilesResponse`): `exportFiles`, a nullable collection of strings, and `generatedTime`, a nullable
//! `DateTimeOffset`. No paging, sizes or hashes. An empty collection is an answer, not an error.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer};
use url::Url;

use crate::api::signed_url::SignedUrl;
use crate::error::ExtractorError;
use crate::http::safe_url::{bare, is_loopback};

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
            let paths = self.blobs.iter();
            let times: BTreeSet<_> = paths.map(|url| url.blob_path().generated_time()).collect();
            if times.len() == 1 {
                times.into_iter().next()?
            } else {
                None
            }
        })
    }

    /// Whether both listings are of the same snapshot: same time, same blob paths.
    pub(crate) fn same_snapshot(&self, other: &Self) -> bool {
        let paths = |listing: &Self| -> BTreeSet<String> {
            let blobs = listing.blobs.iter();
            blobs
                .map(|url| url.blob_path().as_str().to_owned())
                .collect()
        };
        self.snapshot_time() == other.snapshot_time() && paths(self) == paths(other)
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireListing {
    #[serde(deserialize_with = "present")]
    export_files: Option<Vec<Option<String>>>,
    generated_time: Option<DateTime<Utc>>,
}

/// A nullable field that must be there.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(wire: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(wire)
}

/// Reads the body of the answer of `call`. Every URL is checked: one bad URL refuses the listing.
pub(crate) fn parse(
    call: &Url,
    body: &[u8],
    hosts: &BlobHosts,
    listed_at: DateTime<Utc>,
    clock_skew: TimeDelta,
) -> Result<Listing, ExtractorError> {
    let malformed = |reason: String| ExtractorError::ListingMalformed {
        url: bare(call),
        reason,
    };
    // The message of the JSON error is left out: it may quote a signed URL.
    let wire: WireListing = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        malformed(format!(
            "not the expected JSON ({:?} error at line {line}, column {column} of {} bytes)",
            error.classify(),
            body.len()
        ))
    })?;
    let files = wire.export_files.unwrap_or_default();
    let mut blobs = Vec::with_capacity(files.len());
    for (index, file) in files.into_iter().enumerate() {
        let file =
            file.ok_or_else(|| malformed(format!("entry {index} of exportFiles is null")))?;
        let url = SignedUrl::parse(&file, listed_at)?;
        hosts.check(url.expose())?;
        blobs.push(url);
    }
    Ok(Listing {
        generated_time: wire.generated_time,
        blobs,
        listed_at,
        clock_skew,
    })
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
