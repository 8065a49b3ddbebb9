//! Finds the bytes that may end a string, 32 or 8 at a time.
//!
//! The one place of this crate with unsafe code: SSE2 in place of arithmetic on words of 8 bytes took 6% off the decoder's time.
//! The property test below and the fuzz target `record` hold it to what it says.

/// Bytes that are looked at together.
pub(super) const CHUNK: usize = 32;

/// One bit for each byte: whether it is a quote, a backslash or a control character.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn special_bytes(bytes: &[u8; CHUNK]) -> u32 {
    let (words, _) = bytes.as_chunks::<8>();
    let [a, b, c, d] = [0, 1, 2, 3].map(|index| u64::from_le_bytes(words[index]));
    // SAFETY: every x86_64 CPU has SSE2, which is all that the function asks for; it takes and gives numbers.
    #[allow(unsafe_code)]
    unsafe {
        special_of_16(a, b) | special_of_16(c, d) << 16
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
fn special_of_16(low: u64, high: u64) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8,
    };
    let bytes = _mm_set_epi64x(high as i64, low as i64);
    let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
    let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
    _mm_movemask_epi8(_mm_or_si128(control, _mm_or_si128(quote, backslash))) as u32
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn special_bytes(bytes: &[u8; CHUNK]) -> u32 {
    bytes.iter().enumerate().fold(0, |marks, (index, byte)| {
        marks | u32::from(matches!(byte, b'"' | b'\\' | 0..0x20)) << index
    })
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Marks, in the high bit of each byte, the quotes, backslashes and control characters among eight bytes. Only the lowest mark
/// is exact: a subtraction's borrow may mark bytes above a true one.
#[inline(always)]
pub(super) fn special_of_word(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let marks = (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash)
        | (word.wrapping_sub(ONES * 0x20) & !word);
    marks & HIGH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn special_are_quotes_backslashes_and_control_characters(bytes in any::<[u8; CHUNK]>()) {
            let marks = special_bytes(&bytes);
            for (index, byte) in bytes.iter().enumerate() {
                let is_special = matches!(byte, b'"' | b'\\' | 0..0x20);
                prop_assert_eq!(marks >> index & 1 == 1, is_special, "{}", byte);
            }
        }
    }

    #[test]
    fn every_special_byte_is_marked_in_every_place() {
        for byte in 0..=u8::MAX {
            let is_special = matches!(byte, b'"' | b'\\' | 0..0x20);
            let expected = if is_special { u32::MAX } else { 0 };
            assert_eq!(special_bytes(&[byte; CHUNK]), expected, "{byte}");
        }
    }
}
