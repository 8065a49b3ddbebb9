//! The bearer token that credentials buy, fetched when there is none and kept until shortly before it expires.
//!
//! The client-credentials grant is one form POST to the sign-in authority (Microsoft identity platform, v2.0). Knows no
//! default authority or audience: those are settings.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use crate::api::credentials::Credential;
use crate::error::ExtractorError;
use crate::http::client::HttpClient;
use crate::http::clock::Clock;
use crate::http::headers::retry_after;
use crate::http::response::{bounded_body, redirected, refusal, transport_error};
use crate::http::retry::{Attempts, RetryPolicy, Setback, can_pass};
use crate::http::safe_url::{bare, secure_base};
use crate::service_answer::ServiceAnswer;

/// The longest answer of the authority that is read, bytes.
const MAX_TOKEN_ANSWER: usize = 1024 * 1024;
/// A token is renewed this long before it expires, or at half its life if that is shorter.
const RENEW_BEFORE: Duration = Duration::from_secs(300);

/// Gives the current token, fetching one when there is none or the last is about to expire. Shared by all who have the credential.
#[derive(Debug)]
pub struct TokenSource {
    credential: Credential,
    http: HttpClient,
    retry: RetryPolicy,
    clock: Clock,
    fetched: Mutex<Option<Fetched>>,
}

#[derive(Debug, Clone)]
struct Fetched {
    token: SecretString,
    renew_at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    expires_in: Seconds,
}

/// The older endpoint gives numbers as strings.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u32),
    Text(String),
}

impl TokenSource {
    /// Checks the credential; makes no request. The authority must be https, or http on loopback.
    pub fn new(
        credential: Credential,
        http: HttpClient,
        retry: RetryPolicy,
        clock: Clock,
    ) -> Result<Self, ExtractorError> {
        if let Credential::ClientSecret {
            authority,
            tenant_id,
            ..
        } = &credential
        {
            token_endpoint(authority, tenant_id)?;
        }
        Ok(Self {
            credential,
            http,
            retry,
            clock,
            fetched: Mutex::new(None),
        })
    }

    pub(crate) fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The token to send. Concurrent callers wait for one fetch.
    pub(crate) async fn token(&self) -> Result<SecretString, ExtractorError> {
        let sign_in = match &self.credential {
            Credential::Token(token) => return Ok(token.clone()),
            Credential::ClientSecret {
                authority,
                tenant_id,
                client_id,
                client_secret,
                audience,
            } => SignIn {
                endpoint: token_endpoint(authority, tenant_id)?,
                authority,
                tenant_id,
                client_id,
                client_secret,
                audience,
            },
        };
        let mut fetched = self.fetched.lock().await;
        if let Some(kept) = fetched.as_ref()
            && self.clock.now() < kept.renew_at
        {
            return Ok(kept.token.clone());
        }
        let mut attempts = Attempts::new(&self.retry);
        loop {
            match self.fetch(&sign_in).await {
                Ok(new) => {
                    tracing::debug!(endpoint = %sign_in.endpoint, renew_at = %new.renew_at, "signed in");
                    return Ok(fetched.insert(new).token.clone());
                }
                Err(setback) => tokio::time::sleep(attempts.after(setback)?).await,
            }
        }
    }

    /// Forgets the token that the API refused. False if no other can be had.
    pub(crate) async fn forget(&self, refused: &SecretString) -> bool {
        let mut fetched = self.fetched.lock().await;
        if fetched
            .as_ref()
            .is_some_and(|kept| kept.token.expose_secret() == refused.expose_secret())
        {
            *fetched = None;
        }
        matches!(self.credential, Credential::ClientSecret { .. })
    }

    async fn fetch(&self, sign_in: &SignIn<'_>) -> Result<Fetched, Setback> {
        let endpoint = &sign_in.endpoint;
        let secret = sign_in.client_secret.expose_secret();
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", sign_in.client_id)
            .append_pair("scope", &format!("{}/.default", sign_in.audience))
            .append_pair("client_secret", secret)
            .finish();
        let response = self
            .http
            .short_request(Method::POST, endpoint)?
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .map_err(|error| transport_error(endpoint, &error))?;
        if let Some(error) = redirected(endpoint, &response) {
            return Err(Setback::Final(error));
        }
        let status = response.status();
        if can_pass(status.as_u16()) {
            let retry_after = retry_after(response.headers(), self.clock.now());
            let answer = refusal(response, &[secret]).await;
            let url = bare(endpoint);
            let error = ExtractorError::Unavailable { url, answer };
            return Err(Setback::Passing { error, retry_after });
        }
        if !status.is_success() {
            let answer = refusal(response, &[secret]).await;
            return Err(Setback::Final(sign_in.refused(answer)));
        }
        let asked_at = self.clock.now();
        let body = bounded_body(endpoint, response, MAX_TOKEN_ANSWER).await?;
        let unexpected = || {
            Setback::Final(ExtractorError::UnexpectedAnswer {
                url: bare(endpoint),
                answer: ServiceAnswer::of(status.as_u16(), "not a token"),
            })
        };
        let answer: TokenAnswer = serde_json::from_slice(&body).map_err(|_| unexpected())?;
        let lifetime = match answer.expires_in {
            Seconds::Number(seconds) => seconds,
            Seconds::Text(text) => text.parse().map_err(|_| unexpected())?,
        };
        let kept = lifetime.saturating_sub((RENEW_BEFORE.as_secs() as u32).min(lifetime / 2));
        Ok(Fetched {
            token: answer.access_token.into(),
            renew_at: asked_at + TimeDelta::seconds(kept.into()),
        })
    }
}

/// What the client-credentials request is made of.
struct SignIn<'a> {
    endpoint: Url,
    authority: &'a str,
    tenant_id: &'a str,
    client_id: &'a str,
    client_secret: &'a SecretString,
    audience: &'a str,
}

impl SignIn<'_> {
    fn refused(&self, answer: Box<ServiceAnswer>) -> ExtractorError {
        let (client_id, audience) = (self.client_id, self.audience);
        // The numbers are the authority's error codes, at the head of its message.
        let hint = if answer.mentions("aadsts7000222") {
            format!(
                "the client secret of application {client_id} has expired: create a new one and set `client_secret`"
            )
        } else if answer.mentions("aadsts7000215") {
            format!(
                "`client_secret` is not valid for application {client_id}: set the secret's value, not its id"
            )
        } else if answer.mentions("aadsts700016") {
            format!(
                "`client_id` {client_id} is no application of this tenant: see `client_id` and `tenant_id`"
            )
        } else if answer.mentions("aadsts90002") || answer.mentions("aadsts900023") {
            "`tenant_id` is no known tenant: see `tenant_id` and `authority`".to_owned()
        } else if answer.mentions("aadsts500011")
            || answer.mentions("aadsts70011")
            || matches!(
                answer.code.as_deref(),
                Some("invalid_resource" | "invalid_scope")
            )
        {
            format!("`audience` {audience} is no resource of this tenant: see `audience`")
        } else {
            "see `tenant_id`, `client_id`, `client_secret`, `audience` and `authority`".to_owned()
        };
        ExtractorError::SignInRefused {
            authority: self.authority.to_owned(),
            tenant_id: self.tenant_id.to_owned(),
            answer,
            hint,
        }
    }
}

fn token_endpoint(authority: &str, tenant_id: &str) -> Result<Url, ExtractorError> {
    let base = secure_base("authority", authority)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if tenant_id.is_empty() || tenant_id.starts_with('.') || !tenant_id.chars().all(plain) {
        return Err(ExtractorError::InvalidSetting {
            setting: "tenant_id",
            reason: "neither a GUID nor a domain".to_owned(),
        });
    }
    let endpoint = format!(
        "{}/{tenant_id}/oauth2/v2.0/token",
        base.as_str().trim_end_matches('/')
    );
    secure_base("authority", &endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_endpoint_is_secure_and_of_a_plain_tenant() {
        let url = token_endpoint("https://login.example/", "contoso.example").unwrap();
        assert_eq!(
            url.as_str(),
            "https://login.example/contoso.example/oauth2/v2.0/token"
        );
        for tenant in ["", "..", "a/b", "a?b", "a b"] {
            assert!(
                token_endpoint("https://login.example", tenant).is_err(),
                "{tenant}"
            );
        }
        assert!(matches!(
            token_endpoint("http://login.example", "t"),
            Err(ExtractorError::InsecureUrl { .. })
        ));
    }
}
