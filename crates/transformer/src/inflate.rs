//! Compressed bytes to plain bytes, behind one function: every member of a gzip stream, each with its checksum and length
//! checked, to the end of the input, and never beyond a limit. Does not buffer what it takes, nor what it gives.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use thiserror::Error;

/// Inflates a gzip stream of one or more members. Reading fails with `UnexpectedEof` where the stream is cut, with
/// `InvalidInput` where it is not gzip, is corrupt, or goes on after its last member with something that is no member, and
/// with an error that holds a `TooLarge` where it inflates to more than `limit` bytes.
pub fn inflate(compressed: impl BufRead + Send, limit: u64) -> impl Read + Send {
    Limited {
        reader: MultiGzDecoder::new(compressed),
        left: limit,
    }
}

/// The stream inflates to more bytes than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it inflates to more than it may")]
pub(crate) struct TooLarge;

/// Gives the reader's bytes, and an error in place of those that are too many.
struct Limited<R> {
    reader: R,
    left: u64,
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
    use std::io::{ErrorKind, Write};

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(compressed: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut text = Vec::new();
        inflate(compressed, u64::MAX)
            .read_to_end(&mut text)
            .map(|_| text)
    }

    #[test]
    fn every_member_is_read() {
        let members = [gzip(b"one\n"), gzip(b""), gzip(b"two\n")].concat();
        assert_eq!(read(&members).unwrap(), b"one\ntwo\n");
        assert_eq!(read(&gzip(b"")).unwrap(), b"");
    }

    #[test]
    fn a_cut_stream_is_an_error_wherever_it_is_cut() {
        let whole = gzip(
            "some text that is long enough to be cut"
                .repeat(9)
                .as_bytes(),
        );
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "cut at {length}");
        }
        let two = [gzip(b"one\n"), whole].concat();
        let first = gzip(b"one\n").len();
        for length in first + 1..two.len() {
            assert!(read(&two[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_bomb_costs_no_more_than_its_limit() {
        let bomb = gzip(&vec![b' '; 1 << 20]);
        let read = |limit| {
            let mut text = Vec::new();
            let outcome = inflate(&bomb[..], limit).read_to_end(&mut text);
            (
                text.len(),
                outcome.map_err(|error| error.into_inner().unwrap().is::<TooLarge>()),
            )
        };
        assert_eq!(read(1 << 20), (1 << 20, Ok(1 << 20)));
        let (inflated, refused) = read((1 << 20) - 1);
        assert!(inflated < 1 << 20);
        assert_eq!(refused, Err(true));
    }

    #[test]
    fn corruption_and_garbage_are_errors() {
        let mut corrupt = gzip(b"text");
        let crc = corrupt.len() - 8;
        corrupt[crc] ^= 1;
        assert!(read(&corrupt).is_err());
        let mut wrong_length = gzip(b"text");
        *wrong_length.last_mut().unwrap() ^= 1;
        assert!(read(&wrong_length).is_err());
        assert!(read(&[gzip(b"text"), b"garbage".to_vec()].concat()).is_err());
        assert!(read(b"{\"DeviceId\":1}\n").is_err());
        assert_eq!(read(b"").unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
