//! A dataset's wire paths as a tree: which key leads to which column. Compiled once for all records.
//!
//! A key in another case than the schema's is found too, and then learned: it becomes a child of its own, read as fast as the
//! others. So does a key that the schema does not name: the service adds some before the schema knows them, to every record.

use std::collections::HashMap;
use std::sync::Arc;

use dataset::{Column, WirePaths};

use super::written_key::WrittenKey;

/// Spellings that a tree learns; hostile records can make up any number of them. Keys beyond are as if the schema did not
/// name them.
const MAX_LEARNED: usize = 1 << 10;
/// Unnamed keys that a tree learns, likewise. Those beyond are rescued too, only slower.
const MAX_UNNAMED: usize = 1 << 10;
/// What the rank of a learned spelling is more than that of the path that the schema names.
const LEARNED: usize = 1 << 16;

/// The tree; node 0 is the record.
#[derive(Debug)]
pub(crate) struct WireTree {
    pub(crate) nodes: Vec<Node>,
    columns: usize,
    learned: usize,
    unnamed: usize,
}

/// An object on the wire, or a string that holds one.
#[derive(Debug)]
pub(crate) struct Node {
    /// Wire path; empty for the record.
    pub(crate) path: String,
    parent: Option<usize>,
    pub(crate) children: Vec<Child>,
    by_key: HashMap<Vec<u8>, usize>,
    /// By the key in lower case.
    by_folded_key: HashMap<Vec<u8>, usize>,
    /// The columns in this object and in those below it.
    pub(crate) columns: Vec<usize>,
}

/// A key that the schema names, another spelling of one, or an unnamed one that came before.
#[derive(Debug)]
pub(crate) struct Child {
    key: String,
    /// None for a key that needs escapes; it is found by its value.
    pub(crate) written: Option<WrittenKey>,
    pub(crate) path: Arc<str>,
    pub(crate) target: Target,
    /// Of several spellings with a value in one record, the one with the least rank counts.
    pub(crate) rank: usize,
    /// Whether another child has the same target.
    pub(crate) is_contested: bool,
    /// Whether a value under this key is drift: the schema has it in a case that the service does not use for it.
    pub(crate) is_drift: bool,
}

/// What the value of a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Column(usize),
    Partition,
    Node(usize),
    /// Rescued: the schema does not name the key.
    Unnamed,
}

impl WireTree {
    /// The tree of some columns, and of the partition column of a record.
    pub(crate) fn new(columns: &[Column], partition: Option<&WirePaths>) -> Self {
        let mut tree = Self {
            nodes: vec![Node::new(String::new(), None)],
            columns: columns.len(),
            learned: 0,
            unnamed: 0,
        };
        let partition = partition.map(|paths| (paths, Target::Partition));
        let columns = columns.iter().enumerate();
        let columns = columns.map(|(index, column)| (&column.wire, Target::Column(index)));
        for (paths, target) in partition.into_iter().chain(columns) {
            for (rank, path) in paths.iter().enumerate() {
                tree.add(0, path.keys(), target, rank);
            }
            tree.find_contested(target);
        }
        tree
    }

    fn add(&mut self, node: usize, keys: &[String], target: Target, rank: usize) {
        if let Target::Column(column) = target {
            self.nodes[node].columns.push(column);
        }
        let Some((key, deeper)) = keys.split_first() else {
            return;
        };
        if deeper.is_empty() {
            self.nodes[node].add_child(key, target, rank, false);
            return;
        }
        let below = match self.nodes[node].child_of_key(key.as_bytes()) {
            Some(child) => self.nodes[node].children[child].target,
            None => {
                let below = Target::Node(self.nodes.len());
                let path = join(&self.nodes[node].path, key);
                self.nodes.push(Node::new(path, Some(node)));
                self.nodes[node].add_child(key, below, 0, false);
                below
            }
        };
        // A schema in which a path leads through a column does not parse.
        if let Target::Node(below) = below {
            self.add(below, deeper, target, rank);
        }
    }

    /// Makes a key that differs from one of the schema's only in case a child of its own. False if there is no such key.
    pub(crate) fn learn(&mut self, node: usize, key: &str) -> bool {
        let node = &mut self.nodes[node];
        let Some(known) = node.child_of_folded_key(key) else {
            return false;
        };
        if node.child_of_key(key.as_bytes()).is_some() || self.learned == MAX_LEARNED {
            return false;
        }
        let Child { target, rank, .. } = node.children[known];
        let is_drift = !is_other_casing(&node.children[known].key, key);
        node.add_child(key, target, rank + LEARNED, is_drift);
        self.learned += 1;
        self.find_contested(target);
        true
    }

    /// Whether another spelling of a key can be learned.
    pub(crate) fn can_learn(&self, node: usize, key: &str) -> bool {
        self.learned < MAX_LEARNED && self.nodes[node].child_of_folded_key(key).is_some()
    }

    /// Makes a key that the schema does not name in any case a child of its own. False if it is one already, or is a spelling.
    pub(crate) fn learn_unnamed(&mut self, node: usize, key: &str) -> bool {
        if !self.can_learn_unnamed(0) {
            return false;
        }
        let node = &mut self.nodes[node];
        if node.child_of_key(key.as_bytes()).is_some() || node.child_of_folded_key(key).is_some() {
            return false;
        }
        node.add_child(key, Target::Unnamed, 0, false);
        self.unnamed += 1;
        true
    }

    /// Whether another unnamed key can be learned beside some that are about to be.
    pub(crate) fn can_learn_unnamed(&self, pending: usize) -> bool {
        self.unnamed + pending < MAX_UNNAMED
    }

    fn find_contested(&mut self, target: Target) {
        let children = || self.nodes.iter().flat_map(|node| &node.children);
        let is_contested = children().filter(|child| child.target == target).count() > 1;
        let children = self.nodes.iter_mut().flat_map(|node| &mut node.children);
        for child in children.filter(|child| child.target == target) {
            child.is_contested = is_contested;
        }
    }

    /// A number for each target that several spellings may have.
    pub(crate) fn slot(&self, target: Target) -> Option<usize> {
        match target {
            Target::Column(column) => Some(column),
            Target::Partition => Some(self.columns),
            Target::Node(node) => Some(self.columns + 1 + node),
            Target::Unnamed => None,
        }
    }

    /// Whether a node is another or below it.
    pub(crate) fn is_within(&self, node: usize, other: usize) -> bool {
        let mut at = Some(node);
        while let Some(node) = at {
            if node == other {
                return true;
            }
            at = self.nodes[node].parent;
        }
        false
    }
}

impl Node {
    fn new(path: String, parent: Option<usize>) -> Self {
        Self {
            path,
            parent,
            children: Vec::new(),
            by_key: HashMap::new(),
            by_folded_key: HashMap::new(),
            columns: Vec::new(),
        }
    }

    fn add_child(&mut self, key: &str, target: Target, rank: usize, is_drift: bool) {
        let index = self.children.len();
        self.by_key.insert(key.as_bytes().to_vec(), index);
        if target != Target::Unnamed {
            let folded = key.to_ascii_lowercase().into_bytes();
            self.by_folded_key.entry(folded).or_insert(index);
        }
        self.children.push(Child {
            key: key.to_owned(),
            written: WrittenKey::new(key),
            path: join(&self.path, key).into(),
            target,
            rank,
            is_contested: false,
            is_drift,
        });
    }

    pub(crate) fn child_of_key(&self, key: &[u8]) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    fn child_of_folded_key(&self, key: &str) -> Option<usize> {
        let folded = key.to_ascii_lowercase();
        self.by_folded_key.get(folded.as_bytes()).copied()
    }
}

/// Whether two keys that differ in case only are the two forms that the service writes a key in: `OSPlatform` and `osPlatform`.
fn is_other_casing(one: &str, other: &str) -> bool {
    camel_case(one) == other || camel_case(other) == one
}

/// `osPlatform` of `OSPlatform`.
fn camel_case(key: &str) -> String {
    let capitals = key.bytes().take_while(u8::is_ascii_uppercase).count();
    // The last capital of several begins the next word.
    let beginning = match capitals < key.len() {
        true if capitals > 1 => capitals - 1,
        _ => capitals,
    };
    let (beginning, rest) = key.split_at(beginning);
    beginning.to_ascii_lowercase() + rest
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
