//! Texts to values: which texts are a bool, an integer, a number, a timestamp, a date. See `ColumnType` for the rules.

use crate::columns::Column;

const MICROSECONDS: i64 = 1_000_000;
const DAY: i64 = 86_400 * MICROSECONDS;
/// 1900-01-01: earlier times are the service's `0001-01-01`, which stands for unknown.
const EARLIEST_DAY: i64 = -25_567;
/// 9999-12-31: readers know no later years.
const LATEST_DAY: i64 = 2_932_896;

/// Which texts stand for null in a column that is not of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NullText {
    /// The empty one.
    Empty,
    /// Also `Unknown`, of a bool.
    Unknown,
    /// Also a time of the first day of year 1: the service has no date.
    YearOne,
}

impl NullText {
    /// Those of a column.
    pub(crate) fn of(column: &Column) -> Self {
        match column {
            Column::Bool(_) => Self::Unknown,
            Column::Timestamp(_) | Column::Date(_) => Self::YearOne,
            _ => Self::Empty,
        }
    }

    /// Whether a text is one of them.
    pub(crate) fn has(self, text: &[u8]) -> bool {
        text.is_empty()
            || match self {
                Self::Empty => false,
                Self::Unknown => text.eq_ignore_ascii_case(b"unknown"),
                Self::YearOne => text.starts_with(b"0001-01-01"),
            }
    }
}

pub(crate) fn boolean(text: &[u8]) -> Option<bool> {
    if text.eq_ignore_ascii_case(b"true") {
        Some(true)
    } else if text.eq_ignore_ascii_case(b"false") {
        Some(false)
    } else {
        None
    }
}

/// An integer in JSON's notation; as in `serde_json`, `-0` is none.
pub(crate) fn int64(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if canonical {
        std::str::from_utf8(text).ok()?.parse().ok()
    } else {
        None
    }
}

/// The integer that a number is, if it is one: a tool in between writes `1001.0` for 1001.
pub(crate) fn whole(number: f64) -> Option<i64> {
    /// Up to which f64 has every integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i64)
}

/// A finite number in JSON's notation.
pub(crate) fn float64(text: &[u8]) -> Option<f64> {
    let plausible = text
        .iter()
        .all(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
    if !plausible || text.first() == Some(&b'+') {
        return None;
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
}

#[inline]
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then(|| value * 10 + i64::from(digit))
    })
}

/// Days from 1970-01-01 of `yyyy-MM-dd`, from year 0 on. Whether it is in range is for the caller to check, last of all.
fn day(text: &[u8]) -> Option<i64> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let (year, month, day) = (
        number(&text[..4])?,
        number(&text[5..7])?,
        number(&text[8..])?,
    );
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    // Years are counted from March, so that the leap day is the last of its year; 719468 days lie before 1970.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468)
}

fn in_range(microseconds: i64) -> bool {
    (EARLIEST_DAY * DAY..(LATEST_DAY + 1) * DAY).contains(&microseconds)
}

/// Microseconds from 1970-01-01T00:00:00Z, from 1900 to 9999 in UTC. Digits beyond the sixth of the fraction are cut off.
///
/// `yyyy-MM-dd`, `T` or a blank, and `HH:mm:ss`, then a fraction and `Z` or an offset, if any. Read as well: hours of one digit, no
/// seconds, no time at all (midnight), offsets without a colon, ` UTC`, and a blank before the offset.
#[inline]
pub(crate) fn timestamp(text: &[u8]) -> Option<i64> {
    usual_timestamp(text).or_else(|| unusual_timestamp(text))
}

#[inline]
fn usual_timestamp(text: &[u8]) -> Option<i64> {
    if text.len() < 19 || !matches!(text[10], b'T' | b' ') || text[13] != b':' || text[16] != b':' {
        return None;
    }
    let seconds = second_of_day(
        number(&text[11..13])?,
        number(&text[14..16])?,
        number(&text[17..19])?,
    )?;
    instant(day(&text[..10])?, seconds, &text[19..])
}

#[cold]
fn unusual_timestamp(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let days = day(date)?;
    if rest.is_empty() {
        return instant(days, 0, rest);
    }
    let rest = rest.strip_prefix(b"T").or(rest.strip_prefix(b" "))?;
    let hour_digits = rest.iter().position(|byte| *byte == b':')?;
    if !(1..=2).contains(&hour_digits) {
        return None;
    }
    let (hour, rest) = rest.split_at(hour_digits);
    let (minute, rest) = rest[1..].split_at_checked(2)?;
    let (second, rest) = match rest.strip_prefix(b":") {
        Some(rest) => rest.split_at_checked(2)?,
        // A fraction is one of seconds.
        None if rest.starts_with(b".") => return None,
        None => (&b"0"[..], rest),
    };
    let seconds = second_of_day(number(hour)?, number(minute)?, number(second)?)?;
    instant(days, seconds, rest)
}

fn second_of_day(hour: i64, minute: i64, second: i64) -> Option<i64> {
    (hour <= 23 && minute <= 59 && second <= 59).then_some(hour * 3600 + minute * 60 + second)
}

/// The time of a day and second; `rest` has its fraction and offset.
fn instant(days: i64, seconds: i64, mut rest: &[u8]) -> Option<i64> {
    let mut fraction = 0;
    if let Some(tail) = rest.strip_prefix(b".") {
        let digits = tail.iter().take_while(|b| b.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return None;
        }
        let kept = digits.min(6);
        fraction = number(&tail[..kept])? * 10_i64.pow(6 - kept as u32);
        rest = &tail[digits..];
    }
    let offset_minutes = match rest {
        b"" | b"Z" | b" Z" | b" UTC" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]
        | [sign @ (b'+' | b'-'), h1, h2, m1, m2]
        | [b' ', sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]
        | [b' ', sign @ (b'+' | b'-'), h1, h2, m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let seconds = seconds - offset_minutes * 60;
    // Only now: an offset may move a time into the range, or out of it.
    Some(days * DAY + seconds * MICROSECONDS + fraction).filter(|time| in_range(*time))
}

/// Days from 1970-01-01 of a date, or of a timestamp at midnight UTC, from 1900 to 9999.
pub(crate) fn date(text: &[u8]) -> Option<i32> {
    let microseconds = match day(text) {
        Some(days) => days * DAY,
        None => timestamp(text)?,
    };
    (in_range(microseconds) && microseconds.rem_euclid(DAY) == 0)
        .then(|| i32::try_from(microseconds.div_euclid(DAY)).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_services_shapes_of_time_are_read() {
        let micros = |text: &str| {
            DateTime::parse_from_rfc3339(text)
                .unwrap()
                .timestamp_micros()
        };
        for (text, same) in [
            ("2020-12-30 14:17:26", "2020-12-30T14:17:26Z"),
            ("2021-01-11 09:47:58.854", "2021-01-11T09:47:58.854Z"),
            ("2020-11-03 10:13:34.8476880", "2020-11-03T10:13:34.847688Z"),
            ("2020-11-03 10:13:34.8476889", "2020-11-03T10:13:34.847688Z"),
            ("2022-05-26T18:46:27.000Z", "2022-05-26T18:46:27Z"),
            ("2021-05-11T00:00:00+00:00", "2021-05-11T00:00:00Z"),
            ("2021-05-11T00:30:00+02:00", "2021-05-10T22:30:00Z"),
            ("2021-05-11T00:30:00-05:30", "2021-05-11T06:00:00Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5Z"),
            ("9999-12-31T23:59:59.9999999", "9999-12-31T23:59:59.999999Z"),
            (
                "9999-12-31T23:59:59.9999999+00:01",
                "9999-12-31T23:58:59.999999Z",
            ),
            ("1899-12-31T23:59:00-00:01", "1900-01-01T00:00:00Z"),
            ("2026-08-31 9:05:00", "2026-08-31T09:05:00Z"),
            ("2026-08-31T9:05:00.5Z", "2026-08-31T09:05:00.5Z"),
            ("2026-08-31 9:05", "2026-08-31T09:05:00Z"),
            ("2026-08-31T09:05Z", "2026-08-31T09:05:00Z"),
            ("2026-08-31", "2026-08-31T00:00:00Z"),
            ("2026-08-31T09:05:00+0000", "2026-08-31T09:05:00Z"),
            ("2026-08-31 9:05:00 +0200", "2026-08-31T07:05:00Z"),
            ("2026-08-31 09:05:00 +02:00", "2026-08-31T07:05:00Z"),
            ("2026-08-31 09:05:00 UTC", "2026-08-31T09:05:00Z"),
            ("2026-08-31 09:05:00.25 UTC", "2026-08-31T09:05:00.25Z"),
        ] {
            assert_eq!(timestamp(text.as_bytes()), Some(micros(same)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "-",
            "Unknown",
            "0001-01-01T00:00:00Z",
            "1899-12-31T23:59:59Z",
            "1900-01-01T00:00:00+00:01",
            "9999-12-31T23:59:00-00:01",
            "9999-12-31T23:59:59.9999999-23:59",
            "0000-01-01T00:00:00+23:59",
            "2022-02-29T00:00:00Z",
            "2022-13-01T00:00:00Z",
            "2022-01-01T",
            "2022-01-01 ",
            "2022-01-01Z",
            "2022-01-01T1",
            "2022-01-01T:05:00",
            "2022-01-01T001:05:00",
            "2022-01-01T1:5:00",
            "2022-01-01T01:05.5",
            "2022-01-01T01:05:0",
            "2022-01-01T01:05:00UTC",
            "2022-01-01T01:05:00 ",
            "2022-01-01T01:05:00+01",
            "2022-01-01T24:00:00Z",
            "2022-01-01T23:60:00Z",
            "2022-01-01T23:59:60Z",
            "2022-01-01T00:00:00.Z",
            "2022-01-01T00:00:00.1234567890Z",
            "2022-01-01T00:00:00z",
            "2022-01-01t00:00:00Z",
            "2022-01-01T00:00:00 ",
            "+022-01-01T00:00:00Z",
            "2022-1-01T00:00:00Z",
            "2022-01-01T00:00:00é",
        ] {
            assert_eq!(timestamp(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn dates_are_days_or_midnights() {
        let days = |y, m, d| {
            let date = NaiveDate::from_ymd_opt(y, m, d).unwrap();
            Some((date - NaiveDate::default()).num_days() as i32)
        };
        assert_eq!(date(b"2020-12-30"), days(2020, 12, 30));
        assert_eq!(date(b"1969-12-30"), days(1969, 12, 30));
        assert_eq!(date(b"2021-05-11T00:00:00+00:00"), days(2021, 5, 11));
        assert_eq!(date(b"1900-01-01"), days(1900, 1, 1));
        assert_eq!(date(b"9999-12-31"), days(9999, 12, 31));
        assert_eq!(date(b"9999-12-31T23:00:00-01:00"), None);
        assert_eq!(date(b"1899-12-31"), None);
        assert_eq!(date(b"2021-05-11T00:00:01Z"), None);
        assert_eq!(date(b"2021-05-1"), None);
    }

    #[test]
    fn numbers_and_bools_follow_json() {
        assert_eq!(int64(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(int64(b"9223372036854775808"), None);
        for text in ["", "-", "-0", "01", "+1", "1.0", "1e3", "0x1", " 1"] {
            assert_eq!(int64(text.as_bytes()), None, "{text}");
        }
        for (number, integer) in [
            (1001.0, Some(1001)),
            (-1.0, Some(-1)),
            (1.5, None),
            (1e300, None),
        ] {
            assert_eq!(whole(number), integer, "{number}");
        }
        assert_eq!(float64(b"-1.5e3"), Some(-1500.0));
        for text in ["", "nan", "inf", "infinity", "+1", "1e999", " 1"] {
            assert_eq!(float64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(
            (boolean(b"TRUE"), boolean(b"False"), boolean(b"Unknown")),
            (Some(true), Some(false), None)
        );
    }

    proptest! {
        #[test]
        fn timestamps_agree_with_chrono(micros in -2_208_988_800_000_000_i64..253_402_300_800_000_000) {
            let time = DateTime::from_timestamp_micros(micros).unwrap();
            let text = time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
            prop_assert_eq!(timestamp(text.as_bytes()), Some(micros));
        }

        #[test]
        fn times_with_an_offset_are_in_range_as_instants(
            edge in prop::sample::select(vec![-2_208_988_800_i64, 253_402_300_800]),
            seconds in -90_000_i64..90_000,
            minutes in -1_439_i32..1_440,
            fraction in "(\\.[0-9]{1,9})?",
        ) {
            let offset = FixedOffset::east_opt(minutes * 60).unwrap();
            let utc = DateTime::from_timestamp(edge + seconds, 0).unwrap();
            let local = utc.with_timezone(&offset);
            prop_assume!(local.year() <= 9999);
            let text = format!("{}{fraction}{}", local.format("%Y-%m-%dT%H:%M:%S"), local.format("%:z"));
            let micros = DateTime::parse_from_rfc3339(&text).unwrap().timestamp_micros();
            let expected = Some(micros).filter(|_| (1900..=9999).contains(&utc.year()));
            prop_assert_eq!(timestamp(text.as_bytes()), expected, "{}", text);
        }

        #[test]
        fn no_text_is_a_time_that_chrono_refuses(text in "[0-9]{4}-[0-3][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-9]{2}:[0-9]{2}") {
            let oracle = NaiveDateTime::parse_from_str(&text.replace(' ', "T"), "%Y-%m-%dT%H:%M:%S")
                .ok()
                // chrono reads second 60 as a leap second.
                .filter(|time| &text[17..] != "60" && time.date() >= NaiveDate::from_ymd_opt(1900, 1, 1).unwrap());
            prop_assert_eq!(timestamp(text.as_bytes()), oracle.map(|time| time.and_utc().timestamp_micros()));
        }
    }
}
