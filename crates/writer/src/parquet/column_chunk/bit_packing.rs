//! Small integers to Parquet's hybrid of run lengths and bit packing: levels and dictionary indices.
//!
//! Knows neither pages nor what the integers stand for.

/// Values that are packed together; a run starts and a packed sequence ends at a multiple of them.
const GROUP: usize = 8;
/// A run of so many bits in packed form is shorter as a run.
const RUN_BITS: usize = 32;

/// Appends an unsigned LEB128, as Parquet's encodings and Thrift write whole numbers.
pub(crate) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bits of the largest of `values` values counted from 0; at least one, which all readers take.
pub(super) fn width_of(values: usize) -> usize {
    let largest = values.saturating_sub(1);
    (usize::BITS - largest.leading_zeros()).max(1) as usize
}

/// Appends `values`, each of at most `width` bits, 1 to 16.
pub(super) fn hybrid<T: Copy + Eq + Into<u16>>(values: &[T], width: usize, out: &mut Vec<u8>) {
    let shortest_run = shortest_run(width);
    let (mut packed_from, mut at) = (0, 0);
    while let Some(group) = values.get(at..at + GROUP) {
        let first = group[0];
        if group.iter().any(|value| *value != first) {
            at += GROUP;
            continue;
        }
        let others = &values[at + GROUP..];
        let same = others.iter().position(|value| *value != first);
        let run = GROUP + same.unwrap_or(others.len());
        if run < shortest_run {
            at += GROUP;
            continue;
        }
        packed(&values[packed_from..at], width, out);
        repeated(first.into(), run, width, out);
        at += run;
        packed_from = at;
    }
    packed(&values[packed_from..], width, out);
}

/// Values of that width of which a run is shorter than the same packed.
fn shortest_run(width: usize) -> usize {
    (RUN_BITS / width).max(GROUP)
}

/// Appends values that come in runs, each of at most `width` bits: the same bytes as [`hybrid`] appends.
pub(super) fn hybrid_runs(runs: &[(u8, usize)], width: usize, out: &mut Vec<u8>) {
    let shortest_run = shortest_run(width);
    let mut to_pack: Vec<u8> = Vec::new();
    for (value, count) in runs {
        // A run begins with a group, and fills up the one before it.
        let missing = to_pack.len().next_multiple_of(GROUP) - to_pack.len();
        if *count >= missing + shortest_run {
            to_pack.resize(to_pack.len() + missing, *value);
            packed(&to_pack, width, out);
            to_pack.clear();
            repeated((*value).into(), count - missing, width, out);
        } else {
            to_pack.resize(to_pack.len() + count, *value);
        }
    }
    packed(&to_pack, width, out);
}

/// Appends the first `len` bits of a bitmap, as values of one bit.
pub(super) fn hybrid_bits(bitmap: &[u8], len: usize, out: &mut Vec<u8>) {
    let bytes = &bitmap[..len.div_ceil(8)];
    let whole = &bytes[..len / 8];
    let (mut packed_from, mut at) = (0, 0);
    while at < whole.len() {
        let first = whole[at];
        if first != 0 && first != 0xff {
            at += 1;
            continue;
        }
        let others = whole[at..].iter().position(|byte| *byte != first);
        let run = others.unwrap_or(whole.len() - at);
        if run * 8 < RUN_BITS {
            at += run;
            continue;
        }
        packed_bits(&bytes[packed_from..at], out);
        // A run to the end takes the last, unfinished byte with it.
        let bits = (at + run) * 8;
        let rest = (bits..len).take_while(|bit| bitmap[bit / 8] >> (bit % 8) & 1 == first & 1);
        let rest = rest.count();
        let to_the_end = bits + rest == len;
        let run_bits = run * 8 + if to_the_end { rest } else { 0 };
        repeated(u16::from(first & 1), run_bits, 1, out);
        at += run;
        packed_from = at;
        if to_the_end {
            return;
        }
    }
    packed_bits(&bytes[packed_from..], out);
}

/// Appends `count` times `value`.
pub(super) fn repeated(value: u16, count: usize, width: usize, out: &mut Vec<u8>) {
    if count > 0 {
        varint((count as u64) << 1, out);
        out.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8)]);
    }
}

fn packed_bits(bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        varint((bytes.len() as u64) << 1 | 1, out);
        out.extend_from_slice(bytes);
    }
}

/// Appends values in groups of 8; the last group is filled up with zeros, which no reader reads.
fn packed<T: Copy + Into<u16>>(values: &[T], width: usize, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(GROUP);
    varint((groups as u64) << 1 | 1, out);
    let mut at = out.len();
    let end = at + groups * width;
    // Each group is written as 16 bytes, and the next one over those that are too many.
    out.resize(end + 16, 0);
    for group in values.chunks(GROUP) {
        let mut bits = 0_u128;
        for (index, value) in group.iter().enumerate() {
            let value: u16 = (*value).into();
            bits |= u128::from(value) << (index * width);
        }
        out[at..at + 16].copy_from_slice(&bits.to_le_bytes());
        at += width;
    }
    out.truncate(end);
}

#[cfg(test)]
mod tests {
    use arrow::array::BooleanBufferBuilder;
    use proptest::prelude::*;

    use super::*;

    /// The inverse, as the format's text has it.
    fn decode(bytes: &[u8], width: usize, count: usize) -> Vec<u16> {
        let (mut values, mut at) = (Vec::new(), 0);
        let bit = |from: usize, bit: usize| bytes[from + bit / 8] >> (bit % 8) & 1;
        let value = |from: usize, index: usize| {
            (0..width).fold(0, |value, bit_of_value| {
                value | u16::from(bit(from, index * width + bit_of_value)) << bit_of_value
            })
        };
        while values.len() < count {
            let (mut header, mut shift) = (0_usize, 0);
            loop {
                header |= usize::from(bytes[at] & 0x7f) << shift;
                shift += 7;
                at += 1;
                if bytes[at - 1] < 0x80 {
                    break;
                }
            }
            if header & 1 == 0 {
                let repeated = value(at, 0);
                values.extend(std::iter::repeat_n(repeated, header >> 1));
                assert!(values.len() <= count, "a run goes beyond the end");
                at += width.div_ceil(8);
            } else {
                let groups = header >> 1;
                values.extend((0..groups * 8).map(|index| value(at, index)));
                at += groups * width;
            }
        }
        assert_eq!(at, bytes.len());
        values.truncate(count);
        values
    }

    proptest! {
        #[test]
        fn values_come_back(
            runs in prop::collection::vec((any::<u16>(), 1..70_usize), 0..40),
            width in 1..=16_usize,
        ) {
            let mask = (1_u32 << width) - 1;
            let values: Vec<u16> = runs
                .iter()
                .flat_map(|(value, count)| {
                    let count = if value % 3 == 0 { *count } else { 1 };
                    std::iter::repeat_n((u32::from(*value) & mask) as u16, count)
                })
                .collect();
            let mut out = Vec::new();
            hybrid(&values, width, &mut out);
            prop_assert_eq!(decode(&out, width, values.len()), values);
        }

        #[test]
        fn runs_are_written_as_their_values(
            runs in prop::collection::vec((0..4_u8, 1..70_usize), 0..40),
            width in 2..=8_usize,
        ) {
            // Each differs from the one before, as runs do.
            let runs: Vec<(u8, usize)> = runs
                .chunk_by(|a, b| a.0 == b.0)
                .map(|same| (same[0].0, same.iter().map(|run| run.1).sum()))
                .collect();
            let values: Vec<u8> = runs
                .iter()
                .flat_map(|(value, count)| std::iter::repeat_n(*value, *count))
                .collect();
            let (mut expected, mut out) = (Vec::new(), Vec::new());
            hybrid(&values, width, &mut expected);
            hybrid_runs(&runs, width, &mut out);
            prop_assert_eq!(out, expected);
        }

        #[test]
        fn bits_come_back(runs in prop::collection::vec((any::<bool>(), 1..90_usize), 0..30)) {
            let mut bits = BooleanBufferBuilder::new(0);
            for (bit, count) in &runs {
                bits.append_n(*count, *bit);
            }
            let mut out = Vec::new();
            hybrid_bits(bits.as_slice(), bits.len(), &mut out);
            let values: Vec<u16> = (0..bits.len()).map(|bit| u16::from(bits.get_bit(bit))).collect();
            prop_assert_eq!(decode(&out, 1, values.len()), values);
        }
    }

    #[test]
    fn long_runs_take_few_bytes() {
        let mut out = Vec::new();
        hybrid(&[3_u16; 10_000], 5, &mut out);
        assert_eq!(out.len(), 4);
        out.clear();
        hybrid_bits(&[0xff; 1251], 10_003, &mut out);
        assert_eq!(out.len(), 4);
    }

    #[test]
    fn widths_hold_the_largest_index() {
        let widths = [0, 1, 2, 3, 4, 5, 256, 257, 65_536].map(width_of);
        assert_eq!(widths, [1, 1, 1, 2, 2, 3, 8, 9, 16]);
    }

    #[test]
    fn varints_are_those_of_thrift() {
        for (value, expected) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (u64::MAX, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ] {
            let mut written = Vec::new();
            varint(value, &mut written);
            assert_eq!(written, expected);
        }
    }
}
