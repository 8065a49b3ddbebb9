//! Which file of a crate imports which, read off the source text. Test code is left out; macros and code made by them are not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::blobs::files_below;

/// The names of a path, such as `crate::store::Lake`.
type Names = Vec<String>;

/// A crate's files and what they import of each other.
pub(crate) struct Imports {
    /// Module path to file.
    files: BTreeMap<Names, String>,
    /// Module path and name to where the module takes the name from and hands it on.
    handed_on: BTreeMap<(Names, String), Names>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Imports {
    /// Of the sources in a folder.
    pub(crate) fn of(sources: &Path) -> Self {
        let texts: BTreeMap<String, String> = files_below(sources)
            .into_iter()
            .filter(|file| file.ends_with(".rs") && !is_test_code(file))
            .map(|file| {
                let text = fs::read_to_string(sources.join(&file)).unwrap();
                (file, shipped(&text))
            })
            .collect();
        let files = texts.keys().map(|file| (module_of(file), file.clone()));
        let mut imports = Self {
            files: files.collect(),
            handed_on: BTreeMap::new(),
            edges: BTreeMap::new(),
        };
        let mut used = Vec::new();
        for (file, text) in &texts {
            let module = module_of(file);
            for (path, name, is_public) in paths_in(text) {
                let Some(path) = imports.absolute(&module, &path) else {
                    continue;
                };
                if is_public {
                    let key = (module.clone(), name);
                    imports.handed_on.insert(key, path);
                } else {
                    used.push((file.clone(), path));
                }
            }
        }
        for (file, path) in used {
            let target = imports.defining_file(path);
            if target != file {
                imports.edges.entry(file).or_default().insert(target);
            }
        }
        imports
    }

    /// The path from the crate's root. `None`: it is of another crate.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Names> {
        let mut base = match path.first()?.as_str() {
            "crate" => Names::new(),
            "self" => module.to_vec(),
            "super" => module[..module.len().checked_sub(1)?].to_vec(),
            child => {
                let child = [module, &[child.to_owned()]].concat();
                let is_module = self.files.contains_key(&child);
                return is_module.then(|| [module, path].concat());
            }
        };
        for name in &path[1..] {
            match name.as_str() {
                "super" => drop(base.pop()),
                name => base.push(name.to_owned()),
            }
        }
        Some(base)
    }

    /// The file that defines what a path names, through modules that only hand it on.
    fn defining_file(&self, mut path: Names) -> String {
        loop {
            let length = (0..=path.len())
                .rev()
                .find(|length| self.files.contains_key(&path[..*length]))
                .unwrap();
            let module = path[..length].to_vec();
            let name = path.get(length).cloned().unwrap_or_default();
            match self.handed_on.get(&(module.clone(), name)) {
                Some(from) => path = [from, &path[length + 1..]].concat(),
                None => return self.files[&module].clone(),
            }
        }
    }

    /// Groups of files that import each other, directly or by way of others.
    pub(crate) fn cycles(&self) -> Vec<BTreeSet<String>> {
        let reached: BTreeMap<&String, BTreeSet<String>> = self
            .edges
            .keys()
            .map(|file| (file, self.from(file)))
            .collect();
        let mut cycles = BTreeSet::new();
        for (file, targets) in &reached {
            let back = targets
                .iter()
                .filter(|target| reached.get(target).is_some_and(|from| from.contains(*file)));
            let cycle: BTreeSet<String> = back.cloned().collect();
            if !cycle.is_empty() {
                cycles.insert(cycle);
            }
        }
        cycles.into_iter().collect()
    }

    /// All files that a file imports, itself or by way of others.
    fn from(&self, file: &str) -> BTreeSet<String> {
        let mut open = vec![file];
        let mut reached = BTreeSet::new();
        while let Some(file) = open.pop() {
            for target in self.edges.get(file).into_iter().flatten() {
                if reached.insert(target.clone()) {
                    open.push(target);
                }
            }
        }
        reached
    }

    /// Imports that lead from a folder to one that comes later in `order`.
    pub(crate) fn upward(&self, order: &[&str]) -> Vec<String> {
        let floor = |file: &str| {
            let (folder, _) = file.split_once('/')?;
            order.iter().position(|known| *known == folder)
        };
        let mut upward = Vec::new();
        for (file, targets) in &self.edges {
            for target in targets {
                if let (Some(from), Some(to)) = (floor(file), floor(target))
                    && to > from
                {
                    upward.push(format!("{file} -> {target}"));
                }
            }
        }
        upward
    }
}

fn is_test_code(file: &str) -> bool {
    file.split('/')
        .any(|name| matches!(name, "tests" | "tests.rs" | "fixtures.rs"))
}

fn module_of(file: &str) -> Names {
    let mut names: Names = file
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    if matches!(
        names.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        names.pop();
    }
    names
}

/// The text without comments and without the tests at its end.
fn shipped(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = text.lines().map(|line| match line.find("//") {
        Some(comment) => &line[..comment],
        None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Paths that are imported or written out, each with the name it is known by and whether the module hands it on.
fn paths_in(text: &str) -> Vec<(Names, String, bool)> {
    let mut found = Vec::new();
    let mut rest = String::new();
    for statement in text.split_inclusive(';') {
        let start = statement
            .rfind("use ")
            .filter(|start| statement[..*start].ends_with(['\n', ' ']) || *start == 0);
        let Some(start) = start.filter(|_| statement.ends_with(';')) else {
            rest.push_str(statement);
            continue;
        };
        let line = statement[..start].rsplit('\n').next().unwrap_or_default();
        let is_public = line.trim_start().starts_with("pub");
        let tree = &statement[start + 4..statement.len() - 1];
        expand(&[], tree, is_public, &mut found);
        rest.push_str(&statement[..start]);
    }
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    for word in rest.split(|c| !is_name(c)) {
        let first = word.split("::").next().unwrap_or_default();
        if matches!(first, "crate" | "super" | "self") && word.contains("::") {
            expand(&[], word.trim_end_matches(':'), false, &mut found);
        }
    }
    found
}

/// The paths of a `use` tree.
fn expand(prefix: &[String], tree: &str, is_public: bool, found: &mut Vec<(Names, String, bool)>) {
    let names = |text: &str| -> Names {
        let names = text
            .split("::")
            .map(str::trim)
            .filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    };
    let tree = tree.trim();
    if let Some((before, branches)) = tree.split_once('{') {
        let prefix = [prefix, &names(before)].concat();
        let branches = branches.trim_end().trim_end_matches('}');
        let (mut depth, mut start) = (0, 0);
        for (at, c) in branches.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand(&prefix, &branches[start..at], is_public, found);
                    start = at + 1;
                }
                _ => {}
            }
        }
        return expand(&prefix, &branches[start..], is_public, found);
    }
    let (path, alias) = tree.split_once(" as ").unwrap_or((tree, ""));
    let mut path = [prefix, &names(path)].concat();
    if path.last().is_some_and(|name| name == "self") && path.len() > 1 {
        path.pop();
    }
    if let Some(last) = path.last() {
        let name = if alias.is_empty() {
            last.clone()
        } else {
            alias.trim().to_owned()
        };
        found.push((path, name, is_public));
    }
}
