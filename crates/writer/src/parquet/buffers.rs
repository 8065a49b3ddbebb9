//! Buffers that come back when what they were filled with has been read: memory that is touched once and not again for each
//! row group. There are as many as were out at a time.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Where buffers come back to.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeptBuffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// A buffer that is out.
struct Lent {
    buffer: Vec<u8>,
    home: KeptBuffers,
}

impl KeptBuffers {
    /// An empty buffer, with the room that it had before.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.lock(Vec::pop).unwrap_or_default()
    }

    /// The buffer as bytes. It comes back with the last of them.
    pub(crate) fn lend(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent {
            buffer,
            home: self.clone(),
        })
    }

    fn lock<T>(&self, change: impl FnOnce(&mut Vec<Vec<u8>>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        self.home.lock(|kept| kept.push(buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_with_the_last_of_its_bytes() {
        let kept = KeptBuffers::default();
        let mut buffer = kept.take();
        assert_eq!(buffer.capacity(), 0);
        buffer.extend_from_slice(b"content");
        let room = buffer.as_ptr();
        let whole = kept.lend(buffer);
        let some = whole.slice(3..);
        drop(whole);
        assert_eq!(kept.take().capacity(), 0, "it is still read");
        assert_eq!(some, &b"tent"[..]);
        drop(some);
        let again = kept.take();
        assert_eq!((again.as_ptr(), again.len()), (room, 0));
    }
}
