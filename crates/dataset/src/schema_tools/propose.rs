//! Writes a schema file for what an inference has seen, for a person to finish: names, types, key, and what was seen of each
//! column. What it writes is a schema file that parses.

use super::column_name::column_names;
use super::infer::Inference;
use super::key_sample::ProposedKey;
use super::shape::{FoundColumn, columns_of};
use super::toml_text::{column_text, counted, quoted, quoted_list, quoted_paths, usual_path};
use crate::partition::GENERATED_DATE;
use crate::schema::{Dataset, GENERATED_TIME, ORG_ID, SchemaError};

/// What errors call the proposed file.
const PROPOSAL: &str = "proposal";
/// The partition column of every export, and its key.
const PARTITION: &str = "rbac_group_id";
const PARTITION_KEY: &str = "RbacGroupId";

/// What records do not tell of their dataset.
#[derive(Debug, Clone, Copy)]
pub struct ProposedDataset<'a> {
    /// Name of the dataset and of its table.
    pub name: &'a str,
    /// Path of the export call.
    pub endpoint: &'a str,
    /// Segment of the blob paths that names the export.
    pub export_name: &'a str,
    /// Application permission that the call needs.
    pub permission: &'a str,
}

impl Inference {
    /// A schema file for the records, with comments on what was seen. Refused, as such a file would be, if the name is no table
    /// name or no value came that could be part of a key.
    pub fn propose(&self, dataset: &ProposedDataset<'_>) -> Result<String, SchemaError> {
        let (mut partition, mut columns): (Vec<_>, Vec<_>) = columns_of(&self.objects)
            .into_iter()
            .partition(|column| usual_path(column).eq_ignore_ascii_case(PARTITION_KEY));
        // An object below the partition's key would lead through it; the partition takes the key whole.
        let prefix = format!("{PARTITION_KEY}.").to_ascii_lowercase();
        columns.retain(|column| !usual_path(column).to_ascii_lowercase().starts_with(&prefix));

        let paths: Vec<&str> = columns.iter().map(usual_path).collect();
        let reserved = [GENERATED_TIME, ORG_ID, GENERATED_DATE, PARTITION];
        let names = column_names(&paths, &reserved);
        let mut columns: Vec<(FoundColumn<'_>, String)> = columns.into_iter().zip(names).collect();
        let key = self.key(&columns);
        // The key's columns first, in its order; the others by path.
        let key_names: Vec<String> = key
            .iter()
            .flat_map(|key| &key.columns)
            .map(|index| columns[*index].1.clone())
            .collect();
        let place = |name: &String| key_names.iter().position(|key| key == name);
        columns.sort_by_key(|(_, name)| place(name).unwrap_or(usize::MAX));

        let mut text = self.heading(dataset, key.as_ref(), &key_names);
        let (wire, remark) = match partition.pop() {
            Some(column) => (column.wire, ""),
            None => (vec![PARTITION_KEY], "      # in none of these records"),
        };
        text += &format!(
            "\n[partition]\ncolumn = \"{PARTITION}\"\nwire = {}{remark}\nmeaning = \"Number of the device group (RBAC group) that the device \
             belongs to; 0 is no group.\"\n",
            quoted_paths(&wire)
        );
        for (column, name) in &columns {
            let is_required = key_names.contains(name) && is_always_there(column);
            text.push('\n');
            text += &column_text(column, name, &column.wire, is_required, "column");
        }
        if key_names.is_empty() {
            let file = PROPOSAL.to_owned();
            return Err(SchemaError::NoKey { file });
        }
        Dataset::parse(&text, PROPOSAL)?;
        Ok(text)
    }

    fn heading(
        &self,
        dataset: &ProposedDataset<'_>,
        key: Option<&ProposedKey>,
        key_names: &[String],
    ) -> String {
        let records = counted(self.records(), "record");
        let mut text = format!(
            "# Proposed from {records}. Examples in comments are values of these records.\n\
             # docs/schema-files.md has all that a schema file can declare.\n"
        );
        if self.not_objects > 0 {
            let count = counted(self.not_objects, "record");
            text += &format!("# Not looked at: {count} of no object.\n");
        }
        if self.objects.is_cut() {
            let keys = self.objects.left_out.join(" | ");
            text += &format!(
                "# Without columns, for want of a name that a wire path can have, or since there are too many: {keys}\n"
            );
        }
        let checked = counted(self.keys.records() as u64, "record");
        let remark = match key {
            Some(key) if !key.is_unique => {
                format!("not unique in the first {checked}: no set of columns is")
            }
            _ if self.keys.is_full() => format!("unique in the first {checked}"),
            _ => "unique in these records".to_owned(),
        };
        let key_names: Vec<&str> = key_names.iter().map(String::as_str).collect();
        text += &format!(
            "\nname = {}\nmeaning = {}\nendpoint = {}\nexport_name = {}\npermission = {}\nunique_key = {}      # {remark}\n",
            quoted(dataset.name),
            quoted(&format!("Records of {}.", dataset.export_name)),
            quoted(dataset.endpoint),
            quoted(dataset.export_name),
            quoted(dataset.permission),
            quoted_list(&key_names)
        );
        text
    }

    /// The key, by places in the columns.
    fn key(&self, columns: &[(FoundColumn<'_>, String)]) -> Option<ProposedKey> {
        let mut candidates: Vec<usize> = (0..columns.len())
            .filter(|index| can_be_key(&columns[*index].0))
            .collect();
        candidates.sort_by_key(|index| {
            let (column, name) = &columns[*index];
            (rank(column, name), *index)
        });
        let paths: Vec<&str> = candidates
            .iter()
            .map(|index| usual_path(&columns[*index].0))
            .collect();
        let is_of_devices = candidates
            .first()
            .is_some_and(|index| columns[*index].1 == DEVICE_ID);
        let mut key = self.keys.choose(&paths, is_of_devices)?;
        for column in &mut key.columns {
            *column = candidates[*column];
        }
        Some(key)
    }
}

/// What most exports tell their rows apart by, alone or with others.
const DEVICE_ID: &str = "device_id";

/// Whether a column can be part of a key: a text or an integer at the top of the records.
fn can_be_key(column: &FoundColumn<'_>) -> bool {
    let is_top = !usual_path(column).contains('.');
    is_top && column.seen.values > 0 && matches!(column.type_name, "string" | "int64" | "json")
}

/// How likely a column is part of a key: the less the likelier.
fn rank(column: &FoundColumn<'_>, name: &str) -> u8 {
    match name {
        DEVICE_ID => 0,
        _ if column.type_name == "json" => 5,
        _ if !is_always_there(column) => 4,
        "id" => 1,
        _ if name.ends_with("_id") => 2,
        _ => 3,
    }
}

/// Whether every record has a value that is not empty.
fn is_always_there(column: &FoundColumn<'_>) -> bool {
    column.seen.values >= column.of && column.seen.empty_texts == 0
}
