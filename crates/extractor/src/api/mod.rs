//! The export API: credentials, the export call within the rate budget, and the listing of signed URLs that it answers.
//!
//! Requests no blob: what a signed URL leads to is the business of `blobs/`. Uses `http/`.

pub(crate) mod call;
pub(crate) mod credentials;
pub(crate) mod listing;
pub(crate) mod rate_budget;
mod rate_budget_file;
pub(crate) mod signed_url;
mod state_folder;
pub(crate) mod token_source;

pub use call::{ApiSettings, ExportApi, ListingRequest};
pub use credentials::Credential;
pub use listing::Listing;
pub use rate_budget::{RateBudget, RateBudgetSettings, Wait, WaitObserver};
pub use signed_url::SignedUrl;
pub use state_folder::prepare_state_folder;
pub use token_source::TokenSource;
