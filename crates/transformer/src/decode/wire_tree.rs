//! A dataset's wire paths as a tree: which key leads to which column. Compiled once for all records.

use std::collections::HashMap;

use dataset::Dataset;

use super::written_key::WrittenKey;

/// The tree; node 0 is the record.
#[derive(Debug)]
pub(crate) struct WireTree {
    pub(crate) nodes: Vec<Node>,
}

/// An object on the wire, or a string that holds one.
#[derive(Debug)]
pub(crate) struct Node {
    /// Wire path; empty for the record.
    pub(crate) path: String,
    pub(crate) children: Vec<Child>,
    by_key: HashMap<Vec<u8>, usize>,
    /// The columns in this object and in those below it.
    pub(crate) columns: Vec<usize>,
}

/// A key that the schema names.
#[derive(Debug)]
pub(crate) struct Child {
    /// None for a key that needs escapes; it is found by its value.
    pub(crate) written: Option<WrittenKey>,
    pub(crate) path: String,
    pub(crate) target: Target,
}

/// What the value of a key is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    Column(usize),
    Partition,
    Node(usize),
}

impl WireTree {
    pub(crate) fn new(dataset: &Dataset) -> Self {
        let mut tree = Self {
            nodes: vec![Node::new(String::new())],
        };
        tree.add(0, dataset.partition.wire.keys(), Target::Partition);
        for (index, column) in dataset.columns.iter().enumerate() {
            let target = Target::Column(index);
            tree.add(0, column.wire.keys(), target);
        }
        tree
    }

    fn add(&mut self, node: usize, keys: &[String], target: Target) {
        if let Target::Column(column) = target {
            self.nodes[node].columns.push(column);
        }
        let Some((key, deeper)) = keys.split_first() else {
            return;
        };
        if deeper.is_empty() {
            self.nodes[node].add_child(key, target);
            return;
        }
        let below = match self.nodes[node].child_of_key(key.as_bytes()) {
            Some(child) => self.nodes[node].children[child].target,
            None => {
                let below = Target::Node(self.nodes.len());
                let path = join(&self.nodes[node].path, key);
                self.nodes.push(Node::new(path));
                self.nodes[node].add_child(key, below);
                below
            }
        };
        // A schema in which a path leads through a column does not parse.
        if let Target::Node(below) = below {
            self.add(below, deeper, target);
        }
    }
}

impl Node {
    fn new(path: String) -> Self {
        Self {
            path,
            children: Vec::new(),
            by_key: HashMap::new(),
            columns: Vec::new(),
        }
    }

    fn add_child(&mut self, key: &str, target: Target) {
        self.by_key
            .insert(key.as_bytes().to_vec(), self.children.len());
        self.children.push(Child {
            written: WrittenKey::new(key),
            path: join(&self.path, key),
            target,
        });
    }

    pub(crate) fn child_of_key(&self, key: &[u8]) -> Option<usize> {
        self.by_key.get(key).copied()
    }
}

/// The path of a key in an object; dots and backslashes in the key itself are escaped with a backslash.
pub(crate) fn join(path: &str, key: &str) -> String {
    let mut joined = String::with_capacity(path.len() + 1 + key.len());
    joined.push_str(path);
    if !path.is_empty() {
        joined.push('.');
    }
    for character in key.chars() {
        if matches!(character, '.' | '\\') {
            joined.push('\\');
        }
        joined.push(character);
    }
    joined
}
