//! A blob path that is accepted names no other place than itself, and is read the same when it is read again.

#![no_main]

use dataset::BlobPath;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(path) = BlobPath::parse(text) else {
        return;
    };
    let identity = path.as_str();
    for segment in identity.split('/') {
        assert!(
            !segment.is_empty() && segment != "." && segment != "..",
            "{identity:?}"
        );
        assert!(
            !segment.contains(|c: char| c.is_control() || c == '\\'),
            "{identity:?}"
        );
        if let Some(group) = segment.strip_prefix("_RbacGroupId=") {
            assert!(group.parse::<i64>().is_ok(), "{identity:?}");
        }
    }
    if !identity.contains('%') {
        assert_eq!(BlobPath::parse(identity).as_ref(), Ok(&path));
    }
});
