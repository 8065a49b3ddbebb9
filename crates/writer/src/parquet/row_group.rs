//! Record batches to one encoded row group: CPU work, away from any file, so that row groups encode in parallel.
//!
//! Synchronous and without I/O. The order of row groups in a file is the order in which they are appended to it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;

use crate::error::{Error, Result};
use crate::parquet::arrow_chunks::ArrowChunkEncoder;
use crate::parquet::buffers::KeptBuffers;
use crate::parquet::column_chunk::{ColumnChunkEncoder, SharedBuffers};
use crate::parquet::format::{ColumnFormat, FileFormat};
use crate::parquet::statistics::Collected;

/// Rows of a page: what a column holds uncompressed while it is written, 140 columns at a time.
pub(crate) const PAGE_ROWS: usize = 16 << 10;
/// Rows that a column takes before it looks at the size of its page and its dictionary.
const STEP_ROWS: usize = 1 << 10;

/// Encodes record batches into row groups, one after the other. Keeps its buffers.
#[derive(Debug)]
pub struct RowGroupEncoder {
    format: Arc<FileFormat>,
    columns: Vec<ColumnEncoder>,
    shared: SharedBuffers,
    rows: usize,
    page_rows: usize,
    /// The schema of the batch before, which is that of most batches and need not be looked at again.
    checked: Option<SchemaRef>,
}

/// What encodes a column.
#[derive(Debug)]
enum ColumnEncoder {
    Leaf(Box<ColumnChunkEncoder>),
    Whole(Box<ArrowChunkEncoder>),
}

/// A finished row group, compressed, not yet in a file.
#[derive(Debug)]
pub struct EncodedRowGroup {
    pub(crate) rows: u64,
    /// The column chunks, one after the other.
    pub(crate) content: Bytes,
    /// Where the memory of `content` goes afterwards.
    pub(crate) buffers: KeptBuffers,
    /// Where each is in `content`, and what is in it.
    pub(crate) columns: Vec<ColumnCloseResult>,
    pub(crate) statistics: Vec<Collected>,
}

impl RowGroupEncoder {
    /// An empty row group.
    ///
    /// # Errors
    /// [`Error::Parquet`].
    pub fn new(format: &Arc<FileFormat>) -> Result<Self> {
        let seed = RandomState::new().hash_one(0_u8);
        let columns = format.columns.iter();
        let columns = columns.map(|column| {
            Ok(match column {
                ColumnFormat::Leaf(format) => {
                    ColumnEncoder::Leaf(Box::new(ColumnChunkEncoder::new(format, seed)?))
                }
                ColumnFormat::Whole(format) => {
                    ColumnEncoder::Whole(Box::new(ArrowChunkEncoder::new(format)))
                }
            })
        });
        Ok(Self {
            columns: columns
                .collect::<Result<_, _>>()
                .map_err(|error: ParquetError| format.failed(&error))?,
            shared: SharedBuffers::new(format.zstd_level).map_err(|error| format.failed(&error))?,
            format: format.clone(),
            rows: 0,
            page_rows: 0,
            checked: None,
        })
    }

    /// Encodes a batch whose columns are those of [`FileFormat::schema`]; strings may be dictionary arrays with keys of 16 bits.
    ///
    /// # Errors
    /// [`Error::Parquet`] if the columns differ, or if the row group would exceed
    /// [`FileFormat::row_group_rows`]. The encoder is then not to be used.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.check(batch)?;
        let mut from = 0;
        while from < batch.num_rows() {
            if self.page_rows == PAGE_ROWS {
                self.end_pages()
                    .map_err(|error| self.format.failed(&error))?;
            }
            let rows = (batch.num_rows() - from)
                .min(STEP_ROWS)
                .min(PAGE_ROWS - self.page_rows);
            if rows == batch.num_rows() {
                self.write_step(batch)
            } else {
                self.write_step(&batch.slice(from, rows))
            }
            .map_err(|error| self.format.failed(&error))?;
            self.page_rows += rows;
            from += rows;
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    fn end_pages(&mut self) -> Result<(), ParquetError> {
        self.page_rows = 0;
        for column in &mut self.columns {
            if let ColumnEncoder::Leaf(column) = column {
                column.end_page(&mut self.shared)?;
            }
        }
        Ok(())
    }

    fn write_step(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        let mut columns = self.columns.iter_mut();
        let none_left = || ParquetError::EOF("no column left".to_owned());
        for array in rows.columns() {
            let leaf = match columns.next().ok_or_else(none_left)? {
                ColumnEncoder::Whole(column) => {
                    column.write(array)?;
                    continue;
                }
                ColumnEncoder::Leaf(leaf) => leaf,
            };
            match array.data_type() {
                DataType::List(_) => {
                    let lists = array.as_list();
                    let items = lists.values();
                    leaf.write_items(lists.offsets(), lists.nulls(), items, &mut self.shared)?;
                }
                DataType::Map(..) => {
                    let maps = array.as_map();
                    let (offsets, nulls) = (maps.offsets(), maps.nulls());
                    leaf.write_items(offsets, nulls, maps.keys(), &mut self.shared)?;
                    let Some(ColumnEncoder::Leaf(leaf)) = columns.next() else {
                        return Err(none_left());
                    };
                    leaf.write_items(offsets, nulls, maps.values(), &mut self.shared)?;
                }
                _ => leaf.write(array, &mut self.shared)?,
            }
        }
        Ok(())
    }

    /// Rows written so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Compresses what is left and hands the row group over. The encoder is then empty.
    ///
    /// # Errors
    /// [`Error::Parquet`]. The encoder is then not to be used.
    pub fn finish(&mut self) -> Result<EncodedRowGroup> {
        let mut content = self.format.buffers.take();
        let rows = self.rows as u64;
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in &mut self.columns {
            let finished = match column {
                ColumnEncoder::Leaf(column) => column
                    .finish(rows, &mut self.shared, &mut content)
                    .map(|chunk| columns.push(chunk)),
                ColumnEncoder::Whole(column) => column
                    .finish(&mut content)
                    .map(|chunks| columns.extend(chunks)),
            };
            finished.map_err(|error| self.format.failed(&error))?;
        }
        (self.rows, self.page_rows) = (0, 0);
        let collected = self.format.statistics_columns.iter().filter_map(|column| {
            let statistics = columns.get(column.leaf)?.metadata.statistics()?;
            Collected::of_chunk(&column.name, &column.data_type, rows, statistics)
        });
        Ok(EncodedRowGroup {
            rows,
            statistics: collected.collect(),
            content: self.format.buffers.lend(content),
            buffers: self.format.buffers.clone(),
            columns,
        })
    }

    fn check(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = self.rows + batch.num_rows();
        if rows > self.format.row_group_rows() {
            let limit = self.format.row_group_rows();
            return Err(self.unfit(format!("{rows} rows in a row group of at most {limit}")));
        }
        let schema = batch.schema_ref();
        let checked = self.checked.as_ref();
        if checked.is_some_and(|checked| Arc::ptr_eq(checked, schema)) {
            return Ok(());
        }
        let expected = self.format.schema.fields();
        if schema.fields().len() != expected.len() {
            let (got, expected) = (schema.fields().len(), expected.len());
            return Err(self.unfit(format!("batch has {got} columns, the file {expected}")));
        }
        match schema
            .fields()
            .iter()
            .zip(expected)
            .find(|(got, expected)| !fits(got, expected))
        {
            Some((got, expected)) => Err(self.unfit(format!(
                "batch has column `{}` {} where the file has `{}` {}",
                got.name(),
                got.data_type(),
                expected.name(),
                expected.data_type()
            ))),
            None => {
                self.checked = Some(Arc::clone(schema));
                Ok(())
            }
        }
    }

    fn unfit(&self, message: String) -> Error {
        Error::Parquet {
            dataset: self.format.snapshot.dataset.clone(),
            message,
        }
    }
}

impl EncodedRowGroup {
    /// Rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes that the row group adds to its file, without its share of the footer.
    pub fn bytes(&self) -> u64 {
        self.content.len() as u64
    }
}

fn fits(got: &Field, expected: &Field) -> bool {
    holds(got.data_type(), expected.data_type()) && got.name() == expected.name()
}

/// Whether values of `got` are such of `expected`: strings may be by dictionary, in lists and maps too.
fn holds(got: &DataType, expected: &DataType) -> bool {
    match (got, expected) {
        (DataType::Dictionary(_, values), expected) => **values == *expected,
        (DataType::List(got), DataType::List(expected))
        | (DataType::Map(got, _), DataType::Map(expected, _)) => fits(got, expected),
        (DataType::Struct(got), DataType::Struct(expected)) => {
            got.len() == expected.len()
                && got
                    .iter()
                    .zip(expected)
                    .all(|(got, expected)| fits(got, expected))
        }
        _ => got == expected,
    }
}
