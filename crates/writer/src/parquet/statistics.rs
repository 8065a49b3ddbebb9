//! Bounds and null counts of a file's columns, from the statistics of its column chunks.
//!
//! Kept for the string columns of the unique key and for all top-level timestamps, dates and integers: what
//! readers filter by. Bounds are bounds: no value is outside, but strings longer than 64 bytes are cut.

use std::sync::Arc;

use arrow::datatypes::DataType;
use parquet::file::statistics::Statistics;
use serde::{Deserialize, Serialize};

/// What a file holds in one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnStatistics {
    /// Name of the column; files share it.
    #[serde(with = "crate::parquet::shared")]
    pub column: Arc<str>,
    /// Rows without a value.
    pub nulls: u64,
    /// Bounds of the values. Without them there is no value, or the bounds are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<Bounds>,
}

/// No value is below `min` or above `max`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Bounds {
    /// Of a string column.
    String(Box<StringBounds>),
    /// Of an integer column.
    Integer {
        /// Lower bound.
        min: i64,
        /// Upper bound.
        max: i64,
    },
    /// Of a timestamp column, in microseconds since 1970 UTC.
    Timestamp {
        /// Lower bound.
        min: i64,
        /// Upper bound.
        max: i64,
    },
    /// Of a date column, in days since 1970.
    Date {
        /// Lower bound.
        min: i32,
        /// Upper bound.
        max: i32,
    },
}

/// Bounds of texts: a box of its own, since most columns have none and there may be thousands of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StringBounds {
    /// Lower bound.
    pub min: String,
    /// Upper bound.
    pub max: String,
}

/// Statistics of one column that grow row group by row group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collected {
    column: Arc<str>,
    nulls: u64,
    values: u64,
    /// `None` with values: not known, and never known again.
    bounds: Option<Bounds>,
}

impl Collected {
    /// Of one column chunk with `rows` rows. `None` if the writer counted no nulls.
    pub(crate) fn of_chunk(
        column: &Arc<str>,
        data_type: &DataType,
        rows: u64,
        statistics: &Statistics,
    ) -> Option<Self> {
        let nulls = statistics.null_count_opt()?;
        Some(Self {
            column: Arc::clone(column),
            nulls,
            values: rows.saturating_sub(nulls),
            bounds: bounds(data_type, statistics),
        })
    }

    /// Adds the statistics of the next row group.
    fn add(&mut self, next: Self) {
        self.bounds = match (self.values, next.values) {
            (_, 0) => self.bounds.take(),
            (0, _) => next.bounds,
            _ => self
                .bounds
                .take()
                .zip(next.bounds)
                .and_then(|(known, more)| known.covering(more)),
        };
        self.nulls += next.nulls;
        self.values += next.values;
    }

    pub(crate) fn finish(self) -> ColumnStatistics {
        ColumnStatistics {
            column: self.column,
            nulls: self.nulls,
            bounds: self.bounds,
        }
    }
}

/// Adds a row group's statistics to those of the file so far. A column that a row group says nothing about is
/// left out of the file's.
pub(crate) fn add_row_group(file: &mut Option<Vec<Collected>>, row_group: Vec<Collected>) {
    match file {
        None => *file = Some(row_group),
        Some(known) => {
            known.retain_mut(|column| {
                let next = row_group.iter().find(|next| next.column == column.column);
                next.map(|next| column.add(next.clone())).is_some()
            });
        }
    }
}

impl Bounds {
    fn covering(self, more: Self) -> Option<Self> {
        Some(match (self, more) {
            (Self::String(known), Self::String(more)) => Self::String(Box::new(StringBounds {
                min: known.min.min(more.min),
                max: known.max.max(more.max),
            })),
            (Self::Integer { min, max }, Self::Integer { min: a, max: b }) => Self::Integer {
                min: min.min(a),
                max: max.max(b),
            },
            (Self::Timestamp { min, max }, Self::Timestamp { min: a, max: b }) => Self::Timestamp {
                min: min.min(a),
                max: max.max(b),
            },
            (Self::Date { min, max }, Self::Date { min: a, max: b }) => Self::Date {
                min: min.min(a),
                max: max.max(b),
            },
            _ => return None,
        })
    }
}

/// Whether statistics of such a column are kept; those of strings are for key columns only.
pub(crate) fn is_kept(data_type: &DataType, is_key: bool) -> bool {
    match data_type {
        DataType::Utf8 => is_key,
        DataType::Int64 | DataType::Date32 | DataType::Timestamp(..) => true,
        _ => false,
    }
}

fn bounds(data_type: &DataType, statistics: &Statistics) -> Option<Bounds> {
    match (data_type, statistics) {
        (DataType::Utf8, Statistics::ByteArray(values)) => {
            // Cut at a character boundary by the encoder.
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
            Some(Bounds::String(Box::new(StringBounds {
                min: text(values.min_bytes_opt()?)?,
                max: text(values.max_bytes_opt()?)?,
            })))
        }
        (DataType::Int64, Statistics::Int64(values)) => Some(Bounds::Integer {
            min: *values.min_opt()?,
            max: *values.max_opt()?,
        }),
        (DataType::Timestamp(..), Statistics::Int64(values)) => Some(Bounds::Timestamp {
            min: *values.min_opt()?,
            max: *values.max_opt()?,
        }),
        (DataType::Date32, Statistics::Int32(values)) => Some(Bounds::Date {
            min: *values.min_opt()?,
            max: *values.max_opt()?,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(nulls: u64, values: u64, bounds: Option<(i64, i64)>) -> Vec<Collected> {
        vec![Collected {
            column: "count".into(),
            nulls,
            values,
            bounds: bounds.map(|(min, max)| Bounds::Integer { min, max }),
        }]
    }

    #[test]
    fn bounds_cover_all_row_groups_and_nulls_do_not_hide_them() {
        let mut file = None;
        for row_group in [
            collected(3, 0, None),
            collected(0, 2, Some((5, 9))),
            collected(1, 2, Some((-4, 6))),
        ] {
            add_row_group(&mut file, row_group);
        }
        let column = file.unwrap().remove(0).finish();
        assert_eq!(column.nulls, 4);
        assert_eq!(column.bounds, Some(Bounds::Integer { min: -4, max: 9 }));
    }

    #[test]
    fn bounds_that_one_row_group_lacks_are_unknown_for_the_file() {
        let mut file = None;
        for row_group in [
            collected(0, 2, Some((5, 9))),
            collected(0, 2, None),
            collected(0, 2, Some((1, 2))),
        ] {
            add_row_group(&mut file, row_group);
        }
        assert_eq!(file.unwrap().remove(0).finish().bounds, None);
    }
}
