//! A lake of one test: a folder on disk, or a prefix of its own in a store that all tests share.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::blobs::files_below;
use super::proxy;
use super::servers::{Kind, Store, azurite, garage, moto};
use super::{tool, workspace};

/// Where a lake is stored. A folder is gone when dropped.
pub(crate) struct Lake {
    place: Place,
    options: Vec<(String, String)>,
}

enum Place {
    Folder(TempDir),
    Prefix {
        store: &'static Store,
        prefix: String,
    },
}

impl Lake {
    /// On disk.
    pub(crate) fn on_disk() -> Self {
        Self {
            place: Place::Folder(tempfile::tempdir().unwrap()),
            options: Vec::new(),
        }
    }

    /// In moto's S3 server, which honours conditional puts.
    pub(crate) fn in_moto() -> Self {
        Self::in_store(moto::store())
    }

    /// In Garage, which does not.
    pub(crate) fn in_garage() -> Self {
        Self::in_store(garage::store())
    }

    /// In Azurite, an Azure Blob server.
    pub(crate) fn in_azurite() -> Self {
        Self::in_store(azurite::store())
    }

    /// The same place, asked by way of a proxy before its store.
    pub(crate) fn by_way_of(
        &self,
        rule: impl Fn(&proxy::Request) -> proxy::Rule + Send + Sync + 'static,
    ) -> Self {
        let Place::Prefix { store, prefix } = &self.place else {
            panic!("there is no proxy before a folder");
        };
        let port = proxy::start(store.port, rule);
        let from = format!("127.0.0.1:{}", store.port);
        let to = format!("127.0.0.1:{port}");
        let options = self.options.iter();
        Self {
            place: Place::Prefix {
                store,
                prefix: prefix.clone(),
            },
            options: options
                .map(|(name, value)| (name.clone(), value.replace(&from, &to)))
                .collect(),
        }
    }

    fn in_store(store: &'static Store) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("lake-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Self {
            place: Place::Prefix { store, prefix },
            options: store.options(),
        }
    }

    /// For `lake.root`.
    pub(crate) fn root(&self) -> String {
        match &self.place {
            Place::Folder(folder) => folder.path().to_str().unwrap().to_owned(),
            Place::Prefix { store, prefix } => {
                format!("{}://{}/{prefix}", store.scheme(), store.bucket)
            }
        }
    }

    /// For `[lake.options]`.
    pub(crate) fn options(&self) -> &[(String, String)] {
        &self.options
    }

    /// Whether the store cannot tell two writers apart.
    pub(crate) fn single_writer(&self) -> bool {
        matches!(&self.place, Place::Prefix { store, .. } if !store.conditional_puts)
    }

    /// The store's credentials, as the environment variables that readers know.
    pub(crate) fn credentials(&self) -> Vec<(&'static str, String)> {
        let variable = |name: &str| match name {
            "access_key_id" => Some("AWS_ACCESS_KEY_ID"),
            "secret_access_key" => Some("AWS_SECRET_ACCESS_KEY"),
            "account_key" => Some("AZURE_STORAGE_ACCOUNT_KEY"),
            _ => None,
        };
        let options = self.options.iter();
        options
            .filter_map(|(name, value)| Some((variable(name)?, value.clone())))
            .collect()
    }

    /// For the Polars reader's `STORAGE_OPTIONS`.
    pub(crate) fn storage_options(&self) -> Value {
        Value::Object(
            self.options
                .iter()
                .map(|(name, value)| (name.clone(), json!(value)))
                .collect(),
        )
    }

    /// The lake's folder, or a copy of the lake as it is now.
    pub(crate) fn on_this_machine(&self) -> OnDisk {
        match &self.place {
            Place::Folder(folder) => OnDisk {
                root: folder.path().to_owned(),
                _copy: None,
            },
            Place::Prefix { store, prefix } => {
                let copy = tempfile::tempdir().unwrap();
                let folder = copy.path().join(prefix);
                let path = format!("{}/{prefix}", store.bucket);
                store_command(store, &["download", &path, folder.to_str().unwrap()]);
                OnDisk {
                    root: folder,
                    _copy: Some(copy),
                }
            }
        }
    }

    /// Paths below the root and bytes of all files.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.on_this_machine().files()
    }

    /// What a run that publishes nothing may not touch: all files but the run reports.
    pub(crate) fn state(&self) -> BTreeMap<String, Vec<u8>> {
        self.on_this_machine().state()
    }

    /// Puts files into the lake as somebody does who is not this program.
    pub(crate) fn plant(&self, files: &[(&str, &str)]) {
        let write = |root: &Path| {
            for (path, content) in files {
                let file = root.join(path);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, content).unwrap();
            }
        };
        match &self.place {
            Place::Folder(folder) => write(folder.path()),
            Place::Prefix { store, prefix } => {
                let folder = tempfile::tempdir().unwrap();
                write(folder.path());
                let to = format!("{}/{prefix}", store.bucket);
                store_command(store, &["upload", folder.path().to_str().unwrap(), &to]);
            }
        }
    }

    /// Uploads that were begun and neither completed nor aborted: keys of the store, or files of the staging folder. None in
    /// Azure, which forgets blocks that nobody committed by itself.
    pub(crate) fn open_uploads(&self) -> Vec<String> {
        match &self.place {
            Place::Folder(folder) => {
                let files = files_below(folder.path()).into_iter();
                files.filter(|path| path.contains("/staging/")).collect()
            }
            Place::Prefix { store, .. } if store.kind == Kind::Azure => Vec::new(),
            Place::Prefix { store, prefix } => {
                let keys =
                    store_command(store, &["uploads", &format!("{}/{prefix}", store.bucket)]);
                keys.lines().map(str::to_owned).collect()
            }
        }
    }
}

/// A lake's files on disk; a copy is gone when dropped.
pub(crate) struct OnDisk {
    root: PathBuf,
    _copy: Option<TempDir>,
}

impl OnDisk {
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the table.
    pub(crate) fn table(&self) -> PathBuf {
        self.root.join("info_gathering")
    }

    /// Paths below the root and bytes of all files.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files_below(&self.root)
            .into_iter()
            .map(|path| {
                let bytes = fs::read(self.root.join(&path)).unwrap();
                (path, bytes)
            })
            .collect()
    }

    /// As [`Lake::state`].
    pub(crate) fn state(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.files();
        files.retain(|path, _| !path.starts_with("_lake/info_gathering/runs/"));
        files
    }

    /// The table's Parquet files alone, without its log.
    pub(crate) fn table_files(&self) -> BTreeMap<String, Vec<u8>> {
        self.files()
            .into_iter()
            .filter(|(path, _)| path.starts_with("info_gathering/generated_date="))
            .collect()
    }
}

/// Runs `readers/store.py`; what it printed.
pub(crate) fn store_command(store: &Store, arguments: &[&str]) -> String {
    let output = Command::new(tool("readers/bin/python3"))
        .arg(workspace().join("tests/readers/store.py"))
        .args(arguments)
        .env("STORE", store.as_json().to_string())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "store.py {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
