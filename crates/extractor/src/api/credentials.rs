//! Who asks: the credentials of an application, and what a token says of itself. Makes no request.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::service_answer::scrub;

/// What proves to the API who asks.
#[derive(Debug, Clone)]
pub enum Credential {
    /// An app registration with a client secret.
    ClientSecret {
        /// Base URL of the sign-in authority.
        authority: String,
        /// Directory (tenant) id or domain.
        tenant_id: String,
        /// Application (client) id.
        client_id: String,
        /// The secret's value (not its id).
        client_secret: SecretString,
        /// The resource that the token is for; not necessarily the API's host.
        audience: String,
    },
    /// A bearer token that was obtained elsewhere. It cannot be renewed here.
    Token(SecretString),
}

impl PartialEq for Credential {
    fn eq(&self, other: &Self) -> bool {
        self.values() == other.values()
    }
}

impl Credential {
    /// All that it is made of.
    fn values(&self) -> [&str; 5] {
        match self {
            Self::ClientSecret {
                authority,
                tenant_id,
                client_id,
                client_secret,
                audience,
            } => [
                authority,
                tenant_id,
                client_id,
                client_secret.expose_secret(),
                audience,
            ],
            Self::Token(token) => [token.expose_secret(), "", "", "", ""],
        }
    }

    /// Who is asking, as far as rate limits count it (`tenant/application`); for a token by its claims.
    pub(crate) fn caller(&self) -> String {
        match self {
            Self::ClientSecret {
                tenant_id,
                client_id,
                ..
            } => format!("{tenant_id}/{client_id}"),
            Self::Token(token) => {
                let claims = Claims::of(token);
                match (claims.tid, claims.appid.or(claims.azp)) {
                    (Some(tenant), Some(app)) => scrub(&format!("{tenant}/{app}"), &[]),
                    _ => "unknown".to_owned(),
                }
            }
        }
    }
}

/// The claims of a token that help to explain a refusal. None of them is secret; none is verified.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Claims {
    pub(crate) aud: Option<String>,
    tid: Option<String>,
    appid: Option<String>,
    azp: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    scp: Option<String>,
}

impl Claims {
    /// The claims of a JSON web token; all unknown for another kind of token.
    pub(crate) fn of(token: &SecretString) -> Self {
        let payload = token.expose_secret().split('.').nth(1).unwrap_or_default();
        BASE64_URL_SAFE_NO_PAD
            .decode(payload)
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default()
    }

    /// Application roles or delegated scopes, for a message.
    pub(crate) fn permissions(&self) -> String {
        let granted = if self.roles.is_empty() {
            self.scp.clone().unwrap_or_default()
        } else {
            self.roles.join(", ")
        };
        if granted.is_empty() {
            "none".to_owned()
        } else {
            scrub(&granted, &[])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> SecretString {
        format!("eyJh.{}.sig", BASE64_URL_SAFE_NO_PAD.encode(claims)).into()
    }

    #[test]
    fn a_token_tells_its_caller_and_its_permissions() {
        let claims = r#"{"aud":"https://a","tid":"t1","appid":"c1","roles":["Machine.Read.All"]}"#;
        assert_eq!(Credential::Token(token(claims)).caller(), "t1/c1");
        assert_eq!(Claims::of(&token(claims)).permissions(), "Machine.Read.All");
        assert_eq!(Claims::of(&token("{}")).permissions(), "none");
        let opaque = Credential::Token("opaque".to_owned().into());
        assert_eq!(opaque.caller(), "unknown");
        assert!(!format!("{opaque:?}").contains("opaque"));
    }
}
