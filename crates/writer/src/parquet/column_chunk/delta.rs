//! 64-bit integers to Parquet's DELTA_BINARY_PACKED: differences, less their smallest, in as few bits as a block needs.

use super::bit_packing::varint;

const BLOCK: usize = 256;
const MINIBLOCKS: usize = 4;
const MINIBLOCK: usize = BLOCK / MINIBLOCKS;

/// Takes values one by one; holds one block uncompressed.
#[derive(Debug, Default)]
pub(super) struct DeltaEncoder {
    first: i64,
    last: i64,
    count: usize,
    deltas: Vec<i64>,
    blocks: Vec<u8>,
}

impl DeltaEncoder {
    #[inline]
    pub(super) fn push(&mut self, value: i64) {
        if self.count == 0 {
            self.first = value;
        } else {
            self.deltas.push(value.wrapping_sub(self.last));
            if self.deltas.len() == BLOCK {
                self.close_block();
            }
        }
        self.last = value;
        self.count += 1;
    }

    /// Bytes that the values take, about.
    pub(super) fn len(&self) -> usize {
        self.blocks.len() + self.deltas.len() * 8
    }

    /// Appends the values and forgets them.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.deltas.is_empty() {
            self.close_block();
        }
        varint(BLOCK as u64, out);
        varint(MINIBLOCKS as u64, out);
        varint(self.count as u64, out);
        varint(zigzag(self.first), out);
        out.extend_from_slice(&self.blocks);
        self.blocks.clear();
        (self.first, self.count) = (0, 0);
    }

    fn close_block(&mut self) {
        let smallest = self.deltas.iter().copied().min().unwrap_or(0);
        varint(zigzag(smallest), &mut self.blocks);
        let widths_at = self.blocks.len();
        self.blocks.extend_from_slice(&[0; MINIBLOCKS]);
        for (index, deltas) in self.deltas.chunks(MINIBLOCK).enumerate() {
            let excess = |delta: &i64| delta.wrapping_sub(smallest) as u64;
            let largest = deltas.iter().map(excess).fold(0, |all, one| all | one);
            let width = u64::BITS - largest.leading_zeros();
            self.blocks[widths_at + index] = width as u8;
            let end = self.blocks.len() + width as usize * MINIBLOCK / 8;
            let (mut bits, mut filled) = (0_u128, 0);
            for delta in deltas {
                bits |= u128::from(excess(delta)) << filled;
                filled += width;
                if filled >= 64 {
                    self.blocks.extend_from_slice(&(bits as u64).to_le_bytes());
                    bits >>= 64;
                    filled -= 64;
                }
            }
            self.blocks.extend_from_slice(&(bits as u64).to_le_bytes());
            // Cuts off what is not of this miniblock, and fills up the last one of all.
            self.blocks.resize(end, 0);
        }
        self.deltas.clear();
    }
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}
