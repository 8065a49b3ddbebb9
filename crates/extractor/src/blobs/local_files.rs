//! Blobs that are already on disk: found by a pattern or stored as pages, read where they are. Does not open them.

use std::fs;
use std::path::{Component, Path, PathBuf};

use dataset::BlobPath;
use glob::MatchOptions;

use crate::api::pages::FetchedPages;
use crate::error::ExtractorError;

/// A blob on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalBlob {
    /// The file.
    pub file: PathBuf,
    /// Its blob path: the file's path from the date on, or all of it where it has no date.
    pub path: BlobPath,
    /// Bytes.
    pub size: u64,
}

impl LocalBlob {
    /// The stored pages that have rows, as blobs for [`BlobSource::files`](crate::BlobSource::files).
    pub fn of_pages(fetched: &FetchedPages) -> Vec<Self> {
        let with_rows = fetched.pages.iter().filter(|page| page.rows > 0);
        let blobs = with_rows.map(|page| Self {
            file: page.file.clone(),
            path: page.path.clone(),
            size: page.size,
        });
        blobs.collect()
    }
}

/// The files that match a pattern (`*`, `?`, `**`, `[…]`; names that begin with a dot are passed over), sorted by
/// blob path. An error if none matches, or if two files have one blob path: their rows would be doubled.
pub fn discover(pattern: &str) -> Result<Vec<LocalBlob>, ExtractorError> {
    let options = MatchOptions {
        require_literal_leading_dot: true,
        ..MatchOptions::new()
    };
    let found =
        glob::glob_with(pattern, options).map_err(|error| ExtractorError::InvalidSetting {
            setting: "files",
            reason: format!("`{pattern}` is no pattern: {error}"),
        })?;
    let mut blobs = Vec::new();
    for entry in found {
        let file = entry.map_err(|error| unusable(error.path(), &error.error().to_string()))?;
        let metadata = fs::metadata(&file).map_err(|error| unusable(&file, &error.to_string()))?;
        if metadata.is_file() {
            let path = blob_path(&file)?;
            blobs.push(LocalBlob {
                file,
                path,
                size: metadata.len(),
            });
        }
    }
    if blobs.is_empty() {
        return Err(ExtractorError::NoFilesMatch {
            pattern: pattern.to_owned(),
        });
    }
    blobs.sort_by(|a, b| a.path.as_str().cmp(b.path.as_str()));
    for pair in blobs.windows(2) {
        if pair[0].path == pair[1].path {
            let reason = format!(
                "is the same blob as {}: {}",
                pair[0].file.display(),
                pair[0].path
            );
            return Err(unusable(&pair[1].file, &reason));
        }
    }
    Ok(blobs)
}

/// Only the names of folders and file count: `..`, `.` and drive letters are no part of a blob path.
fn blob_path(file: &Path) -> Result<BlobPath, ExtractorError> {
    let names = file.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_str()),
        _ => None,
    });
    let names: Option<Vec<&str>> = names.collect();
    let names = names.ok_or_else(|| unusable(file, "the path is not UTF-8"))?;
    BlobPath::parse(&names.join("/")).map_err(|error| unusable(file, &error.to_string()))
}

fn unusable(file: &Path, reason: &str) -> ExtractorError {
    ExtractorError::LocalFile {
        file: file.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, b"12345").unwrap();
        }
        folder
    }

    fn found(folder: &tempfile::TempDir, pattern: &str) -> Result<Vec<LocalBlob>, ExtractorError> {
        discover(folder.path().join(pattern).to_str().unwrap())
    }

    #[test]
    fn files_are_sorted_by_blob_path() {
        let folder = folder(&[
            "a/2026-05-03/1001/X/json/_RbacGroupId=7/part-00002-u.c000.json.gz",
            "b/2026-05-03/1001/X/json/_RbacGroupId=7/part-00001-u.c000.json.gz",
            "b/2026-05-03/1001/X/json/_RbacGroupId=7/.part-00003-u.c000.json.gz",
            "b/readme.txt",
        ]);
        let blobs = found(&folder, "**/*.json.gz").unwrap();
        assert_eq!(blobs.len(), 2);
        assert_eq!(
            blobs[0].path.as_str(),
            "2026-05-03/1001/X/json/_RbacGroupId=7/part-00001-u.c000.json.gz"
        );
        assert_eq!((blobs[0].size, blobs[0].path.rbac_group_id()), (5, Some(7)));
    }

    #[test]
    fn nothing_found_is_an_error_that_names_the_pattern() {
        let folder = folder(&["a.json.gz"]);
        let error = found(&folder, "*.parquet").unwrap_err();
        assert!(matches!(error, ExtractorError::NoFilesMatch { .. }));
        assert!(error.to_string().contains("*.parquet"));
        assert!(matches!(
            discover("a***"),
            Err(ExtractorError::InvalidSetting { .. })
        ));
    }

    #[test]
    fn one_blob_in_two_files_is_refused() {
        let folder = folder(&["a/2026-05-03/1001/x.json.gz", "b/2026-05-03/1001/x.json.gz"]);
        let error = found(&folder, "**/*.gz").unwrap_err().to_string();
        assert!(
            error.contains("/a/2026") && error.contains("/b/2026"),
            "{error}"
        );
    }
}
