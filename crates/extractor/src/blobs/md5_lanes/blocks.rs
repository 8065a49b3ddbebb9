//! The rounds of MD5 (RFC 1321) over whole blocks, of one body or in the lanes of a vector over several.

mod eight_lanes;

use std::num::Wrapping;
use std::ops::{Add, BitAnd, BitOr, BitXor, Not};

use wide::u32x4;

/// What is hashed at a time.
pub(super) type Block = [u8; 64];
/// The state of a sum.
pub(super) type Words = [u32; 4];

/// Most bodies that are hashed side by side.
pub(super) const LANES: usize = eight_lanes::LANES;
/// Lanes of a vector that every CPU has.
const FEW_LANES: usize = 4;

/// The state of a sum of nothing.
pub(super) const BEGINNING: Words = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

const STEPS: usize = 16;
const ROTATIONS: [[u32; 4]; 4] = [
    [7, 12, 17, 22],
    [5, 9, 14, 20],
    [4, 11, 16, 23],
    [6, 10, 15, 21],
];
/// The first bits of the sines of 1 to 64.
#[rustfmt::skip]
const SINES: [[u32; STEPS]; 4] = [
    [
        0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
        0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    ],
    [
        0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
        0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    ],
    [
        0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
        0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    ],
    [
        0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
        0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
    ],
];

/// A word of one body's state, or one of each in a vector.
trait Word:
    Copy
    + Add<Output = Self>
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
    + Not<Output = Self>
{
    fn of_all(word: u32) -> Self;
    fn rotated(self, bits: u32) -> Self;
}

impl Word for Wrapping<u32> {
    #[inline(always)]
    fn of_all(word: u32) -> Self {
        Self(word)
    }

    #[inline(always)]
    fn rotated(self, bits: u32) -> Self {
        Self(self.0.rotate_left(bits))
    }
}

impl Word for u32x4 {
    #[inline(always)]
    fn of_all(word: u32) -> Self {
        Self::splat(word)
    }

    #[inline(always)]
    fn rotated(self, bits: u32) -> Self {
        self << bits | self >> (u32::BITS - bits)
    }
}

/// Adds blocks to sums: each lane is a body's, all have as many blocks, and there are at most `LANES`.
pub(super) fn hash(lanes: &mut [(&mut Words, &[Block])]) {
    if let [(state, blocks)] = lanes {
        let mut of_one = state.map(Wrapping);
        for block in *blocks {
            add_block(&mut of_one, &words(block).map(Wrapping));
        }
        **state = of_one.map(|word| word.0);
        return;
    }
    if !eight_lanes::hash(lanes) {
        hash_few_at_a_time(lanes);
    }
}

fn hash_few_at_a_time(lanes: &mut [(&mut Words, &[Block])]) {
    for lanes in lanes.chunks_mut(FEW_LANES) {
        let states = hash_side_by_side(of_all_lanes(lanes));
        put_back(lanes, states);
    }
}

/// States and blocks of lanes, as many as a vector has; those that are missing do what the first does.
fn of_all_lanes<'b, const LANES: usize>(
    lanes: &[(&mut Words, &'b [Block])],
) -> ([Words; LANES], [&'b [Block]; LANES]) {
    let lane_of = |lane: usize| &lanes[if lane < lanes.len() { lane } else { 0 }];
    (
        std::array::from_fn(|lane| *lane_of(lane).0),
        std::array::from_fn(|lane| lane_of(lane).1),
    )
}

fn put_back(lanes: &mut [(&mut Words, &[Block])], states: impl IntoIterator<Item = Words>) {
    for ((state, _), new) in lanes.iter_mut().zip(states) {
        **state = new;
    }
}

fn hash_side_by_side(
    (states, blocks): ([Words; FEW_LANES], [&[Block]; FEW_LANES]),
) -> [Words; FEW_LANES] {
    let mut state = u32x4::transpose(states.map(u32x4::new));
    for (((a, b), c), d) in blocks[0]
        .iter()
        .zip(blocks[1])
        .zip(blocks[2])
        .zip(blocks[3])
    {
        let mut of_lanes = [u32x4::ZERO; STEPS];
        let rows = [a, b, c, d].map(words);
        let (quarters, _) = of_lanes.as_chunks_mut::<FEW_LANES>();
        for (at, quarter) in quarters.iter_mut().enumerate() {
            let of_lane = |row: &[u32; STEPS]| {
                let (quarters, _) = row.as_chunks();
                u32x4::new(quarters[at])
            };
            *quarter = u32x4::transpose([0, 1, 2, 3].map(|lane| of_lane(&rows[lane])));
        }
        add_block(&mut state, &of_lanes);
    }
    u32x4::transpose(state).map(u32x4::to_array)
}

#[inline(always)]
fn words(block: &Block) -> [u32; STEPS] {
    let (words, _) = block.as_chunks();
    std::array::from_fn(|word| u32::from_le_bytes(words[word]))
}

#[inline(always)]
fn add_block<W: Word>(state: &mut [W; 4], block: &[W; STEPS]) {
    let before = *state;
    round(state, 0, |b, c, d| d ^ (b & (c ^ d)), |step| block[step]);
    // The halves have no bit in common: to add the later one last is sooner done.
    round(
        state,
        1,
        |b, c, d| (c & !d) + (b & d),
        |step| block[(5 * step + 1) % STEPS],
    );
    round(
        state,
        2,
        |b, c, d| b ^ c ^ d,
        |step| block[(3 * step + 5) % STEPS],
    );
    round(
        state,
        3,
        |b, c, d| c ^ (b | !d),
        |step| block[7 * step % STEPS],
    );
    for (word, before) in state.iter_mut().zip(before) {
        *word = *word + before;
    }
}

#[inline(always)]
fn round<W: Word>(
    state: &mut [W; 4],
    number: usize,
    mix: impl Fn(W, W, W) -> W,
    word: impl Fn(usize) -> W,
) {
    let [mut a, mut b, mut c, mut d] = *state;
    for step in 0..STEPS {
        let sum = a + word(step) + W::of_all(SINES[number][step]) + mix(b, c, d);
        let next = b + sum.rotated(ROTATIONS[number][step % 4]);
        (a, b, c, d) = (d, next, b, c);
    }
    *state = [a, b, c, d];
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lanes_of_every_vector_do_what_one_does(
            bodies in prop::collection::vec(prop::collection::vec(any::<Block>(), 3), 1..=LANES),
        ) {
            let bodies_of_blocks = || bodies.iter().map(Vec::as_slice);
            let mut alone = vec![BEGINNING; bodies.len()];
            for (state, blocks) in alone.iter_mut().zip(bodies_of_blocks()) {
                hash(&mut [(state, blocks)]);
            }
            for hash in [hash, hash_few_at_a_time] {
                let mut together = vec![BEGINNING; bodies.len()];
                let mut lanes: Vec<_> = together.iter_mut().zip(bodies_of_blocks()).collect();
                hash(&mut lanes);
                prop_assert_eq!(&together, &alone);
            }
        }
    }
}
