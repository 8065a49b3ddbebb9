use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::exclusive::API;
use super::keys::REMOVED;
use super::resolve::Purpose;
use super::*;

const FILE: &str = "pipelines/test.toml";
const SECRET: &str = "s3cr3t-value";

const API_PIPELINE: &str = r#"
dataset = "info_gathering"

[source]
api = "https://api.securitycenter.microsoft.com"

[source.auth]
kind = "client_secret"
tenant_id = "${AZURE_TENANT_ID}"
client_id = "${AZURE_CLIENT_ID}"
client_secret = "${AZURE_CLIENT_SECRET}"

[lake]
root = "./lake"

[lake.options]
region = "eu-west-1"
allow_http = true
"#;

const FILES_PIPELINE: &str =
    "dataset = 'info_gathering'\n[source]\nfiles = 'exports/**/*.json.gz'\n[lake]\nroot = 'lake'\n";

fn environment(name: &str) -> Option<String> {
    match name {
        "AZURE_TENANT_ID" => Some("tenant".to_owned()),
        "AZURE_CLIENT_ID" => Some("client".to_owned()),
        "AZURE_CLIENT_SECRET" | "SECRET" => Some(SECRET.to_owned()),
        "FOUR" => Some("4".to_owned()),
        "NOTHING" => Some(String::new()),
        "HOME" => Some("/home/somebody".to_owned()),
        _ => None,
    }
}

fn load(text: &str, overrides: &[&str]) -> Result<Settings, SettingsError> {
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    Settings::parse(text, Path::new(FILE), &overrides, environment)
}

fn refused(text: &str, overrides: &[&str]) -> String {
    let message = load(text, overrides).unwrap_err().to_string();
    assert!(!message.contains(SECRET), "{message}");
    message
}

fn api(settings: &Settings) -> &ApiSource {
    match &settings.source.from {
        SourceKind::Api(api) => api,
        other => panic!("{other:?}"),
    }
}

fn origin(settings: &Settings, key: &str) -> String {
    let shown = settings.shown().iter().find(|shown| shown.key == key);
    shown.unwrap().origin.to_string()
}

#[test]
fn the_documented_form_is_read_with_variables_and_defaults() {
    let settings = load(API_PIPELINE, &[]).unwrap();
    assert_eq!(settings.dataset.name, "info_gathering");
    let api = api(&settings);
    assert_eq!(
        api.base.as_str(),
        "https://api.securitycenter.microsoft.com/"
    );
    assert_eq!(api.sas_valid_hours, None);
    assert_eq!(api.max_wait, Duration::from_secs(15 * 60));
    let calls = (api.calls_per_minute.get(), api.calls_per_hour.get());
    assert_eq!(calls, (5, 20));
    let Auth::ClientSecret {
        tenant_id,
        client_id,
        client_secret,
        authority,
        audience,
    } = &api.auth
    else {
        panic!("token");
    };
    assert_eq!(
        (tenant_id.as_str(), client_id.as_str()),
        ("tenant", "client")
    );
    assert_eq!(client_secret.expose_secret(), SECRET);
    assert_eq!(authority.as_str(), "https://login.microsoftonline.com/");
    assert_eq!(audience, "https://api.securitycenter.microsoft.com");
    assert_eq!(settings.lake.root, "./lake");
    assert_eq!(settings.lake.options["region"].expose_secret(), "eu-west-1");
    assert_eq!(settings.lake.options["allow_http"].expose_secret(), "true");
    assert_eq!(settings.work.target_file_size, ByteSize(256 << 20));
    assert_eq!(settings.gate.max_quarantined, QuarantineLimit::Percent(1.0));
    assert!(!settings.gate.allow_empty);
}

#[test]
fn every_key_can_be_given_in_the_file_and_by_override() {
    for key in KEYS {
        let path = key.path.replace('*', "endpoint");
        let (text, overrides): (&str, &[&str]) = match key.path {
            "source.files" => (FILES_PIPELINE, &[]),
            "source.auth.token" => (API_PIPELINE, &["source.auth.kind=token"]),
            _ => (API_PIPELINE, &[]),
        };
        let value = match key.path {
            "schema" => concat!(
                "'",
                env!("CARGO_MANIFEST_DIR"),
                "/../../schemas/info_gathering.toml'"
            ),
            "datasets" => r#"["info_gathering"]"#,
            _ if key.example.contains("${") => "'x'",
            _ => key.example,
        };
        let assignment = format!("{path}={value}");
        let mut all = overrides.to_vec();
        all.push(&assignment);
        let settings = load(text, &all).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(origin(&settings, &path), "--set", "{path}");

        let in_file = format!("{path} = {value}\n");
        let without = |text: &str| -> String {
            // Dotted keys at the top and tables of the same name exclude each other in TOML: say all with dotted keys.
            let mut section = String::new();
            let mut lines = String::new();
            for line in text.lines().filter(|line| !line.is_empty()) {
                if let Some(name) = line.strip_prefix('[') {
                    section = format!("{}.", name.trim_end_matches(']'));
                } else if path == "datasets" && line.starts_with("dataset ") {
                    // The two exclude each other.
                } else if !format!("{section}{line}").starts_with(&format!("{path} ")) {
                    lines.push_str(&format!("{section}{line}\n"));
                }
            }
            lines
        };
        let text = without(text) + &in_file;
        let settings = load(&text, overrides).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert!(origin(&settings, &path).starts_with("file, line"), "{path}");
    }
}

#[test]
fn overrides_win_and_are_read_as_what_their_key_takes() {
    let settings = load(
        API_PIPELINE,
        &[
            "work.threads=2",
            "work.spool_memory=1MiB",
            "work.target_file_size=65536",
            "gate.allow_empty=true",
            "gate.max_quarantined=12",
            "lake.root=s3://bucket/12",
            "lake.options.account=0042",
            "source.auth.client_id=007",
            "source.auth.tenant_id='quoted = text'",
            "source.blob_hosts=[\"127.0.0.1\"]",
            "source.generated_time=2022-07-26T12:01:00+02:00",
            "work.threads=3",
        ],
    )
    .unwrap();
    assert_eq!(settings.work.threads, 3);
    assert_eq!(settings.work.spool_memory, ByteSize(1 << 20));
    assert_eq!(settings.work.target_file_size, ByteSize(65_536));
    assert!(settings.gate.allow_empty);
    assert_eq!(settings.gate.max_quarantined, QuarantineLimit::Records(12));
    assert_eq!(settings.lake.root, "s3://bucket/12");
    assert_eq!(settings.lake.options["account"].expose_secret(), "0042");
    let api = api(&settings);
    assert_eq!(api.blob_hosts, ["127.0.0.1"]);
    let Auth::ClientSecret {
        tenant_id,
        client_id,
        ..
    } = &api.auth
    else {
        panic!("token");
    };
    assert_eq!(
        (tenant_id.as_str(), client_id.as_str()),
        ("quoted = text", "007")
    );
    let time = settings.source.generated_time.unwrap();
    assert_eq!(time.to_rfc3339(), "2022-07-26T10:01:00+00:00");
}

#[test]
fn one_source_given_by_override_displaces_the_other_of_the_file() {
    let without_variables = |_: &str| None;
    let overrides = ["source.files=a/*.gz".to_owned()];
    let settings =
        Settings::parse(API_PIPELINE, Path::new(FILE), &overrides, without_variables).unwrap();
    assert!(matches!(&settings.source.from, SourceKind::Files(files) if files == "a/*.gz"));
    assert!(
        settings
            .shown()
            .iter()
            .all(|shown| !shown.key.starts_with("source.auth"))
    );

    let overrides = [
        "source.auth.kind=token".to_owned(),
        "source.auth.token=${SECRET}".to_owned(),
    ];
    let settings = Settings::parse(API_PIPELINE, Path::new(FILE), &overrides, |name| {
        matches!(name, "SECRET" | "HOME").then(|| SECRET.to_owned())
    })
    .unwrap();
    assert!(
        matches!(&api(&settings).auth, Auth::Token { token } if token.expose_secret() == SECRET)
    );
}

#[test]
fn unknown_keys_are_refused_with_place_and_nearest_key() {
    let message = refused(
        &FILES_PIPELINE.replace("files =", "root = 'x'\nfiles ="),
        &[],
    );
    assert_eq!(
        message,
        "pipelines/test.toml:3:1: unknown key `source.root`; the nearest known key is `lake.root`"
    );
    let message = refused(&FILES_PIPELINE.replace("[lake]", "[lkae]"), &[]);
    assert!(
        message.contains("unknown key `lkae`; the nearest known key is `lake`"),
        "{message}"
    );
    let message = refused(FILES_PIPELINE, &["work.thread=3"]);
    assert_eq!(
        message,
        "--set work.thread: unknown key `work.thread`; the nearest known key is `work.threads`"
    );
    let message = refused(FILES_PIPELINE, &["gate.xyzzyxyzzyxyzzy=3"]);
    assert!(
        message.contains("known keys here: gate.max_quarantined, "),
        "{message}"
    );
    let message = refused(FILES_PIPELINE, &["lake.options.a.b=3"]);
    assert!(
        message.contains("unknown key `lake.options.a.b`"),
        "{message}"
    );
}

#[test]
fn keys_that_were_settings_once_are_named_with_what_to_do() {
    let message = refused(
        &format!("{FILES_PIPELINE}[work]\nthreads = 1\nbatch_rows = 64\n"),
        &[],
    );
    assert_eq!(
        message,
        "pipelines/test.toml:8:1: `work.batch_rows` is no longer a setting: the program chooses it; remove it"
    );
    for (key, instead) in REMOVED {
        assert!(KEYS.iter().all(|known| known.path != *key), "{key}");
        let message = refused(FILES_PIPELINE, &[&format!("{key}=1")]);
        let expected = format!("--set {key}: `{key}` is no longer a setting: {instead}");
        assert_eq!(message, expected);
    }
}

#[test]
fn values_of_the_wrong_type_are_refused_with_what_was_expected() {
    let message = refused(
        &format!("{FILES_PIPELINE}[work]\nthreads = \"many\"\n"),
        &[],
    );
    assert_eq!(
        message,
        "pipelines/test.toml:7:1: `work.threads` must be a whole number from 0 to 1024, found the string \"many\""
    );
    for (assignment, expected) in [
        (
            "work.downloads=0",
            "a whole number from 1 to 1024, found the integer 0",
        ),
        ("work.spool_memory=64 Mb", "such as \"64MiB\""),
        ("work.target_file_size=0", "a size from 1B to 1TiB"),
        ("work.target_file_size=-1", "a size from 1B to 1TiB"),
        ("gate.max_quarantined=101%", "a share such as \"1%\""),
        ("gate.max_quarantined=0.01", "a whole number of records"),
        ("gate.max_quarantined=-1", "a whole number of records"),
        ("gate.min_rows_ratio=nan", "a number from 0 to 1"),
        ("gate.allow_empty=yes", "true or false"),
        ("lake.format=iceberg", "one of \"delta\", \"parquet\""),
        ("source.blob_hosts=one", "a list of strings"),
        ("source.blob_hosts=[1]", "a list of strings"),
        ("source.max_wait=15", "a length of time"),
        ("source.generated_time=2022-07-26", "a time with its zone"),
        (
            "source.generated_time=0000-01-01T00:00:00Z",
            "of the years 2000 to 9999",
        ),
        (
            "source.generated_time=9999-12-31T23:59:59-00:01",
            "of the years 2000 to 9999",
        ),
        (
            "source.generated_time=+10000-01-01T00:00:00Z",
            "of the years 2000 to 9999",
        ),
        ("source.org_id=../..", "a GUID"),
        ("source.snapshot=latest", "a snapshot id"),
        (
            "source.sas_valid_hours=99999999999999999999",
            "a whole number from 1 to 24",
        ),
        ("source=x", "a section, [source]"),
        ("lake.options=x", "a section, [lake.options]"),
        ("lake.options.key=", "--set"),
        (
            "dataset=",
            "a string that is not empty, found an empty string",
        ),
    ] {
        let Err(error) = load(FILES_PIPELINE, &[assignment]) else {
            assert_eq!(assignment, "lake.options.key=", "was accepted");
            continue;
        };
        assert!(
            error.to_string().contains(expected),
            "{assignment}: {error}"
        );
    }
    let message = refused(&FILES_PIPELINE.replace("root = 'lake'", "options = 3"), &[]);
    assert!(
        message.contains("5:1: `lake.options` must be a section, [lake.options], found an integer"),
        "{message}"
    );
    let message = refused("dataset = 'a'\nx = = 1", &[]);
    assert!(
        message.starts_with("pipelines/test.toml:2:5: not valid TOML"),
        "{message}"
    );
}

#[test]
fn missing_keys_are_named_with_a_line_to_add() {
    let message = refused(&FILES_PIPELINE.replace("root = 'lake'", ""), &[]);
    assert_eq!(
        message,
        "pipelines/test.toml: `lake.root` is missing; add `root = \"./lake\"` under [lake]"
    );
    let message = refused(
        &FILES_PIPELINE.replace("dataset = 'info_gathering'", ""),
        &[],
    );
    assert!(
        message.contains("`dataset` is missing; add `dataset = \"info_gathering\"`"),
        "{message}"
    );
    let message = refused(&API_PIPELINE.replace("client_id =", "# client_id ="), &[]);
    assert!(
        message.contains("`source.auth.client_id` is missing"),
        "{message}"
    );
    let message = refused(
        &FILES_PIPELINE
            .replace("files", "api")
            .replace("exports/**/*.json.gz", "https://a.example"),
        &[],
    );
    assert!(
        message.contains(
            "`source.auth.kind` is missing; add `kind = \"client_secret\"` under [source.auth]"
        ),
        "{message}"
    );
    let message = refused(&FILES_PIPELINE.replace("files =", "# files ="), &[]);
    assert!(
        message.contains("says neither where the API is nor where files are"),
        "{message}"
    );
}

#[test]
fn commands_on_the_lake_need_no_variables_of_the_source() {
    let load = |text: &str, overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        let region = |name: &str| (name == "REGION").then(|| "eu-west-1".to_owned());
        let pipeline =
            Pipeline::parse_for(Purpose::Lake, text, Path::new(FILE), &overrides, region);
        pipeline.and_then(Pipeline::one)
    };
    let settings = load(API_PIPELINE, &["lake.options.region=${REGION}"]).unwrap();
    assert!(matches!(settings.source.from, SourceKind::Unresolved));
    assert_eq!(settings.lake.options["region"].expose_secret(), "eu-west-1");
    load(
        API_PIPELINE,
        &["source.api=${API}", "source.state_dir=${DIR}"],
    )
    .unwrap();
    load(API_PIPELINE, &["source.files=${FILES}"]).unwrap();
    load(FILES_PIPELINE, &["source.files=${FILES}"]).unwrap();

    for (assignment, key) in [
        ("lake.root=${MISSING}", "lake.root"),
        ("lake.options.region=${MISSING}", "lake.options.region"),
        ("source.rbac_group_id=${MISSING}", "source.rbac_group_id"),
        ("source.api=http://a.example", "source.api"),
        ("source.api=", "source.api"),
        ("source.files=", "source.files"),
        ("source.auth.client_secret=", "source.auth.client_secret"),
        ("source.auth.client_secret=${X", "source.auth.client_secret"),
        ("source.auth.authority=ftp://a", "source.auth.authority"),
        ("source.auth.token=x", "source.auth.token"),
        ("source.max_wait=15", "source.max_wait"),
        ("gate.allow_empty=yes", "gate.allow_empty"),
        ("work.thread=1", "work.thread"),
    ] {
        let error = load(API_PIPELINE, &[assignment]).err();
        let message = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(
            message.contains(&format!("`{key}`")),
            "{assignment}: {message}"
        );
    }
}

#[test]
fn the_state_folder_is_the_users_own_and_never_a_shared_one() {
    let parse = |text: &str, overrides: &[&str], home: &'static [(&'static str, &'static str)]| {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        let given = move |name: &str| {
            let known = home.iter().find(|(known, _)| *known == name);
            let credential = || environment(name).filter(|_| name.starts_with("AZURE_"));
            known
                .map(|(_, value)| (*value).to_owned())
                .or_else(credential)
        };
        Settings::parse(text, Path::new(FILE), &overrides, given)
    };
    let state_dir =
        |settings: Result<Settings, SettingsError>| api(&settings.unwrap()).state_dir.clone();
    if cfg!(target_os = "linux") {
        assert_eq!(
            state_dir(parse(API_PIPELINE, &[], &[("HOME", "/h")])),
            Path::new("/h/.cache/defender-lake")
        );
        let both = &[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")];
        assert_eq!(
            state_dir(parse(API_PIPELINE, &[], both)),
            Path::new("/x/defender-lake")
        );
    }
    assert_eq!(
        state_dir(parse(API_PIPELINE, &["source.state_dir=/own"], &[])),
        Path::new("/own")
    );
    for nowhere in [
        &[][..],
        &[("HOME", ""), ("XDG_CACHE_HOME", ""), ("LOCALAPPDATA", "")],
    ] {
        let error = parse(API_PIPELINE, &[], nowhere).unwrap_err();
        assert!(
            error.to_string().contains("`source.state_dir` is missing"),
            "{error}"
        );
    }
    parse(FILES_PIPELINE, &[], &[]).unwrap();
    let nothing = |name: &str| environment(name).filter(|_| name != "HOME");
    Pipeline::parse_for(Purpose::Lake, API_PIPELINE, Path::new(FILE), &[], nothing).unwrap();
}

#[test]
fn contradictions_are_refused() {
    let both = API_PIPELINE.replace("[source.auth]", "files = 'x'\n[source.auth]");
    assert!(refused(&both, &[]).contains("`source.files` contradicts `source.api`"));
    let message = refused(
        FILES_PIPELINE,
        &["source.api=https://a.example", "source.files=x"],
    );
    assert!(message.contains("contradicts"), "{message}");
    let message = refused(API_PIPELINE, &["source.auth.token=abc"]);
    assert!(
        message.contains("`source.auth.token` contradicts `source.auth.kind`"),
        "{message}"
    );
    assert!(
        refused(FILES_PIPELINE, &["dataset=software"])
            .contains("unknown dataset `software`; the program carries baseline_compliance, ")
    );
}

#[test]
fn http_is_for_loopback_addresses_only() {
    for address in [
        "http://127.0.0.1:8080",
        "http://localhost:1",
        "http://[::1]:8080/base",
        "https://a.example",
    ] {
        load(API_PIPELINE, &[&format!("source.api={address}")]).unwrap();
        load(API_PIPELINE, &[&format!("source.auth.authority={address}")]).unwrap();
    }
    for address in [
        "http://a.example",
        "http://10.0.0.1",
        "http://localhost.example",
        "http://127.0.0.1.example",
    ] {
        let message = refused(API_PIPELINE, &[&format!("source.api={address}")]);
        assert!(
            message.contains("http is accepted for loopback addresses only"),
            "{message}"
        );
        refused(API_PIPELINE, &[&format!("source.auth.authority={address}")]);
    }
    for address in [
        "https://user:s3cr3t-value@a.example",
        "https://a.example?s3cr3t-value",
        "ftp://a",
        "a.example",
        "https://",
    ] {
        refused(API_PIPELINE, &[&format!("source.api={address}")]);
    }
    refused(
        FILES_PIPELINE,
        &["lake.root=az://container?sig=s3cr3t-value"],
    );
}

#[test]
fn variables_that_hold_nothing_are_named_with_key_and_place() {
    let message = refused(
        &API_PIPELINE.replace("${AZURE_CLIENT_SECRET}", "${MISSING}"),
        &[],
    );
    assert_eq!(
        message,
        "pipelines/test.toml:11:1: `source.auth.client_secret` needs the environment variable MISSING, which is not set"
    );
    assert!(refused(FILES_PIPELINE, &["lake.root=${NOTHING}"]).contains("NOTHING, which is empty"));
    assert!(refused(FILES_PIPELINE, &["lake.root=${"]).contains("${NAME}"));
    assert_eq!(
        load(FILES_PIPELINE, &["lake.root=$${X}"])
            .unwrap()
            .lake
            .root,
        "${X}"
    );
    assert_eq!(
        load(FILES_PIPELINE, &["work.threads=${FOUR}"])
            .unwrap()
            .work
            .threads,
        4
    );
}

#[test]
fn values_with_invisible_characters_are_refused_by_variable() {
    let values = ["\u{200b}", "\0", "\"", "'"]
        .iter()
        .flat_map(|c| [format!("{c}{SECRET}"), format!("{SECRET}{c}\n")]);
    let inside = ["\0", "\u{1b}", "\n"].map(|c| format!("{SECRET}{c}{SECRET}"));
    for value in values.chain(inside) {
        for (key, variable) in [
            ("source.auth.tenant_id", "AZURE_TENANT_ID"),
            ("source.auth.client_id", "AZURE_CLIENT_ID"),
            ("source.auth.client_secret", "AZURE_CLIENT_SECRET"),
            ("source.api", "OTHER"),
            ("source.blob_hosts", "OTHER"),
            ("lake.root", "OTHER"),
            ("lake.options.region", "OTHER"),
        ] {
            let overrides: Vec<String> = match variable {
                "OTHER" if key == "source.blob_hosts" => vec![format!("{key}=[\"${{OTHER}}\"]")],
                "OTHER" => vec![format!("{key}=${{OTHER}}")],
                _ => Vec::new(),
            };
            let given = |name: &str| {
                (name == variable)
                    .then(|| value.clone())
                    .or(environment(name))
            };
            let error =
                Settings::parse(API_PIPELINE, Path::new(FILE), &overrides, given).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains(&format!(
                    "`{key}` needs the environment variable {variable}, which"
                )),
                "{message}"
            );
            assert!(!message.contains(SECRET), "{message}");
        }
        for key in ["tenant_id", "client_id", "client_secret", "audience"] {
            if value.contains(['"', '\'']) {
                continue; // A quoted value of `--set` is TOML.
            }
            let assignment = format!("source.auth.{key}={value}");
            let message = refused(API_PIPELINE, &[&assignment]);
            assert!(
                message.starts_with(&format!("--set source.auth.{key}: `source.auth.{key}` ")),
                "{message}"
            );
        }
    }
    let pem = |name: &str| match name {
        "CERTIFICATE" => Some("-----BEGIN\n-----END\n".to_owned()),
        _ => environment(name),
    };
    let overrides = ["lake.options.proxy_ca_certificate=${CERTIFICATE}".to_owned()];
    Settings::parse(API_PIPELINE, Path::new(FILE), &overrides, pem).unwrap();
}

#[test]
fn no_secret_is_printed_wherever_it_was_put() {
    let settings = load(
        API_PIPELINE,
        &["lake.options.secret_access_key=s3cr3t-value"],
    )
    .unwrap();
    assert!(!format!("{settings:?}").contains(SECRET));
    let printed: String = settings
        .shown()
        .iter()
        .map(|shown| format!("{shown:?}"))
        .collect();
    assert!(!printed.contains(SECRET), "{printed}");
    assert_eq!(
        origin(&settings, "source.auth.client_secret"),
        "env AZURE_CLIENT_SECRET"
    );
    assert_eq!(origin(&settings, "work.threads"), "default");
    for key in KEYS
        .iter()
        .filter(|key| !matches!(key.kind, Kind::Text | Kind::Secret | Kind::TextList))
    {
        let assignment = format!("{}=x${{SECRET}}", key.path);
        let message = refused(API_PIPELINE, &[&assignment]);
        assert!(
            message.contains("${SECRET}") || key.path == API,
            "{message}"
        );
    }
    for misplaced in [
        "dataset=${SECRET}",
        "schema=/nowhere/${SECRET}",
        "source.auth.token=${SECRET}",
        "source.api=http://${SECRET}",
        "source.blob_hosts=${SECRET}",
        "s3cr3t-value",
        "s3cr3t-value =x y",
    ] {
        let message = load(API_PIPELINE, &[misplaced]).unwrap_err().to_string();
        let key_was_said = misplaced.starts_with("s3cr3t-value =");
        assert!(
            key_was_said || !message.contains(SECRET),
            "{misplaced}: {message}"
        );
    }
}

#[test]
fn the_schema_file_must_declare_the_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.toml");
    let built_in = include_str!("../../../../schemas/info_gathering.toml");
    std::fs::write(
        &path,
        built_in.replace("name = \"info_gathering\"", "name = \"mine\""),
    )
    .unwrap();
    let schema = format!("schema={}", path.display());
    assert_eq!(
        load(FILES_PIPELINE, &[&schema, "dataset=mine"])
            .unwrap()
            .dataset
            .name,
        "mine"
    );
    assert!(refused(FILES_PIPELINE, &[&schema]).contains("declares the dataset `mine`"));
    assert!(
        refused(FILES_PIPELINE, &["schema=nowhere.toml"])
            .contains("cannot read schema file `nowhere.toml`")
    );
}

#[test]
fn the_shipped_pipeline_names_every_key_with_its_true_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/info_gathering.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    Pipeline::load(&path, &[], &[], environment).unwrap();

    let mut section = String::new();
    let mut told = BTreeMap::new();
    for line in text.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            section = format!("{}.", name.0);
        } else if let Some((name, rest)) = line.split_once(" = ")
            && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        {
            let value = toml::from_str::<toml::Table>(&format!("x = {rest}")).unwrap();
            told.insert(format!("{section}{name}"), value["x"].clone());
        }
    }
    for key in KEYS {
        let path = key.path.replace("lake.options.*", "lake.options.region");
        let value = told
            .remove(&path)
            .unwrap_or_else(|| panic!("`{path}` is not told"));
        if let Some(default) = key.default {
            assert_eq!(
                value,
                default.parse::<toml::Value>().unwrap(),
                "default of `{path}`"
            );
        }
    }
    told.retain(|key, _| !key.starts_with("lake.options."));
    assert!(told.is_empty(), "unknown: {told:?}");
}

#[test]
fn a_pipeline_of_several_datasets_has_the_settings_of_each() {
    let parse = |datasets: &str, overrides: &[&str]| {
        let text = FILES_PIPELINE.replace("dataset = 'info_gathering'", datasets);
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        Pipeline::parse(&text, Path::new(FILE), &overrides, |_| None)
    };
    let names = |pipeline: &Pipeline| -> Vec<String> {
        let each = pipeline.each.iter();
        each.map(|settings| settings.dataset.name.clone()).collect()
    };
    let all = parse("datasets = 'all'", &[]).unwrap();
    assert!(all.is_list);
    assert_eq!(
        names(&all),
        dataset::Dataset::built_in_names().collect::<Vec<_>>()
    );
    let some = "datasets = ['software_vulnerabilities', 'info_gathering']";
    let two = parse(some, &[]).unwrap();
    assert_eq!(names(&two), ["software_vulnerabilities", "info_gathering"]);
    assert!(two.each[0].source.passes_over_others);
    let one = two
        .clone()
        .only(&["info_gathering".to_owned()], Path::new(FILE));
    assert_eq!(one.unwrap().one().unwrap().dataset.name, "info_gathering");
    let unknown = two
        .clone()
        .only(&["certificates".to_owned()], Path::new(FILE));
    let unknown = unknown.unwrap_err().to_string();
    assert!(
        unknown.contains("no dataset `certificates`, but software_vulnerabilities, info_gathering"),
        "{unknown}"
    );
    let several = two.one().unwrap_err().to_string();
    assert!(several.contains("several datasets"), "{several}");

    // What is given by --set displaces what the file gives.
    let single = parse(some, &["dataset=certificates"]).unwrap();
    assert!(!single.is_list && !single.each[0].source.passes_over_others);
    assert_eq!(names(&single), ["certificates"]);
    let listed = parse(
        "dataset = 'certificates'\nschema = 'x.toml'",
        &["datasets=[\"info_gathering\"]"],
    );
    assert_eq!(names(&listed.unwrap()), ["info_gathering"]);

    for (datasets, words) in [
        (
            "datasets = []",
            "`datasets` must be \"all\", or a list of names",
        ),
        ("datasets = ['a', 'a']", "each once"),
        ("datasets = ['nothing']", "nothing"),
        (
            "datasets = ['nowhere.toml']",
            "cannot read schema file `nowhere.toml`",
        ),
        (
            "datasets = 'all'\ndataset = 'info_gathering'",
            "one dataset or several",
        ),
        (
            "datasets = 'all'\nschema = 'x.toml'",
            "stands in their list",
        ),
    ] {
        let error = parse(datasets, &[]).unwrap_err().to_string();
        assert!(error.contains(words), "{datasets}: {error}");
    }
}
