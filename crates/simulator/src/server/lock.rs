//! One way to take a lock.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// No invariant spans two of the maps that these locks guard, so a panic of one holder spoils nothing for the others.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
