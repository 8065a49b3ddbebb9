//! Tools for those who keep schema files: infer a schema from records, compare one with records, tables and the service's own
//! metadata, and add a column for a rescued value. Values and texts in, values and texts out: no I/O, and nothing is decoded
//! for a table.
//!
//! ```text
//! records --> Inference (wire_value, evidence, key_sample) --> shape --> propose   a new schema file
//!                                                                   +--> diff      schema and records
//!                                                                   +--> promote   schema file plus one column
//! Arrow schema --> table_diff      $metadata --> metadata --> metadata_diff
//! ```

mod column_name;
mod diff;
mod evidence;
mod infer;
mod key_sample;
mod metadata;
mod metadata_diff;
mod promote;
mod propose;
mod shape;
mod table_diff;
mod toml_text;
mod wire_value;

#[cfg(test)]
mod tests;

pub use diff::{Misfit, NeverCame, SchemaDiff, Spelling, UnnamedPath, diff};
pub use infer::Inference;
pub use metadata::{Metadata, MetadataError};
pub use metadata_diff::{Contradiction, LackingProperty, MetadataDiff};
pub use promote::{PromoteError, promote};
pub use propose::ProposedDataset;
pub use table_diff::{ColumnOfTable, TableDiff, TypeDifference, diff_table};
