//! Faults drawn by a seed, where the script has none.

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::kind::{FaultKind, Md5Header, TimeFrame};
use super::target::Subject;
use crate::dice::{Dice, Purpose};

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

impl RandomFaults {
    pub(super) fn draw(&self, subject: &Subject, number: u64) -> Option<FaultKind> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_faults_follow_from_the_seed_and_are_of_every_kind() {
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
