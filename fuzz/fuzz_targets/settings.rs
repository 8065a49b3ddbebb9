//! Whatever is in a pipeline file, in `--set` and in the environment, gives settings or an error in words; and a store that is opened
//! with these settings, or an error in words.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pipeline::Settings;
use writer::Lake;

const SHIPPED: &str = include_str!("../../pipelines/info_gathering.toml");

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.split('\u{1f}');
    let (file, overrides, variable) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let file = match file.is_empty() {
        true => SHIPPED,
        false => file,
    };
    let overrides: Vec<String> = overrides.lines().map(str::to_owned).collect();
    let environment = |_: &str| Some(variable.to_owned());
    match Settings::parse(file, Path::new("p.toml"), &overrides, environment) {
        Ok(settings) => {
            if let Err(error) = Lake::open(&settings.lake.root, &settings.lake.options) {
                assert!(!error.to_string().is_empty());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
