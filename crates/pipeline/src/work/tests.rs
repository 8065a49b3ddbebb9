use std::path::Path;
use std::sync::{Arc, Mutex};

use extractor::BlobSource;
use simulator::{FaultScript, Served, Server, ServerOptions};
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
use crate::settings::Settings;
use crate::source::list::list_source;

/// Two parts of two blobs each.
fn place() -> Place {
    let place = Place::new();
    for number in 0..4 {
        let lines = format!("{{\"DeviceId\":\"{number}\"}}\n").repeat(100);
        place.blob(number, Some(7 + number / 2), &lines);
    }
    place
}

/// The place's blobs from a service where that goes wrong.
async fn service(place: &Place, faults: &str) -> Server {
    let options = ServerOptions {
        served: Served::Files(place.path("exports").into()),
        faults: FaultScript::parse(faults).unwrap(),
        ..ServerOptions::default()
    };
    Server::start(options).await.unwrap()
}

fn settings(place: &Place, service: &Server) -> Settings {
    let state = place.path("state");
    let text = format!(
        "dataset = 'info_gathering'\n[source]\napi = '{url}'\nstate_dir = '{state}'\n\
         [source.auth]\nkind = 'token'\ntoken = '{token}'\n\
         [lake]\nroot = '{lake}'\n[work]\nthreads = 1\n",
        url = service.url(),
        token = service.token(),
        lake = place.path("lake"),
    );
    Settings::parse(&text, Path::new("p.toml"), &[], |_| None).unwrap()
}

struct Outcome {
    work: Result<CompletedWork, PipelineError>,
    events: Vec<Event>,
    staged: usize,
}

/// Bytes of Parquet: 16 KiB of gzip.
const PART_TARGET: u64 = 8 << 10;
/// Bytes of gzip.
const SEGMENT_BYTES: u64 = 1 << 10;

async fn planned(resources: &Resources, settings: &Settings) -> (Plan, BlobSource) {
    let nobody: JobObserver = Arc::new(|_| {});
    let listed = list_source(resources, settings, &nobody).await.unwrap();
    let plan = Plan::new(listed.snapshot, listed.blobs, PART_TARGET, SEGMENT_BYTES).unwrap();
    (plan, listed.source)
}

/// Works on the blobs of the settings' source.
async fn work(settings: &Settings, spoil: impl FnOnce(&mut PartScheduler)) -> Outcome {
    let resources = Resources::new(&settings.work);
    let (plan, source) = planned(&resources, settings).await;
    let lake = Lake::open(&settings.lake.root, &settings.lake.options).unwrap();
    let run_id = "run".to_owned();
    let snapshot = plan.snapshot();
    let context = RunContext::new(&resources, settings, snapshot, lake.clone(), run_id).unwrap();
    let mut scheduler = PartScheduler::new(settings, &context, source);
    spoil(&mut scheduler);
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

/// The second blob arrives broken, the first time.
const BROKEN: &str =
    "[[fault]]\nat = { blob = 1 }\nwhen = { nth = 1 }\nwhat = { corrupt = { at = 40 } }\n";

#[tokio::test]
async fn a_part_whose_blob_arrived_broken_is_made_again_and_others_stay() {
    let place = place();
    let service = service(&place, BROKEN).await;
    let outcome = work(&settings(&place, &service), |_| {}).await;
    let work = outcome.work.unwrap();
    assert_eq!((work.restarted, work.parts.len()), (1, 2));
    let rows = |part: &StagedPart| part.files.iter().map(|file| file.data.rows).sum::<u64>();
    assert_eq!(work.parts.iter().map(rows).collect::<Vec<_>>(), [200, 200]);
    assert_eq!(outcome.staged, 2);
    assert_eq!(service.counters().blob_gets, 6, "both blobs of the part");

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
    let read = work.parts.iter().flat_map(|part| &part.blobs);
    let read: u64 = read.map(|blob| blob.bytes).sum();
    assert_eq!((bytes, records, blobs), (read as i64, 400, 4));
}

#[tokio::test]
async fn a_part_is_made_again_no_more_often_than_it_may() {
    let place = place();
    let service = service(&place, BROKEN).await;
    let outcome = work(&settings(&place, &service), |scheduler| {
        scheduler.part_attempts = 1;
    })
    .await;
    assert!(matches!(outcome.work, Err(PipelineError::Transform { .. })));
    assert_eq!(outcome.staged, 0);
}

/// Each part's blobs, in the order of the rows, and its file's name and checksum.
fn parts(work: CompletedWork) -> Vec<(String, String, Vec<String>)> {
    let mut parts: Vec<_> = work
        .parts
        .into_iter()
        .map(|part| {
            let file = &part.files[0].data;
            let blobs = part.blobs.iter().map(|blob| blob.blob.to_string());
            (file.path.clone(), file.sha256.clone(), blobs.collect())
        })
        .collect();
    parts.sort();
    parts
}

/// Lines that hardly get shorter.
fn random_lines(count: u64, seed: u64) -> String {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state >> 16
    };
    let lines = (0..count).map(|_| format!("{{\"DeviceId\":\"{:x}{:x}\"}}\n", next(), next()));
    lines.collect()
}

#[tokio::test]
async fn parts_are_the_same_whatever_order_blobs_arrive_in() {
    let place = Place::new();
    for number in 0..45 {
        let lines = random_lines(10 + u64::from(number) * 37 % 230, number.into());
        place.blob(number, Some(7 + number / 15), &lines);
    }
    // Files on disk tell their sizes before they are read.
    let files = place.settings(&[]);
    let (plan, _) = planned(&Resources::new(&files.work), &files).await;
    let planned: Vec<Vec<String>> = plan
        .parts()
        .unwrap()
        .iter()
        .map(|part| part.blobs().map(|blob| blob.path.to_string()).collect())
        .collect();
    assert!(planned.len() > 6, "{}", planned.len());
    let expected = parts(work(&files, |_| {}).await.work.unwrap());
    let made: Vec<Vec<String>> = expected.iter().map(|(_, _, blobs)| blobs.clone()).collect();
    assert_eq!(made, planned);

    let late = |blob| {
        format!(
            "[[fault]]\nat = {{ blob = {blob} }}\nwhat = {{ stall = {{ after = 0, millis = 100 }} }}\n"
        )
    };
    let late: String = [0, 1, 7, 20, 21, 44].map(late).concat();
    for (faults, downloads) in [("", 1), (&*late, 8), (BROKEN, 8)] {
        let service = service(&place, faults).await;
        let settings = settings(&place, &service);
        let outcome = work(&settings, |scheduler| scheduler.downloads = downloads).await;
        assert_eq!(parts(outcome.work.unwrap()), expected, "{faults}");
        let counters = service.counters();
        assert_eq!((counters.api_calls, counters.blob_heads), (1, 0));
        assert!(faults == BROKEN || counters.blob_gets == 45, "{counters:?}");
    }
}

#[tokio::test]
async fn a_broken_file_on_disk_stays_so_and_a_bomb_names_its_setting() {
    let place = place();
    let path = "exports/2026-05-03/1001/InfoGatheringExport/json/OrgId=47d41a0c-188d-46d3-bbea-a93dbc0bfcaa/\
                _RbacGroupId=9/part-00009-5f0c7a52-3a5e-4a6e-9d0d-2a0f9f4f2c11.c000.json.gz";
    let whole = gzip(&[b' '; 100_000]);
    place.file(&place.path(path), &whole[..whole.len() - 1]);
    let outcome = work(&place.settings(&[]), |_| {}).await;
    let error = outcome.work.unwrap_err();
    assert!(error.to_string().contains("part-00009"), "{error}");
    assert!(matches!(error, PipelineError::UnreadableFile { .. }));
    assert_eq!(outcome.staged, 0);

    place.file(&place.path(path), &whole);
    assert!(work(&place.settings(&[]), |_| {}).await.work.is_ok());
    let outcome = work(&place.settings(&["work.max_blob_inflated=64KiB"]), |_| {}).await;
    let error = outcome.work.unwrap_err().to_string();
    assert!(
        error.contains("part-00009") && error.contains("`work.max_blob_inflated`"),
        "{error}"
    );
    assert_eq!(outcome.staged, 0);
}
