//! A table's Delta log: what it says now, and one more entry. With [`crate::delta::kernel`] the only place that knows its form.
//!
//! Protocol reader 1, writer 2; the lake's own store, with its options and retries. Decides
//! nothing: which snapshot takes whose place is [`crate::commit::publish`]'s work, and a lost race is an outcome.

use crate::delta::kernel;
use crate::delta::schema;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use dataset::{Dataset, GENERATED_DATE, Partition, SnapshotId};
use delta_kernel::actions::{Metadata, Protocol};
use delta_kernel::scan::state::ScanFile;
use delta_kernel::{DeltaResult, Engine};
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::delta::kernel::KernelLog;
use crate::error::{Error, Result};
use crate::layout;
use crate::parquet::data_file::DataFile;
use crate::parquet::statistics::Bounds;
use crate::store::backend::Store;
use crate::store::document_writer::DocumentWriter;
use crate::store::lake::Lake;
use crate::store::object::hexadecimal;
use crate::store::remote::ConditionalPut;

/// A checkpoint is written with every entry that makes this many, in a log of a few hundred.
const CHECKPOINT_INTERVAL: u64 = 10;
/// Of longer logs, once the entries since the last one are this part of all. A checkpoint holds the whole table: written every tenth
/// time, it would cost more than the runs themselves.
const CHECKPOINT_PART: u64 = 20;
/// And at the latest with so many, which readers read one by one.
const CHECKPOINT_INTERVAL_MAX: u64 = 50;
/// The table property that names the columns with statistics. Without it readers take the first 32 to have some: deltalake 1.6.6 then
/// finds no row where it filters by one that has none.
const STATISTICS_COLUMNS: &str = "delta.dataSkippingStatsColumns";
/// The table property that says how long other programs are to keep removed files: their VACUUM then leaves what `lake.retire_after` keeps.
const REMOVED_FILES_KEPT: &str = "delta.deletedFileRetentionDuration";
/// The least of it: their VACUUM would also delete files that a commit under way has completed and its entry does not list yet.
const LEAST_KEPT: Duration = Duration::from_secs(60 * 60);
/// How long entries that a checkpoint covers are kept, unless the table says otherwise.
const LOG_RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How entries of this program call their writer, before its version.
const ENGINE: &str = "defender-lake/";
/// Where the table is as Delta's kernel sees it: at the root of a store of its own.
const TABLE_URL: &str = "lake://table/";
/// Features that another program may have given the table, and that files and entries such as these keep.
const FEATURES: [&str; 5] = [
    "appendOnly",
    "timestampNtz",
    "v2Checkpoint",
    "variantType",
    "variantType-preview",
];

/// The log of one table.
#[derive(Debug)]
pub(crate) struct DeltaLog {
    lake: Lake,
    dataset: String,
    single_writer: bool,
}

/// What the log says at one version: what replacing files and the next entry need to know, and no statistics.
#[derive(Debug, Default)]
pub(crate) struct LogState {
    /// `None`: there is no log yet.
    pub(crate) version: Option<u64>,
    files: Files,
    table: Option<Declared>,
    /// What the table is known to declare, as [`declares_of`] has it.
    declares: Option<String>,
    /// Versions of transactions, as far as they are known.
    transactions: BTreeMap<String, i64>,
    /// Files of other programs, whose snapshots are not known yet.
    pub(crate) foreign: Vec<ForeignFile>,
    /// Files into which maintenance rewrote rows of snapshots, since the entry that the pointer follows.
    pub(crate) rewritten: BTreeMap<SnapshotId, Rewritten>,
    /// Where more can be read of what the log said.
    read: Option<KernelLog>,
}

/// A file of the table that another program wrote.
#[derive(Debug, Clone)]
pub(crate) struct ForeignFile {
    /// From the lake's root.
    pub(crate) path: String,
    pub(crate) partition: Partition,
    size: i64,
}

/// What maintenance made of the files of a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Rewritten {
    /// The last entry that did.
    pub(crate) version: u64,
    /// Files that it wrote. Their checksums are not known.
    pub(crate) files: Vec<DataFile>,
}

/// An entry of another program that added a file.
#[derive(Debug)]
struct ForeignAdd {
    version: u64,
    rows: Option<u64>,
    changes_data: bool,
    operation: String,
    engine: String,
    /// Whose files they are, if this program wrote the entry: a rollback adds what had been rewritten.
    of: Option<SnapshotId>,
}

/// The files of the table at one version of its log.
#[derive(Debug)]
enum Files {
    /// All of them.
    Read(Vec<LoggedFile>),
    /// They were not read, since the pointer tells all that is to be known of that version.
    Unread {
        /// The pointer's version.
        since: u64,
    },
}

impl Default for Files {
    fn default() -> Self {
        Self::Read(Vec::new())
    }
}

/// What the pointer tells of the log that it follows: enough to write the next entry without reading the log, which takes longer the
/// more days it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowedLog {
    /// The last entry that the pointer knows of.
    pub version: u64,
    /// Of what the table is known to declare; a checksum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declares: Option<String>,
    /// The last version of each application's transactions, as far as it is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub transactions: BTreeMap<String, i64>,
}

/// A file that is part of the table.
#[derive(Debug)]
struct LoggedFile {
    /// From the lake's root.
    path: String,
    snapshot: SnapshotId,
    partition: Partition,
    size: i64,
}

/// What the log declares of the table.
#[derive(Debug, Clone)]
struct Declared {
    protocol: Protocol,
    metadata: Metadata,
}

/// The files that reading a log finds.
#[derive(Debug)]
struct FoundFiles {
    /// The table's folder.
    table: String,
    files: Vec<LoggedFile>,
    /// Those that are none of ours.
    foreign: Vec<ForeignFile>,
    /// The path of one in a partition that is none of ours.
    misplaced: Option<String>,
}

/// What an entry changes.
#[derive(Debug)]
pub(crate) struct LogEntry<'a> {
    /// Whose columns the added files have. `None`: columns that the table has already.
    pub(crate) columns: Option<&'a Dataset>,
    /// How long the files of a replaced snapshot are kept.
    pub(crate) retire_after: Duration,
    /// The snapshot whose files it adds, if it does.
    pub(crate) of: Option<SnapshotId>,
    /// Files to add.
    pub(crate) add: Vec<&'a DataFile>,
    /// Snapshots whose files to remove.
    pub(crate) remove: Vec<SnapshotId>,
    /// Those files, where the log's were not read: their manifests'.
    pub(crate) removed: Vec<DataFile>,
    /// The transaction: who, and how far.
    pub(crate) transaction: Option<(String, i64)>,
    /// What the entry is called.
    pub(crate) operation: &'static str,
    /// What else is to be known of it.
    pub(crate) info: Map<String, Value>,
    /// The time now.
    pub(crate) committed_at: DateTime<Utc>,
}

/// What the entry that made a snapshot part of the table says of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct EntryOfSnapshot {
    /// Version of the entry.
    pub(crate) version: u64,
    /// The latest snapshot that a rollback displaced for it.
    pub(crate) rolled_back: Option<SnapshotId>,
    /// Until when the files of the snapshot that it replaced are kept.
    pub(crate) replaced_kept_until: Option<DateTime<Utc>>,
}

impl EntryOfSnapshot {
    const ROLLED_BACK: &str = "rolledBack";
    const REPLACED_KEPT_UNTIL: &str = "replacedKeptUntil";

    fn read(info: &Value, version: u64) -> Self {
        let text = |name: &str| info[name].as_str();
        Self {
            version,
            rolled_back: text(Self::ROLLED_BACK).and_then(|id| id.parse().ok()),
            replaced_kept_until: text(Self::REPLACED_KEPT_UNTIL).and_then(|at| at.parse().ok()),
        }
    }

    /// Adds it to what an entry says: a pointer that lags behind the log then loses nothing.
    pub(crate) fn write(
        info: &mut Map<String, Value>,
        rolled_back: Option<&SnapshotId>,
        replaced_kept_until: Option<DateTime<Utc>>,
    ) {
        if let Some(displaced) = rolled_back {
            info.insert(Self::ROLLED_BACK.to_owned(), json!(displaced));
        }
        if let Some(until) = replaced_kept_until {
            info.insert(Self::REPLACED_KEPT_UNTIL.to_owned(), json!(until));
        }
    }
}

impl FoundFiles {
    fn add(&mut self, file: ScanFile) {
        let ScanFile {
            path,
            size,
            partition_values,
            ..
        } = file;
        let path = format!("{}/{path}", self.table);
        let Some(partition) = partition_of(partition_values) else {
            self.misplaced = Some(path);
            return;
        };
        let snapshot = layout::snapshot_of_part(&path);
        let file = ForeignFile {
            path,
            partition,
            size,
        };
        match snapshot {
            Some(snapshot) => self.files.push(file.of(snapshot)),
            None => self.foreign.push(file),
        }
    }
}

impl ForeignFile {
    fn of(self, snapshot: SnapshotId) -> LoggedFile {
        LoggedFile {
            path: self.path,
            snapshot,
            partition: self.partition,
            size: self.size,
        }
    }
}

impl LogState {
    /// What the pointer is to tell of it.
    pub(crate) fn followed(&self) -> Option<FollowedLog> {
        Some(FollowedLog {
            version: self.version?,
            declares: self.declares.clone(),
            transactions: self.transactions.clone(),
        })
    }

    /// Whether its files were read, and [`LogState::files`] has them.
    pub(crate) fn has_files(&self) -> bool {
        matches!(self.files, Files::Read(_))
    }

    /// Whether the next entry can be written to the table with what is known of it.
    pub(crate) fn knows_enough(&self, columns: &Dataset, retire_after: Duration) -> Result<bool> {
        Ok(self.has_files() || self.declares == Some(declares_of(columns, retire_after)?))
    }

    /// The version of the pointer that stands for the files which were not read.
    pub(crate) fn trusts(&self) -> Option<u64> {
        match self.files {
            Files::Read(_) => None,
            Files::Unread { since } => Some(since),
        }
    }

    fn files(&self) -> Result<&[LoggedFile]> {
        match &self.files {
            Files::Read(files) => Ok(files),
            Files::Unread { .. } => Err(Error::Task {
                message: "the files of a table are asked for, and its log was not read".to_owned(),
            }),
        }
    }

    /// Paths of the table's files, from the lake's root, by their snapshot.
    pub(crate) fn paths_by_snapshot(&self) -> Result<BTreeMap<&SnapshotId, BTreeSet<&str>>> {
        let mut paths: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for file in self.files()? {
            paths
                .entry(&file.snapshot)
                .or_default()
                .insert(file.path.as_str());
        }
        Ok(paths)
    }

    /// Partitions of a snapshot's files in the table, by path from the lake's root.
    pub(crate) fn partitions_of(
        &self,
        snapshot: &SnapshotId,
    ) -> Result<BTreeMap<&str, &Partition>> {
        let of_it = self.files()?.iter();
        let of_it = of_it.filter(|file| file.snapshot == *snapshot);
        Ok(of_it
            .map(|file| (file.path.as_str(), &file.partition))
            .collect())
    }

    /// Gives files of other programs to the snapshot whose manifest lists them.
    pub(crate) fn assign(&mut self, snapshot: &SnapshotId, paths: &BTreeSet<&str>) {
        let Files::Read(files) = &mut self.files else {
            return;
        };
        self.foreign.retain(|file| {
            let is_listed = paths.contains(file.path.as_str());
            if is_listed {
                files.push(file.clone().of(snapshot.clone()));
            }
            !is_listed
        });
    }

    /// Paths of all files of the table, from the lake's root.
    pub(crate) fn paths(&self) -> Result<impl Iterator<Item = &str>> {
        Ok(self.files()?.iter().map(|file| file.path.as_str()))
    }

    /// Takes in an entry that was written on top of it.
    fn advance(
        &mut self,
        version: u64,
        entry: LogEntry<'_>,
        added: Vec<LoggedFile>,
        declared: Option<Declared>,
    ) {
        self.version = Some(version);
        if let Files::Read(files) = &mut self.files {
            files.retain(|file| !entry.remove.contains(&file.snapshot));
            files.extend(added);
        }
        self.transactions.extend(entry.transaction);
        self.table = declared.or(self.table.take());
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
        let names = entries
            .iter()
            .filter_map(|entry| entry.path.rsplit('/').next());
        Ok(names
            .filter_map(version_and_end)
            .filter(|(_, end)| end.ends_with(".json") || end.ends_with(".parquet"))
            .map(|(version, _)| version)
            .max())
    }

    /// What the log says now, without its files, if the pointer that tells this of it follows it up to its last entry.
    pub(crate) async fn followed_by(&self, pointer: &FollowedLog) -> Result<Option<LogState>> {
        let last = pointer.version;
        let (has_last, has_next) =
            tokio::try_join!(self.has_entry(last), self.has_entry(last + 1))?;
        Ok((has_last && !has_next).then(|| LogState {
            version: Some(last),
            files: Files::Unread { since: last },
            table: None,
            declares: pointer.declares.clone(),
            transactions: pointer.transactions.clone(),
            foreign: Vec::new(),
            rewritten: BTreeMap::new(),
            read: None,
        }))
    }

    async fn has_entry(&self, version: u64) -> Result<bool> {
        self.lake.exists(&self.entry_path(version)).await
    }

    /// Whether there is an entry after those that a state has.
    pub(crate) async fn goes_on_after(&self, state: &LogState) -> Result<bool> {
        match state.version {
            Some(last) => self.has_entry(last + 1).await,
            None => self.exists().await,
        }
    }

    /// What the log says now, with its files. `pointer` is what the pointer tells of it.
    pub(crate) async fn read(&self, pointer: Option<&FollowedLog>) -> Result<LogState> {
        if !self.exists().await? {
            return Ok(LogState::default());
        }
        let kernel = self.kernel().await?;
        let found = FoundFiles {
            table: layout::table(&self.dataset),
            files: Vec::new(),
            foreign: Vec::new(),
            misplaced: None,
        };
        let folded = self.on_kernel("read", move || {
            let found = kernel.fold_files(found, FoundFiles::add)?;
            Ok((kernel, found))
        });
        let (kernel, found) = folded.await?;
        if let Some(path) = found.misplaced {
            return Err(self.foreign(&path, None));
        }
        let table = kernel.snapshot().table_configuration();
        let version = kernel.snapshot().version();
        let pointer = pointer.filter(|pointer| pointer.version == version);
        Ok(LogState {
            version: Some(version),
            files: Files::Read(found.files),
            table: Some(Declared {
                protocol: table.protocol().clone(),
                metadata: table.metadata().clone(),
            }),
            declares: pointer.and_then(|pointer| pointer.declares.clone()),
            transactions: pointer
                .map_or_else(BTreeMap::new, |pointer| pointer.transactions.clone()),
            foreign: found.foreign,
            rewritten: BTreeMap::new(),
            read: Some(kernel),
        })
    }

    /// The log as Delta's kernel reads it.
    async fn kernel(&self) -> Result<KernelLog> {
        let engine = self.engine().await?;
        self.on_kernel("read", move || KernelLog::read(engine, TABLE_URL, None))
            .await
    }

    /// Files of the table at a version, from the lake's root. `None`: the log can no longer be read at that version.
    pub(crate) async fn paths_at(&self, version: u64) -> Result<Option<BTreeSet<String>>> {
        let engine = self.engine().await?;
        let table = layout::table(&self.dataset);
        let paths = self.on_kernel("read", move || {
            let log = KernelLog::read(engine, TABLE_URL, Some(version))?;
            log.fold_files(BTreeSet::new(), |paths, file| {
                paths.insert(file.path);
            })
        });
        match paths.await {
            Ok(paths) => Ok(Some(
                paths
                    .into_iter()
                    .map(|path| format!("{table}/{path}"))
                    .collect(),
            )),
            // Entries or checkpoints that the version needs are gone.
            Err(Error::DeltaLog { .. } | Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn foreign(&self, path: &str, add: Option<&ForeignAdd>) -> Error {
        let entry = add.map_or_else(
            || "an entry of the log that is no longer there".to_owned(),
            |add| {
                format!(
                    "entry {} of the log (`{}` by {})",
                    add.version, add.operation, add.engine
                )
            },
        );
        Error::ForeignWrite {
            dataset: self.dataset.clone(),
            path: path.to_owned(),
            entry,
        }
    }

    /// Finds out what the files of other programs are: `owner` tells the snapshot whose rows a file can hold, and `since` is the last
    /// entry whose files are known already.
    ///
    /// # Errors
    /// [`Error::ForeignWrite`] for a file whose entry changed rows.
    pub(crate) async fn take_over(
        &self,
        state: &mut LogState,
        since: Option<u64>,
        owners: &BTreeMap<String, SnapshotId>,
    ) -> Result<()> {
        let Some(last) = state.version else {
            return Ok(());
        };
        let adds = self.foreign_adds(&state.foreign, since, last).await?;
        let Files::Read(files) = &mut state.files else {
            return Ok(());
        };
        for file in std::mem::take(&mut state.foreign) {
            let add = adds.get(&file.path);
            let of_entry = add.and_then(|add| add.of.as_ref());
            let is_known = of_entry.is_some() || (since.is_some() && add.is_none());
            let is_rewritten = add.is_some_and(|add| !add.changes_data && add.rows.is_some());
            let owner = of_entry.or_else(|| owners.get(&file.path));
            let Some(snapshot) = owner.filter(|_| is_known || is_rewritten) else {
                return Err(self.foreign(&file.path, add));
            };
            if let Some(add) = add.filter(|_| !is_known) {
                let rewritten = state.rewritten.entry(snapshot.clone()).or_default();
                rewritten.version = rewritten.version.max(add.version);
                rewritten.files.push(DataFile {
                    path: file.path.clone(),
                    partition: file.partition.clone(),
                    rows: add.rows.unwrap_or_default(),
                    bytes: u64::try_from(file.size).unwrap_or_default(),
                    sha256: String::new(),
                    column_statistics: Arc::new([]),
                });
            }
            files.push(file.of(snapshot.clone()));
        }
        Ok(())
    }

    /// Of each of these files, the entry after `since` that added it.
    async fn foreign_adds(
        &self,
        files: &[ForeignFile],
        since: Option<u64>,
        last: u64,
    ) -> Result<HashMap<String, ForeignAdd>> {
        let mut wanted: BTreeSet<&str> = files.iter().map(|file| &*file.path).collect();
        let mut found = HashMap::new();
        let first = since.map_or(0, |since| since + 1);
        for version in (first..=last).rev() {
            if wanted.is_empty() {
                break;
            }
            let Some(entry) = self.entry(version).await? else {
                break;
            };
            let info = commit_infos(&entry).next().unwrap_or_default();
            let said = |key: &str| {
                info[key]
                    .as_str()
                    .unwrap_or("an unknown program")
                    .to_owned()
            };
            let is_own = said("engineInfo").starts_with(ENGINE);
            let of = info["snapshot"].as_str().filter(|_| is_own);
            let of: Option<SnapshotId> = of.and_then(|of| of.parse().ok());
            for add in added_files(&entry) {
                let path = format!("{}/{}", layout::table(&self.dataset), add.path);
                if wanted.remove(path.as_str()) {
                    let add = ForeignAdd {
                        version,
                        rows: add.rows(),
                        changes_data: add.data_change,
                        operation: said("operation"),
                        engine: said("engineInfo"),
                        of: of.clone(),
                    };
                    found.insert(path, add);
                }
            }
        }
        Ok(found)
    }

    /// The last version that was committed under an application id, as `state` has it.
    pub(crate) async fn transaction(&self, state: &LogState, app_id: &str) -> Result<Option<i64>> {
        if let Some(version) = state.transactions.get(app_id) {
            return Ok(Some(*version));
        }
        let kernel = match &state.read {
            Some(kernel) => kernel.clone(),
            None if state.version.is_none() => return Ok(None),
            None => self.kernel().await?,
        };
        let app_id = app_id.to_owned();
        self.on_kernel("read", move || kernel.transaction(&app_id))
            .await
    }

    /// Writes an entry on top of `state`, which is then what the log says: the entry is not read back. Refused: most
    /// often another entry came first, and `state` is as it was.
    pub(crate) async fn commit(
        &self,
        state: &mut LogState,
        entry: LogEntry<'_>,
    ) -> Result<ConditionalPut> {
        self.check_may_write(state, &entry)?;
        let (mut declared, mut declares) = (None, None);
        if let Some(columns) = entry.columns {
            let wanted = declares_of(columns, entry.retire_after)?;
            if state.declares.as_ref() != Some(&wanted) {
                state.files()?;
                declared =
                    self.declaration(state, columns, entry.retire_after, entry.committed_at)?;
            }
            declares = Some(wanted);
        }
        let added = entry.add.iter().map(|file| {
            // A snapshot that maintenance rewrote has files of other names.
            let of_entry = || entry.of.clone().filter(|_| file.sha256.is_empty());
            let snapshot = layout::snapshot_of_part(&file.path).or_else(of_entry);
            let snapshot = snapshot.ok_or_else(|| self.foreign(&file.path, None))?;
            Ok(LoggedFile {
                path: file.path.clone(),
                snapshot,
                partition: file.partition.clone(),
                size: size(file),
            })
        });
        let added = added.collect::<Result<_>>()?;
        let version = state.version.map_or(0, |version| version + 1);
        let path = self.entry_path(version);
        let mut document =
            DocumentWriter::new(&self.lake.store, &layout::control(&self.dataset)).await?;
        self.actions(state, &entry, declared.as_ref(), |action| {
            document.push(&action, &path)
        })?;
        let put = document.create(&path, self.single_writer).await?;
        if put == ConditionalPut::Done {
            state.advance(version, entry, added, declared);
            state.declares = declares.or(state.declares.take());
        }
        Ok(put)
    }

    /// Refuses a table that another program made more of than this one knows to keep.
    fn check_may_write(&self, state: &LogState, entry: &LogEntry<'_>) -> Result<()> {
        let Some(table) = &state.table else {
            return Ok(());
        };
        let refused = |message: String| {
            let dataset = self.dataset.clone();
            Err(Error::DeltaLog { dataset, message })
        };
        let protocol = self.in_json(&table.protocol)?;
        for (key, known) in [
            ("minReaderVersion", &[1, 3][..]),
            ("minWriterVersion", &[1, 2, 7]),
        ] {
            let version = protocol[key].as_i64().unwrap_or_default();
            if !known.contains(&version) {
                return refused(format!("the table's protocol has `{key}` {version}"));
            }
        }
        let features = ["readerFeatures", "writerFeatures"].map(|key| protocol[key].as_array());
        let features = features.into_iter().flatten().flatten();
        let mut features = features.filter_map(Value::as_str);
        if let Some(feature) = features.find(|feature| !FEATURES.contains(feature)) {
            return refused(format!("the table asks for the feature `{feature}`"));
        }
        let metadata = self.in_json(&table.metadata)?;
        let is_append_only = metadata["configuration"]["delta.appendOnly"] == "true";
        if is_append_only && !entry.remove.is_empty() {
            return refused("the table is append-only, and files are to be replaced".to_owned());
        }
        Ok(())
    }

    /// Whether files with the dataset's columns can become part of the table.
    ///
    /// # Errors
    /// [`Error::ColumnType`].
    pub(crate) fn check_columns(&self, state: &LogState, dataset: &Dataset) -> Result<()> {
        if !state.has_files() {
            return Ok(());
        }
        self.declaration(state, dataset, Duration::ZERO, DateTime::UNIX_EPOCH)
            .map(drop)
    }

    /// Whether the run wrote one of the entries after version `after`.
    pub(crate) async fn was_written_by(&self, run_id: &str, after: Option<u64>) -> Result<bool> {
        let mut version = after.map_or(0, |version| version + 1);
        while let Some(entry) = self.entry(version).await? {
            let written_by_this = commit_infos(&entry).any(|info| info["runId"] == run_id);
            if written_by_this {
                return Ok(true);
            }
            version += 1;
        }
        Ok(false)
    }

    async fn entry(&self, version: u64) -> Result<Option<Bytes>> {
        self.lake.get(&self.entry_path(version)).await
    }

    fn entry_path(&self, version: u64) -> String {
        format!("{}/{version:020}.json", layout::delta_log(&self.dataset))
    }

    /// The last entry, up to version `last`, of each snapshot that made it part of the table; without those that are no longer
    /// there.
    pub(crate) async fn entries_of<'s>(
        &self,
        snapshots: impl IntoIterator<Item = &'s SnapshotId>,
        last: u64,
    ) -> Result<HashMap<SnapshotId, EntryOfSnapshot>> {
        let mut wanted: BTreeSet<&SnapshotId> = snapshots.into_iter().collect();
        let mut found = HashMap::new();
        if wanted.is_empty() {
            return Ok(found);
        }
        for version in (0..=last).rev() {
            let Some(entry) = self.entry(version).await? else {
                break;
            };
            for info in commit_infos(&entry) {
                let snapshot = info["snapshot"].as_str().map(str::parse::<SnapshotId>);
                if let Some(Ok(snapshot)) = snapshot
                    && wanted.remove(&snapshot)
                {
                    found.insert(snapshot, EntryOfSnapshot::read(&info, version));
                }
            }
            if wanted.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    /// Writes a checkpoint if the entry of that version is due for one, and then deletes log entries that the checkpoint covers and
    /// that are past the table's log retention. Readers do without either: a failure is a warning.
    pub(crate) async fn maintain(&self, version: Option<u64>) {
        let may_be_due = |version: &u64| (version + 1).is_multiple_of(CHECKPOINT_INTERVAL);
        let Some(version) = version.filter(may_be_due) else {
            return;
        };
        let maintained = async {
            match is_due(version, self.last_checkpoint().await?) {
                true => self.checkpoint().await,
                false => Ok(()),
            }
        };
        if let Err(error) = maintained.await {
            tracing::warn!(%error, version, "no checkpoint of the table's log was written");
        }
    }

    /// Version of the last checkpoint, as the log tells it.
    async fn last_checkpoint(&self) -> Result<Option<u64>> {
        #[derive(Deserialize)]
        struct Hint {
            version: u64,
        }
        let path = format!("{}/_last_checkpoint", layout::delta_log(&self.dataset));
        let hint = self.lake.get(&path).await?;
        // It is only a hint: one that cannot be read is none.
        let hint = hint.and_then(|hint| serde_json::from_slice::<Hint>(&hint).ok());
        Ok(hint.map(|hint| hint.version))
    }

    async fn checkpoint(&self) -> Result<()> {
        let kernel = self.kernel().await?;
        let version = kernel.snapshot().version();
        let mut document =
            DocumentWriter::new(&self.lake.store, &layout::control(&self.dataset)).await?;
        let written = self.on_kernel("checkpoint", move || {
            let checkpoint = kernel.write_checkpoint(&mut document)?;
            Ok((kernel, document, checkpoint))
        });
        let (kernel, document, checkpoint) = written.await?;
        let folder = layout::delta_log(&self.dataset);
        document
            .replace(&format!("{folder}/{version:020}.checkpoint.parquet"))
            .await?;
        let properties = kernel.snapshot().table_properties();
        let keeps_all = properties.enable_expired_log_cleanup == Some(false);
        let kept_for = properties.log_retention_duration.unwrap_or(LOG_RETENTION);
        self.on_kernel("checkpoint", move || kernel.announce(checkpoint))
            .await?;
        let kept_for = TimeDelta::from_std(kept_for).unwrap_or(TimeDelta::MAX);
        let Some(oldest) = Utc::now()
            .checked_sub_signed(kept_for)
            .filter(|_| !keeps_all)
        else {
            return Ok(());
        };
        let objects = self.objects().await?;
        let listing = async {
            let expired = expired(objects.as_ref(), version, oldest).await;
            expired.map_err(|error| Error::store("clean up", &folder, &error))
        };
        let patience = self.lake.patience();
        let expired = patience.wait("clean up", &folder, listing).await?;
        let expired: Vec<String> = expired
            .iter()
            .map(|name| format!("{folder}/{name}"))
            .collect();
        self.lake.delete(&expired).await
    }

    /// Runs what calls Delta's kernel on a thread that may block.
    async fn on_kernel<T: Send + 'static>(
        &self,
        action: &'static str,
        call: impl FnOnce() -> DeltaResult<T> + Send + 'static,
    ) -> Result<T> {
        let calling = async {
            let called = tokio::task::spawn_blocking(call).await;
            let called = called.map_err(|error| Error::task(&error))?;
            called.map_err(|error| failed(&self.dataset, action, &error))
        };
        let folder = layout::delta_log(&self.dataset);
        self.lake.patience().wait(action, &folder, calling).await
    }

    /// The entry's actions, each of which is made when it is its turn.
    fn actions(
        &self,
        state: &LogState,
        entry: &LogEntry<'_>,
        declared: Option<&Declared>,
        mut push: impl FnMut(Value) -> Result<()>,
    ) -> Result<()> {
        push(commit_info(state, entry))?;
        if let Some(declared) = declared {
            if state.table.is_none() {
                push(json!({"protocol": declared.protocol}))?;
            }
            push(json!({"metaData": declared.metadata}))?;
        }
        let now = entry.committed_at.timestamp_millis();
        if let Some((app_id, version)) = &entry.transaction {
            push(json!({"txn": {"appId": app_id, "version": version, "lastUpdated": now}}))?;
        }
        if let Files::Read(files) = &state.files
            && !entry.remove.is_empty()
        {
            let is_removed = |file: &&LoggedFile| entry.remove.contains(&file.snapshot);
            for file in files.iter().filter(is_removed) {
                push(self.remove(&file.path, &file.partition, file.size, now)?)?;
            }
        }
        for file in &entry.removed {
            push(self.remove(&file.path, &file.partition, size(file), now)?)?;
        }
        for file in &entry.add {
            push(self.add(file, now)?)?;
        }
        Ok(())
    }

    /// Protocol, columns and properties of a new table, or those of one that gets more. `None`: it has all of them.
    fn declaration(
        &self,
        state: &LogState,
        columns: &Dataset,
        retire_after: Duration,
        now: DateTime<Utc>,
    ) -> Result<Option<Declared>> {
        let malformed = |error: serde_json::Error| self.malformed(&error);
        let wanted = schema::fields(columns)?;
        let schema = |fields: Vec<Value>| json!({"type": "struct", "fields": fields}).to_string();
        let Some(table) = &state.table else {
            let protocol = json!({"minReaderVersion": 1, "minWriterVersion": 2});
            let metadata = json!({
                "id": uuid::Uuid::new_v4().to_string(),
                "name": columns.name,
                "description": columns.meaning,
                "format": {"provider": "parquet", "options": {}},
                "schemaString": schema(wanted),
                "partitionColumns": schema::partition_columns(columns),
                "configuration": {
                    "delta.checkpointInterval": CHECKPOINT_INTERVAL.to_string(),
                    STATISTICS_COLUMNS: schema::statistics_columns(columns),
                    REMOVED_FILES_KEPT: removed_files_kept(&Value::Null, retire_after),
                },
                "createdTime": now.timestamp_millis(),
            });
            return Ok(Some(Declared {
                protocol: serde_json::from_value(protocol).map_err(malformed)?,
                metadata: serde_json::from_value(metadata).map_err(malformed)?,
            }));
        };
        let mut metadata = self.in_json(&table.metadata)?;
        schema::check_partition_columns(columns, &metadata["partitionColumns"])?;
        let declared = metadata["schemaString"].as_str().unwrap_or_default();
        let declared: Value = serde_json::from_str(declared).map_err(malformed)?;
        let current = declared["fields"].as_array().cloned().unwrap_or_default();
        let fields = schema::evolved(columns, &current, wanted)?;
        let of_statistics = Value::from(schema::statistics_columns(columns));
        let kept = removed_files_kept(&metadata["configuration"][REMOVED_FILES_KEPT], retire_after);
        if fields.is_none()
            && kept.is_none()
            && metadata["configuration"][STATISTICS_COLUMNS] == of_statistics
        {
            return Ok(None);
        }
        if let Some(fields) = fields {
            metadata["schemaString"] = schema(fields).into();
        }
        metadata["configuration"][STATISTICS_COLUMNS] = of_statistics;
        if let Some(kept) = kept {
            metadata["configuration"][REMOVED_FILES_KEPT] = kept.into();
        }
        Ok(Some(Declared {
            protocol: table.protocol.clone(),
            metadata: serde_json::from_value(metadata).map_err(malformed)?,
        }))
    }

    fn remove(&self, path: &str, partition: &Partition, size: i64, now: i64) -> Result<Value> {
        Ok(json!({"remove": {
            "path": self.in_table(path)?,
            "dataChange": true,
            "deletionTimestamp": now,
            "extendedFileMetadata": true,
            "partitionValues": partition_values(partition),
            "size": size,
        }}))
    }

    fn add(&self, file: &DataFile, now: i64) -> Result<Value> {
        Ok(json!({"add": {
            "path": self.in_table(&file.path)?,
            "partitionValues": partition_values(&file.partition),
            "size": size(file),
            "modificationTime": now,
            "dataChange": true,
            "stats": statistics(file).to_string(),
        }}))
    }

    /// A file's path from the table's folder. It has no character that a URI would need encoded: the layout made it.
    fn in_table<'a>(&self, path: &'a str) -> Result<&'a str> {
        let table = format!("{}/", layout::table(&self.dataset));
        path.strip_prefix(&table).ok_or_else(|| Error::DeltaLog {
            dataset: self.dataset.clone(),
            message: format!("`{path}` does not lie in the table's folder"),
        })
    }

    fn in_json(&self, action: &impl serde::Serialize) -> Result<Value> {
        serde_json::to_value(action).map_err(|error| self.malformed(&error))
    }

    fn malformed(&self, error: &serde_json::Error) -> Error {
        Error::DeltaLog {
            dataset: self.dataset.clone(),
            message: error.to_string(),
        }
    }

    async fn engine(&self) -> Result<Arc<dyn Engine>> {
        let is_local = matches!(self.lake.store, Store::Local(_));
        Ok(kernel::engine(self.objects().await?, is_local))
    }

    /// The store, rooted at the table's folder.
    async fn objects(&self) -> Result<Arc<dyn ObjectStore>> {
        self.lake.objects(&self.dataset).await
    }
}

/// Whether the entry of a version is to have a checkpoint, if the last one is of version `last`.
fn is_due(version: u64, last: Option<u64>) -> bool {
    let Some(last) = last else {
        return true;
    };
    let interval = (last / CHECKPOINT_PART).clamp(CHECKPOINT_INTERVAL, CHECKPOINT_INTERVAL_MAX);
    version.saturating_sub(last) >= interval
}

/// A file that an entry added.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AddedFile {
    path: String,
    data_change: bool,
    stats: Option<String>,
}

impl AddedFile {
    fn rows(&self) -> Option<u64> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Stats {
            num_records: u64,
        }
        let stats: Stats = serde_json::from_str(self.stats.as_deref()?).ok()?;
        Some(stats.num_records)
    }
}

/// The files that an entry of the log added.
fn added_files(entry: &[u8]) -> impl Iterator<Item = AddedFile> {
    #[derive(Deserialize)]
    struct Line {
        add: Option<AddedFile>,
    }
    actions(entry).filter_map(|line: Line| line.add)
}

/// What an entry of the log tells of itself.
fn commit_infos(entry: &[u8]) -> impl Iterator<Item = Value> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Line {
        commit_info: Option<Value>,
    }
    actions(entry).filter_map(|line: Line| line.commit_info)
}

/// The actions of an entry, a line each, as far as `T` has them.
fn actions<T: DeserializeOwned>(entry: &[u8]) -> impl Iterator<Item = T> {
    let lines = entry.split(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice(line).ok())
}

fn size(file: &DataFile) -> i64 {
    i64::try_from(file.bytes).unwrap_or(i64::MAX)
}

fn partition_values(partition: &Partition) -> Value {
    json!({
        GENERATED_DATE: partition.generated_date.to_string(),
        &*partition.column: partition.value.to_string(),
    })
}

/// The partition of a logged file; none if it is not one that this program writes.
fn partition_of(mut values: HashMap<String, String>) -> Option<Partition> {
    let generated_date = values.remove(GENERATED_DATE)?.parse().ok()?;
    let mut others = values.into_iter();
    match (others.next(), others.next()) {
        (Some((column, value)), None) => Some(Partition {
            generated_date,
            column: column.into(),
            value: value.parse().ok()?,
        }),
        _ => None,
    }
}

fn commit_info(state: &LogState, entry: &LogEntry<'_>) -> Value {
    let mut info = json!({
        "timestamp": entry.committed_at.timestamp_millis(),
        "operation": entry.operation,
        "operationParameters": {"mode": "Overwrite"},
        "isBlindAppend": false,
        "engineInfo": format!("{ENGINE}{}", env!("CARGO_PKG_VERSION")),
    });
    if let Some(version) = state.version {
        info["readVersion"] = version.into();
    }
    for (name, value) in &entry.info {
        info[name] = value.clone();
    }
    json!({"commitInfo": info})
}

/// A checksum of all that a table with these columns and this setting is to declare: where the pointer has the same, the log need not be
/// read for it.
fn declares_of(columns: &Dataset, retire_after: Duration) -> Result<String> {
    let declared = json!([
        schema::fields(columns)?,
        schema::partition_columns(columns),
        schema::statistics_columns(columns),
        retire_after.as_secs(),
        env!("CARGO_PKG_VERSION"),
    ]);
    Ok(hexadecimal(&Sha256::digest(declared.to_string())))
}

/// What a table is to declare of the files that are removed from it. `None`: what it declares stays, since it is as long, or not in
/// this program's form. It is never shortened: a file may have been promised for longer.
fn removed_files_kept(declared: &Value, retire_after: Duration) -> Option<String> {
    let wanted = retire_after.max(LEAST_KEPT).as_secs();
    let is_kept = declared.as_str().is_some_and(|declared| {
        let seconds = declared.strip_prefix("interval ");
        let seconds = seconds.and_then(|rest| rest.strip_suffix(" seconds")?.parse().ok());
        seconds.is_none_or(|seconds: u64| seconds >= wanted)
    });
    (!is_kept).then(|| format!("interval {wanted} seconds"))
}

/// The version in the name of a file of the log, and how the name goes on: `.json`, `.checkpoint.parquet`.
fn version_and_end(name: &str) -> Option<(u64, &str)> {
    let (number, end) = name.split_at_checked(20)?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit()) && end.starts_with('.');
    is_number.then(|| Some((number.parse().ok()?, end)))?
}

/// Names of entries and checkpoints that were written until `oldest`, and that no version needs which was written after it.
async fn expired(
    objects: &dyn ObjectStore,
    checkpoint: u64,
    oldest: DateTime<Utc>,
) -> object_store::Result<Vec<String>> {
    let files: Vec<ObjectMeta> = objects
        .list(Some(&"_delta_log".into()))
        .try_collect()
        .await?;
    let files: Vec<(u64, &str, &ObjectMeta)> = files
        .iter()
        .filter_map(|file| {
            let (version, end) = version_and_end(file.location.filename()?)?;
            matches!(end, ".json" | ".checkpoint.parquet").then_some((version, end, file))
        })
        .collect();
    let kept = files
        .iter()
        .filter(|(.., file)| file.last_modified >= oldest);
    let kept_from = kept.map(|(version, ..)| *version).min();
    let kept_from = kept_from.map_or(checkpoint, |version| version.min(checkpoint));
    // The first version that is kept is read from the last checkpoint before it.
    let checkpoints = files.iter().filter(|(_, end, _)| *end != ".json");
    let versions = checkpoints.map(|(version, ..)| *version);
    let Some(first) = versions.filter(|version| *version <= kept_from).max() else {
        return Ok(Vec::new());
    };
    let is_expired = |(version, _, file): &&(u64, &str, &ObjectMeta)| {
        *version < first && file.last_modified <= oldest
    };
    let expired = files.iter().filter(is_expired);
    let names = expired.filter_map(|(.., file)| file.location.filename());
    Ok(names.map(str::to_owned).collect())
}

/// A file's statistics in the form of the Delta protocol. Times are widened to milliseconds, which all readers know.
fn statistics(file: &DataFile) -> Value {
    let (mut least, mut most, mut nulls) = (Map::new(), Map::new(), Map::new());
    for column in file.column_statistics.iter() {
        let name = || column.column.to_string();
        nulls.insert(name(), column.nulls.into());
        let Some((min, max)) = column.bounds.as_ref().and_then(in_json) else {
            continue;
        };
        least.insert(name(), min);
        most.insert(name(), max);
    }
    json!({"numRecords": file.rows, "minValues": least, "maxValues": most, "nullCount": nulls})
}

fn in_json(bounds: &Bounds) -> Option<(Value, Value)> {
    let has_four_digits = |year: i32| (0..=9999).contains(&year);
    let date = |days: i32| {
        let date = NaiveDate::from_epoch_days(days).filter(|date| has_four_digits(date.year()))?;
        Some(Value::from(date.to_string()))
    };
    let time = |time: DateTime<Utc>, form: &str| {
        has_four_digits(time.year()).then(|| Value::from(time.format(form).to_string()))
    };
    let milliseconds = |milliseconds: i64| {
        let known = DateTime::from_timestamp_millis(milliseconds)?;
        time(known, "%Y-%m-%dT%H:%M:%S%.3fZ")
    };
    // The last millisecond of year 9999 has none after it that readers could read. They read its microseconds, and some find no
    // row by a column that has bounds in one file and none in another.
    let microseconds = |microseconds: i64| {
        let known = DateTime::from_timestamp_micros(microseconds)?;
        time(known, "%Y-%m-%dT%H:%M:%S%.6fZ")
    };
    Some(match bounds {
        Bounds::String(texts) => (texts.min.clone().into(), texts.max.clone().into()),
        Bounds::Integer { min, max } => ((*min).into(), (*max).into()),
        Bounds::Date { min, max } => (date(*min)?, date(*max)?),
        Bounds::Timestamp { min, max } => {
            let up = i64::from(max.rem_euclid(1000) > 0);
            (
                milliseconds(min.div_euclid(1000))?,
                milliseconds(max.div_euclid(1000) + up).or_else(|| microseconds(*max))?,
            )
        }
    })
}

fn failed(dataset: &str, action: &'static str, error: &delta_kernel::Error) -> Error {
    match error {
        delta_kernel::Error::ObjectStore(source) => {
            Error::store(action, &layout::delta_log(dataset), source)
        }
        other => Error::DeltaLog {
            dataset: dataset.to_owned(),
            message: crate::error::without_queries(&other.to_string()),
        },
    }
}

#[cfg(test)]
mod tests;
