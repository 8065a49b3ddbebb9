//! The identity of a snapshot: dataset, organisation and the time at which the service generated it.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A Defender organisation id: a GUID, kept in lower case. Not necessarily the Entra tenant id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrgId(String);

/// A text that is not an organisation id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not an organisation id: expected a GUID such as 47d41a0c-188d-46d3-bbea-a93dbc0bfcaa"
)]
pub struct OrgIdError(pub String);

impl OrgId {
    /// The GUID in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OrgId {
    type Err = OrgIdError;

    fn from_str(text: &str) -> Result<Self, OrgIdError> {
        let groups: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        let hexadecimal = text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
        if lengths == [8, 4, 4, 4, 12] && hexadecimal {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(OrgIdError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for OrgId {
    type Error = OrgIdError;

    fn try_from(text: String) -> Result<Self, OrgIdError> {
        text.parse()
    }
}

impl From<OrgId> for String {
    fn from(org_id: OrgId) -> Self {
        org_id.0
    }
}

impl fmt::Display for OrgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Printable identity of a snapshot within its dataset, sorting by time: `20220726T100100Z-47d41a0c`
/// (UTC generated time to the second, first eight digits of the organisation id).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotId(String);

/// A text that is not a snapshot id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a snapshot id: expected the form 20220726T100100Z-47d41a0c")]
pub struct SnapshotIdError(pub String);

const ID_TIME: &str = "%Y%m%dT%H%M%SZ";

impl SnapshotId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SnapshotId {
    type Err = SnapshotIdError;

    fn from_str(text: &str) -> Result<Self, SnapshotIdError> {
        let valid = text.split_once('-').is_some_and(|(time, org)| {
            time.len() == 16
                && NaiveDateTime::parse_from_str(time, ID_TIME).is_ok()
                && org.len() == 8
                && org.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(SnapshotIdError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for SnapshotId {
    type Error = SnapshotIdError;

    fn try_from(text: String) -> Result<Self, SnapshotIdError> {
        text.parse()
    }
}

impl From<SnapshotId> for String {
    fn from(id: SnapshotId) -> Self {
        id.0
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All of one dataset that the service computed for one organisation at one time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Snapshot {
    /// Name of the dataset.
    pub dataset: String,
    /// The organisation.
    pub org_id: OrgId,
    /// When the service generated the snapshot, UTC.
    pub generated_time: DateTime<Utc>,
}

impl Snapshot {
    /// Printable identity, sorting by time.
    pub fn id(&self) -> SnapshotId {
        SnapshotId(format!(
            "{}-{}",
            self.generated_time.format(ID_TIME),
            &self.org_id.as_str()[..8]
        ))
    }

    /// The UTC date of the snapshot: the first partition value of all its rows.
    pub fn generated_date(&self) -> NaiveDate {
        self.generated_time.date_naive()
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn snapshot(hour: u32) -> Snapshot {
        Snapshot {
            dataset: "info_gathering".to_owned(),
            org_id: "47D41A0C-188d-46d3-bbea-a93dbc0bfcaa".parse().unwrap(),
            generated_time: Utc.with_ymd_and_hms(2022, 7, 26, hour, 1, 0).unwrap(),
        }
    }

    #[test]
    fn id_is_printable_and_sorts_by_time() {
        assert_eq!(snapshot(10).id().to_string(), "20220726T100100Z-47d41a0c");
        assert!(snapshot(9).id() < snapshot(10).id());
        assert_eq!(
            "20220726T100100Z-47d41a0c".parse::<SnapshotId>().unwrap(),
            snapshot(10).id()
        );
    }

    #[test]
    fn hostile_ids_are_refused() {
        for text in [
            "",
            "..",
            "20220726T100100Z-../../x",
            "20221326T100100Z-47d41a0c",
            "20220726T100100Z-47D41A0C",
        ] {
            assert!(text.parse::<SnapshotId>().is_err(), "{text}");
        }
        for text in [
            "",
            "..",
            "47d41a0c",
            "47d41a0c-188d-46d3-bbea-a93dbc0bfca/",
            "47d41a0c-188d-46d3-bbeaa-93dbc0bfcaa",
        ] {
            assert!(text.parse::<OrgId>().is_err(), "{text}");
        }
    }
}
