//! A Parquet file as bytes: row groups, one behind the other, and the footer that tells of them.
//!
//! Metadata of a row group of 140 columns are 70 KB in memory and 20 KB in the footer, so that they are kept as they will stand
//! there. The form is the parquet crate's: what it writes around row groups is taken for a template.

use std::sync::Arc;

use bytes::Bytes;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    FileMetaData, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type};

use crate::parquet::column_chunk::varint;

const MAGIC: &[u8] = b"PAR1";
/// Elements of a list whose number Thrift's compact protocol writes otherwise than of a shorter one.
const LONG_LIST: usize = 15;
/// Bytes before the elements of a shorter one.
const SHORT_LIST_HEADER: usize = 1;
/// The type of the elements of a list of structs, in Thrift's compact protocol.
const STRUCTS: u8 = 12;

/// Bytes of the footer's numbers, of its length and of the magic before and behind it, at most.
const MOST_BYTES_BETWEEN: usize = 32;

/// A footer without rows and row groups, in three pieces: the number of rows stands behind the first, the list of row groups
/// behind the second.
#[derive(Debug)]
pub(crate) struct FooterTemplate {
    pieces: [Vec<u8>; 3],
}

/// What all files of one format have in common.
#[derive(Debug)]
pub(crate) struct ParquetFileFormat {
    pub(crate) schema: SchemaDescPtr,
    footer: FooterTemplate,
    /// Of a file without columns, around whose row groups there is little.
    shortest: FileMetaData,
    around_shortest: FooterTemplate,
}

/// One file: says of each row group what is to be written next.
#[derive(Debug)]
pub(crate) struct ParquetFile {
    format: Arc<ParquetFileFormat>,
    /// Bytes so far.
    length: usize,
    rows: i64,
    /// As they stand in the footer.
    row_groups: Vec<Box<[u8]>>,
}

impl FooterTemplate {
    fn new(file: &FileMetaData) -> Result<Self> {
        let no_columns = Arc::new(no_columns()?);
        let with = |rows| {
            let row_group = RowGroupMetaData::builder(no_columns.clone());
            footer(file, vec![row_group.set_num_rows(rows).build()?])
        };
        let template = footer(file, Vec::new())?;
        let with_none = with(0)?;
        // The number of rows stands before the list, whose first difference is its length.
        let rows = first_difference(&with_none, &with(1)?)?;
        let list = first_difference(&template, &with_none)?;
        let pieces = [0..rows, rows + 1..list, list + 1..template.len()];
        Ok(Self {
            pieces: pieces.map(|piece| template[piece].to_vec()),
        })
    }
}

impl ParquetFileFormat {
    pub(crate) fn new(schema: SchemaDescriptor, properties: &WriterProperties) -> Result<Self> {
        let schema = Arc::new(schema);
        let version = properties.writer_version().as_num();
        let created_by = Some(properties.created_by().to_owned());
        let entries = properties.key_value_metadata().cloned();
        let file = FileMetaData::new(version, 0, created_by, entries, schema.clone(), None);
        let no_columns = Arc::new(no_columns()?);
        let shortest = FileMetaData::new(version, 0, None, None, no_columns, None);
        Ok(Self {
            footer: FooterTemplate::new(&file)?,
            around_shortest: FooterTemplate::new(&shortest)?,
            shortest,
            schema,
        })
    }

    /// A row group as it stands in the footer.
    fn encoded(&self, row_group: RowGroupMetaData) -> Result<Box<[u8]>> {
        let mut rows = Vec::new();
        push_rows(row_group.num_rows(), &mut rows);
        let footer = footer(&self.shortest, vec![row_group])?;
        let [before, between, after] = self.around_shortest.pieces.each_ref().map(Vec::len);
        let start = before + rows.len() + between + SHORT_LIST_HEADER;
        let encoded = footer.get(start..footer.len() - after);
        encoded.map(Into::into).ok_or_else(unexpected)
    }
}

impl ParquetFile {
    pub(crate) fn new(format: &Arc<ParquetFileFormat>) -> Self {
        Self {
            format: format.clone(),
            length: 0,
            rows: 0,
            row_groups: Vec::new(),
        }
    }

    /// Adds a row group of which these are the column chunks, one after the other, and what is in each, with offsets from the
    /// first. Gives what is to be written before it, and after it.
    ///
    /// # Errors
    /// If the file has as many row groups as it can have, or the chunks do not lie so.
    pub(crate) fn append(
        &mut self,
        rows: u64,
        content: &Bytes,
        chunks: Vec<ColumnCloseResult>,
    ) -> Result<[Bytes; 2]> {
        let ordinal = i16::try_from(self.row_groups.len())
            .map_err(|_| ParquetError::General("too many row groups for a file".to_owned()))?;
        let before = self.beginning();
        let start = self.length + before.len();
        let end = start + content.len();
        let mut columns = Vec::with_capacity(chunks.len());
        let mut filters = Vec::new();
        let (mut bytes, mut uncompressed_bytes) = (0, 0);
        for chunk in chunks {
            let metadata = chunk.metadata;
            bytes += metadata.compressed_size();
            uncompressed_bytes += metadata.uncompressed_size();
            let in_file = |offset: i64| offset + start as i64;
            let (data, dictionary) = (
                in_file(metadata.data_page_offset()),
                metadata.dictionary_page_offset().map(in_file),
            );
            let mut metadata = metadata
                .into_builder()
                .set_data_page_offset(data)
                .set_dictionary_page_offset(dictionary);
            if let Some(filter) = chunk.bloom_filter {
                let offset = filters.len();
                filter.write(&mut filters)?;
                metadata = metadata
                    .set_bloom_filter_offset(Some((end + offset) as i64))
                    .set_bloom_filter_length(Some((filters.len() - offset) as i32));
            }
            columns.push(metadata.build()?);
        }
        if bytes != content.len() as i64 {
            let message = format!("column chunks of {bytes} bytes in {}", content.len());
            return Err(ParquetError::General(message));
        }
        let metadata = RowGroupMetaData::builder(self.format.schema.clone())
            .set_column_metadata(columns)
            .set_total_byte_size(uncompressed_bytes)
            .set_num_rows(rows as i64)
            .set_ordinal(ordinal)
            .set_file_offset(start as i64);
        self.row_groups
            .push(self.format.encoded(metadata.build()?)?);
        self.rows += rows as i64;
        self.length = end + filters.len();
        Ok([Bytes::from_static(before), filters.into()])
    }

    /// The footer, and with it the end of the file.
    ///
    /// # Errors
    /// If the footer is too long.
    pub(crate) fn finish(self) -> Result<Bytes> {
        let [before, between, after] = &self.format.footer.pieces;
        let row_groups = self.row_groups.iter().map(|row_group| row_group.len());
        let bytes = before.len() + between.len() + row_groups.sum::<usize>() + after.len();
        let mut out = Vec::with_capacity(bytes + MOST_BYTES_BETWEEN);
        out.extend_from_slice(self.beginning());
        let start = out.len();
        out.extend_from_slice(before);
        push_rows(self.rows, &mut out);
        out.extend_from_slice(between);
        let count = self.row_groups.len();
        if count < LONG_LIST {
            out.push((count as u8) << 4 | STRUCTS);
        } else {
            out.push((LONG_LIST as u8) << 4 | STRUCTS);
            varint(count as u64, &mut out);
        }
        for row_group in &self.row_groups {
            out.extend_from_slice(row_group);
        }
        out.extend_from_slice(after);
        let length = u32::try_from(out.len() - start)
            .map_err(|_| ParquetError::General("the footer is too long".to_owned()))?;
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(MAGIC);
        Ok(out.into())
    }

    /// What stands before whatever comes first.
    fn beginning(&self) -> &'static [u8] {
        if self.length == 0 { MAGIC } else { &[] }
    }
}

/// The footer of such a file, without its length and the magic at its end.
fn footer(file: &FileMetaData, row_groups: Vec<RowGroupMetaData>) -> Result<Vec<u8>> {
    let mut footer = Vec::new();
    let metadata = ParquetMetaData::new(file.clone(), row_groups);
    ParquetMetaDataWriter::new(&mut footer, &metadata).finish()?;
    footer.truncate(footer.len() - size_of::<u32>() - MAGIC.len());
    Ok(footer)
}

fn no_columns() -> Result<SchemaDescriptor> {
    let root = Type::group_type_builder("schema").build()?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

fn first_difference(one: &[u8], other: &[u8]) -> Result<usize> {
    let mut bytes = one.iter().zip(other);
    bytes.position(|(a, b)| a != b).ok_or_else(unexpected)
}

fn unexpected() -> ParquetError {
    ParquetError::General("the footer has another form than expected".to_owned())
}

fn push_rows(rows: i64, out: &mut Vec<u8>) {
    // Zigzag: of what is not negative, the double.
    varint(rows as u64 * 2, out);
}

#[cfg(test)]
mod tests {
    use parquet::file::metadata::KeyValue;
    use parquet::file::writer::SerializedFileWriter;

    use super::*;
    use crate::fixtures::{batch, format, snapshot};
    use crate::parquet::row_group::{EncodedRowGroup, RowGroupEncoder};

    fn encoded(row_groups: usize) -> Vec<EncodedRowGroup> {
        let snapshot = snapshot(26, 10);
        let mut encoder = RowGroupEncoder::new(&format(&snapshot)).unwrap();
        let row_groups = (0..row_groups as u64).map(|number| {
            let devices = number * 10..number * 10 + 1 + number % 99;
            encoder.write(&batch(&snapshot, devices)).unwrap();
            encoder.finish().unwrap()
        });
        row_groups.collect()
    }

    #[test]
    fn files_are_those_of_the_parquet_crate_byte_for_byte() {
        let schema = format(&snapshot(26, 10)).file.schema.root_schema_ptr();
        let properties = WriterProperties::builder()
            .set_created_by("test".to_owned())
            .set_offset_index_disabled(true)
            .set_key_value_metadata(Some(vec![KeyValue::new("key".to_owned(), None)]))
            .build();
        let properties = Arc::new(properties);
        let format = ParquetFileFormat::new(SchemaDescriptor::new(schema.clone()), &properties);
        let format = Arc::new(format.unwrap());
        for row_groups in [0, 1, 2, 14, 15, 16, 200] {
            let mut file = ParquetFile::new(&format);
            let mut own = Vec::new();
            for row_group in encoded(row_groups) {
                let (rows, content) = (row_group.rows, &row_group.content);
                let [before, after] = file.append(rows, content, row_group.columns).unwrap();
                own.extend([before, content.clone(), after].concat());
            }
            own.extend(file.finish().unwrap());
            let mut other =
                SerializedFileWriter::new(Vec::new(), schema.clone(), properties.clone()).unwrap();
            for row_group in encoded(row_groups) {
                let mut to = other.next_row_group().unwrap();
                for column in row_group.columns {
                    to.append_column(&row_group.content, column).unwrap();
                }
                to.close().unwrap();
            }
            assert!(own == other.into_inner().unwrap(), "{row_groups}");
        }
    }

    #[test]
    fn a_row_group_with_content_outside_its_chunks_is_refused() {
        let mut file = ParquetFile::new(&format(&snapshot(26, 10)).file);
        let [row_group] = encoded(1).try_into().unwrap();
        let more = Bytes::from([&row_group.content[..], b"x"].concat());
        let refused = file.append(row_group.rows, &more, row_group.columns);
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("column chunks of"), "{error}");
    }
}
