//! Writes the values of a recipe: follows what `recipe` resolved, draws what is left to chance, and knows no rows.

use chrono::{DateTime, Datelike, Timelike};

use crate::dice::Stream;
use crate::recipe::{Fact, Field, Piece, TimeForm, Value};

use super::facts::Facts;
use super::text::{digits, escape_into};

/// One row's values under way.
pub(super) struct Writer<'a> {
    pub(super) facts: &'a Facts,
    pub(super) draws: Stream,
    /// Gives the digits that stay the same as long as the row exists.
    pub(super) identity: u64,
    /// Place among the device's rows.
    pub(super) row: u64,
    pub(super) case: usize,
    /// When the service generated the snapshot in which the row last changed, in seconds since 1970.
    pub(super) generated: i64,
    /// Whether keys are in the other casing.
    pub(super) other_casing: bool,
    pub(super) scratch: &'a mut Vec<u8>,
}

impl Writer<'_> {
    pub(super) fn value(&mut self, value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::Json(json) => out.extend_from_slice(json),
            Value::Text(pieces) => {
                out.push(b'"');
                for piece in pieces {
                    self.piece(piece, out);
                }
                out.push(b'"');
            }
            Value::Device(fact) => write_fact(self.facts, *fact, out),
            Value::Pick(choices) => {
                let draw = self.draws.draw();
                let picked = choices.iter().find(|(below, _)| draw < *below);
                if let Some((_, value)) = picked.or(choices.last()) {
                    self.value(value, out);
                }
            }
            Value::Integer { low, span } => self.integer(*low, *span, out),
            Value::Decimal {
                low,
                span,
                digits: width,
            } => {
                let units = low + i64::from(self.draws.up_to(*span));
                let one = 10_i64.pow(u32::from(*width));
                if units < 0 {
                    out.push(b'-');
                }
                write_number((units / one).unsigned_abs(), out);
                out.push(b'.');
                digits(
                    out,
                    (units % one).unsigned_abs() as u32,
                    usize::from(*width),
                );
            }
            Value::Chance(below) => {
                let truth = self.draws.draw() < *below;
                out.extend_from_slice(if truth { b"true" } else { b"false" });
            }
            Value::Time { form, low, span } => {
                let seconds = self.generated + low + i64::from(self.draws.up_to(*span));
                let fraction = match form.digits {
                    0 => 0,
                    digits => self.draws.up_to(10_u32.pow(u32::from(digits)) - 1),
                };
                write_time(form, seconds, fraction, out);
            }
            Value::List(values) => {
                self.list(values.iter(), out);
            }
            Value::Repeat { low, span, of } => {
                let times = low + self.draws.up_to(*span);
                self.list((0..times).map(|_| &**of), out);
            }
            Value::Object(fields) => self.object(fields, out),
            Value::JsonText(value) => self.json_text(value, out),
            Value::ByCase(values) => {
                if let Some(value) = values.get(self.case) {
                    self.value(value, out);
                }
            }
            Value::Nullable(below, value) => {
                if self.draws.draw() < *below {
                    out.extend_from_slice(b"null");
                } else {
                    self.value(value, out);
                }
            }
        }
    }

    fn list<'v>(&mut self, values: impl Iterator<Item = &'v Value>, out: &mut Vec<u8>) {
        out.push(b'[');
        for (place, value) in values.enumerate() {
            if place > 0 {
                out.push(b',');
            }
            self.value(value, out);
        }
        out.push(b']');
    }

    fn object(&mut self, fields: &[Field], out: &mut Vec<u8>) {
        out.push(b'{');
        for (place, field) in fields.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            self.key(field, out);
            self.value(&field.value, out);
        }
        out.push(b'}');
    }

    pub(super) fn key(&self, field: &Field, out: &mut Vec<u8>) {
        let key = &field.key;
        out.extend_from_slice(if self.other_casing {
            &key.other
        } else {
            &key.own
        });
    }

    /// The casing of what is inside a string is not the row's.
    fn json_text(&mut self, value: &Value, out: &mut Vec<u8>) {
        let mut text = std::mem::take(self.scratch);
        text.clear();
        let other_casing = std::mem::replace(&mut self.other_casing, false);
        self.value(value, &mut text);
        self.other_casing = other_casing;
        out.push(b'"');
        escape_into(out, &text);
        out.push(b'"');
        *self.scratch = text;
    }

    fn piece(&mut self, piece: &Piece, out: &mut Vec<u8>) {
        match piece {
            Piece::Literal(text) => out.extend_from_slice(text),
            Piece::Device(fact) => out.extend_from_slice(self.facts.text(*fact)),
            Piece::Hex { digits, upper } => self.hex(usize::from(*digits), *upper, out),
            Piece::Guid => {
                let start = out.len();
                self.hex(36, false, out);
                for at in [8, 13, 18, 23] {
                    out[start + at] = b'-';
                }
                out[start + 14] = b'4';
                out[start + 19] = b'8';
            }
            Piece::Row => write_number(self.row, out),
            Piece::Integer { low, span } => self.integer(*low, *span, out),
        }
    }

    fn integer(&mut self, low: i64, span: u32, out: &mut Vec<u8>) {
        let number = low + i64::from(self.draws.up_to(span));
        if number < 0 {
            out.push(b'-');
        }
        write_number(number.unsigned_abs(), out);
    }

    fn hex(&self, count: usize, upper: bool, out: &mut Vec<u8>) {
        let alphabet = match upper {
            true => b"0123456789ABCDEF",
            false => b"0123456789abcdef",
        };
        let mut stream = Stream::of(&[self.identity]);
        let mut bits = 0;
        for place in 0..count {
            if place % 16 == 0 {
                bits = stream.next();
            }
            out.push(alphabet[(bits & 15) as usize]);
            bits >>= 4;
        }
    }
}

fn write_fact(facts: &Facts, fact: Fact, out: &mut Vec<u8>) {
    let text = facts.text(fact);
    if text.is_empty() {
        out.extend_from_slice(b"null");
    } else if fact.is_number() {
        out.extend_from_slice(text);
    } else {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
    }
}

fn write_number(number: u64, out: &mut Vec<u8>) {
    let mut buffer = [0; 20];
    let mut start = buffer.len();
    let mut left = number;
    loop {
        start -= 1;
        buffer[start] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&buffer[start..]);
}

fn write_time(form: &TimeForm, seconds: i64, fraction: u32, out: &mut Vec<u8>) {
    let utc = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    out.push(b'"');
    digits(out, utc.year() as u32, 4);
    out.push(b'-');
    digits(out, utc.month(), 2);
    out.push(b'-');
    digits(out, utc.day(), 2);
    if let Some(separator) = form.separator {
        out.push(separator);
        let hour = utc.hour();
        digits(out, hour, if form.short_hour && hour < 10 { 1 } else { 2 });
        out.push(b':');
        digits(out, utc.minute(), 2);
        out.push(b':');
        digits(out, utc.second(), 2);
        if form.digits > 0 {
            out.push(b'.');
            digits(out, fraction, usize::from(form.digits));
        }
        out.extend_from_slice(form.zone.as_bytes());
    }
    out.push(b'"');
}
