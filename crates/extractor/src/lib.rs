//! The export API and its blobs: credentials, listing, rate budget, signed URLs, resumable downloads, spools;
//! and blobs that are already on disk.
//!
//! Data flow: a [`Credential`] signs in, [`ExportApi`] asks for a [`Listing`] within the [`RateBudget`], [`UrlSource`] keeps
//! its signed URLs fresh, [`BlobSource`] fetches each blob's compressed body whole into a [`Spool`]. Folders, from the bottom:
//! `http/`, `api/`, `blobs/`; each uses only those before it, the error and the service's answer.
//! What the bytes mean is the transformer's business. Retries happen here, by one [`RetryPolicy`], and nowhere above.
//!
//! | value | may be seen by |
//! |---|---|
//! | bearer token | the API's host, nobody else |
//! | client secret | the sign-in authority's host |
//! | signed URL's query | the blob store's host; never a log, an error or a file |

mod api;
mod blobs;
mod error;
mod http;
mod limits;
mod service_answer;

pub use api::{
    ApiSettings, Credential, ExportApi, Listing, ListingRequest, RateBudget, RateBudgetSettings,
    SignedUrl, TokenSource, Wait, WaitObserver, prepare_state_folder,
};
pub use blobs::{
    BlobSource, BlobStoreClient, LocalBlob, Progress, Spool, SpoolBudget, SpoolReader, UrlSource,
    discover,
};
pub use error::ExtractorError;
pub use http::{Clock, HttpClient, RetryPolicy};
pub use service_answer::ServiceAnswer;
