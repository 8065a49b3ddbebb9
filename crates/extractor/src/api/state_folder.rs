//! The folder of the state file: the user's own, which nobody else may write to.
//!
//! In a folder that others may write to, a symbolic link in place of the state file would have any file of the user
//! overwritten. Opening follows no link at all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use crate::error::ExtractorError;

/// The setting that names the folder.
const SETTING: &str = "source.state_dir";

/// Makes the state file's folder where there is none, for its owner alone. A folder that cannot be made is no error: calls
/// are then counted in this process.
///
/// # Errors
/// [`ExtractorError::InvalidSetting`] for a folder, or a state file, that another user could have put there.
pub fn prepare_state_folder(state_file: &Path) -> Result<(), ExtractorError> {
    let Some(folder) = state_file.parent() else {
        return Ok(());
    };
    if create(folder).is_err() {
        return Ok(());
    }
    let refused = |path: &Path, problem: &str| ExtractorError::InvalidSetting {
        setting: SETTING,
        reason: format!(
            "`{}` {problem}; set it to a folder of your own that nobody else may write to",
            path.display()
        ),
    };
    if let Ok(Some(problem)) = problem(folder) {
        return Err(refused(folder, problem));
    }
    match fs::symlink_metadata(state_file) {
        Ok(found) if !found.is_file() => Err(refused(state_file, "is a symbolic link or no file")),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn create(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

#[cfg(not(unix))]
fn create(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

/// Why the folder is not the user's alone.
#[cfg(unix)]
fn problem(folder: &Path) -> io::Result<Option<&'static str>> {
    use std::os::unix::fs::MetadataExt;
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    let found = fs::symlink_metadata(folder)?;
    if found.is_symlink() {
        return Ok(Some("is a symbolic link"));
    }
    if found.mode() & WRITABLE_BY_OTHERS != 0 {
        return Ok(Some("may be written to by its group or by everybody"));
    }
    // Who this process is shows in what it makes; the file is gone at once.
    let own = match tempfile::tempfile_in(folder) {
        Ok(file) => file.metadata()?,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(Some("belongs to another user, or may not be written to"));
        }
        Err(error) => return Err(error),
    };
    Ok((found.uid() != own.uid()).then_some("belongs to another user"))
}

#[cfg(not(unix))]
fn problem(folder: &Path) -> io::Result<Option<&'static str>> {
    let found = fs::symlink_metadata(folder)?;
    Ok(found.is_symlink().then_some("is a symbolic link"))
}

/// Opens the state file, which is made for its owner alone, as is its folder. Links are not followed, and pipes not waited for.
pub(crate) fn open_state_file(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        create(folder)?;
    }
    let mut options = OpenOptions::new();
    open(path, options.write(true).create(true).truncate(false))
}

/// The same of a state file that is there, to be read.
pub(crate) fn open_existing_state_file(path: &Path) -> io::Result<File> {
    open(path, &mut OpenOptions::new())
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    let file = options.open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("is no regular file")),
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn refusal(file: &Path) -> String {
        prepare_state_folder(file).unwrap_err().to_string()
    }

    #[test]
    fn folder_and_file_are_made_for_their_owner_alone() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("cache/defender-lake");
        let file = folder.join("state.json");
        prepare_state_folder(&file).unwrap();
        prepare_state_folder(&file).unwrap();
        drop(open_state_file(&file).unwrap());
        prepare_state_folder(&file).unwrap();
        assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("state.json");
        for others in [0o770, 0o777, 0o1777, 0o702] {
            set_mode(place.path(), others);
            let message = refusal(&file);
            assert!(
                message.starts_with("source.state_dir: ") && message.contains("written"),
                "{message}"
            );
        }
        set_mode(place.path(), 0o755);
        prepare_state_folder(&file).unwrap();
    }

    #[test]
    fn links_are_refused_and_never_followed() {
        let place = tempfile::tempdir().unwrap();
        let (victim, own) = (place.path().join("victim"), place.path().join("own"));
        fs::write(&victim, "precious").unwrap();
        fs::create_dir(&own).unwrap();
        let link = place.path().join("link");
        symlink(&own, &link).unwrap();
        assert!(refusal(&link.join("state.json")).contains("symbolic link"));

        let file = own.join("state.json");
        symlink(&victim, &file).unwrap();
        assert!(refusal(&file).contains("symbolic link"));
        open_state_file(&file).unwrap_err();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }

    /// Only root may give a folder away.
    #[test]
    fn a_folder_of_another_user_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("given-away");
        fs::create_dir(&folder).unwrap();
        if std::os::unix::fs::chown(&folder, Some(12_345), None).is_err() {
            return;
        }
        assert!(refusal(&folder.join("state.json")).contains("another user"));
    }

    #[test]
    fn a_folder_that_cannot_be_made_leaves_the_count_in_memory() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        prepare_state_folder(&file.join("state/state.json")).unwrap();
    }
}
