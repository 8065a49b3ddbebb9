//! Every key that a pipeline file may hold: its type, its default, an example and its meaning. Nothing else lists them.
//!
//! Reading, checking, `--set`, the nearest-key advice, `--show-config` and the documentation all go by this table.

use super::kind::Kind;

/// One key of the pipeline file.
#[derive(Debug)]
pub struct Key {
    /// Path from the top of the file, with dots; a last step `*` stands for any name.
    pub path: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// Its value, as TOML, where neither the file nor the command line gives one.
    pub default: Option<&'static str>,
    /// A value, as TOML, for advice and documentation.
    pub example: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

const fn at_least(least: i64) -> Kind {
    Kind::Integer {
        least,
        most: i64::MAX,
    }
}

const fn from_to(least: i64, most: i64) -> Kind {
    Kind::Integer { least, most }
}

const KIB: u64 = 1 << 10;
const TIB: u64 = 1 << 40;

const fn size(least: u64, most: u64) -> Kind {
    Kind::Size { least, most }
}

/// A key without a default.
const fn optional(
    path: &'static str,
    kind: Kind,
    example: &'static str,
    meaning: &'static str,
) -> Key {
    Key {
        path,
        kind,
        default: None,
        example,
        meaning,
    }
}

/// A key whose default is its example.
const fn key(path: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Key {
    Key {
        default: Some(default),
        ..optional(path, kind, default, meaning)
    }
}

impl Key {
    /// With another example than its default.
    const fn such_as(self, example: &'static str) -> Self {
        Self { example, ..self }
    }
}

/// Keys that were settings once, and what their users do about it: the end of the error that says so.
pub(super) const REMOVED: &[(&str, &str)] = &[
    ("source.connect_timeout", CHOSEN),
    ("source.request_timeout", CHOSEN),
    ("source.api_retry_delay", CHOSEN),
    ("source.api_retry_time", CHOSEN),
    ("source.blob_retry_delay", CHOSEN),
    ("source.blob_retry_time", CHOSEN),
    ("source.max_retry_delay", CHOSEN),
    ("work.segment_size", CHOSEN),
    ("work.parts_in_flight", CHOSEN),
    ("work.part_attempts", CHOSEN),
    ("work.row_group_rows", CHOSEN),
    ("work.batch_rows", CHOSEN),
    ("work.max_line_bytes", CHOSEN),
    ("work.max_inflate_ratio", CHOSEN),
    (
        "gate.max_quarantined_share",
        "`gate.max_quarantined` takes a share too; write `gate.max_quarantined = \"1%\"`",
    ),
];

const CHOSEN: &str = "the program chooses it; remove it";

/// All keys, in the order of the documentation.
pub const KEYS: &[Key] = &[
    optional(
        "dataset",
        Kind::Text,
        r#""info_gathering""#,
        "Name of the dataset, which is the name of the table. Either this or `datasets`.",
    ),
    optional(
        "datasets",
        Kind::Datasets,
        r#"["info_gathering", "software_vulnerabilities"]"#,
        "Several datasets in one run: \"all\" that the program carries, or a list of their names and of schema files (`*.toml`).",
    ),
    optional(
        "schema",
        Kind::Text,
        r#""schemas/info_gathering.toml""#,
        "A schema file in place of the one that the program carries; relative to the current folder.",
    ),
    optional(
        "source.api",
        Kind::Address,
        r#""https://api.securitycenter.microsoft.com""#,
        "Base address of the export API. Either this or `files`.",
    ),
    optional(
        "source.files",
        Kind::Text,
        r#""exports/**/*.json.gz""#,
        "Blobs that are on disk already, as a pattern; relative to the current folder. Either this or `api`.",
    ),
    optional(
        "source.sas_valid_hours",
        from_to(1, 24),
        "6",
        "How long the signed URLs should be valid; without it the service decides.",
    ),
    key(
        "source.blob_hosts",
        Kind::TextList,
        "[]",
        "Hosts that blobs may be fetched from, beside Azure's own blob hosts.",
    )
    .such_as("[\"*.blob.example.net\"]"),
    key(
        "source.max_wait",
        Kind::Duration,
        r#""15m""#,
        "The longest that a run waits for the rate budget before it gives up.",
    ),
    optional(
        "source.calls_per_minute",
        from_to(1, 10_000),
        "5",
        "API calls a minute, where other programs share what the service grants; by default all of it, by the dataset.",
    ),
    optional(
        "source.calls_per_hour",
        from_to(1, 100_000),
        "20",
        "API calls an hour, as `calls_per_minute`.",
    ),
    key(
        "source.on_new_snapshot",
        Kind::Choice(&["restart", "stop"]),
        r#""restart""#,
        "What a run does when the service replaces the snapshot under way: start again with the new one, or stop.",
    )
    .such_as(r#""stop""#),
    key(
        "source.no_progress_timeout",
        Kind::Duration,
        r#""60s""#,
        "The longest wait for the next byte of an answer or a blob.",
    ),
    key(
        "source.api_attempts",
        from_to(1, 1000),
        "4",
        "Times that a call of the API is made until it succeeds; every one costs a part of the rate budget.",
    ),
    key(
        "source.blob_attempts",
        from_to(1, 1000),
        "10",
        "Times that a blob is asked for until more of it arrives.",
    ),
    optional(
        "source.state_dir",
        Kind::Text,
        r#""/var/cache/defender-lake""#,
        "Folder where the API calls made are kept across runs, the user's own; without it, `defender-lake` in the user's cache folder.",
    ),
    optional(
        "source.generated_time",
        Kind::Time,
        "2022-07-26T10:01:00Z",
        "The snapshot's generated time, for blobs whose paths do not carry it.",
    ),
    optional(
        "source.org_id",
        Kind::OrgId,
        r#""47d41a0c-188d-46d3-bbea-a93dbc0bfcaa""#,
        "The Defender organisation, for blobs whose paths do not carry it.",
    ),
    optional(
        "source.rbac_group_id",
        at_least(0),
        "1001",
        "The device group, for blobs whose paths and records do not carry it.",
    ),
    optional(
        "source.snapshot",
        Kind::SnapshotId,
        r#""20220726T100100Z-47d41a0c""#,
        "Which snapshot to take, where the files hold several.",
    ),
    optional(
        "source.auth.kind",
        Kind::Choice(&["client_secret", "token"]),
        r#""client_secret""#,
        "How to sign in to the API: an app registration's secret, or a token that somebody else got.",
    ),
    optional(
        "source.auth.tenant_id",
        Kind::Text,
        r#""${AZURE_TENANT_ID}""#,
        "Entra tenant of the app registration.",
    ),
    optional(
        "source.auth.client_id",
        Kind::Text,
        r#""${AZURE_CLIENT_ID}""#,
        "Client id of the app registration.",
    ),
    optional(
        "source.auth.client_secret",
        Kind::Secret,
        r#""${AZURE_CLIENT_SECRET}""#,
        "Secret of the app registration.",
    ),
    key(
        "source.auth.authority",
        Kind::Address,
        r#""https://login.microsoftonline.com""#,
        "Sign-in authority of the cloud.",
    )
    .such_as(r#""https://login.microsoftonline.us""#),
    key(
        "source.auth.audience",
        Kind::Text,
        r#""https://api.securitycenter.microsoft.com""#,
        "Audience of the token. The same for every commercial API host.",
    )
    .such_as(r#""https://api-gcc.securitycenter.microsoft.us""#),
    optional(
        "source.auth.token",
        Kind::Secret,
        r#""${DEFENDER_LAKE_TOKEN}""#,
        "A bearer token, for kind `token`.",
    ),
    optional(
        "lake.root",
        Kind::Text,
        r#""./lake""#,
        "Where the lake is stored: a folder, s3://bucket/prefix, az://container/prefix or abfss://...",
    ),
    key(
        "lake.format",
        Kind::Choice(&["delta", "parquet"]),
        r#""delta""#,
        "Form of the table: Parquet files with a Delta log, or Parquet files alone.",
    )
    .such_as(r#""parquet""#),
    key(
        "lake.compatibility",
        Kind::Choice(&["modern", "broad"]),
        r#""modern""#,
        "Readers that files are for: those of today, or older and small ones too (snappy, no delta encodings), which costs bytes \
         and time.",
    )
    .such_as(r#""broad""#),
    optional(
        "lake.retire_after",
        Kind::Duration,
        r#""7d""#,
        "How long the files of a replaced snapshot are kept, for readers under way, `rollback` and time travel. Without it \"1h\" \
         with a Delta log, whose readers do not see them, and else \"0s\", since a glob would count them twice. \
         What holds is the value at the time of the replacement: later changes do not affect it.",
    ),
    optional(
        "lake.keep",
        Kind::Days,
        r#""400d""#,
        "How long whole days stay in the table, counted from their generated date; `vacuum --apply` takes older ones out and deletes \
         them. The latest snapshot of an organisation always stays. Without it days are kept for good.",
    ),
    key(
        "lake.dead_after",
        Kind::Duration,
        r#""20m""#,
        "How long a run may be silent in S3 or Azure before the next one takes it for dead; more than clocks may differ.",
    ),
    key(
        "lake.single_writer",
        Kind::Bool,
        "false",
        "Nobody else writes to this lake: needed for stores without conditional puts, and disks without links or locks.",
    )
    .such_as("true"),
    optional(
        "lake.options.*",
        Kind::Secret,
        r#""${AWS_ACCESS_KEY_ID}""#,
        "Options of the object store: endpoint, region, keys, allow_http for emulators. Never printed.",
    ),
    key(
        "work.threads",
        from_to(0, 1024),
        "0",
        "Threads that inflate, decode and compress; 0 is one a core.",
    )
    .such_as("4"),
    key(
        "work.downloads",
        from_to(1, 1024),
        "8",
        "Blobs that download at once.",
    ),
    key(
        "work.spool_memory",
        size(0, TIB),
        r#""4MiB""#,
        "Compressed bytes held in memory before blobs are spooled to disk.",
    )
    .such_as(r#""64MiB""#),
    optional(
        "work.spool_dir",
        Kind::Text,
        r#""/var/tmp""#,
        "Folder for spooled blobs and row groups, and hashes of keys; without it, the system's folder for temporary files.",
    ),
    key(
        "work.target_file_size",
        size(1, TIB),
        r#""256MiB""#,
        "Size of a Parquet file up to which small blobs of a partition share one.",
    ),
    key(
        "work.compression_level",
        from_to(1, 22),
        "1",
        "Level of zstd compression.",
    ),
    key(
        "work.max_blob_inflated",
        size(KIB, 1 << 50),
        r#""64GiB""#,
        "The most that a blob may inflate to; a larger one is an error.",
    ),
    key(
        "gate.max_quarantined",
        Kind::QuarantineLimit,
        r#""1%""#,
        "The most records that may be quarantined: a number, or a share, of which up to 10 records always pass. \
         A snapshot whose records are all quarantined is never published.",
    )
    .such_as("100"),
    key(
        "gate.max_quarantine_size",
        size(KIB, 1 << 50),
        r#""64MiB""#,
        "The most that the files of quarantined records of one run may have; a run with more stops, and publishes nothing.",
    ),
    key(
        "gate.max_rescued",
        Kind::Share,
        "0.9",
        "The largest share of rows without a value in a column that most rows of the last committed snapshot had one in; 1 lets all \
         pass.",
    ),
    key(
        "gate.min_rows_ratio",
        Kind::Share,
        "0.5",
        "The least rows, as a ratio to the last committed snapshot.",
    ),
    key(
        "gate.allow_empty",
        Kind::Bool,
        "false",
        "Whether a snapshot without any record, or an empty listing of a known organisation and time, may be published, \
         whatever the last one held. A snapshot whose records are all quarantined never is.",
    )
    .such_as("true"),
    key(
        "gate.duplicate_keys",
        Kind::Choice(&["keep", "refuse"]),
        r#""keep""#,
        "Whether rows with the same unique key, such as a device in two groups, are kept and reported, or refused.",
    )
    .such_as(r#""refuse""#),
];
