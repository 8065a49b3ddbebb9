//! Input that means harm costs an error, or a quarantined record, and nothing else: no row lost, no file elsewhere, no
//! memory without bound.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;

use chrono::TimeDelta;
use flate2::Compression;
use flate2::write::GzEncoder;
use simulator::SnapshotOptions;

use crate::harness::api::Api;
use crate::harness::blobs::{Blobs, files_below, gzip, path};
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::program::Ran;
use crate::harness::readers::Reader::DuckDb;
use crate::harness::truth::Truth;

/// Far below what any of these inputs would take whole, far above what a run of a few records takes.
const MEMORY: u64 = 400 << 20;

const GOOD: &[u8] = b"{\"DeviceId\":\"good\"}\n";

/// Runs with its peak of memory watched.
#[track_caller]
fn run_within_memory(pipeline: &Pipeline, arguments: &[&str]) -> Ran {
    let running = pipeline.start("run", &[&["--json"], arguments].concat());
    let (ran, peak) = running.wait_with_peak_memory();
    assert!(peak < MEMORY, "{peak} bytes at its peak");
    ran
}

/// One member of `count` times `block`.
fn repeated(block: &[u8], count: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..count {
        encoder.write_all(block).unwrap();
    }
    encoder.finish().unwrap()
}

/// The run ends with the code and the words, and the lake has no table.
#[track_caller]
fn is_refused(ran: Ran, lake: &Lake, words: &[&str]) {
    let ran = ran.exits_with(1);
    ran.says(words);
    assert!(lake.state().is_empty(), "{:?}", lake.state().keys());
}

#[test]
fn a_gzip_bomb_is_an_error_that_names_the_blob() {
    // 128 MiB of blank lines in 128 KiB.
    let bomb = repeated(&[b'\n'; 1 << 20], 1 << 7);
    let (blobs, lake) = (Blobs::none(), Lake::on_disk());
    blobs.add(&path(Some(7), 1), &gzip(GOOD));
    blobs.add(&path(Some(7), 2), &bomb);
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let ran = run_within_memory(&pipeline, &[]);
    is_refused(ran, &lake, &["part-00002", "inflate"]);
}

#[test]
fn a_gzip_bomb_of_the_service_is_fetched_again_then_an_error() {
    let (blobs, lake) = (Blobs::none(), Lake::on_disk());
    blobs.add(&path(Some(7), 1), &gzip(GOOD));
    blobs.add(&path(Some(7), 2), &repeated(&[b'\n'; 1 << 20], 1 << 7));
    let api = Api::of(&blobs);
    let pipeline = Pipeline::from_api(&api, &lake);
    let ran = run_within_memory(&pipeline, &[]);
    is_refused(ran, &lake, &["part-00002", "inflate"]);
    assert_eq!(api.counters().blob_gets, 6, "both blobs, three times");
}

#[test]
fn a_line_of_300_mb_is_never_held_whole() {
    let (blobs, lake) = (Blobs::none(), Lake::on_disk());
    // Not of one byte alone, or it would be taken for a gzip bomb.
    let digits: String = (0..1000).map(|number| number.to_string()).collect();
    let mut block = digits.into_bytes();
    block.resize(1 << 20, b'x');
    let long: Vec<u8> = [
        GOOD,
        b"{\"DeviceId\":\"",
        &block.repeat(300),
        b"\"}\n{\"DeviceId\":\"after\"}\n",
    ]
    .concat();
    blobs.add(&path(Some(7), 1), &gzip(&long));
    drop(long);
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let ran = run_within_memory(&pipeline, &[]).exits_with(0);
    let report = ran.json();
    assert_eq!(
        (&report["rows_written"], &report["records_quarantined"]),
        (&2.into(), &1.into())
    );
    let quarantined: u64 = lake
        .files()
        .iter()
        .filter(|(path, _)| path.contains("/quarantine/"))
        .map(|(_, bytes)| bytes.len() as u64)
        .sum();
    assert!((1..70 << 20).contains(&quarantined), "{quarantined}");
}

#[test]
fn records_that_mean_harm_are_quarantined_and_the_others_kept() {
    let deep = |open: &str, close: &str| {
        let (open, close) = (open.repeat(100_000), close.repeat(100_000));
        format!("{{\"DeviceId\":\"deep\",\"X\":{open}1{close}}}\n").into_bytes()
    };
    let inner = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let lines = [
        GOOD.to_vec(),
        deep("[", "]"),
        deep("{\"a\":", "}"),
        vec![b'['; 100_000],
        b"\n{\"DeviceId\":\"bad \xff\xfe\"\n{\"DeviceId\":\"bad\"}\xff\n".to_vec(),
        b"{\"Device\xed\xa0\x80Id\":\"surrogate\"}\n".to_vec(),
        b"{\"DeviceId\":\"nul\0\"}\n\0\0\0\0\n\0{\"DeviceId\":\"a\"}\n".to_vec(),
        b"{\"DeviceId\":\"escaped \\u0000 nul\",\"DeviceName\":\"\\u0000\"}\n".to_vec(),
        format!("{{\"DeviceId\":\"deep info\",\"DeviceGatheredInfo\":\"{inner}\"}}\n").into_bytes(),
        b"{\"DeviceId\":\"../../../etc/passwd\",\"RbacGroupId\":\"../../x\"}\n".to_vec(),
        b"{\"DeviceId\":1e999999}\n{\"DeviceId\":\"a\",\"OsBuild\":1e999}\n".to_vec(),
    ]
    .concat();
    let (blobs, lake) = (Blobs::of_lines(Some(7), &lines), Lake::on_disk());
    let truth = Truth::of(&blobs);
    assert!(truth.rows.len() >= 4 && truth.quarantined.len() >= 8);
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let report = run_within_memory(&pipeline, &[]).exits_with(0).json();
    assert_eq!(report["records_quarantined"], truth.quarantined.len());
    DuckDb.values(&lake.on_this_machine().table()).is(&truth);
}

/// Group segments that would lead elsewhere, as they may stand in a path.
const GROUPS: &[&str] = &[
    "../../x",
    "..%2F..%2Fx",
    "%2e%2e",
    "x",
    "-",
    "1%00",
    "1%0a",
    "99999999999999999999",
    "",
];

#[test]
fn a_listed_group_that_is_no_number_is_an_error() {
    let blobs = Blobs::of_lines(Some(7), GOOD);
    for group in GROUPS {
        let url = format!(
            "{{origin}}/temp-1/{}?sig=hidden-signature",
            path(Some(7), 9).replace("_RbacGroupId=7", &format!("_RbacGroupId={group}"))
        );
        extra_url_is_refused(&blobs, &url, &[]);
    }
}

#[track_caller]
fn extra_url_is_refused(blobs: &Blobs, url: &str, words: &[&str]) {
    let lake = Lake::on_disk();
    let script = format!("[[fault]]\nat = \"listings\"\nwhat = {{ extra_url = {url:?} }}");
    let api = Api::faulty(blobs, &script);
    let pipeline = Pipeline::from_faulty_api(&api, &lake);
    let ran = pipeline.command("run", &["-vv"]).exits_with(1);
    assert!(!ran.stderr.contains("hidden"), "{url}\n{}", ran.stderr);
    is_refused(ran, &lake, words);
    let beside = files_below(pipeline.folder());
    assert!(
        beside
            .iter()
            .all(|path| path == "pipeline.toml" || path.starts_with("state/")),
        "{beside:?}"
    );
}

#[test]
fn a_group_on_disk_that_is_no_number_is_an_error() {
    for group in ["..", "%2e%2e%2fx", "x", "9".repeat(30).as_str()] {
        let (blobs, lake) = (Blobs::of_lines(Some(7), GOOD), Lake::on_disk());
        let bad = path(Some(8), 9).replace("_RbacGroupId=8", &format!("_RbacGroupId={group}"));
        blobs.add(&bad, &gzip(GOOD));
        let ran = Pipeline::from_files(&blobs, &lake).command("run", &[]);
        is_refused(ran, &lake, &["_RbacGroupId"]);
    }
}

#[test]
fn a_blob_url_to_a_host_off_the_list_is_refused_unasked() {
    let blobs = Blobs::of_lines(Some(7), GOOD);
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let query = "?sig=hidden-signature";
    for (host, word) in [
        (format!("http://127.0.0.2:{port}"), "127.0.0.2"),
        ("https://evil.example".to_owned(), "evil.example"),
        (
            "https://blob.core.windows.net.evil.example".to_owned(),
            "evil.example",
        ),
        (
            "https://acc.blob.core.windows.net@evil.example".to_owned(),
            "evil.example",
        ),
        ("http://acc.blob.core.windows.net".to_owned(), "https"),
        ("file://".to_owned(), "https"),
        ("gopher://127.0.0.1".to_owned(), "https"),
    ] {
        let url = format!("{host}/temp-1/{}{query}", path(Some(7), 9));
        extra_url_is_refused(&blobs, &url, &[word]);
    }
    assert!(listener.accept().is_err(), "the host was asked");
}

#[test]
fn redirects_are_followed_nowhere() {
    let blobs = Blobs::of_lines(Some(7), GOOD);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let elsewhere = format!(
        "http://{}/hidden?sig=hidden",
        listener.local_addr().unwrap()
    );
    for at in ["\"token\"", "\"listings\"", "{ blobs = \"*\" }"] {
        let lake = Lake::on_disk();
        let script =
            format!("[[fault]]\nat = {at}\nwhat = {{ redirect = {{ to = {elsewhere:?} }} }}");
        let api = Api::faulty(&blobs, &script);
        let ran = Pipeline::from_faulty_api(&api, &lake).command("run", &["-vv"]);
        assert!(!ran.stderr.contains("hidden"), "{}", ran.stderr);
        is_refused(ran, &lake, &["redirect"]);
    }
    assert!(listener.accept().is_err(), "the redirect was followed");
}

#[test]
fn an_answer_of_600_mb_is_refused_and_not_held() {
    let (blobs, lake) = (Blobs::of_lines(Some(7), GOOD), Lake::on_disk());
    let script = "[[fault]]\nat = \"listings\"\nwhat = { huge = { mebibytes = 600 } }";
    let api = Api::faulty(&blobs, script);
    let pipeline = Pipeline::from_faulty_api(&api, &lake);
    let ran = run_within_memory(&pipeline, &[]);
    is_refused(ran, &lake, &["longer than 512 MiB", "source.api"]);
}

#[test]
fn hundreds_of_megabytes_of_words_in_a_refusal_are_cut_short() {
    let (blobs, lake) = (Blobs::of_lines(Some(7), GOOD), Lake::on_disk());
    let words = "x".repeat(20 << 20);
    let script = format!(
        "[[fault]]\nat = {{ blobs = \"*\" }}\nwhat = {{ answer = {{ status = 403, body = \"{words}\" }} }}"
    );
    let api = Api::faulty(&blobs, &script);
    let ran = run_within_memory(&Pipeline::from_faulty_api(&api, &lake), &[]);
    assert!(ran.stderr.len() < 10_000 && ran.stdout.len() < 10_000);
    is_refused(ran, &lake, &["part-00001"]);
}

#[test]
fn a_snapshot_of_empty_blobs_is_not_taken_for_a_shrunk_one() {
    let lake = Lake::on_disk();
    let day = SnapshotOptions {
        devices: 50,
        ..SnapshotOptions::default()
    };
    Pipeline::from_files(&Blobs::simulated(&day), &lake).run();
    let before = lake.state();
    let empty = Blobs::none();
    for part in 1..4 {
        let tomorrow = path(Some(7), part).replace("2026-05-03", "2026-05-04");
        empty.add(&tomorrow, &gzip(b""));
    }
    Pipeline::from_files(&empty, &lake)
        .command("run", &[])
        .exits_with(3)
        .says(&["empty"]);
    assert!(lake.state() == before, "the lake changed");
}

/// Paths and bytes of all files below a folder.
fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |path: String| {
        let bytes = fs::read(folder.join(&path)).unwrap();
        (path, bytes)
    };
    files_below(folder).into_iter().map(read).collect()
}

#[test]
fn a_link_in_the_lake_leads_nothing_outside() {
    let first = SnapshotOptions {
        devices: 20,
        groups: 2,
        blobs: 2,
        ..SnapshotOptions::default()
    };
    let later = SnapshotOptions {
        generated_time: first.generated_time + TimeDelta::hours(2),
        ..first.clone()
    };
    let next = first.next_day();
    let [first, later, next] = [first, later, next].map(|day| Blobs::simulated(&day));
    let keeping = ["--set", "lake.retire_after=1h"];
    for linked in [
        "info_gathering",
        "info_gathering/_delta_log",
        "info_gathering/generated_date=2026-05-03",
        "info_gathering/generated_date=2026-05-03/rbac_group_id=1001",
        "_lake",
        "_lake/info_gathering",
        "_lake/info_gathering/latest.json",
        "_lake/info_gathering/snapshots",
        "_lake/info_gathering/intents",
        "_lake/info_gathering/staging",
        "_lake/info_gathering/commit.lock",
        "_lake/info_gathering/runs",
        "_lake/info_gathering/quarantine",
    ] {
        let (lake, outside) = (Lake::on_disk(), tempfile::tempdir().unwrap());
        let pipeline = Pipeline::from_files(&first, &lake);
        pipeline.run_with(&keeping);
        Pipeline::from_files(&later, &lake).run_with(&keeping);
        let (link, target) = (
            Path::new(&lake.root()).join(linked),
            outside.path().join("x"),
        );
        if link.exists() {
            fs::rename(&link, &target).unwrap();
        } else {
            fs::create_dir(&target).unwrap();
        }
        fs::write(outside.path().join("notes"), "theirs").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let before = content(outside.path());
        for ran in [
            pipeline.command("vacuum", &[&["--apply"], &keeping[..]].concat()),
            pipeline.command(
                "rollback",
                &[&["--to", "20260503T100100Z-47d41a0c"], &keeping[..]].concat(),
            ),
            Pipeline::from_files(&next, &lake).command("run", &keeping),
        ] {
            assert!(
                ran.code == 0 || ran.stderr.contains("symbolic link"),
                "{linked}: {}",
                ran.stderr
            );
            assert_eq!(content(outside.path()), before, "{linked}");
        }
    }
}

#[test]
fn a_planted_commit_document_deletes_nothing_and_blocks_nothing() {
    let blobs = Blobs::simulated(&SnapshotOptions::default());
    for lake in [Lake::on_disk(), Lake::in_moto(), Lake::in_azurite()] {
        let pipeline = Pipeline::from_files(&blobs, &lake);
        pipeline.run();
        lake.plant(&[("other/part.parquet", "theirs")]);
        let before = lake.files();
        let manifests = before.iter();
        let mut manifests = manifests.filter(|(path, _)| path.contains("/snapshots/"));
        let (_, manifest) = manifests.next_back().unwrap();
        let mut manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap();
        let entry = "info_gathering/_delta_log/00000000000000000000.json";
        manifest["run_id"] = "planted".into();
        manifest["quarantine_files"] = serde_json::json!(["_lake/info_gathering/latest.json"]);
        manifest["files"][0]["path"] = "other/part.parquet".into();
        manifest["files"][1]["path"] = entry.into();
        let planted = serde_json::json!({"version": 1, "backfill": false, "manifest": manifest});
        let planted = planted.to_string();
        let documents = [
            ("planted.json", &planted[..]),
            ("cut.json", &planted[..100]),
            ("junk.json", "\u{1b}[2J"),
        ];
        let paths = documents.map(|(name, _)| format!("_lake/info_gathering/intents/{name}"));
        let files = documents.iter().zip(&paths);
        let files: Vec<(&str, &str)> = files
            .map(|((_, content), path)| (path.as_str(), *content))
            .collect();
        for command in [&["run"][..], &["vacuum", "--apply"]] {
            lake.plant(&files);
            let ran = pipeline.command(command[0], &command[1..]).exits_with(0);
            let mut after = lake.files();
            for (name, content) in documents {
                ran.says(&[name, "refused"]);
                let moved = format!("_lake/info_gathering/refused/{name}");
                assert_eq!(after.remove(&moved).unwrap(), content.as_bytes());
            }
            assert!(!ran.stderr.contains('\u{1b}'), "{:?}", ran.stderr);
            // The run found nothing new, and left a report.
            after.retain(|path, _| before.contains_key(path) || !path.contains("/runs/"));
            assert_eq!(after, before);
        }
        // Out of the way, they are told of no more.
        let quiet = pipeline.command("run", &[]).exits_with(0);
        assert!(!quiet.stderr.contains("planted.json"), "{}", quiet.stderr);
    }
}

#[test]
fn what_is_no_file_of_a_lake_blocks_no_run() {
    use std::os::unix::ffi::OsStrExt;
    let first = SnapshotOptions::default();
    let lake = Lake::on_disk();
    Pipeline::from_files(&Blobs::simulated(&first), &lake).run();
    let root = lake.on_this_machine().root().to_owned();
    let control = root.join("_lake/info_gathering");
    for folder in ["intents", "staging", "runs", "quarantine", "snapshots"] {
        let folder = control.join(folder);
        fs::create_dir_all(&folder).unwrap();
        let pipe = folder.join("pipe.json");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for name in [&b"\xff.json"[..], b"a\\b.json"] {
            fs::write(folder.join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
        }
    }
    let next = Blobs::simulated(&first.next_day());
    let pipeline = Pipeline::from_files(&next, &lake);
    for command in [&["run"][..], &["vacuum", "--apply"], &["verify", "--all"]] {
        let ran = pipeline.command(command[0], &command[1..]).exits_with(0);
        if command[0] != "verify" {
            ran.says(&["pipe.json", "no regular file", "left alone"]);
        }
    }
}
