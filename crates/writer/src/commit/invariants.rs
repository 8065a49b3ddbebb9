//! What must hold of a snapshot before it is committed. Checked in release builds, before the lake is touched.

use crate::commit::request::CommitRequest;
use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::layout;
use crate::table::latest::Latest;

/// Runs every check that needs nothing but the request.
pub(crate) fn check(request: &CommitRequest) -> Result<()> {
    files_have_rows(request)?;
    paths_are_those_of_the_layout(request)?;
    paths_are_distinct(request)?;
    records_are_written_or_quarantined(request)?;
    file_rows_are_blob_rows(request)
}

fn files_have_rows(request: &CommitRequest) -> Result<()> {
    match request
        .files
        .iter()
        .find(|file| file.rows == 0 || file.bytes == 0)
    {
        Some(file) => broken(
            request,
            "files have rows",
            format!("`{}` has none", file.path),
        ),
        None => Ok(()),
    }
}

fn paths_are_those_of_the_layout(request: &CommitRequest) -> Result<()> {
    let invariant = "paths are those of the layout";
    let (id, date) = (request.snapshot.id(), request.snapshot.generated_date());
    for file in &request.files {
        if file.partition.generated_date != date {
            return broken(
                request,
                invariant,
                format!("`{}` is not of date {date}", file.path),
            );
        }
        let expected = layout::part(&request.snapshot.dataset, &file.partition, &id, file.number);
        if file.path != expected {
            return broken(
                request,
                invariant,
                format!("`{}` instead of `{expected}`", file.path),
            );
        }
    }
    Ok(())
}

fn paths_are_distinct(request: &CommitRequest) -> Result<()> {
    let mut paths = HashSet::new();
    match request.files.iter().find(|file| !paths.insert(&file.path)) {
        Some(file) => broken(
            request,
            "paths are distinct",
            format!("`{}` comes twice", file.path),
        ),
        None => Ok(()),
    }
}

fn records_are_written_or_quarantined(request: &CommitRequest) -> Result<()> {
    match request
        .blobs
        .iter()
        .find(|blob| Some(blob.records) != blob.rows.checked_add(blob.quarantined))
    {
        Some(blob) => broken(
            request,
            "records are written or quarantined",
            format!(
                "blob `{}`: {} records, {} rows, {} quarantined",
                blob.path, blob.records, blob.rows, blob.quarantined
            ),
        ),
        None => Ok(()),
    }
}

fn file_rows_are_blob_rows(request: &CommitRequest) -> Result<()> {
    let files: u64 = request.files.iter().map(|file| file.rows).sum();
    let blobs: u64 = request.blobs.iter().map(|blob| blob.rows).sum();
    if files == blobs {
        Ok(())
    } else {
        broken(
            request,
            "file rows are blob rows",
            format!("{files} rows in files, {blobs} from blobs"),
        )
    }
}

/// Two organisations may share the eight digits that stand in an id; their files would share names.
pub(crate) fn id_belongs_to_this_organisation(
    request: &CommitRequest,
    latest: &Latest,
) -> Result<()> {
    let (id, org_id) = (request.snapshot.id(), &request.snapshot.org_id);
    match latest
        .snapshots
        .iter()
        .find(|current| current.snapshot == id && current.org_id != *org_id)
    {
        Some(other) => broken(
            request,
            "a snapshot id is of one organisation",
            format!("it is also that of {}", other.org_id),
        ),
        None => Ok(()),
    }
}

fn broken(request: &CommitRequest, invariant: &'static str, message: String) -> Result<()> {
    Err(Error::Invariant {
        snapshot: request.snapshot.id().to_string(),
        invariant,
        message,
    })
}
