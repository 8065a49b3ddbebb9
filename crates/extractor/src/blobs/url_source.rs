//! The current signed URL of every blob of a snapshot, for any number of concurrent downloads.
//!
//! URLs live an hour or so, runs may live longer. When a URL is about to expire, or was refused, the listing is fetched
//! again: once, for all who wait. Blobs are matched by blob path: container and signature differ in every listing.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use dataset::BlobPath;
use tokio::sync::Mutex;

use crate::api::export_api::{ExportApi, ListingRequest};
use crate::api::listing::Listing;
use crate::api::signed_url::SignedUrl;
use crate::error::ExtractorError;
use crate::http::clock::Clock;

/// Gives signed URLs, fetching a new listing when they expire.
#[derive(Debug)]
pub struct UrlSource {
    api: Arc<ExportApi>,
    request: ListingRequest,
    clock: Clock,
    refresh_before: TimeDelta,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    generation: u64,
    /// By path.
    listing: Listing,
    /// Why the next listing could not be had: the error of all who ask for it from then on.
    failure: Option<ExtractorError>,
}

/// A URL and the generation of listings that it is of.
#[derive(Debug)]
pub(crate) struct CurrentUrl {
    pub(crate) url: SignedUrl,
    pub(crate) generation: u64,
}

impl UrlSource {
    /// Begins with the listing that a snapshot was planned from; `request` is how to ask for another. URLs are
    /// replaced `refresh_before` they expire, or after nine tenths of their life if that is sooner.
    pub fn new(
        api: Arc<ExportApi>,
        request: ListingRequest,
        listing: Listing,
        refresh_before: Duration,
        clock: Clock,
    ) -> Self {
        Self {
            api,
            request,
            clock,
            refresh_before: TimeDelta::from_std(refresh_before).unwrap_or(TimeDelta::MAX),
            current: Mutex::new(Current {
                generation: 0,
                listing: listing.by_path(),
                failure: None,
            }),
        }
    }

    /// A URL of the blob that is valid now, as far as its own times tell.
    pub(crate) async fn current(&self, blob: &BlobPath) -> Result<CurrentUrl, ExtractorError> {
        let mut current = self.current.lock().await;
        let url = current.find(blob)?;
        if self.remaining(&current, &url).is_some_and(|left| left <= self.margin(&current, &url))
            && let Err(error) = self.renew(&mut current).await
            // A URL that still has a moment is better than none.
            && self.remaining(&current, &url).is_none_or(|left| left <= TimeDelta::zero())
        {
            return Err(error);
        }
        Ok(CurrentUrl {
            url: current.find(blob)?,
            generation: current.generation,
        })
    }

    /// Fetches a new listing because a URL of `generation` was refused, unless another task has done so since.
    pub(crate) async fn refresh(&self, generation: u64) -> Result<(), ExtractorError> {
        let mut current = self.current.lock().await;
        if current.generation == generation {
            self.renew(&mut current).await
        } else {
            Ok(())
        }
    }

    async fn renew(&self, current: &mut Current) -> Result<(), ExtractorError> {
        if let Some(failure) = &current.failure {
            return Err(failure.clone());
        }
        tracing::info!("signed URLs expire: fetching the listing again");
        let listed = self.api.list(&self.request).await.and_then(|listing| {
            let listing = listing.by_path();
            if listing.same_snapshot(&current.listing) {
                Ok(listing)
            } else {
                Err(ExtractorError::SnapshotReplaced {
                    listed: current.listing.snapshot_time(),
                    now: listing.snapshot_time(),
                })
            }
        });
        match listed {
            Ok(listing) => {
                current.generation += 1;
                current.listing = listing;
                Ok(())
            }
            Err(error) => {
                current.failure = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Time until the URL expires by the service's clock; `None` if it does not say.
    fn remaining(&self, current: &Current, url: &SignedUrl) -> Option<TimeDelta> {
        Some(url.expires_at()? - (self.clock.now() + current.listing.clock_skew))
    }

    fn margin(&self, current: &Current, url: &SignedUrl) -> TimeDelta {
        let listed_at = current.listing.listed_at + current.listing.clock_skew;
        let life = url
            .expires_at()
            .map_or(TimeDelta::zero(), |end| end - listed_at);
        self.refresh_before.min(life / 10)
    }
}

impl Current {
    fn find(&self, blob: &BlobPath) -> Result<SignedUrl, ExtractorError> {
        let urls = &self.listing.blobs;
        match urls.binary_search_by(|url| url.blob_path().cmp(blob)) {
            Ok(index) => Ok(urls[index].clone()),
            Err(_) => Err(ExtractorError::BlobMissing {
                blob: blob.to_string(),
            }),
        }
    }
}
