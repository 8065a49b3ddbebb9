//! What tests of this crate share: a folder with blobs and a lake.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use crate::settings::Settings;

pub(crate) const ORG: &str = "47d41a0c-188d-46d3-bbea-a93dbc0bfcaa";

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(content).unwrap();
    gzip.finish().unwrap()
}

/// A folder with blobs and a lake.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// A blob whose path names the device group if `group` does.
    pub(crate) fn blob(&self, number: u32, group: Option<u32>, lines: &str) {
        let group = group.map_or_else(String::new, |group| format!("_RbacGroupId={group}/"));
        let path = self.path(&format!(
            "exports/2026-05-03/1001/InfoGatheringExport/json/OrgId={ORG}/{group}\
             part-{number:05}-5f0c7a52-3a5e-4a6e-9d0d-2a0f9f4f2c11.c000.json.gz"
        ));
        self.file(&path, &gzip(lines.as_bytes()));
    }

    /// A file in a folder that may not be there yet.
    pub(crate) fn file(&self, path: &str, content: &[u8]) {
        std::fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn settings(&self, overrides: &[&str]) -> Settings {
        let text = format!(
            "dataset = 'info_gathering'\n[source]\nfiles = '{}/**/*.json.gz'\n[lake]\nroot = '{}'\n\
             [work]\nthreads = 1\n",
            self.path("exports"),
            self.path("lake")
        );
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        Settings::parse(&text, Path::new("p.toml"), &overrides, |_| None).unwrap()
    }
}
