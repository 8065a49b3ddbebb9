//! Reads values as what their keys may hold, with the range that the key table gives. What they mean together is not
//! decided here.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use dataset::Snapshot;
use secrecy::SecretString;
use url::{Host, Url};

use super::error::SettingsError;
use super::kind::Kind;
use super::quarantine_limit::QuarantineLimit;
use super::size::ByteSize;
use super::values::{Value, Values};

impl Values {
    fn read<T>(
        &self,
        key: &str,
        convert: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        self.get(key)
            .map(|value| convert(value).ok_or_else(|| value.invalid(key)))
            .transpose()
    }

    /// A text that is not empty.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, SettingsError> {
        self.read(key, |value| match &value.value {
            toml::Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
            _ => None,
        })
    }

    /// One of the words that the key's table entry lists.
    pub(super) fn choice(&self, key: &str) -> Result<Option<&'static str>, SettingsError> {
        self.read(key, |value| match value.kind {
            Kind::Choice(words) => words
                .iter()
                .find(|word| value.value.as_str() == Some(word))
                .copied(),
            _ => None,
        })
    }

    /// A secret that is not empty.
    pub(super) fn secret(&self, key: &str) -> Result<Option<SecretString>, SettingsError> {
        Ok(self.text(key)?.map(SecretString::from))
    }

    /// All values below a section that ends with a dot, by name: text, number or bool, as text.
    pub(super) fn option_values(
        &self,
        section: &str,
    ) -> Result<BTreeMap<String, SecretString>, SettingsError> {
        let names = self.names_below(section);
        let options = names.map(|name| {
            let option = self.read(&format!("{section}{name}"), |value| match &value.value {
                toml::Value::String(text) => Some(text.clone()),
                toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => {
                    Some(value.value.to_string())
                }
                _ => None,
            })?;
            Ok((
                name.to_owned(),
                SecretString::from(option.unwrap_or_default()),
            ))
        });
        options.collect()
    }

    /// A list of texts.
    pub(super) fn text_list(&self, key: &str) -> Result<Option<Vec<String>>, SettingsError> {
        self.read(key, |value| {
            let texts = value.value.as_array()?.iter();
            texts.map(|text| text.as_str().map(str::to_owned)).collect()
        })
    }

    /// Names of datasets and schema files; none is all.
    pub(super) fn datasets(&self, key: &str) -> Result<Option<Vec<String>>, SettingsError> {
        self.read(key, |value| {
            if value.value.as_str() == Some("all") {
                return Some(Vec::new());
            }
            let texts = value.value.as_array().filter(|texts| !texts.is_empty())?;
            let names = texts.iter().map(|text| text.as_str().map(str::to_owned));
            let names: Vec<String> = names.collect::<Option<_>>()?;
            let is_once = |(index, name): (usize, &String)| !names[..index].contains(name);
            names.iter().enumerate().all(is_once).then_some(names)
        })
    }

    /// `true` or `false`.
    pub(super) fn bool(&self, key: &str) -> Result<Option<bool>, SettingsError> {
        self.read(key, |value| value.value.as_bool())
    }

    /// A whole number in the range of its kind.
    pub(super) fn integer<T: TryFrom<i64>>(&self, key: &str) -> Result<Option<T>, SettingsError> {
        self.read(key, |value| {
            let Kind::Integer { least, most } = value.kind else {
                return None;
            };
            let number = value.value.as_integer()?;
            (least..=most)
                .contains(&number)
                .then(|| T::try_from(number).ok())?
        })
    }

    /// A number from 0 to 1, or a percentage.
    pub(super) fn share(&self, key: &str) -> Result<Option<f64>, SettingsError> {
        self.read(key, |value| {
            let number = match &value.value {
                toml::Value::Float(number) => *number,
                toml::Value::Integer(0) => 0.0,
                toml::Value::Integer(1) => 1.0,
                toml::Value::String(text) => match text.parse().ok()? {
                    QuarantineLimit::Percent(percent) => percent / 100.0,
                    QuarantineLimit::Records(_) => return None,
                },
                _ => return None,
            };
            (0.0..=1.0).contains(&number).then_some(number)
        })
    }

    /// A number of records, or a share of them.
    pub(super) fn quarantine_limit(
        &self,
        key: &str,
    ) -> Result<Option<QuarantineLimit>, SettingsError> {
        self.read(key, |value| match &value.value {
            toml::Value::String(text) => text.parse().ok(),
            toml::Value::Integer(records) => {
                u64::try_from(*records).ok().map(QuarantineLimit::Records)
            }
            _ => None,
        })
    }

    /// A number of bytes in the range of its kind.
    pub(super) fn size(&self, key: &str) -> Result<Option<ByteSize>, SettingsError> {
        self.read(key, |value| {
            let Kind::Size { least, most } = value.kind else {
                return None;
            };
            let size: ByteSize = match &value.value {
                toml::Value::String(text) => text.parse().ok()?,
                toml::Value::Integer(bytes) => ByteSize(u64::try_from(*bytes).ok()?),
                _ => return None,
            };
            (least..=most).contains(&size.bytes()).then_some(size)
        })
    }

    /// A length of time.
    pub(super) fn duration(&self, key: &str) -> Result<Option<Duration>, SettingsError> {
        self.read(key, |value| {
            humantime::parse_duration(value.value.as_str()?).ok()
        })
    }

    /// The same of a day or more.
    pub(super) fn duration_of_days(&self, key: &str) -> Result<Option<Duration>, SettingsError> {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        self.read(key, |value| {
            let read = humantime::parse_duration(value.value.as_str()?).ok();
            read.filter(|duration| *duration >= DAY)
        })
    }

    /// A UTC time at which a snapshot can have been generated, from a text or a TOML date-time with its zone.
    pub(super) fn time(&self, key: &str) -> Result<Option<DateTime<Utc>>, SettingsError> {
        self.read(key, |value| {
            let text = match &value.value {
                toml::Value::String(text) => text.clone(),
                toml::Value::Datetime(time) => time.to_string(),
                _ => return None,
            };
            let time = DateTime::parse_from_rfc3339(&text).ok()?;
            Snapshot::checked_time(time.to_utc()).ok()
        })
    }

    /// A value whose type reads itself from text.
    pub(super) fn parsed<T: FromStr>(&self, key: &str) -> Result<Option<T>, SettingsError> {
        self.read(key, |value| value.value.as_str()?.parse().ok())
    }

    /// An address: `https`, or `http` to a loopback host, and nothing in it that could be a secret.
    pub(super) fn address(&self, key: &str) -> Result<Option<Url>, SettingsError> {
        let address = self.read(key, |value| {
            let url = Url::parse(value.value.as_str()?.trim()).ok()?;
            let plain = url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none();
            (plain && matches!(url.scheme(), "http" | "https") && url.host().is_some())
                .then_some(url)
        })?;
        match address {
            Some(url) if url.scheme() == "http" && !is_loopback(&url) => {
                let value = self.get(key);
                let from_environment = value.is_some_and(|value| !value.variables.is_empty());
                let host = match from_environment {
                    true => "from the environment".to_owned(),
                    false => url.host_str().unwrap_or_default().to_owned(),
                };
                Err(SettingsError::InsecureAddress {
                    key: key.to_owned(),
                    place: self.place(key),
                    host,
                })
            }
            other => Ok(other),
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
