//! Which snapshot a next link is of, as its skip token says. Never an error: a token may be of any form.
//!
//! Seen on the JSON twins (`…ByMachine`): base64 of `{"ExportDefinition":{"TimePath":"2021-01-11/1101/"},
//! "ExportFileIndex":0,"LineStoppedAt":5}`. The twins read the snapshot's export files: the path is that of a blob path.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chrono::{DateTime, NaiveDateTime, Utc};
use dataset::Snapshot;
use serde::Deserialize;
use url::Url;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SkipToken {
    export_definition: ExportDefinition,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ExportDefinition {
    time_path: String,
}

/// Time of the snapshot that the link leads through; `None` if it does not tell.
pub(super) fn snapshot_time(link: &Url) -> Option<DateTime<Utc>> {
    let (_, token) = link
        .query_pairs()
        .find(|(name, _)| name.eq_ignore_ascii_case("$skiptoken"))?;
    // A plus that was not encoded arrives as a blank; the other alphabet of base64 is as good.
    let token = token.replace([' ', '-'], "+").replace('_', "/");
    let token: SkipToken = serde_json::from_slice(&BASE64.decode(token).ok()?).ok()?;
    let path = token.export_definition.time_path;
    let time = NaiveDateTime::parse_from_str(path.trim_matches('/'), "%Y-%m-%d/%H%M").ok()?;
    Snapshot::checked_time(time.and_utc()).ok()
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

    use super::*;

    fn of(token: &str) -> Option<String> {
        let link = format!("https://api.example/api/machines/X?pageSize=5&$skiptoken={token}");
        let time = snapshot_time(&Url::parse(&link).unwrap())?;
        Some(time.to_rfc3339())
    }

    #[test]
    fn a_skip_token_tells_its_snapshot() {
        let json = r#"{"ExportDefinition":{"TimePath":"2021-01-11/1101/"},"ExportFileIndex":0,"LineStoppedAt":5}"#;
        let expected = Some("2021-01-11T11:01:00+00:00".to_owned());
        for token in [
            BASE64_STANDARD.encode(json),
            BASE64_STANDARD.encode(json).replace('=', "%3D"),
            BASE64_URL_SAFE_NO_PAD.encode(json),
        ] {
            assert_eq!(of(&token), expected, "{token}");
        }
    }

    #[test]
    fn other_tokens_tell_nothing() {
        for token in [
            "",
            "5000",
            "%%%",
            &BASE64_STANDARD.encode("{}"),
            &BASE64_STANDARD.encode(r#"{"ExportDefinition":{"TimePath":"../../x"}}"#),
            &BASE64_STANDARD.encode(r#"{"ExportDefinition":{"TimePath":"1021-01-11/1101/"}}"#),
            &BASE64_STANDARD.encode(r#"{"ExportDefinition":{"TimePath":"2021-01-11/2501/"}}"#),
        ] {
            assert_eq!(of(token), None, "{token}");
        }
        let none = Url::parse("https://api.example/api/machines?$skip=10000").unwrap();
        assert_eq!(snapshot_time(&none), None);
    }
}
