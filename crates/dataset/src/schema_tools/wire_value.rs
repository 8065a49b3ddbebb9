//! Which wire values fit which column type: the rules of docs/schema-files.md, short and plain. Reads no values for tables; the
//! transformer does, with fast versions of the same rules.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use serde_json::Value;

use crate::column::ColumnType;

/// What a value can be read as. Any value can be read as JSON, which therefore has no kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bool,
    Int64,
    Float64,
    Timestamp,
    Date,
    TextList,
    TextMap,
    Structs,
    /// A step of wire paths: an object, or a text that holds one.
    Object,
    /// The partition column, which takes `1001.0` too.
    Partition,
}

impl Kind {
    pub(super) const ALL: [Self; 11] = [
        Self::Text,
        Self::Bool,
        Self::Int64,
        Self::Float64,
        Self::Timestamp,
        Self::Date,
        Self::TextList,
        Self::TextMap,
        Self::Structs,
        Self::Object,
        Self::Partition,
    ];

    /// The kind of a column's values; none for JSON.
    pub(super) fn of(column_type: &ColumnType) -> Option<Self> {
        Some(match column_type {
            ColumnType::String => Self::Text,
            ColumnType::Bool => Self::Bool,
            ColumnType::Int64 => Self::Int64,
            ColumnType::Float64 => Self::Float64,
            ColumnType::Timestamp => Self::Timestamp,
            ColumnType::Date => Self::Date,
            ColumnType::StringList => Self::TextList,
            ColumnType::StringMap => Self::TextMap,
            ColumnType::StructList(_) => Self::Structs,
            ColumnType::Json => return None,
        })
    }

    /// Whether a value fits; `held` is the object or array that it is, or that its text holds.
    pub(super) fn fits(self, value: &Value, held: Option<&Value>) -> bool {
        let text = value.as_str();
        let items = || held.and_then(Value::as_array);
        match self {
            Self::Text => text.is_some(),
            Self::Bool => value.is_boolean() || text.is_some_and(is_bool),
            Self::Int64 => value.is_i64() || text.is_some_and(|text| int64(text).is_some()),
            Self::Float64 => value.is_number() || text.is_some_and(is_float64),
            Self::Timestamp => text.is_some_and(|text| timestamp(text).is_some()),
            Self::Date => text.is_some_and(is_date),
            Self::TextList => items()
                .is_some_and(|items| items.iter().all(|item| item.is_string() || item.is_null())),
            Self::Structs => items()
                .is_some_and(|items| items.iter().all(|item| item.is_object() || item.is_null())),
            Self::TextMap => held.and_then(Value::as_object).is_some_and(|object| {
                let mut values = object.values();
                values.all(|value| value.is_string() || value.is_null())
            }),
            Self::Object => held.is_some_and(Value::is_object),
            Self::Partition => {
                Self::Int64.fits(value, held)
                    || value.as_f64().is_some_and(is_whole)
                    || text.and_then(float64).is_some_and(is_whole)
            }
        }
    }

    /// Whether a text stands for null where this is expected.
    pub(super) fn is_blank(self, value: &Value) -> bool {
        value.as_str().is_some_and(|text| match self {
            Self::Text => false,
            Self::Bool => text.is_empty() || is_unknown(text),
            _ => text.is_empty(),
        })
    }
}

/// The object or array that a text holds as JSON.
pub(super) fn held_in(text: &str) -> Option<Value> {
    // A text that begins otherwise cannot hold one: most texts are not read as JSON at all.
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let value: Value = serde_json::from_str(text).ok()?;
    (value.is_object() || value.is_array()).then_some(value)
}

/// Whether a text says that a bool is not known.
pub(super) fn is_unknown(text: &str) -> bool {
    text.eq_ignore_ascii_case("unknown")
}

/// Whether a text is a day and nothing else, unlike a time that happens to be midnight.
pub(super) fn is_bare_day(text: &str) -> bool {
    text.len() == 10 && day(text).is_some()
}

/// Whether a text is the service's time of year 1, which stands for unknown and fits no column of times.
pub(super) fn is_year_one(text: &str) -> bool {
    text.starts_with("0001-01-01")
}

fn is_bool(text: &str) -> bool {
    text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")
}

/// An integer in JSON's notation: no sign but a minus, no leading zeros.
fn int64(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn is_whole(number: f64) -> bool {
    /// Up to which f64 has every integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    number.fract() == 0.0 && number.abs() < EXACT
}

fn is_float64(text: &str) -> bool {
    float64(text).is_some()
}

/// A finite number; not the words that Rust reads as numbers, such as `inf`.
fn float64(text: &str) -> Option<f64> {
    let is_plausible = text
        .bytes()
        .all(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
    if !is_plausible || text.starts_with('+') {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// `2020-12-30`, with exactly these digits.
fn day(text: &str) -> Option<NaiveDate> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (year, month, day) = (
        digits(text.get(..4)?)?,
        digits(text.get(5..7)?)?,
        digits(text.get(8..)?)?,
    );
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)
}

fn digits(text: &str) -> Option<u32> {
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.parse().ok()).flatten()
}

/// A time from 1900 to 9999 in UTC: day, `T` or a blank, `H:mm` or `HH:mm:ss` with a fraction, and a zone, of which most may be
/// missing.
pub(super) fn timestamp(text: &str) -> Option<DateTime<Utc>> {
    let (date, rest) = text.split_at_checked(10)?;
    let date = day(date)?;
    let local = if rest.is_empty() {
        date.and_time(NaiveTime::MIN)
    } else {
        let rest = rest.strip_prefix(['T', ' '])?;
        // Hours and minutes, then seconds and a fraction, if any; the rest is the zone.
        let clock_ends = rest
            .find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.'))
            .unwrap_or(rest.len());
        let (clock, zone) = rest.split_at(clock_ends);
        // An offset that moves a time over the ends of the calendar cannot come: years have four digits.
        date.and_time(time_of_day(clock)?)
            .checked_sub_signed(offset(zone)?)?
    };
    in_range(local)
}

fn in_range(time: NaiveDateTime) -> Option<DateTime<Utc>> {
    (1900..=9999).contains(&time.year()).then(|| time.and_utc())
}

fn time_of_day(text: &str) -> Option<NaiveTime> {
    let (hour, rest) = text.split_once(':')?;
    let (minute, second) = match rest.split_once(':') {
        Some((minute, second)) => (minute, Some(second)),
        None => (rest, None),
    };
    let (second, fraction) = match second.map(|second| second.split_once('.')) {
        None => ("00", None),
        Some(None) => (second?, None),
        Some(Some((second, fraction))) => (second, Some(fraction)),
    };
    let fraction_fits =
        fraction.is_none_or(|fraction| fraction.len() <= 9 && digits(fraction).is_some());
    if hour.len() > 2 || minute.len() != 2 || second.len() != 2 || !fraction_fits {
        return None;
    }
    // Fractions matter for midnights alone; columns keep six digits.
    let is_after = fraction.is_some_and(|text| text.bytes().take(6).any(|digit| digit != b'0'));
    let nanoseconds = u32::from(is_after);
    NaiveTime::from_hms_nano_opt(digits(hour)?, digits(minute)?, digits(second)?, nanoseconds)
}

/// How far a zone is ahead of UTC.
fn offset(zone: &str) -> Option<TimeDelta> {
    if matches!(zone, "" | "Z" | " Z" | " UTC") {
        return Some(TimeDelta::zero());
    }
    let signed = zone.strip_prefix(' ').unwrap_or(zone);
    let (is_west, rest) = match signed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, signed.strip_prefix('+')?),
    };
    let (hours, minutes) = match rest.len() {
        5 => rest.split_once(':')?,
        4 => rest.split_at_checked(2)?,
        _ => return None,
    };
    if hours.len() != 2 {
        return None;
    }
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let ahead = TimeDelta::minutes(i64::from(hours * 60 + minutes));
    Some(if is_west { -ahead } else { ahead })
}

/// A day, or a time that is midnight in UTC.
fn is_date(text: &str) -> bool {
    timestamp(text).is_some_and(|time| time.time() == NaiveTime::MIN)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fits(kind: Kind, value: &Value) -> bool {
        let held = value.as_str().and_then(held_in);
        kind.fits(value, held.as_ref().or(Some(value)))
    }

    #[test]
    fn the_services_shapes_of_time_are_times() {
        for text in [
            "2020-12-30 14:17:26",
            "2020-11-03 10:13:34.8476880",
            "2022-05-26T18:46:27.000Z",
            "2021-05-11T00:00:00+00:00",
            "2026-08-31 9:05",
            "2026-08-31T09:05Z",
            "2026-08-31",
            "2026-08-31 9:05:00 +0200",
            "2026-08-31 09:05:00.25 UTC",
            "9999-12-31T23:59:59.9999999+00:01",
            "1899-12-31T23:59:00-00:01",
        ] {
            assert!(fits(Kind::Timestamp, &json!(text)), "{text}");
        }
        for text in [
            "",
            "0001-01-01T00:00:00Z",
            "1899-12-31T23:59:59Z",
            "1900-01-01T00:00:00+00:01",
            "9999-12-31T23:59:00-00:01",
            "2022-02-29T00:00:00Z",
            "2022-01-01T",
            "2022-01-01T1",
            "2022-01-01T1:5:00",
            "2022-01-01T01:05.5",
            "2022-01-01T01:05:00 ",
            "2022-01-01T01:05:00UTC",
            "2022-01-01T01:05:00+01",
            "2022-01-01T24:00:00Z",
            "2022-01-01T23:59:60Z",
            "2022-01-01T00:00:00.Z",
            "2022-01-01T00:00:00.1234567890Z",
            "2022-01-01t00:00:00Z",
            "+022-01-01T00:00:00Z",
            "2022-01-01T00:00:00é",
            "2022-01-0é",
            "20é2-01-01",
        ] {
            assert!(!fits(Kind::Timestamp, &json!(text)), "{text}");
        }
    }

    #[test]
    fn dates_are_days_or_midnights() {
        for (text, is_date) in [
            ("2020-12-30", true),
            ("2021-05-11T00:00:00+00:00", true),
            ("2021-05-11T02:00:00+02:00", true),
            ("2021-05-11T00:00:00.000001Z", false),
            ("2021-05-11T00:00:00.0000001Z", true),
            ("2021-05-11T00:00:01Z", false),
            ("0001-01-01", false),
        ] {
            assert_eq!(fits(Kind::Date, &json!(text)), is_date, "{text}");
        }
    }

    #[test]
    fn numbers_and_bools_may_come_as_texts() {
        assert!(fits(Kind::Int64, &json!("-12")) && fits(Kind::Int64, &json!(7)));
        for value in [
            json!("007"),
            json!("+1"),
            json!("-0"),
            json!(1.0),
            json!(""),
        ] {
            assert!(!fits(Kind::Int64, &value), "{value}");
        }
        assert!(fits(Kind::Float64, &json!("1e3")) && !fits(Kind::Float64, &json!("inf")));
        assert!(fits(Kind::Partition, &json!(1001.0)) && fits(Kind::Partition, &json!("1001")));
        assert!(fits(Kind::Bool, &json!("TRUE")) && !fits(Kind::Bool, &json!("Unknown")));
        assert!(Kind::Bool.is_blank(&json!("Unknown")) && !Kind::Text.is_blank(&json!("")));
    }

    #[test]
    fn collections_may_come_as_texts() {
        assert!(fits(Kind::TextList, &json!(["a", null])));
        assert!(fits(Kind::TextList, &json!(" [\"a\"]")));
        assert!(!fits(Kind::TextList, &json!([1])));
        assert!(fits(Kind::TextMap, &json!("{\"a\": null}")));
        assert!(fits(Kind::Structs, &json!([{}, null])));
        assert!(fits(Kind::Object, &json!("{}")) && !fits(Kind::Object, &json!("{")));
    }
}
