//! Finds keys and sections by their path, and what an unknown path was probably meant to be.

use super::keys::{KEYS, Key};
use super::kind::Kind;

/// The key of that path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| matches(key.path, path))
}

/// Whether the values of a key may be secrets.
pub fn is_secret(path: &str) -> bool {
    find(path).is_some_and(|key| key.kind == Kind::Secret)
}

/// Whether a value of a secret's kind is one: of the store's options, some are and some are not.
pub(super) fn names_secret(path: &str) -> bool {
    const WORDS: &[&str] = &[
        "secret",
        "token",
        "sas",
        "account_key",
        "access_key",
        "password",
    ];
    let name = path.rsplit('.').next().unwrap_or(path).to_ascii_lowercase();
    let is_no_secret = ["_id", "_file", "_uri", "_url", "endpoint"]
        .iter()
        .any(|end| name.ends_with(end));
    !is_no_secret && WORDS.iter().any(|word| name.contains(word))
}

fn matches(declared: &str, path: &str) -> bool {
    match declared.strip_suffix(".*") {
        Some(section) => path
            .strip_prefix(section)
            .and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(|name| !name.is_empty() && !name.contains('.')),
        None => declared == path,
    }
}

/// Whether the path is a section: a table that holds keys.
pub(super) fn is_section(path: &str) -> bool {
    sections().any(|section| section == path)
}

fn sections() -> impl Iterator<Item = &'static str> {
    KEYS.iter()
        .flat_map(|key| key.path.match_indices('.').map(|(dot, _)| &key.path[..dot]))
}

fn last_step(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// The known key (or, for a table, the known section) nearest to an unknown one: the same name in another section, else
/// a word of its name or the least typing errors away. `None` where nothing is near.
pub(super) fn nearest(unknown: &str, is_table: bool) -> Option<&'static str> {
    let candidates: Vec<&'static str> = if is_table {
        sections().collect()
    } else {
        KEYS.iter()
            .map(|key| key.path)
            .filter(|path| !path.ends_with('*'))
            .collect()
    };
    let score = |candidate: &str| {
        let (said, known) = (last_step(unknown), last_step(candidate));
        let word = if known.split('_').any(|word| word == said) {
            0.9
        } else {
            0.0
        };
        let name = strsim::normalized_damerau_levenshtein(said, known).max(word);
        let path = strsim::normalized_damerau_levenshtein(unknown, candidate);
        (name.max(path), path)
    };
    candidates
        .into_iter()
        .map(|candidate| (score(candidate), candidate))
        .filter(|((nearness, _), _)| *nearness >= 0.5)
        .max_by(|(one, _), (other, _)| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_hold_secrets_are_known_by_their_names() {
        for secret in [
            "source.auth.client_secret",
            "source.auth.token",
            "lake.options.aws_secret_access_key",
            "lake.options.account_key",
            "lake.options.SAS_token",
        ] {
            assert!(names_secret(secret) && is_secret(secret), "{secret}");
        }
        for open in [
            "lake.options.region",
            "lake.options.access_key_id",
            "lake.options.client_id",
            "lake.options.endpoint",
            "lake.options.web_identity_token_file",
            "lake.options.fabric_token_service_url",
        ] {
            assert!(!names_secret(open), "{open}");
        }
    }

    #[test]
    fn the_nearest_key_is_found_across_sections() {
        assert_eq!(nearest("source.root", false), Some("lake.root"));
        assert_eq!(nearest("lake.rooot", false), Some("lake.root"));
        assert_eq!(nearest("datset", false), Some("dataset"));
        assert_eq!(nearest("work.thread", false), Some("work.threads"));
        assert_eq!(
            nearest("source.client_id", false),
            Some("source.auth.client_id")
        );
        assert_eq!(
            nearest("source.auth.secret", false),
            Some("source.auth.client_secret")
        );
        assert_eq!(nearest("soruce", true), Some("source"));
        assert_eq!(nearest("auth", true), Some("source.auth"));
        assert_eq!(nearest("zzzzzzzzzzzzzzzz", false), None);
    }

    #[test]
    fn any_name_is_known_in_the_options_of_the_store_and_none_below() {
        assert!(find("lake.options.endpoint").is_some());
        assert!(find("lake.options.a.b").is_none());
        assert!(find("lake.options").is_none());
        assert!(is_section("lake.options"));
    }

    #[test]
    fn paths_are_unique_and_defaults_and_examples_are_toml() {
        let mut seen = std::collections::HashSet::new();
        for key in KEYS {
            assert!(seen.insert(key.path), "{} twice", key.path);
            for text in key.default.iter().chain([&key.example]) {
                assert!(text.parse::<toml::Value>().is_ok(), "{}: {text}", key.path);
            }
        }
    }
}
