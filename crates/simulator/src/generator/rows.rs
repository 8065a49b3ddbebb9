//! The rows that a recipe gives a device: how many, of which items, and when each last changed.
//!
//! A row is a pure function of (seed, slot, row, day of the device's last change). A device walks through the items that
//! its platform has, in an order of its own that meets none twice; a change moves it on by a few steps, so that rows come and
//! go, and draws a share of the others anew.

use crate::dice::Stream;
use crate::error::{Error, Result};
use crate::options::{Oddities, SnapshotOptions};
use crate::recipe::{Recipe, Record, Variant};

use super::device::{History, Identity, generated_on, platform_names};
use super::facts::Facts;
use super::groups::Group;
use super::oddity::Alteration;
use super::values::Writer;

/// A change moves a device on by less than so many rows.
const STEPS: u32 = 3;

/// Where the rows of all devices come from; shared by the threads that write blobs.
pub(crate) struct RowSource<'a> {
    options: &'a SnapshotOptions,
    groups: &'a [Group],
    record: &'a Record,
    /// By platform: places of the variants that occur on it. None where it has no rows.
    choices: Vec<(&'static str, Vec<u32>)>,
    /// Tells the streams of one dataset from those of another.
    salt: u64,
    rows: [u32; 2],
    odd: bool,
}

impl<'a> RowSource<'a> {
    pub(crate) fn new(
        options: &'a SnapshotOptions,
        groups: &'a [Group],
        recipe: &Recipe,
        record: &'a Record,
    ) -> Result<Self> {
        let rows = match options.rows_per_device {
            Some(rows) => [rows, rows],
            None => record.rows,
        };
        let begins = |name: &str, beginnings: &[String]| {
            beginnings.is_empty()
                || beginnings
                    .iter()
                    .any(|start| name.starts_with(start.as_str()))
        };
        let mut choices = Vec::new();
        for platform in platform_names().filter(|name| begins(name, &record.platforms)) {
            let on_platform = |(place, variant): (u32, &Variant)| {
                begins(platform, &variant.platforms).then_some(place)
            };
            let places: Vec<u32> = (0..)
                .zip(&record.variants)
                .filter_map(on_platform)
                .collect();
            if record.has_items && places.len() < rows[1] as usize {
                let reason = format!(
                    "{} rows are more than the {} different ones that `{}` has on {platform}",
                    rows[1],
                    places.len(),
                    recipe.dataset,
                );
                return Err(Error::Option {
                    option: "rows_per_device",
                    reason,
                });
            }
            choices.push((platform, places));
        }
        Ok(Self {
            options,
            groups,
            record,
            choices,
            salt: salt(&recipe.export),
            rows,
            odd: options.oddities != Oddities::none(),
        })
    }

    pub(crate) fn rows(&'a self) -> Rows<'a> {
        Rows {
            source: self,
            device: Device::default(),
            facts: Facts::default(),
            scratch: Vec::new(),
        }
    }
}

/// FNV-1a.
pub(crate) fn salt(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Writes rows, device by device; its buffers are reused from one to the next.
pub(crate) struct Rows<'a> {
    source: &'a RowSource<'a>,
    device: Device<'a>,
    facts: Facts,
    scratch: Vec<u8>,
}

/// The device whose rows are being written.
#[derive(Default)]
struct Device<'a> {
    slot: u64,
    born: u32,
    changed: u32,
    variants: &'a [u32],
    /// The walk through the variants.
    start: u32,
    stride: u32,
    /// Where in its walk the device is.
    step: u32,
}

impl<'a> Rows<'a> {
    /// Turns to the device in `slot`. Returns how many rows it has.
    pub(crate) fn begin(&mut self, slot: u32) -> u32 {
        let RowSource {
            options,
            groups,
            record,
            choices,
            salt,
            rows,
            ..
        } = self.source;
        let history = History::of_slot(options, slot);
        let identity = Identity::of_slot(options.seed, slot, history.born);
        let mut chooses = Stream::of(&[options.seed, *salt, slot.into(), history.born.into()]);
        let platform = identity.platform.name;
        let variants = choices.iter().find(|(name, _)| *name == platform);
        let Some((_, variants)) = variants.filter(|(_, variants)| !variants.is_empty()) else {
            return 0;
        };
        if chooses.chance(record.no_rows) {
            return 0;
        }
        let count = rows[0] + chooses.up_to(rows[1] - rows[0]);
        let length = variants.len() as u32;
        let start = chooses.up_to(length - 1);
        let stride = coprime(1 + chooses.up_to(length - 1), length);
        let step = match history.changed > history.born {
            true => Stream::of(&[options.seed, *salt, slot.into(), history.changed.into()])
                .up_to(STEPS - 1),
            false => 0,
        };
        self.device = Device {
            slot: slot.into(),
            born: history.born,
            changed: history.changed,
            variants,
            start,
            stride,
            step,
        };
        let group = &groups[groups.partition_point(|group| group.slots.end <= slot)];
        self.facts.fill(options, slot, history, &identity, group);
        count
    }

    /// Appends a row of the device, without a line end.
    pub(crate) fn write(&mut self, row: u32, out: &mut Vec<u8>) {
        let RowSource {
            options,
            record,
            salt,
            odd,
            ..
        } = self.source;
        let device = &self.device;
        let place = u64::from(row) + u64::from(device.step);
        let length = device.variants.len() as u64;
        let at = (u64::from(device.start) + place * u64::from(device.stride)) % length;
        let variant = &record.variants[device.variants[at as usize] as usize];

        let seed = [options.seed, *salt, device.slot, place];
        let changed = device.changed > device.born
            && (row == 0
                || Stream::of(&[seed[0], seed[1], seed[2], place, device.changed.into()])
                    .chance(record.changed_rows));
        let day = if changed { device.changed } else { device.born };
        let mut draws = Stream::of(&[seed[0], !seed[1], seed[2], place, day.into()]);
        let draw = draws.draw();
        let case = record.cases.iter().position(|below| draw < *below);
        let oddity = match odd {
            true => {
                let mut draws = Stream::of(&[seed[0], seed[1] ^ 1, seed[2], place, day.into()]);
                RowOddity::of(&options.oddities, &record.alterable, &mut draws)
            }
            false => RowOddity::default(),
        };
        let mut identity = Stream::of(&[seed[0], seed[1], seed[2], place, device.born.into()]);
        let mut writer = Writer {
            facts: &self.facts,
            draws,
            identity: identity.next(),
            row: place,
            case: case.unwrap_or(0),
            generated: generated_on(options, day),
            other_casing: oddity.other_casing,
            scratch: &mut self.scratch,
        };
        write_row(&mut writer, variant, oddity, record.omits_nulls, out);
    }
}

fn write_row(
    writer: &mut Writer<'_>,
    variant: &Variant,
    oddity: RowOddity,
    omits_nulls: bool,
    out: &mut Vec<u8>,
) {
    let omits_nulls = omits_nulls && !oddity.other_casing;
    out.push(b'{');
    for (column, field) in variant.fields.iter().enumerate() {
        let before = out.len();
        writer.key(field, out);
        let start = out.len();
        writer.value(&field.value, out);
        if omits_nulls && out[start..] == *b"null" {
            out.truncate(before);
            continue;
        }
        match oddity.altered.filter(|(altered, _)| *altered == column) {
            Some((_, Alteration::Missing)) => {
                out.truncate(before);
                continue;
            }
            Some((_, Alteration::Null)) => {
                out.truncate(start);
                out.extend_from_slice(b"null");
            }
            Some((_, Alteration::WrongType)) => {
                let is_text = out.get(start) == Some(&b'"');
                out.truncate(start);
                out.extend_from_slice(if is_text { b"42" } else { b"\"Unknown\"" });
            }
            None => {}
        }
        out.push(b',');
    }
    if oddity.new_attributes {
        let new = br#""ExposureLevel":"Medium","MachineTags":["pilot","ring 2"],"Onboarding":{"Attempts":1,"Score":0.75},"#;
        out.extend_from_slice(new);
    }
    match out.last_mut() {
        Some(last @ b',') => *last = b'}',
        _ => out.push(b'}'),
    }
}

/// A number near `number` that shares no divisor with `length`: a walk in such steps meets every place once.
fn coprime(number: u32, length: u32) -> u32 {
    let divisor = |mut one: u32, mut other: u32| {
        while other > 0 {
            (one, other) = (other, one % other);
        }
        one
    };
    (number..)
        .find(|&number| divisor(number, length) == 1)
        .unwrap_or(1)
}

/// What is unusual about one row. Mostly nothing.
#[derive(Debug, Clone, Copy, Default)]
struct RowOddity {
    /// By its place among the columns.
    altered: Option<(usize, Alteration)>,
    new_attributes: bool,
    other_casing: bool,
}

impl RowOddity {
    fn of(odd: &Oddities, alterable: &[bool], draws: &mut Stream) -> Self {
        let mut oddity = Self::default();
        for (share, alteration) in [
            (odd.missing_attributes, Alteration::Missing),
            (odd.null_attributes, Alteration::Null),
            (odd.wrong_types, Alteration::WrongType),
        ] {
            if draws.chance(share) {
                let column = draws.up_to((alterable.len() as u32).saturating_sub(1)) as usize;
                if alterable.get(column) == Some(&true) {
                    oddity.altered = Some((column, alteration));
                }
            }
        }
        oddity.new_attributes = draws.chance(odd.new_attributes);
        oddity.other_casing = draws.chance(odd.other_casing);
        oddity
    }
}

#[cfg(test)]
mod tests;
