//! Signed blob URLs: the query that a listing hands out, and the check of a query that comes back.
//!
//! The signature covers the blob's path and every other byte of the query, and its own text is compared as it came: a
//! URL that was decoded and encoded again, cut or altered does not match. Knows nothing of HTTP or of the blobs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use hmac::{Hmac, Mac};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::Sha256;
use uuid::Uuid;

const ISO: &str = "%Y-%m-%dT%H:%M:%SZ";
pub(crate) const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

/// Which of the blob store's two kinds of signature a listing's URLs carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignatureKind {
    /// Signed with the account's key: `st` and `se` bound its life.
    #[default]
    Service,
    /// Signed with a user delegation key that has a life of its own: the URL dies at the earlier of `se` and `ske`.
    UserDelegation {
        /// Life of the key; the URL's own where none is given.
        key_lifetime: Option<TimeDelta>,
    },
}

/// Why a signed request was refused: the text of `AuthenticationErrorDetail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) String);

/// Signs and checks blob URLs with a key of its own.
#[derive(Clone)]
pub(crate) struct Signer {
    key: [u8; 32],
    kind: SignatureKind,
    account: Uuid,
    tenant_id: String,
}

impl Signer {
    pub(crate) fn new(key: [u8; 32], kind: SignatureKind, tenant_id: &str) -> Self {
        Self {
            key,
            kind,
            account: Uuid::new_v4(),
            tenant_id: tenant_id.to_owned(),
        }
    }

    /// The query of a URL that reads `blob` (`<container>/<path>`, decoded) from `start` on for `lifetime`.
    pub(crate) fn query(&self, blob: &str, start: DateTime<Utc>, lifetime: TimeDelta) -> String {
        let time = |time: DateTime<Utc>| time.format(ISO).to_string().replace(':', "%3A");
        let (st, se) = (time(start), time(start + lifetime));
        let mut query = match self.kind {
            SignatureKind::Service => format!("sv=2020-02-10&st={st}&se={se}&sr=b&sp=r"),
            SignatureKind::UserDelegation { key_lifetime } => format!(
                "skoid={}&sktid={}&skt={st}&ske={}&sks=b&skv=2020-02-10&sv=2020-02-10&st={st}&se={se}&sr=b&sp=r",
                self.account,
                self.tenant_id,
                time(start + key_lifetime.unwrap_or(lifetime)),
            ),
        };
        let signature = self.signature(&query, blob);
        query.push_str("&sig=");
        query.push_str(&signature);
        query
    }

    /// Checks the query of a request for `blob` as it came, without decoding it.
    pub(crate) fn check(&self, blob: &str, query: &str, now: DateTime<Utc>) -> Result<(), Refused> {
        let value = |key: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
                .unwrap_or_default()
        };
        let time = |key| {
            let text = percent_decode_str(value(key)).decode_utf8_lossy();
            NaiveDateTime::parse_from_str(&text, ISO)
                .ok()
                .map(|time| time.and_utc())
        };
        let window = |from, to, what: &str, names: [&str; 2]| match (time(from), time(to)) {
            (Some(start), Some(end)) if now < start || now >= end => Err(Refused(format!(
                "Signature not valid in the specified {what}: {} [{}] - {} [{}] - Current [{}]",
                names[0],
                start.format(HTTP_DATE),
                names[1],
                end.format(HTTP_DATE),
                now.format(HTTP_DATE),
            ))),
            (Some(_), Some(_)) => Ok(()),
            _ => Err(Refused(format!("{to} is mandatory. Cannot be empty"))),
        };
        if !value("skoid").is_empty() {
            window("skt", "ske", "key time frame", ["Key start", "Key expiry"])?;
        }
        window("st", "se", "time frame", ["Start", "Expiry"])?;

        let (signed, signature) = query.rsplit_once("&sig=").unwrap_or((query, ""));
        if signature == self.signature(signed, blob) {
            Ok(())
        } else {
            Err(Refused(format!(
                "Signature did not match. String to sign used was {}",
                string_to_sign(signed, blob)
            )))
        }
    }

    /// HMAC-SHA256 in base64, percent-encoded.
    fn signature(&self, signed: &str, blob: &str) -> String {
        let digest = mac(&self.key, string_to_sign(signed, blob).as_bytes());
        utf8_percent_encode(&STANDARD.encode(digest), NON_ALPHANUMERIC).to_string()
    }
}

fn string_to_sign(signed: &str, blob: &str) -> String {
    format!("{}\n/blob/simulator/{blob}\n", signed.replace('&', "\n"))
}

/// HMAC-SHA256.
pub(crate) fn mac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOB: &str = "temp-1/2026-05-03/1001/InfoGatheringExport/json/part-00001-x.c000.json.gz";

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_777_802_460, 0).unwrap()
    }

    fn signer(kind: SignatureKind) -> Signer {
        Signer::new([7; 32], kind, "tenant")
    }

    #[test]
    fn a_url_works_from_its_start_until_its_expiry() {
        let signer = signer(SignatureKind::Service);
        let query = signer.query(BLOB, now(), TimeDelta::hours(1));
        let check = |seconds| signer.check(BLOB, &query, now() + TimeDelta::seconds(seconds));
        assert_eq!(check(0), Ok(()));
        assert_eq!(check(3_599), Ok(()));
        let detail = "Signature not valid in the specified time frame: Start [Sun, 03 May 2026 10:01:00 GMT] - \
                      Expiry [Sun, 03 May 2026 11:01:00 GMT] - Current [Sun, 03 May 2026 11:01:00 GMT]";
        assert_eq!(check(3_600), Err(Refused(detail.to_owned())));
        assert!(check(-1).unwrap_err().0.contains("specified time frame"));
    }

    #[test]
    fn a_delegation_key_ends_before_the_url_does() {
        let signer = signer(SignatureKind::UserDelegation {
            key_lifetime: Some(TimeDelta::minutes(1)),
        });
        let query = signer.query(BLOB, now(), TimeDelta::hours(1));
        assert_eq!(signer.check(BLOB, &query, now()), Ok(()));
        let refused = signer
            .check(BLOB, &query, now() + TimeDelta::minutes(2))
            .unwrap_err();
        assert!(
            refused
                .0
                .starts_with("Signature not valid in the specified key time frame: Key start [")
        );
    }

    #[test]
    fn an_altered_url_does_not_match() {
        // A signature whose text holds `%2F` or `%2B`, so that decoding it changes it.
        let signer = signer(SignatureKind::Service);
        let query = (1..100)
            .map(|hours| signer.query(BLOB, now(), TimeDelta::hours(hours)))
            .find(|query| query.contains("%2B"))
            .unwrap();
        let refused = |blob: &str, query: &str| {
            signer
                .check(blob, query, now())
                .is_err_and(|refused| refused.0.starts_with("Signature did not match"))
        };
        assert_eq!(signer.check(BLOB, &query, now()), Ok(()));
        assert!(refused(BLOB, &query.replace("%2B", "+")));
        assert!(refused(BLOB, &query.replace("%2B", "%2b")));
        assert!(refused(BLOB, &query.replace("%3A", ":")));
        assert!(refused(BLOB, &query.replace("sp=r", "sp=rw")));
        assert!(refused(BLOB, &query[..query.len() - 2]));
        assert!(refused("temp-1/other", &query));
        assert!(signer.check(BLOB, "sv=1", now()).is_err());
    }
}
