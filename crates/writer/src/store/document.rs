//! Control documents as JSON: what is read is of a version that this program knows. [`crate::store::document_writer`] writes the long ones.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A document that is short and looked at by people, as it is written to `path`.
pub(crate) fn to_pretty_json(document: &impl Serialize, path: &str) -> Result<Bytes> {
    let mut json = serde_json::to_vec_pretty(document).map_err(|error| malformed(path, &error))?;
    json.push(b'\n');
    Ok(json.into())
}

/// Parses a versioned document, refusing one that a newer program wrote.
pub(crate) fn parse<T: DeserializeOwned>(content: &[u8], path: &str, known: u32) -> Result<T> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let malformed = |error: serde_json::Error| malformed(path, &error);
    let Versioned { version: found } = serde_json::from_slice(content).map_err(malformed)?;
    if found > known {
        return Err(Error::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    serde_json::from_slice(content).map_err(malformed)
}

pub(crate) fn malformed(path: &str, error: &serde_json::Error) -> Error {
    Error::Malformed {
        path: path.to_owned(),
        message: error.to_string(),
    }
}
