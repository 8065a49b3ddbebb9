//! The place that a lake is in: a local folder, or a prefix in an S3 bucket or an Azure container. What tells them apart is here.
//!
//! Objects and documents by path, conditional puts, locks and leases, uploads, what dead runs left of them, and how long a store may
//! take. Knows no table.

pub(crate) mod backend;
pub(crate) mod contention;
pub(crate) mod deleter;
pub(crate) mod document;
pub(crate) mod document_writer;
pub(crate) mod environment;
pub(crate) mod failpoint;
pub(crate) mod folder;
pub(crate) mod http;
pub(crate) mod identity;
pub(crate) mod lake;
pub(crate) mod lease;
pub(crate) mod leftovers;
pub(crate) mod local_disk;
pub(crate) mod object;
pub(crate) mod options;
pub(crate) mod part_buffer;
pub(crate) mod patience;
pub(crate) mod remote;
pub(crate) mod sent_secrets;
pub(crate) mod small_files;
pub(crate) mod sorted_folder;
pub(crate) mod text_flaw;
pub(crate) mod upload;
pub(crate) mod value;
