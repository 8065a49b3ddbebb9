//! An end to how far a stream may go: a gzip bomb is an error, and not memory or time without bounds.

use std::io::{self, Read};

use thiserror::Error;

/// The stream inflates to more bytes than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it inflates to more than it may")]
pub(crate) struct TooLarge;

/// Gives the reader's bytes, and an error in place of those that are too many.
#[derive(Debug)]
pub(super) struct Limited<R> {
    reader: R,
    left: u64,
}

impl<R> Limited<R> {
    pub(super) fn new(reader: R, limit: u64) -> Self {
        let left = limit;
        Self { reader, left }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::new(io::ErrorKind::InvalidData, TooLarge)),
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_gives_its_limit_and_not_a_byte_more() {
        let read = |limit| {
            let mut text = Vec::new();
            let outcome = Limited::new(&[b' '; 1000][..], limit).read_to_end(&mut text);
            (
                text.len(),
                outcome.map_err(|error| error.into_inner().unwrap().is::<TooLarge>()),
            )
        };
        assert_eq!(read(1000), (1000, Ok(1000)));
        let (given, refused) = read(999);
        assert!(given < 1000);
        assert_eq!(refused, Err(true));
    }
}
