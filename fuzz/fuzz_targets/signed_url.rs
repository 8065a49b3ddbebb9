//! A signed URL that is accepted is safe to print and leads over https, or to loopback.

#![no_main]

use chrono::DateTime;
use extractor::SignedUrl;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let listed_at = DateTime::from_timestamp(1_777_802_460, 0).expect("a time");
    let Ok(url) = SignedUrl::parse(text, listed_at) else {
        return;
    };
    for printed in [url.to_string(), format!("{url:?}")] {
        let (_, query) = printed.split_once('?').expect("what stands for the query");
        assert!(
            query.trim_end_matches(')') == "<signature withheld>",
            "{printed}"
        );
    }
    let printed = url.to_string();
    assert!(
        printed.starts_with("https://") || printed.starts_with("http://"),
        "{printed}"
    );
    let _ = (url.expires_at(), url.valid_from());
});
