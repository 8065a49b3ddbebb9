//! Runs the real binary: `DEFENDER_LAKE_BIN`, or the one that cargo built beside the tests.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{tool, workspace};

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
        "{} is missing: run `cargo build --workspace --bins --tests` first, or name it in DEFENDER_LAKE_BIN",
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
    Running::start(folder, environment, arguments).wait()
}

/// The program under way. It is killed when dropped.
pub(crate) struct Running {
    child: Option<Child>,
}

impl Running {
    /// As [`defender_lake`], which waits for it.
    pub(crate) fn start<A: AsRef<OsStr>>(
        folder: &Path,
        environment: &[(String, String)],
        arguments: &[A],
    ) -> Self {
        let command = Command::new(binary());
        Self::spawn(command, Stdio::piped(), folder, environment, arguments)
    }

    /// The same with another standard output.
    pub(crate) fn start_to<A: AsRef<OsStr>>(
        stdout: Stdio,
        folder: &Path,
        environment: &[(String, String)],
        arguments: &[A],
    ) -> Self {
        let command = Command::new(binary());
        Self::spawn(command, stdout, folder, environment, arguments)
    }

    /// The same where some system calls fail: `CALL:ERROR,…`, as `faults/without_calls.py` knows them.
    pub(crate) fn start_without<A: AsRef<OsStr>>(
        failures: &str,
        folder: &Path,
        environment: &[(String, String)],
        arguments: &[A],
    ) -> Self {
        let mut command = Command::new(tool("readers/bin/python3"));
        command
            .arg(workspace().join("tests/faults/without_calls.py"))
            .arg(failures)
            .arg(binary());
        Self::spawn(command, Stdio::piped(), folder, environment, arguments)
    }

    fn spawn<A: AsRef<OsStr>>(
        mut command: Command,
        stdout: Stdio,
        folder: &Path,
        environment: &[(String, String)],
        arguments: &[A],
    ) -> Self {
        let child = command
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder)
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child: Some(child) }
    }

    /// Sends a signal by its name: `TERM`, `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id();
        let mut kill = Command::new("sh");
        kill.args(["-c", &format!("kill -{name} {id}")]);
        assert!(kill.status().unwrap().success(), "kill -{name}");
    }

    /// The most memory that it has held so far, bytes; `None` once it has ended.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        let id = self.child.as_ref()?.id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kibibytes * 1024)
    }

    /// Waits for its end, watching; the most memory that it held, bytes.
    #[track_caller]
    pub(crate) fn wait_with_peak_memory(self) -> (Ran, u64) {
        let mut peak = 0;
        while let Some(memory) = self.peak_memory() {
            peak = peak.max(memory);
            thread::sleep(Duration::from_millis(5));
        }
        assert!(peak > 0);
        (self.wait(), peak)
    }

    /// The process itself, which is then not killed when dropped.
    pub(crate) fn into_child(mut self) -> Child {
        self.child.take().unwrap()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ran {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        Ran {
            code: output
                .status
                .code()
                .unwrap_or_else(|| panic!("ended by a signal: {output:?}")),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
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
