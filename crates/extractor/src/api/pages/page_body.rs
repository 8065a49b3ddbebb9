//! One page as it arrives: its rows to JSON lines, its next link to the caller. Checks that it is JSON; looks into no row.
//!
//! A row is copied as the text that it is, so that the decoder sees what the service wrote: numbers, spellings, the order of
//! keys. One row is in memory at a time. Line breaks are no part of JSON's strings: between tokens they become blanks.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::rc::Rc;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

/// Bytes from the end of one row to that of the next: a longer row would be held in memory. The decoder takes lines of a few MiB.
const MAX_ROW: u64 = 64 << 20;

/// What a page says, beside its rows.
#[derive(PartialEq, Eq)]
pub(super) struct PageBody {
    pub(super) rows: u64,
    /// Bytes of the answer.
    pub(super) bytes: u64,
    /// As the service wrote it. Not to be shown: its query is the skip token.
    pub(super) next_link: Option<String>,
}

/// Why a page could not be copied.
#[derive(Debug)]
pub(super) enum NotCopied {
    /// The body ends too early.
    Cut,
    /// It is no page. The reason quotes nothing.
    Malformed(String),
    /// The lines could not be written.
    Write(io::Error),
}

/// Copies the rows of a page, each followed by a line feed.
pub(super) fn copy_rows(body: impl Read, lines: &mut impl Write) -> Result<PageBody, NotCopied> {
    let meter = Rc::new(Meter::default());
    let body = MeteredReader {
        body,
        meter: Rc::clone(&meter),
    };
    let mut page = Page {
        lines,
        meter: &meter,
        rows: 0,
        next_link: None,
        failed: None,
    };
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(body));
    let parsed = (&mut page).deserialize(&mut json).and_then(|()| json.end());
    if let Some(error) = page.failed {
        return Err(NotCopied::Write(error));
    }
    match parsed {
        Ok(()) => Ok(PageBody {
            rows: page.rows,
            bytes: meter.bytes.get(),
            next_link: page.next_link,
        }),
        Err(_) if meter.since_row.get() > MAX_ROW => Err(NotCopied::Malformed(format!(
            "a row is longer than {} MiB",
            MAX_ROW >> 20
        ))),
        Err(error) if error.classify() == Category::Eof => Err(NotCopied::Cut),
        // The message of the JSON error is left out: it may quote a row.
        Err(error) => Err(NotCopied::Malformed(format!(
            "not the expected JSON ({:?} error at line {}, column {})",
            error.classify(),
            error.line(),
            error.column()
        ))),
    }
}

/// How much was read, in all and since the last row.
#[derive(Default)]
struct Meter {
    bytes: Cell<u64>,
    since_row: Cell<u64>,
}

struct MeteredReader<R> {
    body: R,
    meter: Rc<Meter>,
}

impl<R: Read> Read for MeteredReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let meter = &self.meter;
        if meter.since_row.get() > MAX_ROW {
            return Err(io::Error::other("row too long"));
        }
        let read = self.body.read(buffer)?;
        meter.bytes.set(meter.bytes.get() + read as u64);
        meter.since_row.set(meter.since_row.get() + read as u64);
        Ok(read)
    }
}

/// A page so far.
struct Page<'a, W> {
    lines: &'a mut W,
    meter: &'a Meter,
    rows: u64,
    next_link: Option<String>,
    failed: Option<io::Error>,
}

impl<W: Write> Page<'_, W> {
    fn add(&mut self, row: &str) -> io::Result<()> {
        for (index, text) in row.split(['\n', '\r']).enumerate() {
            if index > 0 {
                self.lines.write_all(b" ")?;
            }
            self.lines.write_all(text.as_bytes())?;
        }
        self.lines.write_all(b"\n")?;
        self.rows += 1;
        self.meter.since_row.set(0);
        Ok(())
    }
}

impl<'de, W: Write> DeserializeSeed<'de> for &mut Page<'_, W> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, wire: D) -> Result<(), D::Error> {
        wire.deserialize_map(self)
    }
}

impl<'de, W: Write> Visitor<'de> for &mut Page<'_, W> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let (mut has_rows, mut has_link) = (false, false);
        while let Some(key) = members.next_key::<String>()? {
            match key.as_str() {
                "value" if has_rows => return Err(A::Error::duplicate_field("value")),
                "value" => {
                    members.next_value_seed(Rows(&mut *self))?;
                    has_rows = true;
                }
                key if is_next_link(key) && has_link => {
                    return Err(A::Error::duplicate_field("@odata.nextLink"));
                }
                key if is_next_link(key) => {
                    self.next_link = members.next_value()?;
                    has_link = true;
                }
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        match has_rows {
            true => Ok(()),
            false => Err(A::Error::missing_field("value")),
        }
    }
}

/// A next link under another spelling would be a table that silently ends early. OData 4.01 allows the short form.
fn is_next_link(key: &str) -> bool {
    key.eq_ignore_ascii_case("@odata.nextLink") || key.eq_ignore_ascii_case("@nextLink")
}

/// The collection of rows.
struct Rows<'a, 'b, W>(&'a mut Page<'b, W>);

impl<'de, W: Write> DeserializeSeed<'de> for Rows<'_, '_, W> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, wire: D) -> Result<(), D::Error> {
        wire.deserialize_seq(self)
    }
}

impl<'de, W: Write> Visitor<'de> for Rows<'_, '_, W> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some(row) = rows.next_element::<Box<RawValue>>()? {
            if let Err(error) = self.0.add(row.get()) {
                self.0.failed = Some(error);
                return Err(A::Error::custom("a line that cannot be written"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(body: &str) -> Result<(String, PageBody), NotCopied> {
        let mut lines = Vec::new();
        let page = copy_rows(body.as_bytes(), &mut lines)?;
        Ok((String::from_utf8(lines).unwrap(), page))
    }

    #[test]
    fn rows_are_copied_as_they_are() {
        let body = concat!(
            r#"{"@odata.context":"c","value":[ {"id":"a","score":1.10,"big":12345678901234567890123},"#,
            "\r\n",
            r#"{ "B" : "\u00e9\n“”","b":[1e5,
                {}]},null,7 ],"@odata.nextLink":"https://x/?a=\u0026"}"#
        );
        let (lines, page) = copied(body).unwrap();
        let lines: Vec<&str> = lines.lines().map(str::trim_end).collect();
        assert_eq!(
            lines[0],
            r#"{"id":"a","score":1.10,"big":12345678901234567890123}"#
        );
        assert!(
            lines[1].starts_with(r#"{ "B" : "\u00e9\n“”","b":[1e5, "#),
            "{}",
            lines[1]
        );
        assert!(lines[1].ends_with("{}]}"), "{}", lines[1]);
        assert_eq!(lines[2..], ["null", "7"]);
        assert_eq!((page.rows, page.bytes), (4, body.len() as u64));
        assert_eq!(page.next_link.as_deref(), Some("https://x/?a=&"));
    }

    #[test]
    fn the_last_page_has_no_link_and_a_page_may_be_empty() {
        for body in [
            r#"{"value":[]}"#,
            r#"{"@odata.nextLink":null,"value":[],"@odata.count":7}"#,
        ] {
            let (lines, page) = copied(body).unwrap();
            assert!(lines.is_empty() && page.rows == 0 && page.next_link.is_none());
        }
        for key in ["@odata.nextlink", "@nextLink"] {
            let body = format!(r#"{{"{key}":"n","value":[]}}"#);
            assert_eq!(copied(&body).unwrap().1.next_link.as_deref(), Some("n"));
        }
    }

    #[test]
    fn what_is_no_page_is_refused_without_quoting_it() {
        for body in [
            "<html>",
            "{}",
            "[]",
            r#"{"value":null}"#,
            r#"{"value":"s3cr3t"}"#,
            r#"{"value":[{"a":s3cr3t}]}"#,
            "{\"value\":[{\"a\":\"s3cr3t\n\"}]}",
            r#"{"value":[],"value":[]}"#,
            r#"{"value":[],"@odata.nextLink":"s3cr3t","@odata.nextLink":null}"#,
            r#"{"value":[],"@odata.nextLink":{"a":"s3cr3t"}}"#,
            r#"{"value":[]} s3cr3t"#,
        ] {
            match copied(body) {
                Err(NotCopied::Malformed(reason)) => {
                    assert!(!reason.contains("s3cr3t"), "{reason}");
                }
                other => panic!("{body}: {:?}", other.map(|(lines, _)| lines)),
            }
        }
        for body in ["", "{", r#"{"value":[{"a":1},"#, r#"{"value":[]"#] {
            assert!(matches!(copied(body), Err(NotCopied::Cut)), "{body}");
        }
    }

    /// A body that never ends, of one value that is never complete.
    struct Endless(&'static [u8]);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                buffer.fill(b'x');
                return Ok(buffer.len());
            }
            self.0.read(buffer)
        }
    }

    #[test]
    fn a_row_or_a_member_without_end_is_refused() {
        for beginning in [
            &br#"{"value":[{},{"a":""#[..],
            br#"{""#,
            br#"{"value":[],"more":""#,
        ] {
            match copy_rows(Endless(beginning), &mut io::sink()) {
                Err(NotCopied::Malformed(reason)) => assert!(reason.contains("64 MiB"), "{reason}"),
                _ => panic!("{beginning:?}"),
            }
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_the_error() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let failed = copy_rows(&br#"{"value":[{}]}"#[..], &mut Full);
        assert!(
            matches!(failed, Err(NotCopied::Write(error)) if error.kind() == io::ErrorKind::StorageFull)
        );
    }
}
