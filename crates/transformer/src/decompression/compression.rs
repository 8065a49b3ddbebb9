//! How a blob is compressed: as it has to be, or as its first bytes say.
//!
//! The service sends gzip. Files that scripts made may be plain JSON, whatever their name says.

use std::io::{self, BufRead, Read};

use thiserror::Error;

use super::gzip::{Members, members};
use super::limited::Limited;

/// How a blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip (RFC 1952), one or more members.
    Gzip,
    /// Not at all.
    None,
}

/// What a file is that holds no records of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotAnExport {
    /// A zip archive.
    #[error("it is a zip archive: extract the JSON files in it")]
    Zip,
    /// Compressed by zstd.
    #[error("it is compressed by zstd: decompress it (zstd -d)")]
    Zstd,
    /// Compressed by bzip2.
    #[error("it is compressed by bzip2: decompress it (bunzip2)")]
    Bzip2,
    /// Compressed by xz.
    #[error("it is compressed by xz: decompress it (unxz)")]
    Xz,
    /// A Parquet file.
    #[error("it is a Parquet file, and not the JSON of an export")]
    Parquet,
    /// HTML or XML, such as the error page of a proxy.
    #[error("it is HTML or XML, such as an error page, and not the JSON of an export")]
    Markup,
    /// Text in UTF-16, such as PowerShell 5 writes.
    #[error(
        "it is UTF-16: convert it to UTF-8 (iconv -f UTF-16 -t UTF-8; in PowerShell, Set-Content -Encoding utf8)"
    )]
    Utf16,
    /// Something else.
    #[error("it begins neither as gzip nor as JSON")]
    Unknown,
}

impl Compression {
    /// Tells by the first bytes of a file how it is compressed; an empty one counts as gzip that is cut.
    ///
    /// # Errors
    /// What the file is, if it holds no records of an export.
    pub fn detect(beginning: &[u8]) -> Result<Self, NotAnExport> {
        if beginning.is_empty() || b"\x1f\x8b".starts_with(&beginning[..beginning.len().min(2)]) {
            return Ok(Self::Gzip);
        }
        check_text(beginning).map(|()| Self::None)
    }
}

/// Checks that the beginning of a plain text may be that of records.
pub(crate) fn check_text(beginning: &[u8]) -> Result<(), NotAnExport> {
    let signatures: [(&[u8], NotAnExport); 7] = [
        (b"PK\x03\x04", NotAnExport::Zip),
        (b"\x28\xb5\x2f\xfd", NotAnExport::Zstd),
        (b"BZh", NotAnExport::Bzip2),
        (b"\xfd7zXZ", NotAnExport::Xz),
        (b"PAR1", NotAnExport::Parquet),
        (b"\xff\xfe", NotAnExport::Utf16),
        (b"\xfe\xff", NotAnExport::Utf16),
    ];
    if let Some((_, found)) = signatures
        .iter()
        .find(|(signature, _)| beginning.starts_with(signature))
    {
        return Err(*found);
    }
    let text = beginning
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(beginning)
        .trim_ascii_start();
    match text {
        // UTF-16 without a mark: every other byte of ASCII is 0.
        [b'{' | b'[', 0, ..] | [0, b'{' | b'[', ..] => Err(NotAnExport::Utf16),
        [] | [b'{' | b'[', ..] => Ok(()),
        [b'<', ..] => Err(NotAnExport::Markup),
        _ => Err(NotAnExport::Unknown),
    }
}

/// Gives the plain bytes of a blob. Reading fails where a gzip stream is cut or corrupt, and with an error that holds a `TooLarge`
/// where there are more than `limit` bytes.
pub fn inflate<R: BufRead>(compressed: R, compression: Compression, limit: u64) -> impl Read {
    let plain = match compression {
        Compression::Gzip => Plain::Gzip(Box::new(members(compressed))),
        Compression::None => Plain::None(compressed),
    };
    Limited::new(plain, limit)
}

enum Plain<R> {
    Gzip(Box<Members<R>>),
    None(R),
}

impl<R: BufRead> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(members) => members.read(buffer),
            Self::None(plain) => plain.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_by_its_first_bytes() {
        for (beginning, found) in [
            (&b"\x1f\x8b\x08"[..], Ok(Compression::Gzip)),
            (b"\x1f", Ok(Compression::Gzip)),
            (b"", Ok(Compression::Gzip)),
            (b"{\"DeviceId\"", Ok(Compression::None)),
            (b"\xef\xbb\xbf \r\n [", Ok(Compression::None)),
            (b"PK\x03\x04", Err(NotAnExport::Zip)),
            (b"\xff\xfe{\0", Err(NotAnExport::Utf16)),
            (b"{\0\"\0", Err(NotAnExport::Utf16)),
            (b"\0{\0\"", Err(NotAnExport::Utf16)),
            (b"<!DOCTYPE html>", Err(NotAnExport::Markup)),
            (b"DeviceId,DeviceName", Err(NotAnExport::Unknown)),
        ] {
            assert_eq!(Compression::detect(beginning), found, "{beginning:?}");
        }
    }

    #[test]
    fn plain_bytes_are_given_up_to_the_limit() {
        let mut text = String::new();
        let reader = |limit| inflate(&b"{}\n"[..], Compression::None, limit);
        reader(3).read_to_string(&mut text).unwrap();
        assert_eq!(text, "{}\n");
        assert!(reader(2).read_to_string(&mut text).is_err());
    }
}
