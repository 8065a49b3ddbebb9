//! Damaged text: halves of surrogate pairs, and bytes that are no UTF-8. They are replaced by U+FFFD, so that the rest of the record
//! can be read, and what was there is known by its place. Text that is no JSON for another reason stays so.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::escapes::escape;
use super::json_error::JsonErrorKind;

/// Written in the place of what is no text: the escape of U+FFFD.
const REPLACEMENT: &[u8] = b"\\ufffd";
/// Bytes of half a surrogate pair, as an escape.
const HALF: usize = 6;

/// A text without damage, and where it was.
pub(super) struct Repaired {
    pub(super) text: Vec<u8>,
    pub(super) damage: Damage,
}

/// Where a text was repaired.
#[derive(Debug)]
pub(super) struct Damage {
    original: Vec<u8>,
    /// In order.
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    /// Where the replacement begins in the repaired text.
    at: usize,
    /// Where the damage is in the original.
    was: Range<usize>,
    /// Whether the value that has it was asked for.
    is_known: bool,
}

impl Repaired {
    /// None if the text is not damaged.
    pub(super) fn of(original: &[u8]) -> Option<Self> {
        let mut text = Vec::with_capacity(original.len() + REPLACEMENT.len());
        let mut places = Vec::new();
        let mut start = 0;
        let mut replace = |text: &mut Vec<u8>, was: Range<usize>| {
            let at = text.len();
            places.push(Place {
                at,
                was,
                is_known: false,
            });
            text.extend_from_slice(REPLACEMENT);
        };
        for chunk in original.utf8_chunks() {
            let valid = chunk.valid().as_bytes();
            let mut at = 0;
            while let Some(run) = memchr::memchr(b'\\', &valid[at..]) {
                text.extend_from_slice(&valid[at..at + run]);
                at += run;
                match escape(valid, at) {
                    Err(error) if error.kind == JsonErrorKind::LoneSurrogate => {
                        replace(&mut text, start + at..start + at + HALF);
                        at += HALF;
                    }
                    Err(_) => {
                        text.push(b'\\');
                        at += 1;
                    }
                    Ok((_, end)) => {
                        text.extend_from_slice(&valid[at..end]);
                        at = end;
                    }
                }
            }
            text.extend_from_slice(&valid[at..]);
            start += valid.len();
            let invalid = chunk.invalid();
            if !invalid.is_empty() {
                replace(&mut text, start..start + invalid.len());
                start += invalid.len();
            }
        }
        let original = original.to_vec();
        let damage = Damage { original, places };
        (!damage.places.is_empty()).then_some(Self { text, damage })
    }
}

impl Damage {
    /// The offset in the original of one in the repaired text, at no replacement.
    pub(super) fn original_at(&self, at: usize) -> usize {
        let before = self.places.partition_point(|place| place.at < at);
        match self.places[..before].last() {
            Some(last) => last.was.end + at - (last.at + REPLACEMENT.len()),
            None => at,
        }
    }

    /// What the original had in this range of the repaired text, as JSON, if it is damaged there.
    pub(super) fn take(&mut self, range: Range<usize>) -> Option<String> {
        let first = self.places.partition_point(|place| place.at < range.start);
        let end = self.places.partition_point(|place| place.at < range.end);
        if first >= end {
            return None;
        }
        for place in &mut self.places[first..end] {
            place.is_known = true;
        }
        self.encoded(range)
    }

    /// The whole original up to an offset in the repaired text, as JSON, if some of its damage was not asked for: that in keys.
    pub(super) fn take_rest(&self, end: usize) -> Option<String> {
        let mut places = self.places.iter().take_while(|place| place.at < end);
        let is_all_known = places.all(|place| place.is_known);
        (!is_all_known).then(|| self.encoded(0..end)).flatten()
    }

    /// JSON has no bytes: in base64.
    fn encoded(&self, range: Range<usize>) -> Option<String> {
        let was = self.original_at(range.start)..self.original_at(range.end);
        let bytes = self.original.get(was)?;
        Some(format!(r#"{{"base64":"{}"}}"#, STANDARD.encode(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn halves_of_pairs_and_bytes_are_replaced_and_known_by_place() {
        let original =
            b"{\"a\":\"x \\ud83d\",\"b\":\"\\ud83d\\ude00\\\\ud83d\",\"c\":\"\xff\xc0y\"}";
        let Repaired { text, mut damage } = Repaired::of(original).unwrap();
        let expected = br#"{"a":"x \ufffd","b":"\ud83d\ude00\\ud83d","c":"\ufffd\ufffdy"}"#;
        assert_eq!(text, expected);
        let of = |value: &[u8]| {
            let start = text
                .windows(value.len())
                .position(|found| found == value)
                .unwrap();
            start..start + value.len()
        };
        let base64 = |bytes: &[u8]| Some(format!(r#"{{"base64":"{}"}}"#, STANDARD.encode(bytes)));
        assert_eq!(damage.take(of(br#""x \ufffd""#)), base64(br#""x \ud83d""#));
        assert_eq!(damage.take(of(br#""\ud83d\ude00\\ud83d""#)), None);
        assert!(damage.take_rest(text.len()).is_some());
        assert_eq!(
            damage.take(of(br#""\ufffd\ufffdy""#)),
            base64(b"\"\xff\xc0y\"")
        );
        assert_eq!(damage.take_rest(text.len()), None);
    }

    proptest! {
        #[test]
        fn only_damaged_text_is_changed_and_never_twice(bytes in prop::collection::vec(prop::sample::select(
            b"\\ud83dec0\"{}, \xff\xc3\xa9a".to_vec()), 0..40)) {
            match Repaired::of(&bytes) {
                None => prop_assert!(std::str::from_utf8(&bytes).is_ok()),
                Some(Repaired { text, damage }) => {
                    prop_assert!(std::str::from_utf8(&text).is_ok());
                    prop_assert!(Repaired::of(&text).is_none());
                    prop_assert_eq!(damage.original_at(text.len()), bytes.len());
                }
            }
        }
    }
}
