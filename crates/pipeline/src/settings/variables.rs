//! Interpolation of environment variables: `${NAME}` in a text, `$${` for the characters `${`.

use writer::TextFlaw;

/// What a text became.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Interpolated {
    /// The text with every variable's value in its place. May be a secret.
    pub(super) text: String,
    /// Names of the variables, in order.
    pub(super) variables: Vec<String>,
    /// Those that were read without what a file or a terminal left at their ends, and the first of it.
    pub(super) trimmed: Vec<(String, TextFlaw)>,
}

/// Why a text cannot be interpolated.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// `${` without a name and a closing brace.
    Malformed,
    /// The variable of that name is not set.
    Unset(String),
    /// The variable of that name is empty.
    Empty(String),
    /// The variable of that name has a character that cannot be meant.
    Flawed(String, TextFlaw),
}

/// Puts the variables' values in, if `find_flaw` finds none in them but at their ends. `${` inside a value means nothing.
pub(super) fn interpolate(
    text: &str,
    find_flaw: impl Fn(&str) -> Option<TextFlaw>,
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<Interpolated, Problem> {
    let mut out = Interpolated {
        text: String::with_capacity(text.len()),
        variables: Vec::new(),
        trimmed: Vec::new(),
    };
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(literal) = before.strip_suffix('$') {
            out.text.push_str(literal);
            out.text.push_str("${");
            rest = after;
            continue;
        }
        let (name, after) = after.split_once('}').ok_or(Problem::Malformed)?;
        if !is_variable_name(name) {
            return Err(Problem::Malformed);
        }
        let value = environment(name).ok_or_else(|| Problem::Unset(name.to_owned()))?;
        if value.is_empty() {
            return Err(Problem::Empty(name.to_owned()));
        }
        let mut value = &*value;
        if let (Some(_), Some((trimmed, flaw))) = (find_flaw(value), TextFlaw::trim(value)) {
            out.trimmed.push((name.to_owned(), flaw));
            value = trimmed;
        }
        if let Some(flaw) = find_flaw(value) {
            return Err(Problem::Flawed(name.to_owned(), flaw));
        }
        out.text.push_str(before);
        out.text.push_str(value);
        out.variables.push(name.to_owned());
        rest = after;
    }
    out.text.push_str(rest);
    Ok(out)
}

fn is_variable_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "A" => Some("alpha".to_owned()),
            "B_2" => Some("${A}".to_owned()),
            "NONE" => Some(String::new()),
            "LINE" => Some("one\n".to_owned()),
            "QUOTED" => Some("\"one\"\n".to_owned()),
            "BLANK" => Some(" ".to_owned()),
            _ => None,
        }
    }

    fn text(template: &str) -> String {
        interpolate(template, TextFlaw::find, &environment)
            .unwrap()
            .text
    }

    #[test]
    fn variables_stand_for_the_whole_text_or_a_part_of_it() {
        assert_eq!(text("${A}"), "alpha");
        assert_eq!(text("s3://${A}/x/${A}."), "s3://alpha/x/alpha.");
        assert_eq!(text("no $ or {A} or $A }"), "no $ or {A} or $A }");
        let two = interpolate("${A}${B_2}", TextFlaw::find, &environment).unwrap();
        assert_eq!(two.variables, ["A", "B_2"]);
    }

    #[test]
    fn doubled_dollar_escapes_and_values_are_not_read_again() {
        assert_eq!(text("$${A}"), "${A}");
        assert_eq!(text("x$${A} ${A}"), "x${A} alpha");
        assert_eq!(text("${B_2}"), "${A}");
    }

    #[test]
    fn what_a_file_left_at_the_ends_is_left_out_and_named() {
        let read = interpolate("s3://${LINE}/x", TextFlaw::find, &environment).unwrap();
        assert_eq!(read.text, "s3://one/x");
        let flaw = TextFlaw::find("one\n").unwrap();
        assert_eq!(read.trimmed, [("LINE".to_owned(), flaw)]);
        let as_it_is = interpolate("${LINE}", |_| None, &environment).unwrap();
        assert_eq!(as_it_is.text, "one\n");
        assert_eq!(as_it_is.trimmed, []);
    }

    #[test]
    fn what_holds_nothing_is_named() {
        let problem =
            |template: &str| interpolate(template, TextFlaw::find, &environment).unwrap_err();
        assert_eq!(problem("x${MISSING}"), Problem::Unset("MISSING".to_owned()));
        assert_eq!(problem("${NONE}"), Problem::Empty("NONE".to_owned()));
        for (name, value) in [("QUOTED", "\"one\""), ("BLANK", " ")] {
            let flaw = TextFlaw::find(value).unwrap();
            let flawed = problem(&format!("s3://${{{name}}}/x"));
            assert_eq!(flawed, Problem::Flawed(name.to_owned(), flaw));
        }
        for malformed in ["${", "${A", "${}", "${1A}", "${A B}", "${A-B}"] {
            assert_eq!(problem(malformed), Problem::Malformed, "{malformed}");
        }
    }
}
