//! Different values to small indices: what a decoded column and a Parquet column chunk keep in place of texts that repeat.
//!
//! Knows neither JSON nor Arrow nor Parquet, and no nulls.

mod slots;
mod text;

pub use slots::{MOST_VALUES, Slots, Vacant, mix};
pub use text::TextDictionary;
