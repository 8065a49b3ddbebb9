//! Growing columns of one batch: values go in row by row, nulls in bulk, and a row can be taken back.
//!
//! A column is behind the others while its value has not been seen, and is filled with nulls when it is next written to or
//! finished; so an absent key costs nothing. Knows nothing of JSON.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, BooleanBufferBuilder, Date32Array, Float64Array, Int64Array, ListArray,
    MapArray, NullBufferBuilder, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use dataset::ColumnType;

/// One growing column.
#[derive(Debug)]
pub(crate) enum Column {
    Text(TextColumn),
    Bool(BoolColumn),
    Int64(NumberColumn<i64>),
    Float64(NumberColumn<f64>),
    Timestamp(NumberColumn<i64>),
    Date(NumberColumn<i32>),
    TextList(NestedColumn<TextColumn>),
    TextMap(NestedColumn<KeyValueColumns>),
}

macro_rules! each {
    ($self:expr, $column:ident => $body:expr) => {
        match $self {
            Column::Text($column) => $body,
            Column::Bool($column) => $body,
            Column::Int64($column) | Column::Timestamp($column) => $body,
            Column::Float64($column) => $body,
            Column::Date($column) => $body,
            Column::TextList($column) => $body,
            Column::TextMap($column) => $body,
        }
    };
}

impl Column {
    pub(crate) fn new(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::String | ColumnType::Json => Self::Text(TextColumn::new()),
            ColumnType::Bool => Self::Bool(BoolColumn::new()),
            ColumnType::Int64 => Self::Int64(NumberColumn::new()),
            ColumnType::Float64 => Self::Float64(NumberColumn::new()),
            ColumnType::Timestamp => Self::Timestamp(NumberColumn::new()),
            ColumnType::Date => Self::Date(NumberColumn::new()),
            ColumnType::StringList => Self::TextList(NestedColumn::new(TextColumn::new())),
            ColumnType::StringMap => Self::TextMap(NestedColumn::new(KeyValueColumns {
                keys: TextColumn::new(),
                values: TextColumn::new(),
            })),
        }
    }

    /// Number of rows written so far.
    pub(crate) fn len(&self) -> usize {
        each!(self, column => column.nulls.len())
    }

    /// Makes the column end before `row`: fills up with nulls, or takes back what was written from `row` on.
    pub(crate) fn end_before(&mut self, row: usize) {
        each!(self, column => column.end_before(row));
    }

    /// Whether `row` has a value.
    pub(crate) fn has_value(&self, row: usize) -> bool {
        row < self.len() && each!(self, column => column.nulls.is_valid(row))
    }

    /// The first `rows` rows as an array; the column is empty afterwards, with room for as many.
    pub(crate) fn finish(
        &mut self,
        rows: usize,
        data_type: &DataType,
    ) -> Result<ArrayRef, ArrowError> {
        self.end_before(rows);
        Ok(match self {
            Self::Text(column) => Arc::new(column.finish()?),
            Self::Bool(column) => Arc::new(BooleanArray::new(
                column.values.finish(),
                column.nulls.finish(),
            )),
            Self::Int64(column) => {
                let (values, nulls) = column.finish();
                Arc::new(Int64Array::try_new(values, nulls)?)
            }
            Self::Float64(column) => {
                let (values, nulls) = column.finish();
                Arc::new(Float64Array::try_new(values, nulls)?)
            }
            Self::Timestamp(column) => {
                let (values, nulls) = column.finish();
                let array = TimestampMicrosecondArray::try_new(values, nulls)?;
                Arc::new(array.with_data_type(data_type.clone()))
            }
            Self::Date(column) => {
                let (values, nulls) = column.finish();
                Arc::new(Date32Array::try_new(values, nulls)?)
            }
            Self::TextList(column) => {
                let (offsets, nulls) = column.finish_offsets()?;
                let items = Arc::new(column.items.finish()?);
                Arc::new(ListArray::try_new(
                    inner_field(data_type)?,
                    offsets,
                    items,
                    nulls,
                )?)
            }
            Self::TextMap(column) => {
                let (offsets, nulls) = column.finish_offsets()?;
                let entry = inner_field(data_type)?;
                let DataType::Struct(fields) = entry.data_type().clone() else {
                    return Err(not_nested(data_type));
                };
                let keys: ArrayRef = Arc::new(column.items.keys.finish()?);
                let values: ArrayRef = Arc::new(column.items.values.finish()?);
                let entries = StructArray::try_new(fields, vec![keys, values], None)?;
                Arc::new(MapArray::try_new(entry, offsets, entries, nulls, false)?)
            }
        })
    }
}

fn inner_field(data_type: &DataType) -> Result<Arc<Field>, ArrowError> {
    match data_type {
        DataType::List(field) | DataType::Map(field, _) => Ok(Arc::clone(field)),
        _ => Err(not_nested(data_type)),
    }
}

fn not_nested(data_type: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("{data_type} is neither a list nor a map"))
}

/// Texts, as bytes known to be UTF-8.
#[derive(Debug)]
pub(crate) struct TextColumn {
    bytes: Vec<u8>,
    /// Where each text begins in `bytes`, and at last where the next one will. Those beyond the range are wrong; `finish` then
    /// fails.
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl TextColumn {
    fn new() -> Self {
        Self {
            bytes: Vec::new(),
            offsets: vec![0],
            nulls: NullBufferBuilder::new(0),
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.offsets.push(self.bytes.len() as i32);
        self.nulls.append_non_null();
    }

    /// Adds the text of an earlier row, which has one.
    #[inline]
    pub(crate) fn push_again(&mut self, row: usize) {
        self.bytes.extend_from_within(self.range(row));
        self.offsets.push(self.bytes.len() as i32);
        self.nulls.append_non_null();
    }

    pub(crate) fn push_null(&mut self) {
        self.offsets.push(self.bytes.len() as i32);
        self.nulls.append_null();
    }

    fn range(&self, row: usize) -> Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }

    pub(crate) fn get(&self, row: usize) -> &[u8] {
        &self.bytes[self.range(row)]
    }

    /// The value of a row, if it has one.
    pub(crate) fn value(&self, row: usize) -> Option<&[u8]> {
        self.nulls.is_valid(row).then(|| self.get(row))
    }

    /// Number of rows.
    pub(crate) fn count_rows(&self) -> usize {
        self.offsets.len() - 1
    }

    fn end_before(&mut self, row: usize) {
        let rows = self.count_rows();
        if rows < row {
            self.offsets.resize(row + 1, self.bytes.len() as i32);
            self.nulls.append_n_nulls(row - rows);
        } else if rows > row {
            self.bytes.truncate(self.offsets[row] as usize);
            self.offsets.truncate(row + 1);
            self.nulls.truncate(row);
        }
    }

    fn finish(&mut self) -> Result<StringArray, ArrowError> {
        let bytes = hand_over(&mut self.bytes);
        let offsets = hand_over(&mut self.offsets);
        self.offsets.push(0);
        let nulls = self.nulls.finish();
        if i32::try_from(bytes.len()).is_err() {
            return Err(ArrowError::OffsetOverflowError(bytes.len()));
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        StringArray::try_new(offsets, Buffer::from_vec(bytes), nulls)
    }
}

/// The values, and in their place room for as many.
fn hand_over<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(values.len());
    std::mem::replace(values, room)
}

fn offsets(ends: &[usize]) -> Result<OffsetBuffer<i32>, ArrowError> {
    let last = ends.last().copied().unwrap_or(0);
    if i32::try_from(last).is_err() {
        return Err(ArrowError::OffsetOverflowError(last));
    }
    let offsets = std::iter::once(0).chain(ends.iter().map(|&end| end as i32));
    Ok(OffsetBuffer::new(offsets.collect()))
}

/// Bools.
#[derive(Debug)]
pub(crate) struct BoolColumn {
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
}

impl BoolColumn {
    fn new() -> Self {
        Self {
            values: BooleanBufferBuilder::new(0),
            nulls: NullBufferBuilder::new(0),
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, value: bool) {
        self.values.append(value);
        self.nulls.append_non_null();
    }

    fn end_before(&mut self, row: usize) {
        let rows = self.nulls.len();
        if rows < row {
            self.values.append_n(row - rows, false);
            self.nulls.append_n_nulls(row - rows);
        } else if rows > row {
            self.values.truncate(row);
            self.nulls.truncate(row);
        }
    }
}

/// Numbers of one width.
#[derive(Debug)]
pub(crate) struct NumberColumn<T> {
    values: Vec<T>,
    nulls: NullBufferBuilder,
}

impl<T: Copy + Default + arrow::datatypes::ArrowNativeType> NumberColumn<T> {
    fn new() -> Self {
        Self {
            values: Vec::new(),
            nulls: NullBufferBuilder::new(0),
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, value: T) {
        self.values.push(value);
        self.nulls.append_non_null();
    }

    fn end_before(&mut self, row: usize) {
        let rows = self.values.len();
        if rows < row {
            self.values.resize(row, T::default());
            self.nulls.append_n_nulls(row - rows);
        } else if rows > row {
            self.values.truncate(row);
            self.nulls.truncate(row);
        }
    }

    fn finish(&mut self) -> (ScalarBuffer<T>, Option<arrow::buffer::NullBuffer>) {
        let values = ScalarBuffer::from(hand_over(&mut self.values));
        (values, self.nulls.finish())
    }
}

/// Rows of several items each.
#[derive(Debug)]
pub(crate) struct NestedColumn<I> {
    items: I,
    /// Where each row ends in `items`.
    ends: Vec<usize>,
    /// The items of the last row that has any.
    last_filled_row: Range<usize>,
    nulls: NullBufferBuilder,
}

/// What a nested column holds: items that can be counted and cut off.
pub(crate) trait Items {
    fn count(&self) -> usize;
    fn cut(&mut self, count: usize);
}

impl Items for TextColumn {
    fn count(&self) -> usize {
        self.count_rows()
    }

    fn cut(&mut self, count: usize) {
        self.end_before(count);
    }
}

/// The keys and values of a map's entries; both are as long, but for the moment between a key and its value.
#[derive(Debug)]
pub(crate) struct KeyValueColumns {
    pub(crate) keys: TextColumn,
    pub(crate) values: TextColumn,
}

impl Items for KeyValueColumns {
    fn count(&self) -> usize {
        self.values.count_rows()
    }

    fn cut(&mut self, count: usize) {
        self.keys.end_before(count);
        self.values.end_before(count);
    }
}

impl<I: Items> NestedColumn<I> {
    fn new(items: I) -> Self {
        Self {
            items,
            ends: Vec::new(),
            last_filled_row: 0..0,
            nulls: NullBufferBuilder::new(0),
        }
    }

    /// The items; those added since the last `close_row` belong to the row that the next one closes.
    pub(crate) fn items(&mut self) -> &mut I {
        &mut self.items
    }

    /// Where the items of the open row begin.
    pub(crate) fn open_row(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The items of the last row that was closed and has any; none if it was taken back or finished since.
    pub(crate) fn last_filled_row(&self) -> Range<usize> {
        self.last_filled_row.clone()
    }

    pub(crate) fn close_row(&mut self) {
        let filled = self.open_row()..self.items.count();
        if !filled.is_empty() {
            self.last_filled_row = filled;
        }
        self.ends.push(self.items.count());
        self.nulls.append_non_null();
    }

    fn end_before(&mut self, row: usize) {
        let rows = self.ends.len();
        self.ends.truncate(row);
        self.nulls.truncate(row.min(rows));
        let items = self.open_row();
        self.items.cut(items);
        if self.last_filled_row.end > items {
            self.last_filled_row = 0..0;
        }
        if rows < row {
            self.ends.resize(row, items);
            self.nulls.append_n_nulls(row - rows);
        }
    }

    fn finish_offsets(
        &mut self,
    ) -> Result<(OffsetBuffer<i32>, Option<arrow::buffer::NullBuffer>), ArrowError> {
        let offsets = offsets(&self.ends)?;
        self.ends.clear();
        self.last_filled_row = 0..0;
        Ok((offsets, self.nulls.finish()))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::*;

    #[test]
    fn skipped_rows_are_null_and_rows_can_be_taken_back() {
        let mut column = Column::new(ColumnType::String);
        column.end_before(2);
        let Column::Text(texts) = &mut column else {
            unreachable!()
        };
        texts.push(b"two");
        column.end_before(2);
        assert!(!column.has_value(2));
        let Column::Text(texts) = &mut column else {
            unreachable!()
        };
        texts.push(b"again");
        assert!(column.has_value(2));
        let array = column.finish(4, &DataType::Utf8).unwrap();
        let array = array.as_string::<i32>();
        assert_eq!(
            array.iter().collect::<Vec<_>>(),
            [None, None, Some("again"), None]
        );
        assert_eq!(column.finish(0, &DataType::Utf8).unwrap().len(), 0);
    }

    #[test]
    fn an_open_row_of_a_map_is_dropped_with_its_items() {
        let map = ColumnType::StringMap;
        let mut column = Column::new(map);
        let push = |column: &mut Column, key: &[u8], close: bool| {
            let Column::TextMap(maps) = column else {
                unreachable!()
            };
            maps.items().keys.push(key);
            maps.items().values.push_null();
            if close {
                maps.close_row();
            }
        };
        push(&mut column, b"a", true);
        push(&mut column, b"b", false);
        column.end_before(1);
        push(&mut column, b"c", true);
        let array = column.finish(3, &map.arrow()).unwrap();
        let array = array.as_map();
        assert_eq!(array.value_offsets(), [0, 1, 2, 2]);
        assert!(array.is_null(2));
        assert_eq!(
            array
                .keys()
                .as_string::<i32>()
                .iter()
                .flatten()
                .collect::<Vec<_>>(),
            ["a", "c"]
        );
    }

    #[test]
    fn all_types_finish_as_their_arrow_type() {
        for column_type in [
            ColumnType::String,
            ColumnType::Bool,
            ColumnType::Int64,
            ColumnType::Float64,
            ColumnType::Timestamp,
            ColumnType::Date,
            ColumnType::StringList,
            ColumnType::StringMap,
            ColumnType::Json,
        ] {
            let array = Column::new(column_type)
                .finish(3, &column_type.arrow())
                .unwrap();
            assert_eq!(
                (array.data_type(), array.null_count()),
                (&column_type.arrow(), 3)
            );
        }
    }
}
