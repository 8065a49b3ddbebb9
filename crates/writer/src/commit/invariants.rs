//! What must hold of a snapshot before it is committed, and why. Checked in release builds, before the lake is touched.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::layout;
use crate::table::latest::Latest;
use crate::table::manifest::Manifest;

/// Checks the snapshot as it is to be.
pub(crate) fn check(manifest: &Manifest) -> Result<()> {
    files_have_rows(manifest)?;
    paths_are_those_of_the_layout(manifest)?;
    paths_are_distinct(manifest)?;
    records_are_written_or_quarantined(manifest)?;
    file_rows_are_blob_rows(manifest)
}

/// A commit moves the table that its snapshot is of: paths and the log are the dataset's.
pub(crate) fn is_of_the_table(manifest: &Manifest, dataset: &str) -> Result<()> {
    match manifest.dataset == dataset {
        true => Ok(()),
        false => broken(
            manifest,
            "a snapshot is of the table's dataset",
            format!("it is of `{}`, the table of `{dataset}`", manifest.dataset),
        ),
    }
}

/// Checks it against the published snapshot that it adds rows to.
///
/// An append moves records from quarantine to rows. One that names other blobs, or fewer rows of one, would lose some.
pub(crate) fn check_append(published: &Manifest, manifest: &Manifest) -> Result<()> {
    let mut blobs = published.blobs.iter().zip(&manifest.blobs);
    let only_adds = published.blobs.len() == manifest.blobs.len()
        && blobs.all(|(before, after)| {
            before.path == after.path
                && before.records == after.records
                && before.rows <= after.rows
        });
    match only_adds {
        true => check(manifest),
        false => broken(
            manifest,
            "an append only adds rows",
            "the counts of the blobs differ from those published".to_owned(),
        ),
    }
}

/// An empty file has no statistics, and no reader gains by it.
fn files_have_rows(manifest: &Manifest) -> Result<()> {
    let mut files = manifest.files.iter();
    match files.find(|file| file.rows == 0 || file.bytes == 0) {
        Some(file) => broken(
            manifest,
            "files have rows",
            format!("`{}` has none", file.path),
        ),
        None => Ok(()),
    }
}

/// Recovery and vacuum know by a file's path which snapshot it is of, and delete by it.
fn paths_are_those_of_the_layout(manifest: &Manifest) -> Result<()> {
    let date = manifest.identity().generated_date();
    let mut files = manifest.files.iter();
    let (dataset, snapshot) = (&manifest.dataset, &manifest.snapshot);
    let foreign = files.find(|file| {
        file.partition.generated_date != date
            || !layout::is_part(dataset, &file.partition, snapshot, &file.path)
    });
    match foreign {
        Some(file) => broken(
            manifest,
            "paths are those of the layout",
            format!("`{}` is no file of {}", file.path, file.partition),
        ),
        None => Ok(()),
    }
}

/// Of two files with one path, one overwrites the other.
fn paths_are_distinct(manifest: &Manifest) -> Result<()> {
    let mut paths = HashSet::new();
    match manifest.files.iter().find(|file| !paths.insert(&file.path)) {
        Some(file) => broken(
            manifest,
            "paths are distinct",
            format!("`{}` comes twice", file.path),
        ),
        None => Ok(()),
    }
}

/// A record that is neither is lost without a trace.
fn records_are_written_or_quarantined(manifest: &Manifest) -> Result<()> {
    let mut blobs = manifest.blobs.iter();
    match blobs.find(|blob| Some(blob.records) != blob.rows.checked_add(blob.quarantined)) {
        Some(blob) => broken(
            manifest,
            "records are written or quarantined",
            format!(
                "blob `{}`: {} records, {} rows, {} quarantined",
                blob.path, blob.records, blob.rows, blob.quarantined
            ),
        ),
        None => Ok(()),
    }
}

/// A file that is missing from the list, or listed and not of these blobs, shows here.
fn file_rows_are_blob_rows(manifest: &Manifest) -> Result<()> {
    let blobs: u64 = manifest.blobs.iter().map(|blob| blob.rows).sum();
    match manifest.rows == blobs {
        true => Ok(()),
        false => broken(
            manifest,
            "file rows are blob rows",
            format!("{} rows in files, {blobs} from blobs", manifest.rows),
        ),
    }
}

/// Two organisations may share the eight digits that stand in an id; their files would share names.
pub(crate) fn id_belongs_to_this_organisation(manifest: &Manifest, latest: &Latest) -> Result<()> {
    let (id, org_id) = (&manifest.snapshot, &manifest.org_id);
    let mut current = latest.snapshots.iter();
    match current.find(|current| current.snapshot == *id && current.org_id != *org_id) {
        Some(other) => broken(
            manifest,
            "a snapshot id is of one organisation",
            format!("it is also that of {}", other.org_id),
        ),
        None => Ok(()),
    }
}

fn broken(manifest: &Manifest, invariant: &'static str, message: String) -> Result<()> {
    Err(Error::Invariant {
        snapshot: manifest.snapshot.to_string(),
        invariant,
        message,
    })
}
