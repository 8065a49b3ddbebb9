//! A script: which requests go wrong, and how. Data only; `server` acts on it.
//!
//! A request is known by its subject (a blob, the API, the token endpoint), its method and its number: the first GET of a
//! blob is GET 1 of that blob, in whatever container. A script is a pure function of these, so a run that asks in the same
//! order meets the same faults. As a file, it is TOML:
//!
//! ```toml
//! etag_by_container = true
//!
//! [[fault]]
//! at = { blob = 3 }
//! when = { first = 2 }
//! what = { cut = { after = 1000 } }
//!
//! [[fault]]
//! at = "listings"
//! when = { nth = 1 }
//! what = { answer = { status = 503, body = "<html>maintenance</html>" } }
//!
//! [random]
//! seed = 7
//! rate = 0.1
//! ```

use std::path::{Path, PathBuf};

use glob::Pattern;
use serde::{Deserialize, Serialize};

use super::kind::FaultKind;
use super::random::RandomFaults;
use super::target::{Subject, Target};
use crate::error::{Error, Result};

/// All that goes wrong. The default is nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultScript {
    /// Faults in order: the first one that is due at a request is taken.
    #[serde(rename = "fault")]
    pub faults: Vec<Fault>,
    /// Faults beside those of the script, where none of it is due.
    pub random: Option<RandomFaults>,
    /// Whether a blob has another ETag in every container, as nothing promises that it has not.
    pub etag_by_container: bool,
    /// Whether answers lack the blob's MD5.
    pub without_md5: bool,
}

/// One fault: where, when and what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which requests it concerns.
    pub at: Target,
    /// Which of them it spoils.
    #[serde(default)]
    pub when: When,
    /// What it does to them.
    pub what: FaultKind,
}

/// Which of its requests a fault spoils, by their numbers from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// All.
    #[default]
    Always,
    /// The first so many.
    First(u64),
    /// That one alone.
    Nth(u64),
    /// Every so many: `every = 3` is the 3rd, the 6th, ...
    Every(u64),
    /// All after the first so many.
    After(u64),
}

impl When {
    fn is_due(self, number: u64) -> bool {
        match self {
            Self::Always => true,
            Self::First(count) => number <= count,
            Self::Nth(nth) => number == nth,
            Self::Every(step) => step > 0 && number.is_multiple_of(step),
            Self::After(count) => number > count,
        }
    }
}

impl FaultScript {
    /// Reads a script from TOML.
    ///
    /// # Errors
    /// [`Error::Faults`] for what is no TOML, a key that does not exist, or a fault that cannot be where it should.
    pub fn parse(text: &str) -> Result<Self> {
        let script: Self = toml::from_str(text).map_err(|error| Error::Faults {
            reason: error.to_string(),
        })?;
        script.check()?;
        Ok(script)
    }

    /// Reads a script from a file.
    ///
    /// # Errors
    /// [`Error::File`], and what [`parse`](Self::parse) returns.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&std::fs::read_to_string(path).map_err(Error::file(path))?)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::Faults { reason });
        for (index, Fault { at, what, .. }) in self.faults.iter().enumerate() {
            if !what.fits(at) {
                return refuse(format!(
                    "fault {index}: `{}` cannot be at {at:?}",
                    what.name()
                ));
            }
            if let Target::Blobs(pattern) | Target::Heads(pattern) = at
                && let Err(error) = Pattern::new(pattern)
            {
                return refuse(format!("fault {index}: pattern `{pattern}`: {error}"));
            }
            if let FaultKind::Answer { status, .. } = what
                && !(200..=599).contains(status)
            {
                return refuse(format!("fault {index}: {status} is no status of an answer"));
            }
        }
        match self.random {
            Some(random)
                if !(0.0..=1.0).contains(&random.rate)
                    || !(0.0..=1.0).contains(&random.api_rate) =>
            {
                refuse("random: a rate is not a share between 0 and 1".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// What goes wrong with that request.
    pub(crate) fn due(&self, subject: &Subject, number: u64) -> Option<FaultKind> {
        let scripted = self
            .faults
            .iter()
            .find(|fault| fault.when.is_due(number) && fault.at.concerns(subject));
        match (scripted, self.random) {
            (Some(fault), _) => Some(fault.what.clone()),
            (None, Some(random)) => random.draw(subject, number),
            (None, None) => None,
        }
    }

    /// Folders whose snapshots the script serves.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        self.faults.iter().filter_map(|fault| match &fault.what {
            FaultKind::Snapshot(folder) => Some(folder),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_from_toml_and_written_back_the_same() {
        let text = r#"
            etag_by_container = true
            [[fault]]
            at = { blob = 3 }
            when = { first = 2 }
            what = { cut = { after = 1000 } }
            [[fault]]
            at = { heads = "*part-00001*" }
            what = "not_found"
            [[fault]]
            at = "listings"
            when = { nth = 1 }
            what = { answer = { status = 429, retry_after = 3 } }
            [[fault]]
            at = "listings"
            when = { after = 1 }
            what = { snapshot = "tomorrow" }
            [random]
            seed = 7
            rate = 0.1
        "#;
        let script = FaultScript::parse(text).unwrap();
        assert_eq!(script.faults.len(), 4);
        assert_eq!(script.faults[1].when, When::Always);
        assert_eq!(
            script.random,
            Some(RandomFaults {
                seed: 7,
                rate: 0.1,
                api_rate: 0.0
            })
        );
        let written = toml::to_string(&script).unwrap();
        assert_eq!(FaultScript::parse(&written).unwrap(), script);
        assert_eq!(FaultScript::parse("").unwrap(), FaultScript::default());
    }

    #[test]
    fn a_script_that_makes_no_sense_is_refused_with_its_reason() {
        let fault = |at: &str, what: &str| {
            FaultScript::parse(&format!("[[fault]]\nat = {at}\nwhat = {what}"))
                .unwrap_err()
                .to_string()
        };
        assert!(fault("\"token\"", "\"not_found\"").contains("`not_found` cannot be at Token"));
        assert!(fault("{ blob = 1 }", "{ huge = { mebibytes = 1 } }").contains("`huge`"));
        assert!(fault("{ heads = \"*\" }", "{ cut = { after = 1 } }").contains("`cut`"));
        assert!(fault("{ blobs = \"[\" }", "\"not_found\"").contains("pattern `[`"));
        assert!(fault("\"listings\"", "{ answer = { status = 99 } }").contains("99"));
        assert!(fault("\"listings\"", "\"explode\"").contains("explode"));
        assert!(FaultScript::parse("[random]\nseed = 1\nrate = 2").is_err());
        assert!(FaultScript::parse("typo = 1").is_err());
    }

    #[test]
    fn a_fault_is_due_by_the_number_of_the_request() {
        let due = |when: When| (1..=6).filter(|&n| when.is_due(n)).collect::<Vec<u64>>();
        assert_eq!(due(When::Always), [1, 2, 3, 4, 5, 6]);
        assert_eq!(due(When::First(2)), [1, 2]);
        assert_eq!(due(When::Nth(3)), [3]);
        assert_eq!(due(When::Every(3)), [3, 6]);
        assert_eq!(due(When::Every(0)), [0; 0]);
        assert_eq!(due(When::After(4)), [5, 6]);
    }
}
