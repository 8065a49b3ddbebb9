//! MD5 of bodies that arrive side by side, up to eight at a time.
//!
//! Within one MD5 each step waits for the one before. The lanes of a vector take little longer than one, so downloads give
//! their pieces to one task that takes them together: one body after the other, 0.6 GB/s a core, was a tenth of the CPU time
//! of a run. Does not say what a sum should be.

mod blocks;

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::{Buf, Bytes};
use tokio::sync::{mpsc, oneshot};

use blocks::{Block, LANES, Words};

/// Pieces on their way to the task. Whoever has more waits.
const PIECES_ON_THE_WAY: usize = 8;
/// Pieces that wait until there is one for each lane; with more, they go with lanes left empty.
const PIECES_IN_WANT_OF_COMPANY: usize = 6;

/// MD5 of a body.
pub(crate) type Md5Sum = [u8; 16];

/// Where bodies are hashed that arrive at the same time. Cheap to clone; its task ends with the last clone and the last body.
#[derive(Debug, Clone, Default)]
pub(crate) struct Md5Lanes {
    pieces: Arc<OnceLock<mpsc::Sender<Piece>>>,
}

/// A body that is being hashed. Dropping it forgets the body.
#[derive(Debug)]
pub(crate) struct HashedBody {
    body: Arc<Mutex<Body>>,
    pieces: mpsc::Sender<Piece>,
}

/// The bytes so far.
#[derive(Debug)]
struct Body {
    words: Words,
    length: u64,
    /// The last `length % 64` of them are not in `words` yet.
    open: Block,
}

/// What comes next of a body.
#[derive(Debug)]
struct Piece {
    body: Arc<Mutex<Body>>,
    bytes: Bytes,
    /// Who waits for the sum after it.
    sum: Option<oneshot::Sender<Md5Sum>>,
}

impl Md5Lanes {
    /// Begins a body. Called in an async runtime.
    pub(crate) fn body(&self) -> HashedBody {
        let pieces = self.pieces.get_or_init(|| {
            let (sender, receiver) = mpsc::channel(PIECES_ON_THE_WAY);
            tokio::spawn(work(receiver));
            sender
        });
        HashedBody {
            body: Arc::default(),
            pieces: pieces.clone(),
        }
    }
}

impl HashedBody {
    /// Adds bytes. Waits while too many are on their way.
    pub(crate) async fn add(&self, bytes: Bytes) {
        self.send(bytes, None).await;
    }

    /// The sum of all bytes so far. `None` if the runtime shuts down.
    pub(crate) async fn sum(&self) -> Option<Md5Sum> {
        let (sender, sum) = oneshot::channel();
        self.send(Bytes::new(), Some(sender)).await;
        sum.await.ok()
    }

    async fn send(&self, bytes: Bytes, sum: Option<oneshot::Sender<Md5Sum>>) {
        let body = Arc::clone(&self.body);
        // Nobody receives it when the runtime shuts down; whoever asks for the sum learns of it.
        let _ = self.pieces.send(Piece { body, bytes, sum }).await;
    }
}

async fn work(mut pieces: mpsc::Receiver<Piece>) {
    let mut waiting = Vec::new();
    while pieces.recv_many(&mut waiting, PIECES_ON_THE_WAY).await > 0 {
        hash(&mut waiting);
    }
}

/// Hashes what waits, side by side, until there is nothing left or what can wait for more bodies.
fn hash(waiting: &mut Vec<Piece>) {
    loop {
        let lanes = lanes(waiting);
        let can_wait = waiting.len() <= PIECES_IN_WANT_OF_COMPANY
            && waiting.iter().all(|piece| piece.sum.is_none());
        if lanes.is_empty() || (lanes.len() < LANES && can_wait) {
            return;
        }
        let mut bodies: Vec<_> = lanes
            .iter()
            .map(|lane| lock(&waiting[*lane].body))
            .collect();
        let blocks: Vec<_> = lanes
            .iter()
            .map(|lane| waiting[*lane].bytes.as_chunks().0)
            .collect();
        let together = blocks.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
        let mut of_lanes: Vec<(&mut Words, &[Block])> = bodies
            .iter_mut()
            .zip(blocks)
            .map(|(body, blocks)| (&mut body.words, &blocks[..together]))
            .collect();
        blocks::hash(&mut of_lanes);
        let bytes = together * size_of::<Block>();
        for body in &mut bodies {
            body.length += bytes as u64;
        }
        drop(bodies);
        for lane in lanes {
            waiting[lane].bytes.advance(bytes);
        }
    }
}

/// Which pieces are next, each of another body and with at least a block to hash. What is shorter is taken in.
fn lanes(waiting: &mut Vec<Piece>) -> Vec<usize> {
    let mut lanes: Vec<usize> = Vec::with_capacity(LANES);
    let mut at = 0;
    while at < waiting.len() && lanes.len() < LANES {
        let (before, from) = waiting.split_at_mut(at);
        let Some(piece) = from.first_mut() else { break };
        if before
            .iter()
            .any(|earlier| Arc::ptr_eq(&earlier.body, &piece.body))
        {
            at += 1;
            continue;
        }
        let mut body = lock(&piece.body);
        body.take_in(&mut piece.bytes);
        if piece.bytes.is_empty() {
            if let Some(sum) = piece.sum.take() {
                // Nobody waits for it when the download was given up.
                let _ = sum.send(body.sum());
            }
            drop(body);
            waiting.remove(at);
        } else {
            drop(body);
            lanes.push(at);
            at += 1;
        }
    }
    lanes
}

fn lock(body: &Mutex<Body>) -> MutexGuard<'_, Body> {
    body.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Body {
    fn default() -> Self {
        Self {
            words: blocks::BEGINNING,
            length: 0,
            open: [0; size_of::<Block>()],
        }
    }
}

impl Body {
    /// Takes bytes until none is left, or whole blocks are next.
    fn take_in(&mut self, bytes: &mut Bytes) {
        let open = self.open_range();
        let is_short = bytes.len() < size_of::<Block>();
        if open.start == 0 && !is_short {
            return;
        }
        let taken = open.len().min(bytes.len());
        bytes.copy_to_slice(&mut self.open[open.start..open.start + taken]);
        self.length += taken as u64;
        if taken == open.len() {
            blocks::hash(&mut [(&mut self.words, &[self.open])]);
            if !bytes.is_empty() {
                self.take_in(bytes);
            }
        }
    }

    /// What is free in the open block.
    fn open_range(&self) -> Range<usize> {
        (self.length % size_of::<Block>() as u64) as usize..size_of::<Block>()
    }

    /// The sum of the bytes so far.
    fn sum(&self) -> Md5Sum {
        const LENGTH_BYTES: usize = size_of::<u64>();
        let mut words = self.words;
        let mut block = self.open;
        let free = self.open_range();
        block[free.clone()].fill(0);
        block[free.start] = 0x80;
        if free.len() < 1 + LENGTH_BYTES {
            blocks::hash(&mut [(&mut words, &[block])]);
            block.fill(0);
        }
        if let Some(length) = block.last_chunk_mut() {
            *length = (self.length.wrapping_mul(8)).to_le_bytes();
        }
        blocks::hash(&mut [(&mut words, &[block])]);
        let mut sum = [0; 16];
        for (bytes, word) in sum.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use md5::{Digest, Md5};
    use proptest::prelude::*;

    use super::*;

    fn sums(bodies: &[Vec<u8>], cuts: &[usize]) -> Vec<Md5Sum> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let lanes = Md5Lanes::default();
            let mut open: Vec<_> = bodies
                .iter()
                .map(|body| (lanes.body(), Bytes::from(body.clone())))
                .collect();
            let mut cuts = cuts.iter().cycle();
            while open.iter().any(|(_, rest)| !rest.is_empty()) {
                for (body, rest) in &mut open {
                    let cut = rest.len().min(*cuts.next().unwrap());
                    body.add(rest.split_to(cut)).await;
                }
            }
            let mut sums = Vec::new();
            for (body, _) in &open {
                let sum = body.sum().await.unwrap();
                assert_eq!(body.sum().await, Some(sum), "asking changes nothing");
                sums.push(sum);
            }
            sums
        })
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_md5_crate(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 1..7),
            cuts in prop::collection::vec(1..200_usize, 1..20),
        ) {
            let expected: Vec<Md5Sum> = bodies.iter().map(|body| Md5::digest(body).into()).collect();
            prop_assert_eq!(sums(&bodies, &cuts), expected);
        }
    }

    #[test]
    fn every_length_of_the_last_block_is_right() {
        for length in 0..200 {
            let body: Vec<u8> = (0..length).collect();
            let expected: Md5Sum = Md5::digest(&body).into();
            assert_eq!(sums(&[body], &[67]), [expected], "{length}");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_given_up_holds_nobody_up() {
        let lanes = Md5Lanes::default();
        let given_up = lanes.body();
        given_up.add(Bytes::from_static(&[7; 1000])).await;
        drop(given_up);
        let body = lanes.body();
        for _ in 0..100 {
            body.add(Bytes::from_static(&[1; 1000])).await;
        }
        let expected: Md5Sum = Md5::digest(vec![1; 100_000]).into();
        assert_eq!(body.sum().await, Some(expected));
    }
}
