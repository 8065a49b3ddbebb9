//! What a snapshot looks like: how many devices in how many groups and blobs, on which day, with which oddities.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use dataset::OrgId;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::recipe::DEFAULT;

/// A snapshot to generate. The same options give the same records, blob names and bytes on every machine.
///
/// A day's snapshot and the [next day's](Self::next_day) hold the same devices but for `changed` and `turnover`: a
/// device that did not change keeps every value but `Timestamp`, the time at which the service computed the row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnapshotOptions {
    /// The dataset, by the name of its recipe: one of [`datasets`](crate::datasets), or any name with a recipe of its own.
    pub dataset: String,
    /// A recipe file in place of the one that the program carries.
    pub recipe: Option<PathBuf>,
    /// Rows of each device that has any, in place of what the recipe says; InfoGathering always has one.
    pub rows_per_device: Option<u32>,
    /// Number of devices: exact, on every day.
    pub devices: u32,
    /// Number of device groups, group 0 ("Unassigned") among them. The k-th has about 1/k² of the first one's devices.
    pub groups: u32,
    /// Number of blobs, roughly: a group has at least one, a large group several.
    pub blobs: u32,
    /// When the service generated the snapshot, UTC.
    pub generated_time: DateTime<Utc>,
    /// The organisation.
    pub org_id: OrgId,
    /// Seed of every random choice.
    pub seed: u64,
    /// Index of the day: 0 is the first.
    pub day: u32,
    /// Share of the devices whose attributes differ from those of the day before.
    pub changed: f64,
    /// Share of the devices that vanish from one day to the next, with as many new ones in their place.
    pub turnover: f64,
    /// What is unusual about records and blobs.
    pub oddities: Oddities,
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        Self {
            dataset: DEFAULT.to_owned(),
            recipe: None,
            rows_per_device: None,
            devices: 1_000,
            groups: 12,
            blobs: 24,
            generated_time: DateTime::from_timestamp(1_777_802_460, 0).unwrap_or_default(), // 2026-05-03T10:01:00Z
            org_id: org_id(),
            seed: 1,
            day: 0,
            changed: 0.05,
            turnover: 0.001,
            oddities: Oddities::none(),
        }
    }
}

fn org_id() -> OrgId {
    #[expect(clippy::expect_used, reason = "a constant")]
    "47d41a0c-188d-46d3-bbea-a93dbc0bfcaa"
        .parse()
        .expect("a GUID")
}

impl SnapshotOptions {
    /// The same devices a day later.
    #[must_use]
    pub fn next_day(&self) -> Self {
        Self {
            generated_time: self.generated_time + TimeDelta::days(1),
            day: self.day + 1,
            ..self.clone()
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |option, reason: String| Err(Error::Option { option, reason });
        if self.rows_per_device == Some(0) {
            return refuse("rows_per_device", "0 rows hold nothing".to_owned());
        }
        if self.groups == 0 {
            return refuse("groups", "0 groups hold no device".to_owned());
        }
        let odd = &self.oddities;
        for (option, share) in [
            ("changed", self.changed),
            ("turnover", self.turnover),
            ("oddities.missing_attributes", odd.missing_attributes),
            ("oddities.null_attributes", odd.null_attributes),
            ("oddities.new_attributes", odd.new_attributes),
            ("oddities.wrong_types", odd.wrong_types),
            ("oddities.unusual_info", odd.unusual_info),
            ("oddities.non_ascii", odd.non_ascii),
            ("oddities.other_casing", odd.other_casing),
            ("oddities.two_member_blobs", odd.two_member_blobs),
            ("oddities.crlf_blobs", odd.crlf_blobs),
            ("oddities.blank_line_blobs", odd.blank_line_blobs),
            ("oddities.bom_blobs", odd.bom_blobs),
            ("oddities.unterminated_blobs", odd.unterminated_blobs),
            ("oddities.ungrouped", odd.ungrouped),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return refuse(option, format!("{share} is not a share between 0 and 1"));
            }
        }
        Ok(())
    }
}

/// What is unusual about a snapshot, as shares (0 to 1) or counts. All of it was seen on the wire or must be expected.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Oddities {
    /// Share of the devices that lack an attribute, at top level and in `DeviceGatheredInfo`.
    pub missing_attributes: f64,
    /// Share of the devices with a null where there is a value as a rule, at top level and in `DeviceGatheredInfo`.
    pub null_attributes: f64,
    /// Share of the devices with attributes that no schema names, at top level and in `DeviceGatheredInfo`.
    pub new_attributes: f64,
    /// Share of the devices with a value of the wrong type: `"Unknown"` for a bool, `"-"` for a time, a number for a
    /// string, a string for the group number.
    pub wrong_types: f64,
    /// Share of the devices whose `DeviceGatheredInfo` is an object, `""`, null or text that is not JSON.
    pub unusual_info: f64,
    /// Share of the devices with names beyond ASCII, half of them in raw UTF-8, half as `\uXXXX` with surrogate pairs.
    pub non_ascii: f64,
    /// Share of the rows whose keys are in the other casing (`deviceId` for `DeviceId`), with nulls written. InfoGathering
    /// has none.
    pub other_casing: f64,
    /// Number of lines, beside those of the devices, that are no JSON, a JSON array, a cut object or lack `DeviceId`.
    pub bad_lines: u32,
    /// Number of blobs, beside the others, that are a valid gzip of nothing.
    pub empty_blobs: u32,
    /// Share of the blobs with two gzip members.
    pub two_member_blobs: f64,
    /// Share of the blobs whose lines end in CR LF.
    pub crlf_blobs: f64,
    /// Share of the blobs with blank lines.
    pub blank_line_blobs: f64,
    /// Share of the blobs that begin with a byte order mark.
    pub bom_blobs: f64,
    /// Share of the blobs whose last line has no line end.
    pub unterminated_blobs: f64,
    /// Share of the devices in blobs whose path has no `_RbacGroupId=` segment, as older paths; such a blob may hold
    /// several groups, which only its records name. The devices of the smallest groups come first.
    pub ungrouped: f64,
}

impl Oddities {
    /// Nothing unusual.
    pub fn none() -> Self {
        Self::default()
    }

    /// Something of everything.
    pub fn all() -> Self {
        Self {
            missing_attributes: 0.05,
            null_attributes: 0.05,
            new_attributes: 0.05,
            wrong_types: 0.05,
            unusual_info: 0.04,
            non_ascii: 0.05,
            other_casing: 0.05,
            bad_lines: 12,
            empty_blobs: 2,
            two_member_blobs: 0.25,
            crlf_blobs: 0.2,
            blank_line_blobs: 0.2,
            bom_blobs: 0.2,
            unterminated_blobs: 0.25,
            ungrouped: 0.1,
        }
    }
}
