//! The tree of a folder, as `tree` draws it, with the sizes of its files.

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;

use indicatif::BinaryBytes;

/// Draws the tree; entries in the order of their names.
pub(crate) fn of(root: &Path) -> io::Result<String> {
    let mut out = format!("{}\n", root.display());
    branches(root, "", &mut out)?;
    Ok(out)
}

fn branches(folder: &Path, indent: &str, out: &mut String) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(DirEntry::file_name);
    let last = entries.len().saturating_sub(1);
    for (index, entry) in entries.into_iter().enumerate() {
        let (branch, below) = if index == last {
            ("└── ", "    ")
        } else {
            ("├── ", "│   ")
        };
        let name = entry.file_name().to_string_lossy().into_owned();
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            out.push_str(&format!("{indent}{branch}{name}\n"));
            branches(&entry.path(), &format!("{indent}{below}"), out)?;
        } else {
            let size = BinaryBytes(metadata.len());
            out.push_str(&format!("{indent}{branch}{name}  ({size})\n"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_shows_folders_and_sizes_in_order() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("b/c")).unwrap();
        fs::write(root.path().join("b/c/x.json"), [0; 2048]).unwrap();
        fs::write(root.path().join("a"), "").unwrap();
        let tree = of(root.path()).unwrap();
        let lines: Vec<&str> = tree.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "├── a  (0 B)",
                "└── b",
                "    └── c",
                "        └── x.json  (2.00 KiB)"
            ]
        );
    }
}
