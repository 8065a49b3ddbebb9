//! Keys as the service usually writes them, at each level of JSON strings in JSON strings: bytes and patterns to compare with.

/// How a quote is written in a text, in a JSON string, and in a JSON string in a JSON string.
pub(super) const QUOTES: [&[u8]; LEVELS] = [b"\"", b"\\\"", b"\\\\\\\""];
/// How deep JSON in JSON strings is read in place; deeper ones are unescaped.
pub(super) const LEVELS: usize = 3;

/// A key as it is usually written at each level: between quotes and with a colon after them.
#[derive(Debug)]
pub(super) struct WrittenKey {
    bytes: [Vec<u8>; LEVELS],
    patterns: [KeyPattern; LEVELS],
}

impl WrittenKey {
    /// None for a key that cannot be written without escapes.
    pub(super) fn new(key: &str) -> Option<Self> {
        let plain = !key
            .bytes()
            .any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
        let written = QUOTES.map(|quote| [quote, key.as_bytes(), quote, b":"].concat());
        plain.then(|| Self {
            patterns: written.each_ref().map(|written| KeyPattern::new(written)),
            bytes: written,
        })
    }

    /// The key as it is written at a level.
    #[inline(always)]
    pub(super) fn bytes(&self, level: usize) -> &[u8] {
        &self.bytes[level]
    }

    /// The pattern of the key as it is written at a level.
    #[inline(always)]
    pub(super) fn pattern(&self, level: usize) -> &KeyPattern {
        &self.patterns[level]
    }
}

/// Bytes of a key, with its quotes and colon, that are compared at a time.
pub(super) const KEY_BYTES: usize = 48;
const KEY_WORDS: usize = KEY_BYTES / 8;

/// A key with its quotes and its colon, as bytes to compare.
#[derive(Debug, Clone)]
pub(super) struct KeyPattern {
    /// Which bits of the text's next words are to be compared, and what they are if the key comes next.
    pub(super) masks: [u64; KEY_WORDS],
    pub(super) words: [u64; KEY_WORDS],
    pub(super) length: usize,
}

impl KeyPattern {
    /// What is so long that it does not fit never comes next.
    pub(super) fn new(written: &[u8]) -> Self {
        let words = |byte: &dyn Fn(usize) -> u8| {
            std::array::from_fn(|word| {
                u64::from_ne_bytes(std::array::from_fn(|index| byte(word * 8 + index)))
            })
        };
        if written.len() > KEY_BYTES {
            return Self {
                masks: [0; KEY_WORDS],
                words: [1; KEY_WORDS],
                length: 0,
            };
        }
        Self {
            masks: words(&|at| if at < written.len() { 0xff } else { 0 }),
            words: words(&|at| written.get(at).copied().unwrap_or_default()),
            length: written.len(),
        }
    }
}
