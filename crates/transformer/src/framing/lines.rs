//! Splits a stream of bytes into lines, each with its number and byte offset. Does not look into them.
//!
//! Memory is one buffer, which grows to the longest line and never beyond the limit: of a longer line only the beginning is kept.

use std::io::{self, Read};

/// How much is asked of the stream at a time.
const READ_SIZE: usize = 256 * 1024;
/// How much of a line beyond the limit is kept.
const KEPT_OF_TOO_LONG: usize = 4096;

/// One line, without its newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its bytes; of a line that is too long, the first 4 KiB.
    pub bytes: &'a [u8],
    /// Its number, from 1.
    pub number: u64,
    /// Offset of its first byte in the inflated stream; a byte order mark is not part of the first line.
    pub offset: u64,
    /// Whether it is longer than the limit.
    pub too_long: bool,
}

/// Reads lines from a stream.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    /// The unread bytes of `buffer`.
    start: usize,
    end: usize,
    /// Offset of `buffer[start]` in the stream.
    offset: u64,
    number: u64,
    max_line_bytes: usize,
    /// The beginning of the last line that was too long.
    kept: Vec<u8>,
    at_end: bool,
}

impl<R: Read> Lines<R> {
    /// Lines longer than `max_line_bytes` are reported as too long. `buffer` is an empty one, or what
    /// [`Self::into_buffer`] gave.
    pub fn new(reader: R, max_line_bytes: usize, mut buffer: Vec<u8>) -> Self {
        buffer.resize(READ_SIZE, 0);
        Self {
            reader,
            buffer,
            start: 0,
            end: 0,
            offset: 0,
            number: 0,
            max_line_bytes,
            kept: Vec::new(),
            at_end: false,
        }
    }

    /// The buffer, for another stream; what a long line has made of it is not kept.
    pub fn into_buffer(self) -> Vec<u8> {
        if self.buffer.len() > READ_SIZE {
            return Vec::new();
        }
        self.buffer
    }

    /// Bytes of the stream read so far.
    pub fn bytes_read(&self) -> u64 {
        self.offset + (self.end - self.start) as u64
    }

    /// The next line; the last one may lack its newline.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        if self.number == 0 {
            self.skip_byte_order_mark()?;
        }
        let mut searched = 0;
        let mut too_long: Option<(u64, Vec<u8>)> = None;
        loop {
            let unread = &self.buffer[self.start..self.end];
            let newline = memchr::memchr(b'\n', &unread[searched..]).map(|at| searched + at);
            let length = newline.unwrap_or(unread.len());
            if length > self.max_line_bytes && too_long.is_none() {
                let kept = unread[..length.min(KEPT_OF_TOO_LONG)].to_vec();
                too_long = Some((self.offset, kept));
            }
            if newline.is_some() || self.at_end {
                if length == 0 && newline.is_none() && too_long.is_none() {
                    return Ok(None);
                }
                let (start, offset) = (self.start, self.offset);
                self.consume(length + usize::from(newline.is_some()));
                self.number += 1;
                return Ok(Some(match too_long {
                    None => Line {
                        bytes: &self.buffer[start..start + length],
                        number: self.number,
                        offset,
                        too_long: false,
                    },
                    Some((offset, kept)) => {
                        self.kept = kept;
                        Line {
                            bytes: &self.kept,
                            number: self.number,
                            offset,
                            too_long: true,
                        }
                    }
                }));
            }
            if too_long.is_some() {
                self.consume(length);
                searched = 0;
            } else {
                searched = length;
            }
            self.fill()?;
        }
    }

    fn skip_byte_order_mark(&mut self) -> io::Result<()> {
        while self.end - self.start < 3 && !self.at_end {
            self.fill()?;
        }
        if self.buffer[self.start..self.end].starts_with(b"\xef\xbb\xbf") {
            self.consume(3);
        }
        Ok(())
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Reads more bytes after the unread ones.
    fn fill(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() - self.end < READ_SIZE / 2 {
            let longer = self.buffer.len() * 2;
            self.buffer.resize(longer, 0);
        }
        loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.at_end = true,
                Ok(bytes) => self.end += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives at most `step` bytes at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let bytes = self.1.min(self.0.len()).min(buffer.len());
            buffer[..bytes].copy_from_slice(&self.0[..bytes]);
            self.0 = &self.0[bytes..];
            Ok(bytes)
        }
    }

    fn lines(text: &[u8], step: usize, max: usize) -> Vec<(Vec<u8>, u64, u64, bool)> {
        let mut lines = Lines::new(Trickle(text, step), max, Vec::new());
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            all.push((line.bytes.to_vec(), line.number, line.offset, line.too_long));
        }
        all
    }

    proptest! {
        #[test]
        fn lines_are_those_of_split(text in "[ab\n]{0,60}", step in 1..9_usize) {
            let mut expected: Vec<_> = text.split('\n').map(|line| line.as_bytes().to_vec()).collect();
            if expected.last().is_some_and(Vec::is_empty) {
                expected.pop();
            }
            let found = lines(text.as_bytes(), step, 1000);
            for (index, (bytes, number, offset, too_long)) in found.iter().enumerate() {
                prop_assert_eq!(*number, index as u64 + 1);
                prop_assert_eq!(&text.as_bytes()[*offset as usize..][..bytes.len()], bytes.as_slice());
                prop_assert!(!too_long);
            }
            prop_assert_eq!(found.into_iter().map(|line| line.0).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn byte_order_mark_is_skipped_once_and_counts_in_the_offset() {
        let found = lines("\u{feff}a\n\u{feff}b".as_bytes(), 1, 100);
        assert_eq!(found[0], (b"a".to_vec(), 1, 3, false));
        assert_eq!(found[1], ("\u{feff}b".as_bytes().to_vec(), 2, 5, false));
    }

    #[test]
    fn of_a_line_beyond_the_limit_only_the_beginning_is_kept() {
        let long = "x".repeat(3_000_000);
        let text = format!("a\n{long}\nb\n{long}");
        for step in [1000, 10_000_000] {
            let mut reader = Lines::new(Trickle(text.as_bytes(), step), 1_000_000, Vec::new());
            let mut found = Vec::new();
            while let Some(line) = reader.next_line().unwrap() {
                found.push((line.bytes.len(), line.number, line.offset, line.too_long));
            }
            assert_eq!(
                found,
                [
                    (1, 1, 0, false),
                    (4096, 2, 2, true),
                    (1, 3, 3_000_003, false),
                    (4096, 4, 3_000_005, true)
                ]
            );
            assert!(reader.buffer.len() <= 4 << 20);
            assert!(reader.into_buffer().is_empty());
        }
    }

    #[test]
    fn a_line_longer_than_the_buffer_is_whole() {
        let long = "x".repeat(3 * READ_SIZE);
        let found = lines(format!("{long}\ny").as_bytes(), 100_000, usize::MAX);
        assert_eq!(found[0].0.len(), long.len());
        assert_eq!(found[1], (b"y".to_vec(), 2, long.len() as u64 + 1, false));
    }
}
