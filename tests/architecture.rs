//! Who may depend on whom, read off `cargo metadata`: ARCHITECTURE.md says it, this test holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::harness::imports::Imports;
use crate::harness::workspace;

/// Package name to the names of the packages that its shipped code depends on, itself or through others.
struct Dependencies {
    /// Of the workspace's members.
    direct: BTreeMap<String, BTreeSet<String>>,
    /// Of all packages, by id, with names.
    names: BTreeMap<String, String>,
    edges: BTreeMap<String, Vec<String>>,
}

/// This system, as Rust names it.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.unwrap().to_owned()
}

impl Dependencies {
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--offline"])
            // Packages for other systems may never have been downloaded.
            .args(["--filter-platform", &host()])
            .current_dir(workspace())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let list = |value: &Value| value.as_array().unwrap().clone();

        let packages = list(&metadata["packages"]);
        let names = packages
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let members: BTreeSet<String> = list(&metadata["workspace_members"])
            .iter()
            .map(text)
            .collect();
        let direct = packages
            .iter()
            .filter(|package| members.contains(package["id"].as_str().unwrap()))
            .map(|package| {
                let dependencies = list(&package["dependencies"]);
                let shipped = dependencies
                    .iter()
                    .filter(|dependency| dependency["kind"].is_null());
                (
                    text(&package["name"]),
                    shipped
                        .map(|dependency| text(&dependency["name"]))
                        .collect(),
                )
            });
        let edges = list(&metadata["resolve"]["nodes"]).into_iter().map(|node| {
            let shipped = list(&node["deps"]).into_iter().filter(|dep| {
                list(&dep["dep_kinds"])
                    .iter()
                    .any(|kind| kind["kind"].is_null())
            });
            (
                text(&node["id"]),
                shipped.map(|dep| text(&dep["pkg"])).collect(),
            )
        });
        Self {
            direct: direct.collect(),
            names,
            edges: edges.collect(),
        }
    }

    fn of(&self, member: &str) -> &BTreeSet<String> {
        &self.direct[member]
    }

    /// Everything that the member's shipped code is built with.
    fn all_of(&self, member: &str) -> BTreeSet<String> {
        let of_member = self
            .names
            .iter()
            .filter(|(_, name)| *name == member)
            .map(|(id, _)| id.clone());
        let mut open: Vec<String> = of_member.collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id.clone()) {
                open.extend(self.edges[&id].iter().cloned());
            }
        }
        seen.iter().map(|id| self.names[id].clone()).collect()
    }

    /// Members whose shipped code depends on the package, itself.
    fn users_of(&self, package: &str) -> Vec<&str> {
        let users = self
            .direct
            .iter()
            .filter(|(_, dependencies)| dependencies.contains(package));
        users.map(|(member, _)| member.as_str()).collect()
    }
}

#[test]
fn stages_know_the_dataset_and_not_each_other() {
    let dependencies = Dependencies::read();
    let members: BTreeSet<&str> = dependencies.direct.keys().map(String::as_str).collect();
    let members_of = |member: &str| -> Vec<&str> {
        let all = dependencies.of(member).iter().map(String::as_str);
        all.filter(|dependency| members.contains(dependency))
            .collect()
    };
    for stage in ["extractor", "simulator"] {
        assert_eq!(members_of(stage), ["dataset"], "{stage}");
    }
    for stage in ["transformer", "writer"] {
        assert_eq!(members_of(stage), ["dataset", "dictionary"], "{stage}");
    }
    for leaf in ["dataset", "dictionary"] {
        assert!(members_of(leaf).is_empty(), "{leaf}");
    }
    assert_eq!(
        members_of("pipeline"),
        ["dataset", "extractor", "transformer", "writer"]
    );
}

#[test]
fn the_transformer_is_built_without_async_and_network() {
    let all = Dependencies::read().all_of("transformer");
    for forbidden in ["tokio", "futures", "reqwest", "hyper", "object_store"] {
        assert!(!all.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn the_dataset_is_built_without_io() {
    let all = Dependencies::read().all_of("dataset");
    for forbidden in ["tokio", "futures", "reqwest", "object_store", "parquet"] {
        assert!(!all.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn each_transport_has_one_user() {
    let dependencies = Dependencies::read();
    assert_eq!(dependencies.users_of("object_store"), ["writer"]);
    assert_eq!(dependencies.users_of("parquet"), ["writer"]);
    assert_eq!(dependencies.users_of("buoyant_kernel"), ["writer"]);
    assert_eq!(dependencies.users_of("reqwest"), ["extractor"]);
    assert_eq!(dependencies.users_of("clap"), ["cli"]);
}

/// Folders of a crate from the bottom up: each uses only those before it.
const LAYERS: &[(&str, &[&str])] = &[
    ("extractor", &["http", "api", "blobs"]),
    (
        "writer",
        &[
            "parquet", "store", "delta", "table", "stage", "commit", "maintain",
        ],
    ),
    (
        "pipeline",
        &[
            "settings",
            "source",
            "work",
            "gate",
            "run",
            "quarantine",
            "lake",
        ],
    ),
];

#[test]
fn no_files_of_a_crate_import_each_other() {
    let crates = fs::read_dir(workspace().join("crates")).unwrap();
    for krate in crates {
        let sources = krate.unwrap().path().join("src");
        let cycles = Imports::of(&sources).cycles();
        assert!(cycles.is_empty(), "{}: {cycles:#?}", sources.display());
    }
}

#[test]
fn folders_import_only_folders_below_them() {
    for (krate, order) in LAYERS {
        let sources = workspace().join("crates").join(krate).join("src");
        let upward = Imports::of(&sources).upward(order);
        assert!(upward.is_empty(), "{krate}: {upward:#?}");
    }
}

#[test]
fn the_simulator_ships_in_the_command_line_alone() {
    assert_eq!(Dependencies::read().users_of("simulator"), ["cli"]);
}
