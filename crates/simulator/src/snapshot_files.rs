//! A snapshot's blobs as files: which devices each holds, its name, its gzip bytes. Knows nothing of the server.
//!
//! `<yyyy-MM-dd>/<HHmm>/<ExportName>/json/OrgId=<guid>/_RbacGroupId=<n>/part-NNNNN-<uuid>.cNNN.json.gz`: one
//! uuid is in all names of a snapshot, and part numbers have gaps and repeat across groups.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::dice::{Dice, Purpose};
use crate::error::{Error, Result};
use crate::generator::{Group, Records, RowSource, Rows, bad_line, groups, salt};
use crate::options::SnapshotOptions;
use crate::recipe::Recipe;

/// Lines are compressed in chunks of about this many bytes.
const CHUNK: usize = 64 * 1024;
/// About eleven bytes of JSON for one of gzip, as in the data that the design was measured with.
const LEVEL: u32 = 3;

/// What [`write_snapshot`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// When the service would have generated the snapshot.
    pub generated_time: DateTime<Utc>,
    /// Files.
    pub blobs: usize,
    /// Devices of the snapshot; some may have no rows.
    pub devices: u64,
    /// Rows of devices; of InfoGathering one each.
    pub rows: u64,
    /// Lines beside them that are no records.
    pub bad_lines: u64,
    /// Bytes of JSON lines before compression.
    pub json_bytes: u64,
    /// Bytes of the files.
    pub gzip_bytes: u64,
}

/// Writes the snapshot's blobs below `dir`, which need not exist. Memory is bounded by the number of processors.
///
/// # Errors
/// [`Error::Option`] if the options make no snapshot, [`Error::Recipe`] if there is no recipe for it, [`Error::File`] if a file cannot be written.
pub fn write_snapshot(dir: &Path, options: &SnapshotOptions) -> Result<Written> {
    options.check()?;
    let recipe = Recipe::of(&options.dataset, options.recipe.as_deref())?;
    let record = recipe.record()?;
    let groups = groups(options.devices, options.groups);
    let blobs = plan(options, &recipe.export, &groups);
    let source = match &record {
        Some(record) => Some(RowSource::new(options, &groups, &recipe, record)?),
        None => None,
    };
    for blob in &blobs {
        if let Some(folder) = dir.join(&blob.path).parent() {
            fs::create_dir_all(folder).map_err(Error::file(folder))?;
        }
    }

    let next = AtomicUsize::new(0);
    let work = || -> Result<Written> {
        let mut lines = match &source {
            Some(source) => Lines::Rows(source.rows()),
            None => Lines::Records(Records::new(options, &groups)),
        };
        let mut written = Written {
            generated_time: options.generated_time,
            blobs: 0,
            devices: 0,
            rows: 0,
            bad_lines: 0,
            json_bytes: 0,
            gzip_bytes: 0,
        };
        while let Some(blob) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let path = dir.join(&blob.path);
            let bytes = blob.write(&mut lines, &path).map_err(Error::file(&path))?;
            written.devices += blob.slots.len() as u64;
            if bytes.lines == 0 && !blob.slots.is_empty() {
                // A group without rows has no blob.
                fs::remove_file(&path).map_err(Error::file(&path))?;
                continue;
            }
            written.blobs += 1;
            written.rows += bytes.rows;
            written.bad_lines += blob
                .bad_lines
                .values()
                .map(|lines| lines.len() as u64)
                .sum::<u64>();
            written.json_bytes += bytes.json;
            written.gzip_bytes += bytes.gzip;
        }
        Ok(written)
    };
    let workers = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(blobs.len().max(1));
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        let mut total = work()?;
        for other in others {
            let written = other
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            total.blobs += written.blobs;
            total.devices += written.devices;
            total.rows += written.rows;
            total.bad_lines += written.bad_lines;
            total.json_bytes += written.json_bytes;
            total.gzip_bytes += written.gzip_bytes;
        }
        Ok(total)
    })
}

/// Writes what a blob holds of a device.
enum Lines<'a> {
    Records(Records<'a>),
    Rows(Rows<'a>),
}

impl Lines<'_> {
    /// Turns to the device in `slot`. Returns how many rows it has.
    fn begin(&mut self, slot: u32) -> u32 {
        match self {
            Self::Records(_) => 1,
            Self::Rows(rows) => rows.begin(slot),
        }
    }

    fn write(&mut self, slot: u32, row: u32, out: &mut Vec<u8>) {
        match self {
            Self::Records(records) => records.write(slot, out),
            Self::Rows(rows) => rows.write(row, out),
        }
    }
}

/// What a blob came to.
#[derive(Default)]
struct Bytes {
    lines: u64,
    rows: u64,
    json: u64,
    gzip: u64,
}

/// A blob to be: its path, its devices, the bad lines before each of them, and what is unusual about its bytes.
#[derive(Debug, Default)]
struct Blob {
    path: String,
    slots: Range<u32>,
    /// By slot; the slot past the last one is the end of the blob.
    bad_lines: BTreeMap<u32, Vec<u32>>,
    two_members: bool,
    crlf: bool,
    blank_lines: bool,
    bom: bool,
    unterminated: bool,
}

fn plan(options: &SnapshotOptions, export: &str, groups: &[Group]) -> Vec<Blob> {
    let generated = options.generated_time;
    // Each export is written by a job of its own; what InfoGathering's is called stays as it was.
    let of_export = salt(export) ^ salt("InfoGatheringExport");
    let subject = generated.timestamp() as u64 ^ of_export;
    let mut job = Dice::new(options.seed, Purpose::Job, subject, options.day);
    let job = uuid::Builder::from_random_bytes(job.bytes()).into_uuid();
    let folder = format!(
        "{}/{export}/json/OrgId={}",
        generated.format("%Y-%m-%d/%H%M"),
        options.org_id
    );

    let ungrouped = (f64::from(options.devices) * options.oddities.ungrouped).round() as u32;
    let grouped = options.devices - ungrouped;
    let groups_count = groups.len() as u32;
    let beyond_one_each = options.blobs.saturating_sub(groups_count);
    let mut spare = beyond_one_each;
    let mut blobs = Vec::new();
    let mut add = |folder: &str, subject: u64, slots: Range<u32>, empty: u32| {
        let share = f64::from(slots.len() as u32) / f64::from(options.devices.max(1));
        let extra = spare.min((f64::from(beyond_one_each) * share).ceil() as u32);
        spare -= extra;
        let filled = (1 + extra).min(slots.len() as u32);
        let mut dice = Dice::new(options.seed, Purpose::PartNumbers, subject, 0);
        for (name, slots) in parts(&mut dice, slots, filled, empty) {
            blobs.push(Blob {
                path: format!(
                    "{folder}/part-{:05}-{job}.c{:03}.json.gz",
                    name.number, name.roll
                ),
                slots,
                ..Blob::default()
            });
        }
    };
    for (rank, group) in (0..).zip(groups) {
        let slots = group.slots.start.min(grouped)..group.slots.end.min(grouped);
        let empty = options.oddities.empty_blobs;
        let empty = empty / groups_count + u32::from(rank < empty % groups_count);
        add(
            &format!("{folder}/_RbacGroupId={}", group.id),
            u64::from(rank),
            slots,
            empty,
        );
    }
    add(&folder, u64::from(u32::MAX), grouped..options.devices, 0);

    add_oddities(options, &mut blobs);
    blobs
}

/// What a writer task's number and roll-over index say in a blob's name.
struct PartName {
    number: u32,
    roll: u32,
}

/// Cuts slots into `filled` parts of about the same size, with `empty` ones after them.
fn parts(
    dice: &mut Dice,
    slots: Range<u32>,
    filled: u32,
    empty: u32,
) -> Vec<(PartName, Range<u32>)> {
    let size = slots.len() as u64;
    let edge = |index: u32| {
        slots.start + (size * u64::from(index.min(filled)) / u64::from(filled.max(1))) as u32
    };
    let (mut number, mut roll) = (dice.below(12), 0);
    (0..filled + empty)
        .map(|index| {
            // A task that writes more than one file rolls over; the next task is some numbers away.
            if index > 0 && dice.chance(0.2) {
                roll += 1;
            } else if index > 0 {
                (number, roll) = (number + 1 + dice.below(4), 0);
            }
            (PartName { number, roll }, edge(index)..edge(index + 1))
        })
        .collect()
}

fn add_oddities(options: &SnapshotOptions, blobs: &mut [Blob]) {
    let odd = &options.oddities;
    let count = blobs.len();
    // At least one blob has each trait that is asked for; the phases keep different traits from always meeting.
    let has = |index: usize, phase: usize, share: f64| {
        (((index + phase) % count) as f64 * share).fract() < share
    };
    for (index, blob) in blobs.iter_mut().enumerate() {
        blob.two_members = has(index, 0, odd.two_member_blobs);
        blob.crlf = has(index, 1, odd.crlf_blobs);
        blob.blank_lines = has(index, 2, odd.blank_line_blobs);
        blob.bom = has(index, 3, odd.bom_blobs);
        blob.unterminated = has(index, 5, odd.unterminated_blobs);
    }
    let mut dice = Dice::new(options.seed, Purpose::BadLines, 0, options.day);
    let holders: Vec<usize> = (0..count)
        .filter(|&index| !blobs[index].slots.is_empty())
        .collect();
    for number in 0..if holders.is_empty() { 0 } else { odd.bad_lines } {
        let blob = &mut blobs[dice.pick(&holders)];
        let before = blob.slots.start + dice.below(blob.slots.len() as u32 + 1);
        blob.bad_lines.entry(before).or_default().push(number);
    }
}

impl Blob {
    fn write(&self, content: &mut Lines<'_>, path: &Path) -> std::io::Result<Bytes> {
        let mut bytes = Bytes::default();
        let mut chunk = Vec::with_capacity(CHUNK + 8 * 1024);
        if self.bom {
            chunk.extend_from_slice(b"\xef\xbb\xbf");
        }
        let middle = self
            .two_members
            .then(|| self.slots.start + self.slots.len() as u32 / 2);
        let mut encoder =
            GzEncoder::new(BufWriter::new(File::create(path)?), Compression::new(LEVEL));
        let mut lines = 0;
        for slot in self.slots.start..=self.slots.end {
            for &number in self.bad_lines.get(&slot).map_or(&[][..], Vec::as_slice) {
                self.begin_line(&mut lines, &mut chunk);
                chunk.extend_from_slice(bad_line(number).as_bytes());
            }
            if slot < self.slots.end {
                for row in 0..content.begin(slot) {
                    self.begin_line(&mut lines, &mut chunk);
                    content.write(slot, row, &mut chunk);
                    bytes.rows += 1;
                }
            } else if lines > 0 && !self.unterminated {
                self.end_line(&mut chunk);
            }
            if chunk.len() >= CHUNK || slot == self.slots.end || Some(slot) == middle {
                encoder.write_all(&chunk)?;
                bytes.json += chunk.len() as u64;
                chunk.clear();
            }
            if Some(slot) == middle {
                encoder = GzEncoder::new(encoder.finish()?, Compression::new(LEVEL));
            }
        }
        let file = encoder
            .finish()?
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)?;
        bytes.lines = lines;
        bytes.gzip = file.metadata()?.len();
        Ok(bytes)
    }

    fn begin_line(&self, lines: &mut u64, chunk: &mut Vec<u8>) {
        if *lines > 0 {
            self.end_line(chunk);
        }
        *lines += 1;
        if self.blank_lines && *lines % 5 == 1 {
            chunk.extend_from_slice(if lines.is_multiple_of(2) {
                b""
            } else {
                b"  \t"
            });
            self.end_line(chunk);
        }
    }

    fn end_line(&self, chunk: &mut Vec<u8>) {
        chunk.extend_from_slice(if self.crlf { b"\r\n" } else { b"\n" });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};
    use std::io::Read;

    use dataset::BlobPath;
    use flate2::read::MultiGzDecoder;
    use serde_json::Value;

    use super::*;
    use crate::options::Oddities;

    /// Blob path and bytes of every file.
    fn files(options: &SnapshotOptions) -> (Written, BTreeMap<String, Vec<u8>>) {
        let dir = tempfile::tempdir().unwrap();
        let written = write_snapshot(dir.path(), options).unwrap();
        let groups = groups(options.devices, options.groups);
        let files = plan(options, "InfoGatheringExport", &groups)
            .into_iter()
            .map(|blob| {
                let bytes = fs::read(dir.path().join(&blob.path)).unwrap();
                (blob.path, bytes)
            })
            .collect();
        (written, files)
    }

    fn inflate(gzip: &[u8]) -> Vec<u8> {
        let mut json = Vec::new();
        MultiGzDecoder::new(gzip).read_to_end(&mut json).unwrap();
        json
    }

    fn options() -> SnapshotOptions {
        SnapshotOptions {
            devices: 3_000,
            blobs: 40,
            ..SnapshotOptions::default()
        }
    }

    #[test]
    fn the_same_options_give_the_same_files() {
        let odd = SnapshotOptions {
            oddities: Oddities::all(),
            ..options()
        };
        assert_eq!(files(&odd), files(&odd));
        let other = SnapshotOptions {
            seed: 2,
            ..odd.clone()
        };
        assert_ne!(files(&odd).1, files(&other).1);
    }

    #[test]
    fn paths_follow_the_grammar_and_blobs_hold_the_group_they_name() {
        let (written, files) = files(&options());
        assert_eq!(
            (written.blobs, written.devices, written.bad_lines),
            (files.len(), 3_000, 0)
        );
        assert!((30..=50).contains(&files.len()), "{}", files.len());
        let mut ids = BTreeSet::new();
        let mut sizes: HashMap<i64, usize> = HashMap::new();
        let mut names = Vec::new();
        let mut json_bytes = 0;
        for (path, gzip) in &files {
            let path = BlobPath::parse(path).unwrap();
            let group = path.rbac_group_id().unwrap();
            names.push((group, path.part_name().unwrap().clone()));
            assert_eq!(path.generated_time().unwrap(), written.generated_time);
            let json = String::from_utf8(inflate(gzip)).unwrap();
            json_bytes += json.len() as u64;
            assert!(json.ends_with('\n'));
            for line in json.lines() {
                let row: Value = serde_json::from_str(line).unwrap();
                assert_eq!(row["RbacGroupId"], group);
                ids.insert(row["DeviceId"].as_str().unwrap().to_owned());
                *sizes.entry(group).or_default() += 1;
            }
        }
        assert_eq!((ids.len(), json_bytes), (3_000, written.json_bytes));
        assert_eq!(
            files.values().map(|gzip| gzip.len() as u64).sum::<u64>(),
            written.gzip_bytes
        );
        assert!(
            sizes[&1_001] > 100 * sizes.values().min().unwrap(),
            "{sizes:?}"
        );
        assert_eq!(
            names
                .iter()
                .map(|(_, name)| &name.job)
                .collect::<BTreeSet<_>>()
                .len(),
            1
        );
        assert!(names.iter().any(|(_, name)| name.roll > 0), "roll-overs");
        let numbers: BTreeSet<_> = names.iter().map(|(_, name)| name.number).collect();
        assert!(numbers.len() < names.len(), "numbers repeat");
        assert!(
            *numbers.last().unwrap() as usize > numbers.len(),
            "numbers have gaps"
        );
    }

    #[test]
    fn odd_blobs_are_as_odd_as_asked_for() {
        let odd = SnapshotOptions {
            oddities: Oddities::all(),
            ..options()
        };
        let (written, files) = files(&odd);
        assert_eq!((written.devices, written.bad_lines), (3_000, 12));
        let (mut records, mut bad, mut ungrouped) = (0, 0, 0);
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (path, gzip) in &files {
            let json = inflate(gzip);
            let mut first_member = Vec::new();
            flate2::read::GzDecoder::new(&gzip[..])
                .read_to_end(&mut first_member)
                .unwrap();
            let mut see = |what, is: bool| *seen.entry(what).or_default() += usize::from(is);
            see("empty", json.is_empty());
            see("two members", first_member.len() < json.len());
            see("byte order mark", json.starts_with(b"\xef\xbb\xbf"));
            see("unterminated", !json.is_empty() && !json.ends_with(b"\n"));
            let text = String::from_utf8(json).unwrap();
            see("crlf", text.contains("\r\n"));
            see(
                "blank line",
                text.lines()
                    .any(|line| line.trim_start_matches('\u{feff}').trim().is_empty()),
            );
            let grouped = BlobPath::parse(path).unwrap().rbac_group_id().is_some();
            for line in text
                .trim_start_matches('\u{feff}')
                .lines()
                .filter(|line| !line.trim().is_empty())
            {
                match serde_json::from_str::<Value>(line) {
                    Ok(row) if row.get("DeviceId").is_some() => records += 1,
                    _ => bad += 1,
                }
                ungrouped += usize::from(!grouped);
            }
        }
        assert_eq!((records, bad), (3_000, 12));
        assert!(ungrouped >= 300);
        for (what, blobs) in seen {
            assert!(blobs > 0, "no blob is `{what}`");
        }
    }

    #[test]
    fn no_devices_are_no_blobs_and_wrong_shares_are_refused() {
        let none = SnapshotOptions {
            devices: 0,
            oddities: Oddities::all(),
            ..options()
        };
        assert_eq!(files(&none).0.blobs, 0);
        let wrong = SnapshotOptions {
            changed: 1.5,
            ..options()
        };
        let refused = write_snapshot(Path::new("unused"), &wrong).unwrap_err();
        assert!(
            matches!(
                refused,
                Error::Option {
                    option: "changed",
                    ..
                }
            ),
            "{refused}"
        );
    }
}
