//! What can go wrong between a record batch and a committed snapshot. Lost races and older snapshots are
//! outcomes, not errors.

use std::fmt;

use thiserror::Error;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the writer could not do its work. A variant exists where a caller acts differently.
#[derive(Debug, Error)]
pub enum Error {
    /// The lake's root or one of its options is wrong. Nothing was contacted.
    #[error("lake `{root}`: {message}")]
    Configuration {
        /// The root as printed: without secrets.
        root: String,
        /// What is wrong with it.
        message: String,
    },
    /// The store refused the credentials or the right to do it.
    #[error("{action} `{path}`: access denied: {message}")]
    Denied {
        /// What was tried.
        action: &'static str,
        /// Path in the lake.
        path: String,
        /// The store's words, without secrets.
        message: String,
    },
    /// The store lets this identity read and write, perhaps, and not delete.
    #[error("delete `{path}`: the store does not let this identity delete objects: {message}")]
    DeleteDenied {
        /// Path in the lake.
        path: String,
        /// The store's words, without secrets.
        message: String,
    },
    /// The store has no such object although one was named by a manifest, a pointer or an upload.
    #[error("{action} `{path}`: not found: {message}")]
    NotFound {
        /// What was tried.
        action: &'static str,
        /// Path in the lake.
        path: String,
        /// The store's words, without secrets: it may be the bucket or the container that is missing.
        message: String,
    },
    /// The store has no conditional put, and the lake was not declared to have a single writer.
    #[error(
        "replace `{path}`: the store has no conditional put, so two runs could overwrite each other: {message}"
    )]
    NoConditionalPut {
        /// Path in the lake.
        path: String,
        /// The store's words, without secrets.
        message: String,
    },
    /// The file system of the lake lacks an operation that keeps two runs apart, and the lake was not declared to have a single
    /// writer.
    #[error(
        "`{path}`: the file system has no {operation}, so two runs could overwrite each other: {message}"
    )]
    FileSystemLacks {
        /// What it lacks, in the plural.
        operation: &'static str,
        /// Path in the lake.
        path: String,
        /// The operating system's words.
        message: String,
    },
    /// The store failed after the retries that its client makes, or a disk in the network did: later it may not.
    #[error("{action} `{path}`: {message}")]
    Store {
        /// What was tried.
        action: &'static str,
        /// Path in the lake.
        path: String,
        /// The store's words, without secrets.
        message: String,
    },
    /// The store answered that it does not take such a request: later it will not either.
    #[error("{action} `{path}`: {message}")]
    Rejected {
        /// What was tried.
        action: &'static str,
        /// Path in the lake.
        path: String,
        /// The store's words, without secrets.
        message: String,
    },
    /// The local disk does not work: full, read-only, broken.
    #[error("{action} `{path}`: {message}")]
    Disk {
        /// What was tried.
        action: &'static str,
        /// Path in the lake.
        path: String,
        /// The operating system's words.
        message: String,
    },
    /// The store refused a put under a condition again and again. Nobody else kept replacing the object, or many did.
    #[error("replace `{path}`: the store refused {refusals} times, last with: {message}")]
    PutRefused {
        /// Path in the lake.
        path: String,
        /// Puts that it refused.
        refusals: u32,
        /// The store's words of the last one, without secrets.
        message: String,
    },
    /// No answer came to the write that decides a commit: the snapshot may or may not be part of the table. The next run finds
    /// out.
    #[error("it is not known whether snapshot {snapshot} was committed: {source}")]
    Undecided {
        /// Id of the snapshot.
        snapshot: String,
        /// What became of the write.
        source: Box<Error>,
    },
    /// The program was asked to stop, and the store had not answered by then.
    #[error("stopped: the store did not answer in time to {action} `{path}`")]
    Stopped {
        /// What was tried.
        action: &'static str,
        /// Path in the lake.
        path: String,
    },
    /// A document in the control folder is not what this program writes.
    #[error("`{path}`: {message}")]
    Malformed {
        /// Path in the lake.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// A document in the control folder was written by a newer program.
    #[error("`{path}` has version {found}, this program knows up to {known}")]
    Newer {
        /// Path in the lake.
        path: String,
        /// The version in the document.
        found: u32,
        /// The newest version that this program reads.
        known: u32,
    },
    /// Record batches do not fit the dataset's file schema, or Parquet refused them.
    #[error("parquet of dataset `{dataset}`: {message}")]
    Parquet {
        /// Name of the dataset.
        dataset: String,
        /// What does not fit.
        message: String,
    },
    /// The table's Delta log could not be read or written, or holds what this program cannot have written.
    #[error("delta log of `{dataset}`: {message}")]
    DeltaLog {
        /// Name of the dataset.
        dataset: String,
        /// What is wrong, without secrets.
        message: String,
    },
    /// Another program changed rows of the table: which snapshot they are of is not known.
    #[error(
        "{entry} changed rows of table `{dataset}`; which snapshot they are of, such as those in `{path}`, is not known"
    )]
    ForeignWrite {
        /// Name of the dataset.
        dataset: String,
        /// A file that it added.
        path: String,
        /// What is known of the log's entry.
        entry: String,
    },
    /// A column of the dataset has another type in the table.
    #[error(
        "column `{column}` is {table_type} in table `{dataset}` and {dataset_type} in the dataset: the files that are \
         there would not be readable any more"
    )]
    ColumnType {
        /// Name of the dataset.
        dataset: String,
        /// Name of the column.
        column: String,
        /// Its type in the table.
        table_type: String,
        /// Its type in the dataset.
        dataset_type: String,
    },
    /// The table is committed in another way than the pipeline says.
    #[error("table `{dataset}` has a Delta log, which `format = \"parquet\"` would leave behind")]
    HasDeltaLog {
        /// Name of the dataset.
        dataset: String,
    },
    /// What was to be committed contradicts itself. The lake was not touched.
    #[error("snapshot {snapshot} breaks the invariant `{invariant}`: {message}")]
    Invariant {
        /// Id of the snapshot.
        snapshot: String,
        /// Name of the check.
        invariant: &'static str,
        /// What contradicts what.
        message: String,
    },
    /// Rows without a column of the unique key, or with one that cannot be compared.
    #[error("unique key: column `{column}` {message}")]
    KeyColumn {
        /// Name of the column.
        column: String,
        /// What is wrong with it.
        message: String,
    },
    /// A table keeps the columns that it is partitioned by.
    #[error(
        "table `{dataset}` is partitioned by {table}, and the schema file declares {declared}: use the old name, or give the dataset a new one"
    )]
    PartitionColumns {
        /// Name of the dataset.
        dataset: String,
        /// The columns of the table.
        table: String,
        /// Those of the schema file.
        declared: String,
    },
    /// A blocking task was cancelled or panicked.
    #[error("background task: {message}")]
    Task {
        /// What the runtime says.
        message: String,
    },
}

impl Error {
    /// An object store's error, classified and without secrets.
    pub(crate) fn store(action: &'static str, path: &str, error: &object_store::Error) -> Self {
        let path = path.to_owned();
        let message = shown(error);
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound {
                action,
                path,
                message,
            },
            object_store::Error::PermissionDenied { .. } if action == DELETE => {
                Self::DeleteDenied { path, message }
            }
            object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. } => Self::Denied {
                action,
                path,
                message,
            },
            error if action == REPLACE && is_not_implemented(error) => {
                Self::NoConditionalPut { path, message }
            }
            _ if refuses_for_good(&message) => Self::Rejected {
                action,
                path,
                message,
            },
            _ => Self::Store {
                action,
                path,
                message,
            },
        }
    }

    /// A local disk's error.
    pub(crate) fn disk(action: &'static str, path: &str, error: &std::io::Error) -> Self {
        let path = path.to_owned();
        let inner = error.get_ref();
        if let Some(missing) = inner.and_then(|inner| inner.downcast_ref::<MissingOperation>()) {
            return Self::FileSystemLacks {
                operation: missing.operation,
                path,
                message: missing.source.to_string(),
            };
        }
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::NotFound {
                action,
                path,
                message: error.to_string(),
            },
            std::io::ErrorKind::PermissionDenied => Self::Denied {
                action,
                path,
                message: error.to_string(),
            },
            // Of disks in a network: they come back.
            std::io::ErrorKind::TimedOut
            | std::io::ErrorKind::StaleNetworkFileHandle
            | std::io::ErrorKind::HostUnreachable
            | std::io::ErrorKind::NetworkUnreachable
            | std::io::ErrorKind::NetworkDown
            | std::io::ErrorKind::ConnectionReset
            | std::io::ErrorKind::ResourceBusy
            | std::io::ErrorKind::Interrupted => Self::Store {
                action,
                path,
                message: error.to_string(),
            },
            _ => Self::Disk {
                action,
                path,
                message: error.to_string(),
            },
        }
    }

    /// A root and options of which no store can be made.
    pub(crate) fn unbuildable(root: &str, error: &object_store::Error) -> Self {
        Self::Configuration {
            root: root.to_owned(),
            message: without_queries(&error.to_string()),
        }
    }

    pub(crate) fn parquet(dataset: &str, error: &parquet::errors::ParquetError) -> Self {
        Self::Parquet {
            dataset: dataset.to_owned(),
            message: error.to_string(),
        }
    }

    pub(crate) fn task(error: &tokio::task::JoinError) -> Self {
        Self::Task {
            message: error.to_string(),
        }
    }
}

/// Whether a store's words tell of an answer that will be the same later: a status of 4xx that says nothing of time or load.
fn refuses_for_good(message: &str) -> bool {
    const STATUS: &str = "status code: ";
    let Some((_, answer)) = message.split_once(STATUS) else {
        return message.contains("invalid peer certificate");
    };
    let status = answer.get(..3).and_then(|status| status.parse().ok());
    status.is_some_and(|status: u16| {
        (400..500).contains(&status) && ![408, 409, 425, 429].contains(&status)
    })
}

/// A put under a condition, as errors of stores name it.
pub(crate) const REPLACE: &str = "replace";
/// A deletion.
pub(crate) const DELETE: &str = "delete";

/// A store's answer that it does not know what it was asked.
#[derive(Debug, Error)]
#[error("501 Not Implemented: {message}")]
pub(crate) struct NotImplemented {
    /// The store's words.
    pub(crate) message: String,
}

/// An operation that a file system does not have, inside an [`std::io::Error`].
#[derive(Debug, Error)]
#[error("the file system has no {operation}: {source}")]
pub(crate) struct MissingOperation {
    /// In the plural.
    pub(crate) operation: &'static str,
    pub(crate) source: std::io::Error,
}

/// Whether the store, or its client, does not know the request.
fn is_not_implemented(error: &object_store::Error) -> bool {
    if matches!(error, object_store::Error::NotImplemented { .. }) {
        return true;
    }
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        if error.is::<NotImplemented>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// An object store's words, without secrets.
pub(crate) fn shown(error: &object_store::Error) -> String {
    cut(&without_queries(&Chain(error).to_string()))
}

/// The words of a store, as long as words that help are: it may be made to say anything.
fn cut(words: &str) -> String {
    match words.char_indices().nth(WORDS) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words.to_owned(),
    }
}

/// Characters that are kept of a store's words.
const WORDS: usize = 1_000;

/// An error's own message and those of its sources that it does not repeat.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut next = self.0.source();
        while let Some(error) = next {
            let message = error.to_string();
            if !text.contains(&message) {
                text = format!("{text}: {message}");
            }
            next = error.source();
        }
        f.write_str(&text)
    }
}

/// Cuts the query off every URL in a message: a shared access signature stands there.
pub(crate) fn without_queries(message: &str) -> String {
    let mut clean = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(start) = rest.find("://") {
        let end_of_url =
            |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ')' | '>' | '<');
        let end = rest[start..]
            .find(end_of_url)
            .map_or(rest.len(), |length| start + length);
        let url = &rest[..end];
        match url[start..].find('?') {
            Some(query) => {
                clean.push_str(&url[..start + query]);
                clean.push_str("?…");
            }
            None => clean.push_str(url),
        }
        rest = &rest[end..];
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_cut_off_urls_in_messages() {
        let message = "GET https://a.example/c/x?sv=1&sig=SECRET in 3s, then (http://127.0.0.1/y?sig=SECRET): why?";
        let clean = without_queries(message);
        assert_eq!(
            clean,
            "GET https://a.example/c/x?… in 3s, then (http://127.0.0.1/y?…): why?"
        );
    }

    #[test]
    fn store_errors_are_classified() {
        let source = || "https://x/y?sig=SECRET".into();
        let denied = object_store::Error::PermissionDenied {
            path: "y".to_owned(),
            source: source(),
        };
        let error = Error::store("read", "y", &denied);
        assert!(matches!(error, Error::Denied { .. }));
        assert!(!format!("{error} {error:?}").contains("SECRET"));
        let unconditional = object_store::Error::NotImplemented {
            operation: "put".to_owned(),
            implementer: "x".to_owned(),
        };
        assert!(matches!(
            Error::store("replace", "y", &unconditional),
            Error::NoConditionalPut { .. }
        ));
        let missing = object_store::Error::NotFound {
            path: "y".to_owned(),
            source: source(),
        };
        assert!(matches!(
            Error::store("read", "y", &missing),
            Error::NotFound { .. }
        ));
    }
}
