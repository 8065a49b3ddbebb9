//! A folder on local disk that is held open: a name in it is looked up there, whatever anybody puts in the way of its path
//! meanwhile. Follows no symbolic link, and takes nothing but regular files for files.
//!
//! Knows nothing of lakes. Every function blocks.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use rustix::path::Arg;
use uuid::Uuid;

/// How a folder is opened.
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
/// How a file is: a pipe that nobody writes into is not waited for.
const FILE: OFlags = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);
/// For whomever the user's umask lets read.
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o777);
/// How the names of files begin and end that have no place yet.
const TEMPORARY: (&str, &str) = (".", ".tmp");

/// The folder.
#[derive(Debug)]
pub(crate) struct Folder {
    open: OwnedFd,
    /// Where it was when it was opened, for errors.
    place: PathBuf,
}

/// What is in a folder.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: OsString,
    pub(crate) kind: EntryKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File {
        bytes: u64,
        modified: DateTime<Utc>,
    },
    Folder,
    Link,
    /// A pipe, a socket, a device.
    Other,
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It must be there.
    Read,
    /// It must be there. It is not written: a lock needs this.
    Lock,
    /// It is created if it is not there, and keeps its content.
    CreateLock,
    /// It is created if it is not there, and emptied if it is.
    Write,
}

impl Folder {
    /// A folder by its path, which may have links.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            open: rustix::fs::open(path, FOLDER, Mode::empty())?,
            place: path.to_owned(),
        })
    }

    /// A folder in this one.
    pub(crate) fn folder(&self, name: &str) -> io::Result<Self> {
        let flags = FOLDER | OFlags::NOFOLLOW;
        let open = rustix::fs::openat(&self.open, checked(name)?, flags, Mode::empty());
        Ok(Self {
            open: open.map_err(|error| self.refusal(name, error))?,
            place: self.place.join(name),
        })
    }

    /// The same, created if it is not there. Whether it was; [`Folder::sync`] of this one then makes its name durable.
    pub(crate) fn create_folder(&self, name: &str) -> io::Result<(Self, bool)> {
        match self.folder(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return found.map(|folder| (folder, false)),
        }
        let created = match rustix::fs::mkdirat(&self.open, name, FOLDER_MODE) {
            // Somebody was faster.
            Err(Errno::EXIST) => false,
            created => created.map(|()| true)?,
        };
        Ok((self.folder(name)?, created))
    }

    /// Opens a regular file in it.
    pub(crate) fn open(&self, name: &str, access: Access) -> io::Result<File> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Lock => OFlags::WRONLY,
            // Emptied, if so, only once it is known to be a regular file.
            Access::CreateLock | Access::Write => OFlags::WRONLY | OFlags::CREATE,
        };
        let open = rustix::fs::openat(&self.open, checked(name)?, flags | FILE, FILE_MODE);
        let file = File::from(open.map_err(|error| self.refusal(name, error))?);
        if !file.metadata()?.is_file() {
            return Err(self.no_file(name));
        }
        if access == Access::Write {
            file.set_len(0)?;
        }
        Ok(file)
    }

    /// A new file without a place.
    pub(crate) fn temporary_file(self) -> io::Result<TemporaryFile> {
        let (start, end) = TEMPORARY;
        let name = format!("{start}{}{end}", Uuid::new_v4().simple());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | FILE;
        let open = rustix::fs::openat(&self.open, &name, flags, FILE_MODE)?;
        Ok(TemporaryFile {
            file: File::from(open),
            folder: self,
            name: Some(name),
        })
    }

    /// What has a name in it; a link itself and not what it leads to. `None`: nothing.
    pub(crate) fn kind_of(&self, name: &str) -> io::Result<Option<EntryKind>> {
        Ok(self.stat(checked(name)?)?.map(|stat| kind_of(&stat)))
    }

    fn stat(&self, name: impl Arg) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.open, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether an open file is the one that has a name now.
    pub(crate) fn is_still(&self, name: &str, file: &File) -> io::Result<bool> {
        let open = rustix::fs::fstat(file)?;
        let there = self.stat(checked(name)?)?;
        Ok(there.is_some_and(|there| (there.st_dev, there.st_ino) == (open.st_dev, open.st_ino)))
    }

    /// Everything in it, in no order.
    pub(crate) fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.open)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Directory => EntryKind::Folder,
                FileType::Symlink => EntryKind::Link,
                FileType::RegularFile | FileType::Unknown => match self.stat(name)? {
                    Some(stat) => kind_of(&stat),
                    None => continue,
                },
                _ => EntryKind::Other,
            };
            entries.push(Entry {
                name: OsString::from_vec(name.to_bytes().to_owned()),
                kind,
            });
        }
        Ok(entries)
    }

    /// Deletes a file, or what else has the name, but for a folder. Whether it was there.
    pub(crate) fn delete(&self, name: &str) -> io::Result<bool> {
        self.unlink(checked(name)?)
    }

    fn unlink(&self, name: impl Arg) -> io::Result<bool> {
        match rustix::fs::unlinkat(&self.open, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes an empty folder in it.
    pub(crate) fn delete_folder(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.open,
            checked(name)?,
            AtFlags::REMOVEDIR,
        )?)
    }

    /// Deletes all that is in it. Links go, and not what they lead to.
    pub(crate) fn clear(&self) -> io::Result<()> {
        for entry in self.entries()? {
            match entry.kind {
                EntryKind::Folder => {
                    let name = entry.name.to_str();
                    let name = name.ok_or_else(|| self.no_utf8(&entry))?;
                    self.folder(name)?.clear()?;
                    self.delete_folder(name)?;
                }
                _ => _ = self.unlink(&entry.name)?,
            }
        }
        Ok(())
    }

    fn no_utf8(&self, entry: &Entry) -> io::Error {
        let place = self.place.join(&entry.name);
        io::Error::other(format!("{} has a name that is not UTF-8", quoted(&place)))
    }

    /// Moves a file to a name in another folder, over what may have that name.
    pub(crate) fn rename(&self, name: &str, folder: &Self, to: &str) -> io::Result<()> {
        if folder.kind_of(to)? == Some(EntryKind::Link) {
            return Err(is_link(&folder.place.join(to)));
        }
        Ok(rustix::fs::renameat(
            &self.open,
            checked(name)?,
            &folder.open,
            checked(to)?,
        )?)
    }

    /// Makes the names in it durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.open)?)
    }

    /// The error of opening what is a link, or no folder and no file.
    fn refusal(&self, name: &str, error: Errno) -> io::Error {
        match (error, self.kind_of(name)) {
            (Errno::LOOP | Errno::NOTDIR, Ok(Some(EntryKind::Link))) => {
                is_link(&self.place.join(name))
            }
            // A pipe without a reader, and a socket.
            (Errno::NXIO | Errno::ISDIR, _) => self.no_file(name),
            _ => error.into(),
        }
    }

    fn no_file(&self, name: &str) -> io::Error {
        let place = self.place.join(name);
        io::Error::other(format!("{} is no regular file", quoted(&place)))
    }
}

/// A file without a place yet, deleted on drop. If the process dies, its name tells that it may be deleted.
#[derive(Debug)]
pub(crate) struct TemporaryFile {
    file: File,
    folder: Folder,
    /// `None`: it got its place.
    name: Option<String>,
}

impl TemporaryFile {
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Puts it in the place of what may have that name.
    pub(crate) fn replace(mut self, folder: &Folder, to: &str) -> io::Result<()> {
        if let Some(name) = &self.name {
            self.folder.rename(name, folder, to)?;
        }
        self.name = None;
        Ok(())
    }

    /// Gives it a name that nothing has. The error is [`ErrorKind::AlreadyExists`] if something has it; what the file system
    /// says that it cannot, if it cannot.
    pub(crate) fn create(&mut self, folder: &Folder, to: &str) -> io::Result<()> {
        let Some(name) = &self.name else {
            return Ok(());
        };
        let (from, open) = (&self.folder.open, &folder.open);
        rustix::fs::renameat_with(from, name, open, checked(to)?, RenameFlags::NOREPLACE)?;
        self.name = None;
        Ok(())
    }

    /// The same by a second name, for file systems without the first.
    pub(crate) fn link(&self, folder: &Folder, to: &str) -> io::Result<()> {
        let Some(name) = &self.name else {
            return Ok(());
        };
        let (from, open) = (&self.folder.open, &folder.open);
        Ok(rustix::fs::linkat(
            from,
            name,
            open,
            checked(to)?,
            AtFlags::empty(),
        )?)
    }
}

impl Write for TemporaryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // The next clean-up finds it.
            let _ = self.folder.delete(name);
        }
    }
}

/// Whether a file of that name is one without a place.
pub(crate) fn is_temporary(name: &str) -> bool {
    let (start, end) = TEMPORARY;
    name.starts_with(start) && name.ends_with(end)
}

/// A name leads nowhere else.
fn checked(name: &str) -> io::Result<&str> {
    match name {
        "" | "." | ".." => {}
        name if name.contains(['/', '\0']) => {}
        name => return Ok(name),
    }
    let message = format!("`{}` is no name in a folder", name.escape_debug());
    Err(io::Error::new(ErrorKind::InvalidInput, message))
}

fn kind_of(stat: &Stat) -> EntryKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => EntryKind::File {
            bytes: u64::try_from(stat.st_size).unwrap_or(0),
            modified: DateTime::from_timestamp(stat.st_mtime, stat.st_mtime_nsec as u32)
                .unwrap_or_default(),
        },
        FileType::Directory => EntryKind::Folder,
        FileType::Symlink => EntryKind::Link,
        _ => EntryKind::Other,
    }
}

pub(crate) fn is_link(place: &Path) -> io::Error {
    let place = quoted(place);
    io::Error::other(format!("{place} is a symbolic link, and a lake has none"))
}

/// A path for people, as it is written in a string.
pub(crate) fn quoted(place: &Path) -> String {
    format!("`{}`", place.to_string_lossy().escape_debug())
}
