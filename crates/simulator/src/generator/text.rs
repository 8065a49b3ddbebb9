//! JSON text written straight into byte buffers: strings, times, objects. Nothing is allocated per value.

use chrono::{DateTime, Datelike, Timelike};

use super::oddity::{Alteration, FieldOddity};

/// A value to write. Texts need no escaping; `Escaped` ones hold quotes, backslashes or text beyond ASCII.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Text(&'a str),
    Escaped(&'a [u8]),
    Json(&'a [u8]),
    Time(Time),
    /// A time in seconds since 1970, written with a space, and without fraction and zone.
    SpacedTime(i64),
}

/// A time as the wire has it: seconds since 1970, and how many fractional digits of its fraction are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) fraction: Fraction,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Fraction {
    None,
    /// `.513`
    Millis(u32),
    /// `.8476880`: units of 100 ns, seven digits.
    Ticks(u32),
}

pub(crate) fn plain(seconds: i64) -> Value<'static> {
    Value::Time(Time {
        seconds,
        fraction: Fraction::None,
    })
}

/// An object under construction, field by field, with the record's oddity applied on the way.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    oddity: FieldOddity,
    empty: bool,
}

impl<'a> Object<'a> {
    pub(crate) fn begin(out: &'a mut Vec<u8>, oddity: FieldOddity) -> Self {
        out.push(b'{');
        Self {
            out,
            oddity,
            empty: true,
        }
    }

    pub(crate) fn field(&mut self, key: &str, value: Value<'_>) {
        let alteration = self.oddity.of(key);
        if alteration == Some(Alteration::Missing) {
            return;
        }
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        match alteration {
            Some(Alteration::Null) => write_value(self.out, Value::Null),
            Some(Alteration::WrongType) => write_value(self.out, wrong_type(value)),
            _ => write_value(self.out, value),
        }
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

fn wrong_type(value: Value<'_>) -> Value<'_> {
    match value {
        Value::Bool(_) => Value::Text("Unknown"),
        Value::Time(_) | Value::SpacedTime(_) => Value::Text("-"),
        Value::Integer(_) | Value::Json(_) => Value::Text("n/a"),
        Value::Text(_) | Value::Escaped(_) | Value::Null => Value::Integer(42),
    }
}

fn write_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Json(json) => out.extend_from_slice(json),
        Value::Text(text) => {
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        }
        Value::Escaped(text) => {
            out.push(b'"');
            escape_into(out, text);
            out.push(b'"');
        }
        Value::Time(time) => {
            out.push(b'"');
            write_time(out, time);
            out.push(b'"');
        }
        Value::SpacedTime(seconds) => {
            out.push(b'"');
            write_seconds(out, seconds, b' ');
            out.push(b'"');
        }
    }
}

/// Escapes quotes and backslashes; the text has no control characters.
pub(super) fn escape_into(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        out.push(b'\\');
        out.push(rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// The text as a JSON string in ASCII, quotes included: everything else is `\uXXXX`, in pairs beyond the BMP.
pub(crate) fn ascii_json(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        if character.is_ascii() && !matches!(character, '"' | '\\') {
            json.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                json.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    json.push('"');
    json
}

fn write_seconds(out: &mut Vec<u8>, seconds: i64, between: u8) {
    let utc = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    digits(out, utc.year() as u32, 4);
    out.push(b'-');
    digits(out, utc.month(), 2);
    out.push(b'-');
    digits(out, utc.day(), 2);
    out.push(between);
    digits(out, utc.hour(), 2);
    out.push(b':');
    digits(out, utc.minute(), 2);
    out.push(b':');
    digits(out, utc.second(), 2);
}

fn write_time(out: &mut Vec<u8>, time: Time) {
    write_seconds(out, time.seconds, b'T');
    match time.fraction {
        Fraction::None => {}
        Fraction::Millis(millis) => {
            out.push(b'.');
            digits(out, millis, 3);
        }
        Fraction::Ticks(ticks) => {
            out.push(b'.');
            digits(out, ticks, 7);
        }
    }
    out.push(b'Z');
}

pub(super) fn digits(out: &mut Vec<u8>, number: u32, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut left = number;
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: Value<'_>) -> String {
        let mut out = Vec::new();
        write_value(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_have_the_fractional_digits_asked_for() {
        let time = |fraction| {
            written(Value::Time(Time {
                seconds: 1_777_793_482,
                fraction,
            }))
        };
        assert_eq!(time(Fraction::None), "\"2026-05-03T07:31:22Z\"");
        assert_eq!(time(Fraction::Millis(7)), "\"2026-05-03T07:31:22.007Z\"");
        assert_eq!(
            time(Fraction::Ticks(8_476_880)),
            "\"2026-05-03T07:31:22.8476880Z\""
        );
    }

    #[test]
    fn escapes_read_back_as_the_text() {
        let text = "a\\\"b {\"k\":\"v\\\\\"} ü";
        assert_eq!(
            serde_json::from_str::<String>(&written(Value::Escaped(text.as_bytes()))).unwrap(),
            text
        );
        let wide = "Zürich 東京 😀 \"q\" \\";
        let json = ascii_json(wide);
        assert!(json.is_ascii());
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), wide);
    }
}
