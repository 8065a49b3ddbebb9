//! A gzip stream to plain bytes: every member, each with its checksum and length checked, to the end of the input. Does not buffer
//! what it takes, nor what it gives.
//!
//! The members' frames (RFC 1952) are read here, and not by `flate2`, for their checksum: by the `crc-fast` crate's wide
//! vectors it takes a quarter of the time.

use std::io::{self, BufRead, ErrorKind, Read};

use crc_fast::{CrcAlgorithm, Digest};
use flate2::{Decompress, FlushDecompress, Status};

/// Inflates a gzip stream of one or more members, and zeros after them. Reading fails with `UnexpectedEof` where the stream is cut,
/// with `InvalidInput` where it is not gzip, is corrupt, or goes on after its last member with something that is no member.
pub(super) fn members<R: BufRead>(compressed: R) -> Members<R> {
    Members {
        compressed,
        deflated: Decompress::new(false),
        at: At::FirstHeader,
        checksum: crc32(),
    }
}

/// Gives the contents of a stream's members, one after the other.
pub(super) struct Members<R> {
    compressed: R,
    deflated: Decompress,
    at: At,
    /// Of what was given of the open member.
    checksum: Digest,
}

/// Where in the stream a reader is.
enum At {
    FirstHeader,
    Content,
    Trailer,
    /// After a member: there may be another one.
    Next,
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.at {
                At::Content => {
                    let given = self.content(buffer)?;
                    if given > 0 {
                        return Ok(given);
                    }
                }
                At::Trailer => {
                    self.check_trailer()?;
                    self.at = At::Next;
                }
                At::Next if self.compressed.fill_buf()?.is_empty() => return Ok(0),
                // Tape and block devices, and programs that copy from them, fill the last block with zeros.
                At::Next if self.compressed.fill_buf()?.first() == Some(&0) => {
                    return self.skip_padding().map(|()| 0);
                }
                At::FirstHeader | At::Next => {
                    skip_header(&mut self.compressed)?;
                    self.deflated.reset(false);
                    self.checksum.reset();
                    self.at = At::Content;
                }
            }
        }
    }
}

impl<R: BufRead> Members<R> {
    /// Some more of a member's content; nothing where there has to be more input, and at its end.
    fn content(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let input = self.compressed.fill_buf()?;
        let input_ended = input.is_empty();
        let (taken, given) = (self.deflated.total_in(), self.deflated.total_out());
        let status = self
            .deflated
            .decompress(input, buffer, FlushDecompress::None)
            .map_err(|_| invalid("corrupt deflate stream"))?;
        // Both are within slices.
        let taken = (self.deflated.total_in() - taken) as usize;
        let given = (self.deflated.total_out() - given) as usize;
        self.compressed.consume(taken);
        self.checksum.update(&buffer[..given]);
        if status == Status::StreamEnd {
            self.at = At::Trailer;
        } else if given == 0 && input_ended {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(given)
    }

    /// Skips zeros up to the end of the stream.
    fn skip_padding(&mut self) -> io::Result<()> {
        loop {
            let padding = self.compressed.fill_buf()?;
            if padding.is_empty() {
                return Ok(());
            }
            if padding.iter().any(|byte| *byte != 0) {
                return Err(invalid("zeros between gzip members"));
            }
            let length = padding.len();
            self.compressed.consume(length);
        }
    }

    /// Checks what stands after a member's content: its checksum, and the lowest 32 bits of its length.
    fn check_trailer(&mut self) -> io::Result<()> {
        let checksum = self.checksum.finalize() as u32;
        let length = self.deflated.total_out() as u32;
        for (expected, what) in [(checksum, "checksum"), (length, "length")] {
            if u32::from_le_bytes(bytes(&mut self.compressed)?) != expected {
                return Err(invalid(&format!("gzip member of another {what}")));
            }
        }
        Ok(())
    }
}

/// What a header has besides what every header has.
mod flag {
    pub(super) const CHECKSUM: u8 = 1 << 1;
    pub(super) const EXTRA: u8 = 1 << 2;
    pub(super) const NAME: u8 = 1 << 3;
    pub(super) const COMMENT: u8 = 1 << 4;
    pub(super) const RESERVED: u8 = 0b1110_0000;
}

/// Reads a member's header, of which nothing is needed.
fn skip_header(compressed: &mut impl Read) -> io::Result<()> {
    let mut header = Checked {
        reader: compressed,
        checksum: crc32(),
    };
    let [id_1, id_2, method, flags, ..] = bytes::<10>(&mut header)?;
    let is_gzip = [id_1, id_2] == [0x1f, 0x8b];
    const DEFLATE: u8 = 8;
    if !is_gzip || method != DEFLATE || flags & flag::RESERVED != 0 {
        return Err(invalid("invalid gzip header"));
    }
    if flags & flag::EXTRA != 0 {
        let length = u16::from_le_bytes(bytes(&mut header)?);
        for _ in 0..length {
            bytes::<1>(&mut header)?;
        }
    }
    for text in [flag::NAME, flag::COMMENT] {
        if flags & text != 0 {
            while bytes(&mut header)? != [0] {}
        }
    }
    if flags & flag::CHECKSUM != 0 {
        let checksum = header.checksum.finalize() as u16;
        if u16::from_le_bytes(bytes(header.reader)?) != checksum {
            return Err(invalid("gzip header of another checksum"));
        }
    }
    Ok(())
}

/// Gives a reader's bytes, and their checksum.
struct Checked<'a, R> {
    reader: &'a mut R,
    checksum: Digest,
}

impl<R: Read> Read for Checked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.checksum.update(&buffer[..read]);
        Ok(read)
    }
}

/// The next bytes, which are there or the stream is cut.
fn bytes<const COUNT: usize>(reader: &mut impl Read) -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn crc32() -> Digest {
    Digest::new(CrcAlgorithm::Crc32IsoHdlc)
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, ErrorKind, Write};

    use flate2::bufread::MultiGzDecoder;
    use flate2::write::GzEncoder;
    use flate2::{Compression, GzBuilder};
    use proptest::prelude::*;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(compressed: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut text = Vec::new();
        members(compressed).read_to_end(&mut text).map(|_| text)
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
    fn corruption_and_garbage_are_errors() {
        let mut corrupt = gzip(b"text");
        let crc = corrupt.len() - 8;
        corrupt[crc] ^= 1;
        assert!(read(&corrupt).is_err());
        let mut wrong_length = gzip(b"text");
        *wrong_length.last_mut().unwrap() ^= 1;
        assert!(read(&wrong_length).is_err());
        assert!(read(&[gzip(b"text"), b"garbage".to_vec()].concat()).is_err());
        let padded = |after: &[u8]| read(&[gzip(b"text"), vec![0; 9000], after.to_vec()].concat());
        assert_eq!(padded(b"").unwrap(), b"text");
        assert!(padded(b"x").is_err());
        assert!(padded(&gzip(b"text")).is_err());
        assert!(read(b"{\"DeviceId\":1}\n").is_err());
        assert_eq!(read(b"").unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    /// What a reader gives before it ends, and how it ends.
    fn outcome(mut reader: impl Read) -> (Vec<u8>, Option<ErrorKind>) {
        let mut text = Vec::new();
        let ended = reader.read_to_end(&mut text);
        (text, ended.err().map(|error| error.kind()))
    }

    fn member() -> impl Strategy<Value = Vec<u8>> {
        let text = prop::collection::vec(0..4_u8, 0..300);
        let field = || prop::option::of(prop::collection::vec(1..255_u8, 0..9));
        (text, field(), field(), field(), any::<bool>()).prop_map(
            |(text, extra, name, comment, has_checksum)| {
                let mut builder = GzBuilder::new();
                for (field, set) in [
                    (extra, GzBuilder::extra as fn(GzBuilder, Vec<u8>) -> _),
                    (name, GzBuilder::filename),
                    (comment, GzBuilder::comment),
                ] {
                    if let Some(field) = field {
                        builder = set(builder, field);
                    }
                }
                let mut member = builder.write(Vec::new(), Compression::fast());
                member.write_all(&text).unwrap();
                let mut member = member.finish().unwrap();
                if has_checksum {
                    member[3] |= flag::CHECKSUM;
                    let mut rest = &member[..];
                    let _ = skip_header(&mut rest);
                    // The header's end is two bytes before where a reader stops that takes a checksum.
                    let end = member.len() - rest.len() - 2;
                    let checksum = crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, &member[..end]);
                    member.splice(end..end, (checksum as u16).to_le_bytes());
                }
                member
            },
        )
    }

    proptest! {
        /// `flate2`'s own reader of gzip is the oracle, for whole streams and for damaged ones.
        #[test]
        fn streams_are_read_as_flate2_reads_them(
            members in prop::collection::vec(member(), 1..4),
            piece in 1..40_usize,
            damage in prop::option::of((any::<prop::sample::Index>(), 1..=255_u8)),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut stream = members.concat();
            if let Some((at, change)) = damage {
                let at = at.index(stream.len());
                stream[at] ^= change;
            }
            if let Some(at) = cut {
                stream.truncate(at.index(stream.len() + 1));
            }
            let expected = outcome(MultiGzDecoder::new(&stream[..]));
            let pieces = BufReader::with_capacity(piece, &stream[..]);
            let got = outcome(super::members(pieces));
            prop_assert_eq!(got.1.is_some(), expected.1.is_some());
            if expected.1.is_none() {
                prop_assert_eq!(got, expected);
            } else {
                // How much is given before the damage is met depends on the pieces.
                let both = got.0.len().min(expected.0.len());
                prop_assert_eq!(&got.0[..both], &expected.0[..both]);
            }
        }
    }
}
