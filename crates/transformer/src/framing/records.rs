//! The records of a stream, whichever way they are framed: by lines, or as the elements of one array.

use std::io::{self, Read};

use super::frame::Frame;
use super::json_array::JsonArray;
use super::lines::Lines;
use super::window::Window;

/// Reads records from a stream: lines, unless it begins as an array of objects.
#[derive(Debug)]
pub struct Records<R> {
    window: Window<R>,
    max_bytes: usize,
    framing: Option<Framing>,
}

#[derive(Debug)]
enum Framing {
    Lines(Lines),
    Array(JsonArray),
}

impl<R: Read> Records<R> {
    /// Records longer than `max_bytes` are reported as too long. `buffer` is an empty one, or what [`Self::into_buffer`] gave.
    pub fn new(reader: R, max_bytes: usize, buffer: Vec<u8>) -> Self {
        Self {
            window: Window::new(reader, buffer),
            max_bytes,
            framing: None,
        }
    }

    /// The buffer, for another stream.
    pub fn into_buffer(self) -> Vec<u8> {
        self.window.into_buffer()
    }

    /// Bytes of the stream read so far.
    pub fn bytes_read(&self) -> u64 {
        self.window.bytes_read()
    }

    /// The first bytes of the stream, before any record was read: some, or all that it has.
    pub fn beginning(&mut self) -> io::Result<&[u8]> {
        while self.window.bytes().len() < LOOK_AHEAD && !self.window.at_end() {
            self.window.fill()?;
        }
        Ok(self.window.bytes())
    }

    /// The next record, or line; none at the end.
    ///
    /// # Errors
    /// Those of the stream; one that holds a [`super::FramingError`].
    pub fn next_record(&mut self) -> io::Result<Option<Frame<'_>>> {
        if self.framing.is_none() {
            let framing = self.begin()?;
            self.framing = Some(framing);
        }
        match &mut self.framing {
            Some(Framing::Array(array)) => array.next(&mut self.window),
            Some(Framing::Lines(lines)) => lines.next(&mut self.window),
            None => Ok(None),
        }
    }

    /// Finds out how the stream is framed, and steps over what comes before the first record.
    fn begin(&mut self) -> io::Result<Framing> {
        if self.beginning()?.starts_with(BYTE_ORDER_MARK) {
            self.window.consume(BYTE_ORDER_MARK.len());
        }
        // A line that is an array by itself is a bad record among others.
        let text = self.window.bytes().trim_ascii_start();
        let is_array = text
            .strip_prefix(b"[")
            .is_some_and(|inner| matches!(inner.trim_ascii_start(), [b'{', ..] | [b']']));
        if !is_array {
            return Ok(Framing::Lines(Lines::new(self.max_bytes)));
        }
        let mut newlines = 0;
        self.window.next_visible(&mut newlines)?;
        self.window.consume(1);
        Ok(Framing::Array(JsonArray::new(newlines, self.max_bytes)))
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Bytes by which its framing is found.
const LOOK_AHEAD: usize = 64;

#[cfg(test)]
mod tests;
