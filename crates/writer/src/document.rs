//! JSON on its way between the store and this program: control documents, and lines of the table's log.
//!
//! What lists thousands of files is written in pieces, so that it is never one block of memory, and with no blanks.

use std::io::{self, Write};

use object_store::{PutPayload, PutPayloadMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Size of the pieces: small ones leave no holes in memory that nothing else fits in.
const PIECE_BYTES: usize = 32 << 10;

/// JSON values, a line each.
#[derive(Debug)]
pub(crate) struct JsonLines(PutPayloadMut);

impl JsonLines {
    pub(crate) fn new() -> Self {
        Self(PutPayloadMut::new().with_block_size(PIECE_BYTES))
    }

    pub(crate) fn push(&mut self, value: &impl Serialize) -> serde_json::Result<()> {
        serde_json::to_writer(&mut *self, value)?;
        self.0.extend_from_slice(b"\n");
        Ok(())
    }

    pub(crate) fn finish(self) -> PutPayload {
        self.0.freeze()
    }
}

impl Write for JsonLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A document as it is written to `path`.
pub(crate) fn to_json(document: &impl Serialize, path: &str) -> Result<PutPayload> {
    let mut lines = JsonLines::new();
    lines
        .push(document)
        .map_err(|error| malformed(path, &error))?;
    Ok(lines.finish())
}

/// The same for documents that are short and looked at by people.
pub(crate) fn to_pretty_json(document: &impl Serialize, path: &str) -> Result<PutPayload> {
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

fn malformed(path: &str, error: &serde_json::Error) -> Error {
    Error::Malformed {
        path: path.to_owned(),
        message: error.to_string(),
    }
}

/// What several owners share, written as if it had one.
pub(crate) mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<T, S>(value: &Arc<T>, serializer: S) -> Result<S::Ok, S::Error>
    where
        T: Serialize + ?Sized,
        S: Serializer,
    {
        value.as_ref().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<Arc<T>, D::Error>
    where
        T: ?Sized,
        Box<T>: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Box::<T>::deserialize(deserializer).map(Arc::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_documents_come_in_pieces_and_read_back_the_same() {
        let document: Vec<String> = (0..20_000).map(|number| format!("file {number}")).collect();
        let payload = to_json(&document, "x.json").unwrap();
        assert!(payload.iter().all(|piece| piece.len() <= PIECE_BYTES));
        assert!(payload.iter().count() > 5);
        let bytes: Vec<u8> = payload.iter().flatten().copied().collect();
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
        let read: Vec<String> = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read, document);
    }

    #[test]
    fn every_value_has_a_line_of_its_own() {
        let mut lines = JsonLines::new();
        lines.push(&"a\nb").unwrap();
        lines.push(&[1, 2]).unwrap();
        let bytes: Vec<u8> = lines.finish().iter().flatten().copied().collect();
        assert_eq!(bytes, b"\"a\\nb\"\n[1,2]\n");
    }
}
