//! Seeded random choices that are the same on every machine: only whole 32-bit draws of `ChaCha8` decide, or, where there
//! are millions of rows, those of `SplitMix64`.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream of choices is for. Each purpose has a stream of its own, so that one more choice in one of them
/// leaves the others as they were.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    History = 1,
    Identity = 2,
    State = 3,
    Timestamp = 4,
    Oddity = 5,
    Job = 6,
    PartNumbers = 7,
    BadLines = 8,
    Faults = 9,
}

#[derive(Debug)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub(crate) fn new(seed: u64, purpose: Purpose, subject: u64, day: u32) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
        key[16..24].copy_from_slice(&subject.to_le_bytes());
        key[24..28].copy_from_slice(&day.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A number in `0..bound`; 0 if the bound is 0.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(bound)) >> 32) as u32
    }

    /// A number of seconds in `0..bound`.
    pub(crate) fn seconds(&mut self, bound: u32) -> i64 {
        i64::from(self.below(bound))
    }

    pub(crate) fn chance(&mut self, share: f64) -> bool {
        f64::from(self.0.next_u32()) < share * 4_294_967_296.0
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }

    /// One of the choices, by their weights in percent; the last one takes the rest.
    pub(crate) fn weighted<T: Copy>(&mut self, choices: &[(u32, T)]) -> T {
        let mut left = self.below(100);
        for &(percent, choice) in choices {
            if left < percent {
                return choice;
            }
            left -= percent;
        }
        choices[choices.len() - 1].1
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

/// A cheap stream of choices, for the values of one row.
#[derive(Debug, Clone)]
pub(crate) struct Stream(u64);

impl Stream {
    /// The stream of these numbers: others give another one.
    pub(crate) fn of(numbers: &[u64]) -> Self {
        let mut stream = Self(0);
        for number in numbers {
            stream.0 = stream.0.wrapping_add(*number);
            stream.0 = stream.next();
        }
        stream
    }

    /// 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// 32 bits, to be compared with a threshold of 2³² and less.
    pub(crate) fn draw(&mut self) -> u64 {
        self.next() >> 32
    }

    /// A number in `0..=span`.
    pub(crate) fn up_to(&mut self, span: u32) -> u32 {
        ((self.draw() * (u64::from(span) + 1)) >> 32) as u32
    }

    pub(crate) fn chance(&mut self, share: f64) -> bool {
        (self.draw() as f64) < share * 4_294_967_296.0
    }
}
