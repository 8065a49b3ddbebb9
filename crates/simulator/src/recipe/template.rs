//! Text templates: `{device.id}_{vendor}_{name}` becomes pieces, those that are known already merged into literal text.
//!
//! | placeholder | stands for |
//! |---|---|
//! | `{device.id}` | a fact of the device |
//! | `{vendor}` | a field of the row's item or case; nothing where the item lacks it |
//! | `{n}`, `{n+4100}`, `{n:4}` | the item's running number from 0, or from 4100, or with four digits |
//! | `{row}` | the row's number within the device |
//! | `{hex:40}`, `{HEX:40}`, `{guid}` | digits that belong to the row and stay as long as the device does |
//! | `{0-255}` | a whole number between the two |
//! | `{{`, `}}` | a brace |

use super::scope::Scope;
use super::value::{Fact, Piece, Value};

/// Templates in fields of fields of fields: deeper is a circle.
const MAX_DEPTH: usize = 8;

pub(super) fn compile(template: &str, scope: &Scope<'_>) -> Result<Value, String> {
    let mut pieces = Pieces::default();
    pieces.add(template, scope, 0)?;
    Ok(pieces.into_value())
}

#[derive(Default)]
struct Pieces {
    done: Vec<Piece>,
    /// Not yet escaped.
    literal: String,
}

impl Pieces {
    fn add(&mut self, template: &str, scope: &Scope<'_>, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("the template `{template}` contains itself"));
        }
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            self.literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                self.literal.push_str(brace);
                rest = after;
                continue;
            }
            let (name, after) = rest
                .split_once('}')
                .filter(|_| brace == "{")
                .ok_or_else(|| {
                    format!("the template `{template}` has a brace without its counterpart")
                })?;
            self.placeholder(name, scope, depth)?;
            rest = after;
        }
        self.literal.push_str(rest);
        Ok(())
    }

    fn placeholder(&mut self, name: &str, scope: &Scope<'_>, depth: usize) -> Result<(), String> {
        let wrong = || format!("`{{{name}}}` is no placeholder");
        if let Some(fact) = name.strip_prefix("device.") {
            let fact = Fact::of_name(fact).ok_or_else(wrong)?;
            self.push(Piece::Device(fact));
        } else if name == "row" {
            self.push(Piece::Row);
        } else if name == "guid" {
            self.push(Piece::Guid);
        } else if let Some((kind @ ("hex" | "HEX"), digits)) = name.split_once(':') {
            let digits = digits.parse().map_err(|_| wrong())?;
            self.push(Piece::Hex {
                digits,
                upper: kind == "HEX",
            });
        } else if name == "n" || name.starts_with("n+") || name.starts_with("n:") {
            self.literal
                .push_str(&running(name, scope.number).ok_or_else(wrong)?);
        } else if let Some((low, high)) = name.split_once('-') {
            let low: i64 = low.parse().map_err(|_| wrong())?;
            let high: i64 = high.parse().map_err(|_| wrong())?;
            let span = u32::try_from(high - low).map_err(|_| wrong())?;
            self.push(Piece::Integer { low, span });
        } else {
            match scope.field(name)? {
                None => {}
                Some(toml::Value::String(text)) => self.add(text, scope, depth + 1)?,
                Some(toml::Value::Integer(number)) => self.literal.push_str(&number.to_string()),
                Some(toml::Value::Float(number)) => self.literal.push_str(&format!("{number:?}")),
                Some(toml::Value::Boolean(truth)) => self.literal.push_str(&truth.to_string()),
                Some(_) => return Err(format!("the field `{name}` is no text to be put in one")),
            }
        }
        Ok(())
    }

    fn push(&mut self, piece: Piece) {
        self.end_literal();
        self.done.push(piece);
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            let literal = escaped(&self.literal);
            self.done.push(Piece::Literal(literal.into()));
            self.literal.clear();
        }
    }

    fn into_value(mut self) -> Value {
        if self.done.is_empty() {
            let json = serde_json::Value::from(self.literal).to_string();
            return Value::Json(json.into_bytes().into());
        }
        self.end_literal();
        Value::Text(self.done.into())
    }
}

/// `n`, `n+4100`, `n:4`, `n+4100:5`
fn running(placeholder: &str, number: u32) -> Option<String> {
    let (sum, width) = placeholder.split_once(':').unwrap_or((placeholder, "0"));
    let width: usize = width.parse().ok().filter(|width| *width <= 20)?;
    let number = match sum.strip_prefix('n')? {
        "" => number,
        more => number.checked_add(more.strip_prefix('+')?.parse().ok()?)?,
    };
    Some(format!("{number:0width$}"))
}

/// The text as it stands in a JSON string, without the quotes.
pub(crate) fn escaped(text: &str) -> Vec<u8> {
    let json = serde_json::Value::from(text).to_string();
    json.as_bytes()[1..json.len() - 1].to_vec()
}
