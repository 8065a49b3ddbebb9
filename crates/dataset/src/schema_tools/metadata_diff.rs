//! Compares a dataset with the type of the service's metadata that its rows are of: properties without a column, and types that
//! contradict.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::metadata::{Meaning, Metadata, MetadataError, Property, TypeOfService, item_type};
use crate::column::{Column, ColumnType};
use crate::schema::Dataset;
use crate::wire_path::WirePaths;

/// Differences between a schema and the service's metadata, each list sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MetadataDiff {
    /// The type of the service that was compared.
    pub type_name: String,
    /// Properties without a column.
    pub lacking: Vec<LackingProperty>,
    /// Columns whose type is not that of the property.
    pub contradictions: Vec<Contradiction>,
}

/// A property that the schema lacks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LackingProperty {
    /// Its path, in the service's spelling.
    pub property: String,
    /// Its type.
    pub service_type: String,
}

/// A property and a column whose types contradict.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Contradiction {
    /// Path of the property.
    pub property: String,
    /// Its type.
    pub service_type: String,
    /// The column; `several columns` where columns are below the path.
    pub column: String,
    /// The column's type.
    pub column_type: String,
}

impl MetadataDiff {
    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.lacking.is_empty() && self.contradictions.is_empty()
    }
}

impl fmt::Display for MetadataDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "compared with {}", self.type_name)?;
        if self.is_empty() {
            writeln!(f, "no differences")?;
        }
        for LackingProperty {
            property,
            service_type,
        } in &self.lacking
        {
            writeln!(f, "no column    {property}: {service_type}")?;
        }
        for Contradiction {
            property,
            service_type,
            column,
            column_type,
        } in &self.contradictions
        {
            writeln!(
                f,
                "contradicts  {property}: {service_type}, but {column} is {column_type}"
            )?;
        }
        Ok(())
    }
}

impl Metadata {
    /// Compares a dataset with the type of that name; without a name, with what the JSON twin of the export returns, and if there
    /// is none, with the type that has most properties in common.
    pub fn compare(
        &self,
        dataset: &Dataset,
        type_name: Option<&str>,
    ) -> Result<MetadataDiff, MetadataError> {
        let found = match type_name {
            Some(name) => match self.meaning(name) {
                Meaning::Structured(found) => found,
                _ => {
                    let name = name.to_owned();
                    return Err(MetadataError::NoSuchType { name });
                }
            },
            None => self.similar(dataset)?,
        };
        let partition = Named {
            column: &dataset.partition.column,
            column_type: &ColumnType::Int64,
            paths: paths(&dataset.partition.wire),
        };
        let columns: Vec<Named<'_>> = [partition]
            .into_iter()
            .chain(dataset.columns.iter().map(Named::of))
            .collect();
        let mut diff = MetadataDiff {
            type_name: found.name.clone(),
            ..MetadataDiff::default()
        };
        self.compare_type(found, &columns, "", "", &mut diff);
        diff.lacking.sort();
        diff.contradictions.sort();
        Ok(diff)
    }

    /// The type that a dataset's rows are most likely of.
    fn similar(&self, dataset: &Dataset) -> Result<&TypeOfService, MetadataError> {
        let partition = paths(&dataset.partition.wire).into_iter();
        let columns = dataset
            .columns
            .iter()
            .flat_map(|column| paths(&column.wire));
        let keys: BTreeSet<String> = partition
            .chain(columns)
            .filter_map(|path| path.split('.').next().map(str::to_owned))
            .collect();
        // Properties in common, and of two types with as many the one with fewer others.
        let overlap = |found: &TypeOfService| {
            let properties = self.properties(found);
            let names = properties
                .iter()
                .map(|property| property.name.to_ascii_lowercase());
            let common = names.filter(|name| keys.contains(name)).count();
            (common, std::cmp::Reverse(properties.len()))
        };
        let export = dataset.endpoint.rsplit('/').next().unwrap_or_default();
        let folded = export.to_ascii_lowercase();
        let twin = folded.strip_suffix("export").unwrap_or(&folded);
        let functions = [folded.clone(), format!("{twin}bymachine")];
        let returned = functions.iter().filter_map(|name| self.returned_by(name));
        let of_functions = returned.max_by_key(|found| overlap(found));
        of_functions
            // Exports return the addresses of files.
            .filter(|found| overlap(found).0 > 1)
            .or_else(|| self.structured().max_by_key(|found| overlap(found)))
            .filter(|found| overlap(found).0 > 0)
            .ok_or_else(|| MetadataError::NoSimilarType {
                dataset: dataset.name.clone(),
            })
    }

    /// Compares a type's properties with the columns at a path, which ends with a dot or is empty.
    fn compare_type(
        &self,
        found: &TypeOfService,
        columns: &[Named<'_>],
        place: &str,
        above: &str,
        diff: &mut MetadataDiff,
    ) {
        for property in self.properties(found) {
            let path = format!("{above}{}", property.name);
            let folded = path.to_ascii_lowercase();
            let below = format!("{folded}.");
            let column = columns.iter().find(|column| column.paths.contains(&folded));
            let mut paths = columns.iter().flat_map(|column| &column.paths);
            let is_step = paths.any(|path| path.starts_with(&below));
            if let Some(column) = column {
                self.compare_column(property, column, &format!("{place}{path}"), diff);
            } else if is_step {
                self.compare_step(property, columns, place, &path, diff);
            } else {
                diff.lacking.push(LackingProperty {
                    property: format!("{place}{path}"),
                    service_type: property.type_name.clone(),
                });
            }
        }
    }

    fn compare_step(
        &self,
        property: &Property,
        columns: &[Named<'_>],
        place: &str,
        path: &str,
        diff: &mut MetadataDiff,
    ) {
        match self.meaning(&property.type_name) {
            Meaning::Structured(found) => {
                self.compare_type(found, columns, place, &format!("{path}."), diff);
            }
            // A text that holds JSON, of which the metadata says no more.
            Meaning::Simple("String" | "Untyped") | Meaning::Unknown
                if item_type(&property.type_name).is_none() => {}
            _ => diff.contradictions.push(Contradiction {
                property: format!("{place}{path}"),
                service_type: property.type_name.clone(),
                column: "several columns".to_owned(),
                column_type: "object".to_owned(),
            }),
        }
    }

    fn compare_column(
        &self,
        property: &Property,
        column: &Named<'_>,
        path: &str,
        diff: &mut MetadataDiff,
    ) {
        if !self.agrees(&property.type_name, column.column_type) {
            diff.contradictions.push(Contradiction {
                property: path.to_owned(),
                service_type: property.type_name.clone(),
                column: column.column.to_owned(),
                column_type: column.column_type.name().to_owned(),
            });
            return;
        }
        let item = item_type(&property.type_name).map(|item| self.meaning(item));
        if let (Some(Meaning::Structured(item)), ColumnType::StructList(fields)) =
            (item, column.column_type)
        {
            let fields: Vec<Named<'_>> = fields.iter().map(Named::of).collect();
            self.compare_type(item, &fields, &format!("{path}[]."), "", diff);
        }
    }

    /// Whether a column can hold all values of a service's type. Times come as `Edm.String` too.
    fn agrees(&self, service_type: &str, column_type: &ColumnType) -> bool {
        use ColumnType::{
            Bool, Date, Float64, Int64, Json, String, StringList, StringMap, StructList, Timestamp,
        };
        if matches!(column_type, Json) {
            return true;
        }
        if let Some(item) = item_type(service_type) {
            return match self.meaning(item) {
                Meaning::Structured(_) => matches!(column_type, StructList(_)),
                Meaning::Simple("String" | "Guid" | "Date" | "DateTimeOffset" | "Duration")
                | Meaning::Enum => matches!(column_type, StringList),
                Meaning::Unknown => matches!(column_type, StructList(_) | StringList),
                Meaning::Simple(_) => false,
            };
        }
        match self.meaning(service_type) {
            Meaning::Structured(_) => matches!(column_type, StringMap),
            Meaning::Enum => matches!(column_type, String),
            Meaning::Unknown => true,
            Meaning::Simple(simple) => match simple {
                "String" => matches!(column_type, String | Timestamp | Date),
                "Boolean" => matches!(column_type, Bool),
                "Byte" | "SByte" | "Int16" | "Int32" | "Int64" => {
                    matches!(column_type, Int64 | Float64)
                }
                "Single" | "Double" | "Decimal" => matches!(column_type, Float64),
                "DateTimeOffset" => matches!(column_type, Timestamp | String),
                "Date" => matches!(column_type, Date | Timestamp | String),
                "Untyped" | "PrimitiveType" => true,
                _ => matches!(column_type, String),
            },
        }
    }
}

/// A column and its wire paths in lower case.
struct Named<'a> {
    column: &'a str,
    column_type: &'a ColumnType,
    paths: Vec<String>,
}

impl<'a> Named<'a> {
    fn of(column: &'a Column) -> Self {
        Self {
            column: &column.name,
            column_type: &column.column_type,
            paths: paths(&column.wire),
        }
    }
}

fn paths(wire: &WirePaths) -> Vec<String> {
    wire.iter()
        .map(|path| path.to_string().to_ascii_lowercase())
        .collect()
}
