//! Paged JSON: rows that the API gives page by page, each page stored whole before anything decodes it.
//!
//! Wire form (OData): `{"@odata.context": …, "value": [{…}, …], "@odata.nextLink": "…"}`, until there is no next link. The
//! JSON twins of the exports (`…ByMachine`), the delta and `/api/machines` answer so. `fetch.rs` asks page after page,
//! `page_body.rs` copies the rows of one as it arrives, `stored.rs` keeps pages and how far they go, `next_link.rs` says which
//! links are obeyed, `skip_token.rs` which snapshot one is of. Nothing here looks into a row.

mod error;
mod fetch;
mod fetched;
mod next_link;
mod page_body;
mod request;
mod skip_token;
mod stored;

pub use error::PagesError;
pub use fetch::PagedApi;
pub use fetched::{FetchedPages, PageFile};
pub use request::{PageLimits, PagesRequest};
