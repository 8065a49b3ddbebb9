//! Compares the statistics that the manifest and the log have of a file with its rows: readers skip files by them.

use arrow::array::{Array, ArrowNumericType, AsArray};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;

use crate::parquet::statistics::{Bounds, ColumnStatistics};

/// The check of one file.
#[derive(Debug)]
pub(crate) struct StatisticsCheck<'a> {
    columns: Vec<ColumnCheck<'a>>,
}

#[derive(Debug)]
struct ColumnCheck<'a> {
    listed: &'a ColumnStatistics,
    nulls: u64,
    is_within: bool,
}

impl<'a> StatisticsCheck<'a> {
    pub(crate) fn new(listed: &'a [ColumnStatistics]) -> Self {
        let columns = listed.iter().map(|listed| ColumnCheck {
            listed,
            nulls: 0,
            is_within: true,
        });
        Self {
            columns: columns.collect(),
        }
    }

    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        for check in &mut self.columns {
            if let Some(values) = batch.column_by_name(&check.listed.column) {
                check.nulls += values.null_count() as u64;
                let bounds = check.listed.bounds.as_ref();
                check.is_within &= bounds.is_none_or(|bounds| are_within(values, bounds));
            }
        }
    }

    /// What is wrong, in words that follow the file's path.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> {
        self.columns.iter().flat_map(|check| {
            let column = &check.listed.column;
            let (found, listed) = (check.nulls, check.listed.nulls);
            let nulls = (found != listed).then(|| {
                format!("has {found} nulls in `{column}` where the manifest has {listed}")
            });
            let bounds = (!check.is_within)
                .then(|| format!("has values of `{column}` beyond the manifest's bounds"));
            nulls.into_iter().chain(bounds)
        })
    }
}

/// Whether all values are. A column of another type than the bounds is told with the schema.
fn are_within(values: &dyn Array, bounds: &Bounds) -> bool {
    match bounds {
        Bounds::Integer { min, max } => numbers_are_within::<Int64Type>(values, *min, *max),
        Bounds::Timestamp { min, max } => {
            numbers_are_within::<TimestampMicrosecondType>(values, *min, *max)
        }
        Bounds::Date { min, max } => numbers_are_within::<Date32Type>(values, *min, *max),
        Bounds::String(bounds) => values.as_string_opt::<i32>().is_none_or(|values| {
            let (least, most) = (min_string(values), max_string(values));
            least.is_none_or(|least| least >= &*bounds.min)
                && most.is_none_or(|most| most <= &*bounds.max)
        }),
    }
}

fn numbers_are_within<T: ArrowNumericType>(
    values: &dyn Array,
    least: T::Native,
    most: T::Native,
) -> bool {
    values.as_primitive_opt::<T>().is_none_or(|values| {
        min(values).is_none_or(|value| value >= least)
            && max(values).is_none_or(|value| value <= most)
    })
}
