//! The part of an upload that is being filled: cuts what is written of a file, in pieces of any size, into upload parts.

use std::mem;

use bytes::Bytes;

use crate::parquet::buffers::KeptBuffers;
use crate::store::backend::Store;
use crate::store::lake::Lake;

/// Size of an upload part, except the last. S3 wants at least 5 MiB and takes 10,000 parts: files of up to 48 GiB.
pub(crate) const PART_BYTES: usize = 5 << 20;
/// The same on local disk, where a part is no more than what is written at a time.
const LOCAL_PART_BYTES: usize = 512 << 10;
/// On local disk, where parts need not be of one size, a piece of so many bytes is one by itself: it is not copied.
const LOCAL_WHOLE_BYTES: usize = 64 << 10;

/// What has been written of the next part.
#[derive(Debug)]
pub(crate) struct OpenPart {
    part_bytes: usize,
    /// Bytes of a piece that is a part by itself.
    whole_bytes: Option<usize>,
    /// Grows as needed: most files of small groups never fill one.
    bytes: Vec<u8>,
    /// For the parts: on local disk, where they are small, those of the file before.
    buffers: KeptBuffers,
}

impl OpenPart {
    /// An empty part of a file in this lake.
    pub(crate) fn in_lake(lake: &Lake) -> Self {
        match &lake.store {
            Store::Local(disk) => {
                Self::new(LOCAL_PART_BYTES, Some(LOCAL_WHOLE_BYTES), &disk.buffers)
            }
            Store::Remote(_) => Self::new(PART_BYTES, None, &KeptBuffers::default()),
        }
    }

    fn new(part_bytes: usize, whole_bytes: Option<usize>, buffers: &KeptBuffers) -> Self {
        Self {
            part_bytes,
            whole_bytes,
            bytes: buffers.take(),
            buffers: buffers.clone(),
        }
    }

    /// Takes from a piece until nothing is left of it, or a part is full, which it gives.
    pub(crate) fn fill(&mut self, piece: &mut Bytes) -> Option<Bytes> {
        if self.whole_bytes.is_some_and(|whole| piece.len() >= whole) {
            return Some(if self.bytes.is_empty() {
                mem::take(piece)
            } else {
                self.take()
            });
        }
        let taken = piece.split_to(piece.len().min(self.part_bytes - self.bytes.len()));
        let length = self.bytes.len() + taken.len();
        if length > self.bytes.capacity() {
            // Never beyond a part, as doubling would.
            let capacity = (length * 2).min(self.part_bytes);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(&taken);
        (length == self.part_bytes).then(|| self.take())
    }

    /// The last part of the file; empty if the others are all of it.
    pub(crate) fn take_rest(&mut self) -> Bytes {
        self.buffers.lend(mem::take(&mut self.bytes))
    }

    fn take(&mut self) -> Bytes {
        let part = self.take_rest();
        self.bytes = self.buffers.take();
        part
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All parts of these pieces.
    fn parts(open: &mut OpenPart, pieces: &[Bytes]) -> Vec<Bytes> {
        let mut parts = Vec::new();
        for mut piece in pieces.iter().cloned() {
            parts.extend(std::iter::from_fn(|| open.fill(&mut piece)));
            assert!(piece.is_empty());
            assert!(open.bytes.capacity() <= open.part_bytes);
        }
        parts.push(open.take_rest());
        parts
    }

    fn pieces() -> impl Strategy<Value = Vec<Bytes>> {
        let piece = prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
        prop::collection::vec(piece, 0..20)
    }

    proptest! {
        #[test]
        fn parts_are_cut_at_their_size_whatever_is_written(pieces in pieces()) {
            let parts = parts(&mut OpenPart::new(100, None, &KeptBuffers::default()), &pieces);
            let (last, full) = parts.split_last().unwrap();
            prop_assert!(full.iter().all(|part| part.len() == 100));
            prop_assert!(last.len() < 100);
            prop_assert_eq!(parts.concat(), pieces.concat());
        }

        #[test]
        fn large_pieces_are_parts_by_themselves_and_not_copied(pieces in pieces()) {
            let parts = parts(&mut OpenPart::new(100, Some(50), &KeptBuffers::default()), &pieces);
            prop_assert_eq!(parts.concat(), pieces.concat());
            for piece in pieces.iter().filter(|piece| piece.len() >= 50) {
                prop_assert!(parts.iter().any(|part| part.as_ptr() == piece.as_ptr()));
            }
        }
    }
}
