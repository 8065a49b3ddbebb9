//! What a run will do: the snapshot's blobs in the order in which they are read, and how they are divided into parts and segments.
//! Holds no secret and touches nothing.
//!
//! ```text
//! part      one Parquet file: blobs of one partition, together about the target size
//!   segment   what one CPU job decodes and encodes at a time: blobs of a part, together about the segment size
//!     blob      never split
//! ```
//! Where a part ends follows from the sizes of its blobs. A listing has none, and a request a blob would be a hundred thousand before
//! the first byte of data: a run learns each from its download's own answer, and divides as they come ([`Divider`]). The division
//! looks at one blob after the other in the plan's order, whatever order they arrive in: it is a pure function of blobs, sizes
//! and settings, and the same snapshot always gives the same files.

use dataset::{BlobPath, Snapshot};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::PipelineError;

/// Version of the plan's form.
pub const PLAN_VERSION: u32 = 2;

/// Parquet bytes that a byte of gzip becomes, about: 0.43 measured on InfoGathering records, with some room.
const PARQUET_OF_GZIP: f64 = 0.5;

/// A snapshot, its blobs, and how they are divided. Does not change: a plan with other blobs is another plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    #[serde(deserialize_with = "known_version")]
    version: u32,
    snapshot: Snapshot,
    /// Compressed bytes of a part, about.
    part_bytes: u64,
    /// Compressed bytes of a segment, about.
    segment_bytes: u64,
    /// By device group and path: the order of the rows.
    blobs: Vec<PlannedBlob>,
}

/// A blob to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedBlob {
    /// Blob path.
    pub path: BlobPath,
    /// Compressed bytes, where they are known before it is read.
    pub bytes: Option<u64>,
}

/// One Parquet file to be made; of blobs whose path names no device group, one in each group's partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its number, from 0.
    pub number: u32,
    /// The device group in the blobs' paths.
    pub rbac_group_id: Option<i64>,
    /// Its segments, in the order of the rows.
    pub segments: Vec<Vec<SizedBlob>>,
}

/// A blob whose size is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SizedBlob {
    /// Blob path.
    pub path: BlobPath,
    /// Compressed bytes.
    pub bytes: u64,
}

impl Part {
    /// Its blobs, in the order of the rows.
    pub fn blobs(&self) -> impl Iterator<Item = &SizedBlob> {
        self.segments.iter().flatten()
    }
}

impl Plan {
    /// Blobs that are to be divided into parts of about `target_file_bytes` of Parquet and segments of about `segment_bytes` of
    /// gzip.
    pub fn new(
        snapshot: Snapshot,
        mut blobs: Vec<PlannedBlob>,
        target_file_bytes: u64,
        segment_bytes: u64,
    ) -> Result<Self, PipelineError> {
        let key = |blob: &PlannedBlob| (blob.path.rbac_group_id(), blob.path.clone());
        blobs.sort_by_cached_key(key);
        if let Some(pair) = blobs.windows(2).find(|pair| pair[0].path == pair[1].path) {
            let blob = pair[0].path.to_string();
            return Err(PipelineError::ListedTwice { blob });
        }
        Ok(Self {
            version: PLAN_VERSION,
            snapshot,
            part_bytes: (target_file_bytes as f64 / PARQUET_OF_GZIP) as u64,
            segment_bytes,
            blobs,
        })
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// All blobs, in the order of the rows.
    pub fn blobs(&self) -> &[PlannedBlob] {
        &self.blobs
    }

    /// Compressed bytes of all blobs, if they are known.
    pub fn bytes(&self) -> Option<u64> {
        self.blobs.iter().map(|blob| blob.bytes).sum()
    }

    /// The parts, by number, if the sizes of all blobs are known.
    pub fn parts(&self) -> Option<Vec<Part>> {
        let mut divider = self.divider();
        let mut parts: Vec<Part> = Vec::new();
        for blob in &self.blobs {
            let blob = SizedBlob {
                path: blob.path.clone(),
                bytes: blob.bytes?,
            };
            let place = divider.place(&blob);
            if let Place::NewPart(number) = place {
                parts.push(Part::new(number, blob.path.rbac_group_id()));
            }
            if let Some(part) = parts.last_mut() {
                part.add(blob, place);
            }
        }
        Some(parts)
    }

    /// Divides the plan's blobs, from the first one on.
    pub(crate) fn divider(&self) -> Divider {
        Divider {
            part_bytes: self.part_bytes,
            segment_bytes: self.segment_bytes,
            parts: 0,
            current: None,
        }
    }
}

/// Where a blob is to be read, after the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    SameSegment,
    NewSegment,
    /// In the first segment of the part with this number.
    NewPart(u32),
}

/// Divides blobs, given in the plan's order, each once its size is known.
#[derive(Debug)]
pub(crate) struct Divider {
    part_bytes: u64,
    segment_bytes: u64,
    parts: u32,
    current: Option<Filled>,
}

/// The part that is being filled, and its last segment.
#[derive(Debug)]
struct Filled {
    rbac_group_id: Option<i64>,
    part: u64,
    segment: u64,
}

impl Divider {
    /// Each part and segment takes blobs up to its size, or one that is larger.
    pub(crate) fn place(&mut self, blob: &SizedBlob) -> Place {
        let rbac_group_id = blob.path.rbac_group_id();
        // Rows of several partitions are sorted in memory, segment by segment: a part of them is one segment.
        let part_bytes = rbac_group_id.map_or(self.segment_bytes, |_| self.part_bytes);
        let current = self.current.take().filter(|filled| {
            filled.rbac_group_id == rbac_group_id
                && filled.part.saturating_add(blob.bytes) <= part_bytes
        });
        let (filled, place) = match current {
            None => {
                let number = self.parts;
                self.parts = number.saturating_add(1);
                let filled = Filled {
                    rbac_group_id,
                    part: blob.bytes,
                    segment: blob.bytes,
                };
                (filled, Place::NewPart(number))
            }
            Some(filled) => {
                let part = filled.part.saturating_add(blob.bytes);
                let segment = filled.segment.saturating_add(blob.bytes);
                let (segment, place) = match segment <= self.segment_bytes {
                    true => (segment, Place::SameSegment),
                    false => (blob.bytes, Place::NewSegment),
                };
                let filled = Filled {
                    part,
                    segment,
                    ..filled
                };
                (filled, place)
            }
        };
        self.current = Some(filled);
        place
    }
}

impl Part {
    /// One without blobs yet.
    pub(crate) fn new(number: u32, rbac_group_id: Option<i64>) -> Self {
        Self {
            number,
            rbac_group_id,
            segments: Vec::new(),
        }
    }

    /// Adds what comes next.
    pub(crate) fn add(&mut self, blob: SizedBlob, place: Place) {
        match self.segments.last_mut() {
            Some(segment) if place == Place::SameSegment => segment.push(blob),
            _ => self.segments.push(vec![blob]),
        }
    }
}

/// Refuses a plan that a later version of this program made.
fn known_version<'de, D: Deserializer<'de>>(wire: D) -> Result<u32, D::Error> {
    match u32::deserialize(wire)? {
        version if version <= PLAN_VERSION => Ok(version),
        version => Err(D::Error::custom(format!(
            "the plan has version {version}, and this program knows none beyond {PLAN_VERSION}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn blob(name: &str, bytes: u64, rbac_group_id: Option<i64>) -> PlannedBlob {
        let group = rbac_group_id.map(|group| format!("_RbacGroupId={group}/"));
        let path = format!("{}{name}", group.unwrap_or_default());
        PlannedBlob {
            path: BlobPath::parse(&path).unwrap(),
            bytes: Some(bytes),
        }
    }

    fn plan(blobs: Vec<PlannedBlob>) -> Result<Plan, PipelineError> {
        let snapshot = Snapshot {
            dataset: "x".to_owned(),
            org_id: "47d41a0c-188d-46d3-bbea-a93dbc0bfcaa".parse().unwrap(),
            generated_time: DateTime::UNIX_EPOCH,
        };
        Plan::new(snapshot, blobs, 50, 30)
    }

    /// Each part as its group and its blobs' names, with a bar between segments.
    fn shape(plan: &Plan) -> Vec<(Option<i64>, String)> {
        let name = |blob: &SizedBlob| blob.path.as_str().rsplit('/').next().unwrap().to_owned();
        let segment = |blobs: &Vec<SizedBlob>| blobs.iter().map(name).collect::<Vec<_>>().join(" ");
        let parts = plan.parts().unwrap().into_iter();
        parts
            .map(|part| {
                let segments: Vec<String> = part.segments.iter().map(segment).collect();
                (part.rbac_group_id, segments.join(" | "))
            })
            .collect()
    }

    fn shapes(expected: &[(Option<i64>, &str)]) -> Vec<(Option<i64>, String)> {
        let expected = expected.iter();
        expected
            .map(|(group, blobs)| (*group, (*blobs).to_owned()))
            .collect()
    }

    #[test]
    fn small_blobs_of_a_partition_share_a_part_and_none_is_split() {
        let blobs = vec![
            blob("e", 500, Some(2)),
            blob("a", 20, Some(1)),
            blob("c", 70, Some(1)),
            blob("b", 10, Some(1)),
            blob("d", 1, Some(1)),
            blob("f", 1, Some(2)),
        ];
        assert_eq!(
            shape(&plan(blobs).unwrap()),
            shapes(&[
                (Some(1), "a b | c"),
                (Some(1), "d"),
                (Some(2), "e"),
                (Some(2), "f")
            ])
        );
    }

    #[test]
    fn blobs_of_no_group_are_parts_of_one_segment() {
        let plan = plan(vec![
            blob("a", 20, None),
            blob("b", 20, None),
            blob("c", 5, None),
        ])
        .unwrap();
        assert_eq!(shape(&plan), shapes(&[(None, "a"), (None, "b c")]));
        let numbers = plan.parts().unwrap().into_iter().map(|part| part.number);
        assert_eq!(numbers.collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn parts_are_not_known_before_all_sizes_are() {
        let unknown = PlannedBlob {
            bytes: None,
            ..blob("a", 0, Some(1))
        };
        let some = plan(vec![unknown, blob("b", 20, Some(1))]).unwrap();
        assert_eq!((some.parts(), some.bytes()), (None, None));
        let none = plan(Vec::new()).unwrap();
        assert_eq!((none.parts(), none.bytes()), (Some(Vec::new()), Some(0)));
    }

    #[test]
    fn sizes_beyond_all_reason_are_parts_of_their_own() {
        let blobs = vec![blob("a", u64::MAX, Some(1)), blob("b", 5, Some(1))];
        let plan = plan(blobs).unwrap();
        assert_eq!(shape(&plan), shapes(&[(Some(1), "a"), (Some(1), "b")]));
    }

    #[test]
    fn a_plan_comes_back_from_json_as_it_was_without_signatures() {
        let url = "https://x.blob.core.windows.net/c/2022-07-26/1001/InfoGatheringExport/json/\
                   OrgId=47d41a0c-188d-46d3-bbea-a93dbc0bfcaa/_RbacGroupId=7/part-00000.json.gz\
                   ?se=2030-01-01T00%3A00%3A00Z&sig=T0pSecret";
        let url = extractor::SignedUrl::parse(url, chrono::Utc::now()).unwrap();
        let blobs = vec![
            PlannedBlob {
                path: url.blob_path().clone(),
                bytes: None,
            },
            blob("a", 20, None),
            blob("b", 20, Some(-1)),
        ];
        let plan = plan(blobs).unwrap();
        let json = serde_json::to_string(&plan).unwrap();
        assert!(
            json.contains("part-00000") && !json.contains("sig"),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
        let later = json.replace("\"version\":2", "\"version\":3");
        let error = serde_json::from_str::<Plan>(&later).unwrap_err();
        assert!(error.to_string().contains("version 3"), "{error}");
    }

    #[test]
    fn order_of_the_listing_does_not_matter_and_a_blob_counts_once() {
        let blobs = |reverse: bool| {
            let mut blobs: Vec<_> = (0..20)
                .map(|i| {
                    blob(
                        &format!("{i:02}"),
                        i * 7,
                        Some(i64::try_from(i).unwrap() % 3),
                    )
                })
                .collect();
            if reverse {
                blobs.reverse();
            }
            blobs
        };
        assert_eq!(plan(blobs(false)).unwrap(), plan(blobs(true)).unwrap());
        let twice = [blobs(false), blobs(false)].concat();
        assert!(matches!(
            plan(twice),
            Err(PipelineError::ListedTwice { .. })
        ));
    }
}
