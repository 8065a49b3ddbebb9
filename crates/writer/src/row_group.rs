//! Record batches to one encoded row group: CPU work, away from any file, so that row groups encode in parallel.
//!
//! Synchronous and without I/O. The order of row groups in a file is the order in which they are appended to it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::file::statistics::Statistics;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::file_format::FileFormat;
use crate::statistics::Collected;

/// Bounds of a string column of the unique key: no value is below `min` or above `max`. Values longer than 64
/// bytes are cut, and then the bound is not itself a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// Name of the column.
    pub column: String,
    /// Lower bound.
    pub min: String,
    /// Upper bound.
    pub max: String,
}

/// Encodes record batches into one row group.
#[derive(Debug)]
pub struct RowGroupEncoder {
    format: Arc<FileFormat>,
    columns: Vec<ArrowColumnWriter>,
    rows: usize,
}

/// A finished row group, compressed, not yet in a file.
#[derive(Debug)]
pub struct EncodedRowGroup {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) chunks: Vec<ArrowColumnChunk>,
    pub(crate) key_ranges: Vec<KeyRange>,
    pub(crate) statistics: Vec<Collected>,
}

impl RowGroupEncoder {
    /// An empty row group.
    ///
    /// # Errors
    /// [`Error::Parquet`].
    pub fn new(format: &Arc<FileFormat>) -> Result<Self> {
        let columns = format.new_column_writers()?;
        Ok(Self {
            format: format.clone(),
            columns,
            rows: 0,
        })
    }

    /// Encodes a batch whose columns are those of [`FileFormat::schema`]; a string column may come as a dictionary.
    ///
    /// # Errors
    /// [`Error::Parquet`] if the columns differ, or if the row group would exceed
    /// [`FileFormat::row_group_rows`]. The row group is then not to be used.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.check(batch)?;
        let mut writers = self.columns.iter_mut();
        for (field, array) in self.format.schema.fields().iter().zip(batch.columns()) {
            for leaf in compute_leaves(field, array).map_err(|error| self.format.failed(&error))? {
                let Some(writer) = writers.next() else {
                    return Err(self.unfit("more leaf columns than the file".to_owned()));
                };
                writer
                    .write(&leaf)
                    .map_err(|error| self.format.failed(&error))?;
            }
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    /// Rows written so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes that the row group takes in memory now, about.
    pub fn memory_bytes(&self) -> usize {
        self.columns
            .iter()
            .map(ArrowColumnWriter::memory_size)
            .sum()
    }

    /// Compresses what is left and hands the row group over.
    ///
    /// # Errors
    /// [`Error::Parquet`].
    pub fn finish(self) -> Result<EncodedRowGroup> {
        let Self {
            format,
            columns,
            rows,
        } = self;
        let closed = columns
            .into_iter()
            .map(ArrowColumnWriter::close)
            .collect::<Result<Vec<_>, _>>();
        let chunks = closed.map_err(|error| format.failed(&error))?;
        let key_ranges = format.key_columns.iter().filter_map(|key| {
            let statistics = chunks.get(key.leaf)?.close().metadata.statistics()?;
            key_range(&key.name, statistics)
        });
        let collected = format.statistics_columns.iter().filter_map(|column| {
            let statistics = chunks.get(column.leaf)?.close().metadata.statistics()?;
            Collected::of_chunk(&column.name, &column.data_type, rows as u64, statistics)
        });
        Ok(EncodedRowGroup {
            statistics: collected.collect(),
            rows: rows as u64,
            bytes: chunks.iter().map(|chunk| chunk.close().bytes_written).sum(),
            key_ranges: key_ranges.collect(),
            chunks,
        })
    }

    fn check(&self, batch: &RecordBatch) -> Result<()> {
        let rows = self.rows + batch.num_rows();
        if rows > self.format.row_group_rows() {
            let limit = self.format.row_group_rows();
            return Err(self.unfit(format!("{rows} rows in a row group of at most {limit}")));
        }
        let schema = batch.schema_ref();
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
            None => Ok(()),
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
        self.bytes
    }
}

fn fits(got: &Field, expected: &Field) -> bool {
    let same_type = match got.data_type() {
        DataType::Dictionary(_, values) => **values == *expected.data_type(),
        other => other == expected.data_type(),
    };
    same_type && got.name() == expected.name()
}

fn key_range(column: &str, statistics: &Statistics) -> Option<KeyRange> {
    // Cut at a character boundary by the Parquet writer.
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    Some(KeyRange {
        column: column.to_owned(),
        min: text(statistics.min_bytes_opt()?)?,
        max: text(statistics.max_bytes_opt()?)?,
    })
}

/// Widens `ranges` so that they cover `more`.
pub(crate) fn cover(ranges: &mut Vec<KeyRange>, more: Vec<KeyRange>) {
    for range in more {
        match ranges.iter_mut().find(|known| known.column == range.column) {
            Some(known) => {
                known.min = std::mem::take(&mut known.min).min(range.min);
                known.max = std::mem::take(&mut known.max).max(range.max);
            }
            None => ranges.push(range),
        }
    }
}
