use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use writer::Lake;

use super::browse::Quarantine;
use super::replay::Replayed;
use crate::error::PipelineError;
use crate::error_kind::ErrorKind;
use crate::events::Observer;
use crate::fixtures::Place;
use crate::lake::verify::Which;
use crate::refusal::Refusal;
use crate::report::{Outcome, RunReport};
use crate::resources::Resources;
use crate::run::publish::RunOptions;
use crate::run::start::{Run, run};
use crate::work::run_context::MAX_LINE_BYTES;

impl Place {
    async fn run(&self, overrides: &[&str]) -> Run {
        let settings = self.settings(overrides);
        let resources = Resources::new(&settings.work);
        let observer: Observer = Arc::new(|_| {});
        let (options, cancel) = (RunOptions::default(), CancellationToken::new());
        run(&resources, &settings, options, &observer, cancel).await
    }

    async fn publish(&self, overrides: &[&str]) -> RunReport {
        let Run { report, error } = self.run(overrides).await;
        assert_eq!(report.outcome, Outcome::Committed, "{error:?}");
        report
    }

    async fn replay(&self, overrides: &[&str]) -> Result<Vec<Replayed>, PipelineError> {
        let settings = self.settings(overrides);
        let resources = Resources::new(&settings.work);
        let quarantine = Quarantine::open(&resources, &settings).await?;
        quarantine.replay(None, &CancellationToken::new()).await
    }

    async fn proven_rows(&self, overrides: &[&str]) -> u64 {
        let settings = self.settings(overrides);
        let resources = Resources::new(&settings.work);
        let proven = crate::lake::verify::verify(&resources, &settings, &Which::All).await;
        let proven = proven.unwrap();
        assert!(proven.is_proven(), "{proven:?}");
        proven.snapshots.iter().map(|snapshot| snapshot.rows).sum()
    }

    async fn reasons(&self) -> Vec<(String, u64)> {
        let settings = self.settings(&[]);
        let resources = Resources::new(&settings.work);
        let quarantine = Quarantine::open(&resources, &settings).await.unwrap();
        let listed = quarantine.list(None).await.unwrap();
        let reasons = listed.into_iter().flat_map(|listed| listed.reasons);
        reasons
            .map(|report| (report.reason, report.records))
            .collect()
    }
}

fn reasons(reasons: &[(&str, u64)]) -> Vec<(String, u64)> {
    let owned = reasons.iter();
    owned
        .map(|(reason, records)| ((*reason).to_owned(), *records))
        .collect()
}

/// The built-in schema, its key read from another attribute.
fn corrected_schema(place: &Place) -> String {
    let path = place.path("corrected.toml");
    let text = include_str!("../../../../schemas/info_gathering.toml");
    let corrected = text.replace("wire = \"DeviceId\"", "wire = \"Id\"");
    assert_ne!(text, corrected);
    std::fs::write(&path, corrected).unwrap();
    format!("schema={path}")
}

#[tokio::test]
async fn records_that_a_setting_lets_pass_become_rows_exactly_once() {
    let place = Place::new();
    let long = "x".repeat(MAX_LINE_BYTES + 1);
    let lines = format!("{{\"DeviceId\":\"a\"}}\nbad\n{{\"DeviceId\":\"b\"}}\n{long}\n");
    place.blob(0, None, &lines);
    place.blob(1, Some(7), "{\"DeviceId\":\"c\"}\n[]\n");
    let report = place.publish(&[]).await;
    assert_eq!((report.rows_written, report.records_quarantined), (1, 5));
    let before = [
        ("invalid_json", 1),
        ("line_too_long", 1),
        ("missing_partition", 2),
        ("not_an_object", 1),
    ];
    assert_eq!(place.reasons().await, reasons(&before));

    // Nothing was corrected: nothing changes.
    let unchanged = place.replay(&[]).await.unwrap();
    assert_eq!((unchanged[0].rows_added, unchanged[0].cut), (0, 1));
    assert_eq!(place.reasons().await, reasons(&before));
    assert_eq!(place.proven_rows(&[]).await, 1);

    let group = ["source.rbac_group_id=9"];
    let replayed = place.replay(&group).await.unwrap();
    assert_eq!((replayed[0].rows_added, replayed[0].files_added), (2, 1));
    let after = [
        ("invalid_json", 1),
        ("line_too_long", 1),
        ("not_an_object", 1),
    ];
    assert_eq!(place.reasons().await, reasons(&after));
    assert_eq!(place.proven_rows(&group).await, 3);

    let again = place.replay(&group).await.unwrap();
    assert_eq!((again[0].rows_added, again[0].cut), (0, 1));
    assert_eq!(place.reasons().await, reasons(&after));
    assert_eq!(place.proven_rows(&group).await, 3);
}

#[tokio::test]
async fn replayed_records_keep_their_group_and_are_checked_for_keys() {
    let place = Place::new();
    place.blob(
        0,
        Some(7),
        "{\"DeviceId\":\"a\"}\n{\"Id\":\"b\"}\n{\"Id\":\"a\"}\n",
    );
    place.publish(&[]).await;
    let schema = corrected_schema(&place);
    let refusing = [&schema, "gate.duplicate_keys=refuse"];
    let refused = place.replay(&refusing).await.unwrap_err();
    assert!(matches!(
        refused,
        PipelineError::Refused(Refusal::DuplicateKeys { rows: 1, .. })
    ));
    assert_eq!(place.proven_rows(&[]).await, 1);

    let replayed = place.replay(&[&schema]).await.unwrap();
    assert_eq!(
        (replayed[0].rows_added, replayed[0].remaining.len()),
        (2, 0)
    );
    assert_eq!(place.proven_rows(&[&schema]).await, 3);
    assert_eq!(place.reasons().await, []);
    assert_eq!(place.replay(&[&schema]).await.unwrap(), []);
}

#[tokio::test]
async fn a_replay_that_is_asked_to_stop_or_refused_leaves_nothing() {
    let place = Place::new();
    let long = "x".repeat(MAX_LINE_BYTES + 1);
    place.blob(
        0,
        Some(7),
        &format!("{{\"DeviceId\":\"a\"}}\n{{\"Id\":\"a\"}}\nbad\n{long}\n"),
    );
    place.publish(&[]).await;
    let schema = corrected_schema(&place);
    let settings = place.settings(&[&schema, "gate.duplicate_keys=refuse"]);
    let resources = Resources::new(&settings.work);
    let lake = Lake::open(&settings.lake.root, &settings.lake.options).unwrap();
    let before = lake.list("_lake").await.unwrap();
    let quarantine = Quarantine::open(&resources, &settings).await.unwrap();
    let stopped = CancellationToken::new();
    stopped.cancel();
    let error = quarantine.replay(None, &stopped).await.unwrap_err();
    assert!(matches!(error, PipelineError::Cancelled), "{error}");
    assert_eq!(lake.list("_lake").await.unwrap(), before);
    let error = quarantine.replay(None, &CancellationToken::new()).await;
    assert!(matches!(error, Err(PipelineError::Refused(_))), "{error:?}");
    assert_eq!(lake.list("_lake").await.unwrap(), before);
}

#[tokio::test]
async fn a_schema_with_other_columns_is_refused() {
    let place = Place::new();
    place.blob(0, Some(7), "{\"DeviceId\":\"a\"}\nbad\n");
    place.publish(&[]).await;
    let path = place.path("other.toml");
    let text = include_str!("../../../../schemas/info_gathering.toml");
    let other =
        format!("{text}\n[[column]]\nname = 'new'\nwire = 'New'\ntype = 'string'\nmeaning = ''\n");
    std::fs::write(&path, other).unwrap();
    let error = place
        .replay(&[&format!("schema={path}")])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("lacks column `new`"), "{error}");
    assert!(error.kind() == ErrorKind::Configuration);
}

#[tokio::test]
async fn a_part_without_rows_gets_them_and_keeps_what_is_still_bad() {
    let place = Place::new();
    place.blob(0, Some(7), "{\"DeviceId\":\"a\"}\n");
    place.blob(1, Some(8), "{\"Id\":\"b\"}\nbad\n");
    place.publish(&[]).await;
    let schema = corrected_schema(&place);
    let replayed = place.replay(&[&schema]).await.unwrap();
    assert_eq!(replayed[0].rows_added, 1);
    assert_eq!(place.proven_rows(&[&schema]).await, 2);
    assert_eq!(place.reasons().await, reasons(&[("invalid_json", 1)]));
}

#[tokio::test]
async fn an_unpublished_snapshot_is_listed_and_cannot_be_replayed() {
    let place = Place::new();
    place.blob(0, Some(7), "bad\nworse\n");
    let settings = place.settings(&[]);
    let resources = Resources::new(&settings.work);
    let run = place.run(&[]).await;
    assert_eq!(run.report.outcome, Outcome::Refused);
    let quarantine = Quarantine::open(&resources, &settings).await.unwrap();
    let listed = quarantine.list(None).await.unwrap();
    assert_eq!((listed.len(), listed[0].published), (1, false));
    let records = quarantine.records(&listed[0].files[0]).await.unwrap();
    assert_eq!(records[1].raw.as_deref(), Some("worse"));
    let only = Some(&listed[0].snapshot);
    let cancel = CancellationToken::new();
    let error = quarantine.replay(only, &cancel).await.unwrap_err();
    assert!(matches!(error, PipelineError::NotPublished { .. }));
    assert_eq!(quarantine.replay(None, &cancel).await.unwrap(), []);
}
