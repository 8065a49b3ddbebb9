//! A lake in a local folder: whole-file reads and durable writes. A file appears complete, by rename, or not at all.
//!
//! Every function blocks; [`crate::Lake`] runs them on tokio's blocking threads. Nothing is created before the
//! first write.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::MissingOperation;
use crate::parquet::buffers::KeptBuffers;
use crate::store::failpoint;
use crate::store::object::ObjectInfo;
use crate::store::patience::Patience;

/// The root folder, absolute.
#[derive(Debug, Clone)]
pub(crate) struct LocalDisk {
    root: PathBuf,
    /// For what is written of files that grow, one after the other.
    pub(crate) buffers: KeptBuffers,
    pub(crate) patience: Patience,
}

/// How often a lock is taken that nobody else finds, before the file system is taken for one that cannot tell files apart.
const LOCK_ATTEMPTS: u32 = 100;
/// What a file system may lack.
const LOCKS: &str = "locks";
const LINKS: &str = "hard links and no renames that replace nothing";

/// An exclusive lock on a file, released on drop and by the operating system when the process dies. Where a single writer's file
/// system has no locks, no more than the file.
#[derive(Debug)]
pub(crate) struct FileLock {
    _file: File,
}

impl LocalDisk {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self {
            root,
            buffers: KeptBuffers::default(),
            patience: Patience::default(),
        }
    }

    /// Where a path of the lake is on this machine. Whether a link stands in its way is not looked at.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Where a path of the lake is, if nothing on the way from the root to it is a symbolic link, itself included: through one,
    /// what is written, locked or deleted would be outside the lake. The root itself may be a link.
    pub(crate) fn place(&self, path: &str) -> io::Result<PathBuf> {
        let mut place = self.root.clone();
        for name in path.split('/') {
            place.push(name);
            match present(fs::symlink_metadata(&place))? {
                Some(found) if found.is_symlink() => return Err(is_link(&place)),
                Some(_) => {}
                None => return Ok(self.file(path)),
            }
        }
        Ok(place)
    }

    pub(crate) fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        present(fs::read(self.place(path)?))
    }

    pub(crate) fn exists(&self, path: &str) -> io::Result<bool> {
        self.place(path)?.try_exists()
    }

    /// Creates a file for writing, and its folder.
    pub(crate) fn create(&self, path: &str) -> io::Result<File> {
        let file = self.place(path)?;
        create_folder(parent(&file)?)?;
        File::create(file)
    }

    /// A file without content in a folder, deleted on drop unless [`Self::replace`] or [`Self::create_new`] gives it its
    /// place. If the process dies, the next clean-up finds it.
    pub(crate) fn temporary_file(&self, folder: &str) -> io::Result<NamedTempFile> {
        let folder = self.place(folder)?;
        create_folder(&folder)?;
        temporary_name().tempfile_in(folder)
    }

    /// Puts a file in the place of one that may be there: fsync, rename, fsync of the folder.
    pub(crate) fn replace(&self, path: &str, file: NamedTempFile) -> io::Result<()> {
        let target = self.place(path)?;
        let folder = parent(&target)?;
        create_folder(folder)?;
        file.as_file().sync_all()?;
        failpoint::reached("temporary-file");
        file.persist(&target)?;
        sync_folder(folder)
    }

    /// Puts a file where none may be: fsync, a rename or a link that overwrites nothing, fsync of the folder. False: there is
    /// one.
    ///
    /// # Errors
    /// A [`MissingOperation`] if the file system has neither.
    pub(crate) fn create_new(&self, path: &str, file: NamedTempFile) -> io::Result<bool> {
        let target = self.place(path)?;
        let folder = parent(&target)?;
        create_folder(folder)?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(&target) {
            Ok(_) => sync_folder(folder).map(|()| true),
            Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(refused) if is_missing(&refused.error) => {
                match fs::hard_link(refused.file.path(), &target) {
                    Ok(()) => sync_folder(folder).map(|()| true),
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
                    Err(error) if is_missing(&error) => Err(missing(LINKS, error)),
                    Err(error) => Err(error),
                }
            }
            Err(refused) => Err(refused.error),
        }
    }

    /// Tries in a folder that is not there whether a file can be put where none may be.
    ///
    /// # Errors
    /// Those of [`Self::create_new`].
    pub(crate) fn probe(&self, folder: &str) -> io::Result<()> {
        let path = format!("{folder}/probe");
        let file = self.temporary_file(folder)?;
        let created = self.create_new(&path, file);
        self.delete_folder(folder)?;
        created.map(drop)
    }

    /// Replaces a file by one with that content, which is written in the folder `temporary`.
    pub(crate) fn write(&self, path: &str, temporary: &str, content: &[u8]) -> io::Result<()> {
        let mut file = self.temporary_file(temporary)?;
        file.write_all(content)?;
        self.replace(path, file)
    }

    /// Creates a folder, durably.
    pub(crate) fn create_folder(&self, path: &str) -> io::Result<()> {
        create_folder(&self.place(path)?)
    }

    /// Creates the folders that [`Self::publish`] will move files to, each given with its place: what is in the same folder
    /// costs one fsync together.
    pub(crate) fn create_folders(&self, moves: &[(String, String)]) -> io::Result<()> {
        let mut changed = BTreeSet::new();
        for (from, to) in moves {
            let to = self.place(to)?;
            let folder = parent(&to)?;
            if folder.is_dir() || !self.exists(from)? {
                continue;
            }
            let above = parent(folder)?;
            create_folder(above)?;
            create_one_folder(folder)?;
            changed.insert(above.to_owned());
        }
        changed.iter().try_for_each(|folder| sync_folder(folder))
    }

    /// Moves a file, already on disk, to its place: rename, fsync of the new folder. A power cut may leave it in both.
    pub(crate) fn publish(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        // No empty folder appears in the table for a file that is gone.
        fs::metadata(&from)?;
        create_folder(parent(&to)?)?;
        fs::rename(&from, &to)?;
        sync_folder(parent(&to)?)
    }

    /// Deletes a file if it is there.
    pub(crate) fn delete(&self, path: &str) -> io::Result<()> {
        let file = self.place(path)?;
        match present(fs::remove_file(&file))? {
            Some(()) => sync_folder(parent(&file)?),
            None => Ok(()),
        }
    }

    /// Deletes a folder and all in it, if it is there.
    pub(crate) fn delete_folder(&self, path: &str) -> io::Result<()> {
        present(fs::remove_dir_all(self.place(path)?)).map(drop)
    }

    /// Temporary files in a folder: of processes that write there, or died as they did.
    pub(crate) fn temporary_files(&self, folder: &str) -> io::Result<Vec<PathBuf>> {
        let entries = present(fs::read_dir(self.place(folder)?))?;
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
        let Ok(folder) = self.place(path) else {
            return;
        };
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
            let Some(entries) = present(fs::read_dir(self.place(&folder)?))? else {
                continue;
            };
            for entry in entries {
                let entry = entry?;
                let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
                let kind = entry.file_type()?;
                if kind.is_symlink() {
                    return Err(is_link(&entry.path()));
                } else if kind.is_dir() {
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

    /// Whether nobody holds a lock on a file, or it is not there. Without locks, what is there is of a dead run if there is a
    /// single writer.
    pub(crate) fn is_unlocked(&self, path: &str, single_writer: bool) -> io::Result<bool> {
        match present(File::options().write(true).open(self.place(path)?))? {
            Some(file) => match file.try_lock() {
                Ok(()) => Ok(true),
                Err(fs::TryLockError::WouldBlock) => Ok(false),
                Err(fs::TryLockError::Error(error)) if is_missing(&error) => match single_writer {
                    true => Ok(true),
                    false => Err(missing(LOCKS, error)),
                },
                Err(fs::TryLockError::Error(error)) => Err(error),
            },
            None => Ok(true),
        }
    }

    /// Waits for an exclusive lock on a file, which is created if missing.
    ///
    /// # Errors
    /// A [`MissingOperation`] if the file system has no locks, unless there is a single writer.
    pub(crate) fn lock(&self, path: &str, single_writer: bool) -> io::Result<FileLock> {
        for _ in 0..LOCK_ATTEMPTS {
            let file = self.lock_file(path)?;
            match file.lock() {
                // Who held it before may have deleted it: then the lock is on a file that nobody else finds.
                Ok(()) if is_still_at(&file, &self.place(path)?)? => {
                    return Ok(FileLock { _file: file });
                }
                Ok(()) => {}
                Err(error) if !is_missing(&error) => return Err(error),
                Err(_) if single_writer => return Ok(FileLock { _file: file }),
                Err(error) => {
                    self.delete(path)?;
                    return Err(missing(LOCKS, error));
                }
            }
        }
        let message = "a locked file is never the one that has its name";
        Err(missing(LOCKS, io::Error::other(message)))
    }

    /// The same without waiting. `None`: somebody holds it. Where there are no locks nobody does: only a single writer comes here.
    pub(crate) fn try_lock(&self, path: &str) -> io::Result<Option<FileLock>> {
        let file = self.lock_file(path)?;
        match file.try_lock() {
            Ok(()) if is_still_at(&file, &self.place(path)?)? => Ok(Some(FileLock { _file: file })),
            Ok(()) | Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) if is_missing(&error) => {
                Ok(Some(FileLock { _file: file }))
            }
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn lock_file(&self, path: &str) -> io::Result<File> {
        let file = self.place(path)?;
        create_folder(parent(&file)?)?;
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(file)
    }
}

/// Whether an open file is the one at the path now.
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

/// Whether the operating system says that there is no such operation in this file system. They do so in many ways.
fn is_missing(error: &io::Error) -> bool {
    #[cfg(unix)]
    if matches!(
        error.raw_os_error(),
        Some(
            libc::EPERM | libc::EINVAL | libc::ENOTSUP | libc::ENOSYS | libc::ENOLCK | libc::ENOTTY
        )
    ) {
        return true;
    }
    // On Windows: ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED.
    #[cfg(windows)]
    if matches!(error.raw_os_error(), Some(1 | 50)) {
        return true;
    }
    error.kind() == ErrorKind::Unsupported
}

fn missing(operation: &'static str, source: io::Error) -> io::Error {
    let missing = MissingOperation { operation, source };
    io::Error::new(ErrorKind::Unsupported, missing)
}

fn is_link(place: &Path) -> io::Error {
    let place = place.display();
    io::Error::other(format!("`{place}` is a symbolic link, and a lake has none"))
}

fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Temporary files as [`LocalDisk::temporary_files`] knows them, and for whomever the user's umask lets read.
fn temporary_name() -> tempfile::Builder<'static, 'static> {
    let mut name = tempfile::Builder::new();
    name.prefix(".").suffix(".tmp");
    #[cfg(unix)]
    name.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    name
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
    create_one_folder(folder)?;
    sync_folder(above)
}

fn create_one_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some that are mounted over a network keep names as they like.
        Err(error) if is_missing(&error) => Ok(()),
        synced => synced,
    }
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
        disk.write("a/b.json", "a", b"one").unwrap();
        disk.write("a/b.json", "a", b"two").unwrap();
        assert_eq!(disk.read("a/b.json").unwrap().unwrap(), b"two");
        assert_eq!(disk.list("a").unwrap().len(), 1);
    }

    #[test]
    fn a_file_is_created_once_and_its_content_stays() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(folder.path().to_owned());
        let file = |content: &str| {
            let mut file = disk.temporary_file("control").unwrap();
            file.write_all(content.as_bytes()).unwrap();
            file
        };
        assert!(disk.create_new("t/0.json", file("one")).unwrap());
        assert!(!disk.create_new("t/0.json", file("two")).unwrap());
        assert_eq!(disk.read("t/0.json").unwrap().unwrap(), b"one");
        assert!(disk.list("control").unwrap().is_empty());
    }

    #[test]
    fn folders_are_created_for_files_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(folder.path().to_owned());
        disk.write("staging/x", "staging", b"x").unwrap();
        disk.write("staging/y", "staging", b"y").unwrap();
        disk.write("t/d=1/g=2/z", "t", b"z").unwrap();
        let moves = [("x", "g=1"), ("gone", "g=3"), ("y", "g=2")];
        let moves =
            moves.map(|(file, group)| (format!("staging/{file}"), format!("t/d=1/{group}/{file}")));
        disk.create_folders(&moves).unwrap();
        assert!(!disk.file("t/d=1/g=3").exists());
        disk.publish(&moves[0].0, &moves[0].1).unwrap();
        disk.publish(&moves[2].0, &moves[2].1).unwrap();
        assert!(disk.publish(&moves[1].0, &moves[1].1).is_err());
        assert_eq!(disk.read("t/d=1/g=1/x").unwrap().unwrap(), b"x");
        assert_eq!(disk.read("t/d=1/g=2/y").unwrap().unwrap(), b"y");
        assert!(disk.list("staging").unwrap().is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn no_link_below_the_root_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let foreign = folder.path().join("foreign");
        fs::create_dir_all(foreign.join("g=1")).unwrap();
        fs::write(foreign.join("g=1/x"), "theirs").unwrap();
        let root = folder.path().join("lake");
        fs::create_dir_all(root.join("t")).unwrap();
        std::os::unix::fs::symlink(&foreign, root.join("t/d=1")).unwrap();
        std::os::unix::fs::symlink(foreign.join("g=1/x"), root.join("t/y")).unwrap();
        // The root itself may be one.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&root, &link).unwrap();
        let disk = LocalDisk::new(link);
        disk.write("t/z", "t", b"ours").unwrap();
        for path in ["t/d=1/g=1/x", "t/y"] {
            let refusals = [
                disk.write(path, "t", b"").unwrap_err(),
                disk.publish("t/z", path).unwrap_err(),
                disk.create(path).unwrap_err(),
                disk.delete(path).unwrap_err(),
                disk.lock(path, false).unwrap_err(),
                disk.try_lock(path).unwrap_err(),
                disk.is_unlocked(path, false).unwrap_err(),
                disk.read(path).unwrap_err(),
            ];
            for refused in refusals {
                assert!(refused.to_string().contains("symbolic link"), "{refused}");
            }
        }
        disk.delete_empty_folders("t/d=1/g=1", 2);
        assert!(disk.delete_folder("t/d=1").is_err());
        assert!(disk.delete_temporary("t/d=1").is_err());
        for folder in ["t", "t/d=1"] {
            let refused = disk.list(folder).unwrap_err();
            assert!(refused.to_string().contains("symbolic link"), "{refused}");
        }
        assert_eq!(fs::read(foreign.join("g=1/x")).unwrap(), b"theirs");
        assert_eq!(fs::read_dir(foreign).unwrap().count(), 1);
    }

    #[test]
    fn only_empty_folders_are_deleted_upwards() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(folder.path().to_owned());
        disk.write("t/d=1/g=1/x", "t", b"").unwrap();
        disk.write("t/d=1/g=2/y", "t", b"").unwrap();
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
        let first = disk.lock("c/commit.lock", false).unwrap();
        let file = File::options()
            .write(true)
            .open(disk.file("c/commit.lock"))
            .unwrap();
        assert!(file.try_lock().is_err());
        drop(first);
        assert!(file.try_lock().is_ok());
    }

    #[test]
    fn who_waits_for_a_deleted_lock_gets_one_that_others_find() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(folder.path().to_owned());
        let first = disk.try_lock("c/run.lock").unwrap().unwrap();
        let waiting = {
            let disk = disk.clone();
            std::thread::spawn(move || disk.lock("c/run.lock", false).unwrap())
        };
        // It waits by now, most likely; if not, it gets a lock that others find all the same.
        std::thread::sleep(std::time::Duration::from_millis(50));
        disk.delete("c/run.lock").unwrap();
        drop(first);
        let second = waiting.join().unwrap();
        assert!(!disk.is_unlocked("c/run.lock", false).unwrap());
        assert!(disk.try_lock("c/run.lock").unwrap().is_none());
        drop(second);
    }
}
