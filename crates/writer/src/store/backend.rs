//! The two kinds of place that a lake can be in. Everything that tells them apart is in this folder.

use std::io;

use crate::error::{Error, Result};
use crate::store::local_disk::LocalDisk;
use crate::store::patience::Patience;
use crate::store::remote::Remote;

/// Where a lake is.
#[derive(Clone)]
pub(crate) enum Store {
    Local(LocalDisk),
    Remote(Remote),
}

impl Store {
    pub(crate) fn patience(&self) -> &Patience {
        match self {
            Self::Local(disk) => &disk.patience,
            Self::Remote(remote) => &remote.patience,
        }
    }
}

/// Runs a blocking disk operation on tokio's blocking threads.
pub(crate) async fn blocking<T, F>(
    disk: &LocalDisk,
    action: &'static str,
    path: &str,
    operation: F,
) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&LocalDisk, &str) -> io::Result<T> + Send + 'static,
{
    let (moved, owned) = (disk.clone(), path.to_owned());
    let operation = async {
        let done = tokio::task::spawn_blocking(move || operation(&moved, &owned)).await;
        done.map_err(|error| Error::task(&error))?
            .map_err(|error| Error::disk(action, path, &error))
    };
    disk.patience.wait(action, path, operation).await
}
