//! A Parquet file as bytes: row groups, one behind the other, and the footer that tells of them.
//!
//! Metadata of a row group of 140 columns are 70 KB in memory and 20 KB in the footer, so that they are kept as they will stand
//! there. The form is the parquet crate's: what it writes around row groups is taken for a template.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    FileMetaData, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type};

const MAGIC: &[u8; 4] = b"PAR1";
/// Elements of a list whose number Thrift's compact protocol writes otherwise than of a shorter one.
const LONG_LIST: usize = 15;
/// Bytes before the elements of a shorter one.
const SHORT_LIST_HEADER: usize = 1;
/// The type of the elements of a list of structs, in Thrift's compact protocol.
const STRUCTS: u8 = 12;

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
    pub(crate) properties: WriterPropertiesPtr,
    footer: FooterTemplate,
    /// Of a file without columns, around whose row groups there is little.
    shortest: FileMetaData,
    around_shortest: FooterTemplate,
}

/// Writes one file.
pub(crate) struct ParquetFileWriter<W: Write> {
    format: Arc<ParquetFileFormat>,
    out: TrackedWrite<W>,
    rows: i64,
    /// As they stand in the footer.
    row_groups: Vec<Box<[u8]>>,
}

impl<W: Write> fmt::Debug for ParquetFileWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut writer = f.debug_struct("ParquetFileWriter");
        writer.field("rows", &self.rows).finish_non_exhaustive()
    }
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
    pub(crate) fn new(schema: SchemaDescriptor, properties: WriterProperties) -> Result<Self> {
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
            properties: Arc::new(properties),
            schema,
        })
    }

    /// A row group as it stands in the footer.
    fn encoded(&self, row_group: RowGroupMetaData) -> Result<Box<[u8]>> {
        let mut rows = Vec::new();
        write_rows(row_group.num_rows(), &mut rows)?;
        let footer = footer(&self.shortest, vec![row_group])?;
        let [before, between, after] = self.around_shortest.pieces.each_ref().map(Vec::len);
        let start = before + rows.len() + between + SHORT_LIST_HEADER;
        let encoded = footer.get(start..footer.len() - after);
        encoded.map(Into::into).ok_or_else(unexpected)
    }
}

impl<W: Write + Send> ParquetFileWriter<W> {
    pub(crate) fn new(format: &Arc<ParquetFileFormat>, out: W) -> Result<Self> {
        let mut out = TrackedWrite::new(out);
        out.write_all(MAGIC)?;
        Ok(Self {
            format: format.clone(),
            out,
            rows: 0,
            row_groups: Vec::new(),
        })
    }

    /// Begins a row group, which is part of the file when it is closed.
    ///
    /// # Errors
    /// If the file has as many as it can have.
    pub(crate) fn next_row_group(&mut self) -> Result<SerializedRowGroupWriter<'_, W>> {
        let ordinal = i16::try_from(self.row_groups.len())
            .map_err(|_| ParquetError::General("too many row groups for a file".to_owned()))?;
        let (format, rows, row_groups) = (&*self.format, &mut self.rows, &mut self.row_groups);
        Ok(SerializedRowGroupWriter::new(
            format.schema.clone(),
            format.properties.clone(),
            &mut self.out,
            ordinal,
            Some(Box::new(move |out, mut row_group, bloom_filters, _, _| {
                for (chunk, filter) in row_group.columns_mut().iter_mut().zip(bloom_filters) {
                    let Some(filter) = filter else {
                        continue;
                    };
                    let start = out.bytes_written();
                    filter.write(&mut *out)?;
                    let length = out.bytes_written() - start;
                    let with_filter = chunk.clone().into_builder();
                    *chunk = with_filter
                        .set_bloom_filter_offset(Some(start as i64))
                        .set_bloom_filter_length(Some(length as i32))
                        .build()?;
                }
                *rows += row_group.num_rows();
                row_groups.push(format.encoded(row_group)?);
                Ok(())
            })),
        ))
    }

    /// Writes the footer.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let start = self.out.bytes_written();
        let [before, between, after] = &self.format.footer.pieces;
        self.out.write_all(before)?;
        write_rows(self.rows, &mut self.out)?;
        self.out.write_all(between)?;
        let count = self.row_groups.len();
        if count < LONG_LIST {
            self.out.write_all(&[(count as u8) << 4 | STRUCTS])?;
        } else {
            self.out.write_all(&[(LONG_LIST as u8) << 4 | STRUCTS])?;
            write_varint(count as u64, &mut self.out)?;
        }
        for row_group in self.row_groups.drain(..) {
            self.out.write_all(&row_group)?;
        }
        self.out.write_all(after)?;
        let length = u32::try_from(self.out.bytes_written() - start)
            .map_err(|_| ParquetError::General("the footer is too long".to_owned()))?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(MAGIC)?;
        self.out.flush()?;
        Ok(())
    }

    pub(crate) fn inner_mut(&mut self) -> &mut W {
        self.out.inner_mut()
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

fn write_rows(rows: i64, out: &mut impl Write) -> io::Result<()> {
    // Zigzag: of what is not negative, the double.
    write_varint(rows as u64 * 2, out)
}

/// Seven bits a byte, the lowest first.
fn write_varint(mut value: u64, out: &mut impl Write) -> io::Result<()> {
    loop {
        let bits = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return out.write_all(&[bits]);
        }
        out.write_all(&[bits | 0x80])?;
    }
}

#[cfg(test)]
mod tests {
    use parquet::file::writer::SerializedFileWriter;

    use super::*;
    use crate::fixtures::{batch, format, snapshot};
    use crate::row_group::{EncodedRowGroup, RowGroupEncoder};

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

    fn append(mut to: SerializedRowGroupWriter<'_, Vec<u8>>, row_group: EncodedRowGroup) {
        for column in row_group.columns {
            to.append_column(&row_group.content, column).unwrap();
        }
        to.close().unwrap();
    }

    #[test]
    fn files_are_those_of_the_parquet_crate_byte_for_byte() {
        let format = &format(&snapshot(26, 10)).file;
        for row_groups in [0, 1, 2, 14, 15, 16, 200] {
            let mut own = ParquetFileWriter::new(format, Vec::new()).unwrap();
            for row_group in encoded(row_groups) {
                append(own.next_row_group().unwrap(), row_group);
            }
            own.finish().unwrap();
            let schema = format.schema.root_schema_ptr();
            let properties = format.properties.clone();
            let mut other = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
            for row_group in encoded(row_groups) {
                append(other.next_row_group().unwrap(), row_group);
            }
            assert!(
                *own.inner_mut() == other.into_inner().unwrap(),
                "{row_groups}"
            );
        }
    }

    #[test]
    fn a_row_group_that_was_begun_and_not_closed_is_not_part_of_the_file() {
        let format = &format(&snapshot(26, 10)).file;
        let mut file = ParquetFileWriter::new(format, Vec::new()).unwrap();
        drop(file.next_row_group().unwrap());
        assert!(file.row_groups.is_empty());
    }

    #[test]
    fn varints_are_those_of_thrift() {
        for (value, expected) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (u64::MAX, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ] {
            let mut written = Vec::new();
            write_varint(value, &mut written).unwrap();
            assert_eq!(written, expected);
        }
    }
}
