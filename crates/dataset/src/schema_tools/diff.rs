//! Compares a dataset with the records that an inference has seen: what the schema names and records lack, what records have and
//! the schema does not name, what does not fit. Judges nothing: what is a defect is for the reader to say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::evidence::{Objects, Seen};
use super::infer::Inference;
use super::shape::add_columns;
use super::toml_text::{counted, grouped, share, usual_path};
use super::wire_value::Kind;
use crate::column::{Column, ColumnType};
use crate::schema::Dataset;
use crate::wire_path::WirePaths;

/// Differences between a schema and records, each list sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SchemaDiff {
    /// Records that were looked at.
    pub records: u64,
    /// Columns of which no record has the key, not even with a null.
    pub never_came: Vec<NeverCame>,
    /// Values that no column takes.
    pub unnamed: Vec<UnnamedPath>,
    /// Some keys that were not followed: they have dots or are empty, or there were too many.
    pub left_out: Vec<String>,
    /// Values that do not fit their column.
    pub misfits: Vec<Misfit>,
    /// Keys that differ from the schema's in case only.
    pub spellings: Vec<Spelling>,
}

/// A column without a key in any record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NeverCame {
    /// The column; that of a field begins with the column of its list.
    pub column: String,
    /// Its wire paths.
    pub wire: String,
}

/// A wire path with values that the schema does not name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct UnnamedPath {
    /// The path; `[]` stands for the objects of a list.
    pub wire: String,
    /// The type that a column for it would have.
    pub column_type: String,
    /// Values that are not null.
    pub values: u64,
    /// Records, or objects of the list, that could have one.
    pub of: u64,
}

/// Values of a column, or of a step of wire paths, that do not fit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Misfit {
    /// Where they came.
    pub wire: String,
    /// The column; none for a step.
    pub column: Option<String>,
    /// What was expected: a type, `object` for a step, or `a value` where null came.
    pub expected: String,
    /// How many.
    pub count: u64,
    /// One of them.
    pub example: String,
}

/// A wire path that differs from the schema's in case only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Spelling {
    /// The column.
    pub column: String,
    /// The schema's wire paths.
    pub wire: String,
    /// The path as it came.
    pub came_as: String,
    /// How often.
    pub count: u64,
}

impl SchemaDiff {
    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.never_came.is_empty()
            && self.unnamed.is_empty()
            && self.left_out.is_empty()
            && self.misfits.is_empty()
            && self.spellings.is_empty()
    }
}

impl fmt::Display for SchemaDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "no differences in {}", counted(self.records, "record"));
        }
        for UnnamedPath {
            wire,
            column_type,
            values,
            of,
        } in &self.unnamed
        {
            let share = share(*values, *of);
            writeln!(
                f,
                "no column    {wire}: {column_type}, in {share} of {}",
                grouped(*of)
            )?;
        }
        for path in &self.left_out {
            writeln!(f, "not followed {path}")?;
        }
        for NeverCame { column, wire } in &self.never_came {
            writeln!(f, "never came   {column} ({wire})")?;
        }
        for misfit in &self.misfits {
            let Misfit {
                wire,
                expected,
                example,
                ..
            } = misfit;
            let count = grouped(misfit.count);
            write!(
                f,
                "does not fit {wire}: {count} not {expected}, such as {example}"
            )?;
            match &misfit.column {
                Some(column) => writeln!(f, " ({column})")?,
                None => writeln!(f)?,
            }
        }
        for Spelling {
            column,
            wire,
            came_as,
            count,
        } in &self.spellings
        {
            let count = grouped(*count);
            writeln!(
                f,
                "other case   {came_as}: {count} times for {wire} ({column})"
            )?;
        }
        Ok(())
    }
}

/// Compares a schema with records.
pub fn diff(dataset: &Dataset, inference: &Inference) -> SchemaDiff {
    let mut diff = SchemaDiff {
        records: inference.records(),
        ..SchemaDiff::default()
    };
    let partition = Target {
        label: dataset.partition.column.clone(),
        wire: &dataset.partition.wire,
        kind: Some(Kind::Partition),
        type_name: "int64",
        fields: &[],
        // A record without a group takes that of its blob, or of a setting.
        is_required: false,
    };
    let columns = dataset.columns.iter().map(|column| Target::of(column, ""));
    let targets: Vec<Target<'_>> = [partition].into_iter().chain(columns).collect();
    Comparison::of(&targets, &inference.objects, "").walk_into(&mut diff);
    diff.never_came.sort();
    diff.unnamed.sort();
    diff.left_out.sort();
    diff.misfits.sort();
    diff.spellings.sort();
    diff
}

/// A column, a field or the partition column.
struct Target<'a> {
    label: String,
    wire: &'a WirePaths,
    kind: Option<Kind>,
    type_name: &'static str,
    fields: &'a [Column],
    is_required: bool,
}

impl<'a> Target<'a> {
    fn of(column: &'a Column, list: &str) -> Self {
        let dot = if list.is_empty() { "" } else { "." };
        Self {
            label: format!("{list}{dot}{}", column.name),
            wire: &column.wire,
            kind: Kind::of(&column.column_type),
            type_name: column.column_type.name(),
            fields: match &column.column_type {
                ColumnType::StructList(fields) => fields,
                _ => &[],
            },
            is_required: !column.nullable,
        }
    }
}

/// Targets and objects at one place: the records, or the objects of a list.
struct Comparison<'a> {
    targets: &'a [Target<'a>],
    objects: &'a Objects,
    /// What paths begin with.
    place: &'a str,
    /// Path in lower case to the target.
    by_path: BTreeMap<String, usize>,
    /// Paths in lower case that lead to targets.
    steps: BTreeSet<String>,
    /// Values of each target, if its key came.
    came: Vec<Option<u64>>,
    /// Steps below which not all keys are known.
    cut: Vec<String>,
}

impl<'a> Comparison<'a> {
    fn of(targets: &'a [Target<'a>], objects: &'a Objects, place: &'a str) -> Self {
        let mut by_path = BTreeMap::new();
        let mut steps = BTreeSet::new();
        for (index, target) in targets.iter().enumerate() {
            for path in target.wire.iter() {
                let path = path.to_string().to_ascii_lowercase();
                let ends = path
                    .match_indices('.')
                    .map(|(end, _)| path[..end].to_owned());
                steps.extend(ends);
                by_path.entry(path).or_insert(index);
            }
        }
        Self {
            targets,
            objects,
            place,
            by_path,
            steps,
            came: vec![None; targets.len()],
            cut: Vec::new(),
        }
    }

    fn walk_into(mut self, diff: &mut SchemaDiff) {
        self.walk(self.objects, "", diff);
        for (target, came) in self.targets.iter().zip(&self.came) {
            let mut paths = target
                .wire
                .iter()
                .map(|path| path.to_string().to_ascii_lowercase());
            let may_be_cut = paths.any(|path| self.cut.iter().any(|step| path.starts_with(step)));
            let lacking = self.objects.count.saturating_sub(came.unwrap_or(0));
            if may_be_cut || self.objects.count == 0 {
                continue;
            }
            if came.is_none() {
                diff.never_came.push(NeverCame {
                    column: target.label.clone(),
                    wire: format!("{}{}", self.place, target.wire),
                });
            }
            if target.is_required && lacking > 0 {
                diff.misfits.push(Misfit {
                    wire: format!("{}{}", self.place, target.wire),
                    column: Some(target.label.clone()),
                    expected: "a value".to_owned(),
                    count: lacking,
                    example: "null".to_owned(),
                });
            }
        }
    }

    fn walk(&mut self, objects: &'a Objects, above: &str, diff: &mut SchemaDiff) {
        if objects.is_full {
            self.cut.push(above.to_owned());
        }
        let left_out = objects.left_out.iter();
        diff.left_out
            .extend(left_out.map(|key| format!("{}{above}{key}", self.place)));
        for (key, seen) in &objects.children {
            let path = format!("{above}{key}");
            if let Some(index) = self.by_path.get(&path).copied() {
                self.compare(index, seen, diff);
            } else if self.steps.contains(&path) {
                self.add_misfit(seen, Kind::Object, "object", None, diff);
                self.walk(&seen.object, &format!("{path}."), diff);
            } else {
                let mut columns = Vec::new();
                add_columns(seen, self.objects.count, &mut columns);
                let with_values = columns.iter().filter(|column| column.seen.values > 0);
                diff.unnamed.extend(with_values.map(|column| UnnamedPath {
                    wire: format!("{}{}", self.place, usual_path(column)),
                    column_type: column.type_name.to_owned(),
                    values: column.seen.values,
                    of: column.of,
                }));
            }
        }
    }

    fn compare(&mut self, index: usize, seen: &'a Seen, diff: &mut SchemaDiff) {
        let target = &self.targets[index];
        let came = self.came[index].get_or_insert(0);
        *came += seen.values;
        if let Some(kind) = target.kind {
            self.add_misfit(seen, kind, target.type_name, Some(&target.label), diff);
        }
        for (came_as, count) in &seen.spellings {
            let is_declared = target.wire.iter().any(|path| path.to_string() == *came_as);
            if !is_declared {
                diff.spellings.push(Spelling {
                    column: target.label.clone(),
                    wire: format!("{}{}", self.place, target.wire),
                    came_as: format!("{}{came_as}", self.place),
                    count: *count,
                });
            }
        }
        if target.kind == Some(Kind::Structs) {
            let fields = target.fields.iter();
            let fields: Vec<Target<'_>> = fields
                .map(|field| Target::of(field, &target.label))
                .collect();
            let usual = seen.written().first().copied().unwrap_or_default();
            let place = format!("{}{usual}[].", self.place);
            Comparison::of(&fields, &seen.items, &place).walk_into(diff);
        }
    }

    fn add_misfit(
        &self,
        seen: &Seen,
        kind: Kind,
        expected: &str,
        column: Option<&String>,
        diff: &mut SchemaDiff,
    ) {
        let (count, example) = seen.misfits(kind);
        if count > 0 {
            let usual = seen.written().first().copied().unwrap_or_default();
            diff.misfits.push(Misfit {
                wire: format!("{}{usual}", self.place),
                column: column.cloned(),
                expected: expected.to_owned(),
                count,
                example: example.to_owned(),
            });
        }
    }
}
