//! The other casing of a key: files have `OSPlatform`, the JSON endpoints and some rows of files `osPlatform`.

/// `OSPlatform` as `osPlatform`, `Id` as `id`; a key in camel case stays as it is.
pub(crate) fn camel(key: &str) -> String {
    let capitals = key.bytes().take_while(u8::is_ascii_uppercase).count();
    let lowered = match capitals {
        // All capitals, or one: nothing behind them begins a word of its own.
        _ if capitals == key.len() => capitals,
        0 | 1 => capitals,
        more if key.as_bytes()[more].is_ascii_lowercase() => more - 1,
        more => more,
    };
    key[..lowered].to_ascii_lowercase() + &key[lowered..]
}

/// `osPlatform` as `OsPlatform`: for recipes whose own casing is camel case.
fn pascal(key: &str) -> String {
    let mut letters = key.chars();
    match letters.next() {
        Some(first) => first.to_ascii_uppercase().to_string() + letters.as_str(),
        None => String::new(),
    }
}

/// The casing that a recipe's key is not written in.
pub(super) fn other(key: &str) -> String {
    if key.starts_with(|letter: char| letter.is_ascii_uppercase()) {
        camel(key)
    } else {
        pascal(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_capitals_end_before_the_next_word() {
        for (pascal, expected) in [
            ("DeviceId", "deviceId"),
            ("OSPlatform", "osPlatform"),
            ("Id", "id"),
            ("ID", "id"),
            ("CveId", "cveId"),
            ("isActive", "isActive"),
            ("", ""),
        ] {
            assert_eq!(camel(pascal), expected);
        }
        assert_eq!(other("osPlatform"), "OsPlatform");
        assert_eq!(other("OSPlatform"), "osPlatform");
    }
}
