//! What the service does wrong, and when: a script of faults, and faults drawn by a seed. Data only; `server` acts on it.
//!
//! A request is told by its subject (a blob, the API, the token endpoint), its method and its number: the first GET of a
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
use std::time::Duration;

use glob::Pattern;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use crate::generator::{Dice, Purpose};
use crate::{Error, Result};

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

/// Which requests a fault concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// GETs of one blob of the container, by its place in the order of blob paths, from 0.
    Blob(usize),
    /// GETs of the blobs whose path matches the pattern (`*`, `?`, `[...]`; `*` matches `/` too).
    Blobs(String),
    /// HEADs of the blobs whose path matches the pattern.
    Heads(String),
    /// Calls of the export API that passed the checks of token and rate.
    Listings,
    /// Requests to the token endpoint.
    Token,
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

/// The MD5 header of a body that is not what it should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Md5Header {
    /// That of the true blob, which does not match.
    #[default]
    True,
    /// That of what is sent, which does.
    Fixed,
    /// None.
    Absent,
}

/// Which of a signature's times has passed, in the words of the blob store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFrame {
    /// The URL's.
    #[default]
    Url,
    /// The signing key's: also said for a key that is not valid yet.
    Key,
}

/// What goes wrong. Positions and lengths are bytes; pauses are milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    // Of every body.
    /// The connection breaks after so many bytes of the body.
    Cut {
        /// Bytes that are sent.
        after: u64,
    },
    /// Nothing comes for a while after so many bytes; then the rest does.
    Stall {
        /// Bytes that are sent first.
        after: u64,
        /// Length of the silence.
        millis: u64,
    },
    /// The body comes in small pieces.
    Trickle {
        /// Bytes of a piece.
        piece: u64,
        /// Pause after each.
        millis: u64,
    },
    /// `Content-Length` is off by so many bytes. A body that is longer than announced ends where it was announced to.
    ContentLength {
        /// Added to the true length.
        by: i64,
    },

    // In place of a body.
    /// A status; without a body of its own it has the one that the service gives errors.
    Answer {
        /// Status code.
        status: u16,
        /// Body, as `text/html` where it begins with `<`, else as JSON.
        #[serde(default)]
        body: Option<String>,
        /// Seconds of `Retry-After`.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// 302 to another address.
    Redirect {
        /// `Location`.
        to: String,
    },

    // Of blobs alone.
    /// 403 in the words for a signature out of its time.
    Expired {
        /// Whose time.
        #[serde(default)]
        frame: TimeFrame,
    },
    /// 404 `BlobNotFound`.
    NotFound,
    /// 409 `PendingCopyOperation`.
    PendingCopy,
    /// 200 without a byte.
    Empty {
        /// `x-ms-copy-status`: `pending`, `success`, `aborted`, `failed`; none where not given.
        #[serde(default)]
        copy_status: Option<String>,
    },
    /// The blob ends early and all headers but the MD5 agree that it does.
    Truncate {
        /// Length that is left of the blob.
        to: u64,
        /// The MD5 that is told.
        #[serde(default)]
        md5: Md5Header,
    },
    /// One byte is another.
    Corrupt {
        /// Position in the blob; past its end it is the last byte.
        at: u64,
        /// The MD5 that is told.
        #[serde(default)]
        md5: Md5Header,
    },
    /// The blob is another version: other bytes of the same records, another ETag, another MD5.
    Changed {
        /// Whether its length is another too.
        #[serde(default)]
        resized: bool,
    },

    // Of listings alone.
    /// The snapshot listed is the newest one of that folder.
    Snapshot(PathBuf),
    /// The containers of all earlier listings are gone: their URLs get 404 `ContainerNotFound`.
    ContainersRemoved,
    /// The signed URLs live so many seconds.
    UrlLifetime {
        /// From now on.
        seconds: u32,
    },
    /// One of the URLs is missing.
    BlobMissing,
    /// One of the URLs is there twice, with two signatures.
    BlobTwice,
    /// A text more among the URLs. `{origin}` in it becomes the server's own scheme, host and port.
    ExtraUrl(String),
    /// The listing is preceded by so many MiB of a key that nobody knows, with no length announced.
    Huge {
        /// Size.
        mebibytes: u64,
    },
}

impl FaultKind {
    /// Its name in a script: what faults are counted by.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cut { .. } => "cut",
            Self::Stall { .. } => "stall",
            Self::Trickle { .. } => "trickle",
            Self::ContentLength { .. } => "content_length",
            Self::Answer { .. } => "answer",
            Self::Redirect { .. } => "redirect",
            Self::Expired { .. } => "expired",
            Self::NotFound => "not_found",
            Self::PendingCopy => "pending_copy",
            Self::Empty { .. } => "empty",
            Self::Truncate { .. } => "truncate",
            Self::Corrupt { .. } => "corrupt",
            Self::Changed { .. } => "changed",
            Self::Snapshot(_) => "snapshot",
            Self::ContainersRemoved => "containers_removed",
            Self::UrlLifetime { .. } => "url_lifetime",
            Self::BlobMissing => "blob_missing",
            Self::BlobTwice => "blob_twice",
            Self::ExtraUrl(_) => "extra_url",
            Self::Huge { .. } => "huge",
        }
    }

    /// Whether it means something for requests of that target.
    fn fits(&self, target: &Target) -> bool {
        match self {
            Self::Cut { .. }
            | Self::Stall { .. }
            | Self::Trickle { .. }
            | Self::ContentLength { .. } => !matches!(target, Target::Heads(_) | Target::Token),
            Self::Answer { .. } | Self::Redirect { .. } => true,
            Self::Expired { .. }
            | Self::NotFound
            | Self::PendingCopy
            | Self::Empty { .. }
            | Self::Truncate { .. }
            | Self::Corrupt { .. }
            | Self::Changed { .. } => !matches!(target, Target::Listings | Target::Token),
            Self::Snapshot(_)
            | Self::ContainersRemoved
            | Self::UrlLifetime { .. }
            | Self::BlobMissing
            | Self::BlobTwice
            | Self::ExtraUrl(_)
            | Self::Huge { .. } => *target == Target::Listings,
        }
    }
}

/// Faults drawn for each request from the seed, the request's subject and its number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomFaults {
    /// Of all draws.
    pub seed: u64,
    /// Share of the requests of blobs that go wrong, 0 to 1.
    pub rate: f64,
    /// Share of the requests of tokens and listings that go wrong, 0 to 1. The budget for these is small.
    #[serde(default)]
    pub api_rate: f64,
}

/// A request, as far as a script is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject<'a> {
    /// GET of a blob: path, place in the order of paths, length.
    Get(&'a str, usize, u64),
    /// HEAD of a blob: path.
    Head(&'a str),
    Listing,
    Token,
}

impl Subject<'_> {
    /// What requests are numbered by.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Get(path, ..) => format!("GET {path}"),
            Self::Head(path) => format!("HEAD {path}"),
            Self::Listing => "listing".to_owned(),
            Self::Token => "token".to_owned(),
        }
    }
}

impl Target {
    fn concerns(&self, subject: &Subject) -> bool {
        let matches = |pattern: &str, path: &str| {
            Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(path))
        };
        match (self, subject) {
            (Self::Blob(place), Subject::Get(_, at, _)) => place == at,
            (Self::Blobs(pattern), Subject::Get(path, ..))
            | (Self::Heads(pattern), Subject::Head(path)) => matches(pattern, path),
            (Self::Listings, Subject::Listing) | (Self::Token, Subject::Token) => true,
            _ => false,
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

impl RandomFaults {
    fn draw(&self, subject: &Subject, number: u64) -> Option<FaultKind> {
        let digest: [u8; 16] = Md5::digest(subject.key()).into();
        let subject_id = digest[..8]
            .iter()
            .fold(0, |id, byte| id << 8 | u64::from(*byte));
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let mut dice = Dice::new(self.seed, Purpose::Faults, subject_id, number);
        let rate = match subject {
            Subject::Get(..) | Subject::Head(_) => self.rate,
            Subject::Listing | Subject::Token => self.api_rate,
        };
        dice.chance(rate).then(|| match subject {
            Subject::Get(_, _, bytes) => of_get(&mut dice, *bytes),
            Subject::Head(_) => of_head(&mut dice),
            Subject::Listing => of_listing(&mut dice),
            Subject::Token => answer(&mut dice, &[429, 500, 503]),
        })
    }
}

fn of_get(dice: &mut Dice, bytes: u64) -> FaultKind {
    let at = u64::from(dice.below(u32::try_from(bytes).unwrap_or(u32::MAX)));
    let md5 = dice.pick(&[Md5Header::True, Md5Header::Fixed, Md5Header::Absent]);
    match dice.below(14) {
        0..=2 => FaultKind::Cut { after: at },
        3 => FaultKind::Stall {
            after: at,
            millis: 1 + u64::from(dice.below(100)),
        },
        4 => FaultKind::Trickle {
            piece: 1 + bytes / 16,
            millis: 1 + u64::from(dice.below(8)),
        },
        5 => FaultKind::ContentLength {
            by: dice.pick(&[-17, -1, 1, 1_000]),
        },
        6 => FaultKind::Truncate { to: at, md5 },
        7 => FaultKind::Corrupt { at, md5 },
        8 => FaultKind::Changed {
            resized: dice.chance(0.5),
        },
        9 => FaultKind::Expired {
            frame: dice.pick(&[TimeFrame::Url, TimeFrame::Key]),
        },
        10 => FaultKind::NotFound,
        11 => FaultKind::PendingCopy,
        12 => FaultKind::Empty {
            copy_status: dice
                .pick(&[None, Some("pending"), Some("success")])
                .map(str::to_owned),
        },
        _ => answer(dice, &[408, 429, 500, 503]),
    }
}

fn of_head(dice: &mut Dice) -> FaultKind {
    match dice.below(5) {
        0 => FaultKind::NotFound,
        1 => FaultKind::PendingCopy,
        2 => FaultKind::Empty {
            copy_status: Some("pending".to_owned()),
        },
        3 => FaultKind::Expired {
            frame: TimeFrame::Key,
        },
        _ => answer(dice, &[408, 429, 500, 503]),
    }
}

fn of_listing(dice: &mut Dice) -> FaultKind {
    let after = u64::from(dice.below(2_000));
    match dice.below(5) {
        0 => FaultKind::Cut { after },
        1 => FaultKind::Stall {
            after,
            millis: 1 + u64::from(dice.below(100)),
        },
        2 => FaultKind::ContainersRemoved,
        _ => answer(dice, &[429, 500, 503]),
    }
}

fn answer(dice: &mut Dice, statuses: &[u16]) -> FaultKind {
    let status = dice.pick(statuses);
    FaultKind::Answer {
        status,
        body: dice
            .chance(0.5)
            .then(|| "<html><body>Service Unavailable</body></html>".to_owned()),
        retry_after: (status == 429).then_some(1),
    }
}

/// What a fault does to the bytes of a body on their way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) cut_after: Option<u64>,
    pub(crate) stall: Option<(u64, Duration)>,
    pub(crate) trickle: Option<(u64, Duration)>,
    pub(crate) length_off_by: i64,
}

impl Wire {
    /// `None` if the fault leaves the way of the bytes alone.
    pub(crate) fn of(fault: &FaultKind) -> Option<Self> {
        let wire = Self::default();
        Some(match *fault {
            FaultKind::Cut { after } => Self {
                cut_after: Some(after),
                ..wire
            },
            FaultKind::Stall { after, millis } => Self {
                stall: Some((after, Duration::from_millis(millis))),
                ..wire
            },
            FaultKind::Trickle { piece, millis } => Self {
                trickle: Some((piece.max(1), Duration::from_millis(millis))),
                ..wire
            },
            FaultKind::ContentLength { by } => Self {
                length_off_by: by,
                ..wire
            },
            _ => return None,
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

    #[test]
    fn random_faults_follow_from_the_seed_at_about_their_rate_and_are_of_every_kind() {
        let draw = |seed| {
            let random = RandomFaults {
                seed,
                rate: 0.25,
                api_rate: 0.1,
            };
            let gets = (1..=4_000).map(move |number| {
                random
                    .draw(&Subject::Get("a/b", 0, 500), number)
                    .map(|fault| fault.name())
            });
            gets.collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let drawn: Vec<_> = draw(1).into_iter().flatten().collect();
        assert!((800..1_200).contains(&drawn.len()), "{}", drawn.len());
        let kinds: std::collections::BTreeSet<_> = drawn.into_iter().collect();
        assert_eq!(kinds.len(), 12, "{kinds:?}");
    }
}
