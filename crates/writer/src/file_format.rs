//! What every Parquet file of one snapshot has in common: schema, encodings, statistics, bloom filter, footer.
//!
//! Holds nothing that differs between two runs over the same snapshot, so that the files are the same byte for byte.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use dataset::{Dataset, Snapshot};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::add_encoded_arrow_schema_to_metadata;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, SchemaDescriptor, TypePtr};

use crate::error::{Error, Result};
use crate::layout::LAYOUT_VERSION;
use crate::statistics;

/// Statistics of longer strings are cut to this many bytes; they stay valid bounds.
const STATISTICS_BYTES: usize = 64;
/// Rows of a page: what a column holds uncompressed while it is written, 140 columns at a time.
const PAGE_ROWS: usize = 16 << 10;
/// Largest dictionary of a column in a row group. Larger ones cost memory (a hash table a column) and, measured, bytes.
const DICTIONARY_BYTES: usize = 16 << 10;
/// The same for times: 512 of them. Times that differ more are smaller as differences.
const TIME_DICTIONARY_BYTES: usize = 4 << 10;
/// Share of lookups for an absent key that the bloom filter lets through.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// How Parquet files are written. The values are the pipeline's to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParquetSettings {
    /// Most rows of a row group: the unit of encoding, of memory and of a reader's parallelism.
    pub row_group_rows: usize,
    /// Level of zstd, 1 to 22.
    pub zstd_level: i32,
}

/// The format of one snapshot's files; shared by all that encode and write them.
#[derive(Debug)]
pub struct FileFormat {
    pub(crate) snapshot: Snapshot,
    pub(crate) schema: SchemaRef,
    pub(crate) parquet_schema: TypePtr,
    pub(crate) properties: WriterPropertiesPtr,
    pub(crate) key_columns: Vec<KeyColumn>,
    pub(crate) statistics_columns: Vec<StatisticsColumn>,
    row_group_rows: usize,
    column_writers: ArrowRowGroupWriterFactory,
}

/// A string column of the unique key.
#[derive(Debug, Clone)]
pub(crate) struct KeyColumn {
    pub(crate) name: String,
    /// Index among the Parquet leaf columns.
    pub(crate) leaf: usize,
}

/// A column whose statistics are kept for the commit.
#[derive(Debug, Clone)]
pub(crate) struct StatisticsColumn {
    pub(crate) name: String,
    pub(crate) data_type: DataType,
    /// Index among the Parquet leaf columns.
    pub(crate) leaf: usize,
}

impl FileFormat {
    /// The format of `snapshot`'s files. `program_version` is written to the footer.
    ///
    /// # Errors
    /// [`Error::Parquet`] if a setting is out of range or the schema has no Parquet form.
    pub fn new(
        dataset: &Dataset,
        snapshot: &Snapshot,
        program_version: &str,
        settings: &ParquetSettings,
    ) -> Result<Self> {
        let failed = |error| Error::parquet(&dataset.name, &error);
        if settings.row_group_rows == 0 {
            let message = "row_group_rows is 0".to_owned();
            return Err(Error::Parquet {
                dataset: dataset.name.clone(),
                message,
            });
        }
        let schema = dataset.file_schema();
        let parquet_schema = ArrowSchemaConverter::new()
            .convert(&schema)
            .map_err(failed)?;
        let key_columns: Vec<_> = dataset
            .unique_key
            .iter()
            .filter(|name| {
                schema
                    .field_with_name(name)
                    .is_ok_and(|field| *field.data_type() == DataType::Utf8)
            })
            .filter_map(|name| {
                let leaf = leaf_of(&parquet_schema, name)?;
                Some(KeyColumn {
                    name: name.clone(),
                    leaf,
                })
            })
            .collect();

        let statistics_columns = schema.fields().iter().filter_map(|field| {
            let is_key = dataset.unique_key.contains(field.name());
            let leaf = statistics::is_kept(field.data_type(), is_key)
                .then(|| leaf_of(&parquet_schema, field.name()))??;
            Some(StatisticsColumn {
                name: field.name().clone(),
                data_type: field.data_type().clone(),
                leaf,
            })
        });
        let statistics_columns = statistics_columns.collect();

        let level = ZstdLevel::try_new(settings.zstd_level).map_err(failed)?;
        let mut properties = WriterProperties::builder()
            .set_created_by(format!("defender-lake version {program_version}"))
            .set_compression(Compression::ZSTD(level))
            .set_dictionary_enabled(true)
            .set_dictionary_page_size_limit(DICTIONARY_BYTES)
            .set_data_page_row_count_limit(PAGE_ROWS)
            // Rows are in no order, so no page could be skipped: an index of pages would be 3% of the bytes for nothing.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_statistics_truncate_length(Some(STATISTICS_BYTES))
            .set_column_index_truncate_length(Some(STATISTICS_BYTES))
            .set_max_row_group_row_count(Some(settings.row_group_rows))
            .set_key_value_metadata(Some(footer(dataset, snapshot, program_version)));
        if let Some(key) = key_columns.first() {
            let path = ColumnPath::from(key.name.as_str());
            // The writer folds the filter down to what the values need: a small file gets a small filter.
            properties = properties
                .set_column_bloom_filter_enabled(path.clone(), true)
                .set_column_bloom_filter_fpp(path.clone(), BLOOM_FALSE_POSITIVES)
                .set_column_bloom_filter_max_ndv(path, settings.row_group_rows as u64);
        }
        if let [only] = dataset.unique_key.as_slice() {
            // No value comes twice: a dictionary would only be tried and thrown away.
            properties =
                properties.set_column_dictionary_enabled(ColumnPath::from(only.as_str()), false);
        }
        for field in schema.fields() {
            if matches!(field.data_type(), DataType::Timestamp(..)) {
                // Takes over where there are too many different times for a dictionary.
                let path = ColumnPath::from(field.name().as_str());
                properties = properties
                    .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED)
                    .set_column_dictionary_page_size_limit(path, TIME_DICTIONARY_BYTES);
            }
        }
        for leaf in parquet_schema.columns() {
            if leaf.path().parts().len() > 1 {
                // Of keys and values in maps and lists no reader makes use, and they are most of the values.
                properties = properties
                    .set_column_statistics_enabled(leaf.path().clone(), EnabledStatistics::None);
            }
        }
        let mut properties = properties.build();
        add_encoded_arrow_schema_to_metadata(&schema, &mut properties);

        let properties = Arc::new(properties);
        let parquet_schema = parquet_schema.root_schema_ptr();
        // The factory can be made from a file writer only; this one writes nowhere.
        let nowhere =
            SerializedFileWriter::new(std::io::sink(), parquet_schema.clone(), properties.clone());
        let column_writers =
            ArrowRowGroupWriterFactory::new(&nowhere.map_err(failed)?, schema.clone());
        Ok(Self {
            snapshot: snapshot.clone(),
            schema,
            parquet_schema,
            properties,
            key_columns,
            statistics_columns,
            row_group_rows: settings.row_group_rows,
            column_writers,
        })
    }

    /// Schema that record batches must have.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The snapshot whose files these are.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Most rows of a row group.
    pub fn row_group_rows(&self) -> usize {
        self.row_group_rows
    }

    pub(crate) fn new_column_writers(&self) -> Result<Vec<ArrowColumnWriter>> {
        // The index matters to encrypted files only.
        self.column_writers
            .create_column_writers(0)
            .map_err(|error| self.failed(&error))
    }

    pub(crate) fn failed(&self, error: &parquet::errors::ParquetError) -> Error {
        Error::parquet(&self.snapshot.dataset, error)
    }
}

fn leaf_of(schema: &SchemaDescriptor, column: &str) -> Option<usize> {
    let mut leaves = schema.columns().iter();
    leaves.position(|leaf| leaf.path().parts() == [column])
}

/// Key-value metadata of the footer, all under the prefix `defender_lake.`.
fn footer(dataset: &Dataset, snapshot: &Snapshot, program_version: &str) -> Vec<KeyValue> {
    let entries = [
        ("dataset", dataset.name.clone()),
        ("snapshot", snapshot.id().to_string()),
        ("generated_time", snapshot.generated_time.to_rfc3339()),
        ("org_id", snapshot.org_id.to_string()),
        ("schema_fingerprint", dataset.fingerprint()),
        ("program_version", program_version.to_owned()),
        ("layout_version", LAYOUT_VERSION.to_string()),
    ];
    entries
        .into_iter()
        .map(|(key, value)| KeyValue::new(format!("defender_lake.{key}"), value))
        .collect()
}
