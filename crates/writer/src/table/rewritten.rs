//! Files into which another program's maintenance rewrote rows, as `OPTIMIZE` and Z-ordering do: which snapshots they are of, and the
//! manifests that list them. Entries of the log that change rows are refused. Writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::AsArray;
use arrow::datatypes::DataType;
use dataset::{ORG_ID, OrgId, SnapshotId};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use crate::delta::log::{DeltaLog, ForeignFile, LogState, Rewritten};
use crate::error::{Error, Result};
use crate::parquet::data_file::DataFile;
use crate::store::lake::Lake;
use crate::table::current_snapshot::CurrentSnapshot;
use crate::table::latest::Latest;
use crate::table::manifest::Manifest;

/// Gives the files of other programs that a log has to the snapshots whose rows they hold, by partition.
///
/// # Errors
/// [`Error::ForeignWrite`] for a file whose entry changed rows, or that holds rows of several organisations; what the store answers.
pub(crate) async fn take_over(
    log: &DeltaLog,
    state: &mut LogState,
    lake: &Lake,
    pointer: &Latest,
) -> Result<()> {
    if state.foreign.is_empty() {
        return Ok(());
    }
    let mut owners = BTreeMap::new();
    for file in &state.foreign {
        let date = file.partition.generated_date;
        let of_date = pointer.snapshots.iter();
        let of_date: Vec<_> = of_date
            .filter(|current| current.generated_date == date)
            .collect();
        let owner = match of_date[..] {
            [] => None,
            [only] => Some(only.snapshot.clone()),
            _ => owner_among(lake, file, &of_date).await?,
        };
        owners.extend(owner.map(|owner| (file.path.clone(), owner)));
    }
    let since = pointer.log.as_ref().map(|log| log.version);
    log.take_over(state, since, &owners).await
}

/// The snapshot of the one organisation whose rows a file holds.
async fn owner_among(
    lake: &Lake,
    file: &ForeignFile,
    candidates: &[&CurrentSnapshot],
) -> Result<Option<SnapshotId>> {
    let found = organisations(lake, &file.path).await?;
    let mut of_org = candidates
        .iter()
        .filter(|current| found.len() == 1 && found.contains(&current.org_id));
    Ok(of_org.next().map(|current| current.snapshot.clone()))
}

/// The organisations whose rows a file holds. Reads one of its columns whole.
async fn organisations(lake: &Lake, path: &str) -> Result<BTreeSet<OrgId>> {
    let spooled = lake.spool(path).await?;
    let read = tokio::task::spawn_blocking(move || {
        let reader = ParquetRecordBatchReaderBuilder::try_new(spooled)?;
        let mask = ProjectionMask::columns(reader.parquet_schema(), [ORG_ID]);
        let mut found = BTreeSet::new();
        for batch in reader.with_projection(mask).build()? {
            let column = arrow::compute::cast(batch?.column(0), &DataType::Utf8)?;
            let texts = column.as_string::<i32>().iter().flatten();
            found.extend(texts.filter_map(|text| text.parse().ok()));
        }
        Ok::<_, ParquetError>(found)
    });
    let read = read.await.map_err(|error| Error::task(&error))?;
    read.map_err(|error| Error::parquet(path, &error))
}

/// The manifests of snapshots whose files were rewritten since the entry that the pointer follows.
///
/// # Errors
/// [`Error::Malformed`] if the files have other rows than the snapshot; what the store answers.
pub(crate) async fn manifests(
    lake: &Lake,
    pointer: &Latest,
    state: &LogState,
) -> Result<Vec<Manifest>> {
    if state.rewritten.is_empty() {
        return Ok(Vec::new());
    }
    let current: BTreeMap<&SnapshotId, &CurrentSnapshot> = pointer
        .snapshots
        .iter()
        .map(|current| (&current.snapshot, current))
        .collect();
    let in_log = state.paths_by_snapshot()?;
    let mut manifests = Vec::new();
    for (snapshot, rewritten) in &state.rewritten {
        if let (Some(current), Some(paths)) = (current.get(snapshot), in_log.get(snapshot)) {
            manifests.extend(manifest(lake, current, rewritten, paths).await?);
        }
    }
    Ok(manifests)
}

/// `None`: the pointer names it already.
async fn manifest(
    lake: &Lake,
    current: &CurrentSnapshot,
    rewritten: &Rewritten,
    paths: &BTreeSet<&str>,
) -> Result<Option<Manifest>> {
    let run_id = format!("rewritten-{}", rewritten.version);
    if current.run_id == run_id {
        return Ok(None);
    }
    let Some(before) = Manifest::read_at(lake, &current.manifest).await? else {
        return Ok(None);
    };
    let known = before.files.iter().chain(&rewritten.files);
    let known: BTreeMap<&str, &DataFile> = known.map(|file| (&*file.path, file)).collect();
    let files = paths
        .iter()
        .filter_map(|path| known.get(path).map(|file| (*file).clone()));
    let files: Vec<DataFile> = files.collect();
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    if rows != before.rows {
        return Err(Error::Malformed {
            path: current.manifest.clone(),
            message: format!(
                "the snapshot has {} rows, and entry {} of the log, which is to change none, left {rows}",
                before.rows, rewritten.version
            ),
        });
    }
    Ok(Some(Manifest {
        run_id,
        amendment: before.amendment + 1,
        bytes: files.iter().map(|file| file.bytes).sum(),
        files,
        ..before
    }))
}
