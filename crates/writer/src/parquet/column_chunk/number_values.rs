//! Numbers of a column chunk: as indices of a dictionary while that is small, else one after the other or as differences.
//!
//! A number is kept as its 64 bits. Knows no nulls and no pages.

use dictionary::{MOST_VALUES, Slots, mix};
use parquet::basic::Encoding;
use parquet::file::statistics::{Statistics, ValueStatistics};

use super::delta::DeltaEncoder;
use super::dictionary_keys::DictionaryKeys;

/// What the 64 bits of a number are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberKind {
    Int64,
    /// Written as differences where there is no dictionary.
    Time,
    /// Sign-extended.
    Int32,
    Float64,
}

/// The numbers of the open page, and the dictionary of the chunk.
#[derive(Debug)]
pub(super) struct NumberValues {
    kind: NumberKind,
    dictionary: NumberDictionary,
    keys: DictionaryKeys,
    plain: Vec<u8>,
    deltas: DeltaEncoder,
    /// Of the numbers that are in no dictionary.
    bounds: Option<(u64, u64)>,
}

impl NumberValues {
    pub(super) fn new(kind: NumberKind, dictionary_limit: usize) -> Self {
        Self {
            kind,
            dictionary: NumberDictionary::new(),
            keys: DictionaryKeys::new(dictionary_limit),
            plain: Vec::new(),
            deltas: DeltaEncoder::default(),
            bounds: None,
        }
    }

    #[inline]
    pub(super) fn push(&mut self, number: u64) {
        if self.keys.are_in_use() {
            match self.dictionary.key_of(number) {
                Some(key) => {
                    self.keys.push(key);
                    return;
                }
                None => self.leave_dictionary(),
            }
        }
        self.push_without_dictionary(number);
    }

    fn push_without_dictionary(&mut self, number: u64) {
        match self.kind {
            NumberKind::Time => self.deltas.push(number as i64),
            kind => kind.push_plain(number, &mut self.plain),
        }
        self.bounds = Some(self.kind.widened(self.bounds, number));
    }

    /// Whether the dictionary has grown too large. The open page is then to be flushed, and the dictionary left.
    pub(super) fn dictionary_is_full(&self) -> bool {
        let bytes = self.dictionary.numbers.len() * self.kind.bytes();
        self.keys.are_for_too_large(bytes)
    }

    /// Whether the open page is shorter with its dictionary than without.
    pub(super) fn dictionary_pays(&self) -> bool {
        self.keys.pay(self.dictionary.numbers.len())
    }

    /// Writes the open page's values, and all that follow, without the dictionary.
    #[cold]
    pub(super) fn leave_dictionary(&mut self) {
        for key in self.keys.leave() {
            let number = self.dictionary.numbers[usize::from(key)];
            self.push_without_dictionary(number);
        }
    }

    /// Bytes of the open page, about.
    pub(super) fn page_bytes(&self) -> usize {
        self.keys.page_bytes() + self.plain.len() + self.deltas.len()
    }

    /// Appends the open page's values and forgets them.
    pub(super) fn finish_page(&mut self, out: &mut Vec<u8>) -> Encoding {
        let by_dictionary = self.keys.finish_page(self.dictionary.numbers.len(), out);
        by_dictionary.unwrap_or_else(|| {
            if self.kind == NumberKind::Time {
                self.deltas.finish(out);
                Encoding::DELTA_BINARY_PACKED
            } else {
                out.append(&mut self.plain);
                Encoding::PLAIN
            }
        })
    }

    /// Appends the dictionary as a page has it. Gives the number of its numbers.
    pub(super) fn dictionary(&self, out: &mut Vec<u8>) -> usize {
        for number in &self.dictionary.numbers {
            self.kind.push_plain(*number, out);
        }
        self.dictionary.numbers.len()
    }

    /// Statistics of the chunk's values, which are those of the pages and those of the dictionary if a page refers to it.
    pub(super) fn statistics(&self, with_dictionary: bool, nulls: u64) -> Statistics {
        let mut bounds = self.bounds;
        if with_dictionary {
            for number in &self.dictionary.numbers {
                bounds = Some(self.kind.widened(bounds, *number));
            }
        }
        let (min, max) = (bounds.map(|bounds| bounds.0), bounds.map(|bounds| bounds.1));
        self.kind.statistics(min, max, nulls)
    }

    /// Begins the next chunk. The last page of the one before is finished.
    pub(super) fn begin_chunk(&mut self) {
        self.dictionary.clear();
        self.keys.begin_chunk();
        self.bounds = None;
    }
}

impl NumberKind {
    fn bytes(self) -> usize {
        match self {
            Self::Int32 => 4,
            _ => 8,
        }
    }

    fn push_plain(self, number: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&number.to_le_bytes()[..self.bytes()]);
    }

    fn widened(self, bounds: Option<(u64, u64)>, number: u64) -> (u64, u64) {
        let Some((min, max)) = bounds else {
            return (number, number);
        };
        let is_less = |a: u64, b: u64| match self {
            // -0 is less than 0 here, as the format wants it of bounds.
            Self::Float64 => f64::from_bits(a).total_cmp(&f64::from_bits(b)).is_lt(),
            _ => (a as i64) < b as i64,
        };
        (
            if is_less(number, min) { number } else { min },
            if is_less(max, number) { number } else { max },
        )
    }

    fn statistics(self, min: Option<u64>, max: Option<u64>, nulls: u64) -> Statistics {
        let nulls = Some(nulls);
        match self {
            Self::Int64 | Self::Time => {
                let [min, max] = [min, max].map(|bound| bound.map(|bits| bits as i64));
                let statistics = ValueStatistics::new(min, max, None, nulls, false);
                Statistics::Int64(statistics.with_backwards_compatible_min_max(true))
            }
            Self::Int32 => {
                let [min, max] = [min, max].map(|bound| bound.map(|bits| bits as i32));
                let statistics = ValueStatistics::new(min, max, None, nulls, false);
                Statistics::Int32(statistics.with_backwards_compatible_min_max(true))
            }
            Self::Float64 => {
                // A zero may stand for either zero: readers widen bounds of 0 accordingly, so say both.
                let min = min
                    .map(f64::from_bits)
                    .map(|min| if min == 0.0 { -0.0 } else { min });
                let max = max
                    .map(f64::from_bits)
                    .map(|max| if max == 0.0 { 0.0 } else { max });
                let statistics = ValueStatistics::new(min, max, None, nulls, false);
                Statistics::Double(statistics.with_backwards_compatible_min_max(true))
            }
        }
    }
}

/// Different numbers in the order in which they came first.
#[derive(Debug)]
struct NumberDictionary {
    numbers: Vec<u64>,
    slots: Slots,
    /// Index of the number that came last: the next one is often the same.
    last: usize,
}

impl NumberDictionary {
    fn new() -> Self {
        Self {
            numbers: Vec::new(),
            slots: Slots::new(),
            last: 0,
        }
    }

    /// The number's index; none if it is new and there are too many.
    #[inline]
    fn key_of(&mut self, number: u64) -> Option<u16> {
        if self.numbers.get(self.last) == Some(&number) {
            return Some(self.last as u16);
        }
        let hash = hash(number);
        let found = self.slots.find(hash, |key| self.numbers[key] == number);
        let key = match found {
            Ok(key) => usize::from(key),
            Err(vacant) => {
                let key = self.numbers.len();
                if key == MOST_VALUES {
                    return None;
                }
                self.slots.add(&vacant, hash, key);
                self.numbers.push(number);
                if self.slots.are_too_few_for(self.numbers.len()) {
                    self.slots
                        .grow(self.numbers.iter().map(|number| self::hash(*number)));
                }
                key
            }
        };
        self.last = key;
        Some(key as u16)
    }

    fn clear(&mut self) {
        self.numbers.clear();
        self.slots.clear();
        self.last = 0;
    }
}

fn hash(number: u64) -> u64 {
    mix(number, 0)
}
