//! The export API: credentials, calls within the rate budget, the listing of signed URLs or the pages that they answer.
//!
//! Requests no blob: what a signed URL leads to is the business of `blobs/`. Uses `http/`.

pub(crate) mod call;
pub(crate) mod credentials;
pub(crate) mod export_api;
pub(crate) mod listing;
pub(crate) mod pages;
pub(crate) mod rate_budget;
mod rate_budget_file;
pub(crate) mod signed_url;
mod state_folder;
pub(crate) mod token_source;

pub use credentials::Credential;
pub use export_api::{ApiSettings, ExportApi, ListingRequest};
pub use listing::Listing;
pub use pages::{FetchedPages, PageFile, PageLimits, PagedApi, PagesError, PagesRequest};
pub use rate_budget::{RateBudget, RateBudgetSettings, Wait, WaitObserver};
pub use signed_url::SignedUrl;
pub use state_folder::prepare_state_folder;
pub use token_source::TokenSource;
