//! The state file of the rate budget: JSON, locked while it is read and written, one entry for each caller and export.
//!
//! It saves work, it decides nothing: a file that is damaged is replaced, and one that cannot be used,
//! or that a later version wrote, is left alone, with a warning, for a count in this process.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::api::state_folder::open_state_file;
use crate::http::blocking::blocking;

const VERSION: u32 = 1;
/// A longer state file is damaged. One entry of an endpoint that allows 1,500 calls an hour takes 50 KB.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Together ten seconds.
const LOCK_ATTEMPTS: u32 = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The calls of one caller to one export.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Calls {
    /// When calls were made.
    pub(crate) times: Vec<DateTime<Utc>>,
    /// No call before this time: the service said so.
    pub(crate) not_before: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    version: u32,
    calls: BTreeMap<String, Calls>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            version: VERSION,
            calls: BTreeMap::new(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct StateFile {
    path: Option<PathBuf>,
    /// The count when there is no usable file.
    memory: Mutex<State>,
}

impl StateFile {
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            memory: Mutex::new(State::default()),
        }
    }

    /// Changes one entry, alone among all processes.
    pub(crate) async fn update<T: Send + 'static>(
        self: &Arc<Self>,
        key: &str,
        change: impl FnOnce(&mut Calls) -> T + Send + 'static,
    ) -> T {
        let (file, key) = (Arc::clone(self), key.to_owned());
        blocking(move || file.update_blocking(&key, change)).await
    }

    fn update_blocking<T>(&self, key: &str, change: impl FnOnce(&mut Calls) -> T) -> T {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = self.path.as_deref().map(|path| (path, open(path)));
        match opened {
            None => change(memory.calls.entry(key.to_owned()).or_default()),
            Some((path, Ok((mut file, mut state)))) => {
                let value = change(state.calls.entry(key.to_owned()).or_default());
                if let Err(error) = write(&mut file, &state) {
                    warn(path, &error);
                }
                value
            }
            Some((path, Err(error))) => {
                warn(path, &error);
                change(memory.calls.entry(key.to_owned()).or_default())
            }
        }
    }
}

fn warn(path: &Path, error: &io::Error) {
    tracing::warn!(file = %path.display(), %error, "rate budget is counted in this process alone");
}

/// Opens, locks (until the file is dropped) and reads.
fn open(path: &Path) -> io::Result<(File, State)> {
    let mut file = open_state_file(path)?;
    lock(&file)?;
    let mut text = Vec::new();
    (&mut file).take(MAX_BYTES).read_to_end(&mut text)?;
    if text.is_empty() {
        return Ok((file, State::default()));
    }
    let state = match serde_json::from_slice::<State>(&text) {
        Ok(state) if state.version > VERSION => {
            return Err(io::Error::other(format!(
                "written by a later version ({})",
                state.version
            )));
        }
        Ok(state) => state,
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "rate budget file is damaged: counting starts again");
            State::default()
        }
    };
    Ok((file, state))
}

/// Waits for the lock, but not for ever: who holds it does so for as long as reading and writing takes.
fn lock(file: &File) -> io::Result<()> {
    for _ in 0..LOCK_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::other("another process keeps it locked"))
}

fn write(file: &mut File, state: &State) -> io::Result<()> {
    let text = serde_json::to_vec(state)?;
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(&text)
}
