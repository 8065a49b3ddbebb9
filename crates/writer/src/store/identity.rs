//! The machine's own identity, which is asked for where nothing else is given; and which identity opens an Azure lake: the one that
//! `[lake.options]` names; or else an account key, SAS or token, or an application, of `AZURE_STORAGE_…`; or else the pod's workload
//! identity; or else the machine's managed identity.
//!
//! `AZURE_CLIENT_ID`, `AZURE_CLIENT_SECRET` and `AZURE_TENANT_ID` name the application that calls the export API. It is never
//! used for the lake by itself. With `AZURE_FEDERATED_TOKEN_FILE` and without the secret they are the pod's own identity.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as S3Key};
use object_store::azure::{AzureConfigKey as Key, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::{CredentialProvider, RetryConfig};
use thiserror::Error;

use crate::error::{Error, Result};
use crate::store::value::{Given, Origin};

/// Prefix of the variables that are for storage alone.
const STORAGE: &str = "AZURE_STORAGE_";
const API_SECRET: &str = "AZURE_CLIENT_SECRET";
const FEDERATED_TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
/// Keys of which one is enough.
const STATIC: &[Key] = &[Key::AccessKey, Key::SasKey, Key::Token];
/// Keys of an application.
const APPLICATION: &[Key] = &[
    Key::ClientId,
    Key::ClientSecret,
    Key::AuthorityId,
    Key::AuthorityHost,
    Key::FederatedTokenFile,
];
/// A machine without a managed identity does not answer: it is not asked for minutes.
const MANAGED_IDENTITY_RETRIES: usize = 4;

/// Leaves the variables of one identity, which `object_store` then uses: by itself it prefers the API's application to a SAS.
pub(crate) fn of_lake(mut variables: Vec<Given<Key>>, options: &[Given<Key>]) -> Vec<Given<Key>> {
    let has = |variables: &[Given<Key>], name: &str| {
        let origin = Origin::Variable(name.to_owned());
        variables.iter().any(|given| given.origin == origin)
    };
    let in_pod = has(&variables, FEDERATED_TOKEN_FILE) && !has(&variables, API_SECRET);
    variables.retain(|given| in_pod || !APPLICATION.contains(&given.key) || is_for_storage(given));

    let holds = |given: &[Given<Key>], keys: &[Key]| given.iter().any(|g| keys.contains(&g.key));
    let weaker: &[Key] = if holds(options, &[Key::FederatedTokenFile, Key::UseAzureCli]) {
        &[
            Key::AccessKey,
            Key::SasKey,
            Key::Token,
            Key::ClientSecret,
            Key::FederatedTokenFile,
        ]
    } else if holds(&variables, STATIC) {
        &[Key::ClientSecret, Key::FederatedTokenFile]
    } else if holds(&variables, &[Key::ClientSecret]) {
        &[Key::FederatedTokenFile]
    } else {
        &[]
    };
    variables.retain(|given| !weaker.contains(&given.key));
    variables
}

fn is_for_storage(given: &Given<Key>) -> bool {
    matches!(&given.origin, Origin::Variable(name) if name.starts_with(STORAGE))
}

/// Makes the store. Half an identity is an error; where there is none, the error of the managed identity says what to set.
pub(crate) fn build(
    root: &str,
    builder: MicrosoftAzureBuilder,
    retries: RetryConfig,
) -> Result<MicrosoftAzure> {
    let has = |key| builder.get_config_value(&key).is_some();
    let is_on = |key| is_on(builder.get_config_value(&key));
    let wrong = |message: &str| Error::Configuration {
        root: root.to_owned(),
        message: message.to_owned(),
    };
    let emulator = is_on(Key::UseEmulator);
    if !emulator && !has(Key::AccountName) && !root.contains('@') {
        return Err(wrong(
            "which storage account is not known: set `account_name` in [lake.options]; AZURE_STORAGE_ACCOUNT_NAME is \
             not read beside credentials in [lake.options]",
        ));
    }
    let is_static = emulator || is_on(Key::SkipSignature) || STATIC.iter().any(|&key| has(key));
    let is_application = has(Key::ClientSecret) || has(Key::FederatedTokenFile);
    if !is_static && is_application && !(has(Key::ClientId) && has(Key::AuthorityId)) {
        return Err(wrong(
            "a client secret or a federated token file needs `client_id` and `tenant_id` beside it, all in \
             [lake.options] or all in AZURE_STORAGE_…; AZURE_CLIENT_ID and AZURE_TENANT_ID are the API's",
        ));
    }
    let builder = if is_static
        || is_application
        || is_on(Key::UseAzureCli)
        || has(Key::FabricTokenServiceUrl)
    {
        builder
    } else {
        let asking = builder.clone().with_retry(RetryConfig {
            max_retries: MANAGED_IDENTITY_RETRIES,
            ..retries
        });
        let managed = asking
            .build()
            .map_err(|error| Error::unbuildable(root, &error))?;
        let inner = Arc::clone(managed.credentials());
        builder.with_credentials(Arc::new(MachineIdentity {
            inner,
            without: NO_MANAGED_IDENTITY,
        }))
    };
    builder
        .build()
        .map_err(|error| Error::unbuildable(root, &error))
}

/// Lets an S3 store whose keys nobody gave ask the machine's role, and not for longer than a moment.
pub(crate) fn of_machine(builder: AmazonS3Builder) -> object_store::Result<AmazonS3Builder> {
    let is_given = [
        S3Key::AccessKeyId,
        S3Key::WebIdentityTokenFile,
        S3Key::ContainerCredentialsRelativeUri,
        S3Key::ContainerCredentialsFullUri,
    ];
    let has = |key: &S3Key| builder.get_config_value(key).is_some();
    let is_anonymous = is_on(builder.get_config_value(&S3Key::SkipSignature));
    if is_anonymous || is_given.iter().any(has) {
        return Ok(builder);
    }
    let inner = Arc::clone(builder.clone().build()?.credentials());
    Ok(builder.with_credentials(Arc::new(MachineIdentity {
        inner,
        without: NO_ROLE,
    })))
}

/// Whether an option that is yes or no is yes.
pub(crate) fn is_on(value: Option<String>) -> bool {
    let value = value.unwrap_or_default().to_ascii_lowercase();
    matches!(value.as_str(), "1" | "true" | "on" | "yes" | "y")
}

/// The machine's identity, which is asked for where nothing else is given.
#[derive(Debug)]
struct MachineIdentity<C> {
    inner: Arc<dyn CredentialProvider<Credential = C>>,
    /// What to say where there is none.
    without: &'static str,
}

/// No credentials are to be had for a lake.
#[derive(Debug, Error)]
#[error("{message}")]
struct NoIdentity {
    message: &'static str,
    source: object_store::Error,
}

const NO_MANAGED_IDENTITY: &str = "no identity for the storage account: [lake.options] and AZURE_STORAGE_… hold none, there is no \
     workload identity, and this machine's managed identity gives no token; set `account_key`, `sas_token`, or `client_id`, \
     `client_secret` and `tenant_id` in [lake.options] (AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and AZURE_TENANT_ID are for the API alone)";
const NO_ROLE: &str = "no credentials for the bucket: [lake.options] and AWS_… hold none, and this machine has no role that gives any; \
     set `access_key_id` and `secret_access_key` in [lake.options], or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; profiles and SSO of \
     the AWS command line are not read: `eval \"$(aws configure export-credentials --format env)\"` puts them into the environment";
/// A machine that has no identity may have nobody who answers.
const WAIT: Duration = Duration::from_secs(8);

#[async_trait]
impl<C: fmt::Debug + Send + Sync + 'static> CredentialProvider for MachineIdentity<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        let asked = tokio::time::timeout(WAIT, self.inner.get_credential()).await;
        let given = asked.unwrap_or_else(|_| {
            Err(object_store::Error::Generic {
                store: "metadata service",
                source: format!("no answer within {} seconds", WAIT.as_secs()).into(),
            })
        });
        given.map_err(|source| object_store::Error::Unauthenticated {
            path: "the lake".to_owned(),
            source: Box::new(NoIdentity {
                message: self.without,
                source,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::Mutex;

    use secrecy::SecretString;

    use super::*;
    use crate::store::environment::Environment;
    use crate::store::lake::Lake;
    use crate::store::options::open_in;

    /// A storage account, a sign-in authority and a metadata endpoint on loopback, which write down who asks them.
    struct Recorder {
        url: String,
        seen: Arc<Mutex<Vec<String>>>,
    }

    impl Recorder {
        /// With a managed identity, or without.
        fn start(managed_identity: bool) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let seen = Arc::new(Mutex::new(Vec::new()));
            let writes = Arc::clone(&seen);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut reader = BufReader::new(stream.unwrap());
                    let lines: Vec<String> = reader
                        .by_ref()
                        .lines()
                        .map(std::result::Result::unwrap)
                        .take_while(|line| !line.is_empty())
                        .collect();
                    let header = |name: &str| {
                        let named = |line: &&String| line.to_ascii_lowercase().starts_with(name);
                        lines
                            .iter()
                            .find(named)
                            .map(|line| line[name.len()..].trim().to_owned())
                    };
                    let length = header("content-length:").map_or(0, |n| n.parse().unwrap());
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    let (status, body, record) = answer(
                        &lines[0],
                        &String::from_utf8(body).unwrap(),
                        header("authorization:").as_deref(),
                        managed_identity,
                    );
                    writes.lock().unwrap().push(record);
                    let text = format!(
                        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    reader.into_inner().write_all(text.as_bytes()).unwrap();
                }
            });
            Self { url, seen }
        }

        /// Reads an object that is not there; who asked for it, and the error if it is another.
        async fn identity(
            &self,
            variables: &[(&str, &str)],
            options: &[(&str, &str)],
        ) -> (Vec<String>, String) {
            self.seen.lock().unwrap().clear();
            let here = |text: &str| text.replace("HERE", &self.url);
            let account = [
                ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
                ("AZURE_STORAGE_ENDPOINT", "HERE/account"),
                ("IDENTITY_ENDPOINT", "HERE/msi"),
                ("AZURE_AUTHORITY_HOST", "HERE/authority"),
            ];
            let environment = account.iter().chain(variables);
            let environment =
                Environment::of(environment.map(|(name, value)| ((*name).to_owned(), here(value))));
            let options: BTreeMap<String, SecretString> = options
                .iter()
                .map(|(name, value)| ((*name).to_owned(), SecretString::from(here(value))))
                .collect();
            let read = match open_in(&environment, "az://container/lake", &options) {
                Ok((shown, store)) => Lake::new(shown, store)
                    .get("x")
                    .await
                    .map(|found| assert!(found.is_none())),
                Err(error) => Err(error),
            };
            let error = read
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            (self.seen.lock().unwrap().clone(), error)
        }
    }

    fn answer(
        request: &str,
        body: &str,
        authorization: Option<&str>,
        managed: bool,
    ) -> (&'static str, String, String) {
        let parameter = |name: &str| {
            let pairs = request.split(['?', '&', ' ']).chain(body.split('&'));
            let mut values = pairs.filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            values.next().unwrap_or("-").to_owned()
        };
        if request.contains("/oauth2/") {
            let by = match parameter("client_assertion").as_str() {
                "-" => "secret".to_owned(),
                assertion => format!("assertion {assertion}"),
            };
            let tenant = request.split('/').rev().nth(4).unwrap_or_default();
            let record = format!("sign-in of {} in {tenant} by {by}", parameter("client_id"));
            let token =
                r#"{"token_type":"Bearer","expires_in":3599,"access_token":"of-application"}"#;
            return ("200 OK", token.to_owned(), record);
        }
        if request.contains("/msi") {
            let record = format!("managed identity {}", parameter("client_id"));
            let token =
                r#"{"token_type":"Bearer","expires_on":"1999999999","access_token":"of-machine"}"#;
            return match managed {
                true => ("200 OK", token.to_owned(), record),
                false => (
                    "400 Bad Request",
                    r#"{"error":"invalid_request"}"#.to_owned(),
                    record,
                ),
            };
        }
        let record = match authorization {
            Some(bearer) if bearer.starts_with("Bearer ") => format!("blob by {bearer}"),
            Some(key) => format!("blob by {}", key.split(' ').next().unwrap()),
            None if request.contains("sig=") => "blob by SAS".to_owned(),
            None => "blob by nobody".to_owned(),
        };
        ("404 Not Found", String::new(), record)
    }

    /// What the README says to export for the API.
    const API: [(&str, &str); 3] = [
        ("AZURE_TENANT_ID", "api-tenant"),
        ("AZURE_CLIENT_ID", "api-client"),
        ("AZURE_CLIENT_SECRET", "api-secret"),
    ];
    const SAS: (&str, &str) = ("AZURE_STORAGE_SAS_TOKEN", "sv=2023-11-03&sig=QUJD");
    const MANAGED: [&str; 2] = ["managed identity -", "blob by Bearer of-machine"];

    fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        API.iter().chain(more).copied().collect()
    }

    #[tokio::test]
    async fn the_application_of_the_api_never_opens_the_lake_by_itself() {
        let recorder = Recorder::start(true);
        for (more, options, expected) in [
            (&[][..], &[][..], &MANAGED[..]),
            (&[SAS], &[], &["blob by SAS"]),
            (
                &[("AZURE_STORAGE_ACCOUNT_KEY", "QUJD")],
                &[],
                &["blob by SharedKey"],
            ),
            (
                &[("AZURE_STORAGE_TOKEN", "mine")],
                &[],
                &["blob by Bearer mine"],
            ),
            (
                &[],
                &[("client_id", "user-assigned")],
                &["managed identity user-assigned", MANAGED[1]],
            ),
            // A pod's token file names the pod, whose ids the API's have displaced.
            (
                &[("AZURE_FEDERATED_TOKEN_FILE", "Cargo.toml")],
                &[],
                &MANAGED,
            ),
        ] {
            let (seen, error) = recorder.identity(&with(more), options).await;
            assert_eq!(seen, expected, "{more:?} {options:?}: {error}");
        }
    }

    #[tokio::test]
    async fn options_and_variables_say_which_application_opens_the_lake() {
        let recorder = Recorder::start(true);
        let expected = [
            "sign-in of lake-client in lake-tenant by secret",
            "blob by Bearer of-application",
        ];
        let options = [
            ("account_name", "account"),
            ("endpoint", "HERE/account"),
            ("authority_host", "HERE"),
            ("client_id", "lake-client"),
            ("client_secret", "lake-secret"),
            ("tenant_id", "lake-tenant"),
        ];
        let (seen, error) = recorder.identity(&with(&[]), &options).await;
        assert_eq!(seen, expected, "{error}");
        let variables = [
            ("AZURE_STORAGE_CLIENT_ID", "lake-client"),
            ("AZURE_STORAGE_CLIENT_SECRET", "lake-secret"),
            ("AZURE_STORAGE_TENANT_ID", "lake-tenant"),
            ("AZURE_STORAGE_AUTHORITY_HOST", "HERE"),
        ];
        let (seen, error) = recorder.identity(&with(&variables), &[]).await;
        assert_eq!(seen, expected, "{error}");
        // A SAS is the narrower right.
        let variables: Vec<_> = variables.into_iter().chain([SAS]).collect();
        assert_eq!(
            recorder.identity(&with(&variables), &[]).await.0,
            ["blob by SAS"]
        );
    }

    #[tokio::test]
    async fn a_workload_identity_opens_the_lake() {
        let recorder = Recorder::start(true);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "pod-token").unwrap();
        let file = file.to_str().unwrap();
        let pod = [
            ("AZURE_TENANT_ID", "pod-tenant"),
            ("AZURE_CLIENT_ID", "pod-client"),
            ("AZURE_FEDERATED_TOKEN_FILE", file),
        ];
        let expected = [
            "sign-in of pod-client in pod-tenant by assertion pod-token",
            "blob by Bearer of-application",
        ];
        let (seen, error) = recorder.identity(&pod, &[]).await;
        assert_eq!(seen, expected, "{error}");
        let with_sas = [pod[0], pod[1], pod[2], SAS];
        assert_eq!(recorder.identity(&with_sas, &[]).await.0, ["blob by SAS"]);

        let options = [
            ("client_id", "pod-client"),
            ("tenant_id", "pod-tenant"),
            ("federated_token_file", file),
            ("authority_host", "HERE"),
        ];
        let (seen, error) = recorder.identity(&with(&[pod[2], SAS]), &options).await;
        assert_eq!(seen, expected, "{error}");
    }

    #[tokio::test]
    async fn no_or_half_an_identity_is_an_error_that_says_what_to_set() {
        let recorder = Recorder::start(false);
        let (seen, error) = recorder.identity(&API, &[]).await;
        assert_eq!(seen, ["managed identity -"]);
        for words in [
            "no identity",
            "`account_key`",
            "[lake.options]",
            "AZURE_CLIENT_SECRET",
        ] {
            assert!(error.contains(words), "{error}");
        }
        assert!(!error.contains("api-secret"), "{error}");
        for options in [
            &[("federated_token_file", "Cargo.toml")][..],
            &[
                ("client_secret", "lake-secret"),
                ("account_name", "account"),
            ],
        ] {
            let (seen, error) = recorder.identity(&API, options).await;
            assert!(
                seen.is_empty() && error.contains("`tenant_id`"),
                "{seen:?} {error}"
            );
        }
        let (_, error) = recorder.identity(&API, &[("account_key", "QUJD")]).await;
        assert!(error.contains("`account_name`"), "{error}");
    }
}
