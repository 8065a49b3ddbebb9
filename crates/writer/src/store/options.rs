//! From a root and its options to a store: strict about option names and values, about `http`, and about where
//! credentials come from.
//!
//! Option names are those of the `object_store` crate (`AmazonS3ConfigKey`, `AzureConfigKey`,
//! `ClientConfigKey`), long (`aws_access_key_id`) or short (`access_key_id`). S3 requests are path-style unless
//! `virtual_hosted_style_request` is true, and then `endpoint` holds the bucket's own host.

use crate::store::identity::{self, is_on};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey as S3Key, AwsCredential};
use object_store::azure::{
    AzureAccessKey, AzureConfigKey as AzureKey, AzureCredential, MicrosoftAzure,
    MicrosoftAzureBuilder,
};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, RetryConfig, StaticCredentialProvider};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::error::{Error, Result};
use crate::store::backend::Store;
use crate::store::deleter::{Deleter, Signature};
use crate::store::environment::Environment;
use crate::store::http::{Connected, Connector};
use crate::store::local_disk::LocalDisk;
use crate::store::remote::Remote;
use crate::store::text_flaw::TextFlaw;
use crate::store::value::{Form, Given, Origin, StoreKey, checked};

type Options = BTreeMap<String, SecretString>;
/// How the lake's root is shown, without secrets, and where it is.
type Opened = (String, Store);

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

/// What `object_store` takes where no region and no account is named.
const DEFAULT_REGION: &str = "us-east-1";
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
/// Base64, as keys are.
const KEY_OF_NOBODY: &str = "bm9ib2R5";

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

pub(crate) fn open(root: &str, options: &Options) -> Result<Opened> {
    open_in(&Environment::of_process(), root, options)
}

pub(crate) fn open_in(environment: &Environment, root: &str, options: &Options) -> Result<Opened> {
    let Some((scheme, _)) = root.split_once("://") else {
        return open_local(root, PathBuf::from(root), options);
    };
    // The root is not printed before it is known to hold no password and no signature.
    if let Some(flaw) = TextFlaw::find(root) {
        return Err(wrong("<root>", format!("the root {flaw}; give it without")));
    }
    let url =
        Url::parse(root).map_err(|error| wrong(&format!("{scheme}://…"), error.to_string()))?;
    // `abfss://container@account…` has the container there.
    let has_user = !url.username().is_empty() && !matches!(scheme, "abfs" | "abfss");
    if has_user || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        let message =
            "a root holds no user, password, query or fragment: credentials belong in the options"
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
            let (store, deleter) = s3(environment, &shown, options)?;
            let remote = Remote::new(Arc::new(store), prefix()?);
            Ok((shown.clone(), Store::Remote(remote.deleting_by(deleter))))
        }
        "az" | "azure" | "abfs" | "abfss" => {
            let azure = azure(environment, &shown, options)?;
            let remote = Remote::new(Arc::new(azure.store), prefix()?).of_account(azure.account);
            let remote = remote.deleting_by(azure.deleter);
            Ok((shown.clone(), Store::Remote(remote)))
        }
        other => {
            let message =
                format!("scheme `{other}` is not known: expected a path, s3://, az:// or abfss://");
            Err(wrong(&shown, message))
        }
    }
}

fn open_local(shown: &str, root: PathBuf, options: &Options) -> Result<Opened> {
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
    Ok((
        root.display().to_string(),
        Store::Local(LocalDisk::new(root)),
    ))
}

fn s3(
    environment: &Environment,
    root: &str,
    options: &Options,
) -> Result<(AmazonS3, Option<Deleter>)> {
    let options = from_options::<S3Key>(root, options, S3_OPTIONS)?;
    // Keys in the options and a session token in the environment would be two identities in one.
    let explicit = is_given(
        &options,
        &[
            S3Key::AccessKeyId,
            S3Key::SecretAccessKey,
            S3Key::Token,
            S3Key::SkipSignature,
        ],
    );
    let from_environment = if explicit {
        Vec::new()
    } else {
        from_variables(root, environment.s3())?
    };
    let builder = configured(
        root,
        AmazonS3Builder::new().with_retry(retries()),
        AmazonS3Builder::with_config,
        S3Key::Client,
        [&from_environment, &options],
    )
    .with_url(root);
    if let Some(file) = builder.get_config_value(&S3Key::ContainerAuthorizationTokenFile) {
        check_token_file(root, &file)?;
    }
    let endpoints = [S3Key::Endpoint, S3Key::S3Endpoint].map(|key| builder.get_config_value(&key));
    let http = is_http_on_loopback(root, endpoints.iter().flatten())?;
    let builder = without_proxy(
        builder.with_allow_http(http),
        endpoints.iter().flatten(),
        &options,
        |builder, key, value| builder.with_config(S3Key::Client(key), value),
    );
    let connector = Connector::default();
    let unbuildable = |error| Error::unbuildable(root, &error);
    let builder = identity::of_machine(builder).map_err(unbuildable)?;
    let store = builder.clone().with_http_connector(connector.clone());
    let store = store.build().map_err(unbuildable)?;
    let deleter = s3_deleter(builder, &store, &connector).map_err(unbuildable)?;
    Ok((store, deleter))
}

/// What deletes single objects. `None`: the requests of directory buckets are signed for a session, which `object_store` keeps
/// to itself.
fn s3_deleter(
    builder: AmazonS3Builder,
    store: &AmazonS3,
    connector: &Connector,
) -> object_store::Result<Option<Deleter>> {
    let is_on = |key| is_on(builder.get_config_value(&key));
    let Some(client) = connector.client().filter(|_| !is_on(S3Key::S3Express)) else {
        return Ok(None);
    };
    let signature = if is_on(S3Key::SkipSignature) {
        Signature::None
    } else {
        let region = builder.get_config_value(&S3Key::Region);
        Signature::S3 {
            credentials: Arc::clone(store.credentials()),
            region: region.unwrap_or_else(|| DEFAULT_REGION.to_owned()),
            requester_pays: is_on(S3Key::RequestPayer),
        }
    };
    let nobody = AwsCredential {
        key_id: "nobody".to_owned(),
        secret_key: "nobody".to_owned(),
        token: None,
    };
    let urls = builder
        .with_credentials(Arc::new(StaticCredentialProvider::new(nobody)))
        .with_http_connector(Connected(client.clone()))
        .build()?;
    Ok(Some(Deleter::new(client, urls, signature, retries())))
}

/// The file goes into a header as it is. One that cannot be read is the store's to report: it may not be needed.
fn check_token_file(root: &str, file: &str) -> Result<()> {
    match std::fs::read_to_string(file).map(|token| TextFlaw::find(&token)) {
        Ok(Some(flaw)) => {
            let message = format!("the token in the file `{file}` {flaw}; write it without");
            Err(wrong(root, message))
        }
        _ => Ok(()),
    }
}

/// A store in Azure.
struct Azure {
    store: MicrosoftAzure,
    /// The name of its account, where options or the environment give it.
    account: Option<String>,
    deleter: Option<Deleter>,
}

fn azure(environment: &Environment, root: &str, options: &Options) -> Result<Azure> {
    let options = from_options::<AzureKey>(root, options, AZURE_OPTIONS)?;
    let explicit = is_given(
        &options,
        &[
            AzureKey::AccessKey,
            AzureKey::SasKey,
            AzureKey::Token,
            AzureKey::ClientSecret,
            AzureKey::UseEmulator,
        ],
    );
    let from_environment = if explicit {
        Vec::new()
    } else {
        if let Some(header) = environment.identity_header() {
            checked_value(root, &header.origin, Form::Word, &header.value)?;
        }
        let variables = from_variables(root, environment.azure())?;
        identity::of_lake(variables, &options)
    };
    let builder = configured(
        root,
        MicrosoftAzureBuilder::new().with_retry(retries()),
        MicrosoftAzureBuilder::with_config,
        AzureKey::Client,
        [&from_environment, &options],
    )
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
        environment
            .emulator()
            .map(|given| checked_value(root, &given.origin, Form::Address, &given.value))
            .transpose()?
            .map(|address| address.expose_secret().to_owned())
    } else {
        endpoint
    };
    let http = is_http_on_loopback(root, endpoint.iter())?;
    let account = builder.get_config_value(&AzureKey::AccountName);
    let builder = without_proxy(
        builder.with_allow_http(http),
        endpoint.iter(),
        &options,
        |builder, key, value| builder.with_config(AzureKey::Client(key), value),
    );
    let connector = Connector::default();
    let store = builder.clone().with_http_connector(connector.clone());
    let store = identity::build(root, store, retries())?;
    let deleter = azure_deleter(builder, root, &store, &connector)
        .map_err(|error| Error::unbuildable(root, &error))?;
    Ok(Azure {
        store,
        account,
        deleter,
    })
}

/// What deletes single blobs.
fn azure_deleter(
    builder: MicrosoftAzureBuilder,
    root: &str,
    store: &MicrosoftAzure,
    connector: &Connector,
) -> object_store::Result<Option<Deleter>> {
    let Some(client) = connector.client() else {
        return Ok(None);
    };
    let account = builder.get_config_value(&AzureKey::AccountName);
    // abfss://container@account.dfs.core.windows.net/prefix
    let in_root = || Some(root.split_once('@')?.1.split(['.', '/']).next()?.to_owned());
    let signature = if is_on(builder.get_config_value(&AzureKey::SkipSignature)) {
        Signature::None
    } else {
        Signature::Azure {
            credentials: Arc::clone(store.credentials()),
            account: account
                .or_else(in_root)
                .unwrap_or_else(|| EMULATOR_ACCOUNT.to_owned()),
        }
    };
    let nobody = AzureCredential::AccessKey(AzureAccessKey::try_new(KEY_OF_NOBODY)?);
    // An emulator's key is not taken from the credentials.
    let urls = builder
        .with_credentials(Arc::new(StaticCredentialProvider::new(nobody)))
        .with_access_key(KEY_OF_NOBODY)
        .with_skip_signature(false)
        .with_http_connector(Connected(client.clone()))
        .build()?;
    Ok(Some(Deleter::new(client, urls, signature, retries())))
}

/// A builder with what the environment gives, then the waits of this program, and over both what the options give.
fn configured<B, K: StoreKey>(
    root: &str,
    builder: B,
    set: impl Fn(B, K, String) -> B,
    client: impl Fn(ClientConfigKey) -> K,
    [environment, options]: [&[Given<K>]; 2],
) -> B {
    let set_all = |builder, all: &[Given<K>]| {
        all.iter().fold(builder, |builder, given| {
            set(builder, given.key, given.value.expose_secret().to_owned())
        })
    };
    for given in [environment, options] {
        warn_of_unchecked(root, given);
    }
    let waits = [
        (ClientConfigKey::Timeout, REQUEST_TIMEOUT),
        (ClientConfigKey::ConnectTimeout, CONNECT_TIMEOUT),
    ];
    let builder = set_all(builder, environment);
    let builder = waits.into_iter().fold(builder, |builder, (key, wait)| {
        set(builder, client(key), wait.to_owned())
    });
    set_all(builder, options)
}

/// Keeps a store on this machine from going through the proxy of the environment, which could read and change all of it. One that
/// the options name is meant.
fn without_proxy<'a, B, K: StoreKey>(
    builder: B,
    mut endpoints: impl Iterator<Item = &'a String>,
    options: &[Given<K>],
    set: impl Fn(B, ClientConfigKey, &str) -> B,
) -> B {
    let is_here = endpoints.any(|endpoint| Url::parse(endpoint).is_ok_and(|url| is_loopback(&url)));
    let is_meant = options.iter().any(|given| {
        matches!(
            given.key.client(),
            Some(ClientConfigKey::ProxyUrl | ClientConfigKey::ProxyExcludes)
        )
    });
    if !is_here || is_meant {
        return builder;
    }
    // `object_store` knows no other way: a proxy of its own takes the place of the environment's, and is never asked.
    let builder = set(builder, ClientConfigKey::ProxyUrl, "http://127.0.0.1:9");
    set(
        builder,
        ClientConfigKey::ProxyExcludes,
        "127.0.0.0/8,::1,localhost",
    )
}

/// Warns of what makes a store anybody's who stands on the way to it.
fn warn_of_unchecked<K: StoreKey>(root: &str, given: &[Given<K>]) {
    for given in given {
        if given.key.client() == Some(ClientConfigKey::AllowInvalidCertificates)
            && is_on(Some(given.value.expose_secret().to_owned()))
        {
            tracing::warn!(
                "{root}: {} is on: whoever stands between this machine and the store can read and change the lake",
                given.origin
            );
        }
    }
}

fn is_given<K: PartialEq>(given: &[Given<K>], keys: &[K]) -> bool {
    given.iter().any(|given| keys.contains(&given.key))
}

/// Options with their names parsed and their values checked, in order of the names as given.
fn from_options<K: FromStr + StoreKey>(
    root: &str,
    options: &Options,
    known: &[&str],
) -> Result<Vec<Given<K>>> {
    let parse = |(name, value): (&String, &SecretString)| {
        let key: K = name
            .to_ascii_lowercase()
            .parse()
            .map_err(|_| wrong(root, unknown_option(name, known)))?;
        let origin = Origin::Option(name.clone());
        let value = checked_value(root, &origin, key.form(), value)?;
        Ok(Given { key, origin, value })
    };
    options.iter().map(parse).collect()
}

/// Environment variables with their values checked, without what a file or a terminal left at their ends.
fn from_variables<K: StoreKey>(root: &str, variables: Vec<Given<K>>) -> Result<Vec<Given<K>>> {
    let check = |mut given: Given<K>| {
        if given.key.form() != Form::Lines
            && let Some((trimmed, flaw)) = TextFlaw::trim(given.value.expose_secret())
        {
            tracing::warn!("{} {flaw}: it is read without", given.origin);
            given.value = SecretString::from(trimmed);
        }
        let value = checked_value(root, &given.origin, given.key.form(), &given.value)?;
        Ok(Given { value, ..given })
    };
    variables.into_iter().map(check).collect()
}

fn checked_value(
    root: &str,
    origin: &Origin,
    form: Form,
    value: &SecretString,
) -> Result<SecretString> {
    checked(form, value).map_err(|problem| wrong(root, format!("{origin} {problem}")))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lake;

    fn open(root: &str, options: &Options) -> Result<Lake> {
        super::open(root, options).map(|(shown, store)| Lake::new(shown, store))
    }

    fn open_in(environment: &Environment, root: &str, options: &Options) -> Result<Lake> {
        super::open_in(environment, root, options).map(|(shown, store)| Lake::new(shown, store))
    }

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

    const S3_VARIABLES: &[&str] = &[
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_BUCKET",
        "AWS_ENDPOINT",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL_STS",
        "AWS_METADATA_ENDPOINT",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
        "AWS_CHECKSUM_ALGORITHM",
        "AWS_CONDITIONAL_PUT",
        "AWS_REQUEST_PAYER",
        "AWS_SERVER_SIDE_ENCRYPTION",
        "AWS_SSE_KMS_KEY_ID",
        "AWS_SSE_CUSTOMER_KEY_BASE64",
        "AWS_ALLOW_HTTP",
        "AWS_PROXY_URL",
        "AWS_USER_AGENT",
    ];
    const AZURE_VARIABLES: &[&str] = &[
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_ACCESS_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_TOKEN",
        "AZURE_STORAGE_ENDPOINT",
        "AZURE_STORAGE_CLIENT_ID",
        "AZURE_STORAGE_CLIENT_SECRET",
        "AZURE_STORAGE_TENANT_ID",
        "AZURE_STORAGE_AUTHORITY_HOST",
        "AZURE_STORAGE_USE_EMULATOR",
        "AZURE_MSI_ENDPOINT",
        "AZURE_MSI_RESOURCE_ID",
        "AZURE_OBJECT_ID",
        "AZURE_CONTAINER_NAME",
        "AZURE_FABRIC_TOKEN_SERVICE_URL",
        "AZURE_FABRIC_WORKLOAD_HOST",
        "AZURE_FABRIC_SESSION_TOKEN",
        "AZURE_FABRIC_CLUSTER_IDENTIFIER",
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_AUTHORITY_HOST",
        "AZURE_FEDERATED_TOKEN_FILE",
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
    ];

    /// Values as files, secret stores and documents leave them; the value itself must never be printed.
    fn flawed() -> Vec<String> {
        let ends = [
            "\n", "\r", "\r\n", " ", "\t", "\u{a0}", "\u{feff}", "\u{200b}", "\"", "'",
        ];
        let inside = ["\0", "\u{1b}", "\u{7f}", "\n", "\u{fffd}"];
        let ends = ends
            .iter()
            .flat_map(|c| [format!("{c}VALUE"), format!("VALUE{c}")]);
        ends.chain(inside.iter().map(|c| format!("VAL{c}VALUE")))
            .collect()
    }

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Environment::of(pairs.iter().map(owned))
    }

    fn assert_refused(result: Result<Lake>, name: &str, flaw: &str) {
        let error = result.err();
        let message = error.as_ref().map(ToString::to_string).unwrap_or_default();
        assert!(
            matches!(error, Some(Error::Configuration { .. })),
            "{name} {flaw:?}: {message}"
        );
        assert!(
            message.contains(name) && !message.contains("VALUE"),
            "{name} {flaw:?}: {message}"
        );
    }

    #[test]
    fn line_breaks_and_blanks_at_the_ends_of_variables_are_left_out() {
        let given = |origin: &str, key: S3Key, value: &str| Given {
            key,
            origin: Origin::Variable(origin.to_owned()),
            value: SecretString::from(value),
        };
        for end in ["\n", "\r", "\r\n", " ", "\t", "\u{a0}", "\u{feff}"] {
            for flawed in [format!("{end}VALUE"), format!("VALUE{end}")] {
                for key in [S3Key::Region, S3Key::SecretAccessKey, S3Key::Token] {
                    let variables = vec![given("NAME", key, &flawed)];
                    let read = from_variables("s3://bucket/x", variables).unwrap();
                    assert_eq!(read[0].value.expose_secret(), "VALUE", "{flawed:?}");
                }
            }
            let nothing = vec![given("NAME", S3Key::Region, end)];
            assert!(from_variables("s3://bucket/x", nothing).is_err());
        }
    }

    #[test]
    fn every_variable_with_an_invisible_character_elsewhere_is_refused() {
        let is_left_over = |flaw: &String| TextFlaw::trim(flaw).is_some();
        for flaw in flawed() {
            if is_left_over(&flaw) {
                let variables = [
                    ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
                    ("IDENTITY_HEADER", &flaw),
                ];
                // The library reads it by itself.
                let opened = open_in(
                    &environment(&variables),
                    "az://container/x",
                    &Options::new(),
                );
                assert_refused(opened, "IDENTITY_HEADER", &flaw);
                continue;
            }
            for name in S3_VARIABLES {
                let opened = open_in(
                    &environment(&[(name, &flaw)]),
                    "s3://bucket/x",
                    &Options::new(),
                );
                assert_refused(opened, name, &flaw);
            }
            for name in AZURE_VARIABLES {
                let opened = open_in(
                    &environment(&[("AZURE_STORAGE_ACCOUNT_NAME", "account"), (name, &flaw)]),
                    "az://container/x",
                    &Options::new(),
                );
                assert_refused(opened, name, &flaw);
            }
        }
    }

    #[test]
    fn every_option_with_an_invisible_character_is_refused() {
        let nothing = environment(&[]);
        for flaw in flawed() {
            for name in S3_OPTIONS {
                let opened = open_in(&nothing, "s3://bucket/x", &options(&[(name, &flaw)]));
                assert_refused(opened, name, &flaw);
            }
            for name in AZURE_OPTIONS {
                let opened = open_in(&nothing, "az://container/x", &options(&[(name, &flaw)]));
                assert_refused(opened, name, &flaw);
            }
        }
        assert!(refusal("s3://bucket/x\n", &[]).contains("ends with a line feed"));
    }

    #[test]
    fn values_that_make_no_url_and_no_header_are_refused() {
        for (name, value) in [
            ("AWS_REGION", "us east"),
            ("AWS_REGION", "us\"east"),
            ("AWS_REGION", "eu\u{2011}west-1"),
            ("AWS_ENDPOINT_URL", "127.0.0.1:9000"),
            ("AWS_ENDPOINT_URL", "https://"),
            ("AWS_ENDPOINT_URL", "ftp://host"),
            ("AWS_SESSION_TOKEN", "two words"),
            ("AWS_ENDPOINT_URL_STS", "sts.amazonaws.com"),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "creds"),
        ] {
            assert_refused(
                open_in(
                    &environment(&[(name, value)]),
                    "s3://bucket",
                    &Options::new(),
                ),
                name,
                value,
            );
        }
        for (name, value) in [
            ("AZURE_STORAGE_ACCOUNT_NAME", "a/b"),
            ("AZURE_STORAGE_ACCOUNT_NAME", "a b"),
            ("AZURE_STORAGE_TENANT_ID", "a b"),
            ("AZURE_STORAGE_AUTHORITY_HOST", "login.microsoftonline.com"),
            ("IDENTITY_ENDPOINT", "127.0.0.1"),
            ("IDENTITY_HEADER", "two words"),
        ] {
            assert_refused(
                open_in(
                    &environment(&[(name, value)]),
                    "az://container",
                    &Options::new(),
                ),
                name,
                value,
            );
        }
    }

    #[test]
    fn addresses_are_handed_on_as_the_store_takes_them() {
        for address in [
            "http:127.0.0.1:9",
            "http:///127.0.0.1:9",
            "http://127.0.0.1:9/",
        ] {
            assert_eq!(
                checked(Form::Address, &SecretString::from(address))
                    .unwrap()
                    .expose_secret(),
                "http://127.0.0.1:9"
            );
        }
    }

    #[test]
    fn empty_variables_count_as_not_set() {
        let keys = [
            ("AWS_ACCESS_KEY_ID", "ID"),
            ("AWS_SECRET_ACCESS_KEY", "SECRET"),
        ];
        let variables = environment(&[
            keys[0],
            keys[1],
            ("AWS_ENDPOINT_URL", ""),
            ("AWS_REGION", ""),
        ]);
        assert!(open_in(&variables, "s3://bucket", &Options::new()).is_ok());
    }

    #[test]
    fn a_token_file_that_makes_no_header_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "VALUE\n").unwrap();
        let variables = environment(&[
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "http://169.254.170.23/v1/credentials",
            ),
            (
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                file.to_str().unwrap(),
            ),
        ]);
        let opened = open_in(&variables, "s3://bucket", &Options::new());
        assert_refused(opened, file.to_str().unwrap(), "a token");
    }

    #[test]
    fn certificates_have_lines() {
        let pem =
            SecretString::from("-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n");
        assert!(checked(Form::Lines, &pem).is_ok());
        assert!(checked(Form::Lines, &SecretString::from("a\0")).is_err());
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
