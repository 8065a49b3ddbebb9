//! Pages on disk: whole or not there, and a document that says how far they go, so that the next run asks only for the rest.
//!
//! ```text
//! page-00000.json.gz   the rows of the first page as JSON lines
//! page-00001.json.gz   …
//! pages.json           of which request they are, their rows and sizes, the next link; written after each page
//! .pages-…             being written; of no use afterwards
//! ```
//!
//! The folder is its owner's alone and in use by one run at a time. It saves work and decides nothing: contents that are broken
//! or of another request are deleted. Files of other names are never touched.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use dataset::OrgId;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::api::pages::error::PagesError;
use crate::api::state_folder::{open_existing_state_file, prepare_state_folder};

const VERSION: u32 = 1;
const DOCUMENT: &str = "pages.json";
/// How names of unfinished files begin.
const TEMPORARY: &str = ".pages-";
/// A longer document is damaged.
const MAX_DOCUMENT: u64 = 16 << 20;
/// Pages that are older are not gone on from. The service keeps what its links lead to about as long as the blobs of a listing,
/// an hour by default; and pages of an endpoint that has no snapshot shift, the more the longer.
const MAX_AGE: TimeDelta = TimeDelta::hours(1);

/// Of which request pages are: those of another are of no use to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RequestIdentity {
    /// Tenant and application.
    pub(super) caller: String,
    /// The endpoint, without query.
    pub(super) url: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) export_name: String,
    pub(super) org_id: Option<OrgId>,
}

/// How far the pages go.
#[derive(Serialize, Deserialize)]
pub(super) struct PagesDocument {
    version: u32,
    pub(super) request: RequestIdentity,
    /// The write job in the blob paths of these pages.
    pub(super) job: String,
    /// When the first page was asked for, by this machine's clock.
    pub(super) started_at: DateTime<Utc>,
    /// When the last page was stored, by this machine's clock.
    pub(super) stored_at: DateTime<Utc>,
    /// `Date` of the first page.
    pub(super) service_date: Option<DateTime<Utc>>,
    /// The snapshot that next links lead through, as far as any of them says.
    pub(super) snapshot_time: Option<DateTime<Utc>>,
    /// None once the last page is stored. Not to be shown: its query is the skip token.
    pub(super) next_link: Option<String>,
    /// Bytes of all answers.
    pub(super) bytes: u64,
    pub(super) pages: Vec<PageRecord>,
}

/// One stored page.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct PageRecord {
    pub(super) rows: u64,
    /// Bytes of the file.
    pub(super) size: u64,
}

impl PagesDocument {
    /// Of no page yet.
    pub(super) fn new(request: RequestIdentity, now: DateTime<Utc>) -> Self {
        Self {
            version: VERSION,
            request,
            job: uuid::Uuid::new_v4().to_string(),
            started_at: now,
            stored_at: now,
            service_date: None,
            snapshot_time: None,
            next_link: None,
            bytes: 0,
            pages: Vec::new(),
        }
    }
}

/// The folder, locked. Clones share the lock.
#[derive(Debug, Clone)]
pub(super) struct PagesFolder {
    path: PathBuf,
    _lock: Option<Arc<File>>,
}

impl PagesFolder {
    /// Makes the folder where there is none, for its owner alone, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, PagesError> {
        prepare_state_folder(&path.join(DOCUMENT))?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock(path)?,
        })
    }

    /// The document of the pages at hand, if they are of this request, whole and not too old.
    pub(super) fn load(
        &self,
        request: &RequestIdentity,
        now: DateTime<Utc>,
    ) -> Option<PagesDocument> {
        let reason = match self.read_document() {
            Ok(None) => return None,
            Ok(Some(document)) => match self.unusable(&document, request, now) {
                None => return Some(document),
                Some(reason) => reason.to_owned(),
            },
            // An error of JSON could quote the next link.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => "are damaged".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(folder = %self.path.display(), reason, "stored pages are not used: beginning with the first page");
        None
    }

    fn read_document(&self) -> io::Result<Option<PagesDocument>> {
        let file = match open_existing_state_file(&self.path.join(DOCUMENT)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = Vec::new();
        file.take(MAX_DOCUMENT).read_to_end(&mut text)?;
        let document = serde_json::from_slice(&text);
        document
            .map(Some)
            .map_err(|_| io::ErrorKind::InvalidData.into())
    }

    fn unusable(
        &self,
        document: &PagesDocument,
        request: &RequestIdentity,
        now: DateTime<Utc>,
    ) -> Option<&'static str> {
        let is_whole = |(index, page): (usize, &PageRecord)| {
            fs::symlink_metadata(self.page_file(index))
                .is_ok_and(|found| found.is_file() && found.len() == page.size)
        };
        let age = now - document.stored_at;
        if document.version != VERSION {
            Some("are of another version")
        } else if document.request != *request {
            Some("are of another request")
        } else if age > MAX_AGE || age < -MAX_AGE {
            Some("are older than an hour")
        } else if uuid::Uuid::parse_str(&document.job).is_err() {
            Some("are damaged")
        } else if !document.pages.iter().enumerate().all(is_whole) {
            Some("are not all there")
        } else {
            None
        }
    }

    /// Writes what the document says now. The pages that it names are there already.
    pub(super) fn save(&self, document: &PagesDocument) -> Result<(), PagesError> {
        let write = || {
            let mut file = self.temporary_file()?;
            file.write_all(&serde_json::to_vec(document)?)?;
            self.put_in_place(file, &self.path.join(DOCUMENT))
        };
        write().map_err(|error| self.error(error))
    }

    /// A page to be written.
    pub(super) fn new_page(&self) -> io::Result<PageWriter> {
        let file = BufWriter::new(self.temporary_file()?);
        Ok(PageWriter {
            lines: GzEncoder::new(file, Compression::fast()),
        })
    }

    /// Puts a whole page in its place.
    pub(super) fn keep(&self, page: WholePage, index: usize) -> Result<(), PagesError> {
        let kept = self.put_in_place(page.file, &self.page_file(index));
        kept.map_err(|error| self.error(error))
    }

    /// The file of a page, which may not be there.
    pub(super) fn page_file(&self, index: usize) -> PathBuf {
        self.path.join(page_name(index))
    }

    /// Deletes all pages and the document.
    pub(super) fn clear(&self) -> Result<(), PagesError> {
        let clear = || {
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                if entry.file_name().to_str().is_some_and(is_own_name) {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        clear().map_err(|error| self.error(error))
    }

    /// Deletes the folder with all pages. One that holds files of other names stays, with these.
    pub(super) fn delete(self) -> Result<(), PagesError> {
        self.clear()?;
        match fs::remove_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                tracing::warn!(folder = %self.path.display(), "the folder of the pages holds other files and stays");
                Ok(())
            }
            removed => removed.map_err(|error| self.error(error)),
        }
    }

    pub(super) fn error(&self, source: io::Error) -> PagesError {
        folder_error(&self.path, source)
    }

    fn temporary_file(&self) -> io::Result<NamedTempFile> {
        tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempfile_in(&self.path)
    }

    /// A file is under its name whole, or not at all, also after a power cut.
    fn put_in_place(&self, file: NamedTempFile, target: &Path) -> io::Result<()> {
        file.as_file().sync_all()?;
        file.persist(target)?;
        #[cfg(unix)]
        File::open(&self.path)?.sync_all()?;
        Ok(())
    }
}

/// A page that is being written. Its file vanishes with it.
pub(super) struct PageWriter {
    pub(super) lines: GzEncoder<BufWriter<NamedTempFile>>,
}

/// A page that has all its rows, and no name yet.
pub(super) struct WholePage {
    file: NamedTempFile,
    /// Bytes.
    pub(super) size: u64,
}

impl PageWriter {
    /// Ends the gzip stream.
    pub(super) fn finish(self) -> io::Result<WholePage> {
        let file = self.lines.finish()?.into_inner()?;
        let size = file.as_file().metadata()?.len();
        Ok(WholePage { file, size })
    }
}

fn page_name(index: usize) -> String {
    format!("page-{index:05}.json.gz")
}

fn is_own_name(name: &str) -> bool {
    let number = name
        .strip_prefix("page-")
        .and_then(|rest| rest.strip_suffix(".json.gz"));
    let is_page = number.is_some_and(|number| {
        number.len() >= 5 && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    is_page || name == DOCUMENT || name.starts_with(TEMPORARY)
}

fn folder_error(folder: &Path, source: io::Error) -> PagesError {
    PagesError::Folder {
        folder: folder.to_owned(),
        source: Arc::new(source),
    }
}

/// Locks the folder itself, so that no file remains of it. A file system without locks has the folder to itself.
#[cfg(unix)]
fn lock(folder: &Path) -> Result<Option<Arc<File>>, PagesError> {
    let opened = File::open(folder).map_err(|error| folder_error(folder, error))?;
    match opened.try_lock() {
        Ok(()) => Ok(Some(Arc::new(opened))),
        Err(fs::TryLockError::WouldBlock) => Err(PagesError::FolderInUse {
            folder: folder.to_owned(),
        }),
        Err(fs::TryLockError::Error(error)) => {
            tracing::debug!(folder = %folder.display(), %error, "the folder of the pages cannot be locked");
            Ok(None)
        }
    }
}

#[cfg(not(unix))]
fn lock(_: &Path) -> Result<Option<Arc<File>>, PagesError> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> RequestIdentity {
        RequestIdentity {
            caller: "t1/c1".to_owned(),
            url: "https://api.example/api/machines".to_owned(),
            query: vec![("pageSize".to_owned(), "5".to_owned())],
            export_name: "Machines".to_owned(),
            org_id: None,
        }
    }

    /// A folder with one page of one row and its document.
    fn filled(folder: &PagesFolder, now: DateTime<Utc>) -> PagesDocument {
        let mut page = folder.new_page().unwrap();
        page.lines.write_all(b"{}\n").unwrap();
        let page = page.finish().unwrap();
        let record = PageRecord {
            rows: 1,
            size: page.size,
        };
        folder.keep(page, 0).unwrap();
        let mut document = PagesDocument::new(request(), now);
        document.pages.push(record);
        document.next_link = Some("https://api.example/api/machines?$skip=s3cr3t".to_owned());
        folder.save(&document).unwrap();
        document
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_saved_is_loaded_and_deleted() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("state/pages");
        let now = Utc::now();
        let folder = PagesFolder::open(&path).unwrap();
        assert!(folder.load(&request(), now).is_none());
        let saved = filled(&folder, now);
        let loaded = folder
            .load(&request(), now + TimeDelta::minutes(59))
            .unwrap();
        assert_eq!((loaded.job, loaded.next_link), (saved.job, saved.next_link));
        assert_eq!(names(&path), ["page-00000.json.gz", "pages.json"]);
        // One that was not finished leaves nothing.
        drop(folder.new_page().unwrap());
        folder.delete().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn broken_old_and_foreign_contents_are_not_used() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("pages");
        let now = Utc::now();
        let folder = PagesFolder::open(&path).unwrap();
        let document = path.join(DOCUMENT);
        filled(&folder, now);
        let text = fs::read_to_string(&document).unwrap();
        assert!(
            folder
                .load(&request(), now + TimeDelta::minutes(61))
                .is_none()
        );
        assert!(
            folder
                .load(&request(), now - TimeDelta::minutes(61))
                .is_none()
        );
        let other = RequestIdentity {
            caller: "t2/c1".to_owned(),
            ..request()
        };
        assert!(folder.load(&other, now).is_none());
        for damaged in [
            text.replace("\"version\":1", "\"version\":2"),
            text.replace("\"rows\":1", "\"rows\":-1"),
            text.replace("\"job\":\"", "\"job\":\"../"),
            text[..text.len() / 2].to_owned(),
            String::new(),
        ] {
            fs::write(&document, damaged).unwrap();
            assert!(folder.load(&request(), now).is_none());
        }
        fs::write(&document, &text).unwrap();
        assert!(folder.load(&request(), now).is_some());
        fs::write(path.join("page-00000.json.gz"), "cut").unwrap();
        assert!(folder.load(&request(), now).is_none());
        fs::remove_file(path.join("page-00000.json.gz")).unwrap();
        assert!(folder.load(&request(), now).is_none());

        fs::write(path.join("page-1.txt"), "mine").unwrap();
        fs::write(path.join(".pages-left"), "").unwrap();
        folder.delete().unwrap();
        assert_eq!(names(&path), ["page-1.txt"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_of_two_runs_or_behind_a_link_is_refused() {
        use std::os::unix::fs::{MetadataExt, symlink};

        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("pages");
        let folder = PagesFolder::open(&path).unwrap();
        filled(&folder, Utc::now());
        let mode = fs::metadata(path.join("page-00000.json.gz"))
            .unwrap()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = PagesFolder::open(&path).unwrap_err();
        assert!(matches!(second, PagesError::FolderInUse { .. }), "{second}");
        drop(folder);

        let link = place.path().join("link");
        symlink(&path, &link).unwrap();
        let linked = PagesFolder::open(&link).unwrap_err().to_string();
        assert!(linked.contains("symbolic link"), "{linked}");
        fs::remove_file(path.join(DOCUMENT)).unwrap();
        symlink("/etc/hostname", path.join(DOCUMENT)).unwrap();
        assert!(PagesFolder::open(&path).is_err());
    }
}
