//! Replay: quarantined records are decoded again, and those that pass now join their snapshot.
//!
//! ```text
//! quarantine files -> one CPU job: decode again -> rows -----------> one part of its own -> append (writer)
//!                                              \-> still bad ------> new quarantine files, in place of the old
//! ```
//! Exactly once: rows and what is still quarantined change places in one act, the append (`writer::append`), so that replaying
//! again finds nothing to add. A record that was longer than a line may be cannot come back: only its beginning is kept.

use std::sync::Arc;

use chrono::Utc;
use dataset::SnapshotId;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use writer::{
    AppendOutcome, AppendRequest, Duplicates, Followed, KeyHasher, KeyHashes, Lake, Latest,
    Manifest,
};

use crate::error::PipelineError;
use crate::events::JobObserver;
use crate::gate::lost_columns::by_column;
use crate::quarantine::decode::decode_again;
use crate::refusal::Refusal;
use crate::report::QuarantineReport;
use crate::resources::Resources;
use crate::run::run_id::new_run_id;
use crate::settings::{DuplicateKeys, Settings};
use crate::version::PROGRAM_VERSION;
use crate::work::part_assembler::PartAssembler;
use crate::work::quarantine_file::{self, QuarantineEntry, QuarantineWriter};
use crate::work::run_context::RunContext;
use crate::work::segment_stream::PartInput;
use crate::work::staged_part::StagedPart;

/// Quarantine files that wait for the job.
const FILES_AHEAD: usize = 1;
/// The least number of a part of a replay.
const FIRST_NUMBER: u32 = 1_000_000;

/// What replaying one snapshot's records gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Records that are rows of the snapshot now.
    pub rows_added: u64,
    /// Parquet files that they are in.
    pub files_added: u64,
    /// Records that are still quarantined, by reason.
    pub remaining: Vec<QuarantineReport>,
    /// Those among them that were too long: only their beginning is kept.
    pub cut: u64,
    /// Why what follows the append could not be finished: `latest.json` may be old. The rows are part of the snapshot all the
    /// same, and the next run finishes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<String>,
}

/// Replays the records of all published snapshots, oldest first, or of one of them.
pub(super) async fn replay(
    resources: &Resources,
    settings: &Settings,
    lake: &Lake,
    only: Option<&SnapshotId>,
    cancel: &CancellationToken,
) -> Result<Vec<Replayed>, PipelineError> {
    let dataset = &settings.dataset.name;
    // A replay that died may have published what the pointer does not show yet.
    writer::recover(&settings.table(lake)).await?;
    let latest = Latest::read(lake, dataset).await?;
    let mut current: Vec<SnapshotId> = latest
        .snapshots
        .into_iter()
        .map(|current| current.snapshot)
        .filter(|snapshot| only.is_none_or(|only| only == snapshot))
        .collect();
    current.sort();
    if let (true, Some(only)) = (current.is_empty(), only) {
        return Err(PipelineError::NotPublished {
            dataset: dataset.clone(),
            snapshot: only.clone(),
        });
    }
    let mut replayed = Vec::new();
    for snapshot in current {
        let manifest = writer::read_manifest(lake, dataset, &snapshot).await?;
        let published = manifest.ok_or_else(|| PipelineError::NotPublished {
            dataset: dataset.clone(),
            snapshot,
        })?;
        if !published.quarantine_files.is_empty() {
            replayed.push(replay_snapshot(resources, settings, lake, published, cancel).await?);
        }
    }
    Ok(replayed)
}

async fn replay_snapshot(
    resources: &Resources,
    settings: &Settings,
    lake: &Lake,
    published: Manifest,
    cancel: &CancellationToken,
) -> Result<Replayed, PipelineError> {
    let dataset = &settings.dataset;
    let differing = writer::differing_columns(lake, &published, dataset).await?;
    if let Some(difference) = differing.into_iter().next() {
        return Err(PipelineError::OtherColumns {
            snapshot: published.snapshot,
            difference: difference.what,
        });
    }
    let run_id = new_run_id(Utc::now());
    let identity = published.identity();
    let context = RunContext::new(resources, settings, &identity, lake.clone(), run_id)?;
    let single_writer = settings.lake.single_writer;
    writer::probe_store(lake, &dataset.name, &context.run_id, single_writer).await?;
    let lease_time = settings.table(lake).lease_time();
    let _staging = writer::begin_run(lake, &dataset.name, &context.run_id, lease_time).await?;
    let replay = SnapshotReplay {
        settings,
        context: &context,
        part: unused_number(&published),
        published,
        cancel,
    };
    let replayed = replay.run().await;
    match &replayed {
        Ok(replayed) if replayed.rows_added > 0 => {}
        // The store may have taken an append that it did not answer, and its manifest then names what was written.
        Err(PipelineError::Write(_)) => {}
        _ => {
            context.discard(&[]).await;
            context.discard_quarantine().await;
        }
    }
    replayed
}

/// The replay of one snapshot's records, as one part.
struct SnapshotReplay<'a> {
    settings: &'a Settings,
    context: &'a RunContext,
    /// The number of the part.
    part: u32,
    published: Manifest,
    cancel: &'a CancellationToken,
}

impl SnapshotReplay<'_> {
    async fn run(self) -> Result<Replayed, PipelineError> {
        let (staged, cut) = self.stage().await?;
        let mut quarantine_files = cut.files;
        quarantine_files.extend(staged.quarantine_files.iter().cloned());
        let rows_added = staged.files.iter().map(|file| file.data.rows).sum();
        let mut remaining = staged.reasons();
        if cut.records > 0 {
            *remaining.entry(cut.reason).or_default() += cut.records;
        }
        let mut replayed = Replayed {
            snapshot: self.published.snapshot.clone(),
            rows_added,
            files_added: staged.files.len() as u64,
            remaining: reports(remaining),
            cut: cut.records,
            unfinished: None,
        };
        if rows_added > 0 {
            let followed = self.append(staged, quarantine_files).await?;
            for warning in followed.warnings {
                tracing::warn!("{warning}");
            }
            replayed.unfinished = followed.unfinished;
        }
        Ok(replayed)
    }

    /// Reads the quarantine files and makes a part of what passes; what is cut goes into files of its own.
    async fn stage(&self) -> Result<(StagedPart, Cut), PipelineError> {
        let (to_job, files) = mpsc::channel(FILES_AHEAD);
        let (to_part, segments) = mpsc::unbounded_channel();
        let segment = self
            .context
            .start_segment(self.cancel, move |context, channel| {
                decode_again(context, files, channel)
            })
            .await?;
        // The receiver is here.
        let _ = to_part.send(PartInput::Segment(segment));
        let _ = to_part.send(PartInput::End);
        let observer: JobObserver = Arc::new(|_| {});
        let (cut, staged) = tokio::join!(
            self.feed(to_job),
            PartAssembler::new(self.context, self.part, &observer).assemble(segments)
        );
        let staged = staged?;
        match cut {
            Ok(cut) => Ok((staged, cut)),
            Err(error) => {
                self.context.discard(&[staged]).await;
                Err(error)
            }
        }
    }

    /// Sends whole records to the job, file by file; writes those that are cut again.
    async fn feed(&self, to_job: mpsc::Sender<Vec<QuarantineEntry>>) -> Result<Cut, PipelineError> {
        let mut writer = QuarantineWriter::new(
            &self.context.lake,
            &self.published.identity(),
            &self.context.run_id,
            format!("part-{:05}-cut", self.part),
            Arc::clone(&self.context.quarantined),
        );
        let mut cut = Cut::default();
        for file in &self.published.quarantine_files {
            let records = quarantine_file::read(&self.context.lake, file).await?;
            let (beginnings, whole): (Vec<_>, Vec<_>) =
                records.into_iter().partition(QuarantineEntry::is_cut);
            for record in beginnings {
                writer.add_line(&record).await?;
                cut.records += 1;
                cut.reason = record.reason;
            }
            if to_job.send(whole).await.is_err() {
                // The job has failed; its error is met when the part is assembled.
                break;
            }
        }
        cut.files = writer.finish().await?;
        Ok(cut)
    }

    async fn append(
        self,
        mut staged: StagedPart,
        quarantine_files: Vec<String>,
    ) -> Result<Followed, PipelineError> {
        let duplicates = match self.check_keys(&mut staged).await {
            Ok(duplicates) => duplicates,
            Err(error) => {
                self.context.discard(&[staged]).await;
                self.context.discard_quarantine().await;
                return Err(error);
            }
        };
        let mut blobs = self.published.blobs.clone();
        for added in &staged.blobs {
            if let Some(blob) = blobs
                .iter_mut()
                .find(|blob| blob.path == added.blob.as_str())
            {
                blob.rows += added.rows_written;
                blob.quarantined = blob.quarantined.saturating_sub(added.rows_written);
            }
        }
        let snapshot = self.published.snapshot.clone();
        let request = AppendRequest {
            published: self.published,
            schema_fingerprint: self.settings.dataset.fingerprint(),
            run_id: self.context.run_id.clone(),
            program_version: PROGRAM_VERSION.to_owned(),
            files: staged.files.clone(),
            blobs,
            duplicate_keys: duplicates.rows,
            column_nulls: by_column(&self.settings.dataset, &staged.column_nulls),
            quarantine_files,
        };
        let table = self.settings.table(&self.context.lake);
        match writer::append(&table, &request).await {
            Ok(AppendOutcome::Appended { followed, .. }) => Ok(followed),
            Ok(AppendOutcome::Outdated) => Err(PipelineError::SnapshotChanged { snapshot }),
            Ok(AppendOutcome::Conflict { attempts, message }) => {
                Err(PipelineError::Conflict { attempts, message })
            }
            // New quarantine files stay: the append may stand all the same. If not, `vacuum` finds them.
            Err(error) => {
                self.context.discard(&[staged]).await;
                Err(error.into())
            }
        }
    }

    /// Refuses keys that come more than once, if the settings do, and more of them than before.
    async fn check_keys(&self, staged: &mut StagedPart) -> Result<Duplicates, PipelineError> {
        let duplicates = self.find_duplicates(staged).await?;
        let refused = self.settings.gate.duplicate_keys == DuplicateKeys::Refuse;
        if refused && duplicates.rows > self.published.duplicate_keys {
            let rows = duplicates.rows;
            let examples = duplicates.examples.into_iter().map(Into::into).collect();
            return Err(Refusal::DuplicateKeys { rows, examples }.into());
        }
        match self.cancel.is_cancelled() {
            true => Err(PipelineError::Cancelled),
            false => Ok(duplicates),
        }
    }

    /// Keys that come more than once in the published files and the added rows together.
    async fn find_duplicates(&self, staged: &mut StagedPart) -> Result<Duplicates, PipelineError> {
        let (dataset, spool) = (&self.settings.dataset, &self.context.segments.keys);
        let mut hasher = KeyHasher::new(&dataset.unique_key);
        let mut keys: Vec<_> = staged.take_keys().collect();
        for file in &self.published.files {
            let columns = &dataset.unique_key;
            let mut of_file = KeyHashes::new(spool);
            let batches = writer::read_columns(&self.context.lake, &self.published, file, columns);
            for rows in batches.await? {
                hasher.add(&rows, &mut of_file)?;
            }
            keys.push((file.path.clone(), of_file.finish()?));
        }
        self.context.find_duplicates(keys).await
    }
}

/// Records of which only the beginning is kept.
#[derive(Debug, Default)]
struct Cut {
    records: u64,
    reason: String,
    files: Vec<String>,
}

/// Counts as the report gives them.
pub(super) fn reports(reasons: impl IntoIterator<Item = (String, u64)>) -> Vec<QuarantineReport> {
    let reports = reasons.into_iter();
    reports
        .map(|(reason, records)| QuarantineReport {
            reason,
            records,
            example: None,
        })
        .collect()
}

/// A number for the replay's files that no other file has: of the snapshot, of a replay that died, or of one at the same time,
/// which may read another schema.
fn unused_number(manifest: &Manifest) -> u32 {
    loop {
        // Beyond those of plans, as a rule.
        let random = Uuid::new_v4().as_u128() as u32;
        let number = random.max(FIRST_NUMBER);
        let name = format!("-{number:05}.parquet");
        if !manifest.files.iter().any(|file| file.path.ends_with(&name)) {
            return number;
        }
    }
}
