//! MD5 in the eight lanes of a vector of AVX2, on CPUs that have it. The one place of this crate with unsafe code.
//!
//! 3 GB/s a core with all lanes full, where four lanes of the vectors that every CPU has come to 1.2: 0.98 of the wall time of a
//! run from the simulator. The tests above hold it to what one lane gives, and to the sums of the md5 crate.

use super::{Block, Words};

/// Bodies in one vector.
pub(super) const LANES: usize = 8;

/// Adds blocks to sums, of up to `LANES` lanes. `false`, and nothing done, where the CPU has no AVX2.
#[cfg(target_arch = "x86_64")]
pub(super) fn hash(lanes: &mut [(&mut Words, &[Block])]) -> bool {
    if !is_x86_feature_detected!("avx2") {
        return false;
    }
    let (states, blocks) = super::of_all_lanes(lanes);
    // SAFETY: the CPU has AVX2, which is all that the function asks for; it takes and gives numbers and slices.
    #[allow(unsafe_code)]
    let states = unsafe { avx2::hash(states, blocks) };
    super::put_back(lanes, states);
    true
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn hash(_: &mut [(&mut Words, &[Block])]) -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm_cvtsi32_si128, _mm256_add_epi32, _mm256_and_si256, _mm256_andnot_si256,
        _mm256_extract_epi32, _mm256_or_si256, _mm256_set_epi32, _mm256_set_epi64x,
        _mm256_set1_epi32, _mm256_setzero_si256, _mm256_sll_epi32, _mm256_srl_epi32,
        _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
        _mm256_xor_si256,
    };

    use super::super::{SINES, STEPS};
    use super::{Block, LANES, Words};

    type State = [__m256i; 4];

    #[target_feature(enable = "avx2")]
    pub(super) fn hash(states: [Words; LANES], blocks: [&[Block]; LANES]) -> [Words; LANES] {
        let mut state = [
            of_lanes(states.map(|[a, _, _, _]| a)),
            of_lanes(states.map(|[_, b, _, _]| b)),
            of_lanes(states.map(|[_, _, c, _]| c)),
            of_lanes(states.map(|[_, _, _, d]| d)),
        ];
        let together = blocks.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
        let blocks = blocks.map(|blocks| &blocks[..together]);
        for at in 0..together {
            let words = transposed(blocks, at);
            let before = state;
            round::<0, 7, 12, 17, 22>(&mut state, &words);
            round::<1, 5, 9, 14, 20>(&mut state, &words);
            round::<2, 4, 11, 16, 23>(&mut state, &words);
            round::<3, 6, 10, 15, 21>(&mut state, &words);
            for (word, before) in state.iter_mut().zip(before) {
                *word = _mm256_add_epi32(*word, before);
            }
        }
        let [a, b, c, d] = state;
        let words = [to_lanes(a), to_lanes(b), to_lanes(c), to_lanes(d)];
        std::array::from_fn(|lane| words.map(|word| word[lane]))
    }

    /// 16 steps. The letters are the bits by which every fourth rotates.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn round<const ROUND: usize, const A: i32, const B: i32, const C: i32, const D: i32>(
        state: &mut State,
        words: &[__m256i; STEPS],
    ) {
        let [mut a, mut b, mut c, mut d] = *state;
        for at in (0..STEPS).step_by(4) {
            a = step::<ROUND, A>([a, b, c, d], words, at);
            d = step::<ROUND, B>([d, a, b, c], words, at + 1);
            c = step::<ROUND, C>([c, d, a, b], words, at + 2);
            b = step::<ROUND, D>([b, c, d, a], words, at + 3);
        }
        *state = [a, b, c, d];
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn step<const ROUND: usize, const LEFT: i32>(
        [a, b, c, d]: State,
        words: &[__m256i; STEPS],
        step: usize,
    ) -> __m256i {
        let (word, mixed) = match ROUND {
            0 => {
                let c_or_d = _mm256_and_si256(b, _mm256_xor_si256(c, d));
                (step, _mm256_xor_si256(d, c_or_d))
            }
            1 => {
                let (of_c, of_b) = (_mm256_andnot_si256(d, c), _mm256_and_si256(b, d));
                (5 * step + 1, _mm256_add_epi32(of_c, of_b))
            }
            2 => (3 * step + 5, _mm256_xor_si256(b, _mm256_xor_si256(c, d))),
            _ => {
                let not_d = _mm256_xor_si256(d, _mm256_set1_epi32(-1));
                (7 * step, _mm256_xor_si256(c, _mm256_or_si256(b, not_d)))
            }
        };
        let sine = _mm256_set1_epi32(SINES[ROUND][step].cast_signed());
        let known = _mm256_add_epi32(_mm256_add_epi32(a, words[word % STEPS]), sine);
        let sum = _mm256_add_epi32(known, mixed);
        let rotated = _mm256_or_si256(
            _mm256_sll_epi32(sum, _mm_cvtsi32_si128(LEFT)),
            _mm256_srl_epi32(sum, _mm_cvtsi32_si128(32 - LEFT)),
        );
        _mm256_add_epi32(b, rotated)
    }

    /// Each word of all lanes' next blocks.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn transposed(blocks: [&[Block]; LANES], at: usize) -> [__m256i; STEPS] {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = blocks.map(|blocks| &blocks[at]);
        let mut words = [_mm256_setzero_si256(); STEPS];
        let (quarters, _) = words.as_chunks_mut::<4>();
        for (at, quarter) in quarters.iter_mut().enumerate() {
            let (a, b) = (row(b0, b4, at), row(b1, b5, at));
            let (c, d) = (row(b2, b6, at), row(b3, b7, at));
            let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
            let (ab_high, cd_high) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
            *quarter = [
                _mm256_unpacklo_epi64(ab, cd),
                _mm256_unpackhi_epi64(ab, cd),
                _mm256_unpacklo_epi64(ab_high, cd_high),
                _mm256_unpackhi_epi64(ab_high, cd_high),
            ];
        }
        words
    }

    /// A quarter of two blocks.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn row(low: &Block, high: &Block, quarter: usize) -> __m256i {
        let pair = |block: &Block| {
            let (pairs, _) = block.as_chunks();
            [0, 1].map(|at| i64::from_le_bytes(pairs[2 * quarter + at]))
        };
        let ([a, b], [c, d]) = (pair(low), pair(high));
        _mm256_set_epi64x(d, c, b, a)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn of_lanes(words: [u32; LANES]) -> __m256i {
        let [a, b, c, d, e, f, g, h] = words.map(u32::cast_signed);
        _mm256_set_epi32(h, g, f, e, d, c, b, a)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn to_lanes(words: __m256i) -> [u32; LANES] {
        [
            _mm256_extract_epi32::<0>(words),
            _mm256_extract_epi32::<1>(words),
            _mm256_extract_epi32::<2>(words),
            _mm256_extract_epi32::<3>(words),
            _mm256_extract_epi32::<4>(words),
            _mm256_extract_epi32::<5>(words),
            _mm256_extract_epi32::<6>(words),
            _mm256_extract_epi32::<7>(words),
        ]
        .map(i32::cast_unsigned)
    }
}
