//! A table's folder on local disk as Delta's kernel wants an object store: with sorted listings. The kernel reads the log through it, and
//! writes the hint to the last checkpoint. What this program writes itself comes another way, as
//! [`crate::store::document_writer::DocumentWriter`]s. Deletes and copies nothing.
//!
//! Reads and writes where it is polled, which is a thread of the kernel's own: many threads that read a long log left twice the memory
//! behind.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

use crate::layout;
use crate::store::local_disk::LocalDisk;

/// The table's folder.
#[derive(Debug)]
pub(crate) struct SortedFolder {
    disk: LocalDisk,
    dataset: String,
}

impl fmt::Display for SortedFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SortedFolder({})", self.dataset)
    }
}

impl SortedFolder {
    pub(crate) fn new(disk: &LocalDisk, dataset: &str) -> Self {
        Self {
            disk: disk.clone(),
            dataset: dataset.to_owned(),
        }
    }

    fn path(&self, location: &Path) -> String {
        format!("{}/{location}", layout::table(&self.dataset))
    }

    fn read(&self, location: &Path, options: &GetOptions) -> Result<GetResult> {
        let failed = |error| failed(location, error);
        let mut file = self.disk.open(&self.path(location)).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        let meta = ObjectMeta {
            location: location.clone(),
            last_modified: found.modified().map_err(failed)?.into(),
            size: found.len(),
            e_tag: None,
            version: None,
        };
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => {
                let range = range.as_range(meta.size);
                range.map_err(|error| failed(io::Error::other(error)))?
            }
            None => 0..meta.size,
        };
        let content = match options.head {
            true => Bytes::new(),
            false => read(&mut file, &range).map_err(failed)?,
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::iter([Ok(content)]).boxed()),
            meta,
            range,
            attributes: Attributes::new(),
        })
    }

    /// Files below a folder of the table that come after `offset`, sorted.
    fn sorted(&self, prefix: Option<&Path>, offset: Option<&Path>) -> Result<Vec<ObjectMeta>> {
        let table = layout::table(&self.dataset);
        let folder = prefix.map_or(table.clone(), |prefix| self.path(prefix));
        let listed = self.disk.list_with_times(&folder);
        let listed = listed.map_err(|error| failed(&Path::from(folder), error))?;
        let metas = listed.into_iter().filter_map(|(file, modified)| {
            let location = file.path.strip_prefix(&table)?.strip_prefix('/')?;
            Some(meta_of(location, file.bytes, modified))
        });
        Ok(metas
            .filter(|meta| offset.is_none_or(|offset| meta.location > *offset))
            .collect())
    }

    fn cannot(&self, operation: &str) -> Error {
        Error::NotImplemented {
            operation: operation.to_owned(),
            implementer: self.to_string(),
        }
    }
}

fn meta_of(location: &str, size: u64, last_modified: DateTime<Utc>) -> ObjectMeta {
    ObjectMeta {
        location: Path::from(location),
        last_modified,
        size,
        e_tag: None,
        version: None,
    }
}

fn read(file: &mut std::fs::File, range: &Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    file.seek(SeekFrom::Start(range.start))?;
    let mut content = vec![0; length];
    file.read_exact(&mut content)?;
    Ok(content.into())
}

fn failed(location: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound {
            path: location.to_string(),
            source: error.into(),
        },
        _ => Error::Generic {
            store: "local disk",
            source: error.into(),
        },
    }
}

fn streamed(listed: Result<Vec<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
    match listed {
        Ok(metas) => stream::iter(metas.into_iter().map(Ok)).boxed(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    }
}

#[async_trait]
impl ObjectStore for SortedFolder {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if options.mode != PutMode::Overwrite {
            return Err(self.cannot("put under a condition"));
        }
        let content: Vec<u8> = payload.iter().flatten().copied().collect();
        let temporary = layout::control(&self.dataset);
        let written = self.disk.write(&self.path(location), &temporary, &content);
        written.map_err(|error| failed(location, error))?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(self.cannot("multipart upload"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read(location, &options)
    }

    fn delete_stream(
        &self,
        _locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        stream::iter([Err(self.cannot("delete"))]).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        streamed(self.sorted(prefix, None))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        streamed(self.sorted(prefix, Some(offset)))
    }

    async fn list_with_delimiter(&self, _prefix: Option<&Path>) -> Result<ListResult> {
        Err(self.cannot("list with a delimiter"))
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        Err(self.cannot("copy"))
    }
}
