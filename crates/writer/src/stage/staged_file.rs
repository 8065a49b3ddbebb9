//! Encoded row groups to one Parquet file in the store, uploaded while it grows and left invisible.
//!
//! Memory: the row group being appended and two upload parts, whatever the size of the file. On local disk a row group goes to the
//! file from where it is, unless it is small.

use std::sync::Arc;

use bytes::Bytes;
use dataset::Partition;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::layout;
use crate::parquet::data_file::DataFile;
use crate::parquet::footer::ParquetFile;
use crate::parquet::format::FileFormat;
use crate::parquet::row_group::EncodedRowGroup;
use crate::parquet::statistics::{self, Collected};
use crate::store::failpoint;
use crate::store::lake::Lake;
use crate::store::object::hexadecimal;
use crate::store::part_buffer::OpenPart;
use crate::store::small_files::SmallFileSpool;
use crate::store::upload::{OpenUpload, Upload, keep_whole};

/// A Parquet file that the store has whole and that no reader sees yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFile {
    /// The file as the table will list it.
    #[serde(flatten)]
    pub data: DataFile,
    /// What completes or aborts the upload.
    pub upload: OpenUpload,
}

/// Sends a file's parts to the store, one after the other.
#[derive(Debug)]
struct PartSender {
    lake: Lake,
    path: String,
    staging_path: String,
    small_files: Arc<SmallFileSpool>,
    open: OpenPart,
    upload: Option<Upload>,
    bytes: u64,
    sha256: Sha256,
}

/// Writes one Parquet file to the store. Finish or abort it: what is dropped stays behind as an open upload.
#[derive(Debug)]
pub struct StagedFileWriter {
    format: Arc<FileFormat>,
    partition: Partition,
    file: ParquetFile,
    sender: PartSender,
    rows: u64,
    statistics: Option<Vec<Collected>>,
}

impl StagedFileWriter {
    /// Begins file `number` of the snapshot, in `partition`. Contacts no store yet. `run_id` names the run's
    /// staging folder; a file that stays small is kept in `small_files`, unless the lake is on local disk.
    ///
    /// # Errors
    /// [`Error::Parquet`]; [`Error::Malformed`] for a run id that is no file name.
    pub fn new(
        lake: &Lake,
        format: &Arc<FileFormat>,
        run_id: &str,
        partition: Partition,
        number: u32,
        small_files: &Arc<SmallFileSpool>,
    ) -> Result<Self> {
        if run_id.contains('/') || !layout::is_within_lake(run_id) {
            let message = "run id is not a file name".to_owned();
            return Err(Error::Malformed {
                path: run_id.to_owned(),
                message,
            });
        }
        let (dataset, snapshot) = (&format.snapshot.dataset, format.snapshot.id());
        Ok(Self {
            sender: PartSender {
                lake: lake.clone(),
                path: layout::part(dataset, &partition, &snapshot, number),
                staging_path: layout::staged_part(dataset, run_id, &partition, &snapshot, number),
                small_files: Arc::clone(small_files),
                open: OpenPart::in_lake(lake),
                upload: None,
                bytes: 0,
                sha256: Sha256::new(),
            },
            partition,
            file: ParquetFile::new(&format.file),
            format: format.clone(),
            rows: 0,
            statistics: None,
        })
    }

    /// Rows appended so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Appends a row group; one without rows adds nothing. Uploads the parts that it fills.
    ///
    /// # Errors
    /// What Parquet or the store answers; the file is then to be aborted.
    pub async fn append(&mut self, row_group: EncodedRowGroup) -> Result<()> {
        if row_group.rows == 0 {
            return Ok(());
        }
        let (rows, content) = (row_group.rows, row_group.content);
        let appended = self.file.append(rows, &content, row_group.columns);
        let [before, after] = appended.map_err(|error| self.format.failed(&error))?;
        for bytes in [before, content, after] {
            self.sender.add(bytes).await?;
        }
        self.rows += row_group.rows;
        statistics::add_row_group(&mut self.statistics, row_group.statistics);
        Ok(())
    }

    /// Writes the footer and uploads the rest. `None` if the file has no rows: nothing is staged then.
    ///
    /// # Errors
    /// What Parquet or the store answers; what was uploaded is then aborted.
    pub async fn finish(mut self) -> Result<Option<StagedFile>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let footer = self.file.finish();
        let uploaded = match footer.map_err(|error| self.format.failed(&error)) {
            Ok(footer) => self.sender.finish(footer).await,
            Err(error) => Err(error),
        };
        match uploaded {
            Ok(upload) => {
                failpoint::reached("staged");
                let statistics = self.statistics.into_iter().flatten();
                let data = DataFile {
                    path: self.sender.path,
                    partition: self.partition,
                    rows: self.rows,
                    bytes: self.sender.bytes,
                    sha256: hexadecimal(&self.sender.sha256.finalize()),
                    column_statistics: statistics.map(Collected::finish).collect(),
                };
                Ok(Some(StagedFile { data, upload }))
            }
            Err(error) => {
                // The first error is the one to report.
                let _ = self.sender.abort().await;
                Err(error)
            }
        }
    }

    /// Throws the file away.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn abort(self) -> Result<()> {
        self.sender.abort().await
    }
}

impl PartSender {
    /// Adds what comes next of the file. Sends the parts that it fills.
    async fn add(&mut self, mut bytes: Bytes) -> Result<()> {
        while let Some(part) = self.open.fill(&mut bytes) {
            self.send(part).await?;
        }
        Ok(())
    }

    /// Adds the end of the file, and waits until the store has all of it.
    async fn finish(&mut self, end: Bytes) -> Result<OpenUpload> {
        self.add(end).await?;
        let rest = self.open.take_rest();
        if self.upload.is_none()
            && let Some(kept) = keep_whole(&self.lake, &self.small_files, &rest).await?
        {
            self.count(&rest);
            return Ok(kept);
        }
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        match &mut self.upload {
            Some(upload) => upload.finish().await,
            None => Err(Error::Task {
                message: "a file with rows has no bytes".to_owned(),
            }),
        }
    }

    async fn send(&mut self, part: Bytes) -> Result<()> {
        self.count(&part);
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => none.insert(Upload::open(&self.lake, &self.path, &self.staging_path).await?),
        };
        upload.send(part).await
    }

    fn count(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    async fn abort(self) -> Result<()> {
        match self.upload {
            Some(upload) => upload.abort().await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::compute::concat_batches;
    use arrow::record_batch::RecordBatch;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::bloom_filter::Sbbf;
    use parquet::file::properties::ReaderProperties;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::file::serialized_reader::ReadOptionsBuilder;

    use super::*;
    use crate::fixtures::{batch, format, lakes, partition, paths, small_files, snapshot, stage};
    use crate::parquet::row_group::RowGroupEncoder;
    use crate::parquet::statistics::{Bounds, StringBounds};
    use crate::store::leftovers;
    use crate::store::part_buffer::PART_BYTES;

    async fn published(lake: &Lake, file: &StagedFile) -> Bytes {
        file.upload
            .complete(lake, &file.data.path, &file.data.sha256)
            .await
            .unwrap();
        lake.get(&file.data.path).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn every_column_type_comes_back_as_written() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            let snapshot = snapshot(26, 10);
            let file = stage(&lake, &snapshot, "run", 7, 3, 0..250).await.unwrap();
            let content = published(&lake, &file).await;
            assert_eq!(
                (file.data.rows, file.data.bytes),
                (250, content.len() as u64)
            );
            assert_eq!(file.data.sha256, hexadecimal(&Sha256::digest(&content)));

            let reader = ParquetRecordBatchReaderBuilder::try_new(content).unwrap();
            assert_eq!(reader.metadata().num_row_groups(), 3);
            let schema = format(&snapshot).schema().clone();
            for (read, written) in reader.schema().fields().iter().zip(schema.fields()) {
                assert_eq!(read.name(), written.name());
                assert_eq!(read.data_type(), written.data_type());
                assert_eq!(read.is_nullable(), written.is_nullable());
                // What columns mean is not in each of thousands of files.
                assert!(!written.metadata().is_empty() && read.metadata().is_empty());
            }
            assert_eq!(reader.schema().fields().len(), schema.fields().len());
            let batches: Vec<RecordBatch> =
                reader.build().unwrap().collect::<Result<_, _>>().unwrap();
            assert_eq!(
                concat_batches(&schema, &batches).unwrap(),
                batch(&snapshot, 0..250)
            );
        }
    }

    #[tokio::test]
    async fn footer_statistics_and_bloom_filter_say_what_is_inside() {
        let (_folder, [lake, ..]) = lakes();
        let snapshot = snapshot(26, 10);
        let file = stage(&lake, &snapshot, "run", 7, 3, 10..150).await.unwrap();
        let content = published(&lake, &file).await;
        let properties = ReaderProperties::builder()
            .set_read_bloom_filter(true)
            .build();
        let options = ReadOptionsBuilder::new()
            .with_reader_properties(properties)
            .build();
        let reader = SerializedFileReader::new_with_options(content, options).unwrap();

        let footer = reader
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .unwrap();
        let value = |key: &str| {
            footer
                .iter()
                .find(|entry| entry.key == key)
                .unwrap()
                .value
                .clone()
                .unwrap()
        };
        assert_eq!(value("defender_lake.dataset"), "devices");
        assert_eq!(value("defender_lake.snapshot"), "20220726T100100Z-47d41a0c");
        assert_eq!(
            value("defender_lake.generated_time"),
            "2022-07-26T10:01:00+00:00"
        );
        assert_eq!(value("defender_lake.layout_version"), "1");
        assert_eq!(
            value("defender_lake.schema_fingerprint"),
            crate::fixtures::dataset().fingerprint()
        );

        let row_group = reader.get_row_group(1).unwrap();
        let columns = row_group.metadata().columns().iter();
        let names: Vec<String> = columns
            .map(|column| column.column_path().string())
            .collect();
        let leaf = names.iter().position(|name| name == "device_id").unwrap();
        let filter: &Sbbf = row_group.get_column_bloom_filter(leaf).unwrap();
        assert!(filter.check(&format!("{:040x}", 149).as_str()));
        assert!(!filter.check(&format!("{:040x}", 999).as_str()));
        let statistics = row_group.metadata().column(leaf).statistics().unwrap();
        assert_eq!(
            statistics.min_bytes_opt().unwrap(),
            format!("{:040x}", 110).as_bytes()
        );

        let mut columns = file.data.column_statistics.iter();
        let key = columns.find(|column| &*column.column == "device_id");
        let bounds = StringBounds {
            min: format!("{:040x}", 10),
            max: format!("{:040x}", 149),
        };
        assert_eq!(key.unwrap().bounds, Some(Bounds::String(Box::new(bounds))));
    }

    #[tokio::test]
    async fn the_same_rows_give_the_same_bytes() {
        let (_folder, [local, memory, ..]) = lakes();
        let one = stage(&local, &snapshot(26, 10), "run 1", 7, 3, 0..250)
            .await
            .unwrap();
        let two = stage(&memory, &snapshot(26, 10), "run 2", 7, 3, 0..250)
            .await
            .unwrap();
        assert_eq!(one.data.sha256, two.data.sha256);
    }

    #[tokio::test]
    async fn row_groups_encoded_in_parallel_give_the_same_bytes() {
        let (_folder, [lake, ..]) = lakes();
        let snapshot = snapshot(26, 10);
        let expected = stage(&lake, &snapshot, "run 1", 7, 3, 0..300)
            .await
            .unwrap();
        let format = format(&snapshot);
        let encoders: Vec<_> = (0..3u64)
            .map(|index| {
                let (format, snapshot) = (format.clone(), snapshot.clone());
                std::thread::spawn(move || {
                    let mut encoder = RowGroupEncoder::new(&format).unwrap();
                    // In two batches: boundaries of batches leave no trace.
                    encoder
                        .write(&batch(&snapshot, index * 100..index * 100 + 30))
                        .unwrap();
                    encoder
                        .write(&batch(&snapshot, index * 100 + 30..(index + 1) * 100))
                        .unwrap();
                    encoder.finish().unwrap()
                })
            })
            .collect();
        let partition = partition(&snapshot, 7);
        let mut file =
            StagedFileWriter::new(&lake, &format, "run 2", partition, 3, &small_files()).unwrap();
        for encoder in encoders {
            file.append(encoder.join().unwrap()).await.unwrap();
        }
        assert_eq!(
            file.finish().await.unwrap().unwrap().data.sha256,
            expected.data.sha256
        );
    }

    #[tokio::test]
    async fn files_of_many_parts_arrive_whole() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            let part = |byte: u8| Bytes::from(vec![byte; PART_BYTES]);
            let mut upload = Upload::open(&lake, "t/x", "_lake/t/staging/r/x")
                .await
                .unwrap();
            for byte in 0..6 {
                upload.send(part(byte)).await.unwrap();
            }
            upload.send(Bytes::from_static(b"end")).await.unwrap();
            let open = upload.finish().await.unwrap();
            open.complete(&lake, "t/x", "").await.unwrap();
            let content = lake.get("t/x").await.unwrap().unwrap();
            assert_eq!(content.len(), 6 * PART_BYTES + 3);
            assert!(
                (0..6).all(|byte| content[byte * PART_BYTES..][..PART_BYTES] == part(byte as u8))
            );
        }
    }

    #[tokio::test]
    async fn staged_files_are_invisible_and_aborted_ones_leave_nothing() {
        let (folder, lakes) = lakes();
        for lake in lakes {
            let snapshot = snapshot(26, 10);
            let staged = stage(&lake, &snapshot, "run", 7, 3, 0..10).await.unwrap();
            assert!(paths(&lake, "devices").await.is_empty());
            if let OpenUpload::Whole { .. } = staged.upload {
                // The store has nothing of it.
                assert!(paths(&lake, "_lake/devices/staging/run").await.is_empty());
            }
            crate::abort(&lake, "devices", "run", std::slice::from_ref(&staged))
                .await
                .unwrap();
            crate::abort(&lake, "devices", "run", std::slice::from_ref(&staged))
                .await
                .unwrap_or_else(|error| {
                    // The store in memory, unlike S3, knows no second abort.
                    assert!(lake.to_string().starts_with("memory"), "{error}");
                });
            let is_on_disk = matches!(staged.upload, OpenUpload::File { .. });
            let (path, sha256) = (&staged.data.path, &staged.data.sha256);
            assert!(!is_on_disk || staged.upload.complete(&lake, path, sha256).await.is_err());
            assert!(paths(&lake, "_lake").await.is_empty());
        }
        assert!(!folder.path().join("lake/devices").exists());
    }

    #[tokio::test]
    async fn uploads_in_parts_are_aborted_with_their_notes() {
        let (_folder, [_, lake, ..]) = lakes();
        let mut upload = Upload::open(&lake, "t/x", "_lake/devices/staging/run/x")
            .await
            .unwrap();
        upload.send(Bytes::from_static(b"x")).await.unwrap();
        let open = upload.finish().await.unwrap();
        assert_eq!(paths(&lake, "_lake/devices/staging").await.len(), 1);
        open.abort(&lake, "t/x").await.unwrap();
        leftovers::clear(&lake, "devices", "run").await.unwrap();
        assert!(open.complete(&lake, "t/x", "").await.is_err());
        assert!(paths(&lake, "_lake").await.is_empty());
    }

    #[tokio::test]
    async fn an_upload_is_data_that_another_process_can_complete_twice() {
        let (_folder, [local, memory, ..]) = lakes();
        for lake in [local, memory] {
            let staged = stage(&lake, &snapshot(26, 10), "run", 7, 3, 0..10)
                .await
                .unwrap();
            let json = serde_json::to_string(&staged).unwrap();
            let other: StagedFile = serde_json::from_str(&json).unwrap();
            assert_eq!(other, staged);
            other
                .upload
                .complete(&lake, &other.data.path, &other.data.sha256)
                .await
                .unwrap();
            staged
                .upload
                .complete(&lake, &staged.data.path, &staged.data.sha256)
                .await
                .unwrap();
            assert_eq!(
                lake.checksum(&staged.data.path).await.unwrap(),
                staged.data.sha256
            );
        }
    }

    #[tokio::test]
    async fn files_without_rows_are_not_staged() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            assert_eq!(
                stage(&lake, &snapshot(26, 10), "run", 7, 3, 0..0).await,
                None
            );
            assert!(paths(&lake, "_lake").await.is_empty());
        }
    }

    #[test]
    fn batches_that_do_not_fit_are_refused() {
        let snapshot = snapshot(26, 10);
        let format = format(&snapshot);
        let mut encoder = RowGroupEncoder::new(&format).unwrap();
        let good = batch(&snapshot, 0..60);
        let missing = good.project(&[0, 1, 2]).unwrap();
        assert!(
            encoder
                .write(&missing)
                .unwrap_err()
                .to_string()
                .contains("3 columns")
        );
        let swapped = good
            .project(&[1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
            .unwrap();
        assert!(
            encoder
                .write(&swapped)
                .unwrap_err()
                .to_string()
                .contains("`rules`")
        );
        encoder.write(&good).unwrap();
        assert!(
            encoder
                .write(&good)
                .unwrap_err()
                .to_string()
                .contains("at most 100")
        );
    }

    #[test]
    fn run_ids_that_are_no_file_names_are_refused() {
        let (_folder, [lake, ..]) = lakes();
        let snapshot = snapshot(26, 10);
        for run_id in ["", "..", "a/b"] {
            let file = StagedFileWriter::new(
                &lake,
                &format(&snapshot),
                run_id,
                partition(&snapshot, 7),
                3,
                &small_files(),
            );
            assert!(matches!(file, Err(Error::Malformed { .. })), "{run_id}");
        }
    }

    #[test]
    fn encoders_and_writers_may_change_threads() {
        fn is_send<T: Send>() {}
        fn is_sync<T: Sync>() {}
        is_send::<RowGroupEncoder>();
        is_send::<EncodedRowGroup>();
        is_send::<StagedFileWriter>();
        is_sync::<FileFormat>();
    }
}
