//! The sign-in authority's token endpoint (client credentials with a secret), and the check of its tokens.
//!
//! A scope that names another resource that exists (`https://api.security.microsoft.com`) gets a token that is valid
//! and of no use here, as in the real service. Tokens have the shape of a JWT; only this server can verify them.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::faulty;
use super::options::ServerOptions;
use super::responses::{json_response, method_not_allowed};
use super::site::Site;
use super::tally::count;
use crate::faults::{FaultKind, Subject};
use crate::signature::mac;

/// The audience that public clients ask for.
pub(super) const API_AUDIENCE: &str = "https://api.securitycenter.microsoft.com";

/// Audiences of the API, without a trailing slash.
const API_AUDIENCES: &[&str] = &[
    API_AUDIENCE,
    "https://api.securitycenter.windows.com",
    "https://api-gcc.securitycenter.microsoft.us",
    "https://api-gov.securitycenter.microsoft.us",
    "https://securitycenter.onmicrosoft.com/windowsatpservice",
    "fc780465-2017-40d4-a0c5-307022471b92",
];

/// Audiences of other resources that give tokens too.
const OTHER_AUDIENCES: &[&str] = &[
    "https://api.security.microsoft.com",
    "https://graph.microsoft.com",
    "https://management.azure.com",
    "8ee8fdad-f234-4243-8f3b-15c294843740",
];

const MAX_FORM: usize = 64 * 1024;

/// A token endpoint, by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    tenant: String,
    /// Wants `scope=<audience>/.default`; the older one wants `resource=<audience>`.
    v2: bool,
}

impl Endpoint {
    pub(super) fn of_path(path: &str) -> Option<Self> {
        let (tenant, rest) = path.strip_prefix('/')?.split_once('/')?;
        let v2 = match rest {
            "oauth2/v2.0/token" => true,
            "oauth2/token" => false,
            _ => return None,
        };
        Some(Self {
            tenant: tenant.to_owned(),
            v2,
        })
    }
}

/// A refusal in the authority's form.
struct Refused {
    status: StatusCode,
    error: &'static str,
    code: u32,
    text: String,
}

pub(super) async fn answer(
    site: &Site,
    endpoint: Endpoint,
    request: Request,
    now: DateTime<Utc>,
) -> Response {
    if *request.method() != Method::POST {
        return method_not_allowed("POST");
    }
    count(&site.tally.token_calls, 1);
    match site.faults.next(&Subject::Token) {
        Some(FaultKind::Redirect { to }) => return faulty::redirect(&to),
        Some(FaultKind::Answer {
            status,
            body,
            retry_after,
        }) => {
            let response = match body {
                Some(body) => faulty::scripted(status, &body),
                None => Refused {
                    status: StatusCode::from_u16(status).unwrap_or_default(),
                    error: "temporarily_unavailable",
                    code: 90_033,
                    text: "A transient error has occurred. Please try again.".to_owned(),
                }
                .response(now),
            };
            return faulty::retry_after(response, retry_after);
        }
        _ => {}
    }
    let form: Vec<(String, String)> = match to_bytes(request.into_body(), MAX_FORM).await {
        Ok(body) => url::form_urlencoded::parse(&body).into_owned().collect(),
        Err(_) => Vec::new(),
    };
    match grant(site, &endpoint, &form) {
        Ok(audience) => {
            let lifetime = site.options.token_lifetime.as_secs();
            let mut body = json!({
                "token_type": "Bearer",
                "expires_in": lifetime,
                "ext_expires_in": lifetime,
                "access_token": issue(site, &audience),
            });
            if !endpoint.v2 {
                // The older endpoint writes its numbers as strings.
                body["expires_in"] = json!(lifetime.to_string());
                body["ext_expires_in"] = json!(lifetime.to_string());
                body["expires_on"] = json!((now.timestamp() + lifetime as i64).to_string());
                body["not_before"] = json!(now.timestamp().to_string());
                body["resource"] = json!(audience);
            }
            json_response(StatusCode::OK, &body)
        }
        Err(refused) => refused.response(now),
    }
}

/// The audience that the client gets a token for.
fn grant(site: &Site, endpoint: &Endpoint, form: &[(String, String)]) -> Result<String, Refused> {
    let value = |key: &str| {
        form.iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    };
    let required = |key: &str| {
        value(key).filter(|value| !value.is_empty()).ok_or_else(|| {
            Refused::bad_request(
                "invalid_request",
                900_144,
                format!("The request body must contain the following parameter: '{key}'."),
            )
        })
    };
    let Site { options, .. } = site;

    let Endpoint { tenant, v2 } = endpoint;
    if !tenant.eq_ignore_ascii_case(&options.tenant_id) {
        let text = format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the \
             correct cloud. Check with your subscription administrator, this may happen if there are no active \
             subscriptions for the tenant."
        );
        return Err(Refused::bad_request("invalid_request", 90_002, text));
    }
    let grant_type = required("grant_type")?;
    if grant_type != "client_credentials" {
        let text = format!("The app requested an unsupported grant type '{grant_type}'.");
        return Err(Refused::bad_request("unsupported_grant_type", 70_003, text));
    }
    let client_id = required("client_id")?;
    if !client_id.eq_ignore_ascii_case(&options.client_id) {
        let text = format!(
            "Application with identifier '{client_id}' was not found in the directory '{tenant}'. This can happen if \
             the application has not been installed by the administrator of the tenant or consented to by any user in \
             the tenant. You may have sent your authentication request to the wrong tenant."
        );
        return Err(Refused::bad_request("unauthorized_client", 700_016, text));
    }

    let audience = if *v2 {
        let scope = required("scope")?;
        scope.strip_suffix("/.default").filter(|audience| !audience.contains(' ')).ok_or_else(|| {
            let text = format!(
                "The provided value for scope {scope} is not valid. Client credential flows must have a scope value \
                 with /.default suffixed to the resource identifier (application ID URI)."
            );
            Refused::bad_request("invalid_scope", 1_002_012, text)
        })?
    } else {
        required("resource")?
    };
    if !is_of(audience, API_AUDIENCES) && !is_of(audience, OTHER_AUDIENCES) {
        let text = format!(
            "The resource principal named {audience} was not found in the tenant named {tenant}. This can happen if \
             the application has not been installed by the administrator of the tenant or consented to by any user in \
             the tenant. You might have sent your authentication request to the wrong tenant."
        );
        return Err(Refused::bad_request("invalid_resource", 500_011, text));
    }

    check_secret(options, value("client_secret"), client_id)?;
    Ok(audience.to_owned())
}

/// Refuses a client without the secret of its application.
fn check_secret(
    options: &ServerOptions,
    secret: Option<&str>,
    client_id: &str,
) -> Result<(), Refused> {
    match secret {
        Some(secret) if secret == options.client_secret => Ok(()),
        Some(_) => Err(Refused {
            status: StatusCode::UNAUTHORIZED,
            error: "invalid_client",
            code: 7_000_215,
            text: format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
                 value, not the client secret ID, for a secret added to app '{client_id}'."
            ),
        }),
        None => Err(Refused {
            status: StatusCode::UNAUTHORIZED,
            error: "invalid_client",
            code: 7_000_218,
            text: "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
                .to_owned(),
        }),
    }
}

fn is_of(audience: &str, known: &[&str]) -> bool {
    let audience = audience.trim_end_matches('/');
    known
        .iter()
        .any(|known| known.eq_ignore_ascii_case(audience))
}

impl Refused {
    fn bad_request(error: &'static str, code: u32, text: String) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error,
            code,
            text,
        }
    }

    fn response(self, now: DateTime<Utc>) -> Response {
        let Self {
            status,
            error,
            code,
            text,
        } = self;
        let (trace, correlation) = (Uuid::new_v4(), Uuid::new_v4());
        let time = now.format("%Y-%m-%d %H:%M:%SZ");
        json_response(
            status,
            &json!({
                "error": error,
                "error_description":
                    format!("AADSTS{code}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {time}"),
                "error_codes": [code],
                "timestamp": time.to_string(),
                "trace_id": trace.to_string(),
                "correlation_id": correlation.to_string(),
                "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
            }),
        )
    }
}

/// A token for `audience`, valid from now on.
pub(super) fn issue(site: &Site, audience: &str) -> String {
    let now = site.now().timestamp();
    let options = &site.options;
    let roles: &[String] = if is_of(audience, API_AUDIENCES) {
        &options.roles
    } else {
        &[]
    };
    let encode = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let head = encode(json!({"typ": "JWT", "alg": "HS256"}));
    let claims = encode(json!({
        "aud": audience,
        "iss": format!("https://sts.windows.net/{}/", options.tenant_id),
        "tid": options.tenant_id,
        "appid": options.client_id,
        "roles": roles,
        "iat": now,
        "nbf": now,
        "exp": now + options.token_lifetime.as_secs() as i64,
        "uti": Uuid::new_v4().simple().to_string(),
    }));
    let signed = format!("{head}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(mac(&site.token_key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Why a request's token does not open the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    Missing,
    Invalid,
    Expired,
    Audience,
    Role,
}

/// Checks an `Authorization` header. Returns whose calls to count: application and tenant.
pub(super) fn check(
    site: &Site,
    header: Option<&str>,
    role: &str,
    now: DateTime<Utc>,
) -> Result<String, Denied> {
    let (scheme, token) = header
        .and_then(|header| header.split_once(' '))
        .ok_or(Denied::Missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Denied::Missing);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Denied::Invalid)?;
    if signature != URL_SAFE_NO_PAD.encode(mac(&site.token_key, signed.as_bytes())) {
        return Err(Denied::Invalid);
    }
    let claims: Value = signed
        .split_once('.')
        .and_then(|(_, claims)| URL_SAFE_NO_PAD.decode(claims).ok())
        .and_then(|claims| serde_json::from_slice(&claims).ok())
        .ok_or(Denied::Invalid)?;
    if claims["exp"]
        .as_i64()
        .is_none_or(|expiry| expiry <= now.timestamp())
    {
        return Err(Denied::Expired);
    }
    if !claims["aud"]
        .as_str()
        .is_some_and(|audience| is_of(audience, API_AUDIENCES))
    {
        return Err(Denied::Audience);
    }
    let granted = claims["roles"]
        .as_array()
        .is_some_and(|roles| roles.iter().any(|granted| granted == role));
    if !granted {
        return Err(Denied::Role);
    }
    Ok(format!("{} {}", claims["appid"], claims["tid"]))
}
