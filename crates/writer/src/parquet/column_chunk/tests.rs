//! The `parquet` crate's own writer is the oracle: the same batches through both, and every value and bound must be the same.
//! Strings by dictionary give the same bytes as strings.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StringArray, StructArray,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use proptest::prelude::*;

use super::bounds::BOUND_BYTES;
use crate::fixtures::{Row, batch_of, dataset, snapshot};
use crate::parquet::footer::ParquetFile;
use crate::{Compatibility, FileFormat, ParquetSettings, RowGroupEncoder};

const ROW_GROUP_ROWS: usize = 40_000;

fn format() -> Arc<FileFormat> {
    format_for(Compatibility::Modern)
}

fn format_for(compatibility: Compatibility) -> Arc<FileFormat> {
    let settings = ParquetSettings {
        row_group_rows: ROW_GROUP_ROWS,
        zstd_level: 1,
        compatibility,
    };
    Arc::new(FileFormat::new(&dataset(), &snapshot(26, 10), "test", &settings).unwrap())
}

/// A file with one row group for each of `row_groups`, all by one encoder.
fn encoded(format: &Arc<FileFormat>, row_groups: &[Vec<RecordBatch>]) -> Bytes {
    let mut encoder = RowGroupEncoder::new(format).unwrap();
    let mut file = ParquetFile::new(&format.file);
    let mut written = Vec::new();
    for batches in row_groups {
        for batch in batches {
            encoder.write(batch).unwrap();
        }
        let row_group = encoder.finish().unwrap();
        let (rows, content) = (row_group.rows, row_group.content);
        let [before, after] = file.append(rows, &content, row_group.columns).unwrap();
        written.extend([before, content, after].concat());
    }
    written.extend(file.finish().unwrap());
    written.into()
}

/// The same by the crate's writer.
fn oracle(format: &FileFormat, row_groups: &[Vec<RecordBatch>]) -> Bytes {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_statistics_truncate_length(Some(BOUND_BYTES))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    let mut writer =
        ArrowWriter::try_new(Vec::new(), format.schema().clone(), Some(properties)).unwrap();
    for batches in row_groups {
        for batch in batches {
            writer.write(batch).unwrap();
        }
        writer.flush().unwrap();
    }
    writer.into_inner().unwrap().into()
}

fn read(file: &Bytes) -> (Arc<ParquetMetaData>, RecordBatch) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
    let (metadata, schema) = (reader.metadata().clone(), reader.schema().clone());
    let batches: Vec<_> = reader.build().unwrap().collect::<Result<_, _>>().unwrap();
    (metadata, concat_batches(&schema, &batches).unwrap())
}

fn assert_same(row_groups: &[Vec<RecordBatch>]) {
    for compatibility in [Compatibility::Modern, Compatibility::Broad] {
        assert_same_for(compatibility, row_groups);
    }
}

fn assert_same_for(compatibility: Compatibility, row_groups: &[Vec<RecordBatch>]) {
    let format = format_for(compatibility);
    let file = encoded(&format, row_groups);
    let with_dictionaries: Vec<Vec<RecordBatch>> = row_groups
        .iter()
        .map(|batches| batches.iter().map(with_dictionaries).collect())
        .collect();
    assert!(file == encoded(&format, &with_dictionaries));
    let (metadata, rows) = read(&file);
    let (expected_metadata, expected_rows) = read(&oracle(&format, row_groups));
    assert_eq!(rows.columns(), expected_rows.columns());
    for (row_group, expected) in metadata
        .row_groups()
        .iter()
        .zip(expected_metadata.row_groups())
    {
        assert_eq!(row_group.num_rows(), expected.num_rows());
        for (column, expected) in row_group.columns().iter().zip(expected.columns()) {
            assert_eq!(column.num_values(), expected.num_values());
            if compatibility == Compatibility::Broad {
                let oldest = [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY];
                assert!(
                    column
                        .encodings()
                        .all(|encoding| oldest.contains(&encoding))
                );
                assert_eq!(column.compression(), Compression::SNAPPY);
            }
            if column.column_path().parts().len() == 1 {
                assert_eq!(
                    column.statistics(),
                    expected.statistics(),
                    "{}",
                    column.column_path()
                );
            }
        }
    }
}

/// The same rows with dictionary arrays in place of strings.
fn with_dictionaries(batch: &RecordBatch) -> RecordBatch {
    let columns: Vec<_> = batch.columns().iter().map(by_dictionary).collect();
    let schema = batch.schema();
    let fields = schema.fields().iter().zip(&columns);
    let fields: Vec<_> = fields.map(|(field, array)| of_type(field, array)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn by_dictionary(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8 => {
            let keys = Box::new(DataType::UInt16);
            let dictionary = DataType::Dictionary(keys, Box::new(DataType::Utf8));
            cast(array, &dictionary).unwrap()
        }
        DataType::List(item) => {
            let lists = array.as_list::<i32>();
            let items = by_dictionary(lists.values());
            let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
            Arc::new(ListArray::new(of_type(item, &items), offsets, items, nulls))
        }
        DataType::Map(entry, _) => {
            let maps = array.as_map();
            let items = [maps.keys(), maps.values()].map(by_dictionary).to_vec();
            let DataType::Struct(fields) = entry.data_type() else {
                unreachable!()
            };
            let fields = fields.iter().zip(&items);
            let fields = fields.map(|(field, array)| of_type(field, array)).collect();
            let entries = StructArray::new(fields, items, None);
            let entry = Arc::new(
                entry
                    .as_ref()
                    .clone()
                    .with_data_type(entries.data_type().clone()),
            );
            let (offsets, nulls) = (maps.offsets().clone(), maps.nulls().cloned());
            Arc::new(MapArray::new(entry, offsets, entries, nulls, false))
        }
        _ => array.clone(),
    }
}

fn of_type(field: &Arc<Field>, array: &ArrayRef) -> Arc<Field> {
    let field = field.as_ref().clone();
    Arc::new(field.with_data_type(array.data_type().clone()))
}

fn row() -> impl Strategy<Value = Row> {
    let text = || "[a-c]{0,3}|[a-z0-9 é\u{10ffff}]{0,90}";
    let number = || prop::option::of(prop_oneof![0..9_i64, any::<i64>()]);
    let tags = prop::collection::vec(prop::option::of(text()), 0..4);
    let rules = prop::collection::vec(("[a-h]{1,20}", prop::option::of(text())), 0..4);
    (
        (any::<bool>(), tags),
        (any::<bool>(), rules),
        text(),
        prop::option::of(any::<bool>()),
        number(),
        prop::option::of(prop_oneof![Just(0.0), Just(-0.0), -9.0..9.0_f64]),
        number(),
        prop::option::of(any::<i32>()),
        prop::option::of(text()),
        prop::option::of(text()),
    )
        .prop_map(
            |(
                tags,
                rules,
                device_id,
                is_on,
                count,
                score,
                seen_time,
                birthday,
                raw,
                rescued_data,
            )| Row {
                tags,
                rules,
                device_id,
                is_on,
                count,
                score,
                seen_time,
                birthday,
                raw,
                rescued_data,
            },
        )
}

fn batch(rows: Vec<Row>) -> RecordBatch {
    batch_of(&snapshot(26, 10), rows)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_and_statistics_are_those_of_the_crates_writer(
        rows in prop::collection::vec(row(), 1..40),
        repeat in 1..60_usize,
        cut in 0..2_000_usize,
    ) {
        let rows: Vec<_> = std::iter::repeat_n(rows, repeat).flatten().collect();
        let whole = batch(rows);
        let cut = cut.min(whole.num_rows());
        let halves = vec![whole.slice(0, cut), whole.slice(cut, whole.num_rows() - cut)];
        assert_same(&[vec![whole], halves]);
    }
}

fn numbered(range: std::ops::Range<i64>, different: i64) -> RecordBatch {
    let rows = range.map(|number| {
        let few = number % different;
        Row {
            tags: (true, vec![Some(few.to_string()), None]),
            rules: (true, vec![("key".to_owned(), Some(few.to_string()))]),
            device_id: format!("device {number:08}"),
            is_on: Some(few % 2 == 0),
            count: Some(few << 40),
            score: Some(few as f64 / 3.0),
            seen_time: (number % 5 > 0).then_some(few * 1_000_003),
            birthday: Some(few as i32),
            raw: (few % 7 > 0).then(|| format!("{{\"some long text\":{few}}}")),
            rescued_data: None,
        }
    });
    batch(rows.collect())
}

#[test]
fn many_pages_and_dictionaries_that_fill_up_give_the_same_rows() {
    for different in [1, 100, 600, 3_000, 40_000] {
        let batches = [0..999, 999..20_000, 20_000..39_999].map(|range| numbered(range, different));
        assert_same(&[batches.to_vec(), vec![numbered(0..10, different)]]);
    }
}

/// The encodings of a column's pages, its dictionary's first, and how many there are of each.
fn encodings(batches: &[RecordBatch], column: &str) -> Vec<(Encoding, i32)> {
    let mut encoder = RowGroupEncoder::new(&format()).unwrap();
    for batch in batches {
        encoder.write(batch).unwrap();
    }
    let row_group = encoder.finish().unwrap();
    let mut chunks = row_group.columns.iter().map(|column| &column.metadata);
    let chunk = chunks
        .find(|chunk| chunk.column_path().string() == column)
        .unwrap();
    let pages = chunk.page_encoding_stats().unwrap().iter();
    pages.map(|pages| (pages.encoding, pages.count)).collect()
}

#[test]
fn a_dictionary_is_kept_while_it_pays() {
    use Encoding::{DELTA_BINARY_PACKED, PLAIN, RLE_DICTIONARY};
    let few = [numbered(0..20_000, 10)];
    for column in ["count", "score", "seen_time", "birthday", "raw"] {
        assert_eq!(
            encodings(&few, column),
            [(PLAIN, 1), (RLE_DICTIONARY, 2)],
            "{column}"
        );
    }
    // More times than a dictionary holds, and no two devices with the same id.
    let many = [numbered(0..20_000, 20_000)];
    assert_eq!(encodings(&many, "seen_time"), [(DELTA_BINARY_PACKED, 2)]);
    // A page of 128 KiB ends before one of 16,384 rows.
    assert_eq!(encodings(&many, "device_id"), [(PLAIN, 4)]);
    // What came often before the dictionary was full stays with it.
    let later = [numbered(0..8_000, 400), numbered(0..8_000, 8_000)];
    assert_eq!(
        encodings(&later, "seen_time"),
        [(PLAIN, 1), (RLE_DICTIONARY, 1), (DELTA_BINARY_PACKED, 1)]
    );
}

#[test]
fn only_chunks_that_may_become_shorter_are_compressed() {
    let row_groups = [vec![numbered(0..5, 5)], vec![numbered(0..2_000, 2_000)]];
    let (metadata, _) = read(&encoded(&format(), &row_groups));
    let codecs = |row_group: usize, column: &str| {
        let row_group = metadata.row_group(row_group);
        let mut chunks = row_group.columns().iter();
        let chunk = chunks
            .find(|chunk| chunk.column_path().string() == column)
            .unwrap();
        let shrinks = chunk.compressed_size() < chunk.uncompressed_size();
        (chunk.compression(), shrinks)
    };
    for column in ["device_id", "seen_time", "is_on", "_rescued_data"] {
        assert_eq!(codecs(0, column), (Compression::UNCOMPRESSED, false));
    }
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).unwrap());
    for column in ["device_id", "raw"] {
        assert_eq!(codecs(1, column), (zstd, true), "{column}");
    }
    // The codec is one for all pages of a chunk, and those of the full ones are compressed already.
    let long = [vec![numbered(
        0..crate::parquet::row_group::PAGE_ROWS as i64 + 1,
        1,
    )]];
    assert_same(&long);
}

#[test]
fn columns_of_nulls_alone_have_no_dictionary() {
    let row = Row {
        tags: (false, Vec::new()),
        rules: (false, Vec::new()),
        device_id: "a".to_owned(),
        is_on: None,
        count: None,
        score: None,
        seen_time: None,
        birthday: None,
        raw: None,
        rescued_data: None,
    };
    let rows = batch(vec![row; 3_000]);
    for column in ["seen_time", "raw"] {
        assert_eq!(
            encodings(std::slice::from_ref(&rows), column),
            [(Encoding::PLAIN, 1)]
        );
    }
    assert_same(&[vec![rows]]);
}

#[test]
fn an_array_of_another_type_is_refused() {
    let format = format();
    let crate::parquet::format::ColumnFormat::Leaf(count) = &format.columns[4] else {
        panic!("not a leaf");
    };
    let mut column = super::ColumnChunkEncoder::new(count, 0).unwrap();
    let mut shared = super::SharedBuffers::new(format.zstd_level).unwrap();
    let array: arrow::array::ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    assert!(column.write(&array, &mut shared).is_err());
}
