use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use writer::{Lake, Manifest};

use super::publish::{
    RunOptions, RunRequest, list, make_plan, publish_newest, publish_work, work_on,
};
use crate::events::JobObserver;
use crate::fixtures::Place;
use crate::report::Outcome;
use crate::resources::Resources;
use crate::work::run_context::RunContext;
use crate::work::scheduler::CompletedWork;

/// Two parts, one of them with drift and with a record that is none.
fn place() -> Place {
    let place = Place::new();
    place.blob(
        0,
        Some(7),
        "{\"DeviceId\":\"a\"}\nbad\n{\"DeviceId\":\"b\",\"New\":1}\n",
    );
    place.blob(1, Some(8), "{\"DeviceId\":\"a\"}\n");
    place
}

async fn published(lake: &Lake) -> Manifest {
    let latest = writer::Latest::read(lake, "info_gathering").await.unwrap();
    let path = &latest.snapshots[0].manifest;
    Manifest::read_at(lake, path).await.unwrap().unwrap()
}

#[tokio::test]
async fn parts_that_were_staged_here_are_committed_elsewhere() {
    let place = place();
    let settings = place.settings(&["gate.max_quarantined=100%"]);
    let observer: JobObserver = Arc::new(|_| {});
    let cancel = CancellationToken::new();
    let request = |resources, lake, run_id| RunRequest {
        resources,
        settings: &settings,
        options: RunOptions::default(),
        run_id,
        lake,
        observer: &observer,
        cancel: &cancel,
    };
    let (here, elsewhere) = (
        Resources::new(&settings.work),
        Resources::new(&settings.work),
    );

    let lake = here.lake(&settings.lake).unwrap();
    let run = request(&here, &lake, "run");
    let listed = list(&here, &settings, &observer, &cancel).await.unwrap();
    let (plan, source) = make_plan(&settings, listed).unwrap();
    let (_lease, context, work) = work_on(run, plan, source).await.unwrap();
    let record = serde_json::to_string(&(&work.plan, &work.parts)).unwrap();
    drop((context, work));

    let lake = elsewhere.lake(&settings.lake).unwrap();
    let run = request(&elsewhere, &lake, "run");
    let (plan, parts): (crate::Plan, Vec<_>) = serde_json::from_str(&record).unwrap();
    let id = "run".to_owned();
    let context =
        RunContext::new(&elsewhere, &settings, plan.snapshot(), lake.clone(), id).unwrap();
    let work = CompletedWork {
        plan,
        parts,
        restarted: 0,
    };
    let ended = publish_work(run, &context, work).await;
    assert_eq!(ended.result.unwrap().outcome, Outcome::Committed);

    // What one process would have published.
    let root = format!("lake.root={}", place.path("at once"));
    let at_once = place.settings(&["gate.max_quarantined=100%", &root]);
    let other_lake = here.lake(&at_once.lake).unwrap();
    let run = RunRequest {
        settings: &at_once,
        ..request(&here, &other_lake, "run")
    };
    let listed = list(&here, &at_once, &observer, &cancel).await;
    let expected = publish_newest(run, listed).await;
    assert_eq!(ended.counts, expected.counts);
    let (expected, found) = (published(&other_lake).await, published(&lake).await);
    assert!(found.rows == 3 && found.records_quarantined == 1);
    assert_eq!(found.duplicate_keys, 1);
    let expected = Manifest {
        committed_at: found.committed_at,
        ..expected
    };
    assert_eq!(found, expected);
    for file in &found.files {
        assert!(
            lake.local_path(&file.path).unwrap().is_file(),
            "{}",
            file.path
        );
    }
}
