//! The one write that decides a commit, and what to do when it is refused.
//!
//! With a Delta log the write is a log entry, put where there is none; without one it is the swap of the pointer. A refusal mostly
//! means that another commit came first: the table is read again, and unless it already has the request, or no longer takes it,
//! the write is tried again, within bounds.

use dataset::{Dataset, SnapshotId};
use serde_json::{Map, Value, json};

use crate::delta::log::LogEntry;
use crate::error::{Error, Result};
use crate::parquet::data_file::DataFile;
use crate::store::contention::Contention;
use crate::store::failpoint;
use crate::store::remote::ConditionalPut;
use crate::table::current_snapshot::CurrentSnapshot;
use crate::table::intent::Intent;
use crate::table::manifest::Manifest;
use crate::table::settings::TableFormat;
use crate::table::state::{Table, TableState};

/// What is to be decided: a snapshot to publish, files to append to one, or one to go back to.
pub(crate) trait Request {
    /// Why a table does not take it.
    type Refusal;

    /// The snapshot as it is to be.
    fn manifest(&self) -> &Manifest;

    /// Why the table does not take it as it is now, if it does not.
    fn refused(&self, state: &TableState) -> Option<Self::Refusal>;

    /// Whether the table has it now. Asked after a refused write: the store may have taken it and its answer was lost. `before` is
    /// the log's version that the write was made for.
    async fn is_recorded(
        &self,
        table: &Table<'_>,
        state: &TableState,
        before: Option<u64>,
    ) -> Result<bool>;

    /// What the pointer is to say of the snapshot, in the place of `replaced`.
    fn current(&self, replaced: Option<&CurrentSnapshot>) -> CurrentSnapshot;

    /// Whose columns the files have. `None`: columns that the table has already, so that no log begins with this request.
    fn columns(&self) -> Option<&Dataset>;

    /// What the log's entry says.
    async fn entry(
        &self,
        table: &Table<'_>,
        state: &TableState,
        replaced: Option<&CurrentSnapshot>,
    ) -> Result<Entry<'_>>;
}

/// What an entry of the log says of a request.
pub(crate) struct Entry<'a> {
    /// Files that become part of the table.
    pub(crate) add: Vec<&'a DataFile>,
    /// Whose files end to be.
    pub(crate) remove: Option<SnapshotId>,
    /// How far the organisation's data goes.
    pub(crate) transaction: Option<(String, i64)>,
    /// What the entry is called.
    pub(crate) operation: &'static str,
    /// What else is to be known of it.
    pub(crate) info: Map<String, Value>,
}

/// How it was decided.
pub(crate) enum Decided<R> {
    /// The table has it. The state is the one that the write was made for: the pointer may be older than the log. Beside it the
    /// snapshot that was current in its place.
    Recorded(TableState, Option<CurrentSnapshot>),
    /// The table does not take it, as it is now.
    Refused(TableState, R),
    /// Another run took this one for dead and rolls its commit back: its files must not become part of the table.
    Withdrawn,
    /// The store refused again and again.
    Contended(TableState, Contention),
}

/// Makes the write. `intent` is what the commit has written down, if it has.
///
/// # Errors
/// [`Error::Undecided`] if no answer came to the write; what reading the table gives.
pub(crate) async fn decide<R: Request>(
    table: &Table<'_>,
    request: &R,
    intent: Option<&Intent>,
    mut state: TableState,
) -> Result<Decided<R::Refusal>> {
    let manifest = request.manifest();
    if intent.is_some() && !is_decided_by_log(table, request, &state) {
        // The pointer names it.
        manifest.write(table.lake).await?;
        failpoint::reached("manifest");
    }
    let mut contention = Contention::new();
    loop {
        if let Some(refusal) = request.refused(&state) {
            return Ok(Decided::Refused(state, refusal));
        }
        if let Some(intent) = intent
            && !intent.is_there(table.lake).await?
        {
            return Ok(Decided::Withdrawn);
        }
        let date = manifest.identity().generated_date();
        let replaced = state.latest.current(&manifest.org_id, date).cloned();
        let written = write(table, request, &mut state, replaced.as_ref()).await;
        let why = match written.map_err(|error| undecided(manifest, error))? {
            ConditionalPut::Done => {
                failpoint::reached("log-entry");
                return Ok(Decided::Recorded(state, replaced));
            }
            ConditionalPut::Refused(why) => why,
        };
        let goes_on = contention.refused(why).await;
        let before = state.log.version;
        state = table.read().await?;
        if request.is_recorded(table, &state, before).await? {
            return Ok(Decided::Recorded(state, replaced));
        }
        if !goes_on {
            return Ok(match request.refused(&state) {
                Some(refusal) => Decided::Refused(state, refusal),
                None => Decided::Contended(state, contention),
            });
        }
    }
}

async fn write(
    table: &Table<'_>,
    request: &impl Request,
    state: &mut TableState,
    replaced: Option<&CurrentSnapshot>,
) -> Result<ConditionalPut> {
    if !is_decided_by_log(table, request, state) {
        let current = request.current(replaced);
        state.latest.put(current, table.retirement());
        let swapped = state.swap(table).await?;
        state.is_behind = swapped != ConditionalPut::Done;
        return Ok(swapped);
    }
    let entry = request.entry(table, state, replaced).await?;
    let mut earlier = Vec::new();
    if state.log.version.is_none() {
        // The log's first entry takes over what a table without a log held.
        let is_kept = |current: &&CurrentSnapshot| Some(&current.snapshot) != entry.remove.as_ref();
        for current in state.latest.snapshots.iter().filter(is_kept) {
            earlier.extend(Manifest::read_at(table.lake, &current.manifest).await?);
        }
    }
    let mut removed = Vec::new();
    if let Some(replaced) = replaced.filter(|_| entry.remove.is_some() && !state.log.has_files()) {
        let Some(files) = files_of(table, replaced).await? else {
            // The table is read again, with the files that its log has.
            let why = format!("the files of snapshot {} are not known", replaced.snapshot);
            return Ok(ConditionalPut::Refused(why));
        };
        removed = files;
    }
    let earlier_files = earlier.iter().flat_map(|manifest| &manifest.files);
    let entry = LogEntry {
        columns: request.columns(),
        retire_after: table.settings.retire_after,
        of: Some(request.manifest().snapshot.clone()),
        add: earlier_files.chain(entry.add).collect(),
        remove: entry.remove.into_iter().collect(),
        removed,
        transaction: entry.transaction,
        operation: entry.operation,
        info: entry.info,
        committed_at: table.now,
    };
    table.log.commit(&mut state.log, entry).await
}

/// The files of a current snapshot, if its manifest has those that the log has.
async fn files_of(table: &Table<'_>, current: &CurrentSnapshot) -> Result<Option<Vec<DataFile>>> {
    let manifest = Manifest::read_at(table.lake, &current.manifest).await?;
    let files = manifest.map(|manifest| manifest.files);
    Ok(files.filter(|files| files.len() as u64 == current.files))
}

fn is_decided_by_log(table: &Table<'_>, request: &impl Request, state: &TableState) -> bool {
    let has_log = state.log.version.is_some() || request.columns().is_some();
    table.settings.format == TableFormat::Delta && has_log
}

/// An error of the write that decides. Where no answer came, the store may have taken it.
fn undecided(manifest: &Manifest, error: Error) -> Error {
    match error {
        Error::Store { .. } | Error::Disk { .. } | Error::Stopped { .. } => Error::Undecided {
            snapshot: manifest.snapshot.to_string(),
            source: Box::new(error),
        },
        error => error,
    }
}

/// What a log entry tells of the snapshot.
pub(crate) fn info(manifest: &Manifest) -> Map<String, Value> {
    let info = json!({
        "runId": manifest.run_id,
        "snapshot": manifest.snapshot,
        "orgId": manifest.org_id,
        "generatedTime": manifest.generated_time,
        "recordsRead": manifest.records_read,
        "recordsQuarantined": manifest.records_quarantined,
        "operationMetrics": {
            "numFiles": manifest.files.len().to_string(),
            "numOutputRows": manifest.rows.to_string(),
            "numOutputBytes": manifest.bytes.to_string(),
        },
    });
    match info {
        Value::Object(info) => info,
        _ => Map::new(),
    }
}
