//! What a run will do: the snapshot's blobs, divided into parts and segments. Holds no secret and touches nothing.
//!
//! ```text
//! part      one Parquet file: blobs of one partition, together about the target size
//!   segment   what one CPU job decodes and encodes at a time: blobs of a part, together about the segment size
//!     blob      never split
//! ```
//! The plan is a pure function of blobs, sizes and settings: the same snapshot always gives the same files.

use std::collections::BTreeMap;

use dataset::{BlobPath, Snapshot};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::PipelineError;

/// Version of the plan's form.
pub const PLAN_VERSION: u32 = 1;

/// Parquet bytes that a byte of gzip becomes, about: 0.43 measured on InfoGathering records, with some room.
const PARQUET_OF_GZIP: f64 = 0.5;

/// A snapshot and its parts. Does not change: a plan with other parts is another plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    #[serde(deserialize_with = "known_version")]
    version: u32,
    snapshot: Snapshot,
    parts: Vec<Part>,
}

/// One Parquet file to be made; of blobs whose path names no device group, one in each group's partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its number, from 0.
    pub number: u32,
    /// The device group in the blobs' paths.
    pub rbac_group_id: Option<i64>,
    /// Its segments, in the order of the rows.
    pub segments: Vec<Vec<PlannedBlob>>,
}

/// A blob to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedBlob {
    /// Blob path.
    pub path: BlobPath,
    /// Compressed bytes.
    pub bytes: u64,
}

impl Part {
    /// Its blobs, in the order of the rows.
    pub fn blobs(&self) -> impl Iterator<Item = &PlannedBlob> {
        self.segments.iter().flatten()
    }
}

impl Plan {
    /// Divides blobs into parts of about `target_file_bytes` of Parquet and segments of about `segment_bytes` of gzip.
    pub fn new(
        snapshot: Snapshot,
        mut blobs: Vec<PlannedBlob>,
        target_file_bytes: u64,
        segment_bytes: u64,
    ) -> Result<Self, PipelineError> {
        blobs.sort_by(|a, b| a.path.cmp(&b.path));
        if let Some(pair) = blobs.windows(2).find(|pair| pair[0].path == pair[1].path) {
            let blob = pair[0].path.to_string();
            return Err(PipelineError::ListedTwice { blob });
        }
        let mut groups: BTreeMap<Option<i64>, Vec<PlannedBlob>> = BTreeMap::new();
        for blob in blobs {
            groups
                .entry(blob.path.rbac_group_id())
                .or_default()
                .push(blob);
        }
        let part_bytes = (target_file_bytes as f64 / PARQUET_OF_GZIP) as u64;
        let mut parts = Vec::new();
        for (rbac_group_id, blobs) in groups {
            // Rows of several partitions are sorted in memory, segment by segment: a part of them is one segment.
            let part_bytes = rbac_group_id.map_or(segment_bytes, |_| part_bytes);
            for blobs in divided(blobs, part_bytes) {
                parts.push(Part {
                    number: u32::try_from(parts.len()).unwrap_or(u32::MAX),
                    rbac_group_id,
                    segments: divided(blobs, segment_bytes),
                });
            }
        }
        Ok(Self {
            version: PLAN_VERSION,
            snapshot,
            parts,
        })
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The parts, by number.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The plan with this part in the place of the one of its number.
    pub(crate) fn with_part(mut self, part: Part) -> Self {
        let mut planned = self.parts.iter_mut();
        if let Some(planned) = planned.find(|planned| planned.number == part.number) {
            *planned = part;
        }
        self
    }

    /// All blobs, by part.
    pub fn blobs(&self) -> impl Iterator<Item = &PlannedBlob> {
        self.parts.iter().flat_map(Part::blobs)
    }

    /// Compressed bytes of all blobs.
    pub fn bytes(&self) -> u64 {
        self.blobs().map(|blob| blob.bytes).sum()
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

/// Runs of blobs, in order, each of at most `limit` bytes or of one blob.
fn divided(blobs: Vec<PlannedBlob>, limit: u64) -> Vec<Vec<PlannedBlob>> {
    let mut runs: Vec<Vec<PlannedBlob>> = Vec::new();
    let mut filled = 0;
    for blob in blobs {
        match runs.last_mut() {
            Some(run) if filled + blob.bytes <= limit => {
                filled += blob.bytes;
                run.push(blob);
            }
            _ => {
                filled = blob.bytes;
                runs.push(vec![blob]);
            }
        }
    }
    runs
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
            bytes,
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

    fn shape(plan: &Plan) -> Vec<(Option<i64>, Vec<Vec<&str>>)> {
        let names = |segment: &'_ Vec<PlannedBlob>| {
            segment
                .iter()
                .filter_map(|blob| blob.path.as_str().rsplit('/').next().map(str::to_owned))
                .collect()
        };
        let parts = plan.parts.iter();
        let owned: Vec<(Option<i64>, Vec<Vec<String>>)> = parts
            .map(|part| {
                (
                    part.rbac_group_id,
                    part.segments.iter().map(names).collect(),
                )
            })
            .collect();
        let leak = |name: String| -> &'static str { Box::leak(name.into_boxed_str()) };
        owned
            .into_iter()
            .map(|(group, segments)| {
                let segments = segments
                    .into_iter()
                    .map(|s| s.into_iter().map(leak).collect());
                (group, segments.collect())
            })
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
            [
                (Some(1), vec![vec!["a", "b"], vec!["c"]]),
                (Some(1), vec![vec!["d"]]),
                (Some(2), vec![vec!["e"]]),
                (Some(2), vec![vec!["f"]]),
            ]
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
        assert_eq!(
            shape(&plan),
            [(None, vec![vec!["a"]]), (None, vec![vec!["b", "c"]])]
        );
        assert_eq!(
            plan.parts
                .iter()
                .map(|part| part.number)
                .collect::<Vec<_>>(),
            [0, 1]
        );
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
                bytes: 70,
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
        let later = json.replace("\"version\":1", "\"version\":2");
        let error = serde_json::from_str::<Plan>(&later).unwrap_err();
        assert!(error.to_string().contains("version 2"), "{error}");
    }

    #[test]
    fn a_plan_with_another_part_keeps_all_its_other_parts() {
        let before = plan(vec![blob("a", 70, Some(1)), blob("b", 70, Some(1))]).unwrap();
        let mut part = before.parts()[1].clone();
        part.segments[0][0].bytes = 71;
        let after = before.clone().with_part(part.clone());
        assert_eq!(after.parts(), [before.parts()[0].clone(), part]);
        assert_eq!((before.bytes(), after.bytes()), (140, 141));
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
