//! From a root and its options to a store: strict about option names, about `http`, and about where credentials
//! come from.
//!
//! Option names are those of the `object_store` crate (`AmazonS3ConfigKey`, `AzureConfigKey`,
//! `ClientConfigKey`), long (`aws_access_key_id`) or short (`access_key_id`). S3 requests are path-style unless
//! `virtual_hosted_style_request` is true, and then `endpoint` holds the bucket's own host.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as S3Key};
use object_store::azure::{AzureConfigKey as AzureKey, MicrosoftAzureBuilder};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, RetryConfig};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::error::{Error, Result, without_queries};
use crate::local_disk::LocalDisk;
use crate::remote::Remote;
use crate::store::{Lake, Store};

type Options = BTreeMap<String, SecretString>;

/// Names that are suggested in place of a misspelt one.
const S3_OPTIONS: &[&str] = &[
    "access_key_id",
    "secret_access_key",
    "session_token",
    "region",
    "endpoint",
    "virtual_hosted_style_request",
    "unsigned_payload",
    "checksum_algorithm",
    "conditional_put",
    "skip_signature",
    "server_side_encryption",
    "sse_kms_key_id",
    "role_arn",
    "web_identity_token_file",
    "request_payer",
];
const AZURE_OPTIONS: &[&str] = &[
    "account_name",
    "account_key",
    "sas_token",
    "bearer_token",
    "client_id",
    "client_secret",
    "tenant_id",
    "authority_host",
    "federated_token_file",
    "endpoint",
    "use_emulator",
    "use_azure_cli",
    "use_fabric_endpoint",
    "skip_signature",
    "msi_endpoint",
];
const CLIENT_OPTIONS: &[&str] = &[
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "timeout",
    "proxy_url",
    "proxy_ca_certificate",
    "proxy_excludes",
    "pool_idle_timeout",
    "pool_max_idle_per_host",
    "http1_only",
    "http2_only",
    "user_agent",
];

/// One request, body included: an upload part of 8 MiB over a line of 100 kB/s.
const REQUEST_TIMEOUT: &str = "90s";
const CONNECT_TIMEOUT: &str = "10s";
/// Where `object_store` finds the Azure emulator if `use_emulator` is set.
const EMULATOR_URL_VARIABLE: &str = "AZURITE_BLOB_STORAGE_URL";

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(15),
            base: 2.0,
        },
        max_retries: 8,
        retry_timeout: Duration::from_secs(180),
    }
}

pub(crate) fn open(root: &str, options: &Options) -> Result<Lake> {
    let Some((scheme, _)) = root.split_once("://") else {
        return open_local(root, PathBuf::from(root), options);
    };
    // The root is not printed before it is known to hold no password and no signature.
    let url =
        Url::parse(root).map_err(|error| wrong(&format!("{scheme}://…"), error.to_string()))?;
    if url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        let message =
            "a root holds no password, query or fragment: credentials belong in the options"
                .to_owned();
        return Err(wrong(&format!("{scheme}://…"), message));
    }
    let shown = root.trim_end_matches('/').to_owned();
    let prefix =
        || Path::from_url_path(url.path()).map_err(|error| wrong(&shown, error.to_string()));
    match scheme {
        "file" => {
            let path = url
                .to_file_path()
                .map_err(|()| wrong(&shown, "not a local path".to_owned()))?;
            open_local(&shown, path, options)
        }
        "s3" | "s3a" => {
            let store = s3(&shown, options)?
                .build()
                .map_err(|error| unbuildable(&shown, &error))?;
            Ok(Lake::new(
                shown.clone(),
                Store::Remote(Remote::new(Arc::new(store), prefix()?)),
            ))
        }
        "az" | "azure" | "abfs" | "abfss" => {
            let store = azure(&shown, options)?
                .build()
                .map_err(|error| unbuildable(&shown, &error))?;
            Ok(Lake::new(
                shown.clone(),
                Store::Remote(Remote::new(Arc::new(store), prefix()?)),
            ))
        }
        other => {
            let message =
                format!("scheme `{other}` is not known: expected a path, s3://, az:// or abfss://");
            Err(wrong(&shown, message))
        }
    }
}

fn open_local(shown: &str, root: PathBuf, options: &Options) -> Result<Lake> {
    if let Some(name) = options.keys().next() {
        return Err(wrong(
            shown,
            format!("option `{name}`: a lake on local disk has no options"),
        ));
    }
    let root = std::path::absolute(root).map_err(|error| wrong(shown, error.to_string()))?;
    if root.exists() && !root.is_dir() {
        return Err(wrong(shown, "is a file, not a folder".to_owned()));
    }
    Ok(Lake::new(
        root.display().to_string(),
        Store::Local(LocalDisk::new(root)),
    ))
}

fn s3(root: &str, options: &Options) -> Result<AmazonS3Builder> {
    let options = parsed::<S3Key>(root, options, S3_OPTIONS)?;
    // Keys in the options and a session token in the environment would be two identities in one.
    let explicit = options.iter().any(|(key, _)| {
        matches!(
            key,
            S3Key::AccessKeyId | S3Key::SecretAccessKey | S3Key::Token | S3Key::SkipSignature
        )
    });
    let builder = if explicit {
        AmazonS3Builder::new()
    } else {
        AmazonS3Builder::from_env()
    };
    let builder = builder
        .with_retry(retries())
        .with_config(S3Key::Client(ClientConfigKey::Timeout), REQUEST_TIMEOUT)
        .with_config(
            S3Key::Client(ClientConfigKey::ConnectTimeout),
            CONNECT_TIMEOUT,
        );
    let builder = options
        .iter()
        .fold(builder, |builder, (key, value)| {
            builder.with_config(*key, value.expose_secret())
        })
        .with_url(root);
    let endpoints = [S3Key::Endpoint, S3Key::S3Endpoint].map(|key| builder.get_config_value(&key));
    Ok(if is_http_on_loopback(root, endpoints.iter().flatten())? {
        builder.with_allow_http(true)
    } else {
        builder.with_allow_http(false)
    })
}

fn azure(root: &str, options: &Options) -> Result<MicrosoftAzureBuilder> {
    let options = parsed::<AzureKey>(root, options, AZURE_OPTIONS)?;
    let given = |wanted: AzureKey| options.iter().any(|(key, _)| *key == wanted);
    let explicit = [
        AzureKey::AccessKey,
        AzureKey::SasKey,
        AzureKey::Token,
        AzureKey::ClientSecret,
        AzureKey::UseEmulator,
    ]
    .into_iter()
    .any(given);
    let builder = if explicit {
        MicrosoftAzureBuilder::new()
    } else {
        MicrosoftAzureBuilder::from_env()
    };
    let builder = builder
        .with_retry(retries())
        .with_config(AzureKey::Client(ClientConfigKey::Timeout), REQUEST_TIMEOUT)
        .with_config(
            AzureKey::Client(ClientConfigKey::ConnectTimeout),
            CONNECT_TIMEOUT,
        );
    let builder = options
        .iter()
        .fold(builder, |builder, (key, value)| {
            builder.with_config(*key, value.expose_secret())
        })
        .with_url(root);
    let endpoint = builder.get_config_value(&AzureKey::Endpoint);
    let emulator = builder
        .get_config_value(&AzureKey::UseEmulator)
        .is_some_and(|value| value == "true");
    if emulator && endpoint.is_some() {
        let message = "options `use_emulator` and `endpoint` exclude each other; an emulator at another port is \
                       `endpoint = \"http://127.0.0.1:PORT/ACCOUNT\"` with `account_name` and `account_key`";
        return Err(wrong(root, message.to_owned()));
    }
    let endpoint = if emulator {
        std::env::var(EMULATOR_URL_VARIABLE).ok()
    } else {
        endpoint
    };
    let http = is_http_on_loopback(root, endpoint.iter())?;
    Ok(builder.with_allow_http(http))
}

/// Options with their names parsed, in order of the names as given.
fn parsed<K: FromStr>(
    root: &str,
    options: &Options,
    known: &[&str],
) -> Result<Vec<(K, SecretString)>> {
    let parse = |(name, value): (&String, &SecretString)| match name.to_ascii_lowercase().parse() {
        Ok(key) => Ok((key, value.clone())),
        Err(_) => Err(wrong(root, unknown_option(name, known))),
    };
    options.iter().map(parse).collect()
}

fn unknown_option(name: &str, known: &[&str]) -> String {
    let lower = name.to_ascii_lowercase();
    let nearest = known
        .iter()
        .chain(CLIENT_OPTIONS)
        .min_by_key(|known| strsim::damerau_levenshtein(&lower, known));
    match nearest {
        Some(nearest) => format!("option `{name}` is not known; the nearest known is `{nearest}`"),
        None => format!("option `{name}` is not known"),
    }
}

/// Whether any endpoint is plain `http`, which is accepted for loopback addresses only.
fn is_http_on_loopback<'a>(
    root: &str,
    endpoints: impl Iterator<Item = &'a String>,
) -> Result<bool> {
    let mut http = false;
    for endpoint in endpoints {
        let url = Url::parse(endpoint)
            .map_err(|error| wrong(root, format!("endpoint is not a URL: {error}")))?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => http = true,
            "http" => {
                let host = url.host_str().unwrap_or_default();
                return Err(wrong(
                    root,
                    format!("endpoint on `{host}` is http, which is for loopback addresses only"),
                ));
            }
            other => {
                return Err(wrong(
                    root,
                    format!("endpoint has scheme `{other}`, expected https"),
                ));
            }
        }
    }
    Ok(http)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

fn wrong(root: &str, message: String) -> Error {
    Error::Configuration {
        root: root.to_owned(),
        message,
    }
}

fn unbuildable(root: &str, error: &object_store::Error) -> Error {
    wrong(root, without_queries(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), SecretString::from(*value)))
            .collect()
    }

    fn refusal(root: &str, pairs: &[(&str, &str)]) -> String {
        open(root, &options(pairs)).unwrap_err().to_string()
    }

    const KEYS: [(&str, &str); 2] = [("access_key_id", "ID"), ("secret_access_key", "SECRET")];

    #[test]
    fn emulators_on_loopback_open_without_further_options() {
        let s3 = [
            KEYS[0],
            KEYS[1],
            ("endpoint", "http://127.0.0.1:5000"),
            ("region", "us-east-1"),
        ];
        assert_eq!(
            open("s3://bucket/some/prefix/", &options(&s3))
                .unwrap()
                .to_string(),
            "s3://bucket/some/prefix"
        );
        let azurite = [
            ("endpoint", "http://localhost:10000/devstoreaccount1"),
            ("account_name", "devstoreaccount1"),
            ("account_key", "QUJD"),
            ("allow_http", "true"),
        ];
        assert!(open("az://container/prefix", &options(&azurite)).is_ok());
        assert!(open("az://container", &options(&[("use_emulator", "true")])).is_ok());
        let key = [("account_key", "QUJD")];
        assert!(
            open(
                "abfss://container@account.dfs.core.windows.net/x",
                &options(&key)
            )
            .is_ok()
        );
    }

    #[test]
    fn http_is_refused_elsewhere_whatever_the_options_say() {
        let s3 = [
            KEYS[0],
            KEYS[1],
            ("endpoint", "http://store.example"),
            ("allow_http", "true"),
        ];
        assert!(refusal("s3://bucket", &s3).contains("loopback"));
        let azure = [
            ("account_key", "QUJD"),
            ("account_name", "a"),
            ("endpoint", "http://10.0.0.1/a"),
        ];
        assert!(refusal("az://container", &azure).contains("loopback"));
    }

    #[test]
    fn unknown_options_are_refused_with_the_nearest_known_one() {
        assert!(refusal("s3://bucket", &[("acess_key_id", "x")]).contains("`access_key_id`"));
        assert!(refusal("az://container", &[("acount_key", "x")]).contains("`account_key`"));
        assert!(refusal("az://container", &[("alow_http", "x")]).contains("`allow_http`"));
        assert!(refusal("./lake", &[("region", "x")]).contains("local disk"));
    }

    #[test]
    fn suggested_options_are_known_ones() {
        for name in S3_OPTIONS.iter().chain(CLIENT_OPTIONS) {
            assert!(name.parse::<S3Key>().is_ok(), "{name}");
        }
        for name in AZURE_OPTIONS.iter().chain(CLIENT_OPTIONS) {
            assert!(name.parse::<AzureKey>().is_ok(), "{name}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let lake = open("s3://bucket", &options(&KEYS)).unwrap();
        assert!(!format!("{lake} {lake:?}").contains("SECRET"));
        for root in [
            "s3://id:SECRET@bucket",
            "az://container?sig=SECRET",
            "s3://[SECRET",
        ] {
            assert!(!refusal(root, &[]).contains("SECRET"), "{root}");
        }
        let azure = [("account_name", "a"), ("account_key", "SECRET, not base64")];
        assert!(!refusal("az://container", &azure).contains("SECRET"));
    }

    #[test]
    fn relative_paths_are_resolved_and_nothing_is_created() {
        let lake = open("some/lake", &Options::new()).unwrap();
        assert!(std::path::Path::new(&lake.to_string()).is_absolute());
        assert!(!lake.local_path("x").unwrap().exists());
        assert!(refusal("gopher://x", &[]).contains("gopher"));
        assert!(refusal("Cargo.toml", &[]).contains("not a folder"));
    }
}
