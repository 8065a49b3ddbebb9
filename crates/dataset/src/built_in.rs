//! The schema files that the program carries: name and text of every `schemas/NAME.toml`, found when it is built.

include!(concat!(env!("OUT_DIR"), "/built_in.rs"));
