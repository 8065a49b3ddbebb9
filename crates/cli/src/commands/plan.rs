//! `plan`: what a run would read and write. Writes nothing.

use dataset::{Dataset, GENERATED_DATE};
use indicatif::{BinaryBytes, HumanCount};
use pipeline::{Part, Plan, PlannedBlob, Resources};
use serde::Serialize;

use crate::arguments::PlanArguments;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::log::Log;
use crate::output;
use crate::progress::Progress;

pub(super) async fn run(arguments: &PlanArguments, log: &Log) -> Result<ExitCode, Failure> {
    let pipeline = super::pipeline(&arguments.pipeline, arguments.known.overrides())?;
    let progress = Progress::new(log);
    let mut failures = super::Failures::of(&pipeline, log);
    let mut plans = Vec::new();
    let resources = Resources::new(&pipeline.work);
    for settings in &pipeline.each {
        let plan = pipeline::plan(&resources, settings, &progress.observer()).await;
        progress.clear();
        let Some(plan) = failures.take(settings, plan)? else {
            continue;
        };
        if !arguments.json {
            output::line(&text(&plan, &settings.dataset, &settings.lake.root))?;
        }
        let parts = plan.parts();
        plans.push(PlanAndParts { plan, parts });
    }
    if arguments.json {
        super::print_each(&pipeline, &plans)?;
    }
    Ok(failures.code(ExitCode::Done))
}

/// A plan, and what follows from it.
#[derive(Serialize)]
struct PlanAndParts {
    #[serde(flatten)]
    plan: Plan,
    /// None while sizes are not known.
    parts: Option<Vec<Part>>,
}

/// The snapshot, then a line for every file to be made, or where too few sizes are known for that, for every device group.
fn text(plan: &Plan, dataset: &Dataset, root: &str) -> String {
    let snapshot = plan.snapshot();
    let mut out = format!(
        "{}  {}, generated {}, organisation {}\nwould read {} in {} blobs and write below {}/{}:\n",
        snapshot.id(),
        snapshot.dataset,
        snapshot.generated_time.format("%Y-%m-%dT%H:%M:%SZ"),
        snapshot.org_id,
        amount(plan.blobs(), plan.blobs()),
        HumanCount(plan.blobs().len() as u64),
        root.trim_end_matches('/'),
        snapshot.dataset,
    );
    let mut line = |group, part: &str, amount: &str, blobs| {
        let file = file(plan, group, part, &dataset.partition.column);
        out.push_str(&format!("  {file}  from {amount} in {blobs} blobs\n"));
    };
    if let Some(parts) = plan.parts() {
        for part in parts {
            let bytes = BinaryBytes(part.blobs().map(|blob| blob.bytes).sum());
            let number = format!("{:05}", part.number);
            let blobs = part.blobs().count();
            line(part.rbac_group_id, &number, &bytes.to_string(), blobs);
        }
        return out;
    }
    let group = |blob: &PlannedBlob| blob.path.rbac_group_id();
    for blobs in plan.blobs().chunk_by(|a, b| group(a) == group(b)) {
        let amount = amount(blobs, plan.blobs());
        line(blobs.first().and_then(group), "*", &amount, blobs.len());
    }
    out.push_str(
        "which files of a group, the sizes of its blobs will say: of more than 1,000, a plan asks for some\n",
    );
    out
}

/// Compressed bytes of blobs; an estimate where not all sizes are known, by the mean of those that are, here or at least elsewhere.
fn amount(blobs: &[PlannedBlob], all: &[PlannedBlob]) -> String {
    let known = |blobs: &[PlannedBlob]| {
        let sizes: Vec<u64> = blobs.iter().filter_map(|blob| blob.bytes).collect();
        (sizes.iter().sum::<u64>(), sizes.len())
    };
    let (bytes, sizes) = known(blobs);
    if sizes == blobs.len() {
        return BinaryBytes(bytes).to_string();
    }
    let (bytes, sizes) = if sizes > 0 {
        (bytes, sizes)
    } else {
        known(all)
    };
    if sizes == 0 {
        return "an unknown amount".to_owned();
    }
    let mean = bytes as f64 / sizes as f64;
    format!("about {}", BinaryBytes((mean * blobs.len() as f64) as u64))
}

/// A part's file, below the table's folder. Which groups its rows are of is not known before they are read, where the
/// blobs' paths do not say it: the part is then a file in every group's partition.
fn file(plan: &Plan, rbac_group_id: Option<i64>, part: &str, column: &str) -> String {
    let group = rbac_group_id.map_or_else(|| "*".to_owned(), |id| id.to_string());
    format!(
        "{GENERATED_DATE}={}/{column}={group}/part-{}-{part}.parquet",
        plan.snapshot().generated_date(),
        plan.snapshot().id(),
    )
}

#[cfg(test)]
mod tests {
    use dataset::{BlobPath, Snapshot};

    use super::*;

    /// The lines that `plan` prints of blobs: of device group 7 two, of one KiB each, and one of none.
    fn lines(bytes: [Option<u64>; 3]) -> Vec<String> {
        let snapshot = Snapshot {
            dataset: "info_gathering".to_owned(),
            org_id: "47d41a0c-188d-46d3-bbea-a93dbc0bfcaa".parse().unwrap(),
            generated_time: "2022-07-26T10:01:00Z".parse().unwrap(),
        };
        let paths = ["_RbacGroupId=7/a", "_RbacGroupId=7/b", "c"];
        let blobs = paths.into_iter().zip(bytes);
        let blobs = blobs.map(|(path, bytes)| PlannedBlob {
            path: BlobPath::parse(path).unwrap(),
            bytes,
        });
        let blobs = blobs.collect();
        let plan = Plan::new(snapshot, blobs, 1 << 20, 1 << 20).unwrap();
        let mut dataset = Dataset::built_in("info_gathering").unwrap();
        dataset.partition.column = "site".to_owned();
        let text = text(&plan, &dataset, "./lake/");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_plan_names_the_files_that_it_would_write() {
        let lines = lines([Some(1024); 3]);
        assert!(lines[0].starts_with(
            "20220726T100100Z-47d41a0c  info_gathering, generated 2022-07-26T10:01:00Z"
        ));
        assert_eq!(
            lines[1],
            "would read 3.00 KiB in 3 blobs and write below ./lake/info_gathering:"
        );
        let folder = "  generated_date=2022-07-26/site";
        let part = "part-20220726T100100Z-47d41a0c";
        assert_eq!(
            lines[2..],
            [
                format!("{folder}=*/{part}-00000.parquet  from 1.00 KiB in 1 blobs"),
                format!("{folder}=7/{part}-00001.parquet  from 2.00 KiB in 2 blobs"),
            ]
        );
    }

    #[test]
    fn a_plan_without_all_sizes_names_groups_and_estimates() {
        let folder = "  generated_date=2022-07-26/site";
        let part = "part-20220726T100100Z-47d41a0c";
        let some = lines([Some(1024), None, None]);
        assert!(some[1].starts_with("would read about 3.00 KiB in 3 blobs"));
        assert_eq!(
            some[2..4],
            [
                format!("{folder}=*/{part}-*.parquet  from about 1.00 KiB in 1 blobs"),
                format!("{folder}=7/{part}-*.parquet  from about 2.00 KiB in 2 blobs"),
            ]
        );
        assert!(some[4].contains("sizes of its blobs"));
        assert!(lines([None; 3])[1].starts_with("would read an unknown amount in 3 blobs"));
    }
}
