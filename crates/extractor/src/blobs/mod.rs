//! Blobs, whole and compressed: from the blob store by signed URLs that are renewed, or from files on disk.
//!
//! Does not look into the bytes. Uses `http/`, and `api/` because a fresh listing renews the URLs.

mod download;
mod head;
mod local_files;
mod source;
mod spool;
mod store;
mod url_source;

pub use download::Progress;
pub use local_files::{LocalBlob, discover};
pub use source::BlobSource;
pub use spool::{Spool, SpoolBudget, SpoolReader};
pub use store::BlobStoreClient;
pub use url_source::UrlSource;
