//! One leaf column of a row group, from Arrow arrays to Parquet's compressed pages.
//!
//! Does what the `parquet` crate's column writers do, for the types that a dataset's columns have, and is checked against them.
//! It is here because it was measured to pay: texts are hashed as words and not as bytes, bounds are taken of a dictionary's
//! texts and not of every value, and all buffers serve one row group after the other. The crate still writes page
//! headers.
//!
//! | type | while few differ | else |
//! |---|---|---|
//! | string, json | dictionary | plain |
//! | timestamp | dictionary | differences |
//! | int64, float64, date | dictionary | plain |
//! | bool | plain | plain |

mod bit_packing;
mod bounds;
mod delta;
mod dictionary_keys;
mod levels;
mod number_values;
mod page_writer;
mod text_values;

use arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Float64Type, Int64Type, TimestampMicrosecondType,
};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, PrimitiveArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, TimeUnit};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::schema::types::ColumnDescPtr;

pub(crate) use bit_packing::varint;
pub(crate) use bounds::BOUND_BYTES;
use bounds::TextBounds;
use levels::Levels;
use number_values::{NumberKind, NumberValues};
use page_writer::{PageCompressor, Pages};
pub(crate) use text_values::BloomFilterSettings;
use text_values::TextValues;

/// Most bytes of a page before compression, about: a page ends with the rows that go beyond.
const PAGE_BYTES: usize = 128 << 10;

/// A chunk of so few bytes is not compressed: it would hardly become shorter, and the shortest ones longer.
const SMALL_CHUNK_BYTES: usize = 512;

/// How one leaf column is written.
#[derive(Debug, Clone)]
pub(crate) struct ColumnChunkFormat {
    pub(crate) descriptor: ColumnDescPtr,
    /// Of the values: of a list's items, of a map's keys or values.
    pub(crate) data_type: DataType,
    /// Largest dictionary, in bytes; 0 is none.
    pub(crate) dictionary_bytes: usize,
    pub(crate) has_statistics: bool,
    pub(crate) bloom_filter: Option<BloomFilterSettings>,
}

/// Encodes the chunks of one leaf column, one after the other.
#[derive(Debug)]
pub(crate) struct ColumnChunkEncoder {
    format: ColumnChunkFormat,
    levels: Levels,
    values: Values,
    /// The data pages of the open chunk, with those that are full in `full_pages`.
    pages: Pages,
    full_pages: Vec<u8>,
    /// Whether one of them refers to the dictionary.
    dictionary_is_used: bool,
    nulls: u64,
}

#[derive(Debug)]
enum Values {
    Text(TextValues),
    Number(NumberValues),
    Bool {
        open: BooleanBufferBuilder,
        /// Whether the chunk has a false, and a true.
        seen: [bool; 2],
    },
}

/// Buffers that all columns of a row group use in turn.
#[derive(Debug)]
pub(crate) struct SharedBuffers {
    compressor: PageCompressor,
    /// Uncompressed.
    page: Vec<u8>,
    /// The dictionary's page, uncompressed.
    dictionary: Vec<u8>,
}

impl SharedBuffers {
    pub(crate) fn new(zstd_level: ZstdLevel) -> Result<Self> {
        Ok(Self {
            compressor: PageCompressor::new(zstd_level)?,
            page: Vec::new(),
            dictionary: Vec::new(),
        })
    }
}

impl ColumnChunkEncoder {
    /// `hash_seed` is for dictionaries, and does not show in what is written.
    pub(crate) fn new(format: &ColumnChunkFormat, hash_seed: u64) -> Result<Self> {
        let number = |kind| Values::Number(NumberValues::new(kind, format.dictionary_bytes));
        let values = match &format.data_type {
            DataType::Utf8 => Values::Text(TextValues::new(
                format.dictionary_bytes,
                format.has_statistics,
                format.bloom_filter,
                hash_seed,
            )),
            DataType::Int64 => number(NumberKind::Int64),
            DataType::Timestamp(TimeUnit::Microsecond, _) => number(NumberKind::Time),
            DataType::Date32 => number(NumberKind::Int32),
            DataType::Float64 => number(NumberKind::Float64),
            DataType::Boolean => Values::Bool {
                open: BooleanBufferBuilder::new(0),
                seen: [false; 2],
            },
            other => {
                let message = format!("no column of a dataset is a {other}");
                return Err(ParquetError::NYI(message));
            }
        };
        let descriptor = &format.descriptor;
        Ok(Self {
            levels: Levels::new(descriptor.max_def_level(), descriptor.max_rep_level()),
            values,
            pages: Pages::default(),
            full_pages: Vec::new(),
            dictionary_is_used: false,
            nulls: 0,
            format: format.clone(),
        })
    }

    /// Adds rows of a column that is no list and no map.
    pub(crate) fn write(&mut self, array: &ArrayRef, shared: &mut SharedBuffers) -> Result<()> {
        let unfit = || {
            let (got, expected) = (array.data_type(), &self.format.data_type);
            ParquetError::General(format!("a {got} for a column of {expected}"))
        };
        match (&mut self.values, array.data_type()) {
            (Values::Text(texts), got) if TextValues::takes(got) => texts.push_array(array)?,
            (Values::Number(numbers), DataType::Timestamp(..)) => {
                let times = array.as_primitive::<TimestampMicrosecondType>();
                push_numbers(numbers, times, |time| time as u64);
            }
            (Values::Number(numbers), DataType::Int64) => {
                push_numbers(numbers, array.as_primitive::<Int64Type>(), |number| {
                    number as u64
                });
            }
            (Values::Number(numbers), DataType::Date32) => {
                let days = array.as_primitive::<Date32Type>();
                push_numbers(numbers, days, |day| i64::from(day) as u64);
            }
            (Values::Number(numbers), DataType::Float64) => {
                push_numbers(numbers, array.as_primitive::<Float64Type>(), f64::to_bits);
            }
            (Values::Bool { open, seen }, DataType::Boolean) => {
                push_bools(open, seen, array.as_boolean());
            }
            _ => return Err(unfit()),
        }
        self.levels.add_rows(array.len(), array.nulls());
        self.end_rows(shared)
    }

    /// Adds rows of a list, or of the keys or the values of a map.
    pub(crate) fn write_items(
        &mut self,
        offsets: &OffsetBuffer<i32>,
        row_nulls: Option<&NullBuffer>,
        items: &ArrayRef,
        shared: &mut SharedBuffers,
    ) -> Result<()> {
        let Values::Text(texts) = &mut self.values else {
            let message = "lists and maps hold texts".to_owned();
            return Err(ParquetError::General(message));
        };
        let item_nulls = items.nulls().filter(|nulls| nulls.null_count() > 0);
        // Items of rows that follow each other lie so too.
        let mut waiting = 0..0;
        for (row, bounds) in offsets.windows(2).enumerate() {
            let (first, end) = (bounds[0] as usize, bounds[1] as usize);
            let is_null = row_nulls.is_some_and(|nulls| nulls.is_null(row));
            if is_null || first == end {
                self.levels.add_without_items(is_null);
                continue;
            }
            self.levels.add_items(end - first, first, item_nulls);
            if first == waiting.end {
                waiting.end = end;
            } else {
                texts.push_array(&items.slice(waiting.start, waiting.len()))?;
                waiting = first..end;
            }
        }
        texts.push_array(&items.slice(waiting.start, waiting.len()))?;
        self.end_rows(shared)
    }

    /// Ends the open page where it or its dictionary has grown too large.
    fn end_rows(&mut self, shared: &mut SharedBuffers) -> Result<()> {
        let (is_full, pays, page_bytes) = match &self.values {
            Values::Text(texts) => (
                texts.dictionary_is_full(),
                texts.dictionary_pays(),
                texts.page_bytes(),
            ),
            Values::Number(numbers) => (
                numbers.dictionary_is_full(),
                numbers.dictionary_pays(),
                numbers.page_bytes(),
            ),
            Values::Bool { .. } => return Ok(()),
        };
        if (is_full && pays) || page_bytes > PAGE_BYTES {
            self.end_page(shared)?;
        }
        if is_full {
            match &mut self.values {
                Values::Text(texts) => texts.leave_dictionary(),
                Values::Number(numbers) => numbers.leave_dictionary(),
                Values::Bool { .. } => {}
            }
        }
        Ok(())
    }

    /// Ends the open page, if it has rows.
    pub(crate) fn end_page(&mut self, shared: &mut SharedBuffers) -> Result<()> {
        let Some((values, encoding)) = self.take_page(&mut shared.page) else {
            return Ok(());
        };
        self.pages.add_data(
            &shared.page,
            values,
            encoding,
            Some(&mut shared.compressor),
            &mut self.full_pages,
        )
    }

    /// Puts the open page's levels and values into `page`, uncompressed, and forgets them. Gives the number of its levels and
    /// how its values are encoded; `None` if it has no rows.
    fn take_page(&mut self, page: &mut Vec<u8>) -> Option<(usize, Encoding)> {
        let values = self.levels.len();
        if values == 0 {
            return None;
        }
        self.nulls += self.levels.nulls() as u64;
        page.clear();
        self.levels.finish_page(page);
        let encoding = match &mut self.values {
            Values::Text(texts) => texts.finish_page(page),
            Values::Number(numbers) => numbers.finish_page(page),
            Values::Bool { open, .. } => {
                page.extend_from_slice(open.as_slice());
                open.truncate(0);
                Encoding::PLAIN
            }
        };
        self.dictionary_is_used |= encoding == Encoding::RLE_DICTIONARY;
        Some((values, encoding))
    }

    /// Ends the chunk of `rows` rows and appends it to `out`; the offsets of the result are from its beginning. The encoder is
    /// then ready for the next chunk.
    pub(crate) fn finish(
        &mut self,
        rows: u64,
        shared: &mut SharedBuffers,
        out: &mut Vec<u8>,
    ) -> Result<ColumnCloseResult> {
        // Most chunks have one page, which goes straight to where it belongs: behind the dictionary that it is the last to add to.
        let last_page = self.take_page(&mut shared.page);
        let start = out.len();
        let mut dictionary = Pages::default();
        let dictionary_page = &mut shared.dictionary;
        dictionary_page.clear();
        let dictionary_values = match &self.values {
            Values::Text(texts) if self.dictionary_is_used => texts.dictionary(dictionary_page),
            Values::Number(numbers) if self.dictionary_is_used => {
                numbers.dictionary(dictionary_page)
            }
            _ => 0,
        };
        let bytes = dictionary_page.len() + last_page.map_or(0, |_| shared.page.len());
        let is_compressed = !self.full_pages.is_empty() || bytes > SMALL_CHUNK_BYTES;
        let mut compressor = is_compressed.then_some(&mut shared.compressor);
        if self.dictionary_is_used {
            dictionary.add_dictionary(
                dictionary_page,
                dictionary_values,
                compressor.as_deref_mut(),
                out,
            )?;
        }
        let data_start = out.len();
        out.append(&mut self.full_pages);
        if let Some((values, encoding)) = last_page {
            let page = &shared.page;
            self.pages
                .add_data(page, values, encoding, compressor.as_deref_mut(), out)?;
        }

        let pages = [&dictionary, &self.pages];
        let page_encodings: Vec<_> = pages
            .iter()
            .flat_map(|pages| &pages.encodings)
            .cloned()
            .collect();
        let mut encodings = vec![Encoding::RLE];
        encodings.extend(page_encodings.iter().map(|pages| pages.encoding));
        let mut metadata = ColumnChunkMetaData::builder(self.format.descriptor.clone())
            .set_compression(
                compressor.map_or(Compression::UNCOMPRESSED, |zstd| zstd.compression()),
            )
            .set_encodings(encodings)
            .set_page_encoding_stats(page_encodings)
            .set_total_compressed_size((out.len() - start) as i64)
            .set_total_uncompressed_size(
                pages
                    .iter()
                    .map(|pages| pages.uncompressed_bytes as i64)
                    .sum(),
            )
            .set_num_values(self.pages.values as i64)
            .set_data_page_offset(data_start as i64)
            .set_dictionary_page_offset(self.dictionary_is_used.then_some(start as i64));
        if self.format.has_statistics {
            metadata = metadata.set_statistics(self.statistics());
        }
        let closed = ColumnCloseResult {
            bytes_written: (out.len() - start) as u64,
            rows_written: rows,
            metadata: metadata.build()?,
            bloom_filter: match &mut self.values {
                Values::Text(texts) => texts.take_bloom_filter(),
                _ => None,
            },
            column_index: None,
            offset_index: None,
        };
        self.begin_chunk();
        Ok(closed)
    }

    fn statistics(&mut self) -> Statistics {
        match &mut self.values {
            Values::Text(texts) => {
                let bounds = texts.bounds(self.dictionary_is_used);
                let cut = bounds.and_then(TextBounds::cut);
                let (min, max) = cut.map_or((None, None), |[min, max]| (Some(min), Some(max)));
                let exact =
                    [&min, &max].map(|bound| bound.as_ref().is_none_or(|(_, exact)| *exact));
                let [min, max] = [min, max].map(|bound| bound.map(|(text, _)| text));
                let statistics = ValueStatistics::new(min, max, None, Some(self.nulls), false);
                Statistics::ByteArray(
                    statistics
                        .with_min_is_exact(exact[0])
                        .with_max_is_exact(exact[1]),
                )
            }
            Values::Number(numbers) => numbers.statistics(self.dictionary_is_used, self.nulls),
            Values::Bool { seen, .. } => {
                let min = if seen[0] {
                    Some(false)
                } else {
                    seen[1].then_some(true)
                };
                let max = if seen[1] {
                    Some(true)
                } else {
                    seen[0].then_some(false)
                };
                Statistics::Boolean(ValueStatistics::new(
                    min,
                    max,
                    None,
                    Some(self.nulls),
                    false,
                ))
            }
        }
    }

    fn begin_chunk(&mut self) {
        match &mut self.values {
            Values::Text(texts) => texts.begin_chunk(),
            Values::Number(numbers) => numbers.begin_chunk(),
            Values::Bool { seen, .. } => *seen = [false; 2],
        }
        self.pages.clear();
        self.dictionary_is_used = false;
        self.nulls = 0;
    }
}

fn push_numbers<T: ArrowPrimitiveType>(
    numbers: &mut NumberValues,
    array: &PrimitiveArray<T>,
    bits: impl Fn(T::Native) -> u64,
) {
    let values = array.values();
    match array.nulls() {
        None => values.iter().for_each(|value| numbers.push(bits(*value))),
        Some(nulls) => nulls
            .valid_indices()
            .for_each(|row| numbers.push(bits(values[row]))),
    }
}

fn push_bools(open: &mut BooleanBufferBuilder, seen: &mut [bool; 2], array: &BooleanArray) {
    let trues = array.true_count();
    let values = array.len() - array.null_count();
    seen[1] |= trues > 0;
    seen[0] |= trues < values;
    match array.nulls() {
        None => open.append_buffer(array.values()),
        Some(nulls) => nulls
            .valid_indices()
            .for_each(|row| open.append(array.value(row))),
    }
}

#[cfg(test)]
mod tests;
