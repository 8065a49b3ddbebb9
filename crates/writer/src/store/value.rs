//! One value of a store's configuration: who gave it, and whether it has the form that its key takes.
//!
//! `object_store` puts values into URLs and headers as they are, and panics where that gives no URL and no header.

use std::fmt;

use object_store::ClientConfigKey;
use object_store::aws::AmazonS3ConfigKey as S3Key;
use object_store::azure::AzureConfigKey as AzureKey;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::store::text_flaw::TextFlaw;

/// A value, its key, and who gave it.
#[derive(Debug, Clone)]
pub(crate) struct Given<K> {
    pub(crate) key: K,
    pub(crate) origin: Origin,
    pub(crate) value: SecretString,
}

/// Who gave a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `[lake.options]`, under this name.
    Option(String),
    /// The environment variable of this name.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(name) => write!(f, "option `{name}`"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// What a value has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A part of a host's name or of a path: letters, digits, `-`, `_` and `.`.
    Name,
    /// An `http` or `https` URL.
    Address,
    /// A URL's path.
    UrlPath,
    /// Visible ASCII: goes into a header or a URL.
    Word,
    /// Any text: a file, a secret that is hashed or encoded.
    Text,
    /// PEM, which has lines.
    Lines,
}

/// A key of a store, which knows the form of its values.
pub(crate) trait StoreKey: Copy {
    fn form(self) -> Form;

    /// What it sets of the HTTP client, if that is what it sets.
    fn client(self) -> Option<ClientConfigKey>;
}

impl StoreKey for S3Key {
    fn form(self) -> Form {
        match self {
            Self::Region | Self::DefaultRegion | Self::Bucket => Form::Name,
            Self::Endpoint
            | Self::S3Endpoint
            | Self::StsEndpoint
            | Self::MetadataEndpoint
            | Self::ContainerCredentialsFullUri => Form::Address,
            Self::ContainerCredentialsRelativeUri => Form::UrlPath,
            Self::SecretAccessKey
            | Self::WebIdentityTokenFile
            | Self::ContainerAuthorizationTokenFile
            | Self::RoleSessionName => Form::Text,
            Self::Client(key) => of_client(key),
            _ => Form::Word,
        }
    }

    fn client(self) -> Option<ClientConfigKey> {
        match self {
            Self::Client(key) => Some(key),
            _ => None,
        }
    }
}

impl StoreKey for AzureKey {
    fn form(self) -> Form {
        match self {
            Self::AccountName | Self::ContainerName | Self::AuthorityId => Form::Name,
            Self::Endpoint
            | Self::AuthorityHost
            | Self::MsiEndpoint
            | Self::FabricTokenServiceUrl => Form::Address,
            Self::ClientSecret | Self::FederatedTokenFile => Form::Text,
            Self::Client(key) => of_client(key),
            _ => Form::Word,
        }
    }

    fn client(self) -> Option<ClientConfigKey> {
        match self {
            Self::Client(key) => Some(key),
            _ => None,
        }
    }
}

fn of_client(key: ClientConfigKey) -> Form {
    match key {
        ClientConfigKey::ProxyCaCertificate => Form::Lines,
        _ => Form::Text,
    }
}

/// The value in its form, or what is wrong with it in words that go after its origin.
pub(crate) fn checked(form: Form, value: &SecretString) -> Result<SecretString, String> {
    let text = value.expose_secret();
    let flaw = match form {
        Form::Lines => TextFlaw::find_inside(text, |c| c == '\0'),
        _ => TextFlaw::find(text),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let flaw = flaw.or_else(|| match form {
        Form::Name => TextFlaw::find_inside(text, |c| !is_name(c)),
        Form::Address | Form::UrlPath | Form::Word => {
            TextFlaw::find_inside(text, |c| !c.is_ascii_graphic())
        }
        Form::Text | Form::Lines => None,
    });
    if let Some(flaw) = flaw {
        return Err(format!("{flaw}; give it without"));
    }
    match form {
        Form::Name if text.is_empty() => Err("is empty".to_owned()),
        Form::Address => normal_address(text).map(SecretString::from),
        Form::UrlPath if !text.starts_with('/') => Err("does not begin with `/`".to_owned()),
        _ => Ok(value.clone()),
    }
}

/// The address as URLs are written: the URL standard accepts more than `object_store` does. A user and a password in it would be
/// printed with it.
fn normal_address(text: &str) -> Result<String, String> {
    let is_web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.host().is_some();
    let Some(url) = Url::parse(text).ok().filter(is_web) else {
        return Err("is no address such as https://host or http://127.0.0.1:9000".to_owned());
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or a password: credentials have options of their own".to_owned());
    }
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let mut normal = url.to_string();
    if bare {
        normal.pop();
    }
    Ok(normal)
}
