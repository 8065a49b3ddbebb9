//! Finds the index of a value by its hash: open addressing, for at most 65,535 values of a dictionary.
//!
//! Does not hold the values: its owner compares them, and gives their hashes again when there have to be more slots.

/// Most values: an index and one more fit into 16 bits.
pub const MOST_VALUES: usize = u16::MAX as usize;
const FEWEST_SLOTS: usize = 64;

/// Where the indices are.
#[derive(Debug)]
pub struct Slots(
    /// 0, or a value's index and 1; and above them 16 bits of its hash. A power of two, at least twice as many as values.
    Vec<u32>,
);

/// An empty slot in which a value would have been found.
#[derive(Debug)]
pub struct Vacant(usize);

impl Default for Slots {
    fn default() -> Self {
        Self::new()
    }
}

impl Slots {
    /// Slots of no values.
    pub fn new() -> Self {
        Self(vec![0; FEWEST_SLOTS])
    }

    /// The index of the value with this hash that `is_it` says is the one, or where to add it.
    #[inline(always)]
    pub fn find(&self, hash: u64, is_it: impl Fn(usize) -> bool) -> Result<u16, Vacant> {
        let mask = self.0.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.0[at];
            if slot == 0 {
                return Err(Vacant(at));
            }
            if slot >> 16 == tag(hash) {
                let index = (slot & 0xffff) as usize - 1;
                if is_it(index) {
                    return Ok(index as u16);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds the value that was not found. Its index is that of the last one and 1, and less than [`MOST_VALUES`].
    pub fn add(&mut self, vacant: &Vacant, hash: u64, index: usize) {
        self.0[vacant.0] = tag(hash) << 16 | (index as u32 + 1);
    }

    /// Whether so many values want more slots.
    pub fn are_too_few_for(&self, values: usize) -> bool {
        values * 2 > self.0.len()
    }

    /// Makes twice as many slots; `hashes` are those of all values, in order.
    pub fn grow(&mut self, hashes: impl Iterator<Item = u64>) {
        let mask = self.0.len() * 2 - 1;
        self.0.clear();
        self.0.resize(mask + 1, 0);
        for (index, hash) in hashes.enumerate() {
            let mut at = hash as usize & mask;
            while self.0[at] != 0 {
                at = (at + 1) & mask;
            }
            self.add(&Vacant(at), hash, index);
        }
    }

    /// Forgets all values. There stay as many slots: the next chunk's values will be about as many.
    pub fn clear(&mut self) {
        self.0.fill(0);
    }
}

fn tag(hash: u64) -> u32 {
    (hash >> 48) as u32
}

/// Both bits and their places count, in the low half and in the high one.
#[inline(always)]
pub fn mix(a: u64, b: u64) -> u64 {
    // Two odd numbers with bits all over, so that no word makes a factor 0 for long.
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd1b5_4a32_d192_ed03);
    product as u64 ^ (product >> 64) as u64
}
