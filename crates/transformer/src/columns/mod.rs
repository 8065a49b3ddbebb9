//! Growing columns of one batch: a value goes to its row, and a row can be taken back.
//!
//! A row that no value went to is null; so an absent key costs nothing. Knows nothing of JSON, and uses no other folder.

mod bitmap;
mod bools;
mod column;
mod constant;
mod nested;
mod numbers;
mod ranges;
mod texts;

pub(crate) use column::{Column, StructItems, of_type};
pub(crate) use constant::ConstantColumns;
pub(crate) use nested::{Items, KeyValueItems, NestedColumn, TextItems};
pub(crate) use texts::TextColumn;
