//! What a fetch gives: stored pages under the blob paths that an export's files would have. Opens none of them.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use dataset::BlobPath;

use crate::api::pages::error::PagesError;
use crate::api::pages::stored::{PagesDocument, PagesFolder};
use crate::error::ExtractorError;

/// All pages of one request, stored.
#[derive(Debug)]
pub struct FetchedPages {
    /// When the service generated the snapshot, as the next links say; `None` where they do not, or there is but one page.
    pub snapshot_time: Option<DateTime<Utc>>,
    /// When the first page was answered: its `Date`, else this machine's time.
    pub first_page_at: DateTime<Utc>,
    /// The pages, in the order of the service. Their rows may be doubled.
    pub pages: Vec<PageFile>,
    folder: PagesFolder,
}

/// One stored page: gzip, a row a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageFile {
    /// The blob path of a blob with these rows. The same when the fetch was interrupted and went on.
    pub path: BlobPath,
    /// Where it is.
    pub file: PathBuf,
    /// Rows, which may be none.
    pub rows: u64,
    /// Bytes of the file.
    pub size: u64,
}

impl FetchedPages {
    /// The pages of a document that says that all are stored.
    pub(super) fn new(
        document: &PagesDocument,
        folder: PagesFolder,
    ) -> Result<Self, ExtractorError> {
        let mut fetched = Self {
            snapshot_time: document.snapshot_time,
            first_page_at: document.service_date.unwrap_or(document.started_at),
            pages: Vec::new(),
            folder,
        };
        let time = fetched.generated_time().format("%Y-%m-%d/%H%M");
        let request = &document.request;
        let org = request.org_id.as_ref();
        let org = org.map_or_else(String::new, |org| format!("OrgId={org}/"));
        let (name, job) = (&request.export_name, &document.job);
        for (index, page) in document.pages.iter().enumerate() {
            let file = fetched.folder.page_file(index);
            let path = format!("{time}/{name}/json/{org}part-{index:05}-{job}.c000.json.gz");
            let path = BlobPath::parse(&path).map_err(|error| ExtractorError::LocalFile {
                file: file.clone(),
                reason: error.to_string(),
            })?;
            fetched.pages.push(PageFile {
                path,
                file,
                rows: page.rows,
                size: page.size,
            });
        }
        Ok(fetched)
    }

    /// The time of the snapshot that the pages are: the service's, else that of the first page.
    pub fn generated_time(&self) -> DateTime<Utc> {
        self.snapshot_time.unwrap_or(self.first_page_at)
    }

    /// Rows of all pages, doubles counted.
    pub fn rows(&self) -> u64 {
        self.pages.iter().map(|page| page.rows).sum()
    }

    /// Deletes the folder with all pages, once they are published. Until then another fetch gives the same ones, for an hour.
    /// Waits for the disk.
    ///
    /// # Errors
    /// [`PagesError::Folder`] if they cannot be deleted.
    pub fn delete(self) -> Result<(), PagesError> {
        self.folder.delete()
    }
}
