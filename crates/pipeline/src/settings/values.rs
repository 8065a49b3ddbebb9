//! The values of a pipeline file by key: defaults, then the file, then `--set`, then environment variables.
//!
//! Knows where each value came from. Reading them as what their keys may hold is in `typed`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use writer::TextFlaw;

use super::error::{Place, SettingsError, VariableProblem};
use super::keys::{KEYS, REMOVED};
use super::kind::Kind;
use super::lookup;
use super::variables::{self, Problem};

/// Credentials of the API.
pub(super) const AUTH: &str = "source.auth.";
/// The option of an object store that holds a certificate.
const CERTIFICATE: &str = "proxy_ca_certificate";

/// A value and where it came from.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) place: Place,
    /// Names of the environment variables that it was made of.
    pub(super) variables: Vec<String>,
    pub(super) kind: Kind,
    pub(super) value: toml::Value,
    /// The value as it was written, before variables were put in.
    written: toml::Value,
}

impl Value {
    pub(super) fn is_override(&self) -> bool {
        matches!(self.place, Place::Override { .. })
    }

    /// The value as TOML for people to read; secrets are withheld.
    pub(super) fn shown(&self) -> String {
        if self.kind == Kind::Secret {
            "(withheld)".to_owned()
        } else {
            self.value.to_string()
        }
    }

    /// What was found, for an error: nothing that came from the environment, nothing that might be a secret.
    fn found(&self) -> String {
        let looks_secret = self.kind == Kind::Secret
            || self
                .written
                .as_str()
                .is_some_and(|text| text.contains(['@', '?']));
        match &self.written {
            toml::Value::Table(_) => "a table".to_owned(),
            other if looks_secret => format!("{} (withheld)", with_article(other.type_str())),
            toml::Value::String(text) if text.is_empty() => "an empty string".to_owned(),
            other => {
                let shown: String = other.to_string().chars().take(80).collect();
                format!("the {} {shown}", other.type_str())
            }
        }
    }

    pub(super) fn invalid(&self, key: &str) -> SettingsError {
        SettingsError::Invalid {
            key: key.to_owned(),
            place: self.place.clone(),
            expected: self.kind.expected().into_owned(),
            found: self.found(),
        }
    }
}

/// All values, by key.
#[derive(Debug)]
pub(super) struct Values {
    file: PathBuf,
    by_key: BTreeMap<String, Value>,
}

impl Values {
    /// Reads the file's text over the defaults. Unknown keys and sections are refused, the first one in the file first.
    pub(super) fn parse(text: &str, file: &Path) -> Result<Self, SettingsError> {
        let mut values = Self {
            file: file.to_owned(),
            by_key: BTreeMap::new(),
        };
        for key in KEYS {
            if let Some(Ok(value)) = key.default.map(toml::Value::from_str) {
                values.insert(key.path, key.kind, value, Place::Default);
            }
        }
        let table = DeTable::parse(text).map_err(|error| SettingsError::NotToml {
            place: place(text, file, error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        values.read_table(table.get_ref(), "", text)?;
        Ok(values)
    }

    fn read_table(
        &mut self,
        table: &DeTable<'_>,
        path: &str,
        text: &str,
    ) -> Result<(), SettingsError> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            let path = match path {
                "" => name.get_ref().to_string(),
                _ => format!("{path}.{}", name.get_ref()),
            };
            let key_place = place(text, &self.file, name.span().start);
            if let Some(key) = lookup::find(&path) {
                let value = self.read_value(&path, key.kind, value, text)?;
                self.insert(&path, key.kind, value, key_place);
            } else if lookup::is_section(&path) {
                let DeValue::Table(inner) = value.get_ref() else {
                    return Err(not_a_section(&path, key_place, type_name(value.get_ref())));
                };
                self.read_table(inner, &path, text)?;
            } else {
                let is_table = matches!(value.get_ref(), DeValue::Table(_));
                return Err(unknown(&path, key_place, is_table));
            }
        }
        Ok(())
    }

    fn read_value(
        &self,
        path: &str,
        kind: Kind,
        value: &Spanned<DeValue<'_>>,
        text: &str,
    ) -> Result<toml::Value, SettingsError> {
        toml::Value::deserialize(ValueDeserializer::from(value.clone())).map_err(|_| {
            SettingsError::Invalid {
                key: path.to_owned(),
                place: place(text, &self.file, value.span().start),
                expected: kind.expected().into_owned(),
                found: "a number that is too large".to_owned(),
            }
        })
    }

    fn insert(&mut self, path: &str, kind: Kind, value: toml::Value, place: Place) {
        let value = Value {
            place,
            variables: Vec::new(),
            kind,
            written: value.clone(),
            value,
        };
        self.by_key.insert(path.to_owned(), value);
    }

    /// Applies `key.path=value`, the `number`th override. The value is TOML where its key takes something else than
    /// text, or where it is quoted; otherwise it is text as it stands.
    pub(super) fn set(&mut self, number: usize, assignment: &str) -> Result<(), SettingsError> {
        let malformed = SettingsError::MalformedOverride { number };
        let Some((path, text)) = assignment.split_once('=') else {
            return Err(malformed);
        };
        let path = path.trim();
        let is_key_path = path.split('.').all(|step| {
            let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
            !step.is_empty() && step.bytes().all(bare)
        });
        if !is_key_path {
            return Err(malformed);
        }
        let place = Place::Override {
            key: path.to_owned(),
        };
        let Some(key) = lookup::find(path) else {
            return Err(match lookup::is_section(path) {
                true => not_a_section(path, place, "string"),
                false => unknown(path, place, false),
            });
        };
        self.insert(path, key.kind, literal(text, key.kind), place);
        Ok(())
    }

    /// Forgets the values that environment variables are part of, of the keys that `is_unneeded` names: the variables need
    /// not be set.
    pub(super) fn forget_variables(
        &mut self,
        is_unneeded: impl Fn(&str) -> bool,
    ) -> Result<(), SettingsError> {
        let mut unneeded = Vec::new();
        for (key, value) in self.by_key.iter().filter(|(key, _)| is_unneeded(key)) {
            let mut names = Vec::new();
            let any = |_: &str| Some("x".to_owned());
            interpolate_value(&mut value.value.clone(), &|_: &str| None, &any, &mut names)
                .map_err(|problem| variable_error(key, &value.place, problem))?;
            if !names.is_empty() {
                unneeded.push(key.clone());
            }
        }
        self.by_key.retain(|key, _| !unneeded.contains(key));
        Ok(())
    }

    /// Puts environment variables into all texts. Refuses characters that do not show in them, and in all credentials.
    pub(super) fn interpolate(
        &mut self,
        environment: &impl Fn(&str) -> Option<String>,
    ) -> Result<(), SettingsError> {
        for (key, value) in &mut self.by_key {
            let mut names = Vec::new();
            // Certificates have lines, and what is no text is read as TOML, blanks and quotes included.
            let is_text = value.kind.is_text() || value.value.is_array();
            let is_checked = is_text && !key.ends_with(CERTIFICATE);
            let find_flaw = |text: &str| is_checked.then(|| TextFlaw::find(text)).flatten();
            let done = interpolate_value(&mut value.value, &find_flaw, environment, &mut names);
            done.map_err(|problem| variable_error(key, &value.place, problem))?;
            if let toml::Value::String(text) = &value.value
                && !names.is_empty()
                && !value.kind.is_text()
            {
                value.value = literal(text, value.kind);
            }
            if names.is_empty() && value.kind == Kind::Secret && lookup::names_secret(key) {
                warn_of_literal(key, &value.place);
            }
            value.variables = names;
            if key.starts_with(AUTH)
                && matches!(value.kind, Kind::Text | Kind::Secret)
                && let Some(flaw) = value.value.as_str().and_then(TextFlaw::find)
            {
                return Err(SettingsError::Flawed {
                    key: key.clone(),
                    place: value.place.clone(),
                    flaw,
                });
            }
        }
        Ok(())
    }

    /// The pipeline file.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The value of a key, defaults included.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.by_key.get(key)
    }

    /// The keys below a section that ends with a dot, without it.
    pub(super) fn names_below(&self, section: &str) -> impl Iterator<Item = &str> {
        self.by_key
            .keys()
            .filter_map(move |key| key.strip_prefix(section))
    }

    /// Where the value of a key was written.
    pub(super) fn place(&self, key: &str) -> Place {
        self.get(key)
            .map_or(Place::Default, |value| value.place.clone())
    }

    /// The value of a key as it was written, for errors: with `${NAME}` in place of what the environment gave.
    pub(super) fn written(&self, key: &str) -> String {
        let text = self.get(key).and_then(|value| value.written.as_str());
        text.unwrap_or_default().to_owned()
    }

    /// Whether the file or the command line gives the key.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|value| value.place != Place::Default)
    }

    /// Forgets a key, or all keys of a section that ends with a dot.
    pub(super) fn forget(&mut self, key_or_section: &str) {
        self.by_key.retain(|key, _| {
            key != key_or_section
                && !(key_or_section.ends_with('.') && key.starts_with(key_or_section))
        });
    }

    /// All values in the order of the key table.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (&str, &Value)> {
        KEYS.iter().flat_map(|key| {
            self.by_key
                .iter()
                .filter(|(path, _)| lookup::find(path).is_some_and(|found| found.path == key.path))
                .map(|(path, value)| (path.as_str(), value))
        })
    }

    /// The error for a key that is needed and not there.
    pub(super) fn missing(&self, key: &'static str) -> SettingsError {
        SettingsError::Missing {
            key,
            file: self.file.clone(),
            example: lookup::find(key).map_or("", |key| key.example),
        }
    }

    /// The error for a value that is not what its key may hold.
    pub(super) fn invalid(&self, key: &'static str) -> SettingsError {
        self.get(key)
            .map_or_else(|| self.missing(key), |value| value.invalid(key))
    }
}

/// The value that a text of the command line or of the environment stands for.
fn literal(text: &str, kind: Kind) -> toml::Value {
    match text.trim().parse::<toml::Value>() {
        Ok(value @ toml::Value::String(_)) => value,
        Ok(value) if !kind.is_text() && !value.is_datetime() && !value.is_table() => value,
        _ => toml::Value::String(text.to_owned()),
    }
}

fn interpolate_value(
    value: &mut toml::Value,
    find_flaw: &impl Fn(&str) -> Option<TextFlaw>,
    environment: &impl Fn(&str) -> Option<String>,
    names: &mut Vec<String>,
) -> Result<(), Problem> {
    match value {
        toml::Value::String(text) => {
            let interpolated = variables::interpolate(text, find_flaw, environment)?;
            for (name, flaw) in interpolated.trimmed {
                tracing::warn!("environment variable {name} {flaw}: it is read without");
            }
            *text = interpolated.text;
            names.extend(interpolated.variables);
            Ok(())
        }
        toml::Value::Array(items) => items
            .iter_mut()
            .try_for_each(|item| interpolate_value(item, find_flaw, environment, names)),
        _ => Ok(()),
    }
}

/// Warns of a secret that stands where others can read it.
fn warn_of_literal(key: &str, place: &Place) {
    match place {
        Place::Override { .. } => tracing::warn!(
            "{place}: a secret in the arguments is seen by every user of this machine: write '${{NAME}}' and export NAME"
        ),
        _ => tracing::warn!(
            "{place}: `{key}` is a secret written out: write \"${{NAME}}\" in its place and export NAME"
        ),
    }
}

fn variable_error(key: &str, place: &Place, problem: Problem) -> SettingsError {
    let (key, place) = (key.to_owned(), place.clone());
    let variable = |name, problem| SettingsError::Variable {
        key: key.clone(),
        place: place.clone(),
        name,
        problem,
    };
    match problem {
        Problem::Unset(name) => variable(name, VariableProblem::Unset),
        Problem::Empty(name) => variable(name, VariableProblem::Empty),
        Problem::Flawed(name, flaw) => variable(name, VariableProblem::Flawed(flaw)),
        Problem::Malformed => SettingsError::MalformedVariable { key, place },
    }
}

fn unknown(path: &str, place: Place, is_table: bool) -> SettingsError {
    if let Some((_, instead)) = REMOVED.iter().find(|(key, _)| *key == path) {
        let key = path.to_owned();
        return SettingsError::Removed {
            key,
            place,
            instead,
        };
    }
    let section = path.rsplit_once('.').map_or("", |(section, _)| section);
    let in_section =
        |key: &&'static str| key.rsplit_once('.').map_or("", |(section, _)| section) == section;
    SettingsError::UnknownKey {
        key: path.to_owned(),
        place,
        nearest: lookup::nearest(path, is_table),
        known: KEYS.iter().map(|key| key.path).filter(in_section).collect(),
    }
}

fn not_a_section(path: &str, place: Place, found: &str) -> SettingsError {
    SettingsError::Invalid {
        key: path.to_owned(),
        place,
        expected: format!("a section, [{path}]"),
        found: with_article(found),
    }
}

fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'i']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "string",
        DeValue::Integer(_) => "integer",
        DeValue::Float(_) => "float",
        DeValue::Boolean(_) => "boolean",
        DeValue::Datetime(_) => "datetime",
        DeValue::Array(_) => "array",
        DeValue::Table(_) => "table",
    }
}

fn place(text: &str, file: &Path, offset: usize) -> Place {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Place::File {
        path: file.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}
