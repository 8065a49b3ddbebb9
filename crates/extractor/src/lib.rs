//! The export API and its blobs: credentials, listing, rate budget, signed URLs, resumable downloads, spools;
//! and blobs that are already on disk.
//!
//! Data flow: a [`Credential`] signs in, [`ExportApi`] asks for a [`Listing`] within the [`RateBudget`], [`UrlSource`] keeps
//! its signed URLs fresh, [`BlobSource`] fetches each blob's compressed body whole into a [`Spool`]. Folders, from the bottom:
//! `http/`, `api/`, `blobs/`; each uses only those before it, the error and the service's answer.
//!
//! Paged JSON comes by another way to the same place: [`PagedApi`] asks page after page, with the same sign-in, budget and
//! retries, and stores each as a gzip file of JSON lines. [`LocalBlob::of_pages`] makes blobs of these for [`BlobSource::files`],
//! with blob paths as the files of an export have them, so that nothing after it knows the difference. A fetch that was
//! interrupted goes on after the last stored page; [`FetchedPages::delete`] ends it once the rows are published.
//!
//! What the bytes mean is the transformer's business. Retries happen here, by one [`RetryPolicy`], and nowhere above.
//!
//! | value | may be seen by |
//! |---|---|
//! | bearer token | the API's host, nobody else |
//! | client secret | the sign-in authority's host |
//! | signed URL's query | the blob store's host; never a log, an error or a file |
//! | next link's query | the API's host and the folder of the stored pages; never a log or an error |

mod api;
mod blobs;
mod error;
mod http;
mod limits;
mod service_answer;

pub use api::{
    ApiSettings, Credential, ExportApi, FetchedPages, Listing, ListingRequest, PageFile,
    PageLimits, PagedApi, PagesError, PagesRequest, RateBudget, RateBudgetSettings, SignedUrl,
    TokenSource, Wait, WaitObserver, prepare_state_folder,
};
pub use blobs::{
    BlobSource, BlobStoreClient, LocalBlob, Progress, Spool, SpoolBudget, SpoolReader, UrlSource,
    discover,
};
pub use error::ExtractorError;
pub use http::{Clock, HttpClient, RetryPolicy};
pub use service_answer::ServiceAnswer;
