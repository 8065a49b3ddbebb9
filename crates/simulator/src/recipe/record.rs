//! A record of a recipe, resolved: for every item and running number the fields in their order.

use std::cell::Cell;

use toml::Table;

use super::compile;
use super::error::RecipeError;
use super::file::RecipeFile;
use super::scope::Scope;
use super::value::{Fact, Field, Value};

/// How the rows of a device come about.
#[derive(Debug)]
pub(crate) struct Record {
    /// One for each item and running number; a row of a device has another one than the device's other rows.
    pub(crate) variants: Vec<Variant>,
    /// Whether there are items, so that a device has no more rows than there are of them. Else the row's number tells rows
    /// apart.
    pub(crate) has_items: bool,
    /// By column: whether an oddity may take its value away. It may not from keys and the device group.
    pub(crate) alterable: Vec<bool>,
    /// Thresholds of a 32-bit draw, by case.
    pub(crate) cases: Vec<u64>,
    /// Rows of a device that has any, bounds included.
    pub(crate) rows: [u32; 2],
    /// Share of the devices that have no row.
    pub(crate) no_rows: f64,
    /// Share of the rows of a changed device that changed.
    pub(crate) changed_rows: f64,
    /// Beginnings of the names of the platforms that have rows; none is all.
    pub(crate) platforms: Vec<String>,
    pub(crate) omits_nulls: bool,
}

/// An item with one running number.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) fields: Vec<Field>,
    /// As of the record: where the item occurs.
    pub(crate) platforms: Vec<String>,
}

impl Record {
    pub(super) fn of_file(dataset: &str, file: &RecipeFile) -> Result<Self, RecipeError> {
        let keys: Vec<&str> = file
            .columns
            .iter()
            .map(compile::key_of)
            .collect::<Result<_, _>>()
            .map_err(RecipeError::part(dataset, "columns"))?;
        if let Some(missing) = file.key.iter().find(|key| !keys.contains(&key.as_str())) {
            return Err(RecipeError::part(dataset, "key")(format!(
                "no column is `{missing}`"
            )));
        }
        if file.key.is_empty() || file.rows[0] > file.rows[1] || file.rows[0] == 0 {
            let reason = "it needs `key`, a list of columns, and `rows`, a range from 1 on";
            return Err(RecipeError::part(dataset, "key and rows")(
                reason.to_owned(),
            ));
        }
        for (part, share) in [
            ("no_rows", file.no_rows),
            ("changed_rows", file.changed_rows),
        ] {
            if !(0.0..=1.0).contains(&share) {
                let reason = format!("{share} is not a share between 0 and 1");
                return Err(RecipeError::part(dataset, part)(reason));
            }
        }
        let variants = variants(dataset, file)?;
        let alterable = match variants.first() {
            Some(variant) => (keys.iter().zip(&variant.fields))
                .map(|(key, field)| {
                    !file.key.iter().any(|unique| unique == key)
                        && !matches!(field.value, Value::Device(Fact::GroupId))
                })
                .collect(),
            None => Vec::new(),
        };
        Ok(Self {
            variants,
            has_items: !file.item.is_empty(),
            alterable,
            cases: thresholds(dataset, &file.case)?,
            rows: file.rows,
            no_rows: file.no_rows,
            changed_rows: file.changed_rows,
            platforms: file.platforms.clone(),
            omits_nulls: file.omit_nulls,
        })
    }
}

fn variants(dataset: &str, file: &RecipeFile) -> Result<Vec<Variant>, RecipeError> {
    let nothing = [Table::new()];
    let items = if file.item.is_empty() {
        &nothing[..]
    } else {
        &file.item
    };
    let tables = items.iter().chain(&file.case).chain([&file.every_item]);
    let known: Vec<String> = tables.flat_map(|table| table.keys().cloned()).collect();
    let mut variants = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let wrong = || RecipeError::part(dataset, format!("item {}", place + 1));
        let count = item.get("count").or_else(|| file.every_item.get("count"));
        let count = count.map_or(Some(1), |count| u32::try_from(count.as_integer()?).ok());
        let count = count.ok_or_else(|| wrong()("`count` is a number".to_owned()))?;
        let platforms = match item.get("platforms") {
            None => Vec::new(),
            Some(names) => names
                .clone()
                .try_into()
                .map_err(|_| wrong()("`platforms` is a list of names".to_owned()))?,
        };
        for number in 0..count {
            let fields = file.columns.iter().map(|column| {
                let scope = Scope {
                    item,
                    every_item: &file.every_item,
                    cases: &file.case,
                    case: 0,
                    case_used: Cell::new(false),
                    known: &known,
                    number,
                    turn: number as usize + place,
                };
                compile::field(column, &scope).map_err(|reason| {
                    let key = compile::key_of(column).unwrap_or_default();
                    RecipeError::part(dataset, format!("column `{key}`, item {}", place + 1))(
                        reason,
                    )
                })
            });
            variants.push(Variant {
                fields: fields.collect::<Result<_, _>>()?,
                platforms: platforms.clone(),
            });
        }
    }
    Ok(variants)
}

fn thresholds(dataset: &str, cases: &[Table]) -> Result<Vec<u64>, RecipeError> {
    let weight = |case: &Table| case.get("weight").map_or(Some(1), toml::Value::as_integer);
    let weights: Option<Vec<u64>> = cases
        .iter()
        .map(|case| weight(case).and_then(|weight| u64::try_from(weight).ok()))
        .collect();
    let weights = weights
        .filter(|weights| cases.is_empty() || weights.iter().sum::<u64>() > 0)
        .ok_or_else(|| {
            RecipeError::part(dataset, "case")("`weight` is a whole number".to_owned())
        })?;
    let total: u64 = weights.iter().sum();
    let mut below = 0;
    Ok(weights
        .iter()
        .map(|weight| {
            below += weight;
            (below << 32) / total
        })
        .collect())
}
