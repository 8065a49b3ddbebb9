use std::sync::{Arc, Mutex};

use extractor::ExtractorError;
use tokio_util::sync::CancellationToken;
use writer::Lake;

use super::run_context::RunContext;
use super::scheduler::{CompletedWork, PartScheduler};
use super::staged_part::StagedPart;
use crate::error::PipelineError;
use crate::events::{Event, JobObserver};
use crate::fixtures::{Place, gzip};
use crate::plan::Plan;
use crate::resources::Resources;
use crate::source::list::list_source;

/// Two parts of two blobs each, all planned rightly.
fn place() -> Place {
    let place = Place::new();
    for number in 0..4 {
        let lines = format!("{{\"DeviceId\":\"{number}\"}}\n").repeat(100);
        place.blob(number, Some(7 + number / 2), &lines);
    }
    place
}

struct Outcome {
    work: Result<CompletedWork, PipelineError>,
    events: Vec<Event>,
    staged: usize,
}

/// Works on the place's blobs, after `spoil` changed the plan and what works on it.
async fn work(
    place: &Place,
    overrides: &[&str],
    spoil: impl FnOnce(Plan, &mut PartScheduler) -> Plan,
) -> Outcome {
    let settings = place.settings(overrides);
    let resources = Resources::new(&settings.work);
    let listed = list_source(&resources, &settings, &(Arc::new(|_| {}) as JobObserver))
        .await
        .unwrap();
    let plan = Plan::new(listed.snapshot, listed.blobs, 1 << 20, 1 << 10).unwrap();
    let lake = Lake::open(&settings.lake.root, &settings.lake.options).unwrap();
    let run_id = "run".to_owned();
    let snapshot = plan.snapshot();
    let context = RunContext::new(&resources, &settings, snapshot, lake.clone(), run_id).unwrap();
    let mut scheduler = PartScheduler::new(&settings, &context, listed.source);
    let plan = spoil(plan, &mut scheduler);
    let events = Arc::new(Mutex::new(Vec::new()));
    let observer: JobObserver = {
        let events = Arc::clone(&events);
        Arc::new(move |event| events.lock().unwrap().push(event))
    };
    let work = scheduler
        .work(plan, &observer, &CancellationToken::new())
        .await;
    let staged = lake
        .list("_lake/info_gathering/staging")
        .await
        .unwrap()
        .len();
    let events = std::mem::take(&mut *events.lock().unwrap());
    Outcome {
        work,
        events,
        staged,
    }
}

/// The second blob has a byte more than was planned.
fn with_a_wrong_size(plan: Plan) -> Plan {
    let mut part = plan.parts()[0].clone();
    part.segments[0][1].bytes += 1;
    plan.with_part(part)
}

#[tokio::test]
async fn a_part_whose_blob_changed_is_made_again_and_others_stay() {
    let place = place();
    let outcome = work(&place, &[], |plan, _| with_a_wrong_size(plan)).await;
    let work = outcome.work.unwrap();
    assert_eq!((work.restarted, work.parts.len()), (1, 2));
    let rows = |part: &StagedPart| part.files.iter().map(|file| file.data.rows).sum::<u64>();
    assert_eq!(work.parts.iter().map(rows).collect::<Vec<_>>(), [200, 200]);
    assert_eq!(outcome.staged, 2);

    // What was reported, less what was taken back, is what there is.
    let (mut bytes, mut records, mut blobs) = (0, 0, 0);
    for event in &outcome.events {
        match event {
            Event::BytesRead { bytes: more } => bytes += more,
            Event::RecordsRead { records: more } => records += more,
            Event::BlobDone { .. } => blobs += 1,
            Event::PartRestarted {
                part,
                bytes: less,
                records: fewer,
                blobs: undone,
                ..
            } => {
                assert_eq!(*part, 0);
                bytes -= less;
                records -= fewer;
                blobs -= undone;
            }
            _ => {}
        }
    }
    assert_eq!((bytes, records, blobs), (work.plan.bytes() as i64, 400, 4));
}

#[tokio::test]
async fn a_part_is_made_again_no_more_often_than_it_may() {
    let place = place();
    let outcome = work(&place, &[], |plan, scheduler| {
        scheduler.part_attempts = 1;
        with_a_wrong_size(plan)
    })
    .await;
    assert!(matches!(
        outcome.work,
        Err(PipelineError::Extract(
            ExtractorError::LengthMismatch { .. }
        ))
    ));
    assert_eq!(outcome.staged, 0);
}

#[tokio::test]
async fn a_broken_file_on_disk_stays_so_and_a_bomb_names_its_setting() {
    let place = place();
    let path = "exports/2026-05-03/1001/InfoGatheringExport/json/OrgId=47d41a0c-188d-46d3-bbea-a93dbc0bfcaa/\
                _RbacGroupId=9/part-00009-5f0c7a52-3a5e-4a6e-9d0d-2a0f9f4f2c11.c000.json.gz";
    let whole = gzip(&[b' '; 100_000]);
    place.file(&place.path(path), &whole[..whole.len() - 1]);
    let outcome = work(&place, &[], |plan, _| plan).await;
    let error = outcome.work.unwrap_err();
    assert!(error.to_string().contains("part-00009"), "{error}");
    assert!(matches!(error, PipelineError::UnreadableFile { .. }));
    assert_eq!(outcome.staged, 0);

    place.file(&place.path(path), &whole);
    assert!(work(&place, &[], |plan, _| plan).await.work.is_ok());
    let outcome = work(&place, &["work.max_blob_inflated=64KiB"], |plan, _| plan).await;
    let error = outcome.work.unwrap_err().to_string();
    assert!(
        error.contains("part-00009") && error.contains("`work.max_blob_inflated`"),
        "{error}"
    );
    assert_eq!(outcome.staged, 0);
}
