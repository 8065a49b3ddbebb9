//! Splits the elements of one JSON array. Finds where each ends by its quotes and brackets, and does not look into it further.
//!
//! Memory is one buffer, which grows to the longest element and never beyond the limit.

use std::io::{self, Read};

use super::frame::{Frame, FramingError, KEPT_OF_TOO_LONG};
use super::window::Window;

/// Reads the elements of an array whose opening bracket was consumed.
#[derive(Debug)]
pub(super) struct JsonArray {
    /// Newlines so far.
    newlines: u64,
    max_bytes: usize,
    is_first: bool,
    has_ended: bool,
    /// The beginning of the last element that was too long.
    kept: Vec<u8>,
}

/// What is known at some byte of an element.
#[derive(Debug, Default)]
struct Inside {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl Inside {
    /// Takes the next byte. True if the element ends before it.
    fn ends_before(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b',' | b']' if self.depth == 0 => return true,
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        false
    }
}

impl JsonArray {
    /// `newlines` came before the array.
    pub(super) fn new(newlines: u64, max_bytes: usize) -> Self {
        Self {
            newlines,
            max_bytes,
            is_first: true,
            has_ended: false,
            kept: Vec::new(),
        }
    }

    /// The next element.
    ///
    /// # Errors
    /// Those of the stream, and a [`FramingError`] where the array is not closed, or something comes after it.
    pub(super) fn next<'a, R: Read>(
        &'a mut self,
        window: &'a mut Window<R>,
    ) -> io::Result<Option<Frame<'a>>> {
        let next = window.next_visible(&mut self.newlines)?;
        if self.has_ended {
            return match next {
                None => Ok(None),
                Some(_) => Err(self.broken("something comes after the JSON array")),
            };
        }
        match next {
            Some(b']') => {
                self.has_ended = true;
                window.consume(1);
                return self.next(window);
            }
            Some(b',') if !self.is_first => {
                window.consume(1);
                window.next_visible(&mut self.newlines)?;
            }
            None => return Err(self.broken("the JSON array is not closed")),
            _ if self.is_first => {}
            _ => return Err(self.broken("expected `,` or `]` in the JSON array")),
        }
        self.is_first = false;
        self.element(window).map(Some)
    }

    fn element<'a, R: Read>(&'a mut self, window: &'a mut Window<R>) -> io::Result<Frame<'a>> {
        let (line, offset) = (self.newlines + 1, window.offset());
        let mut inside = Inside::default();
        let mut searched = 0;
        let mut too_long = false;
        loop {
            let unread = window.bytes();
            let end = unread[searched..]
                .iter()
                .position(|byte| inside.ends_before(*byte));
            let length = end.map_or(unread.len(), |end| searched + end);
            self.newlines += memchr::memchr_iter(b'\n', &unread[searched..length]).count() as u64;
            if length > self.max_bytes && !too_long {
                too_long = true;
                self.kept = unread[..length.min(KEPT_OF_TOO_LONG)].to_vec();
            }
            let start = window.start();
            if end.is_some() {
                window.consume(length);
                let bytes = match too_long {
                    true => &self.kept,
                    false => window.consumed(start, length).trim_ascii_end(),
                };
                return Ok(Frame {
                    bytes,
                    line,
                    offset,
                    too_long,
                });
            }
            if window.at_end() {
                return Err(self.broken("the JSON array is not closed"));
            }
            if too_long {
                window.consume(length);
                searched = 0;
            } else {
                searched = length;
            }
            window.fill()?;
        }
    }

    fn broken(&self, what: &'static str) -> io::Error {
        let line = self.newlines + 1;
        io::Error::new(io::ErrorKind::InvalidData, FramingError { line, what })
    }
}
