//! A lake in a local folder: whole-file reads and durable writes. A file appears complete, by rename, or not at all.
//!
//! Every function blocks; [`crate::Lake`] runs them on tokio's blocking threads. Nothing is created before the
//! first write.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::PutPayload;

use crate::failpoint;
use crate::store::ObjectInfo;

/// The root folder, absolute.
#[derive(Debug, Clone)]
pub(crate) struct LocalDisk {
    root: PathBuf,
}

/// An exclusive lock on a file, released on drop and by the operating system when the process dies.
#[derive(Debug)]
pub(crate) struct FileLock {
    _file: File,
}

impl LocalDisk {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub(crate) fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        present(fs::read(self.file(path)))
    }

    pub(crate) fn exists(&self, path: &str) -> io::Result<bool> {
        self.file(path).try_exists()
    }

    /// Creates a file for writing, and its folder.
    pub(crate) fn create(&self, path: &str) -> io::Result<File> {
        let file = self.file(path);
        create_folder(parent(&file)?)?;
        File::create(file)
    }

    /// Replaces a file: temporary file beside it, fsync, rename, fsync of the folder.
    pub(crate) fn replace(&self, path: &str, content: &PutPayload) -> io::Result<()> {
        let target = self.file(path);
        replace(&target, parent(&target)?, content)
    }

    /// The same with the temporary file in another folder.
    pub(crate) fn replace_from(
        &self,
        temporary: &str,
        path: &str,
        content: &PutPayload,
    ) -> io::Result<()> {
        replace(&self.file(path), &self.file(temporary), content)
    }

    /// Creates a file with its whole content, if there is none: temporary file in the folder `temporary`, fsync, hard
    /// link, fsync of the folder. False: there is one.
    pub(crate) fn create_new(
        &self,
        path: &str,
        temporary: &str,
        content: &PutPayload,
    ) -> io::Result<bool> {
        let (target, temporary) = (self.file(path), self.file(temporary));
        let folder = parent(&target)?;
        create_folder(folder)?;
        create_folder(&temporary)?;
        let temporary = temporary.join(unique_name());
        let written = write(&temporary, content);
        let linked = written.and_then(|()| fs::hard_link(&temporary, &target));
        // The link is what counts; a temporary file that stays is found by the next clean-up.
        let _ = fs::remove_file(&temporary);
        match linked {
            Ok(()) => sync_folder(folder).map(|()| true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates a folder, durably.
    pub(crate) fn create_folder(&self, path: &str) -> io::Result<()> {
        create_folder(&self.file(path))
    }

    /// Moves a file, already on disk, to its place: rename, fsync of both folders.
    pub(crate) fn publish(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.file(from), self.file(to));
        // No empty folder appears in the table for a file that is gone.
        fs::metadata(&from)?;
        create_folder(parent(&to)?)?;
        fs::rename(&from, &to)?;
        sync_folder(parent(&to)?)?;
        sync_folder(parent(&from)?)
    }

    /// Deletes a file if it is there.
    pub(crate) fn delete(&self, path: &str) -> io::Result<()> {
        let file = self.file(path);
        match present(fs::remove_file(&file))? {
            Some(()) => sync_folder(parent(&file)?),
            None => Ok(()),
        }
    }

    /// Deletes a folder and all in it, if it is there.
    pub(crate) fn delete_folder(&self, path: &str) -> io::Result<()> {
        present(fs::remove_dir_all(self.file(path))).map(drop)
    }

    /// Temporary files in a folder: of processes that write there, or died as they did.
    pub(crate) fn temporary_files(&self, folder: &str) -> io::Result<Vec<PathBuf>> {
        let entries = present(fs::read_dir(self.file(folder)))?;
        let mut files = Vec::new();
        for entry in entries.into_iter().flatten() {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                files.push(path);
            }
        }
        Ok(files)
    }

    /// Deletes the temporary files of a folder.
    pub(crate) fn delete_temporary(&self, folder: &str) -> io::Result<()> {
        for file in self.temporary_files(folder)? {
            present(fs::remove_file(file))?;
        }
        Ok(())
    }

    /// Deletes the folders from `path` upwards, `levels` of them, as long as they are empty.
    pub(crate) fn delete_empty_folders(&self, path: &str, levels: usize) {
        let folder = self.file(path);
        for folder in folder.ancestors().take(levels) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }

    /// All files below a folder, sorted by path. A folder that is not there is empty.
    pub(crate) fn list(&self, folder: &str) -> io::Result<Vec<ObjectInfo>> {
        let mut files = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let Some(entries) = present(fs::read_dir(self.file(&folder)))? else {
                continue;
            };
            for entry in entries {
                let entry = entry?;
                let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
                if entry.file_type()?.is_dir() {
                    folders.push(path);
                } else if let Some(metadata) = present(entry.metadata())? {
                    files.push(ObjectInfo {
                        path,
                        bytes: metadata.len(),
                    });
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Whether nobody holds a lock on a file, or it is not there.
    pub(crate) fn is_unlocked(&self, path: &str) -> io::Result<bool> {
        match present(File::options().write(true).open(self.file(path)))? {
            Some(file) => match file.try_lock() {
                Ok(()) => Ok(true),
                Err(fs::TryLockError::WouldBlock) => Ok(false),
                Err(fs::TryLockError::Error(error)) => Err(error),
            },
            None => Ok(true),
        }
    }

    /// Waits for an exclusive lock on a file, which is created if missing.
    pub(crate) fn lock(&self, path: &str) -> io::Result<FileLock> {
        loop {
            let file = self.lock_file(path)?;
            file.lock()?;
            // Who held it before may have deleted it: then the lock is on a file that nobody else finds.
            if is_still_at(&file, &self.file(path))? {
                return Ok(FileLock { _file: file });
            }
        }
    }

    /// The same without waiting. `None`: somebody holds it.
    pub(crate) fn try_lock(&self, path: &str) -> io::Result<Option<FileLock>> {
        let file = self.lock_file(path)?;
        match file.try_lock() {
            Ok(()) if is_still_at(&file, &self.file(path))? => Ok(Some(FileLock { _file: file })),
            Ok(()) | Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn lock_file(&self, path: &str) -> io::Result<File> {
        let file = self.file(path);
        create_folder(parent(&file)?)?;
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(file)
    }
}

/// Whether an open file is the one that lies at the path now.
#[cfg(unix)]
fn is_still_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (open, there) = (file.metadata()?, present(fs::metadata(path))?);
    Ok(there.is_some_and(|there| (there.dev(), there.ino()) == (open.dev(), open.ino())))
}

/// Elsewhere an open file is not deleted.
#[cfg(not(unix))]
fn is_still_at(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}

fn replace(target: &Path, temporary: &Path, content: &PutPayload) -> io::Result<()> {
    let folder = parent(target)?;
    create_folder(folder)?;
    create_folder(temporary)?;
    let temporary = temporary.join(unique_name());
    let written = write(&temporary, content);
    failpoint::reached("temporary-file");
    let replaced = written.and_then(|()| fs::rename(&temporary, target));
    if replaced.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    replaced?;
    sync_folder(folder)
}

/// Creates a file with that content, durably.
fn write(path: &Path, content: &PutPayload) -> io::Result<()> {
    let mut file = File::create(path)?;
    for piece in content {
        file.write_all(piece)?;
    }
    file.sync_all()
}

fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A name for a temporary file that no other has.
fn unique_name() -> String {
    static UNIQUE: AtomicU64 = AtomicU64::new(0);
    let unique = UNIQUE.fetch_add(1, Ordering::Relaxed);
    format!(".{}-{unique}.tmp", std::process::id())
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent()
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "path has no folder"))
}

/// Creates a folder and those above it, and makes their names durable: a rename into a folder whose own entry a
/// power cut forgets would be lost with it.
fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let above = parent(folder)?;
    create_folder(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(above),
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Only Unix lets a program open and fsync a folder.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_files_leave_no_temporary_behind() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(folder.path().join("not/yet/there"));
        assert_eq!(disk.read("a/b.json").unwrap(), None);
        assert!(disk.list("a").unwrap().is_empty());
        disk.replace("a/b.json", &"one".into()).unwrap();
        disk.replace("a/b.json", &"two".into()).unwrap();
        assert_eq!(disk.read("a/b.json").unwrap().unwrap(), b"two");
        assert_eq!(disk.list("a").unwrap().len(), 1);
    }

    #[test]
    fn a_file_is_created_once_and_its_content_stays() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(folder.path().to_owned());
        assert!(
            disk.create_new("t/0.json", "control", &"one".into())
                .unwrap()
        );
        assert!(
            !disk
                .create_new("t/0.json", "control", &"two".into())
                .unwrap()
        );
        assert_eq!(disk.read("t/0.json").unwrap().unwrap(), b"one");
        assert!(disk.list("control").unwrap().is_empty());
    }

    #[test]
    fn only_empty_folders_are_deleted_upwards() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(folder.path().to_owned());
        disk.replace("t/d=1/g=1/x", &"".into()).unwrap();
        disk.replace("t/d=1/g=2/y", &"".into()).unwrap();
        disk.delete("t/d=1/g=1/x").unwrap();
        disk.delete("t/d=1/g=1/x").unwrap();
        disk.delete_empty_folders("t/d=1/g=1", 2);
        assert!(!disk.file("t/d=1/g=1").exists());
        assert!(disk.file("t/d=1/g=2/y").exists());
    }

    #[test]
    fn a_second_lock_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(folder.path().to_owned());
        let first = disk.lock("c/commit.lock").unwrap();
        let file = File::options()
            .write(true)
            .open(disk.file("c/commit.lock"))
            .unwrap();
        assert!(file.try_lock().is_err());
        drop(first);
        assert!(file.try_lock().is_ok());
    }

    #[test]
    fn who_waits_for_a_lock_that_is_deleted_gets_one_that_others_find() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(folder.path().to_owned());
        let first = disk.try_lock("c/run.lock").unwrap().unwrap();
        let waiting = {
            let disk = disk.clone();
            std::thread::spawn(move || disk.lock("c/run.lock").unwrap())
        };
        // It waits by now, most likely; if not, it gets a lock that others find all the same.
        std::thread::sleep(std::time::Duration::from_millis(50));
        disk.delete("c/run.lock").unwrap();
        drop(first);
        let second = waiting.join().unwrap();
        assert!(!disk.is_unlocked("c/run.lock").unwrap());
        assert!(disk.try_lock("c/run.lock").unwrap().is_none());
        drop(second);
    }
}
