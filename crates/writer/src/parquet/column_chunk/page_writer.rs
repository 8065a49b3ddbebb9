//! Pages of a column chunk: compressed, each with its header, one after the other.

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter as _};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::PageEncodingStats;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use zstd::bulk::Compressor;

/// Compresses pages; one serves all columns of a row group.
pub(super) struct PageCompressor {
    level: ZstdLevel,
    zstd: Compressor<'static>,
    compressed: Vec<u8>,
}

impl std::fmt::Debug for PageCompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageCompressor").finish_non_exhaustive()
    }
}

impl PageCompressor {
    pub(super) fn new(level: ZstdLevel) -> Result<Self> {
        let zstd = Compressor::new(level.compression_level());
        Ok(Self {
            level,
            zstd: zstd.map_err(|error| ParquetError::External(error.into()))?,
            compressed: Vec::new(),
        })
    }

    /// What the chunk's metadata say of the pages.
    pub(super) fn compression(&self) -> Compression {
        Compression::ZSTD(self.level)
    }

    fn compress(&mut self, page: &[u8]) -> Result<Bytes> {
        self.compressed.clear();
        self.compressed
            .reserve(zstd::zstd_safe::compress_bound(page.len()));
        self.zstd
            .compress_to_buffer(page, &mut self.compressed)
            .map_err(|error| ParquetError::External(error.into()))?;
        Ok(Bytes::copy_from_slice(&self.compressed))
    }
}

/// What a chunk's metadata say of pages that were written. All of a chunk are compressed, or none is.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// Bytes of all pages before compression, with their headers.
    pub(super) uncompressed_bytes: usize,
    /// Levels in data pages: rows, and the items of lists beyond the first.
    pub(super) values: usize,
    pub(super) encodings: Vec<PageEncodingStats>,
}

impl Pages {
    /// Appends a page of levels and values to `out`, with its header.
    pub(super) fn add_data(
        &mut self,
        page: &[u8],
        values: usize,
        encoding: Encoding,
        compressor: Option<&mut PageCompressor>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        self.values += values;
        let data = Page::DataPage {
            buf: body(page, compressor)?,
            num_values: values as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        self.add(data, page.len(), out)
    }

    /// Appends the page of a dictionary with `values` values to `out`, with its header.
    pub(super) fn add_dictionary(
        &mut self,
        page: &[u8],
        values: usize,
        compressor: Option<&mut PageCompressor>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let dictionary = Page::DictionaryPage {
            buf: body(page, compressor)?,
            num_values: values as u32,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        self.add(dictionary, page.len(), out)
    }

    fn add(&mut self, page: Page, uncompressed_bytes: usize, out: &mut Vec<u8>) -> Result<()> {
        self.count(page.page_type(), page.encoding());
        let mut sink = TrackedWrite::new(out);
        let written = SerializedPageWriter::new(&mut sink)
            .write_page(CompressedPage::new(page, uncompressed_bytes))?;
        // What is buffered goes out when the sink is let go.
        sink.into_inner()?;
        self.uncompressed_bytes += written.uncompressed_size;
        Ok(())
    }

    fn count(&mut self, page_type: PageType, encoding: Encoding) {
        match self.encodings.last_mut() {
            Some(last) if last.page_type == page_type && last.encoding == encoding => {
                last.count += 1;
            }
            _ => self.encodings.push(PageEncodingStats {
                page_type,
                encoding,
                count: 1,
            }),
        }
    }

    /// Begins the next chunk.
    pub(super) fn clear(&mut self) {
        self.uncompressed_bytes = 0;
        self.values = 0;
        self.encodings.clear();
    }
}

/// What a page holds in the file. Without compressor, it is what it holds.
fn body(page: &[u8], compressor: Option<&mut PageCompressor>) -> Result<Bytes> {
    match compressor {
        Some(compressor) => compressor.compress(page),
        None => Ok(Bytes::copy_from_slice(page)),
    }
}
