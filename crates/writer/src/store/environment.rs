//! The environment variables that configure object stores: those whose names in lower case are keys of `object_store`.
//!
//! An empty variable counts as one that is not set. Of two that name one key, the later in the alphabet goes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::str::FromStr;

use object_store::aws::AmazonS3ConfigKey as S3Key;
use object_store::azure::AzureConfigKey as AzureKey;
use secrecy::SecretString;

use crate::store::value::{Given, Origin};

/// Where `object_store` finds the Azure emulator if `use_emulator` is set.
const EMULATOR_URL: &str = "AZURITE_BLOB_STORAGE_URL";
/// Where App Service and Functions give tokens of a managed identity, and the header that a request for one needs, which
/// `object_store` reads by itself.
const IDENTITY_ENDPOINT: &str = "IDENTITY_ENDPOINT";
const IDENTITY_HEADER: &str = "IDENTITY_HEADER";

/// A process's environment variables.
pub(crate) struct Environment {
    variables: BTreeMap<String, SecretString>,
}

impl Environment {
    /// Those of this process. What is not UTF-8 is kept with replacement characters, so that it is refused and not ignored.
    pub(crate) fn of_process() -> Self {
        let lossy = |text: OsString| text.to_string_lossy().into_owned();
        Self::of(std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))))
    }

    pub(crate) fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let set = variables.into_iter().filter(|(_, value)| !value.is_empty());
        Self {
            variables: set
                .map(|(name, value)| (name, SecretString::from(value)))
                .collect(),
        }
    }

    /// `AWS_…`
    pub(crate) fn s3(&self) -> Vec<Given<S3Key>> {
        self.keys_below("AWS_")
    }

    /// `AZURE_…`, and where a managed identity is to be had.
    pub(crate) fn azure(&self) -> Vec<Given<AzureKey>> {
        let mut given = self.keys_below("AZURE_");
        given.extend(self.given(IDENTITY_ENDPOINT, AzureKey::MsiEndpoint));
        given
    }

    /// The header for [`IDENTITY_ENDPOINT`].
    pub(crate) fn identity_header(&self) -> Option<Given<()>> {
        self.given(IDENTITY_HEADER, ())
    }

    /// The Azure emulator's address.
    pub(crate) fn emulator(&self) -> Option<Given<()>> {
        self.given(EMULATOR_URL, ())
    }

    fn keys_below<K: FromStr>(&self, prefix: &str) -> Vec<Given<K>> {
        let names = self
            .variables
            .keys()
            .filter(|name| name.starts_with(prefix));
        names
            .filter_map(|name| self.given(name, name.to_ascii_lowercase().parse().ok()?))
            .collect()
    }

    fn given<K>(&self, name: &str, key: K) -> Option<Given<K>> {
        Some(Given {
            key,
            origin: Origin::Variable(name.to_owned()),
            value: self.variables.get(name)?.clone(),
        })
    }
}
