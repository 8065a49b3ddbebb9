//! A growing column of any type, and its array. Lists of structs are here too: their fields are such columns.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, ListArray, MapArray,
    StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::error::ArrowError;
use dataset::ColumnType;

use super::bitmap::Bitmap;
use super::bools::BoolColumn;
use super::nested::{Items, KeyValueItems, NestedColumn, TextItems};
use super::numbers::NumberColumn;
use super::texts::TextColumn;

/// One growing column.
#[derive(Debug)]
pub(crate) enum Column {
    Text(TextColumn),
    Json(TextColumn),
    Bool(BoolColumn),
    Int64(NumberColumn<i64>),
    Float64(NumberColumn<f64>),
    Timestamp(NumberColumn<i64>),
    Date(NumberColumn<i32>),
    TextList(Box<NestedColumn<TextItems>>),
    TextMap(Box<NestedColumn<KeyValueItems>>),
    StructList(Box<NestedColumn<StructItems>>),
}

macro_rules! each {
    ($self:expr, $column:ident => $body:expr) => {
        match $self {
            Column::Text($column) | Column::Json($column) => $body,
            Column::Bool($column) => $body,
            Column::Int64($column) | Column::Timestamp($column) => $body,
            Column::Float64($column) => $body,
            Column::Date($column) => $body,
            Column::TextList($column) => $body,
            Column::TextMap($column) => $body,
            Column::StructList($column) => $body,
        }
    };
}

impl Column {
    /// `hash_seed` is for dictionaries of texts that may repeat; without one, texts of this column are kept as they are.
    pub(crate) fn new(column_type: &ColumnType, hash_seed: Option<u64>) -> Self {
        let items = || TextItems::new(hash_seed);
        match column_type {
            ColumnType::String => Self::Text(TextColumn::new(hash_seed)),
            ColumnType::Json => Self::Json(TextColumn::new(None)),
            ColumnType::Bool => Self::Bool(BoolColumn::default()),
            ColumnType::Int64 => Self::Int64(NumberColumn::default()),
            ColumnType::Float64 => Self::Float64(NumberColumn::default()),
            ColumnType::Timestamp => Self::Timestamp(NumberColumn::default()),
            ColumnType::Date => Self::Date(NumberColumn::default()),
            ColumnType::StringList => Self::TextList(Box::new(NestedColumn::new(items()))),
            ColumnType::StringMap => Self::TextMap(Box::new(NestedColumn::new(KeyValueItems {
                keys: items(),
                values: items(),
            }))),
            ColumnType::StructList(fields) => {
                Self::StructList(Box::new(NestedColumn::new(StructItems::new(fields))))
            }
        }
    }

    /// Whether the arrays of the following batches may be by dictionary. The column is empty.
    pub(crate) fn allow_dictionary(&mut self, is_allowed: bool) {
        match self {
            Self::Text(column) => column.allow_dictionary(is_allowed),
            Self::TextList(column) => column.items().allow_dictionary(is_allowed),
            Self::TextMap(column) => {
                let KeyValueItems { keys, values } = column.items();
                keys.allow_dictionary(is_allowed);
                values.allow_dictionary(is_allowed);
            }
            _ => {}
        }
    }

    /// Allocates for as many rows as the last batch had; again, if no row has come since. The column is empty, and the last batch's
    /// arrays are gone as well: what they had is what this takes.
    pub(crate) fn begin(&mut self) {
        each!(self, column => column.begin());
    }

    /// Takes back what a row has, after which no row has a value.
    pub(crate) fn clear(&mut self, row: usize) {
        each!(self, column => column.clear(row));
    }

    /// Whether a row has a value.
    pub(crate) fn has_value(&self, row: usize) -> bool {
        each!(self, column => column.has_value(row))
    }

    /// The first `rows` rows, which are all that have values, as an array of `data_type`, or of one that has dictionaries of
    /// strings in place of strings. The column is empty afterwards.
    pub(crate) fn finish(
        &mut self,
        rows: usize,
        data_type: &DataType,
    ) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Text(column) | Self::Json(column) => column.finish(rows)?,
            Self::Bool(column) => {
                let (values, nulls) = column.finish(rows);
                Arc::new(BooleanArray::new(values, nulls))
            }
            Self::Int64(column) => {
                let (values, nulls) = column.finish(rows);
                Arc::new(Int64Array::try_new(values, nulls)?)
            }
            Self::Float64(column) => {
                let (values, nulls) = column.finish(rows);
                Arc::new(Float64Array::try_new(values, nulls)?)
            }
            Self::Timestamp(column) => {
                let (values, nulls) = column.finish(rows);
                let array = TimestampMicrosecondArray::try_new(values, nulls)?;
                Arc::new(array.with_data_type(data_type.clone()))
            }
            Self::Date(column) => {
                let (values, nulls) = column.finish(rows);
                Arc::new(Date32Array::try_new(values, nulls)?)
            }
            Self::TextList(column) => {
                let (offsets, nulls) = column.finish_rows(rows)?;
                let items = column.items().finish()?;
                let field = of_type(inner_field(data_type)?, items.data_type());
                Arc::new(ListArray::try_new(field, offsets, items, nulls)?)
            }
            Self::TextMap(column) => {
                let (offsets, nulls) = column.finish_rows(rows)?;
                let entry = inner_field(data_type)?;
                let DataType::Struct(fields) = entry.data_type() else {
                    return Err(not_nested(data_type));
                };
                let KeyValueItems { keys, values } = column.items();
                let arrays = vec![keys.finish()?, values.finish()?];
                let fields = fields.iter().zip(&arrays);
                let fields = fields.map(|(field, array)| of_type(field, array.data_type()));
                let entries = StructArray::try_new(fields.collect(), arrays, None)?;
                let entry = of_type(entry, entries.data_type());
                Arc::new(MapArray::try_new(entry, offsets, entries, nulls, false)?)
            }
            Self::StructList(column) => {
                let (offsets, nulls) = column.finish_rows(rows)?;
                let item = inner_field(data_type)?;
                let DataType::Struct(fields) = item.data_type() else {
                    return Err(not_nested(data_type));
                };
                let items = column.items().finish(fields)?;
                Arc::new(ListArray::try_new(item.clone(), offsets, items, nulls)?)
            }
        })
    }
}

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

/// The field with another data type.
pub(crate) fn of_type(field: &Arc<Field>, data_type: &DataType) -> Arc<Field> {
    if field.data_type() == data_type {
        return Arc::clone(field);
    }
    let field = field.as_ref().clone();
    Arc::new(field.with_data_type(data_type.clone()))
}

fn inner_field(data_type: &DataType) -> Result<&Arc<Field>, ArrowError> {
    match data_type {
        DataType::List(field) | DataType::Map(field, _) => Ok(field),
        _ => Err(not_nested(data_type)),
    }
}

fn not_nested(data_type: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("{data_type} is neither a list nor a map"))
}
