//! A lake in a local folder: whole-file reads and durable writes. A file appears complete, by rename, or not at all.
//!
//! Every function blocks; [`crate::Lake`] runs them on tokio's blocking threads. Nothing is created before the
//! first write. No symbolic link below the root is followed, whoever puts one there meanwhile ([`Folder`]): through one, what is
//! written, locked or deleted would be outside the lake. The root itself may be one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::error::MissingOperation;
use crate::parquet::buffers::KeptBuffers;
use crate::store::failpoint;
use crate::store::folder::{
    Access, Entry, EntryKind, Folder, TemporaryFile, is_link, is_temporary, quoted,
};
use crate::store::object::{DOCUMENT_BYTES, ObjectInfo, too_long};
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

    /// The folder at a path; the root for an empty one. `None`: it is not there.
    fn folder(&self, path: &str) -> io::Result<Option<Folder>> {
        let mut folder = present(Folder::at(&self.root))?;
        for name in names(path) {
            let Some(above) = folder else {
                return Ok(None);
            };
            folder = present(above.folder(name))?;
        }
        Ok(folder)
    }

    /// The same, created if it is not there, with those above it, durably: a rename into a folder whose own name a power cut
    /// forgets would be lost with it.
    fn folder_for_writing(&self, path: &str) -> io::Result<Folder> {
        let mut folder = match present(Folder::at(&self.root))? {
            Some(root) => root,
            None => {
                create_root(&self.root)?;
                Folder::at(&self.root)?
            }
        };
        for name in names(path) {
            let (below, is_new) = folder.create_folder(name)?;
            if is_new {
                sync(&folder)?;
            }
            folder = below;
        }
        Ok(folder)
    }

    /// The folder of a file, if it is there, and its name.
    fn folder_of<'a>(&self, path: &'a str) -> io::Result<(Option<Folder>, &'a str)> {
        let (folder, name) = split(path);
        Ok((self.folder(folder)?, name))
    }

    pub(crate) fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = present(self.open(path))? else {
            return Ok(None);
        };
        let mut content = Vec::new();
        file.take(DOCUMENT_BYTES + 1).read_to_end(&mut content)?;
        match content.len() as u64 > DOCUMENT_BYTES {
            true => Err(io::Error::other(too_long())),
            false => Ok(Some(content)),
        }
    }

    /// Opens a file for reading.
    pub(crate) fn open(&self, path: &str) -> io::Result<File> {
        match self.folder_of(path)? {
            (Some(folder), name) => folder.open(name, Access::Read),
            (None, _) => Err(ErrorKind::NotFound.into()),
        }
    }

    pub(crate) fn exists(&self, path: &str) -> io::Result<bool> {
        let (folder, name) = self.folder_of(path)?;
        let kind = folder.map(|folder| folder.kind_of(name)).transpose()?;
        match kind.flatten() {
            Some(EntryKind::Link) => Err(is_link(&self.file(path))),
            kind => Ok(kind.is_some()),
        }
    }

    /// Creates a file for writing, and its folder.
    pub(crate) fn create(&self, path: &str) -> io::Result<File> {
        let (folder, name) = split(path);
        self.folder_for_writing(folder)?.open(name, Access::Write)
    }

    /// A file without content in a folder, deleted on drop unless [`Self::replace`] or [`Self::create_new`] gives it its
    /// place. If the process dies, the next clean-up finds it.
    pub(crate) fn temporary_file(&self, folder: &str) -> io::Result<TemporaryFile> {
        self.folder_for_writing(folder)?.temporary_file()
    }

    /// Puts a file in the place of one that may be there: fsync, rename, fsync of the folder.
    pub(crate) fn replace(&self, path: &str, file: TemporaryFile) -> io::Result<()> {
        let (folder, name) = split(path);
        let folder = self.folder_for_writing(folder)?;
        file.file().sync_all()?;
        failpoint::reached("temporary-file");
        file.replace(&folder, name)?;
        sync(&folder)
    }

    /// Puts a file where none may be: fsync, a rename or a link that overwrites nothing, fsync of the folder. False: there is
    /// one.
    ///
    /// # Errors
    /// A [`MissingOperation`] if the file system has neither.
    pub(crate) fn create_new(&self, path: &str, mut file: TemporaryFile) -> io::Result<bool> {
        let (folder, name) = split(path);
        let folder = self.folder_for_writing(folder)?;
        file.file().sync_all()?;
        let created = match file.create(&folder, name) {
            Err(error) if is_missing(&error) => match file.link(&folder, name) {
                Err(error) if is_missing(&error) => Err(missing(LINKS, error)),
                linked => linked,
            },
            renamed => renamed,
        };
        match created {
            Ok(()) => sync(&folder).map(|()| true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
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
        self.folder_for_writing(path).map(drop)
    }

    /// An error if a link leads to a folder, or is below the root on the way to it.
    pub(crate) fn check_folder(&self, path: &str) -> io::Result<()> {
        self.folder(path).map(drop)
    }

    /// Creates the folders that [`Self::publish`] will move files to, each given with its place: what is in the same folder
    /// costs one fsync together.
    pub(crate) fn create_folders(&self, moves: &[(String, String)]) -> io::Result<()> {
        let mut changed = BTreeMap::new();
        for (from, to) in moves {
            let (folder, _) = split(to);
            if self.folder(folder)?.is_some() || !self.exists(from)? {
                continue;
            }
            let (above, name) = split(folder);
            let above_folder = self.folder_for_writing(above)?;
            if above_folder.create_folder(name)?.1 {
                changed.insert(above, above_folder);
            }
        }
        changed.values().try_for_each(sync)
    }

    /// Moves a file, already on disk, to its place: rename, fsync of the new folder. A power cut may leave it in both.
    pub(crate) fn publish(&self, from: &str, to: &str) -> io::Result<()> {
        let (from_folder, from_name) = self.folder_of(from)?;
        let from_folder = from_folder.ok_or(ErrorKind::NotFound)?;
        match from_folder.kind_of(from_name)? {
            // No empty folder appears in the table for a file that is gone.
            None => return Err(ErrorKind::NotFound.into()),
            Some(EntryKind::Link) => return Err(is_link(&self.file(from))),
            Some(_) => {}
        }
        let (to_folder, to_name) = split(to);
        let to_folder = self.folder_for_writing(to_folder)?;
        from_folder.rename(from_name, &to_folder, to_name)?;
        sync(&to_folder)
    }

    /// Deletes a file if it is there.
    pub(crate) fn delete(&self, path: &str) -> io::Result<()> {
        match self.delete_unsynced(path)? {
            Some(folder) => sync(&folder),
            None => Ok(()),
        }
    }

    /// The same where a power cut may bring it back. `None`: it was not there.
    pub(crate) fn delete_unsynced(&self, path: &str) -> io::Result<Option<Folder>> {
        let (Some(folder), name) = self.folder_of(path)? else {
            return Ok(None);
        };
        if folder.kind_of(name)? == Some(EntryKind::Link) {
            return Err(is_link(&self.file(path)));
        }
        Ok(folder.delete(name)?.then_some(folder))
    }

    /// Deletes a folder and all in it, if it is there.
    pub(crate) fn delete_folder(&self, path: &str) -> io::Result<()> {
        let (Some(above), name) = self.folder_of(path)? else {
            return Ok(());
        };
        let Some(folder) = present(above.folder(name))? else {
            return Ok(());
        };
        folder.clear()?;
        present(above.delete_folder(name)).map(drop)
    }

    /// Whether a folder has temporary files: of processes that write there, or died as they did.
    pub(crate) fn has_temporary_files(&self, folder: &str) -> io::Result<bool> {
        match self.folder(folder)? {
            Some(folder) => Ok(!temporary_files(&folder)?.is_empty()),
            None => Ok(false),
        }
    }

    /// Deletes the temporary files of a folder.
    pub(crate) fn delete_temporary(&self, folder: &str) -> io::Result<()> {
        let Some(folder) = self.folder(folder)? else {
            return Ok(());
        };
        for name in temporary_files(&folder)? {
            folder.delete(&name)?;
        }
        Ok(())
    }

    /// Deletes the folders from `path` upwards, `levels` of them, as long as they are empty.
    pub(crate) fn delete_empty_folders(&self, path: &str, levels: usize) {
        let mut path = path;
        for _ in 0..levels {
            let Ok((Some(above), name)) = self.folder_of(path) else {
                return;
            };
            if above.delete_folder(name).is_err() {
                return;
            }
            path = split(path).0;
        }
    }

    /// All files below a folder, sorted by path. A folder that is not there is empty. What no program of ours can have put there
    /// is told and left out.
    pub(crate) fn list(&self, folder: &str) -> io::Result<Vec<ObjectInfo>> {
        let files = self.list_with_times(folder)?.into_iter();
        Ok(files.map(|(file, _)| file).collect())
    }

    /// The same with the time when each was last written.
    pub(crate) fn list_with_times(
        &self,
        folder: &str,
    ) -> io::Result<Vec<(ObjectInfo, DateTime<Utc>)>> {
        let mut files = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(path) = folders.pop() {
            let Some(folder) = self.folder(&path)? else {
                continue;
            };
            for Entry { name, kind } in folder.entries()? {
                let place = self.file(&path).join(&name);
                if kind == EntryKind::Link {
                    return Err(is_link(&place));
                }
                let name = name.to_str().filter(|name| !name.contains('\\'));
                match (name, kind) {
                    (Some(name), EntryKind::Folder) => folders.push(format!("{path}/{name}")),
                    (Some(name), EntryKind::File { bytes, modified }) => {
                        let path = format!("{path}/{name}");
                        files.push((ObjectInfo { path, bytes }, modified));
                    }
                    (Some(_), _) => {
                        tracing::warn!("{} is no regular file: it is left alone", quoted(&place));
                    }
                    (None, _) => tracing::warn!(
                        "{} has a name that no file of a lake has: it is left alone",
                        quoted(&place)
                    ),
                }
            }
        }
        files.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Whether nobody holds a lock on a file, or it is not there. Without locks, what is there is of a dead run if there is a
    /// single writer.
    pub(crate) fn is_unlocked(&self, path: &str, single_writer: bool) -> io::Result<bool> {
        let (Some(folder), name) = self.folder_of(path)? else {
            return Ok(true);
        };
        match present(folder.open(name, Access::Lock))? {
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
                Ok(()) if self.is_still_at(&file, path)? => {
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
            Ok(()) if self.is_still_at(&file, path)? => Ok(Some(FileLock { _file: file })),
            Ok(()) | Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) if is_missing(&error) => {
                Ok(Some(FileLock { _file: file }))
            }
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn lock_file(&self, path: &str) -> io::Result<File> {
        let (folder, name) = split(path);
        self.folder_for_writing(folder)?
            .open(name, Access::CreateLock)
    }

    /// Whether an open file is the one at the path now.
    fn is_still_at(&self, file: &File, path: &str) -> io::Result<bool> {
        match self.folder_of(path)? {
            (Some(folder), name) => folder.is_still(name, file),
            (None, _) => Ok(false),
        }
    }
}

/// The folder of a path, which is empty for the root, and the name in it.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn names(path: &str) -> impl Iterator<Item = &str> {
    let names = (!path.is_empty()).then(|| path.split('/'));
    names.into_iter().flatten()
}

fn temporary_files(folder: &Folder) -> io::Result<Vec<String>> {
    let entries = folder.entries()?.into_iter();
    let files = entries.filter(|entry| matches!(entry.kind, EntryKind::File { .. }));
    let names = files.filter_map(|file| file.name.into_string().ok());
    Ok(names.filter(|name| is_temporary(name)).collect())
}

/// Whether the operating system says that there is no such operation in this file system. They do so in many ways.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EPERM | libc::EINVAL | libc::ENOTSUP | libc::ENOSYS | libc::ENOLCK | libc::ENOTTY
        )
    ) || error.kind() == ErrorKind::Unsupported
}

fn missing(operation: &'static str, source: io::Error) -> io::Error {
    let missing = MissingOperation { operation, source };
    io::Error::new(ErrorKind::Unsupported, missing)
}

fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates the root and the folders above it, durably.
fn create_root(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().ok_or(ErrorKind::InvalidInput)?;
    create_root(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync(&Folder::at(above)?)
}

/// Makes the names in a folder durable.
fn sync(folder: &Folder) -> io::Result<()> {
    match folder.sync() {
        // Some that are mounted over a network keep names as they like.
        Err(error) if is_missing(&error) => Ok(()),
        synced => synced,
    }
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
    fn a_link_that_takes_the_place_of_an_open_folder_leads_nowhere() {
        let temporary = tempfile::tempdir().unwrap();
        let (root, foreign) = (
            temporary.path().join("lake"),
            temporary.path().join("foreign"),
        );
        fs::create_dir_all(root.join("t")).unwrap();
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("x"), "theirs").unwrap();
        let disk = LocalDisk::new(root.clone());
        disk.write("t/x", "t", b"ours").unwrap();
        let open = disk.folder("t").unwrap().unwrap();
        let temporary_file = disk.temporary_file("t").unwrap();
        // Between the look at the path and the act.
        fs::rename(root.join("t"), root.join("moved")).unwrap();
        std::os::unix::fs::symlink(&foreign, root.join("t")).unwrap();
        temporary_file.replace(&open, "y").unwrap();
        assert!(open.delete("x").unwrap());
        assert_eq!(fs::read(foreign.join("x")).unwrap(), b"theirs");
        assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
        assert!(root.join("moved/y").exists() && !root.join("moved/x").exists());
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_never_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(folder.path().to_owned());
        disk.write("c/x.json", "c", b"x").unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(folder.path().join("c/pipe.json"))
            .status();
        assert!(made.unwrap().success());
        fs::create_dir(folder.path().join("c/folder.json")).unwrap();
        for path in ["c/pipe.json", "c/folder.json"] {
            for refused in [
                disk.read(path).unwrap_err(),
                disk.create(path).unwrap_err(),
                disk.lock(path, false).unwrap_err(),
                disk.try_lock(path).unwrap_err(),
                disk.is_unlocked(path, false).unwrap_err(),
            ] {
                let words = refused.to_string();
                assert!(
                    words.contains(path) && words.contains("no regular file"),
                    "{words}"
                );
            }
        }
        let listed = disk.list("c").unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].path, "c/x.json");
    }

    #[test]
    fn names_that_no_lake_has_are_left_out_of_listings() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(folder.path().to_owned());
        disk.write("c/x.json", "c", b"x").unwrap();
        for name in [&b"\xff.json"[..], b"a\\b.json"] {
            let name = std::ffi::OsStr::from_bytes(name);
            fs::write(folder.path().join("c").join(name), "x").unwrap();
        }
        assert_eq!(disk.list("c").unwrap().len(), 1);
        for path in ["c/..", "c/.", "c/../c/x.json", "c//x.json", "c/", ""] {
            assert!(disk.delete(path).is_err(), "{path}");
        }
        assert_eq!(disk.list("c").unwrap().len(), 1);
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
