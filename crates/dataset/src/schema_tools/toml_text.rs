//! Columns as the text of a schema file, with what was seen of each in a comment. Reads no TOML.

use std::fmt::Write;

use super::column_name::column_names;
use super::evidence::Seen;
use super::shape::FoundColumn;
use super::wire_value::Kind;

/// A text as a TOML string on one line.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// An array of strings on one line.
pub(super) fn quoted_list(texts: &[&str]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// Wire paths: one as a string, several as an array.
pub(super) fn quoted_paths(paths: &[&str]) -> String {
    match paths {
        [path] => quoted(path),
        paths => quoted_list(paths),
    }
}

/// A column and its fields. `table` is `column`, or below it `column.field`; names of fields are made here.
pub(super) fn column_text(
    found: &FoundColumn<'_>,
    name: &str,
    wire: &[&str],
    is_required: bool,
    table: &str,
) -> String {
    let mut text = format!(
        "# {}\n[[{table}]]\nname = {}\nwire = {}\ntype = {}\n",
        comment(found),
        quoted(name),
        quoted_paths(wire),
        quoted(found.type_name)
    );
    if is_required {
        text += "nullable = false\n";
    }
    let came = share(found.seen.values, found.of);
    let of = match table {
        "column" => counted(found.of, "record"),
        _ => counted(found.of, "list item"),
    };
    let _ = writeln!(text, "meaning = \"Seen in {came} of {of}.\"");
    let names = field_names(&found.fields);
    for (field, name) in found.fields.iter().zip(&names) {
        text += &column_text(field, name, &field.wire, false, &format!("{table}.field"));
    }
    text
}

fn field_names(fields: &[FoundColumn<'_>]) -> Vec<String> {
    let paths: Vec<&str> = fields.iter().map(usual_path).collect();
    column_names(&paths, &[])
}

/// The usual spelling of a column's path.
pub(super) fn usual_path<'a>(found: &FoundColumn<'a>) -> &'a str {
    found.wire.first().copied().unwrap_or_default()
}

/// What was seen, in one line.
fn comment(found: &FoundColumn<'_>) -> String {
    let seen = found.seen;
    if seen.values == 0 {
        return "Null wherever it came.".to_owned();
    }
    let distinct = match seen.distinct() {
        Some(distinct) => counted(distinct as u64, "distinct value"),
        None => "1,000 distinct values or more".to_owned(),
    };
    let nulls = share(found.of.saturating_sub(seen.values), found.of);
    let examples = seen.examples.join(" | ");
    let remark = remark(found).unwrap_or_default();
    format!("{distinct}, {nulls} null, such as: {examples}{remark}")
}

/// What the type does not say.
fn remark(found: &FoundColumn<'_>) -> Option<String> {
    let seen = found.seen;
    let all_but = |kind| seen.misfits(kind).0 == 0 && seen.fit(kind) > 0;
    if seen.year_ones > 0 && matches!(found.type_name, "timestamp" | "date") {
        let year_ones = grouped(seen.year_ones);
        return Some(format!(" ({year_ones} of year 1, which do not fit)"));
    }
    if found.type_name != "string" {
        return None;
    }
    if all_but(Kind::Int64) {
        return Some(" (int64 would fit)".to_owned());
    }
    if all_but(Kind::Float64) {
        return Some(" (float64 would fit)".to_owned());
    }
    [(Kind::Timestamp, "timestamp"), (Kind::Bool, "bool")]
        .into_iter()
        .find_map(|(kind, name)| nearly(seen, kind, name))
}

/// Tells of the few values for which a better type was not proposed.
fn nearly(seen: &Seen, kind: Kind, name: &str) -> Option<String> {
    let (misfits, example) = seen.misfits(kind);
    (misfits * 10 < seen.values)
        .then(|| format!(" ({name}, but for {} such as {example})", grouped(misfits)))
}

/// A part of a whole in per cent, cut off: 100% is all of it.
pub(super) fn share(part: u64, whole: u64) -> String {
    match (part.min(whole) * 100).checked_div(whole) {
        Some(0) if part > 0 => "less than 1%".to_owned(),
        Some(percent) => format!("{percent}%"),
        None => "0%".to_owned(),
    }
}

/// A number of things, such as `1 record` and `1,000 records`.
pub(super) fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(number))
}

/// A number with a comma at each thousand.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_a_toml_string() {
        let text = "a\"b\\c\n\t\u{7f}\u{85}é";
        let parsed: toml::Table = toml::from_str(&format!("a = {}", quoted(text))).unwrap();
        assert_eq!(parsed["a"].as_str(), Some(text));
    }

    #[test]
    fn shares_and_numbers_read_well() {
        assert_eq!(share(999, 1000), "99%");
        assert_eq!(share(1, 1000), "less than 1%");
        assert_eq!(share(0, 0), "0%");
        assert_eq!(share(3, 3), "100%");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(100), "100");
    }
}
