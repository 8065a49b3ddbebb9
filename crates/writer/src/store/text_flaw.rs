//! What makes a value that somebody copied into a setting or an environment variable unusable, and does not show: line
//! breaks, blanks, quotes, control characters. Sending it would fail in a header or a URL. Never holds the value.

use std::fmt;

/// The first character of a text that cannot be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextFlaw {
    position: Position,
    character: char,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    Start,
    End,
    Inside,
}

impl TextFlaw {
    /// Finds control characters and invisible ones anywhere, white space and quotes at the ends.
    pub fn find(text: &str) -> Option<Self> {
        let at_end = |c: char| c.is_whitespace() || is_invisible(c) || matches!(c, '"' | '\'');
        let flaw = |position, character| Self {
            position,
            character,
        };
        let start = text.chars().next().filter(|&c| at_end(c));
        let end = text.chars().next_back().filter(|&c| at_end(c));
        start
            .map(|c| flaw(Position::Start, c))
            .or_else(|| end.map(|c| flaw(Position::End, c)))
            .or_else(|| Self::find_inside(text, is_invisible))
    }

    /// The text without the line breaks, blanks and byte order marks at its ends, which a file or a terminal left there, and the first
    /// of them that was found. `None`: there are none, or nothing else.
    pub fn trim(text: &str) -> Option<(&str, Self)> {
        let is_left_over = |c: char| c.is_whitespace() || c == '\u{feff}';
        let trimmed = text.trim_matches(is_left_over);
        if trimmed.is_empty() || trimmed.len() == text.len() {
            return None;
        }
        Self::find(text).map(|flaw| (trimmed, flaw))
    }

    /// Finds the first character that `is_wrong` names.
    pub(crate) fn find_inside(text: &str, is_wrong: impl Fn(char) -> bool) -> Option<Self> {
        let character = text.chars().find(|&c| is_wrong(c))?;
        Some(Self {
            position: Position::Inside,
            character,
        })
    }
}

/// Control characters, and what Unicode has of characters without width.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffd}')
}

impl fmt::Display for TextFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.position {
            Position::Start => "begins with ",
            Position::End => "ends with ",
            Position::Inside => "holds ",
        })?;
        f.write_str(match self.character {
            '\n' => "a line feed",
            '\r' => "a carriage return",
            '\t' => "a tab",
            ' ' => "a space",
            '\0' => "a NUL character",
            '\u{a0}' => "a non-breaking space",
            '\u{feff}' => "a byte order mark",
            '\u{fffd}' => "bytes that are not UTF-8",
            '"' => "a double quote",
            '\'' => "a single quote",
            c if c.is_control() => "a control character",
            c if c.is_whitespace() => "white space",
            c if is_invisible(c) => "an invisible character",
            c if !c.is_ascii() => "a character that is not ASCII",
            _ => "a character that it cannot have",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw(text: &str) -> String {
        TextFlaw::find(text).map_or_else(String::new, |flaw| flaw.to_string())
    }

    #[test]
    fn what_does_not_show_is_found_at_the_ends_and_inside() {
        assert_eq!(flaw("x\n"), "ends with a line feed");
        assert_eq!(flaw("x\r\n"), "ends with a line feed");
        assert_eq!(flaw("x\r"), "ends with a carriage return");
        assert_eq!(flaw(" x"), "begins with a space");
        assert_eq!(flaw("\u{feff}x"), "begins with a byte order mark");
        assert_eq!(flaw("x\u{a0}"), "ends with a non-breaking space");
        assert_eq!(flaw("x\u{3000}"), "ends with white space");
        assert_eq!(flaw("\"x\""), "begins with a double quote");
        assert_eq!(flaw("x'"), "ends with a single quote");
        assert_eq!(flaw("x\0y"), "holds a NUL character");
        assert_eq!(flaw("x\ty"), "holds a tab");
        assert_eq!(flaw("x\u{1b}[0m"), "holds a control character");
        assert_eq!(flaw("x\u{200b}y"), "holds an invisible character");
    }

    #[test]
    fn what_a_file_or_a_terminal_leaves_at_the_ends_can_go() {
        let trimmed = |text: &'static str| TextFlaw::trim(text).map(|(trimmed, _)| trimmed);
        assert_eq!(trimmed("x\r\n"), Some("x"));
        assert_eq!(trimmed("\u{feff} two words\t"), Some("two words"));
        assert_eq!(trimmed("x\u{a0}"), Some("x"));
        for kept in ["x", "", "\n", "\"x\"", "x\u{200b}", "two words"] {
            assert_eq!(trimmed(kept), None, "{kept:?}");
        }
    }

    #[test]
    fn what_shows_passes() {
        for text in ["", "x", "two words", "it's", "é", "a=b&c=%3D", "sig~._-+/="] {
            assert_eq!(TextFlaw::find(text), None, "{text}");
        }
    }
}
