//! How a value comes about, resolved: what the generator follows for each row, and nothing that it would have to look up.
//! Literal parts are JSON already, escaped, so that most of a row is copied.

/// One of a record's keys and how its value comes about.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) key: Key,
    pub(crate) value: Value,
}

/// A key as JSON with its colon (`"DeviceId":`), in the recipe's casing and in the other one.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) own: Box<[u8]>,
    pub(crate) other: Box<[u8]>,
}

impl Key {
    pub(super) fn new(key: &str, other: &str) -> Self {
        let json = |key: &str| format!("{}:", serde_json::Value::from(key)).into_bytes();
        Self {
            own: json(key).into(),
            other: json(other).into(),
        }
    }
}

/// How a value comes about. Shares are thresholds of a 32-bit draw: the value is taken where the draw is below.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// JSON text, the same in every row.
    Json(Box<[u8]>),
    /// A string put together from pieces.
    Text(Box<[Piece]>),
    /// A fact of the device: a string or a number, or null where it has none.
    Device(Fact),
    /// One of several: the first whose threshold is above the draw.
    Pick(Box<[(u64, Value)]>),
    /// A whole number, bounds included.
    Integer {
        low: i64,
        span: u32,
    },
    /// A decimal number, in units of its last digit.
    Decimal {
        low: i64,
        span: u32,
        digits: u8,
    },
    Chance(u64),
    /// A time so many seconds from the snapshot's.
    Time {
        form: TimeForm,
        low: i64,
        span: u32,
    },
    List(Box<[Value]>),
    /// A list of so many values of one kind.
    Repeat {
        low: u32,
        span: u32,
        of: Box<Value>,
    },
    Object(Box<[Field]>),
    /// A string that holds the JSON text of a value.
    JsonText(Box<Value>),
    /// By the row's case.
    ByCase(Box<[Value]>),
    /// Null below the threshold.
    Nullable(u64, Box<Value>),
}

/// A part of a string.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// Escaped text.
    Literal(Box<[u8]>),
    Device(Fact),
    /// So many hexadecimal digits, always the same ones for a row of a device.
    Hex {
        digits: u8,
        upper: bool,
    },
    /// Likewise, in the form of a GUID.
    Guid,
    /// The row's number within the device.
    Row,
    /// A whole number, bounds included.
    Integer {
        low: i64,
        span: u32,
    },
}

/// What a row can say of its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
    Id,
    Name,
    ShortName,
    OsPlatform,
    OsVersion,
    /// Of Windows: the third number of its version.
    OsBuild,
    Architecture,
    GroupId,
    GroupName,
}

impl Fact {
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "id" => Self::Id,
            "name" => Self::Name,
            "short_name" => Self::ShortName,
            "os_platform" => Self::OsPlatform,
            "os_version" => Self::OsVersion,
            "os_build" => Self::OsBuild,
            "architecture" => Self::Architecture,
            "group_id" => Self::GroupId,
            "group_name" => Self::GroupName,
            _ => return None,
        })
    }

    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::GroupId | Self::OsBuild)
    }
}

/// The form of a time, told by an example such as `2026-05-03 09:47:58.854`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimeForm {
    /// Between date and time; without one there is only the date.
    pub(crate) separator: Option<u8>,
    /// Hours below ten have one digit.
    pub(crate) short_hour: bool,
    /// Of the fraction of a second.
    pub(crate) digits: u8,
    /// `Z`, `+00:00` or nothing.
    pub(crate) zone: &'static str,
}

impl TimeForm {
    pub(super) fn of_example(example: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{example}` is no time such as 2026-05-03 09:47:58.854 or 2026-05-03");
        let is_like = |text: &str, like: &str| {
            text.len() == like.len()
                && text.bytes().zip(like.bytes()).all(|(byte, like)| {
                    if like == b'0' {
                        byte.is_ascii_digit()
                    } else {
                        byte == like
                    }
                })
        };
        let date = example.get(..10).filter(|date| is_like(date, "0000-00-00"));
        let rest = &example[date.ok_or_else(wrong)?.len()..];
        let mut form = Self {
            separator: None,
            short_hour: false,
            digits: 0,
            zone: "",
        };
        let Some(separator) = rest.bytes().next() else {
            return Ok(form);
        };
        if !matches!(separator, b' ' | b'T') {
            return Err(wrong());
        }
        form.separator = Some(separator);
        let (hour, rest) = rest[1..].split_once(':').ok_or_else(wrong)?;
        form.short_hour = is_like(hour, "0");
        if !form.short_hour && !is_like(hour, "00") {
            return Err(wrong());
        }
        let seconds = rest.get(..5).filter(|seconds| is_like(seconds, "00:00"));
        let mut rest = &rest[seconds.ok_or_else(wrong)?.len()..];
        if let Some(fraction) = rest.strip_prefix('.') {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            if !(1..=9).contains(&digits) {
                return Err(wrong());
            }
            form.digits = digits as u8;
            rest = &fraction[digits..];
        }
        form.zone = match rest {
            "" => "",
            "Z" => "Z",
            "+00:00" => "+00:00",
            _ => return Err(wrong()),
        };
        Ok(form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_tells_the_form() {
        let form = |example| TimeForm::of_example(example).unwrap();
        let short = form("2026-08-31 9:05:00");
        assert_eq!((short.separator, short.short_hour), (Some(b' '), true));
        let millis = form("2026-05-03T09:47:58.854Z");
        assert_eq!(
            (millis.separator, millis.digits, millis.zone),
            (Some(b'T'), 3, "Z")
        );
        assert_eq!(form("2026-05-03 09:47:58.8476880").digits, 7);
        assert_eq!(form("2026-05-03T00:00:00+00:00").zone, "+00:00");
        assert_eq!(form("2026-05-03").separator, None);
        for wrong in [
            "",
            "now",
            "2026-05-03x09:47:58",
            "2026-05-03 09:47",
            "2026-05-03 09:47:58+02:00",
            "2026-05-03 9:5:00",
            "2026-05-03 09:47:5é",
        ] {
            assert!(TimeForm::of_example(wrong).is_err(), "{wrong}");
        }
    }
}
