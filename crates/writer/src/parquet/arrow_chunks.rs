//! The column chunks of one top-level column by the parquet crate's own writers: for types that `column_chunk` does not know,
//! and for readers that do not know the encodings that it chooses.
//!
//! The crate writes a file of that column alone in memory, and its chunks are taken out of it.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::parquet::column_chunk::BOUND_BYTES;

/// How a column is written.
#[derive(Debug, Clone)]
pub(crate) struct ArrowChunkFormat {
    /// Of the one column.
    schema: SchemaRef,
    properties: WriterProperties,
}

/// Encodes the chunks of one column, row group after row group.
#[derive(Debug)]
pub(crate) struct ArrowChunkEncoder {
    format: ArrowChunkFormat,
    /// The open row group, if it has rows.
    file: Option<ArrowWriter<Vec<u8>>>,
}

impl ArrowChunkFormat {
    pub(crate) fn new(column: &Field, compression: Compression) -> Self {
        let statistics = match column.data_type().is_nested() {
            // Of what is in lists no reader makes use.
            true => EnabledStatistics::None,
            false => EnabledStatistics::Chunk,
        };
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_max_row_group_row_count(None)
            .set_statistics_enabled(statistics)
            .set_statistics_truncate_length(Some(BOUND_BYTES))
            .set_offset_index_disabled(true);
        Self {
            schema: Arc::new(Schema::new(vec![column.clone()])),
            properties: properties.build(),
        }
    }
}

impl ArrowChunkEncoder {
    pub(crate) fn new(format: &ArrowChunkFormat) -> Self {
        Self {
            format: format.clone(),
            file: None,
        }
    }

    /// Adds rows; texts may be by dictionary.
    pub(crate) fn write(&mut self, array: &ArrayRef) -> Result<()> {
        let array = cast(array, self.format.schema.field(0).data_type())?;
        let rows = RecordBatch::try_new(self.format.schema.clone(), vec![array])?;
        match &mut self.file {
            Some(file) => file.write(&rows),
            None => {
                let options = ArrowWriterOptions::new()
                    .with_properties(self.format.properties.clone())
                    .with_skip_arrow_metadata(true);
                let schema = self.format.schema.clone();
                let file = ArrowWriter::try_new_with_options(Vec::new(), schema, options)?;
                self.file.insert(file).write(&rows)
            }
        }
    }

    /// Ends the chunks and appends them to `out`; the offsets of the results are from its beginning.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<Vec<ColumnCloseResult>> {
        let no_rows = || ParquetError::General("a row group without rows".to_owned());
        let mut file = self.file.take().ok_or_else(no_rows)?;
        let metadata = file.finish()?;
        let [row_group] = metadata.row_groups() else {
            let message = format!("{} row groups for one", metadata.num_row_groups());
            return Err(ParquetError::General(message));
        };
        let content = file.inner();
        let chunks = row_group.columns().iter().map(|chunk| {
            let (start, length) = chunk.byte_range();
            let bytes = usize::try_from(start)
                .ok()
                .zip(usize::try_from(start + length).ok())
                .and_then(|(start, end)| content.get(start..end))
                .ok_or_else(|| ParquetError::EOF("a column chunk beyond its file".to_owned()))?;
            let moved = |offset: i64| offset - start as i64 + out.len() as i64;
            let moved_chunk = chunk
                .clone()
                .into_builder()
                .set_data_page_offset(moved(chunk.data_page_offset()))
                .set_dictionary_page_offset(chunk.dictionary_page_offset().map(moved))
                .build()?;
            out.extend_from_slice(bytes);
            Ok(ColumnCloseResult {
                bytes_written: length,
                rows_written: row_group.num_rows() as u64,
                metadata: moved_chunk,
                bloom_filter: None,
                column_index: None,
                offset_index: None,
            })
        });
        chunks.collect()
    }
}
