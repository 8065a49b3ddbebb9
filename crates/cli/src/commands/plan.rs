//! `plan`: what a run would read and write. Writes nothing.

use dataset::{Dataset, GENERATED_DATE};
use indicatif::{BinaryBytes, HumanCount};
use pipeline::{Part, Plan, Resources};

use crate::arguments::PlanArguments;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::log::Log;
use crate::output;
use crate::progress::Progress;

pub(super) async fn run(arguments: &PlanArguments, log: &Log) -> Result<ExitCode, Failure> {
    let settings = super::settings(&arguments.pipeline, arguments.known.overrides())?;
    let progress = Progress::new(log);
    let resources = Resources::new(&settings.work);
    let plan = pipeline::plan(&resources, &settings, &progress.observer()).await;
    progress.clear();
    let plan = plan?;
    if arguments.json {
        output::json(&plan)?;
    } else {
        output::line(&text(&plan, &settings.dataset, &settings.lake.root))?;
    }
    Ok(ExitCode::Done)
}

/// The snapshot, then a line for every file to be made.
fn text(plan: &Plan, dataset: &Dataset, root: &str) -> String {
    let column = &dataset.partition.column;
    let snapshot = plan.snapshot();
    let mut out = format!(
        "{}  {}, generated {}, organisation {}\nwould read {} in {} blobs and write below {}/{}:\n",
        snapshot.id(),
        snapshot.dataset,
        snapshot.generated_time.format("%Y-%m-%dT%H:%M:%SZ"),
        snapshot.org_id,
        BinaryBytes(plan.bytes()),
        HumanCount(plan.blobs().count() as u64),
        root.trim_end_matches('/'),
        snapshot.dataset,
    );
    for part in plan.parts() {
        let bytes: u64 = part.blobs().map(|blob| blob.bytes).sum();
        out.push_str(&format!(
            "  {}  from {} in {} blobs\n",
            file(plan, part, column),
            BinaryBytes(bytes),
            part.blobs().count()
        ));
    }
    out
}

/// The part's file, below the table's folder. Which groups its rows are of is not known before they are read, where the
/// blobs' paths do not say it: the part is then a file in every group's partition.
fn file(plan: &Plan, part: &Part, column: &str) -> String {
    let group = part
        .rbac_group_id
        .map_or_else(|| "*".to_owned(), |id| id.to_string());
    format!(
        "{GENERATED_DATE}={}/{column}={group}/part-{}-{:05}.parquet",
        plan.snapshot().generated_date(),
        plan.snapshot().id(),
        part.number
    )
}

#[cfg(test)]
mod tests {
    use dataset::{BlobPath, Snapshot};
    use pipeline::PlannedBlob;

    use super::*;

    #[test]
    fn a_plan_names_the_files_that_it_would_write() {
        let snapshot = Snapshot {
            dataset: "info_gathering".to_owned(),
            org_id: "47d41a0c-188d-46d3-bbea-a93dbc0bfcaa".parse().unwrap(),
            generated_time: "2022-07-26T10:01:00Z".parse().unwrap(),
        };
        let blob = |path: &str| PlannedBlob {
            path: BlobPath::parse(path).unwrap(),
            bytes: 1024,
        };
        let blobs = vec![
            blob("_RbacGroupId=7/a"),
            blob("_RbacGroupId=7/b"),
            blob("c"),
        ];
        let plan = Plan::new(snapshot, blobs, 1 << 20, 1 << 20).unwrap();
        let mut dataset = Dataset::built_in("info_gathering").unwrap();
        dataset.partition.column = "site".to_owned();
        let text = text(&plan, &dataset, "./lake/");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with(
            "20220726T100100Z-47d41a0c  info_gathering, generated 2022-07-26T10:01:00Z"
        ));
        assert_eq!(
            lines[1],
            "would read 3.00 KiB in 3 blobs and write below ./lake/info_gathering:"
        );
        let folder = "  generated_date=2022-07-26/site";
        assert!(lines.contains(
            &format!("{folder}=7/part-20220726T100100Z-47d41a0c-00001.parquet  from 2.00 KiB in 2 blobs").as_str()
        ));
        assert!(lines.contains(
            &format!("{folder}=*/part-20220726T100100Z-47d41a0c-00000.parquet  from 1.00 KiB in 1 blobs").as_str()
        ));
    }
}
