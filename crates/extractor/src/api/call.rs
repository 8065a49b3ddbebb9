//! One authorised GET of the API, within the rate budget, its refusals explained: what the export call and pages share.
//!
//! | answer | what is done |
//! |---|---|
//! | 401 with a token that can be renewed | asked once more with a new token |
//! | 429 | `Retry-After` is kept in the rate budget; asked again when that allows it |
//! | 408, 5xx, broken connection | asked again after a backoff, few times: every call costs a part of the budget |
//! | anything else but 200 | an error |
//!
//! Does not read the body of a 200.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, Response};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::api::credentials::{Claims, Credential};
use crate::api::rate_budget::RateBudget;
use crate::api::token_source::TokenSource;
use crate::error::ExtractorError;
use crate::http::client::HttpClient;
use crate::http::clock::Clock;
use crate::http::headers::{date, retry_after};
use crate::http::response::{redirected, refusal, transport_error};
use crate::http::retry::{Attempts, RetryPolicy, Setback, can_pass};
use crate::http::safe_url::{bare, origin, secure_base};
use crate::service_answer::scrub;

/// The wait after a 429 that names none: the shorter of the service's two windows.
const UNNAMED_WAIT: Duration = Duration::from_secs(60);
/// A difference of the clocks from which on it is worth a warning.
const NOTABLE_SKEW: TimeDelta = TimeDelta::seconds(60);
/// Bytes of the shortest value of a query that is not shown.
const SHORTEST_SKIP_TOKEN: usize = 16;

/// The API as one application sees it.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) base_url: Url,
    pub(crate) retry: RetryPolicy,
    pub(crate) tokens: Arc<TokenSource>,
    pub(crate) budget: RateBudget,
    pub(crate) http: HttpClient,
    pub(crate) clock: Clock,
}

/// What is called, whatever the query.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Without query.
    pub(crate) url: Url,
    /// Which rate budget its calls are counted in: the service counts by application, tenant and endpoint.
    pub(crate) budget_key: String,
    /// The application permission that it needs, for the words of a refusal.
    permission: String,
    /// Which settings to look at when it refuses the request.
    bad_request_hint: &'static str,
    /// The longest wait for a whole answer.
    timeout: Duration,
}

/// A 200, its body not read yet.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response,
    /// By this machine's clock.
    pub(crate) answered_at: DateTime<Utc>,
    /// By the service's clock, if the answer had a `Date`.
    pub(crate) date: Option<DateTime<Utc>>,
    /// How far the service's clock is ahead; zero if the answer had no `Date`.
    pub(crate) clock_skew: TimeDelta,
}

/// The attempts at one thing that the endpoint is asked for.
pub(crate) struct Call<'a> {
    api: &'a Api,
    endpoint: &'a Endpoint,
    attempts: Attempts<'a>,
    token: Option<SecretString>,
    token_renewed: bool,
    throttled: u32,
}

impl Api {
    /// The endpoint at `path` below the base URL.
    pub(crate) fn endpoint(
        &self,
        path: &str,
        permission: &str,
        bad_request_hint: &'static str,
        timeout: Duration,
    ) -> Result<Endpoint, ExtractorError> {
        let base = self.base_url.as_str().trim_end_matches('/');
        let url = secure_base(
            "endpoint",
            &format!("{base}/{}", path.trim_start_matches('/')),
        )?;
        Ok(Endpoint {
            budget_key: format!("{}@{}", self.tokens.credential().caller(), bare(&url)),
            url,
            permission: permission.to_owned(),
            bad_request_hint,
            timeout,
        })
    }

    /// No attempt was made yet.
    pub(crate) fn call<'a>(&'a self, endpoint: &'a Endpoint) -> Call<'a> {
        Call {
            api: self,
            endpoint,
            attempts: Attempts::new(&self.retry),
            token: None,
            token_renewed: false,
            throttled: 0,
        }
    }
}

impl Call<'_> {
    /// Makes an attempt, once the rate budget allows it. `url` is the endpoint's, with a query.
    pub(crate) async fn send(&mut self, url: &Url) -> Result<Answer, Setback> {
        // Sign-in and budget have their own retries and waits: what they give up is final.
        let token = self.api.tokens.token().await.map_err(Setback::Final)?;
        let budget = self.api.budget.acquire(&self.endpoint.budget_key);
        budget.await.map_err(Setback::Final)?;
        tracing::debug!(url = %bare(url), "asking the API");
        let authorization = bearer(&token)?;
        self.token = Some(token.clone());
        let asked_at = self.api.clock.now();
        let response = self
            .api
            .http
            .blob_request(Method::GET, url)?
            .timeout(self.endpoint.timeout)
            .header(AUTHORIZATION, authorization)
            .send()
            .await
            .map_err(|error| transport_error(url, &error))?;
        if let Some(error) = redirected(url, &response) {
            return Err(Setback::Final(error));
        }
        if response.status().as_u16() != 200 {
            return Err(self.refused(url, response, &token).await);
        }
        let answered_at = self.api.clock.now();
        let midpoint = asked_at + (answered_at - asked_at) / 2;
        let date = date(response.headers());
        let clock_skew = date.map_or_else(TimeDelta::zero, |date| date - midpoint);
        if clock_skew.abs() >= NOTABLE_SKEW {
            let seconds = clock_skew.num_seconds();
            tracing::warn!(
                seconds,
                "the service's clock is ahead of this machine's (behind, if negative)"
            );
        }
        Ok(Answer {
            response,
            answered_at,
            date,
            clock_skew,
        })
    }

    /// Waits, or renews the token, as the setback of an attempt asks for; its error if there is to be no other attempt.
    pub(crate) async fn recover(&mut self, setback: Setback) -> Result<(), ExtractorError> {
        match setback {
            Setback::Final(error @ ExtractorError::Unauthorized { .. }) => {
                let renewable = match &self.token {
                    Some(token) if !self.token_renewed => self.api.tokens.forget(token).await,
                    _ => false,
                };
                self.token_renewed = true;
                if renewable { Ok(()) } else { Err(error) }
            }
            Setback::Passing {
                error: ExtractorError::Unavailable { url, answer },
                retry_after,
            } if answer.status == 429 => {
                self.throttled += 1;
                if self.throttled >= self.api.retry.max_attempts {
                    return Err(ExtractorError::Unavailable { url, answer });
                }
                let wait = retry_after.unwrap_or(UNNAMED_WAIT);
                let key = &self.endpoint.budget_key;
                self.api.budget.postpone(key, wait).await;
                Ok(())
            }
            setback => {
                tokio::time::sleep(self.attempts.after(setback)?).await;
                Ok(())
            }
        }
    }

    async fn refused(&self, url: &Url, response: Response, token: &SecretString) -> Setback {
        let retry_after = retry_after(response.headers(), self.api.clock.now());
        let challenge = response.headers().get("www-authenticate").cloned();
        // A service may repeat what it was asked.
        let tokens = skip_tokens(url);
        let secrets = tokens.iter().map(String::as_str);
        let secrets: Vec<&str> = secrets.chain([token.expose_secret()]).collect();
        let mut answer = refusal(response, &secrets).await;
        let (status, url) = (answer.status, bare(url));
        if can_pass(status) {
            let error = ExtractorError::Unavailable { url, answer };
            return Setback::Passing { error, retry_after };
        }
        Setback::Final(match status {
            400 => ExtractorError::BadRequest {
                url,
                answer,
                hint: self.endpoint.bad_request_hint.to_owned(),
            },
            401 => {
                // The body of a 401 can be empty; the header then has the reason.
                if answer.message.is_none() {
                    let challenge = challenge.as_ref().and_then(|value| value.to_str().ok());
                    answer.message = challenge.map(|text| scrub(text, &[token.expose_secret()]));
                }
                ExtractorError::Unauthorized {
                    url,
                    answer,
                    hint: self.audience_hint(token),
                }
            }
            403 if answer.code.as_deref() == Some("DisabledFeature") => ExtractorError::Forbidden {
                url,
                answer,
                hint: "the tenant's licence does not include this export".to_owned(),
            },
            403 => ExtractorError::Forbidden {
                url,
                hint: format!(
                    "grant the application permission {} on WindowsDefenderATP and give admin consent \
                     (permissions in the token: {}); {}",
                    self.endpoint.permission,
                    Claims::of(token).permissions(),
                    self.audience_hint(token)
                ),
                answer,
            },
            _ => ExtractorError::UnexpectedAnswer { url, answer },
        })
    }

    fn audience_hint(&self, token: &SecretString) -> String {
        let audience = match (Claims::of(token).aud, self.api.tokens.credential()) {
            (Some(audience), _) => audience,
            (None, Credential::ClientSecret { audience, .. }) => audience.clone(),
            (None, Credential::Token(_)) => "an unknown audience".to_owned(),
        };
        let made_for = scrub(&audience, &[]);
        format!(
            "the token was made for {made_for}: see `audience`, which is that of the cloud's securitycenter API \
             and not always the host {}",
            origin(&self.api.base_url)
        )
    }
}

/// The query's long values, as they are and decoded: what a next link is made of. Settings are short.
fn skip_tokens(url: &Url) -> Vec<String> {
    let raw = url.query().unwrap_or_default().split('&');
    let raw = raw.filter_map(|pair| Some(pair.split_once('=')?.1.to_owned()));
    let decoded = url.query_pairs().map(|(_, value)| value.into_owned());
    raw.chain(decoded)
        .filter(|value| value.len() >= SHORTEST_SKIP_TOKEN)
        .collect()
}

fn bearer(token: &SecretString) -> Result<HeaderValue, ExtractorError> {
    let mut value =
        HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(|_| {
            ExtractorError::InvalidSetting {
                setting: "token",
                reason: "has characters that no HTTP header may have".to_owned(),
            }
        })?;
    value.set_sensitive(true);
    Ok(value)
}
