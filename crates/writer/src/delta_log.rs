//! A table's Delta log: what it says now, and one more entry. The only place that knows delta-rs.
//!
//! Protocol reader 1, writer 2; no DataFusion, and the lake's own store, with its options and retries. Decides
//! nothing: which snapshot takes whose place is [`crate::commit`]'s work, and a lost race is an outcome.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use dataset::{Dataset, SnapshotId};
use deltalake_core::errors::DeltaTableError;
use deltalake_core::kernel::transaction::{CommitBuilder, TableReference, TransactionError};
use deltalake_core::kernel::{
    Action, Add, CommitInfo, EagerSnapshot, LogicalFileView, Metadata, Protocol, Transaction,
};
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, checkpoints};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use serde_json::{Map, Value, json};
use url::Url;

use crate::error::{Error, Result};
use crate::layout;
use crate::local_disk::LocalDisk;
use crate::log_objects::{Creation, LogObjects};
use crate::manifest::ManifestFile;
use crate::statistics::Bounds;
use crate::store::{Lake, Store, blocking};
use crate::table_schema;

/// A checkpoint is written with every entry that makes this many.
const CHECKPOINT_INTERVAL: u64 = 10;
/// Where the table lies as Delta's kernel sees it: at the root of a store of its own.
const TABLE_URL: &str = "lake://table/";

/// The log of one table.
#[derive(Debug)]
pub(crate) struct DeltaLog {
    lake: Lake,
    dataset: String,
    single_writer: bool,
}

/// What the log says at one version.
#[derive(Debug, Default)]
pub(crate) struct LogState {
    /// `None`: there is no log yet.
    pub(crate) version: Option<u64>,
    files: Vec<LoggedFile>,
    snapshot: Option<EagerSnapshot>,
    store: Option<LogStoreRef>,
}

/// A file that is part of the table.
struct LoggedFile {
    path: String,
    snapshot: SnapshotId,
    view: LogicalFileView,
}

impl std::fmt::Debug for LoggedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path)
    }
}

/// What an entry changes.
#[derive(Debug)]
pub(crate) struct LogEntry<'a> {
    /// Whose columns the added files have. `None`: columns that the table has already.
    pub(crate) columns: Option<&'a Dataset>,
    /// Files to add.
    pub(crate) add: Vec<&'a ManifestFile>,
    /// Snapshots whose files to remove.
    pub(crate) remove: Vec<SnapshotId>,
    /// The transaction: who, and how far.
    pub(crate) transaction: Option<(String, i64)>,
    /// What the entry is called.
    pub(crate) operation: &'static str,
    /// What else is to be known of it.
    pub(crate) info: Map<String, Value>,
    /// The time now.
    pub(crate) committed_at: DateTime<Utc>,
}

impl LogState {
    /// Snapshots with files in the table.
    pub(crate) fn snapshots(&self) -> BTreeSet<&SnapshotId> {
        self.files.iter().map(|file| &file.snapshot).collect()
    }

    /// Paths of a snapshot's files in the table, from the lake's root.
    pub(crate) fn paths_of(&self, snapshot: &SnapshotId) -> BTreeSet<&str> {
        let of_it = self.files.iter().filter(|file| file.snapshot == *snapshot);
        of_it.map(|file| file.path.as_str()).collect()
    }

    /// Paths of all files of the table, from the lake's root.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.path.as_str())
    }

    /// The last version that was committed under an application id.
    pub(crate) async fn transaction(&self, dataset: &str, app_id: &str) -> Result<Option<i64>> {
        match (&self.snapshot, &self.store) {
            (Some(snapshot), Some(store)) => snapshot
                .transaction_version(store, app_id)
                .await
                .map_err(|error| failed(dataset, "read", &error)),
            _ => Ok(None),
        }
    }
}

impl DeltaLog {
    pub(crate) fn new(lake: &Lake, dataset: &str, single_writer: bool) -> Self {
        Self {
            lake: lake.clone(),
            dataset: dataset.to_owned(),
            single_writer,
        }
    }

    /// Whether the table has a log.
    pub(crate) async fn exists(&self) -> Result<bool> {
        Ok(self.last_version().await?.is_some())
    }

    /// Version of the last entry. `None`: there is no log.
    async fn last_version(&self) -> Result<Option<u64>> {
        let folder = layout::delta_log(&self.dataset);
        let entries = self.lake.list(&folder).await?;
        let version = |name: &str| {
            let number = name.split('.').next().unwrap_or_default();
            let is_entry = name.ends_with(".json") || name.ends_with(".parquet");
            let is_number = number.len() == 20 && number.bytes().all(|byte| byte.is_ascii_digit());
            (is_entry && is_number).then(|| number.parse().ok())?
        };
        let names = entries
            .iter()
            .filter_map(|entry| entry.path.rsplit('/').next());
        Ok(names.filter_map(version).max())
    }

    /// What the log says now. `known` is what it said before: it is not read again while there is no later entry, since
    /// entries stay as they are.
    pub(crate) async fn read(&self, known: LogState) -> Result<LogState> {
        match self.last_version().await? {
            None => return Ok(LogState::default()),
            last if last == known.version => return Ok(known),
            _ => {}
        }
        let store = self.store().await?;
        let read = |error: DeltaTableError| failed(&self.dataset, "read", &error);
        let snapshot = EagerSnapshot::try_new(store.as_ref(), None)
            .await
            .map_err(read)?;
        let files = snapshot
            .try_log_data()
            .map_err(read)?
            .iter()
            .map(|view| self.logged(view))
            .collect::<Result<Vec<_>>>()?;
        Ok(LogState {
            version: Some(snapshot.version()),
            files,
            snapshot: Some(snapshot),
            store: Some(store),
        })
    }

    fn logged(&self, view: LogicalFileView) -> Result<LoggedFile> {
        let path = format!("{}/{}", layout::table(&self.dataset), view.path());
        match layout::snapshot_of_part(&path) {
            Some(snapshot) => Ok(LoggedFile {
                path,
                snapshot,
                view,
            }),
            None => Err(Error::DeltaLog {
                dataset: self.dataset.clone(),
                message: format!(
                    "the table has `{path}`, which another program wrote: what replaces it cannot be told"
                ),
            }),
        }
    }

    /// Writes an entry on top of `state`. `None`: another entry came first.
    pub(crate) async fn commit(
        &self,
        state: &LogState,
        entry: LogEntry<'_>,
    ) -> Result<Option<u64>> {
        let write = |error: DeltaTableError| failed(&self.dataset, "write", &error);
        let actions = self.actions(state, entry)?;
        let store = self.store().await?;
        let table = state.snapshot.as_ref();
        let operation = DeltaOperation::Write {
            mode: SaveMode::Overwrite,
            partition_by: None,
            predicate: None,
        };
        let prepared = CommitBuilder::default()
            .with_actions(actions)
            // Each lost race is decided anew.
            .with_max_retries(0)
            .build(
                table.map(|table| table as &dyn TableReference),
                store,
                operation,
            )
            .into_prepared_commit_future()
            .await
            .map_err(write)?;
        // What comes after the entry is there is not awaited: its failure would not mean that nothing was written.
        match prepared.await {
            Ok(committed) => Ok(Some(committed.version)),
            Err(
                DeltaTableError::VersionAlreadyExists(_)
                | DeltaTableError::Transaction {
                    source:
                        TransactionError::MaxCommitAttempts(_)
                        | TransactionError::VersionAlreadyExists(_),
                },
            ) => Ok(None),
            Err(error) => Err(write(error)),
        }
    }

    /// Whether files with the dataset's columns can become part of the table.
    ///
    /// # Errors
    /// [`Error::ColumnType`].
    pub(crate) fn check_columns(&self, state: &LogState, dataset: &Dataset) -> Result<()> {
        self.declaration(state, dataset, DateTime::UNIX_EPOCH)
            .map(drop)
    }

    /// The run that wrote one of the entries after `version`, if it is `run_id`.
    pub(crate) async fn was_written_by(
        &self,
        run_id: &str,
        after: Option<u64>,
    ) -> Result<Option<u64>> {
        let store = self.store().await?;
        let mut version = after.map_or(0, |version| version + 1);
        loop {
            let entry = store.read_commit_entry(version).await;
            let Some(entry) = entry.map_err(|error| failed(&self.dataset, "read", &error))? else {
                return Ok(None);
            };
            let written_by_this = commit_infos(&entry).any(|info| info["runId"] == run_id);
            if written_by_this {
                return Ok(Some(version));
            }
            version += 1;
        }
    }

    /// Version of the last entry, up to `last`, that made a snapshot part of the table. `None`: it is no longer there.
    pub(crate) async fn entry_of(&self, snapshot: &SnapshotId, last: u64) -> Result<Option<u64>> {
        let store = self.store().await?;
        for version in (0..=last).rev() {
            let entry = store.read_commit_entry(version).await;
            let Some(entry) = entry.map_err(|error| failed(&self.dataset, "read", &error))? else {
                return Ok(None);
            };
            if commit_infos(&entry).any(|info| info["snapshot"] == snapshot.as_str()) {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    /// Writes a checkpoint if `version` is due for one, and then deletes log entries that the checkpoint covers and
    /// that are past the table's log retention, 30 days. Readers do without either: a failure is a warning.
    pub(crate) async fn maintain(&self, version: u64) {
        if !(version + 1).is_multiple_of(CHECKPOINT_INTERVAL) {
            return;
        }
        if let Err(error) = self.checkpoint().await {
            tracing::warn!(%error, version, "no checkpoint of the table's log was written");
        }
    }

    async fn checkpoint(&self) -> Result<()> {
        let failed = |error: DeltaTableError| failed(&self.dataset, "checkpoint", &error);
        let mut table = DeltaTable::new(self.store().await?);
        table.load().await.map_err(failed)?;
        checkpoints::create_checkpoint(&table, None)
            .await
            .map_err(failed)?;
        checkpoints::cleanup_metadata(&table, None)
            .await
            .map_err(failed)?;
        Ok(())
    }

    fn actions(&self, state: &LogState, entry: LogEntry<'_>) -> Result<Vec<Action>> {
        let mut actions = vec![commit_info(state, &entry)];
        if let Some(columns) = entry.columns {
            actions.extend(self.declaration(state, columns, entry.committed_at)?);
        }
        if let Some((app_id, version)) = entry.transaction {
            let updated = Some(entry.committed_at.timestamp_millis());
            actions.push(Action::Txn(Transaction::new_with_last_update(
                app_id, version, updated,
            )));
        }
        let removed = state
            .files
            .iter()
            .filter(|file| entry.remove.contains(&file.snapshot));
        actions.extend(removed.map(|file| {
            let mut remove = file.view.remove_action(true);
            remove.deletion_timestamp = Some(entry.committed_at.timestamp_millis());
            Action::Remove(remove)
        }));
        for file in entry.add {
            actions.push(Action::Add(self.add(file, entry.committed_at)?));
        }
        Ok(actions)
    }

    /// Protocol and columns of a new table, or the columns of one that gets more.
    fn declaration(
        &self,
        state: &LogState,
        columns: &Dataset,
        now: DateTime<Utc>,
    ) -> Result<Vec<Action>> {
        let malformed = |error: serde_json::Error| Error::DeltaLog {
            dataset: self.dataset.clone(),
            message: error.to_string(),
        };
        let wanted = table_schema::fields(columns)?;
        let schema = |fields: Vec<Value>| json!({"type": "struct", "fields": fields}).to_string();
        let Some(snapshot) = &state.snapshot else {
            let protocol = json!({"minReaderVersion": 1, "minWriterVersion": 2});
            let protocol: Protocol = serde_json::from_value(protocol).map_err(malformed)?;
            let metadata = json!({
                "id": uuid::Uuid::new_v4().to_string(),
                "name": columns.name,
                "description": columns.meaning,
                "format": {"provider": "parquet", "options": {}},
                "schemaString": schema(wanted),
                "partitionColumns": table_schema::partition_columns(columns),
                "configuration": {"delta.checkpointInterval": CHECKPOINT_INTERVAL.to_string()},
                "createdTime": now.timestamp_millis(),
            });
            let metadata: Metadata = serde_json::from_value(metadata).map_err(malformed)?;
            return Ok(vec![Action::Protocol(protocol), Action::Metadata(metadata)]);
        };
        let mut metadata = serde_json::to_value(snapshot.metadata()).map_err(malformed)?;
        let declared = metadata["schemaString"].as_str().unwrap_or_default();
        let declared: Value = serde_json::from_str(declared).map_err(malformed)?;
        let current = declared["fields"].as_array().cloned().unwrap_or_default();
        let Some(fields) = table_schema::evolved(columns, &current, wanted)? else {
            return Ok(Vec::new());
        };
        metadata["schemaString"] = schema(fields).into();
        let metadata: Metadata = serde_json::from_value(metadata).map_err(malformed)?;
        Ok(vec![Action::Metadata(metadata)])
    }

    fn add(&self, file: &ManifestFile, now: DateTime<Utc>) -> Result<Add> {
        let table = format!("{}/", layout::table(&self.dataset));
        let path = file
            .path
            .strip_prefix(&table)
            .ok_or_else(|| Error::DeltaLog {
                dataset: self.dataset.clone(),
                message: format!("`{}` does not lie in the table's folder", file.path),
            })?;
        let partition = &file.partition;
        let partition_values = HashMap::from([
            (
                dataset::GENERATED_DATE.to_owned(),
                Some(partition.generated_date.to_string()),
            ),
            (
                layout::RBAC_GROUP_ID.to_owned(),
                Some(partition.rbac_group_id.to_string()),
            ),
        ]);
        Ok(Add {
            path: path.to_owned(),
            partition_values,
            size: i64::try_from(file.bytes).unwrap_or(i64::MAX),
            modification_time: now.timestamp_millis(),
            data_change: true,
            stats: Some(statistics(file).to_string()),
            ..Add::default()
        })
    }

    async fn store(&self) -> Result<LogStoreRef> {
        let table = layout::table(&self.dataset);
        let (folder, creation): (Arc<dyn ObjectStore>, Creation) = match &self.lake.store {
            Store::Local(disk) => {
                blocking(disk, "create", &table, LocalDisk::create_folder).await?;
                let folder = LocalFileSystem::new_with_prefix(disk.file(&table))
                    .map_err(|error| Error::store("open", &table, &error))?;
                let temporary = layout::control(&self.dataset);
                (
                    Arc::new(folder),
                    Creation::Disk(disk.clone(), table, temporary),
                )
            }
            Store::Remote(remote) => {
                let creation = if self.single_writer {
                    Creation::SingleWriter
                } else {
                    Creation::Conditional
                };
                (remote.folder(&table), creation)
            }
        };
        let objects: Arc<dyn ObjectStore> = Arc::new(LogObjects { folder, creation });
        let url = Url::parse(TABLE_URL).map_err(|error| Error::DeltaLog {
            dataset: self.dataset.clone(),
            message: error.to_string(),
        })?;
        Ok(default_logstore(
            objects.clone(),
            objects,
            &url,
            &StorageConfig::default(),
        ))
    }
}

/// What an entry of the log tells of itself.
fn commit_infos(entry: &[u8]) -> impl Iterator<Item = Value> {
    entry.split(|byte| *byte == b'\n').filter_map(|action| {
        let mut action: Value = serde_json::from_slice(action).ok()?;
        Some(action["commitInfo"].take())
    })
}

fn commit_info(state: &LogState, entry: &LogEntry<'_>) -> Action {
    let program = format!("defender-lake/{}", env!("CARGO_PKG_VERSION"));
    Action::CommitInfo(CommitInfo {
        timestamp: Some(entry.committed_at.timestamp_millis()),
        operation: Some(entry.operation.to_owned()),
        operation_parameters: Some(HashMap::from([("mode".to_owned(), json!("Overwrite"))])),
        read_version: state.version,
        is_blind_append: Some(false),
        engine_info: Some(program),
        info: entry.info.clone().into_iter().collect(),
        ..CommitInfo::default()
    })
}

/// A file's statistics in the form of the Delta protocol. Times are widened to milliseconds, which all readers know.
fn statistics(file: &ManifestFile) -> Value {
    let (mut least, mut most, mut nulls) = (Map::new(), Map::new(), Map::new());
    for column in &file.column_statistics {
        nulls.insert(column.column.clone(), column.nulls.into());
        let Some((min, max)) = column.bounds.as_ref().and_then(in_json) else {
            continue;
        };
        least.insert(column.column.clone(), min);
        most.insert(column.column.clone(), max);
    }
    json!({"numRecords": file.rows, "minValues": least, "maxValues": most, "nullCount": nulls})
}

fn in_json(bounds: &Bounds) -> Option<(Value, Value)> {
    let date = |days: i32| {
        let date = chrono::NaiveDate::from_epoch_days(days)?;
        Some(Value::from(date.to_string()))
    };
    let time = |milliseconds: i64| {
        let time = DateTime::from_timestamp_millis(milliseconds)?;
        Some(Value::from(
            time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        ))
    };
    Some(match bounds {
        Bounds::String { min, max } => (min.clone().into(), max.clone().into()),
        Bounds::Integer { min, max } => ((*min).into(), (*max).into()),
        Bounds::Date { min, max } => (date(*min)?, date(*max)?),
        Bounds::Timestamp { min, max } => {
            let up = i64::from(max.rem_euclid(1000) > 0);
            (
                time(min.div_euclid(1000))?,
                time(max.div_euclid(1000) + up)?,
            )
        }
    })
}

fn failed(dataset: &str, action: &'static str, error: &DeltaTableError) -> Error {
    let path = layout::delta_log(dataset);
    match error {
        DeltaTableError::ObjectStore { source }
        | DeltaTableError::Transaction {
            source: TransactionError::ObjectStore { source },
        } => Error::store(action, &path, source),
        other => Error::DeltaLog {
            dataset: dataset.to_owned(),
            message: crate::error::without_queries(&other.to_string()),
        },
    }
}
