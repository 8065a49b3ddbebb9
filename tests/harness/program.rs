//! Runs the real binary: `DEFENDER_LAKE_BIN`, or the one that cargo built beside the tests.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// What a run of the program left on its two streams, and its exit code.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    let binary = std::env::var_os("DEFENDER_LAKE_BIN").map_or_else(beside_the_tests, PathBuf::from);
    assert!(
        binary.exists(),
        "{} is missing: run `cargo build --workspace --bins` first, or name it in DEFENDER_LAKE_BIN",
        binary.display()
    );
    binary
}

fn beside_the_tests() -> PathBuf {
    let test_binary = std::env::current_exe().unwrap();
    test_binary
        .ancestors()
        .nth(2)
        .unwrap()
        .join("defender-lake")
}

/// Runs the program in `folder` with nothing in its environment but a path and `environment`.
pub(crate) fn defender_lake<A: AsRef<OsStr>>(
    folder: &Path,
    environment: &[(String, String)],
    arguments: &[A],
) -> Ran {
    let output = command(folder, environment, arguments).output().unwrap();
    Ran {
        code: output
            .status
            .code()
            .unwrap_or_else(|| panic!("ended by a signal: {output:?}")),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Starts the program as [`defender_lake`] runs it.
pub(crate) fn start<A: AsRef<OsStr>>(
    folder: &Path,
    environment: &[(String, String)],
    arguments: &[A],
) -> Child {
    command(folder, environment, arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn command<A: AsRef<OsStr>>(
    folder: &Path,
    environment: &[(String, String)],
    arguments: &[A],
) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .envs(environment.iter().cloned());
    command
}

impl Ran {
    /// The same, if the program exited with that code.
    #[track_caller]
    pub(crate) fn exits_with(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self
    }

    /// All of stdout, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!(
                "stdout is not JSON alone: {error}\nstdout: {}\nstderr: {}",
                self.stdout, self.stderr
            )
        })
    }

    /// Asserts that stderr holds each of these words.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) {
        for word in words {
            assert!(
                self.stderr.contains(word),
                "`{word}` is not in stderr: {}",
                self.stderr
            );
        }
    }
}
