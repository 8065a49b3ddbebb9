//! Records of streams that come in small steps, as lines and as the elements of an array.

use proptest::prelude::*;

use super::*;
use crate::framing::window::READ_SIZE;

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
    let mut records = Records::new(Trickle(text, step), max, Vec::new());
    let mut all = Vec::new();
    while let Some(line) = records.next_record().unwrap() {
        all.push((line.bytes.to_vec(), line.line, line.offset, line.too_long));
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
        let mut reader = Records::new(Trickle(text.as_bytes(), step), 1_000_000, Vec::new());
        let mut found = Vec::new();
        while let Some(line) = reader.next_record().unwrap() {
            found.push((line.bytes.len(), line.line, line.offset, line.too_long));
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
        assert!(reader.window.capacity() <= 4 << 20);
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

/// The elements of an array, or what is wrong with it.
fn elements(text: &str, step: usize, max: usize) -> Result<Vec<(String, u64, u64, bool)>, String> {
    let mut records = Records::new(Trickle(text.as_bytes(), step), max, Vec::new());
    let mut all = Vec::new();
    loop {
        match records.next_record() {
            Ok(Some(record)) => all.push((
                String::from_utf8(record.bytes.to_vec()).unwrap(),
                record.line,
                record.offset,
                record.too_long,
            )),
            Ok(None) => return Ok(all),
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[test]
fn elements_of_an_array_have_the_lines_that_they_begin_in() {
    let text = "\u{feff}\n[ {\"a\":\"],{\\\"\"} ,\n{\n\"b\": [1,\n{}]\n}\n, 7,\nnull ] \n";
    let element = |text: &str, line, offset| (text.to_owned(), line, offset, false);
    for step in [1, 2, 3, 100] {
        assert_eq!(
            elements(text, step, 100).unwrap(),
            [
                element("{\"a\":\"],{\\\"\"}", 2, 6),
                element("{\n\"b\": [1,\n{}]\n}", 3, 22),
                element("7", 7, 41),
                element("null", 8, 44),
            ]
        );
    }
    assert_eq!(elements("[]", 1, 100).unwrap(), []);
    let long = format!("[{{\"a\":\"{}\"}},{{}}]", "x".repeat(50));
    let found = elements(&long, 7, 20).unwrap();
    assert_eq!((found[0].3, found[1].3), (true, false));
}

#[test]
fn an_array_that_does_not_end_is_refused_with_its_line() {
    for (text, words) in [
        ("[{},\n{\"a\":1}", "line 2: the JSON array is not closed"),
        ("[{}", "line 1: the JSON array is not closed"),
        ("[{}]\n{}", "line 2: something comes after the JSON array"),
    ] {
        assert_eq!(elements(text, 3, 100).unwrap_err(), words, "{text}");
    }
}

proptest! {
    #[test]
    fn elements_are_those_of_serde_json(
        values in prop::collection::vec("[a-z\\[\\]{},:\"\\\\]{0,9}", 1..6),
        step in 1..9_usize,
        pretty in any::<bool>(),
    ) {
        let array: Vec<_> = values.iter().map(|value| serde_json::json!({"k": [value]})).collect();
        let text = match pretty {
            true => serde_json::to_string_pretty(&array).unwrap(),
            false => serde_json::to_string(&array).unwrap(),
        };
        let found = elements(&text, step, 1000).unwrap();
        let parsed: Vec<serde_json::Value> =
            found.iter().map(|element| serde_json::from_str(&element.0).unwrap()).collect();
        prop_assert_eq!(parsed, array);
    }
}
