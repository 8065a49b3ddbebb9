//! Smallest and largest value of a column chunk, and how Parquet's statistics say them.

use parquet::data_type::ByteArray;

/// Longer bounds of texts are cut to this many bytes; they stay valid bounds.
pub(crate) const BOUND_BYTES: usize = 64;

/// The bounds of texts.
#[derive(Debug, Default)]
pub(super) struct TextBounds {
    /// Whether there are any.
    known: bool,
    min: Vec<u8>,
    max: Vec<u8>,
    /// The first bytes of both, in the order of bytes: most texts lie between them, and need no further look.
    min_prefix: u64,
    max_prefix: u64,
}

impl TextBounds {
    #[inline]
    pub(super) fn add(&mut self, text: &[u8]) {
        let prefix = prefix(text);
        if self.known && prefix > self.min_prefix && prefix < self.max_prefix {
            return;
        }
        self.widen(text, prefix);
    }

    fn widen(&mut self, text: &[u8], prefix: u64) {
        if !self.known || text < self.min.as_slice() {
            self.min.clear();
            self.min.extend_from_slice(text);
            self.min_prefix = prefix;
        }
        if !self.known || text > self.max.as_slice() {
            self.max.clear();
            self.max.extend_from_slice(text);
            self.max_prefix = prefix;
        }
        self.known = true;
    }

    pub(super) fn clear(&mut self) {
        self.known = false;
    }

    /// Lower bound and whether it is itself a value; then the same of the upper one.
    pub(super) fn cut(&self) -> Option<[(ByteArray, bool); 2]> {
        self.known.then(|| {
            let lower = cut_down(&self.min);
            let upper = cut_up(&self.max);
            [lower, upper].map(|(bound, exact)| (ByteArray::from(bound), exact))
        })
    }
}

fn prefix(text: &[u8]) -> u64 {
    match text.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None => {
            let mut first = [0; 8];
            first[..text.len()].copy_from_slice(text);
            u64::from_be_bytes(first)
        }
    }
}

fn cut_down(text: &[u8]) -> (Vec<u8>, bool) {
    cut(text, |beginning| Some(beginning.to_owned()))
}

fn cut_up(text: &[u8]) -> (Vec<u8>, bool) {
    cut(text, next)
}

/// A bound for a text, and whether it is the text itself: one that is too long has the bound that is made of its longest
/// beginning that is not too long and ends between characters.
fn cut(text: &[u8], bound: impl FnOnce(&str) -> Option<String>) -> (Vec<u8>, bool) {
    let shorter = || {
        let text = std::str::from_utf8(text).ok()?;
        bound(&text[..text.floor_char_boundary(BOUND_BYTES)])
    };
    let is_long = text.len() > BOUND_BYTES;
    match is_long.then(shorter).flatten() {
        Some(bound) => (bound.into_bytes(), false),
        None => (text.to_vec(), true),
    }
}

/// A text above all that begin with `text`, and no longer: the last character that has a next one of its length is
/// replaced by it, and what follows is dropped.
fn next(text: &str) -> Option<String> {
    text.char_indices().rev().find_map(|(at, character)| {
        let next = char::from_u32(u32::from(character) + 1)?;
        (next.len_utf8() == character.len_utf8()).then(|| {
            let mut above = text[..at].to_owned();
            above.push(next);
            above
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_texts_lie_within_the_bounds(
            texts in prop::collection::vec("[a-c\u{10ffff}\u{7f}é\0]{0,3}x{0,70}[\u{10ffff}\u{d7ff}]{0,20}", 1..20),
        ) {
            let mut bounds = TextBounds::default();
            for text in &texts {
                bounds.add(text.as_bytes());
            }
            let [(min, min_exact), (max, max_exact)] = bounds.cut().unwrap();
            let smallest = texts.iter().min().unwrap().as_bytes();
            let largest = texts.iter().max().unwrap().as_bytes();
            prop_assert!(min.data() <= smallest && max.data() >= largest);
            prop_assert_eq!(min_exact, min.data() == smallest);
            prop_assert_eq!(max_exact, max.data() == largest);
            for bound in [&min, &max] {
                prop_assert!(std::str::from_utf8(bound.data()).is_ok());
            }
            prop_assert!(min.len() <= BOUND_BYTES);
        }
    }

    #[test]
    fn a_bound_is_cut_between_characters_and_the_upper_one_goes_up() {
        let long = format!("{}é{}", "a".repeat(63), "b".repeat(9));
        assert_eq!(
            cut_down(long.as_bytes()),
            ("a".repeat(63).into_bytes(), false)
        );
        let above = format!("{}b", "a".repeat(62));
        assert_eq!(cut_up(long.as_bytes()), (above.into_bytes(), false));
        let highest = "\u{10ffff}".repeat(20);
        assert_eq!(
            cut_up(highest.as_bytes()),
            (highest.clone().into_bytes(), true)
        );
    }

    #[test]
    fn no_texts_have_no_bounds() {
        let mut bounds = TextBounds::default();
        assert!(bounds.cut().is_none());
        bounds.add(b"a");
        bounds.clear();
        assert!(bounds.cut().is_none());
    }
}
