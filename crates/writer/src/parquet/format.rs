//! What every Parquet file of one snapshot has in common: schema, encodings, statistics, bloom filter, footer.
//!
//! Holds nothing that differs between two runs over the same snapshot, so that the files are the same byte for byte.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use dataset::{Dataset, Snapshot};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

use crate::error::{Error, Result};
use crate::layout::LAYOUT_VERSION;
use crate::parquet::arrow_chunks::ArrowChunkFormat;
use crate::parquet::buffers::KeptBuffers;
use crate::parquet::column_chunk::{BloomFilterSettings, ColumnChunkFormat};
use crate::parquet::footer::ParquetFileFormat;
use crate::parquet::statistics;

/// Largest dictionary of a column in a row group. Larger ones cost memory (a hash table a column) and, measured, bytes.
const DICTIONARY_BYTES: usize = 16 << 10;
/// The same for times: 512 of them. Times that differ more are smaller as differences.
const TIME_DICTIONARY_BYTES: usize = 4 << 10;
/// Share of lookups for an absent key that the bloom filter lets through.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// Which readers files are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compatibility {
    /// Those of today: zstd, and times as differences where they are shorter so.
    Modern,
    /// Older ones and small ones too: snappy, and values plain or by dictionary. Costs bytes and time.
    Broad,
}

/// How Parquet files are written. The values are the pipeline's to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParquetSettings {
    /// Most rows of a row group: the unit of encoding, of memory and of a reader's parallelism.
    pub row_group_rows: usize,
    /// Level of zstd, 1 to 22.
    pub zstd_level: i32,
    /// Which readers the files are for.
    pub compatibility: Compatibility,
}

/// The format of one snapshot's files; shared by all that encode and write them.
#[derive(Debug)]
pub struct FileFormat {
    pub(crate) snapshot: Snapshot,
    pub(crate) schema: SchemaRef,
    pub(crate) file: Arc<ParquetFileFormat>,
    pub(crate) statistics_columns: Vec<StatisticsColumn>,
    /// In the file's order.
    pub(crate) columns: Vec<ColumnFormat>,
    pub(crate) zstd_level: ZstdLevel,
    row_group_rows: usize,
    /// For the content of row groups.
    pub(crate) buffers: KeptBuffers,
}

/// How the chunks of a column are written.
#[derive(Debug)]
pub(crate) enum ColumnFormat {
    /// A leaf.
    Leaf(Box<ColumnChunkFormat>),
    /// A top-level column with all its leaves.
    Whole(Box<ArrowChunkFormat>),
}

/// A column whose statistics are kept for the commit.
#[derive(Debug, Clone)]
pub(crate) struct StatisticsColumn {
    pub(crate) name: Arc<str>,
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

        let statistics_columns = schema.fields().iter().filter_map(|field| {
            let is_key = dataset.unique_key.contains(field.name());
            let leaf = statistics::is_kept(field.data_type(), is_key)
                .then(|| leaf_of(&parquet_schema, field.name()))??;
            Some(StatisticsColumn {
                name: field.name().as_str().into(),
                data_type: field.data_type().clone(),
                leaf,
            })
        });
        let statistics_columns = statistics_columns.collect();

        let zstd_level = ZstdLevel::try_new(settings.zstd_level).map_err(failed)?;
        let columns = column_formats(dataset, &schema, &parquet_schema, settings, zstd_level);
        // Of the file alone: pages and statistics are the columns' own. Rows are in no order, so no page could be skipped:
        // an index of pages would be 3% of the bytes for nothing.
        // No Arrow schema, though arrow-rs would read one: Parquet's own types say the same, and in a file of 50 rows it is a quarter of
        // the bytes.
        let properties = WriterProperties::builder()
            .set_created_by(format!("defender-lake version {program_version}"))
            .set_offset_index_disabled(true)
            .set_key_value_metadata(Some(footer(dataset, snapshot, program_version)))
            .build();

        let file = ParquetFileFormat::new(parquet_schema, &properties).map_err(failed)?;
        Ok(Self {
            snapshot: snapshot.clone(),
            schema,
            file: Arc::new(file),
            statistics_columns,
            columns,
            zstd_level,
            row_group_rows: settings.row_group_rows,
            buffers: KeptBuffers::default(),
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

    pub(crate) fn failed(&self, error: &parquet::errors::ParquetError) -> Error {
        Error::parquet(&self.snapshot.dataset, error)
    }
}

fn column_formats(
    dataset: &Dataset,
    schema: &Schema,
    parquet_schema: &SchemaDescriptor,
    settings: &ParquetSettings,
    zstd_level: ZstdLevel,
) -> Vec<ColumnFormat> {
    if settings.compatibility == Compatibility::Broad {
        let fields = schema.fields().iter();
        let format = |field: &Arc<Field>| ArrowChunkFormat::new(field, Compression::SNAPPY);
        return fields
            .map(|field| ColumnFormat::Whole(Box::new(format(field))))
            .collect();
    }
    let is_text = |name: &&String| {
        let field = schema.field_with_name(name);
        field.is_ok_and(|field| *field.data_type() == DataType::Utf8)
    };
    let first_text_key = dataset.unique_key.iter().find(is_text);
    let leaf_format = |descriptor: &ColumnDescPtr, data_type: &DataType| {
        let is_nested = descriptor.path().parts().len() > 1;
        let is_only_key = !is_nested
            && matches!(dataset.unique_key.as_slice(), [only] if only == descriptor.name());
        let is_first_key =
            !is_nested && first_text_key.is_some_and(|name| name == descriptor.name());
        ColumnChunkFormat {
            descriptor: descriptor.clone(),
            data_type: if is_nested {
                DataType::Utf8
            } else {
                data_type.clone()
            },
            dictionary_bytes: match data_type {
                // No value comes twice: a dictionary would only be tried and thrown away.
                _ if is_only_key => 0,
                DataType::Timestamp(..) => TIME_DICTIONARY_BYTES,
                _ => DICTIONARY_BYTES,
            },
            // Of keys and values in maps and lists no reader makes use, and they are most of the values.
            has_statistics: !is_nested,
            bloom_filter: is_first_key.then_some(BloomFilterSettings {
                values: settings.row_group_rows as u64,
                false_positives: BLOOM_FALSE_POSITIVES,
            }),
        }
    };
    let mut formats = Vec::with_capacity(parquet_schema.num_columns());
    let mut last_root = None;
    for (leaf, descriptor) in parquet_schema.columns().iter().enumerate() {
        let root = parquet_schema.get_column_root_idx(leaf);
        let field = schema.field(root);
        if is_list_of_structs(field.data_type()) {
            if last_root != Some(root) {
                let format = ArrowChunkFormat::new(field, Compression::ZSTD(zstd_level));
                formats.push(ColumnFormat::Whole(Box::new(format)));
            }
        } else {
            let format = leaf_format(descriptor, field.data_type());
            formats.push(ColumnFormat::Leaf(Box::new(format)));
        }
        last_root = Some(root);
    }
    formats
}

/// Whether a column is left to the parquet crate.
fn is_list_of_structs(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(item) if matches!(item.data_type(), DataType::Struct(_)))
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
