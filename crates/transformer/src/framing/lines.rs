//! Splits a stream into lines, each with its number and byte offset. Does not look into them.
//!
//! Memory is one buffer, which grows to the longest line and never beyond the limit: of a longer line only the beginning is kept.

use std::io::{self, Read};

use super::frame::{Frame, KEPT_OF_TOO_LONG};
use super::window::Window;

/// Reads lines.
#[derive(Debug)]
pub(super) struct Lines {
    number: u64,
    max_bytes: usize,
    /// The beginning of the last line that was too long.
    kept: Vec<u8>,
}

impl Lines {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            number: 0,
            max_bytes,
            kept: Vec::new(),
        }
    }

    /// The next line; the last one may lack its newline.
    pub(super) fn next<'a, R: Read>(
        &'a mut self,
        window: &'a mut Window<R>,
    ) -> io::Result<Option<Frame<'a>>> {
        let mut searched = 0;
        let mut too_long: Option<(u64, Vec<u8>)> = None;
        loop {
            let unread = window.bytes();
            let newline = memchr::memchr(b'\n', &unread[searched..]).map(|at| searched + at);
            let length = newline.unwrap_or(unread.len());
            if length > self.max_bytes && too_long.is_none() {
                let kept = unread[..length.min(KEPT_OF_TOO_LONG)].to_vec();
                too_long = Some((window.offset(), kept));
            }
            if newline.is_some() || window.at_end() {
                if length == 0 && newline.is_none() && too_long.is_none() {
                    return Ok(None);
                }
                let (start, offset) = (window.start(), window.offset());
                window.consume(length + usize::from(newline.is_some()));
                self.number += 1;
                let line = self.number;
                return Ok(Some(match too_long {
                    None => Frame {
                        bytes: window.consumed(start, length),
                        line,
                        offset,
                        too_long: false,
                    },
                    Some((offset, kept)) => {
                        self.kept = kept;
                        Frame {
                            bytes: &self.kept,
                            line,
                            offset,
                            too_long: true,
                        }
                    }
                }));
            }
            if too_long.is_some() {
                window.consume(length);
                searched = 0;
            } else {
                searched = length;
            }
            window.fill()?;
        }
    }
}
