//! Where a record carries a value: the keys that lead to it, in one spelling or in several.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Keys from the record down to a value, written with dots. A step whose value is a string holds JSON text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct WirePath(Vec<String>);

/// The wire paths of one column: at least one, the usual one first. A record may use any of them.
///
/// In a schema file a string, or an array of strings.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "OneOrMore")]
pub struct WirePaths(Vec<WirePath>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(WirePath),
    More(Vec<WirePath>),
}

impl WirePath {
    /// The keys, outermost first.
    pub fn keys(&self) -> &[String] {
        &self.0
    }
}

impl From<String> for WirePath {
    fn from(text: String) -> Self {
        Self(text.split('.').map(str::to_owned).collect())
    }
}

impl From<WirePath> for String {
    fn from(path: WirePath) -> Self {
        path.to_string()
    }
}

impl fmt::Display for WirePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl WirePaths {
    /// The paths, the usual one first.
    pub fn iter(&self) -> impl Iterator<Item = &WirePath> {
        self.0.iter()
    }
}

impl TryFrom<OneOrMore> for WirePaths {
    type Error = &'static str;

    fn try_from(paths: OneOrMore) -> Result<Self, Self::Error> {
        match paths {
            OneOrMore::One(path) => Ok(Self(vec![path])),
            OneOrMore::More(paths) if paths.is_empty() => Err("`wire` names no path"),
            OneOrMore::More(paths) => Ok(Self(paths)),
        }
    }
}

impl fmt::Display for WirePaths {
    /// The paths, with a bar between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, path) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" | ")?;
            }
            path.fmt(f)?;
        }
        Ok(())
    }
}
