//! The structs of a list: a column for each field, and which structs are null.

use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray};
use arrow::datatypes::Fields;
use arrow::error::ArrowError;

use super::bitmap::Bitmap;
use super::column::Column;
use super::nested::Items;

/// Structs one after the other. The fields of the next one are set first, then it is pushed.
#[derive(Debug)]
pub(crate) struct StructItems {
    pub(crate) fields: Vec<Column>,
    valid: Bitmap,
    count: usize,
}

impl StructItems {
    /// Texts of fields are never kept by dictionary: what writes lists of structs finds for itself what repeats.
    pub(super) fn new(fields: &[dataset::Column]) -> Self {
        let fields = fields
            .iter()
            .map(|field| Column::new(&field.column_type, None));
        Self {
            fields: fields.collect(),
            valid: Bitmap::default(),
            count: 0,
        }
    }

    /// Adds the struct whose fields were set.
    pub(crate) fn push(&mut self) {
        self.valid.set(self.count);
        self.count += 1;
    }

    /// Adds a null in place of a struct.
    pub(crate) fn push_null(&mut self) {
        self.count += 1;
    }

    pub(super) fn finish(&mut self, fields: &Fields) -> Result<ArrayRef, ArrowError> {
        let count = std::mem::take(&mut self.count);
        let arrays = self
            .fields
            .iter_mut()
            .zip(fields)
            .map(|(column, field)| column.finish(count, field.data_type()))
            .collect::<Result<Vec<_>, _>>()?;
        let nulls = self.valid.take_nulls(count);
        let structs = StructArray::try_new_with_length(fields.clone(), arrays, nulls, count)?;
        Ok(Arc::new(structs))
    }
}

impl Items for StructItems {
    fn begin(&mut self) {
        self.fields.iter_mut().for_each(Column::begin);
    }

    fn count(&self) -> usize {
        self.count
    }

    /// Clears the fields of the struct that was not pushed yet as well.
    fn cut(&mut self, count: usize) {
        for item in (count..=self.count).rev() {
            self.valid.unset(item);
            for field in &mut self.fields {
                field.clear(item);
            }
        }
        self.count = self.count.min(count);
    }
}
