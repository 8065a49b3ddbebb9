//! Page after page of an endpoint, until there is no next link: each stored before the next is asked for.
//!
//! | what happens | what is done |
//! |---|---|
//! | 400, 404 or 410 for a next link | once more from the first page, then [`PagesError::NextLinkExpired`] |
//! | next links of two snapshots | [`ExtractorError::SnapshotReplaced`], nothing is kept |
//! | a link that was asked for before; pages without rows, one after the other | [`PagesError::Endless`], nothing is kept |
//! | 404 for the first page, where the request says so | no rows |
//! | anything that can pass, or an exhausted budget | an error; what is stored is kept for the next fetch |
//!
//! Doubles are not removed: pages of an endpoint without snapshots shift under way, and what a double is the schema says.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use url::Url;

use crate::api::call::{Answer, Api, Endpoint};
use crate::api::pages::error::PagesError;
use crate::api::pages::fetched::FetchedPages;
use crate::api::pages::next_link::accept;
use crate::api::pages::page_body::{NotCopied, PageBody, copy_rows};
use crate::api::pages::request::PagesRequest;
use crate::api::pages::skip_token::snapshot_time;
use crate::api::pages::stored::{
    PageRecord, PagesDocument, PagesFolder, RequestIdentity, WholePage,
};
use crate::api::rate_budget::RateBudget;
use crate::api::token_source::TokenSource;
use crate::error::ExtractorError;
use crate::http::arriving_body::{BodyBounds, parse_arriving};
use crate::http::blocking::blocking;
use crate::http::client::HttpClient;
use crate::http::clock::Clock;
use crate::http::retry::{RetryPolicy, Setback};
use crate::http::safe_url::{bare, secure_base};
use crate::service_answer::ServiceAnswer;

/// The longest wait for a whole page: 1 GiB at 600 KB a second.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Pages without rows, one after the other, that are asked beyond.
const MAX_EMPTY_PAGES: usize = 3;
const BAD_REQUEST_HINT: &str = "see the dataset's endpoint and the query of its pages";

/// The API's endpoints that answer page by page.
#[derive(Debug)]
pub struct PagedApi {
    api: Api,
}

impl PagedApi {
    /// Checks the base URL, which must be https, or http on loopback; makes no request. `budget` has the limits of the
    /// endpoint: calls are counted by application, tenant and endpoint.
    pub fn new(
        base_url: &str,
        retry: RetryPolicy,
        tokens: Arc<TokenSource>,
        budget: RateBudget,
        http: HttpClient,
        clock: Clock,
    ) -> Result<Self, ExtractorError> {
        let base_url = secure_base("api", base_url)?;
        Ok(Self {
            api: Api {
                base_url,
                retry,
                tokens,
                budget,
                http,
                clock,
            },
        })
    }

    /// Fetches all pages into `folder`, which is made where there is none and is used by nothing else. Goes on after the last
    /// page that an earlier fetch of the same request stored there, unless that was more than an hour ago.
    ///
    /// # Errors
    /// See [`PagesError`]. The folder keeps whole pages that the next fetch can go on from.
    pub async fn fetch(
        &self,
        request: &PagesRequest,
        folder: &Path,
    ) -> Result<FetchedPages, PagesError> {
        let fetch = Fetch::new(&self.api, request, folder).await?;
        let fetched = match fetch.all(fetch.stored().await?).await {
            Err(error @ PagesError::NextLinkExpired { .. }) => {
                tracing::warn!(%error, "beginning again with the first page");
                fetch.clear().await?;
                fetch.all(None).await
            }
            fetched => fetched,
        };
        match fetched {
            Ok(document) => Ok(FetchedPages::new(&document, fetch.folder)?),
            Err(error) => {
                if !can_go_on_after(&error)
                    && let Err(left) = fetch.clear().await
                {
                    tracing::warn!(error = %left, "pages that are of no use could not be deleted");
                }
                Err(error)
            }
        }
    }
}

/// Whether the stored pages are good, so that another fetch may go on from them.
fn can_go_on_after(error: &PagesError) -> bool {
    match error {
        PagesError::Call(ExtractorError::SnapshotReplaced { .. }) => false,
        PagesError::Call(_) | PagesError::Folder { .. } | PagesError::FolderInUse { .. } => true,
        PagesError::Malformed { .. }
        | PagesError::NextLinkRefused { .. }
        | PagesError::NextLinkExpired { .. }
        | PagesError::Endless { .. } => false,
    }
}

/// One fetch.
struct Fetch<'a> {
    api: &'a Api,
    request: &'a PagesRequest,
    endpoint: Endpoint,
    first_page: Url,
    identity: RequestIdentity,
    folder: PagesFolder,
}

/// A page that was read to its end, and is stored nowhere yet.
struct NewPage {
    body: PageBody,
    file: WholePage,
    date: Option<DateTime<Utc>>,
}

impl<'a> Fetch<'a> {
    async fn new(
        api: &'a Api,
        request: &'a PagesRequest,
        folder: &Path,
    ) -> Result<Self, PagesError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if request.export_name.is_empty() || !request.export_name.chars().all(plain) {
            return Err(PagesError::Call(ExtractorError::InvalidSetting {
                setting: "export name",
                reason: "has other characters than letters, digits, `-` and `_`".to_owned(),
            }));
        }
        let endpoint = api.endpoint(
            &request.endpoint,
            &request.permission,
            BAD_REQUEST_HINT,
            PAGE_TIMEOUT,
        )?;
        let mut first_page = endpoint.url.clone();
        if !request.query.is_empty() {
            first_page.query_pairs_mut().extend_pairs(&request.query);
        }
        let identity = RequestIdentity {
            caller: api.tokens.credential().caller(),
            url: bare(&endpoint.url),
            query: request.query.clone(),
            export_name: request.export_name.clone(),
            org_id: request.org_id.clone(),
        };
        let folder = folder.to_owned();
        Ok(Self {
            api,
            request,
            endpoint,
            first_page,
            identity,
            folder: blocking(move || PagesFolder::open(&folder)).await?,
        })
    }

    /// What an earlier fetch stored. What is of no use is deleted.
    async fn stored(&self) -> Result<Option<PagesDocument>, PagesError> {
        let (folder, identity) = (self.folder.clone(), self.identity.clone());
        let now = self.api.clock.now();
        let loaded = blocking(move || folder.load(&identity, now)).await;
        match &loaded {
            Some(document) => {
                let pages = document.pages.len();
                tracing::info!(pages, url = %bare(&self.endpoint.url), "going on after stored pages");
            }
            None => self.clear().await?,
        }
        Ok(loaded)
    }

    async fn clear(&self) -> Result<(), PagesError> {
        let folder = self.folder.clone();
        blocking(move || folder.clear()).await
    }

    /// Stores all pages after those that are stored.
    async fn all(&self, stored: Option<PagesDocument>) -> Result<PagesDocument, PagesError> {
        let mut document = match stored {
            Some(document) if document.next_link.is_none() => return Ok(document),
            Some(document) => document,
            None => PagesDocument::new(self.identity.clone(), self.api.clock.now()),
        };
        let mut next = match &document.next_link {
            Some(link) => Some(accept(&self.endpoint.url, link)?),
            None => Some(self.first_page.clone()),
        };
        // Hashes, since a link may be long. That two of 10,000 are the same by chance happens once in 10^11 fetches.
        let (hasher, mut asked) = (RandomState::new(), HashSet::new());
        for url in [Some(&self.first_page), next.as_ref()]
            .into_iter()
            .flatten()
        {
            asked.insert(hasher.hash_one(url.as_str()));
        }
        while let Some(url) = next {
            self.check_bounds(&document)?;
            let page = match self.page(&url).await {
                Ok(page) => page,
                Err(error) if document.pages.is_empty() => return self.without_pages(error),
                Err(error) => return Err(expired(error)),
            };
            next = match &page.body.next_link {
                Some(link) => Some(accept(&self.endpoint.url, link)?),
                None => None,
            };
            if let Some(link) = &next {
                if !asked.insert(hasher.hash_one(link.as_str())) {
                    return Err(self.endless("a next link was asked for before".to_owned()));
                }
                document.snapshot_time = same_snapshot(document.snapshot_time, link)?;
            }
            document = self.store(document, page).await?;
        }
        tracing::info!(
            pages = document.pages.len(),
            rows = document.pages.iter().map(|page| page.rows).sum::<u64>(),
            url = %bare(&self.endpoint.url),
            "all pages stored"
        );
        Ok(document)
    }

    fn check_bounds(&self, document: &PagesDocument) -> Result<(), PagesError> {
        let limits = &self.request.limits;
        let empty = document.pages.iter().rev();
        let empty = empty.take_while(|page| page.rows == 0).count();
        if empty > MAX_EMPTY_PAGES {
            return Err(self.endless(format!("{empty} pages have no rows, one after the other")));
        }
        if document.pages.len() >= limits.pages as usize {
            return Err(self.endless(format!("more than {} pages", limits.pages)));
        }
        if document.bytes >= limits.total_bytes {
            return Err(self.endless(format!("more than {} bytes", limits.total_bytes)));
        }
        Ok(())
    }

    fn endless(&self, reason: String) -> PagesError {
        PagesError::Endless {
            url: bare(&self.endpoint.url),
            reason,
        }
    }

    /// The first page could not be had: no rows, if that is what it means.
    fn without_pages(&self, error: PagesError) -> Result<PagesDocument, PagesError> {
        match &error {
            PagesError::Call(ExtractorError::UnexpectedAnswer { answer, .. })
                if answer.status == 404 && self.request.not_found_is_empty =>
            {
                tracing::info!(url = %bare(&self.endpoint.url), "no page is found: there are no rows");
                Ok(PagesDocument::new(
                    self.identity.clone(),
                    self.api.clock.now(),
                ))
            }
            _ => Err(error),
        }
    }

    /// One page, with as many attempts as the policy allows.
    async fn page(&self, url: &Url) -> Result<NewPage, PagesError> {
        let mut call = self.api.call(&self.endpoint);
        loop {
            let setback = match call.send(url).await {
                Ok(answer) => match self.receive(url, answer).await {
                    Ok(page) => return Ok(page),
                    Err(PagesError::Call(error)) => Setback::from(error),
                    Err(error) => return Err(error),
                },
                Err(setback) => setback,
            };
            call.recover(setback).await?;
        }
    }

    /// Copies the rows of an answer, as they arrive, to a file that has no name yet.
    async fn receive(&self, url: &Url, answer: Answer) -> Result<NewPage, PagesError> {
        let bounds = BodyBounds {
            bytes: self.request.limits.page_bytes,
            pace_window: self.api.http.no_progress_timeout(),
        };
        let folder = self.folder.clone();
        let copied = parse_arriving(url, answer.response, bounds, move |body| {
            let mut page = folder.new_page().map_err(NotCopied::Write)?;
            let body = copy_rows(body, &mut page.lines)?;
            Ok((body, page.finish().map_err(NotCopied::Write)?))
        });
        match copied.await? {
            Ok((body, file)) => Ok(NewPage {
                body,
                file,
                date: answer.date,
            }),
            // As a broken connection: a proxy may have ended the body properly.
            Err(NotCopied::Cut) => Err(PagesError::Call(ExtractorError::Connection {
                url: bare(url),
                reason: "the answer ends within its JSON".to_owned(),
            })),
            Err(NotCopied::Malformed(reason)) => Err(PagesError::Malformed {
                url: bare(url),
                reason,
            }),
            Err(NotCopied::Write(error)) => Err(self.folder.error(error)),
        }
    }

    /// Puts the page in its place, then says so in the document: after a crash between them the page is asked for again.
    async fn store(
        &self,
        mut document: PagesDocument,
        page: NewPage,
    ) -> Result<PagesDocument, PagesError> {
        let index = document.pages.len();
        if index == 0 {
            document.service_date = page.date;
        }
        document.stored_at = self.api.clock.now();
        document.bytes += page.body.bytes;
        document.next_link = page.body.next_link;
        document.pages.push(PageRecord {
            rows: page.body.rows,
            size: page.file.size,
        });
        tracing::debug!(page = index, rows = page.body.rows, "page stored");
        let (folder, file) = (self.folder.clone(), page.file);
        blocking(move || {
            folder.keep(file, index)?;
            folder.save(&document)?;
            Ok(document)
        })
        .await
    }
}

/// What the service refuses of a link that it gave itself, it does not know any more.
fn expired(error: PagesError) -> PagesError {
    match error {
        PagesError::Call(ExtractorError::BadRequest { url, answer, .. }) => {
            PagesError::NextLinkExpired { url, answer }
        }
        PagesError::Call(ExtractorError::UnexpectedAnswer { url, answer }) if is_gone(&answer) => {
            PagesError::NextLinkExpired { url, answer }
        }
        error => error,
    }
}

fn is_gone(answer: &ServiceAnswer) -> bool {
    matches!(answer.status, 404 | 410)
}

/// The time of the snapshot after a further link.
fn same_snapshot(
    before: Option<DateTime<Utc>>,
    link: &Url,
) -> Result<Option<DateTime<Utc>>, PagesError> {
    match (before, snapshot_time(link)) {
        (Some(listed), Some(now)) if listed != now => {
            Err(PagesError::Call(ExtractorError::SnapshotReplaced {
                listed: Some(listed),
                now: Some(now),
            }))
        }
        (before, of_link) => Ok(before.or(of_link)),
    }
}
