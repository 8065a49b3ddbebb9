//! Garage, a production S3 server. It answers conditional puts as if they were plain ones.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use super::{Kind, Server, Store, free_port, server_folder};
use crate::harness::tool;

const BUCKET: &str = "defender";
const ACCESS_KEY_ID: &str = "GK0123456789abcdef01234567";
const SECRET_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The store, with its bucket.
pub(crate) fn store() -> &'static Store {
    static STORE: LazyLock<Store> = LazyLock::new(start);
    &STORE
}

fn start() -> Store {
    let (s3_port, rpc_port) = (free_port(), free_port());
    let folder = server_folder("garage");
    let settings = folder.join("garage.toml");
    let text = format!(
        "metadata_dir = \"meta\"\ndata_dir = \"data\"\ndb_engine = \"lmdb\"\nreplication_factor = 1\n\
         rpc_bind_addr = \"127.0.0.1:{rpc_port}\"\nrpc_public_addr = \"127.0.0.1:{rpc_port}\"\nrpc_secret = \"{SECRET_KEY}\"\n\
         [s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"127.0.0.1:{s3_port}\"\nroot_domain = \".s3.garage.localhost\"\n"
    );
    fs::write(&settings, text).unwrap();

    let garage = tool("garage/bin/garage");
    let mut command = Command::new(&garage);
    command
        .arg("-c")
        .arg(&settings)
        .args(["server", "--single-node", "--default-bucket"])
        .env("GARAGE_DEFAULT_ACCESS_KEY", ACCESS_KEY_ID)
        .env("GARAGE_DEFAULT_SECRET_KEY", SECRET_KEY)
        .env("GARAGE_DEFAULT_BUCKET", BUCKET);
    let mut server = Server::start(&command, &folder);
    server.wait_until(|| {
        let mut bucket = Command::new(&garage);
        bucket
            .arg("-c")
            .arg(&settings)
            .args(["bucket", "info", BUCKET])
            .current_dir(&folder);
        let output = bucket.stderr(Stdio::null()).output().unwrap();
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains(ACCESS_KEY_ID)
    });
    Store {
        kind: Kind::S3,
        port: s3_port,
        bucket: BUCKET,
        id: ACCESS_KEY_ID,
        secret: SECRET_KEY,
        region: "garage",
        conditional_puts: false,
        _server: server,
    }
}
