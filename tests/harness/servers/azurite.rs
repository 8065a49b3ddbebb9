//! Azurite, an Azure Blob server. Its account and key are those that every emulator has.

use std::process::Command;
use std::sync::LazyLock;

use super::{Kind, Server, Store, free_port, listens, server_folder};
use crate::harness::lake::store_command;
use crate::harness::tool;

/// The store, with its container.
pub(crate) fn store() -> &'static Store {
    static STORE: LazyLock<Store> = LazyLock::new(start);
    &STORE
}

fn start() -> Store {
    let port = free_port();
    let mut command = Command::new("node");
    command
        .arg(tool("azurite/node_modules/azurite/dist/src/blob/main.js"))
        .args([
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            &port.to_string(),
            "--location",
            ".",
        ])
        .args(["--silent", "--disableTelemetry", "--skipApiVersionCheck"]);
    let mut server = Server::start(&command, &server_folder("azurite"));
    server.wait_until(|| listens(port));
    let store = Store {
        kind: Kind::Azure,
        port,
        bucket: "defender",
        id: "devstoreaccount1",
        secret: "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
        region: "",
        conditional_puts: true,
        _server: server,
    };
    store_command(&store, &["create", store.bucket]);
    store
}
