//! The part of a stream that is in memory: a buffer that is read from the front and filled at the back.

use std::io::{self, Read};

/// How much is asked of the stream at a time.
pub(super) const READ_SIZE: usize = 256 * 1024;

/// The bytes of a stream that were read and not yet consumed.
#[derive(Debug)]
pub(super) struct Window<R> {
    reader: R,
    buffer: Vec<u8>,
    /// The bytes of `buffer` that are not consumed.
    start: usize,
    end: usize,
    /// Offset of `buffer[start]` in the stream.
    offset: u64,
    at_end: bool,
}

impl<R: Read> Window<R> {
    /// `buffer` is an empty one, or what [`Self::into_buffer`] gave.
    pub(super) fn new(reader: R, mut buffer: Vec<u8>) -> Self {
        buffer.resize(READ_SIZE, 0);
        Self {
            reader,
            buffer,
            start: 0,
            end: 0,
            offset: 0,
            at_end: false,
        }
    }

    /// The buffer, for another stream; what a long record has made of it is not kept.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        if self.buffer.len() > READ_SIZE {
            return Vec::new();
        }
        self.buffer
    }

    /// Bytes of memory that it takes.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// The bytes that are there.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Bytes that were consumed, by where they began in the buffer; valid until more is read.
    pub(super) fn consumed(&self, start: usize, length: usize) -> &[u8] {
        &self.buffer[start..start + length]
    }

    /// Where the next byte is in the buffer.
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// Offset of the next byte in the stream.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the stream has no more bytes than are there.
    pub(super) fn at_end(&self) -> bool {
        self.at_end
    }

    /// Bytes of the stream read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.offset + (self.end - self.start) as u64
    }

    /// Steps over bytes that are there.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Reads more bytes after those that are there.
    pub(super) fn fill(&mut self) -> io::Result<()> {
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

    /// The next byte that is not white space, which is consumed; newlines among it are counted. None at the end.
    pub(super) fn next_visible(&mut self, newlines: &mut u64) -> io::Result<Option<u8>> {
        loop {
            let bytes = self.bytes();
            let blank = bytes
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace())
                .count();
            let next = bytes.get(blank).copied();
            *newlines += memchr::memchr_iter(b'\n', &bytes[..blank]).count() as u64;
            self.consume(blank);
            if next.is_some() || self.at_end {
                return Ok(next);
            }
            self.fill()?;
        }
    }
}
