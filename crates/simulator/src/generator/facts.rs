//! What the rows of a recipe can say of their device, as the bytes that stand in a row. The same device has the same id,
//! name and group in every export, so that their tables join.

use std::io::Write;

use crate::options::SnapshotOptions;
use crate::recipe::{Fact, escaped};

use super::device::{Family, History, Identity};
use super::groups::Group;
use super::oddity::{Oddity, WideText, wide_name};
use super::text::ascii_json;

/// The device of the rows that are being written.
#[derive(Debug, Default)]
pub(super) struct Facts {
    id: Vec<u8>,
    name: Vec<u8>,
    short_name: usize,
    os_platform: &'static str,
    os_version: &'static str,
    os_build: &'static str,
    architecture: &'static str,
    group_id: Vec<u8>,
    group_name: Vec<u8>,
}

impl Facts {
    /// Takes the place of the device before.
    pub(super) fn fill(
        &mut self,
        options: &SnapshotOptions,
        slot: u32,
        history: History,
        identity: &Identity,
        group: &Group,
    ) {
        self.id.clear();
        for byte in identity.id {
            self.id.extend([
                b"0123456789abcdef"[usize::from(byte >> 4)],
                b"0123456789abcdef"[usize::from(byte & 15)],
            ]);
        }
        let oddity = Oddity::of_device(&options.oddities, options.seed, slot, history.changed);
        self.write_name(identity, oddity.wide_text, slot);
        self.os_platform = identity.platform.name;
        self.os_version = identity.os_version;
        self.os_build = match identity.platform.family {
            Family::Windows => identity.os_version.split('.').nth(2).unwrap_or_default(),
            Family::MacOs | Family::Linux => "",
        };
        self.architecture = identity.architecture();
        self.group_id.clear();
        // Writing to memory cannot fail.
        let _ = write!(self.group_id, "{}", group.id);
        self.group_name = escaped(&group.name);
    }

    fn write_name(&mut self, identity: &Identity, wide: Option<WideText>, slot: u32) {
        self.name.clear();
        let _ = match (wide, identity.domain) {
            (Some(WideText::Raw), _) => write!(self.name, "{}", wide_name(slot)),
            (Some(WideText::Escaped), _) => {
                let json = ascii_json(&wide_name(slot));
                self.name.write_all(&json.as_bytes()[1..json.len() - 1])
            }
            (None, domain) => {
                let (prefix, number) = (identity.name_prefix, identity.name_number);
                match domain {
                    Some(domain) => write!(self.name, "{prefix}-{number:06x}.{domain}"),
                    None => write!(self.name, "{prefix}-{number:06x}"),
                }
            }
        };
        let dot = self.name.iter().position(|byte| *byte == b'.');
        self.short_name = dot.unwrap_or(self.name.len());
    }

    /// Escaped as in a JSON string, without the quotes; empty where the device has no such fact.
    pub(super) fn text(&self, fact: Fact) -> &[u8] {
        match fact {
            Fact::Id => &self.id,
            Fact::Name => &self.name,
            Fact::ShortName => &self.name[..self.short_name],
            Fact::OsPlatform => self.os_platform.as_bytes(),
            Fact::OsVersion => self.os_version.as_bytes(),
            Fact::OsBuild => self.os_build.as_bytes(),
            Fact::Architecture => self.architecture.as_bytes(),
            Fact::GroupId => &self.group_id,
            Fact::GroupName => &self.group_name,
        }
    }
}
