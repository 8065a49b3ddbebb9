//! The export API and its blobs: credentials, listing, rate budget, signed URLs, resumable downloads, spools;
//! and blobs that already lie on disk.
//!
//! The way of the data: a [`Credential`] signs in, [`ExportApi`] asks for a [`Listing`] within the [`RateBudget`],
//! [`UrlSource`] keeps its signed URLs fresh, [`BlobSource`] brings each blob's compressed body whole into a [`Spool`].
//! What the bytes mean is the transformer's business. Retries happen here, by one [`RetryPolicy`], and nowhere above.
//!
//! | value | may be seen by |
//! |---|---|
//! | bearer token | the API's host, nobody else |
//! | client secret | the sign-in authority's host |
//! | signed URL's query | the blob store's host; never a log, an error or a file |

mod api;
mod blob_source;
mod blob_store;
mod clock;
mod credentials;
mod download;
mod error;
mod http_client;
mod listing;
mod local_files;
mod md5_lanes;
mod rate_budget;
mod rate_budget_file;
mod retry;
mod service_answer;
mod signed_url;
mod spool;
mod state_folder;
mod url_source;

pub use api::{ApiSettings, ExportApi, ListingRequest};
pub use blob_source::BlobSource;
pub use blob_store::{BlobHead, BlobStoreClient};
pub use clock::Clock;
pub use credentials::Credential;
pub use download::Progress;
pub use error::ExtractorError;
pub use http_client::{HttpClient, HttpSettings};
pub use listing::Listing;
pub use local_files::{LocalBlob, discover};
pub use rate_budget::{RateBudget, RateBudgetSettings, Wait, WaitObserver};
pub use retry::{Jitter, RetryPolicy};
pub use service_answer::ServiceAnswer;
pub use signed_url::SignedUrl;
pub use spool::{Spool, SpoolBudget, SpoolReader};
pub use state_folder::prepare_state_folder;
pub use url_source::UrlSource;
