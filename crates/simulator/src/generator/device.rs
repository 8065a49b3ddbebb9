//! One device on one day: who it is, when it last changed, what was gathered of it.

use chrono::{DateTime, Datelike};

use crate::dice::{Dice, Purpose};
use crate::options::SnapshotOptions;

use super::text::{Fraction, Time};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// Operating system families: they differ in which attributes have values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Windows,
    MacOs,
    Linux,
}

/// An operating system as the service names it.
#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) family: Family,
    pub(crate) name: &'static str,
    name_prefix: &'static str,
    versions: &'static [&'static str],
}

impl Platform {
    const fn new(
        family: Family,
        name: &'static str,
        name_prefix: &'static str,
        versions: &'static [&'static str],
    ) -> Self {
        Self {
            family,
            name,
            name_prefix,
            versions,
        }
    }
}

#[rustfmt::skip]
static PLATFORMS: [Platform; 7] = [
    Platform::new(Family::Windows, "Windows11", "lt",
        &["10.0.26100.3915", "10.0.26100.3775", "10.0.22631.5189", "10.0.22621.4317"]),
    Platform::new(Family::Windows, "Windows10", "pc", &["10.0.19045.5737", "10.0.19045.5608", "10.0.19044.1865"]),
    Platform::new(Family::Windows, "WindowsServer2019", "srv", &["10.0.17763.7136", "10.0.17763.2330"]),
    Platform::new(Family::Windows, "WindowsServer2022", "srv", &["10.0.20348.3453", "10.0.20348.2700"]),
    Platform::new(Family::Windows, "WindowsServer2025", "srv", &["10.0.26100.3775"]),
    Platform::new(Family::MacOs, "macOS", "mac", &["15.4.1.0", "14.7.5.0", "12.4.0.0"]),
    Platform::new(Family::Linux, "Linux", "db",
        &["ubuntu_linux_22.04", "ubuntu_linux_24.04", "enterprise_linux_9.4", "debian_12"]),
];
/// Percent of the devices, in the order of [`PLATFORMS`].
const PLATFORM_SHARES: [(u32, usize); 7] =
    [(44, 0), (27, 1), (5, 2), (6, 3), (3, 4), (7, 5), (8, 6)];

/// Names of all platforms.
pub(crate) fn platform_names() -> impl Iterator<Item = &'static str> {
    PLATFORMS.iter().map(|platform| platform.name)
}

/// What stays the same as long as the device exists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) id: [u8; 20],
    pub(crate) platform: &'static Platform,
    pub(crate) os_version: &'static str,
    pub(crate) name_prefix: &'static str,
    pub(crate) name_number: u32,
    pub(crate) domain: Option<&'static str>,
    /// Update channel.
    pub(crate) ring: &'static str,
    /// Schannel and .NET settings, in the order of the record: a policy as a whole, with some that deviate.
    pub(crate) tls: [Option<&'static str>; 18],
    /// Attack surface reduction rules, likewise.
    pub(crate) asr: [Option<&'static str>; 19],
    /// Sensors that never reported antivirus data exist: nearly all attributes are null.
    pub(crate) gathered: bool,
}

const PROTOCOLS: usize = 10;

/// A device's last changes, as days: when it came and when its attributes last differed from the day before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) born: u32,
    pub(crate) changed: u32,
}

impl History {
    pub(crate) fn of_slot(options: &SnapshotOptions, slot: u32) -> Self {
        let mut history = Self {
            born: 0,
            changed: 0,
        };
        if options.day == 0 {
            return history;
        }
        let mut dice = Dice::new(options.seed, Purpose::History, u64::from(slot), 0);
        for day in 1..=options.day {
            if dice.chance(options.turnover) {
                history.born = day;
            }
            if dice.chance(options.changed) {
                history.changed = day;
            }
        }
        history.changed = history.changed.max(history.born);
        history
    }
}

impl Identity {
    pub(crate) fn of_slot(seed: u64, slot: u32, born: u32) -> Self {
        let mut dice = Dice::new(seed, Purpose::Identity, u64::from(slot), born);
        let id = dice.bytes();
        let platform = &PLATFORMS[dice.weighted(&PLATFORM_SHARES)];
        let os_version = dice.pick(platform.versions);
        let name_number = dice.below(1 << 24);
        let domain = dice.weighted(&[
            (40, Some("emea.fabrikam.example")),
            (25, Some("amer.fabrikam.example")),
            (15, Some("apac.fabrikam.example")),
            (15, Some("fabrikam.example")),
            (5, None),
        ]);
        let ring = dice.weighted(&[(80, "5"), (8, "4"), (6, "3"), (3, "2"), (3, "0")]);
        let gathered = dice.chance(0.98);

        let hardened = dice.chance(0.4);
        let mut tls = [None; 18];
        for (place, setting) in tls.iter_mut().enumerate() {
            let deviates = dice.chance(0.15);
            *setting = match (place < PROTOCOLS, hardened != deviates) {
                (_, false) => None,
                (true, true) => Some(dice.weighted(&[(70, "Disabled"), (30, "Enabled")])),
                (false, true) => Some(dice.weighted(&[(90, "1"), (10, "0")])),
            };
        }
        let asr_policy = dice.weighted(&[(40, "Off"), (35, "Block"), (25, "Audit")]);
        let mut asr = [Some(asr_policy); 19];
        for state in &mut asr {
            if dice.chance(0.3) {
                *state = dice.pick(&[
                    Some("Off"),
                    Some("Audit"),
                    Some("Block"),
                    Some("Warn"),
                    None,
                ]);
            }
        }
        Self {
            id,
            platform,
            os_version,
            name_prefix: platform.name_prefix,
            name_number,
            domain,
            ring,
            tls,
            asr,
            gathered,
        }
    }
}

impl Identity {
    /// Of the processor, as the service names it: it follows from the id, so that no other choice depends on it.
    pub(crate) fn architecture(&self) -> &'static str {
        match (self.platform.family, self.id[19] % 16) {
            (Family::MacOs, 0..11) | (Family::Windows, 0) => "arm64",
            (Family::Windows, 1) if !self.platform.name.contains("Server") => "x86",
            _ => "x64",
        }
    }
}

/// One part of `AvScanResults`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan {
    pub(crate) status: &'static str,
    pub(crate) error_code: Option<&'static str>,
    pub(crate) time: Time,
}

/// What was gathered of a device when it last changed. Times hang together: published, updated, refreshed, seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    pub(crate) last_seen: i64,
    pub(crate) refreshed: Time,
    pub(crate) mode: &'static str,
    pub(crate) cloud_protection: u32,
    pub(crate) signature: Component,
    pub(crate) engine: Component,
    pub(crate) platform: Component,
    pub(crate) log4j_mitigation: &'static str,
    pub(crate) quick_scan: Option<Scan>,
    pub(crate) full_scan: Option<Scan>,
    pub(crate) custom_scan: Option<Scan>,
}

/// An updatable component of the antivirus.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Component {
    pub(crate) published: i64,
    pub(crate) updated: Time,
    pub(crate) up_to_date: bool,
}

impl Component {
    /// When the release is no longer supported.
    pub(crate) fn expires(&self) -> i64 {
        self.published + 180 * DAY
    }
}

impl State {
    /// The state of a device that changed on the day of the snapshot generated at `generated`.
    pub(crate) fn of_slot(seed: u64, slot: u32, changed: u32, generated: i64) -> Self {
        let mut dice = Dice::new(seed, Purpose::State, u64::from(slot), changed);
        let window = dice.weighted(&[(80, 12 * HOUR), (15, 7 * DAY), (5, 30 * DAY)]);
        let last_seen = generated - 5 * 60 - dice.seconds(window as u32);
        let refresh_second = last_seen - dice.seconds(900);
        let refreshed = with_fraction(&mut dice, refresh_second, 0.5);

        let age = dice.weighted(&[(75, 18 * HOUR), (20, 3 * DAY), (5, 40 * DAY)]);
        let published = signature_release(refreshed.seconds - 2 * HOUR - dice.seconds(age as u32));
        let delay = dice.seconds(2 * HOUR as u32);
        let signature = Component {
            published,
            updated: with_fraction(&mut dice, published + delay, 0.5),
            up_to_date: refreshed.seconds - published < DAY,
        };
        let engine = monthly(&mut dice, refreshed.seconds, 2, 18 * HOUR + 1_800);
        let platform = monthly(&mut dice, refreshed.seconds, 14, 18 * HOUR);
        Self {
            last_seen,
            refreshed,
            mode: dice.weighted(&[
                (84, "0"),
                (8, "1"),
                (3, "4"),
                (2, "2"),
                (1, "3"),
                (1, "5"),
                (1, ""),
            ]),
            cloud_protection: dice.weighted(&[(85, 2), (10, 1), (5, 0)]),
            signature,
            engine,
            platform,
            log4j_mitigation: dice.weighted(&[(94, "false"), (5, "true"), (1, "RebootRequired")]),
            quick_scan: scan(&mut dice, 0.93, refreshed.seconds, DAY),
            full_scan: scan(&mut dice, 0.2, refreshed.seconds, 30 * DAY),
            custom_scan: scan(&mut dice, 0.03, refreshed.seconds, 60 * DAY),
        }
    }
}

fn with_fraction(dice: &mut Dice, seconds: i64, share: f64) -> Time {
    let ticks = dice.below(10_000_000);
    let fraction = if dice.chance(share) {
        Fraction::Ticks(ticks)
    } else {
        Fraction::None
    };
    Time { seconds, fraction }
}

fn scan(dice: &mut Dice, share: f64, before: i64, within: i64) -> Option<Scan> {
    if !dice.chance(share) {
        return None;
    }
    let seconds = before - dice.seconds(within as u32);
    let (status, error_code) = dice.weighted(&[
        (90, ("Completed", None)),
        (6, ("Canceled", Some("0x8050800c"))),
        (4, ("Failed", Some("0x80508023"))),
    ]);
    let fraction = if dice.chance(0.7) {
        Fraction::Millis(dice.below(1_000))
    } else {
        Fraction::Ticks(dice.below(10_000_000))
    };
    Some(Scan {
        status,
        error_code,
        time: Time { seconds, fraction },
    })
}

/// Signatures come out about every three hours, at a minute that differs from one release to the next.
fn signature_release(before: i64) -> i64 {
    let release = before.div_euclid(3 * HOUR);
    release * 3 * HOUR - (release * 7_919).rem_euclid(3_000)
}

/// `1.449.381.0`: derived from the release, so that one version has one publish time.
pub(crate) fn signature_version(published: i64) -> (i64, i64) {
    let release = published.div_euclid(3 * HOUR) + 1;
    (
        449 + (release - 164_612).div_euclid(400),
        (release - 164_612).rem_euclid(400),
    )
}

/// A component with a release a month: the newest one, or one of the two before it.
fn monthly(dice: &mut Dice, refreshed: i64, day: u32, time: i64) -> Component {
    let lag: u32 = dice.weighted(&[(75, 0), (18, 1), (7, 2)]);
    let now = DateTime::from_timestamp(refreshed, 0).unwrap_or_default();
    let this_month = release_of_month(now.year(), now.month(), day, time);
    let early = u32::from(this_month + 3 * DAY > refreshed);
    let months = now.year() * 12 + now.month() as i32 - 1 - (lag + early) as i32;
    let published = release_of_month(
        months.div_euclid(12),
        months.rem_euclid(12) as u32 + 1,
        day,
        time,
    );
    let delay = dice.seconds(3 * DAY as u32);
    Component {
        published,
        updated: with_fraction(dice, published + delay, 0.5),
        up_to_date: lag == 0,
    }
}

fn release_of_month(year: i32, month: u32, day: u32, time: i64) -> i64 {
    chrono::NaiveDate::from_ymd_opt(year, month, day).map_or(0, |date| {
        date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp() + time
    })
}

/// `26030`: the month of a monthly release, as in `4.18.26030.3011`.
pub(crate) fn release_month(published: i64) -> i32 {
    let time = DateTime::from_timestamp(published, 0).unwrap_or_default();
    (time.year() - 2_000) * 1_000 + time.month() as i32 * 10
}

/// When the service computed the row: within the minutes before it generated the snapshot.
pub(crate) fn computed_at(seed: u64, slot: u32, day: u32, generated: i64) -> i64 {
    generated - Dice::new(seed, Purpose::Timestamp, u64::from(slot), day).seconds(240)
}

/// Seconds since 1970 of the snapshot that was generated on `day`, one snapshot a day.
pub(crate) fn generated_on(options: &SnapshotOptions, day: u32) -> i64 {
    options.generated_time.timestamp() - i64::from(options.day - day) * DAY
}
