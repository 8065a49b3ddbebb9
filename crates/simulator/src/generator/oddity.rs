//! What is unusual about one device's record, and the lines that are no record at all.

use crate::dice::{Dice, Purpose};
use crate::options::Oddities;

/// Keys that a record can lack: all but its id, its group number, the row's own time and `DeviceGatheredInfo`.
const TOP_LEVEL: &[&str] = &[
    "DeviceName",
    "OsPlatform",
    "OsVersion",
    "RbacGroupName",
    "LastSeenTime",
];
/// Keys of `DeviceGatheredInfo` to alter: of every type, most of them with a value on nearly every device.
const GATHERED: &[&str] = &[
    "AvMode",
    "AvEngineVersion",
    "AvScanResults",
    "AvModeDataRefreshTime",
    "AvSignatureUpdateTime",
    "AvEnginePublishTime",
    "AvIsSignatureUptoDate",
    "AvIsEngineUptodate",
    "AvIsPlatformUptodate",
    "TlsClient12",
    "SchUseStrongCrypto40",
    "AsrConfigurationStates",
    "EBPFStatus",
];

/// What happens to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alteration {
    Missing,
    Null,
    WrongType,
}

/// One altered field of an object, if any.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FieldOddity(Option<(&'static str, Alteration)>);

impl FieldOddity {
    pub(crate) fn of(self, key: &str) -> Option<Alteration> {
        self.0
            .and_then(|(altered, alteration)| (altered == key).then_some(alteration))
    }
}

/// How `DeviceGatheredInfo` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum InfoShape {
    #[default]
    Text,
    Object,
    EmptyText,
    BrokenText,
    Null,
}

/// How text beyond ASCII is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WideText {
    Raw,
    Escaped,
}

/// What is unusual about one record. Mostly nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Oddity {
    pub(crate) top_level: FieldOddity,
    pub(crate) gathered: FieldOddity,
    pub(crate) group_id_as_text: bool,
    pub(crate) new_attributes: bool,
    pub(crate) info: InfoShape,
    pub(crate) wide_text: Option<WideText>,
}

/// The name beyond ASCII of the device in a slot, in every export the same.
pub(crate) fn wide_name(slot: u32) -> String {
    format!("büro-{slot:04}.東京.\u{1f600}.münchen.example")
}

impl Oddity {
    pub(crate) fn of_device(options: &Oddities, seed: u64, slot: u32, day: u32) -> Self {
        let mut oddity = Self::default();
        if *options == Oddities::none() {
            return oddity;
        }
        let mut dice = Dice::new(seed, Purpose::Oddity, u64::from(slot), day);
        for (share, alteration) in [
            (options.missing_attributes, Alteration::Missing),
            (options.null_attributes, Alteration::Null),
            (options.wrong_types, Alteration::WrongType),
        ] {
            if dice.chance(share) {
                oddity.top_level = FieldOddity(Some((dice.pick(TOP_LEVEL), alteration)));
                oddity.gathered = FieldOddity(Some((dice.pick(GATHERED), alteration)));
                oddity.group_id_as_text = alteration == Alteration::WrongType && dice.chance(0.3);
            }
        }
        oddity.new_attributes = dice.chance(options.new_attributes);
        if dice.chance(options.unusual_info) {
            oddity.info = dice.pick(&[
                InfoShape::Object,
                InfoShape::EmptyText,
                InfoShape::BrokenText,
                InfoShape::Null,
            ]);
        }
        if dice.chance(options.non_ascii) {
            oddity.wide_text = Some(dice.pick(&[WideText::Raw, WideText::Escaped]));
        }
        oddity
    }
}

/// A line that must be quarantined. The kinds take turns: no JSON, a JSON array, a cut object, no `DeviceId`.
pub(crate) fn bad_line(number: u32) -> String {
    match number % 4 {
        0 => format!("<Error><Code>InternalError</Code><Message>line {number}</Message></Error>"),
        1 => format!(r#"["DeviceId","{number:040x}","RbacGroupId",0]"#),
        2 => format!(
            r#"{{"DeviceId":"{number:040x}","DeviceName":"cut-{number}.fabrikam.example","OsPlatf"#
        ),
        _ => format!(
            r#"{{"DeviceName":"nameless-{number}.fabrikam.example","RbacGroupId":0,"DeviceGatheredInfo":"{{}}"}}"#
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lines_are_no_records() {
        for number in 0..8 {
            let record = serde_json::from_str::<serde_json::Value>(&bad_line(number)).ok();
            assert!(
                record.is_none_or(|value| value.get("DeviceId").is_none()),
                "line {number}"
            );
        }
    }
}
