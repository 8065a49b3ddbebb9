//! The path of a blob, without container and signature: its stable identity within a snapshot.
//!
//! Grammar (every segment may be missing):
//! `<yyyy-MM-dd>/<HHmm>/<ExportName>/json/OrgId=<guid>/_RbacGroupId=<n>/part-<NNNNN>-<uuid>.c<NNN>.json.gz`.
//! A segment that is present but malformed is an error: it would otherwise be guessed at.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::snapshot::{OrgId, OrgIdError};

/// A parsed blob path, cheap to clone: a listing may have a hundred thousand. In JSON a string: its identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobPath(Arc<Parsed>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Parsed {
    identity: String,
    generated_time: Option<DateTime<Utc>>,
    export_name: Option<String>,
    org_id: Option<OrgId>,
    rbac_group_id: Option<i64>,
    part_name: Option<PartName>,
}

/// What a blob's file name says. The number alone is not unique in a snapshot: it has gaps and repeats across groups.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartName {
    /// Number of the producer's writer task.
    pub number: u32,
    /// The producer's write job: the same in all blobs of one snapshot.
    pub job: String,
    /// Roll-over index within the task (`.c000`).
    pub roll: u32,
}

/// Why a path is not a blob path.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlobPathError {
    /// Nothing is left after the container.
    #[error("blob path is empty")]
    Empty,
    /// Percent-encoding that is not UTF-8.
    #[error("blob path `{path}` is not UTF-8 after percent-decoding")]
    NotUtf8 {
        /// The path as given.
        path: String,
    },
    /// A `.`, `..` or empty segment, a control character or a backslash.
    #[error("blob path `{path}` has the unsafe segment `{segment}`")]
    UnsafeSegment {
        /// The path as given.
        path: String,
        /// The segment.
        segment: String,
    },
    /// `OrgId=` is followed by something else than a GUID.
    #[error("blob path `{path}`: {source}")]
    OrgId {
        /// The path as given.
        path: String,
        /// What is wrong with it.
        source: OrgIdError,
    },
    /// `_RbacGroupId=` is followed by something else than an integer.
    #[error("blob path `{path}`: `{value}` is not a device group number")]
    RbacGroupId {
        /// The path as given.
        path: String,
        /// The text after `=`.
        value: String,
    },
}

/// What Spark, which writes the blobs, calls the folder of records whose group is null.
const NO_GROUP: &str = "__HIVE_DEFAULT_PARTITION__";

impl TryFrom<String> for BlobPath {
    type Error = BlobPathError;

    /// Parses an identity, which is decoded already.
    fn try_from(identity: String) -> Result<Self, Self::Error> {
        Self::of_segments(&identity, &identity)
    }
}

impl From<BlobPath> for String {
    fn from(path: BlobPath) -> Self {
        path.0.identity.clone()
    }
}

impl BlobPath {
    /// Parses a path: of a URL (percent-encoded, container first) or of a file on disk (`/` between segments).
    /// Segments before the date are dropped; without a date the identity is the whole path.
    pub fn parse(path: &str) -> Result<Self, BlobPathError> {
        let decoded =
            percent_decode_str(path)
                .decode_utf8()
                .map_err(|_| BlobPathError::NotUtf8 {
                    path: path.to_owned(),
                })?;
        Self::of_segments(path, &decoded)
    }

    /// `path` is the path as given, for errors.
    fn of_segments(path: &str, decoded: &str) -> Result<Self, BlobPathError> {
        let all: Vec<&str> = decoded.split('/').filter(|s| !s.is_empty()).collect();
        let date_at = all.iter().position(|segment| parse_date(segment).is_some());
        let segments = &all[date_at.unwrap_or(0)..];
        if segments.is_empty() {
            return Err(BlobPathError::Empty);
        }

        let mut parsed = Parsed {
            identity: segments.join("/"),
            generated_time: None,
            export_name: None,
            org_id: None,
            rbac_group_id: None,
            part_name: None,
        };
        for (index, segment) in segments.iter().enumerate() {
            if matches!(*segment, "." | "..")
                || segment.contains(|c: char| c.is_control() || c == '\\')
            {
                return Err(BlobPathError::UnsafeSegment {
                    path: path.to_owned(),
                    segment: (*segment).to_owned(),
                });
            }
            if let Some(value) = segment.strip_prefix("OrgId=") {
                parsed.org_id = Some(value.parse().map_err(|source| BlobPathError::OrgId {
                    path: path.to_owned(),
                    source,
                })?);
            } else if let Some(value) = segment.strip_prefix("_RbacGroupId=") {
                if value == NO_GROUP {
                    continue;
                }
                parsed.rbac_group_id =
                    Some(value.parse().map_err(|_| BlobPathError::RbacGroupId {
                        path: path.to_owned(),
                        value: value.to_owned(),
                    })?);
            } else if index + 1 == segments.len() {
                parsed.part_name = parse_part_name(segment);
            } else if *segment == "json" && index > 0 && date_at.is_some() {
                let name = segments[index - 1];
                if parse_time(name).is_none() && parse_date(name).is_none() {
                    parsed.export_name = Some(name.to_owned());
                }
            }
        }
        if let (Some(date), Some(time)) = (
            parse_date(segments[0]),
            segments.get(1).copied().and_then(parse_time),
        ) {
            parsed.generated_time = Some(date.and_time(time).and_utc());
        }
        Ok(Self(Arc::new(parsed)))
    }

    /// Stable identity of the blob: the path from the date on, decoded. A later listing of the same snapshot has the same.
    pub fn as_str(&self) -> &str {
        &self.0.identity
    }

    /// Snapshot time of the path's date and `HHmm`, UTC.
    pub fn generated_time(&self) -> Option<DateTime<Utc>> {
        self.0.generated_time
    }

    /// Name of the export, such as `InfoGatheringExport`.
    pub fn export_name(&self) -> Option<&str> {
        self.0.export_name.as_deref()
    }

    /// The organisation.
    pub fn org_id(&self) -> Option<&OrgId> {
        self.0.org_id.as_ref()
    }

    /// The device group whose records the blob holds.
    pub fn rbac_group_id(&self) -> Option<i64> {
        self.0.rbac_group_id
    }

    /// The file name's parts.
    pub fn part_name(&self) -> Option<&PartName> {
        self.0.part_name.as_ref()
    }
}

impl fmt::Display for BlobPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.identity)
    }
}

fn parse_date(segment: &str) -> Option<NaiveDate> {
    (segment.len() == 10)
        .then(|| NaiveDate::parse_from_str(segment, "%Y-%m-%d").ok())
        .flatten()
}

fn parse_time(segment: &str) -> Option<NaiveTime> {
    (segment.len() == 4 && segment.bytes().all(|b| b.is_ascii_digit()))
        .then(|| NaiveTime::from_hms_opt(segment[..2].parse().ok()?, segment[2..].parse().ok()?, 0))
        .flatten()
}

fn parse_part_name(segment: &str) -> Option<PartName> {
    let (number, rest) = segment.strip_prefix("part-")?.split_once('-')?;
    let (job, rest) = rest.split_once(".c")?;
    let (roll, _) = rest.split_once('.')?;
    Some(PartName {
        number: number.parse().ok()?,
        job: job.to_owned(),
        roll: roll.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    const TAIL: &str = "2026-05-03/1001/InfoGatheringExport/json/OrgId=47d41a0c-188d-46d3-bbea-a93dbc0bfcaa/_RbacGroupId=1001/part-00007-5f0c7a52-3a5e-4a6e-9d0d-2a0f9f4f2c11.c000.json.gz";

    #[test]
    fn identity_starts_at_the_date_whatever_the_container() {
        let one = BlobPath::parse(&format!("/temp-1/{TAIL}")).unwrap();
        let other = BlobPath::parse(&format!("tvm-export/x/{}", TAIL.replace('=', "%3D"))).unwrap();
        assert_eq!(one, other);
        assert_eq!(one.as_str(), TAIL);
        assert_eq!(
            one.generated_time(),
            Some(Utc.with_ymd_and_hms(2026, 5, 3, 10, 1, 0).unwrap())
        );
        assert_eq!(one.export_name(), Some("InfoGatheringExport"));
        assert_eq!(one.rbac_group_id(), Some(1001));
        assert_eq!(
            one.org_id().unwrap().as_str(),
            "47d41a0c-188d-46d3-bbea-a93dbc0bfcaa"
        );
        assert_eq!(
            one.part_name(),
            Some(&PartName {
                number: 7,
                job: "5f0c7a52-3a5e-4a6e-9d0d-2a0f9f4f2c11".to_owned(),
                roll: 0
            })
        );
    }

    #[test]
    fn every_segment_may_be_missing() {
        let bare = BlobPath::parse("exports/devices.json.gz").unwrap();
        assert_eq!(bare.as_str(), "exports/devices.json.gz");
        assert_eq!((bare.generated_time(), bare.rbac_group_id()), (None, None));
        assert_eq!((bare.org_id(), bare.part_name()), (None, None));
        let no_group = BlobPath::parse(&TAIL.replace("_RbacGroupId=1001/", "")).unwrap();
        assert_eq!(no_group.rbac_group_id(), None);
        assert!(no_group.part_name().is_some());
    }

    #[test]
    fn malformed_and_hostile_segments_are_errors() {
        let path = |from: &str, to: &str| BlobPath::parse(&TAIL.replace(from, to));
        assert!(matches!(
            path("_RbacGroupId=1001", "_RbacGroupId=../../x"),
            Err(BlobPathError::RbacGroupId { .. } | BlobPathError::UnsafeSegment { .. })
        ));
        assert!(matches!(
            path("_RbacGroupId=1001", "_RbacGroupId=%2e%2e"),
            Err(BlobPathError::RbacGroupId { .. })
        ));
        assert!(matches!(
            path("json/", "json/../"),
            Err(BlobPathError::UnsafeSegment { .. })
        ));
        assert!(matches!(
            path("OrgId=47d41a0c", "OrgId=x"),
            Err(BlobPathError::OrgId { .. })
        ));
        assert!(matches!(
            path("json/", "%ff/"),
            Err(BlobPathError::NotUtf8 { .. })
        ));
        assert!(matches!(BlobPath::parse("//"), Err(BlobPathError::Empty)));
    }
}
