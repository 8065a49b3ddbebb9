//! Literals in printed code: read by the rules of their language, each is the value that it is of, and ends where it ends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pipeline::literal;

fuzz_target!(|text: &str| {
    assert_eq!(of_python(&literal::python(text)).as_deref(), Some(text));
    let expected = text.replace('\0', "\u{fffd}");
    assert_eq!(of_sql(&literal::sql(text)), Some(expected));
});

/// The value of a Python string in double quotes that uses `\\`, `\"`, `\n` and `\U`.
fn of_python(literal: &str) -> Option<String> {
    let mut rest = literal.strip_prefix('"')?.chars();
    let mut value = String::new();
    loop {
        match rest.next()? {
            '"' => return rest.next().is_none().then_some(value),
            '\\' => match rest.next()? {
                'n' => value.push('\n'),
                same @ ('"' | '\\') => value.push(same),
                'U' => {
                    let digits: String = rest.by_ref().take(8).collect();
                    value.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                }
                _ => return None,
            },
            control if control.is_control() => return None,
            other => value.push(other),
        }
    }
}

/// The value of a text of SQL, or of texts and calls of `chr` that are put together in brackets.
fn of_sql(expression: &str) -> Option<String> {
    let inside = expression.strip_prefix('(');
    let mut rest = inside.map_or(Some(expression), |inside| inside.strip_suffix(')'))?;
    let mut value = String::new();
    loop {
        if let Some(call) = rest.strip_prefix("chr(") {
            let (number, after) = call.split_once(')')?;
            value.push(char::from_u32(number.parse().ok()?)?);
            rest = after;
        } else {
            rest = rest.strip_prefix('\'')?;
            loop {
                let (before, after) = rest.split_once('\'')?;
                value.push_str(before);
                rest = after;
                match rest.strip_prefix('\'') {
                    Some(after) => {
                        value.push('\'');
                        rest = after;
                    }
                    None => break,
                }
            }
        }
        if rest.is_empty() {
            return Some(value);
        }
        rest = rest.strip_prefix(" || ")?;
    }
}
