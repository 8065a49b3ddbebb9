//! What a terminal would obey or hide, made visible: control characters, and those that turn the direction of a text or have no width.
//! Everything that is printed passes here: names in a lake, records and words of a service are written by others.

use std::borrow::Cow;
use std::fmt::Write;

/// A text for people. Lines and tabs stay.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    escaped(text, |out, hidden| {
        let _ = write!(out, "\\u{{{:x}}}", u32::from(hidden));
    })
}

/// The same of a text whose lines after the first could be taken for lines of this program: they are indented.
pub(crate) fn lines(text: &str) -> String {
    self::text(text).replace('\n', "\n    ")
}

/// JSON, which stays the same document.
pub(crate) fn json(json: &str) -> Cow<'_, str> {
    escaped(json, |out, hidden| {
        for unit in hidden.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

/// A line of the log: colours, which this program writes, stay.
pub(crate) fn log_line(line: &str, has_colours: bool) -> String {
    let line_end = if line.ends_with('\n') { "\n" } else { "" };
    let mut out = String::new();
    let mut rest = line.strip_suffix('\n').unwrap_or(line);
    while let Some((before, colour, after)) = first_colour(rest).filter(|_| has_colours) {
        out += &lines(before);
        out += colour;
        rest = after;
    }
    out + &lines(rest) + line_end
}

/// The first colour of a line, with what is before and after it.
fn first_colour(line: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(at) = line[from..].find("\u{1b}[").map(|at| from + at) {
        let codes = &line[at + 2..];
        let length = codes.find(|c: char| !c.is_ascii_digit() && c != ';')?;
        if codes[length..].starts_with('m') {
            let end = at + 2 + length + 1;
            return Some((&line[..at], &line[at..end], &line[end..]));
        }
        from = at + 2;
    }
    None
}

fn escaped(text: &str, escape: impl Fn(&mut String, char)) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match is_hidden(character) {
            true => escape(&mut out, character),
            false => out.push(character),
        }
    }
    Cow::Owned(out)
}

fn is_hidden(character: char) -> bool {
    match character {
        // Bytes that are not UTF-8 are shown as the last of these.
        '\n' | '\t' | char::REPLACEMENT_CHARACTER => false,
        '\u{61c}' | '\u{180e}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        other => pipeline::is_invisible(other),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_or_hides_is_shown() {
        assert_eq!(text("plain é 中 👍\tx\n"), "plain é 中 👍\tx\n");
        assert_eq!(text("\u{1b}[2J\u{7}"), "\\u{1b}[2J\\u{7}");
        assert_eq!(text("a\rb\u{9b}c\u{202e}d"), "a\\u{d}b\\u{9b}c\\u{202e}d");
        assert_eq!(lines("one\nerror: two"), "one\n    error: two");
        assert_eq!(json("\"\u{202e}\u{e0041}\""), "\"\\u202e\\udb40\\udc41\"");
    }

    #[test]
    fn colours_of_the_log_stay_and_nothing_else() {
        let line = "\u{1b}[33m WARN\u{1b}[0m x\u{1b}[2J\u{1b}]0;y\u{7}\nfaked\n";
        assert_eq!(
            log_line(line, true),
            "\u{1b}[33m WARN\u{1b}[0m x\\u{1b}[2J\\u{1b}]0;y\\u{7}\n    faked\n"
        );
        assert!(!log_line(line, false).contains('\u{1b}'));
    }

    proptest! {
        #[test]
        fn no_hidden_character_is_left_and_json_means_the_same(value in any::<String>()) {
            prop_assert!(!text(&value).contains(is_hidden));
            let written = serde_json::to_string(&value).unwrap();
            let printed = json(&written);
            prop_assert!(!printed.contains(is_hidden));
            prop_assert_eq!(serde_json::from_str::<String>(&printed).unwrap(), value);
        }
    }
}
