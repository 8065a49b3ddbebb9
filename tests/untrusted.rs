//! What the service, the lake and the machine give is bounded and not obeyed: bytes that a few others become, bodies that drip,
//! texts that a terminal would obey, secrets in places where others see them.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::api::Api;
use crate::harness::blobs::{Blobs, gzip, path};
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;
use crate::harness::proxy::Rule;

const GOOD: &[u8] = b"{\"DeviceId\":\"good\"}\n";

/// Bytes below a folder of the lake's control documents.
fn bytes_of(lake: &Lake, folder: &str) -> usize {
    let files = lake.files().into_iter();
    let below =
        files.filter(|(path, _)| path.starts_with(&format!("_lake/info_gathering/{folder}/")));
    below.map(|(_, bytes)| bytes.len()).sum()
}

#[test]
fn a_small_blob_of_millions_of_bad_records_fills_no_lake() {
    let bad = gzip(&b"{}\n".repeat(2_600_000));
    assert!(bad.len() < 100_000, "{} bytes", bad.len());
    for limit in ["64MiB", "1MiB"] {
        let (blobs, lake) = (Blobs::none(), Lake::on_disk());
        blobs.add(&path(Some(7), 1), &gzip(GOOD));
        blobs.add(&path(Some(7), 2), &bad);
        let pipeline = Pipeline::from_files(&blobs, &lake);
        let setting = format!("gate.max_quarantine_size={limit}");
        let ran = pipeline
            .command("run", &["--json", "--set", &setting])
            .exits_with(3);
        ran.says(&[
            limit,
            "gate.max_quarantine_size",
            "missing_key",
            "part-00002",
        ]);
        let kept = bytes_of(&lake, "quarantine");
        let most = limit.trim_end_matches("MiB").parse::<usize>().unwrap() << 20;
        assert!((most / 2..=most).contains(&kept), "{limit}: {kept}");
        assert!(lake.on_this_machine().table_files().is_empty());
        assert_eq!(bytes_of(&lake, "staging"), 0);
        // What was kept can be looked at, and the next snapshot is published.
        let shown = pipeline
            .plain("quarantine", &["show", "pipeline.toml", "--limit", "2"])
            .exits_with(0);
        assert_eq!(shown.stdout.lines().count(), 2);
    }
}

#[test]
fn a_body_that_drips_ends_and_a_slow_one_does_not() {
    let blobs = Blobs::none();
    blobs.add(&path(Some(7), 1), &gzip(&random_records(300)));
    let drips = |piece: u64| {
        format!(
            "[[fault]]\nat = {{ blobs = \"*part-00001*\" }}\nwhat = {{ trickle = {{ piece = {piece}, millis = 100 }} }}\n"
        )
    };
    let lake = Lake::on_disk();
    let api = Api::faulty(&blobs, &drips(1));
    let pipeline = Pipeline::from_faulty_api(&api, &lake);
    let begun = std::time::Instant::now();
    let ran = pipeline.command("run", &[]).exits_with(5);
    ran.says(&["part-00001", "less than 1024 a second"]);
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(api.counters().api_calls, 1, "the URL is still valid");
    let slow = Api::faulty(&blobs, &drips(500));
    Pipeline::from_faulty_api(&slow, &lake).run();
}

/// Records that gzip does not make much shorter.
fn random_records(count: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(27);
    let records = (0..count).map(|_| format!("{{\"DeviceId\":\"{:032x}\"}}\n", random.u128(..)));
    records.collect::<String>().into_bytes()
}

#[test]
fn nothing_that_others_wrote_reaches_the_terminal_as_it_is() {
    let blobs = Blobs::of_lines(Some(7), b"\x1b[2J\x07 not JSON \xe2\x80\xae\xc2\x9b\n");
    let lake = Lake::on_disk();
    let pipeline = Pipeline::from_files(&blobs, &lake);
    let hidden = |text: &str| {
        let is_hidden = |c: char| c.is_control() && c != '\n' && c != '\t' || c == '\u{202e}';
        text.contains(is_hidden)
    };
    let planted = "_lake/info_gathering/intents/\u{1b}]0;title\u{7}\u{202e}.json";
    let manifest = "{\"version\": 1, \"snapshots\": [\"\u{1b}[2J\u{202e}\"]}";
    lake.plant(&[
        (planted, "{}"),
        ("_lake/info_gathering/snapshots/x.json", manifest),
    ]);
    let of_lake = ["snapshots", "vacuum", "verify"].map(|command| pipeline.command(command, &[]));
    let ran = [
        pipeline.command("run", &[]),
        pipeline.command("run", &["--json"]),
        pipeline.command("run", &["--log", "json"]),
        pipeline.command("run", &["--color", "never"]),
        pipeline.plain("quarantine", &["show", "pipeline.toml"]),
        pipeline.plain("quarantine", &["list", "pipeline.toml"]),
    ];
    for ran in ran.iter().chain(&of_lake) {
        assert!(!hidden(&ran.stdout), "{:?}", ran.stdout);
        assert!(!hidden(&ran.stderr), "{:?}", ran.stderr);
    }
    // JSON says the same by numbers.
    let shown = ran[4].stdout.clone();
    let record: serde_json::Value = serde_json::from_str(shown.lines().next().unwrap()).unwrap();
    assert!(shown.contains("\\u202e"), "{shown}");
    assert_eq!(record["raw"], "\u{1b}[2J\u{7} not JSON \u{202e}\u{9b}");
}

fn what_a_store_repeats_of_a_request_is_shown_short_once_and_without_secrets(lake: &Lake) {
    const TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLE";
    let blobs = Blobs::of_lines(Some(7), GOOD);
    let sent = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sent);
    for (status, code) in [(403, 1), (500, 5)] {
        let seen = Arc::clone(&seen);
        let repeating = lake.by_way_of(move |request| {
            let authorization = request.header("authorization").unwrap_or_default();
            let last = authorization.rsplit([' ', ':']).next().unwrap_or_default();
            let signature = last.trim_start_matches("Signature=");
            seen.lock().unwrap().push(signature.to_owned());
            Rule::Repeat(status)
        });
        let mut pipeline = Pipeline::from_files(&blobs, &repeating);
        if lake
            .options()
            .iter()
            .any(|(name, _)| name == "secret_access_key")
        {
            pipeline.set_variable("LAKE_SESSION_TOKEN", TOKEN);
            let options = "[lake.options]\n";
            let token = "session_token = \"${LAKE_SESSION_TOKEN}\"\n";
            pipeline.replace(options, &format!("{options}{token}"));
        }
        let ran = pipeline.command("run", &[]).exits_with(code);
        let shown = &ran.stderr;
        assert!(shown.len() < 2_500, "{shown}");
        assert_eq!(shown.matches("Error performing").count(), 1, "{shown}");
        assert!(!shown.contains(TOKEN), "{shown}");
        let sent = sent.lock().unwrap();
        assert!(sent.iter().any(|signature| signature.len() > 16));
        let leaked = sent
            .iter()
            .find(|signature| signature.len() > 16 && shown.contains(signature.as_str()));
        assert_eq!(leaked, None, "{shown}");
    }
}

#[test]
fn what_s3_repeats_of_a_request_is_shown_short_once_and_without_secrets() {
    what_a_store_repeats_of_a_request_is_shown_short_once_and_without_secrets(&Lake::in_moto());
}

#[test]
fn what_azure_repeats_of_a_request_is_shown_short_once_and_without_secrets() {
    what_a_store_repeats_of_a_request_is_shown_short_once_and_without_secrets(&Lake::in_azurite());
}

#[test]
fn secrets_where_others_see_them_are_warned_of_or_refused() {
    let blobs = Blobs::of_lines(Some(7), GOOD);
    let lake = Lake::in_moto();
    let mut pipeline = Pipeline::from_files(&blobs, &lake);
    // A proxy of the environment is not asked for a store on this machine.
    pipeline.set_variable("HTTP_PROXY", "http://127.0.0.1:9");
    pipeline.set_variable("ALL_PROXY", "http://127.0.0.1:9");
    pipeline.run();
    let secret = &lake
        .options()
        .iter()
        .find(|(name, _)| name == "secret_access_key")
        .unwrap()
        .1;
    let set = format!("lake.options.secret_access_key={secret}");
    let ran = pipeline.command("run", &["--set", &set]).exits_with(0);
    ran.says(&[
        "--set lake.options.secret_access_key",
        "seen by every user",
        "export",
    ]);
    pipeline.replace("\"${LAKE_SECRET_ACCESS_KEY}\"", &format!("\"{secret}\""));
    let ran = pipeline.command("run", &[]).exits_with(0);
    ran.says(&[
        "pipeline.toml",
        "lake.options.secret_access_key",
        "written out",
    ]);
    let unchecked = ["--set", "lake.options.allow_invalid_certificates=true"];
    pipeline
        .command("run", &unchecked)
        .exits_with(0)
        .says(&["allow_invalid_certificates", "read and change the lake"]);

    for (key, value) in [
        ("lake.options.endpoint", "http://user:hunter2@127.0.0.1:9"),
        ("lake.options.endpoint", "http://hunter2@127.0.0.1:9"),
        ("lake.root", "s3://hunter2@bucket/lake"),
        ("lake.root", "s3://user:hunter2@bucket/lake"),
    ] {
        let set = format!("{key}={value}");
        let ran = pipeline.command("run", &["--set", &set]).exits_with(2);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
    let written = format!("secret_access_key = \"{secret}\"");
    pipeline.replace(&written, "secret_access_key = [\"hunter2\"]");
    let ran = pipeline.command("run", &[]).exits_with(2);
    ran.says(&["lake.options.secret_access_key", "withheld"]);
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    let mut unset = Pipeline::from_files(&blobs, &lake);
    unset.unset_variable("LAKE_SECRET_ACCESS_KEY");
    let ran = unset.command("run", &[]).exits_with(2);
    ran.says(&["export LAKE_SECRET_ACCESS_KEY"]);
    assert!(!ran.stderr.contains("--set"), "{}", ran.stderr);
}

#[test]
fn a_service_keeps_its_state_in_the_folder_that_it_was_given() {
    let (blobs, lake) = (Blobs::of_lines(Some(7), GOOD), Lake::on_disk());
    for (variable, value) in [
        ("STATE_DIRECTORY", "own:other"),
        ("CACHE_DIRECTORY", "cache"),
    ] {
        let api = Api::of(&blobs);
        let mut pipeline = Pipeline::from_api(&api, &lake);
        pipeline.replace("state_dir = \"state\"\n", "");
        pipeline.set_variable("HOME", "");
        let folder = pipeline.folder().to_owned();
        let full: Vec<String> = value
            .split(':')
            .map(|name| folder.join(name).to_str().unwrap().to_owned())
            .collect();
        pipeline.set_variable(variable, &full.join(":"));
        pipeline.run();
        assert!(
            fs::exists(format!("{}/rate-budget.json", full[0])).unwrap(),
            "{variable}"
        );
    }
    // A pipe in the place of the state file is waited for by nobody.
    let api = Api::of(&blobs);
    let pipeline = Pipeline::from_api(&api, &lake);
    let state = pipeline.folder().join("state");
    fs::create_dir(&state).unwrap();
    let pipe = state.join("rate-budget.json");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    pipeline
        .command("run", &[])
        .exits_with(2)
        .says(&["source.state_dir", "no file"]);
}
