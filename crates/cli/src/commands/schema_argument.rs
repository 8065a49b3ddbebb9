//! The argument that names a schema: a dataset that the program carries, or a schema file.

use dataset::Dataset;

use crate::failure::Failure;

/// A dataset that the program carries, or that a schema file declares.
pub(super) fn dataset(name: &str) -> Result<Dataset, Failure> {
    if name.ends_with(".toml") {
        let text = std::fs::read_to_string(name).map_err(|error| {
            Failure::usage(format!("cannot read schema file `{name}`: {error}"), None)
        })?;
        return Dataset::parse(&text, name)
            .map_err(|error| Failure::usage(error.to_string(), None));
    }
    Dataset::built_in(name).ok_or_else(|| {
        let known: Vec<&str> = Dataset::built_in_names().collect();
        Failure::usage(
            format!(
                "unknown dataset `{name}`; the program carries {}",
                known.join(", ")
            ),
            Some("give one of these, or the path of a schema file that ends in .toml".to_owned()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_code::ExitCode;

    #[test]
    fn a_dataset_is_found_by_name_and_by_file() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../schemas/info_gathering.toml"
        );
        assert_eq!(dataset(file).unwrap(), dataset("info_gathering").unwrap());
    }

    #[test]
    fn an_unknown_dataset_is_wrong_use() {
        let failure = dataset("info").unwrap_err();
        assert_eq!(failure.code(), ExitCode::Usage);
        for words in ["the program carries ", "info_gathering", "certificates"] {
            assert!(failure.message.contains(words), "{}", failure.message);
        }
        assert_eq!(dataset("nowhere.toml").unwrap_err().code(), ExitCode::Usage);
    }
}
