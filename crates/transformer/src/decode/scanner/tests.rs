//! The scanner against `serde_json`: it accepts the same texts, and gives the same strings.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn agrees_with_serde_json(text: &str) {
    let oracle = serde_json::from_str::<Value>(text);
    let found = check(text.as_bytes());
    assert_eq!(
        found.is_ok(),
        oracle.is_ok(),
        "{text:?}: {found:?} {oracle:?}"
    );
}

#[test]
fn accepts_what_serde_json_accepts_at_the_edges() {
    for text in [
        "",
        " ",
        "null",
        "nul",
        "truefalse",
        "-",
        "-0",
        "01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "1e5",
        "1E-5",
        "1e308",
        "1e309",
        "-1e999",
        "0e999999999999",
        "1e-999",
        "12345678901234567890123",
        "[",
        "[]",
        "[1,]",
        "[1 2]",
        "{}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\":1}x",
        "\"",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\ude00\\ud83d\"",
        "\"\\ud83d\\n\"",
        "\"\\u0000\"",
        "\"\u{1}\"",
        "\"\t\"",
        "\"\u{7f}é😀\"",
        "\u{feff}1",
        "\r\n\t 1 \r",
        "\"12345678\"",
        "\"1234567\\n\"",
        "'a'",
        "+1",
        "NaN",
        "[[[]]]",
        "\u{b}1",
        "1\u{0}",
    ] {
        agrees_with_serde_json(text);
    }
    agrees_with_serde_json(&"9".repeat(310));
    agrees_with_serde_json(&format!("0.{}", "9".repeat(400)));
    for depth in [126, 127, 128, 129, 100_000] {
        agrees_with_serde_json(&("[".repeat(depth) + &"]".repeat(depth)));
        agrees_with_serde_json(&("{\"a\":".repeat(depth) + "1" + &"}".repeat(depth)));
    }
}

fn text_of_json_pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        "\\\"",
        "\\u",
        "d83d",
        "de00",
        "\\ud83d\\ude00",
        "0",
        "1",
        "-",
        ".",
        "e",
        "E5",
        "+",
        "true",
        "null",
        " ",
        "\n",
        "\"a\"",
        "\"a\":",
        "{\"a\":1}",
        "é",
        "😀",
        "\u{1}",
        "abcdefgh",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn accepts_what_serde_json_accepts(text in text_of_json_pieces()) {
        agrees_with_serde_json(&text);
        agrees_with_serde_json(&format!("[\"{text}\"]"));
    }

    #[test]
    fn both_ways_of_unescaping_give_the_string(text in any::<String>(), escape_all in any::<bool>()) {
        let mut json = serde_json::to_string(&text).unwrap();
        if escape_all {
            let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
            json = format!("\"{units}\"");
        }
        let mut scanner = Scanner::new(&json.as_bytes()[1..]);
        let mut buffer = Vec::new();
        let raw = scanner.string().unwrap();
        prop_assert_eq!(raw.value(&mut buffer), text.as_bytes());
        scanner.end().unwrap();

        let mut scanner = Scanner::new(&json.as_bytes()[1..]);
        let mut buffer = vec![b'x'; 3];
        let length = scanner.unescape(&mut buffer).unwrap();
        prop_assert_eq!(&buffer[..length], text.as_bytes());
        scanner.end().unwrap();
    }
}
