//! Values as literals of the languages in which code is printed. Whoever writes the lake or the settings must not write the code.
//!
//! Characters that do not show are written by their numbers: who reads the code sees what it says.

use std::fmt::Write;

/// A string of Python.
pub fn python(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        let _ = match character {
            '"' | '\\' => write!(out, "\\{character}"),
            '\n' => write!(out, "\\n"),
            shown if is_shown(shown) => write!(out, "{shown}"),
            hidden => write!(out, "\\U{:08x}", u32::from(hidden)),
        };
    }
    out + "\""
}

/// A text of SQL, as an expression. SQL has no NUL in a text: it becomes U+FFFD.
pub fn sql(text: &str) -> String {
    let mut out = String::from("'");
    let mut is_joined = false;
    for character in text.chars() {
        let _ = match character {
            '\'' => write!(out, "''"),
            '\0' => write!(out, "\u{fffd}"),
            shown if is_shown(shown) => write!(out, "{shown}"),
            hidden => {
                is_joined = true;
                write!(out, "' || chr({}) || '", u32::from(hidden))
            }
        };
    }
    out.push('\'');
    match is_joined {
        true => format!("({out})"),
        false => out,
    }
}

/// Whether a character shows as what it is: no control, no turn of the direction, nothing without width.
fn is_shown(character: char) -> bool {
    let debug = character.escape_debug();
    debug.len() == 1 || matches!(character, '\'' | '"' | '\\') || is_mark(character)
}

/// Marks that join the letter before them are escaped at the beginning of a text alone.
fn is_mark(character: char) -> bool {
    ["a", character.encode_utf8(&mut [0; 4])]
        .concat()
        .escape_debug()
        .count()
        == 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_shows_is_written_as_it_is_and_what_does_not_by_its_number() {
        assert_eq!(python("a'b é 中"), "\"a'b é 中\"");
        assert_eq!(python("a\"b\\c\n"), "\"a\\\"b\\\\c\\n\"");
        assert_eq!(python("\u{202e}\u{1b}"), "\"\\U0000202e\\U0000001b\"");
        assert_eq!(sql("it's é"), "'it''s é'");
        assert_eq!(
            sql("a\nb\u{202e}"),
            "('a' || chr(10) || 'b' || chr(8238) || '')"
        );
    }

    proptest! {
        /// The other end, Python and DuckDB themselves, is in `tests/printed_code.rs`.
        #[test]
        fn nothing_ends_a_literal_before_its_end(text in any::<String>()) {
            let python = python(&text);
            let inside = &python[1..python.len() - 1];
            let mut escaped = false;
            for character in inside.chars() {
                prop_assert!(escaped || character != '"');
                prop_assert!(!character.is_control());
                escaped = character == '\\' && !escaped;
            }
            prop_assert!(!escaped);
            let sql = sql(&text);
            prop_assert!(!sql.contains(|c: char| c.is_control()));
            prop_assert_eq!(sql.matches('\'').count() % 2, 0);
        }
    }
}
