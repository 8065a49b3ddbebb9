//! Object stores on loopback, each started once for all tests of the process and ended with it.

pub(crate) mod azurite;
pub(crate) mod garage;
pub(crate) mod moto;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Long enough for a server that starts while the other core compiles.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// Runs the server until its own standard input ends, which it does when the tests' process is gone, however it went;
/// then kills the server and removes its folder.
const GUARD: &str = r#"folder=$1; shift; "$@" </dev/null & server=$!; read -r _; kill -9 $server; wait $server; rm -rf "$folder""#;

/// A store that tests may put lakes into.
pub(crate) struct Store {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    /// Bucket or container, which exists.
    pub(crate) bucket: &'static str,
    /// Access key id or account name.
    pub(crate) id: &'static str,
    pub(crate) secret: &'static str,
    pub(crate) region: &'static str,
    /// Whether `If-None-Match` and `If-Match` are honoured.
    pub(crate) conditional_puts: bool,
    _server: Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    S3,
    Azure,
}

impl Store {
    pub(crate) fn scheme(&self) -> &'static str {
        match self.kind {
            Kind::S3 => "s3",
            Kind::Azure => "az",
        }
    }

    /// For `[lake.options]`, and for Polars, which takes the same names.
    pub(crate) fn options(&self) -> Vec<(String, String)> {
        let options = match self.kind {
            Kind::S3 => vec![
                ("endpoint", format!("http://127.0.0.1:{}", self.port)),
                ("region", self.region.to_owned()),
                ("access_key_id", self.id.to_owned()),
                ("secret_access_key", self.secret.to_owned()),
                ("allow_http", "true".to_owned()),
            ],
            Kind::Azure => vec![
                (
                    "endpoint",
                    format!("http://127.0.0.1:{}/{}", self.port, self.id),
                ),
                ("account_name", self.id.to_owned()),
                ("account_key", self.secret.to_owned()),
                ("allow_http", "true".to_owned()),
            ],
        };
        options
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// For `readers/store.py`.
    pub(crate) fn as_json(&self) -> Value {
        json!({
            "kind": match self.kind { Kind::S3 => "s3", Kind::Azure => "azure" },
            "endpoint": format!("127.0.0.1:{}", self.port),
            "id": self.id,
            "secret": self.secret,
            "region": self.region,
        })
    }
}

/// A server's process, under guard.
struct Server {
    guard: Child,
    folder: PathBuf,
    _guarded_until_closed: ChildStdin,
}

impl Server {
    /// Starts `command`, a server that keeps its files in `folder`.
    fn start(command: &Command, folder: &Path) -> Self {
        let log = fs::File::create(folder.join("server.log")).unwrap();
        let mut guard = Command::new("sh");
        guard
            .args(["-c", GUARD, "sh"])
            .arg(folder)
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            guard.env(name, value.unwrap());
        }
        let mut guard = guard
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .current_dir(folder)
            .spawn()
            .unwrap();
        Self {
            _guarded_until_closed: guard.stdin.take().unwrap(),
            guard,
            folder: folder.to_owned(),
        }
    }

    /// Waits until `is_ready`.
    fn wait_until(&mut self, is_ready: impl Fn() -> bool) {
        let deadline = Instant::now() + READY_WITHIN;
        while !is_ready() {
            let log = || fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
            assert!(
                self.guard.try_wait().unwrap().is_none(),
                "the server's guard ended: {}",
                log()
            );
            assert!(
                Instant::now() < deadline,
                "no server within {READY_WITHIN:?}: {}",
                log()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A port that nobody listened on a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// A folder for a server's files, which its guard removes.
fn server_folder(name: &str) -> PathBuf {
    tempfile::Builder::new()
        .prefix(&format!("defender-lake-{name}-"))
        .tempdir()
        .unwrap()
        .keep()
}
