//! The recipes that the program carries: name and text of every `recipes/NAME.toml`, found when it is built.

include!(concat!(env!("OUT_DIR"), "/recipes.rs"));
