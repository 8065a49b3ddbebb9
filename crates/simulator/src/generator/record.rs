//! A device's record as one line of JSON, on three levels: the row, in it the text of `DeviceGatheredInfo`, in that the
//! text of `AvScanResults`. Keys, their order and the forms of times are those of a real row; other platforms than Windows lack some
//! keys. What the values are is the device's matter.

use std::io::Write;

use crate::options::SnapshotOptions;

use super::device::{
    Family, History, Identity, Scan, State, computed_at, generated_on, release_month,
    signature_version,
};
use super::groups::Group;
use super::oddity::{FieldOddity, InfoShape, Oddity, WideText, wide_name};
use super::text::{Object, Value, ascii_json, plain};

const ASR_RULES: [&str; 19] = [
    "ExecutableEmailContent",
    "OfficeChildProcess",
    "ExecutableOfficeContent",
    "OfficeProcessInjection",
    "ScriptExecutableDownload",
    "ObfuscatedScript",
    "OfficeMacroWin32ApiCalls",
    "UntrustedExecutable",
    "Ransomware",
    "LsassCredentialTheft",
    "PsexecWmiChildProcess",
    "UntrustedUsbProcess",
    "OfficeCommAppChildProcess",
    "AdobeReaderChildProcess",
    "PersistenceThroughWmi",
    "VulnerableSignedDriver",
    "BlockWebshellCreation",
    "BlockCopiedOrImpersonatedSystemTools",
    "BlockSafeModeReboot",
];

const TLS_SETTINGS: [&str; 18] = [
    "SslClient20",
    "SslClient30",
    "SslServer20",
    "SslServer30",
    "TlsClient10",
    "TlsClient11",
    "TlsClient12",
    "TlsServer10",
    "TlsServer11",
    "TlsServer12",
    "SchUseStrongCrypto35",
    "SchUseStrongCrypto35Wow6432",
    "SchUseStrongCrypto40",
    "SchUseStrongCrypto40Wow6432",
    "SystemDefaultTlsVersions35",
    "SystemDefaultTlsVersions35Wow6432",
    "SystemDefaultTlsVersions40",
    "SystemDefaultTlsVersions40Wow6432",
];

/// Writes records; its buffers are reused from one to the next.
#[derive(Debug)]
pub(crate) struct Records<'a> {
    options: &'a SnapshotOptions,
    groups: &'a [Group],
    info: Vec<u8>,
    scans: Vec<u8>,
    asr: Vec<u8>,
    text: Vec<u8>,
}

impl<'a> Records<'a> {
    pub(crate) fn new(options: &'a SnapshotOptions, groups: &'a [Group]) -> Self {
        Self {
            options,
            groups,
            info: Vec::new(),
            scans: Vec::new(),
            asr: Vec::new(),
            text: Vec::new(),
        }
    }

    /// Appends the record of the device in `slot`, without a line end.
    pub(crate) fn write(&mut self, slot: u32, out: &mut Vec<u8>) {
        let options = self.options;
        let history = History::of_slot(options, slot);
        let identity = Identity::of_slot(options.seed, slot, history.born);
        let generated = generated_on(options, history.changed);
        let state = State::of_slot(options.seed, slot, history.changed, generated);
        let oddity = Oddity::of_device(&options.oddities, options.seed, slot, history.changed);
        let group = &self.groups[self.groups.partition_point(|group| group.slots.end <= slot)];

        self.write_info(&identity, &state, oddity);

        let mut row = Object::begin(out, oddity.top_level);
        row.field("RbacGroupName", Value::Text(&group.name));
        let generated_time = options.generated_time.timestamp();
        let computed = computed_at(options.seed, slot, options.day, generated_time);
        row.field("Timestamp", Value::SpacedTime(computed));
        row.field("LastSeenTime", Value::SpacedTime(state.last_seen));
        let wide_json_name;
        row.field(
            "DeviceName",
            if let Some(wide) = oddity.wide_text {
                wide_json_name = wide_json(wide, &wide_name(slot));
                Value::Json(wide_json_name.as_bytes())
            } else {
                write_name(&mut self.text, &identity);
                Value::Escaped(&self.text)
            },
        );
        row.field("OsPlatform", Value::Text(identity.platform.name));
        row.field("OsVersion", Value::Text(identity.os_version));
        row.field(
            "DeviceGatheredInfo",
            match oddity.info {
                InfoShape::Text => Value::Escaped(&self.info),
                InfoShape::Object => Value::Json(&self.info),
                InfoShape::EmptyText => Value::Text(""),
                InfoShape::BrokenText => Value::Escaped(&self.info[..self.info.len() / 2]),
                InfoShape::Null => Value::Null,
            },
        );
        self.text.clear();
        for byte in identity.id {
            self.text.extend([
                b"0123456789abcdef"[usize::from(byte >> 4)],
                b"0123456789abcdef"[usize::from(byte & 15)],
            ]);
        }
        row.field("DeviceId", Value::Escaped(&self.text));
        let group_text;
        row.field(
            "RbacGroupId",
            if oddity.group_id_as_text {
                group_text = group.id.to_string();
                Value::Text(&group_text)
            } else {
                Value::Integer(group.id)
            },
        );
        if oddity.new_attributes {
            row.field("ExposureLevel", Value::Text("Medium"));
            row.field("MachineTags", Value::Json(br#"["pilot","ring 2"]"#));
            row.field(
                "Onboarding",
                Value::Json(br#"{"State":"Onboarded","Attempts":1,"Score":0.75}"#),
            );
        }
        row.end();
    }

    /// Writes `DeviceGatheredInfo` into `self.info`, keys in the order of the service.
    fn write_info(&mut self, identity: &Identity, state: &State, oddity: Oddity) {
        self.info.clear();
        let windows = identity.platform.family == Family::Windows;
        let info = GatheredInfo {
            identity,
            state,
            oddity,
            windows,
            gathered: identity.gathered,
            on_windows: windows && identity.gathered,
        };
        let mut object = Object::begin(&mut self.info, oddity.gathered);
        info.write_versions(&mut object, &mut self.scans, &mut self.text);
        info.write_settings(&mut object);
        info.write_updates(&mut object);
        info.write_mitigations(&mut object, &mut self.asr);
        object.end();
    }
}

/// What the fields of `DeviceGatheredInfo` follow from.
struct GatheredInfo<'a> {
    identity: &'a Identity,
    state: &'a State,
    oddity: Oddity,
    windows: bool,
    /// Whether the service gathered anything of the device.
    gathered: bool,
    on_windows: bool,
}

impl GatheredInfo<'_> {
    fn write_versions(&self, object: &mut Object<'_>, scans: &mut Vec<u8>, text: &mut Vec<u8>) {
        object.field("AvMode", when(self.gathered, Value::Text(self.state.mode)));
        let engine_month = release_month(self.state.engine.published);
        object.field(
            "AvEngineVersion",
            when(
                self.gathered,
                print(
                    text,
                    format_args!(
                        "1.1.{engine_month}.{}",
                        if self.windows { 3_008 } else { 2 }
                    ),
                ),
            ),
        );
        let (minor, build) = signature_version(self.state.signature.published);
        object.field(
            "AvSignatureVersion",
            when(
                self.gathered,
                print(text, format_args!("1.{minor}.{build}.0")),
            ),
        );
        let platform_month = release_month(self.state.platform.published);
        object.field(
            "AvPlatformVersion",
            when(
                self.gathered,
                if self.windows {
                    print(text, format_args!("4.18.{platform_month}.3011"))
                } else {
                    print(text, format_args!("101.{}.0000", platform_month + 2))
                },
            ),
        );
        write_scans(scans, self.state);
        object.field(
            "AvScanResults",
            when(self.on_windows, Value::Escaped(scans)),
        );
        object.field(
            "AvModeDataRefreshTime",
            when(self.gathered, Value::Time(self.state.refreshed)),
        );
    }

    fn write_settings(&self, object: &mut Object<'_>) {
        let wide_protection;
        object.field(
            "CloudProtectionState",
            if let Some(wide) = self.oddity.wide_text {
                wide_protection = wide_json(wide, "Activé ✓ \u{1f6e1}");
                Value::Json(wide_protection.as_bytes())
            } else if self.windows {
                when(
                    self.gathered,
                    Value::Text(["0", "1", "2"][self.state.cloud_protection as usize]),
                )
            } else {
                when(
                    self.gathered,
                    Value::Text(if self.state.cloud_protection == 0 {
                        "Disabled"
                    } else {
                        "Enabled"
                    }),
                )
            },
        );
        if self.windows {
            for (key, setting) in TLS_SETTINGS.iter().zip(self.identity.tls) {
                let value = setting.map_or(Value::Null, Value::Text);
                object.field(key, when(self.gathered, value));
            }
        }
        object.field("Log4j_CVE_2021_44228", Value::Null);
        object.field(
            "LocalCveScannerExecuted",
            if self.windows {
                Value::Null
            } else {
                when(self.gathered, Value::Text("CVE-2021-44228"))
            },
        );
        object.field("Log4jLocalScanVulnerable", Value::Null);
        object.field(
            "Log4JEnvironmentVariableMitigation",
            Value::Text(self.state.log4j_mitigation),
        );
        if self.windows {
            let value = when(self.gathered, Value::Text("false"));
            object.field("IsWindowsLtscVersionRunning", value);
        }
    }

    fn write_updates(&self, object: &mut Object<'_>) {
        let State {
            engine,
            signature,
            platform,
            ..
        } = self.state;
        let heartbeat = match self.windows {
            true => "WdavEvent",
            false => "MdatpHealth",
        };
        let ring = self.identity.ring;
        for (key, value) in [
            ("AvEngineUpdateTime", Value::Time(engine.updated)),
            ("AvSignatureUpdateTime", Value::Time(signature.updated)),
            ("AvPlatformUpdateTime", Value::Time(platform.updated)),
            ("AvIsSignatureUptoDate", Value::Bool(signature.up_to_date)),
            ("AvIsEngineUptodate", Value::Bool(engine.up_to_date)),
            ("AvIsPlatformUptodate", Value::Bool(platform.up_to_date)),
            ("WdavorHeartbeatEventType", Value::Text(heartbeat)),
            ("AvSignaturePublishTime", plain(signature.published)),
            ("AvPlatformPublishTime", plain(platform.published)),
            ("AvPlatformExpirationTime", plain(platform.expires())),
            ("AvEnginePublishTime", plain(engine.published)),
            ("AvSignatureRing", Value::Text(ring)),
            ("AvPlatformRing", Value::Text(ring)),
            ("AvEngineRing", Value::Text(ring)),
        ] {
            object.field(key, when(self.gathered, value));
        }
    }

    fn write_mitigations(&self, object: &mut Object<'_>, asr: &mut Vec<u8>) {
        object.field("Spring4Shell_CVE_2022_22965", Value::Null);
        if self.windows {
            let value = when(self.gathered, Value::Text("false"));
            object.field("CVE_2022_30190_Mitigated", value);
        }
        object.field(
            "Bootiful_Mind_status",
            when(self.on_windows, Value::Text("NotFound")),
        );
        object.field(
            "AvSignatureDataRefreshTime",
            when(self.gathered, Value::Time(self.state.refreshed)),
        );
        object.field(
            "EBPFStatus",
            if self.identity.platform.family == Family::Linux {
                when(self.gathered, Value::Text("Enabled"))
            } else {
                Value::Null
            },
        );
        object.field(
            "IsAvEngineLoaded",
            when(self.on_windows, Value::Bool(self.state.mode != "2")),
        );
        if self.windows {
            asr.clear();
            let mut rules = Object::begin(asr, FieldOddity::default());
            for (rule, state) in ASR_RULES.iter().zip(self.identity.asr) {
                rules.field(rule, state.map_or(Value::Null, Value::Text));
            }
            rules.end();
            object.field(
                "AsrConfigurationStates",
                when(self.gathered, Value::Json(asr)),
            );
        }
        if self.oddity.new_attributes {
            object.field("TlsClient13", Value::Text("Enabled"));
            object.field(
                "AvEngineHealth",
                Value::Json(br#"{"Score":98,"Reasons":["a","b"],"Text":"{\"nested\":true}"}"#),
            );
            object.field("CVE_2030_00001_mitigation_status", Value::Text("Mitigated"));
        }
    }
}

fn when(condition: bool, value: Value<'_>) -> Value<'_> {
    if condition { value } else { Value::Null }
}

fn print<'t>(text: &'t mut Vec<u8>, what: std::fmt::Arguments<'_>) -> Value<'t> {
    text.clear();
    // Writing to memory cannot fail.
    let _ = text.write_fmt(what);
    Value::Escaped(text)
}

fn write_name(text: &mut Vec<u8>, identity: &Identity) {
    let (prefix, number) = (identity.name_prefix, identity.name_number);
    let _ = match identity.domain {
        Some(domain) => print(text, format_args!("{prefix}-{number:06x}.{domain}")),
        None => print(text, format_args!("{prefix}-{number:06x}")),
    };
}

fn wide_json(wide: WideText, text: &str) -> String {
    match wide {
        WideText::Raw => format!("\"{text}\""),
        WideText::Escaped => ascii_json(text),
    }
}

fn write_scans(out: &mut Vec<u8>, state: &State) {
    out.clear();
    for (key, scan) in [
        (&b"{\"Quick\":"[..], state.quick_scan),
        (b",\"Full\":", state.full_scan),
        (b",\"Custom\":", state.custom_scan),
    ] {
        out.extend_from_slice(key);
        match scan {
            None => out.extend_from_slice(b"null"),
            Some(Scan {
                status,
                error_code,
                time,
            }) => {
                let mut object = Object::begin(out, FieldOddity::default());
                object.field("ScanStatus", Value::Text(status));
                object.field("ErrorCode", error_code.map_or(Value::Null, Value::Text));
                object.field("Timestamp", Value::Time(time));
                object.end();
            }
        }
    }
    out.push(b'}');
}
