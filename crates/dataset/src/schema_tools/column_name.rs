//! Names of columns for wire keys, by the convention of `schemas/`: snake_case, as short as is unique. Judges no names that a
//! schema has already.

use std::collections::{HashMap, HashSet};

/// The snake_case of a key: `OSPlatform` is os_platform, `Log4j_CVE_2021_44228` is log4j_cve_2021_44228, `TlsClient10` is
/// tls_client_10. One digit alone is part of its word.
pub(super) fn snake_case(key: &str) -> String {
    let chars: Vec<char> = key.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('_');
    let mut name = String::new();
    for (index, c) in chars.iter().copied().enumerate() {
        let before = index.checked_sub(1).map_or('_', at);
        let next = at(index + 1);
        let long_run_before =
            before.is_ascii_digit() && index > 1 && at(index - 2).is_ascii_digit();
        let word_begins = if c.is_ascii_uppercase() {
            let ends_acronym = before.is_ascii_uppercase() && next.is_ascii_lowercase();
            before.is_ascii_lowercase() || ends_acronym || long_run_before
        } else if c.is_ascii_digit() {
            before.is_ascii_alphabetic() && next.is_ascii_digit()
        } else {
            false
        };
        if word_begins {
            name.push('_');
        }
        name.push(if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '_'
        });
    }
    let words: Vec<&str> = name.split('_').filter(|word| !word.is_empty()).collect();
    let name = words.join("_");
    if name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name
    } else if name.is_empty() {
        "key".to_owned()
    } else {
        format!("key_{name}")
    }
}

/// A name for each path: that of its last key where no other path could have it, otherwise with the keys before it, and at
/// last with a number.
pub(super) fn column_names(paths: &[&str], taken: &[&str]) -> Vec<String> {
    let candidates: Vec<Vec<String>> = paths.iter().map(|path| candidates(path)).collect();
    let mut wanted: HashMap<&str, usize> = HashMap::new();
    for names in &candidates {
        let distinct: HashSet<&str> = names.iter().map(String::as_str).collect();
        for name in distinct {
            *wanted.entry(name).or_default() += 1;
        }
    }
    let mut taken: HashSet<String> = taken.iter().map(|name| (*name).to_owned()).collect();
    // Short paths first: they have the fewest names to choose from.
    let mut order: Vec<usize> = (0..paths.len()).collect();
    order.sort_by_key(|index| candidates[*index].len());
    let mut names = vec![String::new(); paths.len()];
    for index in order {
        let own = &candidates[index];
        let free = |name: &&String| !taken.contains(*name);
        let name = own
            .iter()
            .find(|name| wanted.get(name.as_str()) == Some(&1) && free(name))
            .or_else(|| own.iter().rev().find(free))
            .cloned();
        let name = name.unwrap_or_else(|| numbered(own.last(), &taken));
        taken.insert(name.clone());
        names[index] = name;
    }
    names
}

/// Names of a path, from its last key alone to all of them.
fn candidates(path: &str) -> Vec<String> {
    let mut name = String::new();
    let mut names = Vec::new();
    for key in path.rsplit('.') {
        name = match name.as_str() {
            "" => snake_case(key),
            below => format!("{}_{below}", snake_case(key)),
        };
        names.push(name.clone());
    }
    names
}

fn numbered(name: Option<&String>, taken: &HashSet<String>) -> String {
    let name = name.map_or("key", String::as_str);
    let mut number = 2;
    loop {
        let numbered = format!("{name}_{number}");
        if !taken.contains(&numbered) {
            return numbered;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::partition::is_snake_case;

    #[test]
    fn keys_become_snake_case_by_the_repositorys_convention() {
        for (key, name) in [
            ("OSPlatform", "os_platform"),
            ("OsPlatform", "os_platform"),
            ("CveId", "cve_id"),
            ("id", "id"),
            ("deviceName", "device_name"),
            ("Log4j_CVE_2021_44228", "log4j_cve_2021_44228"),
            (
                "Log4JEnvironmentVariableMitigation",
                "log4j_environment_variable_mitigation",
            ),
            ("Spring4Shell_CVE_2022_22965", "spring4shell_cve_2022_22965"),
            ("TlsClient10", "tls_client_10"),
            (
                "SchUseStrongCrypto35Wow6432",
                "sch_use_strong_crypto_35_wow_6432",
            ),
            ("EBPFStatus", "ebpf_status"),
            ("Bootiful_Mind_status", "bootiful_mind_status"),
            (
                "IsWindowsLtscVersionRunning",
                "is_windows_ltsc_version_running",
            ),
            ("@odata.type", "odata_type"),
            ("2fa", "key_2fa"),
            ("日本", "key"),
            ("__", "key"),
        ] {
            assert_eq!(snake_case(key), name, "{key}");
        }
    }

    #[test]
    fn names_that_collide_take_the_keys_before_them_or_a_number() {
        let paths = [
            "Scan.Quick.Time",
            "Scan.Full.Time",
            "Time",
            "Mode",
            "mode_",
            "Org_Id",
        ];
        assert_eq!(
            column_names(&paths, &["org_id"]),
            [
                "quick_time",
                "full_time",
                "time",
                "mode",
                "mode_2",
                "org_id_2"
            ]
        );
    }

    proptest! {
        #[test]
        fn every_key_has_a_name_of_its_own(keys in proptest::collection::vec(".{0,12}", 0..12)) {
            let paths: Vec<&str> = keys.iter().map(String::as_str).collect();
            let names = column_names(&paths, &["id"]);
            prop_assert!(names.iter().all(|name| is_snake_case(name)), "{names:?}");
            let distinct: HashSet<&String> = names.iter().collect();
            prop_assert_eq!(distinct.len(), names.len());
        }
    }
}
