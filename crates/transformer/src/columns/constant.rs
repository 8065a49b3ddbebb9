//! Columns that have the same value in every row of a snapshot: made once, and cut to each batch's length.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, DictionaryArray, StringArray, TimestampMicrosecondArray, UInt16Array,
};
use arrow::error::ArrowError;
use dataset::Snapshot;

/// When the snapshot was generated, and of which organisation it is.
#[derive(Debug)]
pub(crate) struct ConstantColumns {
    generated_time: i64,
    org_id: String,
    by_dictionary: bool,
    /// The columns, of as many rows as a batch has had.
    longest: Option<[ArrayRef; 2]>,
}

impl ConstantColumns {
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        Self {
            generated_time: snapshot.generated_time.timestamp_micros(),
            org_id: snapshot.org_id.as_str().to_owned(),
            by_dictionary: false,
            longest: None,
        }
    }

    /// Whether texts come as dictionary arrays; at first they do not.
    pub(crate) fn allow_dictionary(&mut self, is_allowed: bool) {
        if self.by_dictionary != is_allowed {
            self.by_dictionary = is_allowed;
            self.longest = None;
        }
    }

    /// Both columns, of `rows` rows.
    pub(crate) fn of_rows(&mut self, rows: usize) -> Result<[ArrayRef; 2], ArrowError> {
        let long_enough = self
            .longest
            .take()
            .filter(|longest| longest[0].len() >= rows);
        let longest = match long_enough {
            Some(longest) => longest,
            None => [self.generated_times(rows), self.org_ids(rows)?],
        };
        let of_rows = longest.each_ref().map(|column| column.slice(0, rows));
        self.longest = Some(longest);
        Ok(of_rows)
    }

    fn generated_times(&self, rows: usize) -> ArrayRef {
        let times = TimestampMicrosecondArray::from_value(self.generated_time, rows);
        Arc::new(times.with_timezone("UTC"))
    }

    fn org_ids(&self, rows: usize) -> Result<ArrayRef, ArrowError> {
        if !self.by_dictionary {
            let org_ids = std::iter::repeat_n(&self.org_id, rows);
            return Ok(Arc::new(StringArray::from_iter_values(org_ids)));
        }
        let keys = UInt16Array::from_value(0, rows);
        let values = Arc::new(StringArray::from_iter_values([&self.org_id]));
        Ok(Arc::new(DictionaryArray::try_new(keys, values)?))
    }
}

#[cfg(test)]
mod tests {
    use arrow::compute::cast;
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn every_batch_has_the_values_in_as_many_rows_as_it_asks_for() {
        let snapshot = Snapshot {
            dataset: "x".to_owned(),
            org_id: "47d41a0c-188d-46d3-bbea-a93dbc0bfcaa".parse().unwrap(),
            generated_time: chrono::DateTime::UNIX_EPOCH,
        };
        let mut columns = ConstantColumns::new(&snapshot);
        for by_dictionary in [false, true, false] {
            columns.allow_dictionary(by_dictionary);
            for rows in [3, 0, 5, 2] {
                let [times, org_ids] = columns.of_rows(rows).unwrap();
                let expected = TimestampMicrosecondArray::from(vec![0; rows]).with_timezone("UTC");
                assert_eq!(&expected as &dyn Array, &*times);
                let is_dictionary = matches!(org_ids.data_type(), DataType::Dictionary(..));
                assert_eq!(is_dictionary, by_dictionary);
                let expected = StringArray::from(vec![snapshot.org_id.as_str(); rows]);
                assert_eq!(
                    &expected as &dyn Array,
                    &*cast(&org_ids, &DataType::Utf8).unwrap()
                );
            }
        }
    }
}
