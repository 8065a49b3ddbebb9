//! Files that scripts made, and not the service: read where they are unambiguous, else named for what they are.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::blobs::{Blobs, gzip, path};
use crate::harness::lake::Lake;
use crate::harness::pipeline::Pipeline;

const LINES: &str = "{\"DeviceId\":\"a\"}\n{\"DeviceId\":\"b\"}\n{\"DeviceId\":\"c\"}\n";
const ARRAY: &str =
    "[ {\"DeviceId\":\"a\"},\r\n  {\"DeviceId\":\"b\"},\r\n  {\"DeviceId\":\"c\"} ]\r\n";

fn blobs(bytes: &[u8]) -> Blobs {
    let blobs = Blobs::none();
    blobs.add(&path(Some(7), 1), bytes);
    blobs
}

/// What `gzip` of this machine makes of its input.
fn by_gzip(input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip")
        .arg("-9")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn unambiguous_files_of_scripts_are_read_to_the_last_record() {
    let one_line = LINES.replace('\n', "");
    let members = LINES.lines().map(|line| gzip(line.as_bytes()));
    for (what, bytes) in [
        ("plain", LINES.as_bytes().to_vec()),
        ("array", ARRAY.as_bytes().to_vec()),
        ("array in gzip", gzip(ARRAY.as_bytes())),
        ("byte order mark", format!("\u{feff}{ARRAY}").into_bytes()),
        ("padded", [gzip(LINES.as_bytes()), vec![0; 10_240]].concat()),
        ("one line", gzip(one_line.as_bytes())),
        (
            "members without newlines",
            members.collect::<Vec<_>>().concat(),
        ),
        ("gzip(1)", by_gzip(LINES.as_bytes())),
    ] {
        let (blobs, lake) = (blobs(&bytes), Lake::on_disk());
        let report = Pipeline::from_files(&blobs, &lake).run();
        assert_eq!(report["rows_written"], 3, "{what}");
        assert_eq!(report["records_quarantined"], 0, "{what}");
    }
}

#[test]
fn other_files_are_named_with_advice_that_fits_a_file() {
    let utf_16 = format!("\u{feff}{LINES}");
    let utf_16: Vec<u8> = utf_16.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cut = gzip(LINES.as_bytes());
    for (bytes, words) in [
        (utf_16.clone(), "it is UTF-16"),
        (gzip(&utf_16), "it is UTF-16"),
        (b"BZh91AY&SY".to_vec(), "it is compressed by bzip2"),
        (b"<html><body>502".to_vec(), "it is HTML or XML"),
        (
            b"DeviceId,DeviceName\n".to_vec(),
            "begins neither as gzip nor as JSON",
        ),
        (cut[..cut.len() - 3].to_vec(), "gzip stream breaks off"),
        (
            b"[{\"DeviceId\":\"a\"},\n{".to_vec(),
            "line 2: the JSON array is not closed",
        ),
    ] {
        let (blobs, lake) = (blobs(&bytes), Lake::on_disk());
        let ran = Pipeline::from_files(&blobs, &lake).command("run", &[]);
        assert_eq!(ran.code, 1, "{words}: {}", ran.stderr);
        ran.says(&[words, "part-00001-", "leave it out of `source.files`"]);
        assert!(!ran.stderr.contains("support"), "{}", ran.stderr);
        assert!(lake.state().is_empty(), "{words}");
    }
}
