//! The identity of a snapshot: dataset, organisation and the time at which the service generated it.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Utc};
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
        // chrono reads more than it writes: blanks between digits, for one.
        let is_time = |text: &str| {
            NaiveDateTime::parse_from_str(text, ID_TIME)
                .is_ok_and(|time| time.format(ID_TIME).to_string() == text)
        };
        let valid = text.split_once('-').is_some_and(|(time, org)| {
            time.len() == 16
                && is_time(time)
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

/// Years in which a snapshot can have been generated. Ids and partitions of others could not be read back.
const YEARS: RangeInclusive<i32> = 2000..=9999;

/// A time at which no snapshot can have been generated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0} is not the time of a snapshot: expected a year from {start} to {end}", start = YEARS.start(), end = YEARS.end())]
pub struct SnapshotTimeError(pub DateTime<Utc>);

impl Snapshot {
    /// The time, if a snapshot can have been generated then.
    ///
    /// # Errors
    /// [`SnapshotTimeError`] if not.
    pub fn checked_time(time: DateTime<Utc>) -> Result<DateTime<Utc>, SnapshotTimeError> {
        if YEARS.contains(&time.year()) {
            Ok(time)
        } else {
            Err(SnapshotTimeError(time))
        }
    }

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
    use proptest::prelude::*;

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
            "2022 726T100100Z-47d41a0c",
            "+2022726T10010Z-47d41a0c",
            "+100000101T000000Z-47d41a0c",
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

    #[test]
    fn snapshots_are_of_the_years_2000_to_9999() {
        for (text, is_possible) in [
            ("2000-01-01T00:00:00Z", true),
            ("9999-12-31T23:59:59.999999999Z", true),
            ("1999-12-31T23:59:59Z", false),
            ("0000-12-31T23:59:59Z", false),
            ("-0001-12-31T23:59:59Z", false),
            ("+10000-01-01T00:00:00Z", false),
        ] {
            let time = text.parse().unwrap();
            let checked = Snapshot::checked_time(time);
            assert_eq!(checked.is_ok(), is_possible, "{text}");
            if let Err(error) = checked {
                assert!(error.to_string().contains("from 2000 to 9999"), "{error}");
            }
        }
    }

    proptest! {
        #[test]
        fn ids_of_all_possible_times_are_read_back(
            seconds in 946_684_800_i64..253_402_300_800,
            nanoseconds in 0_u32..1_000_000_000,
            org in "[0-9a-fA-F]{8}",
        ) {
            let generated_time = DateTime::from_timestamp(seconds, nanoseconds).unwrap();
            prop_assert_eq!(Snapshot::checked_time(generated_time), Ok(generated_time));
            let id = Snapshot {
                org_id: format!("{org}-188d-46d3-bbea-a93dbc0bfcaa").parse().unwrap(),
                generated_time,
                ..snapshot(10)
            }
            .id();
            prop_assert_eq!(id.to_string().parse::<SnapshotId>(), Ok(id.clone()));
        }

        #[test]
        fn what_is_read_as_an_id_is_written_so(text in "[+ 0-9]{4}[ 0-9]{4}T[0-9]{6}Z-[0-9a-f]{8}") {
            if let Ok(id) = text.parse::<SnapshotId>() {
                prop_assert_eq!(id.to_string(), text.clone());
                prop_assert!(!text.contains(['+', ' ']), "{}", text);
            }
        }
    }
}
