//! From the TOML of a value to a value that the generator can follow, for one item and one case.
//!
//! | TOML | value |
//! |---|---|
//! | `"text {name}"` | text, see `template` |
//! | `7`, `7.0`, `true` | itself |
//! | `["a", "b"]` | a list |
//! | `{ device = "id" }` | a fact of the device |
//! | `{ item = "name" }` | the field of the item or case, whatever it is |
//! | `{ pick = ["a", "b"] }`, `{ pick = [[90, "a"], [10, "b"]] }` | one of them, by weight |
//! | `{ integer = [1, 9] }`, `{ decimal = [1.0, 9.9], digits = 1 }` | a number, bounds included |
//! | `{ chance = 0.9 }` | true with that chance |
//! | `{ time = "2026-05-03 09:47:58.854", days = [-30, 0] }` | a time relative to the snapshot's, in the example's form |
//! | `{ repeat = VALUE, times = [0, 3] }` | a list of so many |
//! | `{ object = [{ key = "Id", text = "x" }, ...] }` | an object, keys in this order |
//! | `{ json_text = VALUE }` | a string that holds JSON |
//!
//! Each table can have `nulls = 0.1`, a share of nulls, and `needs = "field"`: null where the item lacks the field.

use toml::Table;
use toml::Value as Toml;

use super::casing;
use super::scope::Scope;
use super::template;
use super::value::{Fact, Field, Key, TimeForm, Value};

const DRAWS: f64 = 4_294_967_296.0;
const DAY: f64 = 86_400.0;
const KINDS: [&str; 11] = [
    "text",
    "device",
    "item",
    "pick",
    "integer",
    "decimal",
    "chance",
    "time",
    "repeat",
    "object",
    "json_text",
];

/// A key with its value, which may differ by case.
pub(super) fn field(table: &Table, scope: &Scope<'_>) -> Result<Field, String> {
    Ok(Field {
        key: key(table)?,
        value: by_case(table, scope)?,
    })
}

/// The key in its own casing, and in the other one or as `other` says.
fn key(table: &Table) -> Result<Key, String> {
    let key = key_of(table)?;
    Ok(match table.get("other") {
        None => Key::new(key, &casing::other(key)),
        Some(other) => Key::new(key, other.as_str().ok_or("`other` is a key")?),
    })
}

pub(super) fn key_of(table: &Table) -> Result<&str, String> {
    let key = table.get("key").and_then(Toml::as_str);
    key.ok_or_else(|| format!("a key has no `key`: {table}"))
}

fn by_case(table: &Table, scope: &Scope<'_>) -> Result<Value, String> {
    let first = of_table(table, scope)?;
    if !scope.case_used.get() {
        return Ok(first);
    }
    let mut cases = vec![first];
    for case in 1..scope.cases.len() {
        let scope = Scope {
            case,
            case_used: scope.case_used.clone(),
            ..*scope
        };
        cases.push(of_table(table, &scope)?);
    }
    Ok(Value::ByCase(cases.into()))
}

fn of_toml(value: &Toml, scope: &Scope<'_>) -> Result<Value, String> {
    let json = |json: serde_json::Value| Value::Json(json.to_string().into_bytes().into());
    Ok(match value {
        Toml::String(text) => template::compile(text, scope)?,
        Toml::Integer(number) => json((*number).into()),
        Toml::Float(number) => json((*number).into()),
        Toml::Boolean(truth) => json((*truth).into()),
        Toml::Array(values) => {
            let values: Result<Box<[Value]>, String> =
                values.iter().map(|value| of_toml(value, scope)).collect();
            list(values?)
        }
        Toml::Table(table) => of_table(table, scope)?,
        Toml::Datetime(_) => return Err("times stand in quotes".to_owned()),
    })
}

fn of_table(table: &Table, scope: &Scope<'_>) -> Result<Value, String> {
    if let Some(needed) = table.get("needs") {
        let name = needed.as_str().ok_or("`needs` is the name of a field")?;
        if scope.field(name)?.is_none() {
            return Ok(null());
        }
    }
    let value = kind(table, scope)?;
    Ok(match table.get("nulls") {
        Some(share) => Value::Nullable(threshold(share)?, Box::new(value)),
        None => value,
    })
}

fn kind(table: &Table, scope: &Scope<'_>) -> Result<Value, String> {
    let mut kinds = KINDS
        .iter()
        .filter_map(|kind| Some((*kind, table.get(*kind)?)));
    let (kind, what) = kinds
        .next()
        .ok_or_else(|| format!("none of {} says what it is: {table}", KINDS.join(", ")))?;
    if let Some((other, _)) = kinds.next() {
        return Err(format!("it is either `{kind}` or `{other}`"));
    }
    check_keys(kind, table)?;
    Ok(match (kind, what) {
        ("text", Toml::String(text)) => template::compile(text, scope)?,
        ("device", Toml::String(name)) => {
            Value::Device(Fact::of_name(name).ok_or_else(|| format!("a device has no `{name}`"))?)
        }
        ("item", Toml::String(name)) => match scope.field(name)? {
            Some(value) => of_toml(value, scope)?,
            None => null(),
        },
        ("pick", Toml::Array(choices)) => pick(choices, scope)?,
        ("integer", bounds) => {
            let (low, high) = range(bounds)?;
            let (low, span) = spanned(low, high)?;
            Value::Integer { low, span }
        }
        ("decimal", bounds) => decimal(bounds, table.get("digits"))?,
        ("chance", share) => Value::Chance(threshold(share)?),
        ("time", Toml::String(example)) => {
            let days = table.get("days").ok_or("a time has `days`, a range")?;
            let (low, high) = range(days)?;
            let (low, span) = spanned(low * DAY, high * DAY)?;
            Value::Time {
                form: TimeForm::of_example(example)?,
                low,
                span,
            }
        }
        ("repeat", value) => {
            let (low, high) = range(table.get("times").ok_or("`repeat` has `times`, a range")?)?;
            let (low, span) = spanned(low, high)?;
            Value::Repeat {
                low: u32::try_from(low).map_err(|_| "`times` are not negative")?,
                span,
                of: Box::new(of_toml(value, scope)?),
            }
        }
        ("object", Toml::Array(fields)) => {
            let field = |field: &Toml| -> Result<Field, String> {
                let table = field.as_table().ok_or("an object's keys are tables")?;
                Ok(Field {
                    key: key(table)?,
                    value: of_table(table, scope)?,
                })
            };
            Value::Object(fields.iter().map(field).collect::<Result<_, String>>()?)
        }
        ("json_text", value) => {
            let value = match value {
                Toml::Array(_) => of_table(&table_of("object", value), scope)?,
                value => of_toml(value, scope)?,
            };
            Value::JsonText(Box::new(value))
        }
        (kind, what) => return Err(format!("`{kind}` cannot be {what}")),
    })
}

/// A misspelt key would else be a value that silently has no nulls.
fn check_keys(kind: &str, table: &Table) -> Result<(), String> {
    let of_kind = match kind {
        "decimal" => "digits",
        "time" => "days",
        "repeat" => "times",
        _ => kind,
    };
    let known = ["key", "other", "nulls", "needs", kind, of_kind];
    match table.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("`{kind}` has no `{key}`")),
        None => Ok(()),
    }
}

fn table_of(kind: &str, value: &Toml) -> Table {
    Table::from_iter([(kind.to_owned(), value.clone())])
}

fn null() -> Value {
    Value::Json((*b"null").into())
}

/// The choices with their weights, or with the same weight each.
fn pick(choices: &[Toml], scope: &Scope<'_>) -> Result<Value, String> {
    let weighted = |choice: &Toml| -> Option<(f64, Toml)> {
        match choice.as_array()?.as_slice() {
            [weight, value] => Some((number(weight)?, value.clone())),
            _ => None,
        }
    };
    let choices: Vec<(f64, Toml)> = choices
        .iter()
        .map(|choice| weighted(choice).unwrap_or((1.0, choice.clone())))
        .collect();
    let total: f64 = choices.iter().map(|(weight, _)| weight).sum();
    if choices.iter().any(|(weight, _)| *weight < 0.0) || total <= 0.0 || !total.is_finite() {
        return Err("`pick` has choices with weights above 0".to_owned());
    }
    let mut below = 0.0;
    let picked = choices.iter().map(|(weight, value)| {
        below += weight / total * DRAWS;
        Ok((below as u64, of_toml(value, scope)?))
    });
    Ok(Value::Pick(picked.collect::<Result<_, String>>()?))
}

fn decimal(bounds: &Toml, digits: Option<&Toml>) -> Result<Value, String> {
    let digits = match digits {
        None => 1,
        Some(digits) => digits
            .as_integer()
            .and_then(|digits| u8::try_from(digits).ok())
            .filter(|digits| (1..=9).contains(digits))
            .ok_or("`digits` is between 1 and 9")?,
    };
    let unit = 10_f64.powi(digits.into());
    let (low, high) = range(bounds)?;
    let (low, span) = spanned((low * unit).round(), (high * unit).round())?;
    Ok(Value::Decimal { low, span, digits })
}

fn number(value: &Toml) -> Option<f64> {
    value
        .as_float()
        .or_else(|| value.as_integer().map(|number| number as f64))
}

fn range(value: &Toml) -> Result<(f64, f64), String> {
    let bounds: Option<Vec<f64>> = value
        .as_array()
        .and_then(|bounds| bounds.iter().map(number).collect());
    match bounds.as_deref() {
        Some(&[low, high]) => Ok((low, high)),
        _ => Err(format!("{value} is no range such as [1, 9]")),
    }
}

fn spanned(low: f64, high: f64) -> Result<(i64, u32), String> {
    let (low, high) = (low as i64, high as i64);
    let span = high
        .checked_sub(low)
        .and_then(|span| u32::try_from(span).ok());
    match span {
        Some(span) if span < u32::MAX => Ok((low, span)),
        _ => Err(format!("{low} to {high} is no range, or too wide a one")),
    }
}

/// A share between 0 and 1 as a threshold of a 32-bit draw.
fn threshold(share: &Toml) -> Result<u64, String> {
    let share = number(share).filter(|share| (0.0..=1.0).contains(share));
    Ok((share.ok_or("a share is between 0 and 1")? * DRAWS) as u64)
}

/// A list whose elements are all known is known itself.
fn list(values: Box<[Value]>) -> Value {
    let mut json = Vec::from(*b"[");
    for value in &values {
        let Value::Json(element) = value else {
            return Value::List(values);
        };
        if json.len() > 1 {
            json.push(b',');
        }
        json.extend_from_slice(element);
    }
    json.push(b']');
    Value::Json(json.into())
}
