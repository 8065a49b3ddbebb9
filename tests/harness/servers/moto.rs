//! moto's S3 server: it honours conditional puts.

use std::process::Command;
use std::sync::LazyLock;

use super::{Kind, Server, Store, free_port, listens, server_folder};
use crate::harness::lake::store_command;
use crate::harness::tool;

/// The store, with its bucket.
pub(crate) fn store() -> &'static Store {
    static STORE: LazyLock<Store> = LazyLock::new(start);
    &STORE
}

fn start() -> Store {
    let port = free_port();
    let mut command = Command::new(tool("readers/bin/python3"));
    command.args([
        "-m",
        "moto.server",
        "-H",
        "127.0.0.1",
        "-p",
        &port.to_string(),
    ]);
    let mut server = Server::start(&command, &server_folder("moto"));
    server.wait_until(|| listens(port));
    let store = Store {
        kind: Kind::S3,
        port,
        bucket: "defender",
        id: "moto-key-id",
        secret: "moto-secret-of-no-use-elsewhere",
        region: "us-east-1",
        conditional_puts: true,
        _server: server,
    };
    store_command(&store, &["create", store.bucket]);
    store
}
