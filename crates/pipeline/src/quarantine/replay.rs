//! What a dataset's lake has set aside, and the way back: records are decoded again, and those that pass now join their snapshot.
//!
//! ```text
//! quarantine files -> one CPU job: decode again -> rows -----------> one part of its own -> amend (writer)
//!                                              \-> still bad ------> new quarantine files, in place of the old
//! ```
//! Exactly once: rows and what is still set aside change places in one act, the amendment (`writer::amend`), so that replaying
//! again finds nothing to add. A record that was longer than `work.max_line_bytes` cannot come back: only its beginning is kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::Utc;
use dataset::{BlobPath, SnapshotId};
use extractor::BlobSource;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use transformer::{BlobCounts, GroupSource, QuarantinedRecord};
use uuid::Uuid;
use writer::{AmendOutcome, AmendRequest, Lake, Latest, Manifest, layout};

use crate::error::PipelineError;
use crate::events::Observer;
use crate::gate::Refusal;
use crate::part::{StagedPart, Started};
use crate::plan::{PLAN_VERSION, Part, Plan, PlannedBlob};
use crate::quarantine_file::{self, QuarantineWriter, SetAsideRecord};
use crate::report::QuarantineReport;
use crate::segment::{Demand, Outlet, Piece, Rows, SegmentSettings, Workbench};
use crate::settings::{DuplicateKeys, Settings};
use crate::unique_key::{BlobKeys, Duplicates, KeyHasher};
use crate::work::Workshop;

/// Quarantine files that wait for the job.
const FILES_AHEAD: usize = 1;
/// The least number of a part of a replay.
const FIRST_OWN_NUMBER: u32 = 1_000_000;
/// Pieces that wait for the part's files.
const PIECES: usize = 2;

/// What a lake has set aside of one dataset.
#[derive(Debug)]
pub struct Quarantine<'a> {
    settings: &'a Settings,
    lake: Lake,
}

/// What was set aside of one snapshot.
#[derive(Debug, Clone, Serialize)]
pub struct QuarantinedSnapshot {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Whether it is published; if not, its run failed or was refused, and nothing of it can be replayed.
    pub published: bool,
    /// Number of records, by reason.
    pub reasons: Vec<QuarantineReport>,
    /// The files, from the lake's root.
    pub files: Vec<String>,
}

/// What replaying one snapshot's records gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Records that are rows of the snapshot now.
    pub rows_added: u64,
    /// Parquet files that they are in.
    pub files_added: u64,
    /// Records that are still set aside, by reason.
    pub remaining: Vec<QuarantineReport>,
    /// Those among them that were too long: only their beginning is kept.
    pub cut: u64,
}

impl<'a> Quarantine<'a> {
    /// Opens the lake of a pipeline.
    pub fn open(settings: &'a Settings) -> Result<Self, PipelineError> {
        let lake = Lake::open(&settings.lake.root, &settings.lake.options)?;
        Ok(Self { settings, lake })
    }

    /// The snapshots that have something set aside, oldest first; or one of them.
    pub async fn list(
        &self,
        only: Option<&SnapshotId>,
    ) -> Result<Vec<QuarantinedSnapshot>, PipelineError> {
        let dataset = &self.settings.dataset.name;
        let mut files: BTreeMap<SnapshotId, (bool, Vec<String>)> = BTreeMap::new();
        let folder = layout::quarantines(dataset);
        for object in self.lake.list(&folder).await? {
            let rest = object.path.strip_prefix(&folder).unwrap_or_default();
            let id = rest.split('/').nth(1).unwrap_or_default();
            if let Ok(id) = id.parse::<SnapshotId>() {
                files.entry(id).or_default().1.push(object.path);
            }
        }
        // What a manifest names is what its snapshot has set aside, whatever else lies in its folder.
        for current in Latest::read(&self.lake, dataset).await?.snapshots {
            if let Some(manifest) = Manifest::read(&self.lake, dataset, &current.snapshot).await? {
                files.insert(current.snapshot, (true, manifest.quarantine_files));
            }
        }
        let mut found = Vec::new();
        for (snapshot, (published, files)) in files {
            if files.is_empty() || only.is_some_and(|only| *only != snapshot) {
                continue;
            }
            let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
            for file in &files {
                for record in self.records(file).await? {
                    *reasons.entry(record.reason).or_default() += 1;
                }
            }
            found.push(QuarantinedSnapshot {
                snapshot,
                published,
                reasons: reports(reasons),
                files,
            });
        }
        Ok(found)
    }

    /// The records of one file that [`Quarantine::list`] names.
    pub async fn records(&self, file: &str) -> Result<Vec<SetAsideRecord>, PipelineError> {
        quarantine_file::read(&self.lake, file).await
    }

    /// Decodes what published snapshots have set aside again, and adds what passes now to them: oldest first, or one of them.
    /// A snapshot of which nothing passes stays as it is.
    pub async fn replay(
        &self,
        only: Option<&SnapshotId>,
        cancel: &CancellationToken,
    ) -> Result<Vec<Replayed>, PipelineError> {
        let dataset = &self.settings.dataset.name;
        // A replay that died may have published what the pointer does not show yet.
        writer::settle(&self.lake, dataset, self.settings.lake.table(), Utc::now()).await?;
        let latest = Latest::read(&self.lake, dataset).await?;
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
            let manifest = Manifest::read(&self.lake, dataset, &snapshot).await?;
            let manifest = manifest.ok_or_else(|| PipelineError::NotPublished {
                dataset: dataset.clone(),
                snapshot,
            })?;
            if !manifest.quarantine_files.is_empty() {
                replayed.push(self.replay_one(manifest, cancel).await?);
            }
        }
        Ok(replayed)
    }

    async fn replay_one(
        &self,
        published: Manifest,
        cancel: &CancellationToken,
    ) -> Result<Replayed, PipelineError> {
        let dataset = &self.settings.dataset;
        let differing = writer::differing_columns(&self.lake, &published, dataset).await?;
        if let Some(difference) = differing.into_iter().next() {
            return Err(PipelineError::OtherColumns {
                snapshot: published.snapshot,
                difference: difference.what,
            });
        }
        let part = Part {
            number: own_number(&published),
            rbac_group_id: None,
            segments: vec![Vec::new()],
        };
        let plan = Plan {
            version: PLAN_VERSION,
            snapshot: published.identity(),
            parts: Vec::new(),
        };
        let workshop = Workshop::new(
            self.settings,
            &plan,
            self.lake.clone(),
            BlobSource::files(&[]),
            crate::run::new_run_id(Utc::now()),
        )?;
        let (name, table) = (&published.dataset, self.settings.lake.table());
        let _staging = writer::begin_run(&self.lake, name, &workshop.run_id, table).await?;
        let replayed = self
            .decode_and_amend(&workshop, &part, published, cancel)
            .await;
        match &replayed {
            Ok(replayed) if replayed.rows_added > 0 => {}
            // The store may have taken an amendment that it did not answer, and its manifest then names what was written.
            Err(PipelineError::Write(_)) => {}
            _ => {
                workshop.throw_away(&[]).await;
                workshop.discard_quarantine().await;
            }
        }
        replayed
    }

    async fn decode_and_amend(
        &self,
        workshop: &Workshop,
        part: &Part,
        published: Manifest,
        cancel: &CancellationToken,
    ) -> Result<Replayed, PipelineError> {
        let (staged, cut) = self
            .decode_again(workshop, part, &published, cancel)
            .await?;
        let mut quarantine_files = cut.files;
        quarantine_files.extend(staged.quarantine_files.iter().cloned());
        let rows_added = staged.files.iter().map(|file| file.rows).sum();
        let mut remaining = staged.reasons();
        if cut.records > 0 {
            *remaining.entry(cut.reason).or_default() += cut.records;
        }
        let replayed = Replayed {
            snapshot: published.snapshot.clone(),
            rows_added,
            files_added: staged.files.len() as u64,
            remaining: reports(remaining),
            cut: cut.records,
        };
        if rows_added > 0 {
            self.amend(workshop, published, staged, quarantine_files, cancel)
                .await?;
        }
        Ok(replayed)
    }

    /// Reads the quarantine files and makes a part of what passes; what is cut goes into files of its own.
    async fn decode_again(
        &self,
        workshop: &Workshop,
        part: &Part,
        published: &Manifest,
        cancel: &CancellationToken,
    ) -> Result<(StagedPart, Cut), PipelineError> {
        let (to_job, files) = mpsc::channel(FILES_AHEAD);
        let (pieces_in, pieces) = mpsc::channel(PIECES);
        let (to_part, segments) = mpsc::channel(1);
        let job = workshop
            .start_job({
                let (settings, cancel) = (workshop.settings.clone(), cancel.clone());
                let demand = Demand {
                    pieces: pieces_in,
                    cancel,
                };
                let batch_rows = self.settings.work.batch_rows;
                move || decode(&settings, batch_rows, files, &demand)
            })
            .await?;
        let turn = workshop.turn(cancel).await?;
        // The receiver is here.
        let _ = to_part.send(Ok(Started::new(turn, pieces, job))).await;
        drop(to_part);
        let observer: Observer = Arc::new(|_| {});
        let (cut, staged) = tokio::join!(
            self.feed(to_job, workshop, part, published),
            workshop.assemble(part, segments, &observer)
        );
        let staged = staged?;
        match cut {
            Ok(cut) => Ok((staged, cut)),
            Err(error) => {
                workshop.throw_away(&[staged]).await;
                Err(error)
            }
        }
    }

    async fn feed(
        &self,
        to_job: mpsc::Sender<Vec<SetAsideRecord>>,
        workshop: &Workshop,
        part: &Part,
        published: &Manifest,
    ) -> Result<Cut, PipelineError> {
        let mut writer = QuarantineWriter::new(
            &self.lake,
            &published.identity(),
            &workshop.run_id,
            format!("part-{:05}-cut", part.number),
            Arc::clone(&workshop.quarantine_files),
        );
        let mut cut = Cut::default();
        for file in &published.quarantine_files {
            let (beginnings, whole): (Vec<_>, Vec<_>) = self
                .records(file)
                .await?
                .into_iter()
                .partition(SetAsideRecord::is_cut);
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

    async fn amend(
        &self,
        workshop: &Workshop,
        published: Manifest,
        mut staged: StagedPart,
        quarantine_files: Vec<String>,
        cancel: &CancellationToken,
    ) -> Result<(), PipelineError> {
        let checked = async {
            let duplicates = self.duplicates(workshop, &published, &mut staged).await?;
            let refused = self.settings.gate.duplicate_keys == DuplicateKeys::Refuse;
            if refused && duplicates.rows > published.duplicate_keys {
                let (rows, examples) = (duplicates.rows, duplicates.examples);
                return Err(Refusal::DuplicateKeys { rows, examples }.into());
            }
            match cancel.is_cancelled() {
                true => Err(PipelineError::Cancelled),
                false => Ok(duplicates),
            }
        };
        let duplicates = match checked.await {
            Ok(duplicates) => duplicates,
            Err(error) => {
                workshop.throw_away(&[staged]).await;
                workshop.discard_quarantine().await;
                return Err(error);
            }
        };
        let mut blobs = published.blobs.clone();
        for added in &staged.blobs {
            if let Some(blob) = blobs.iter_mut().find(|blob| blob.path == added.blob) {
                blob.rows += added.rows_written;
                blob.quarantined = blob.quarantined.saturating_sub(added.rows_written);
            }
        }
        let snapshot = published.snapshot.clone();
        let request = AmendRequest {
            published,
            schema_fingerprint: self.settings.dataset.fingerprint(),
            run_id: workshop.run_id.clone(),
            program_version: crate::PROGRAM_VERSION.to_owned(),
            committed_at: Utc::now(),
            files: staged.files.clone(),
            blobs,
            duplicate_keys: duplicates.rows,
            quarantine_files,
            table: self.settings.lake.table(),
        };
        match writer::amend(&self.lake, &request).await {
            Ok(AmendOutcome::Amended { not_deleted, .. }) => {
                if !not_deleted.is_empty() {
                    tracing::warn!(files = not_deleted.len(), "stale files stay behind");
                }
                Ok(())
            }
            Ok(AmendOutcome::Outdated) => Err(PipelineError::SnapshotChanged { snapshot }),
            // What was set aside stays: the amendment may stand all the same. If not, `vacuum` finds it.
            Err(error) => {
                workshop.throw_away(&[staged]).await;
                Err(error.into())
            }
        }
    }

    /// Keys that come more than once in the published files and the added rows together.
    async fn duplicates(
        &self,
        workshop: &Workshop,
        published: &Manifest,
        staged: &mut StagedPart,
    ) -> Result<Duplicates, PipelineError> {
        let dataset = &self.settings.dataset;
        let mut hasher = KeyHasher::new(dataset, &workshop.settings.keys)?;
        let mut keys: Vec<_> = staged.take_keys().collect();
        for file in &published.files {
            let columns = &dataset.unique_key;
            let mut of_file = BlobKeys::default();
            for rows in writer::read_columns(&self.lake, published, file, columns).await? {
                hasher.add(&rows, &mut of_file)?;
            }
            keys.push((file.path.clone(), hasher.finish(of_file)?));
        }
        workshop.duplicates_of(keys).await
    }
}

/// Records of which only the beginning is kept.
#[derive(Debug, Default)]
struct Cut {
    records: u64,
    reason: String,
    files: Vec<String>,
}

fn reports(reasons: impl IntoIterator<Item = (String, u64)>) -> Vec<QuarantineReport> {
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
fn own_number(manifest: &Manifest) -> u32 {
    loop {
        // Beyond those of plans, as a rule.
        let random = Uuid::new_v4().as_u128() as u32;
        let number = random.max(FIRST_OWN_NUMBER);
        let name = format!("-{number:05}.parquet");
        if !manifest.files.iter().any(|file| file.path.ends_with(&name)) {
            return number;
        }
    }
}

/// The CPU's share: decodes records again, file by file, in the order in which they were set aside.
fn decode(
    settings: &SegmentSettings,
    batch_rows: usize,
    mut files: mpsc::Receiver<Vec<SetAsideRecord>>,
    demand: &Demand,
) -> Result<VecDeque<Piece>, PipelineError> {
    let mut outlet = Outlet::new(demand.clone(), settings);
    let Workbench {
        records: mut decoder,
        keys: mut key_hasher,
        mut encoder,
    } = settings.workbench()?;
    let mut rows = Rows::new(&settings.format, &mut encoder);
    while let Some(records) = files.blocking_recv() {
        for of_blob in records.chunk_by(|one, other| one.blob == other.blob) {
            let Some(first) = of_blob.first() else {
                continue;
            };
            let path = BlobPath::parse(&first.blob)
                .map_err(|error| PipelineError::Defect(format!("blob path: {error}")))?;
            let blob = PlannedBlob::new(&path, 0);
            decoder.set_group_source(match blob.rbac_group_id {
                Some(group) => GroupSource::BlobPath(group),
                None => GroupSource::Records {
                    fallback: settings.fallback_group,
                },
            });
            let (mut counts, mut keys) = (BlobCounts::default(), BlobKeys::default());
            for batch in of_blob.chunks(batch_rows) {
                demand.lasts()?;
                let mut again = Vec::new();
                for record in batch {
                    let raw = record.bytes().unwrap_or_default();
                    if let Err(reason) = decoder.decode(&raw) {
                        again.push(QuarantinedRecord {
                            line: record.line,
                            offset: record.offset,
                            reason,
                            raw,
                        });
                    }
                }
                let failed = |source| PipelineError::Transform {
                    blob: blob.path.clone(),
                    source,
                };
                let decoded = decoder.take_batch().map_err(|error| failed(error.into()))?;
                key_hasher.add(&decoded.rows, &mut keys)?;
                counts.records += batch.len() as u64;
                counts.rows += decoded.rows.num_rows() as u64;
                counts.quarantined += again.len() as u64;
                rows.sort_in(decoded, &mut outlet)
                    .map_err(|error| error.of_blob(&blob))?;
                outlet.give(Piece::Quarantined {
                    blob: blob.path.clone(),
                    records: again,
                })?;
            }
            let drift = decoder.take_drift();
            counts.rows_rescued = drift.rows_rescued;
            counts.drift = drift.paths;
            let keys = key_hasher.finish(keys)?;
            outlet.give(Piece::BlobDone { blob, counts, keys })?;
        }
    }
    rows.finish(&mut outlet)?;
    Ok(outlet.into_rest())
}

#[cfg(test)]
mod tests;
