//! Where a record carries a value: the keys that lead to it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Keys from the record down to a value, written with dots. A step whose value is a string holds JSON text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct WirePath(Vec<String>);

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
