//! The command line: what may be said. What it means is in `commands`.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};
use dataset::{OrgId, SnapshotId};
use tracing::level_filters::LevelFilter;

use crate::exit_code;
#[cfg(feature = "simulator")]
use crate::simulator_arguments::{DemoArguments, SimulateArguments};

/// Turns the Microsoft Defender export API, which forgets, into a data lake, which remembers.
///
/// Every run takes the organisation's current snapshot and publishes it, whole or not at all, as typed Parquet
/// partitioned by date and device group, on local disk, S3 or Azure Blob.
#[derive(Debug, Parser)]
#[command(
    name = "defender-lake",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(after_help = examples(&[
    ("Publish the tenant's current snapshot", "defender-lake run pipelines/info_gathering.toml"),
    ("See what would be done", "defender-lake plan pipelines/info_gathering.toml"),
    #[cfg(feature = "simulator")]
    ("Try it without a tenant", "defender-lake demo"),
    ("What the columns mean", "defender-lake schema show info_gathering"),
]) + "\n\n" + exit_code::HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) terminal: Terminal,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What goes to standard error, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logging")]
pub(crate) struct Terminal {
    /// Form of log lines on standard error; json also takes the place of progress bars
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORM")]
    pub(crate) log: LogFormat,
    /// Least level of log lines [default: info; warn beside progress bars]
    #[arg(long, global = true, value_enum, value_name = "LEVEL", conflicts_with_all = ["verbose", "quiet"])]
    pub(crate) log_level: Option<LogLevel>,
    /// More log lines: -v debug, -vv trace
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// Errors only: no progress, no summary
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Colours on standard error
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub(crate) color: ColorChoice,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Least level of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// What ended the command.
    Error,
    /// What a person should look at.
    Warn,
    /// The stations of a run.
    Info,
    /// Every blob and part.
    Debug,
    /// Every step.
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish the current snapshot: plan, work, gate, commit
    #[command(after_help = examples(&[
        ("Publish the tenant's current snapshot", "defender-lake run pipelines/info_gathering.toml"),
        ("Into S3", "defender-lake run pipelines/info_gathering.toml --set lake.root=s3://bucket/defender"),
        ("Blobs that are on disk already",
         "defender-lake run pipelines/info_gathering.toml --set 'source.files=exports/**/*.json.gz'"),
        ("Every dataset that there is", "defender-lake run pipelines/all.toml"),
        ("One of them", "defender-lake run pipelines/all.toml --only software_vulnerabilities"),
        ("The run report for a scheduler", "defender-lake run pipelines/info_gathering.toml --json --log json"),
        ("What a pipeline file resolves to", "defender-lake run pipelines/info_gathering.toml --show-config"),
    ]) + "\n\n" + exit_code::HELP)]
    Run(RunArguments),
    /// Show what a run would read and write; nothing is written
    #[command(after_help = examples(&[
        ("Parts and their sizes", "defender-lake plan pipelines/info_gathering.toml"),
        ("The whole plan", "defender-lake plan pipelines/info_gathering.toml --json"),
    ]))]
    Plan(PlanArguments),
    /// Read published files back and check them against the manifest
    ///
    /// Checks rows, checksums, schema, partitions and the uniqueness of the key. Ends with 1 if anything differs.
    #[command(after_help = examples(&[
        ("The latest snapshot", "defender-lake verify pipelines/info_gathering.toml"),
        ("All of them", "defender-lake verify pipelines/info_gathering.toml --all"),
        ("An earlier one", "defender-lake verify pipelines/info_gathering.toml --snapshot 20220726T100100Z-47d41a0c"),
    ]))]
    Verify(VerifyArguments),
    /// List the snapshots that the lake holds, current and kept; take one out with `drop`
    #[command(after_help = examples(&[
        ("What is there", "defender-lake snapshots pipelines/info_gathering.toml"),
        ("Take one out of the table",
         "defender-lake snapshots drop pipelines/info_gathering.toml 20220726T100100Z-47d41a0c"),
    ]))]
    Snapshots(SnapshotsArguments),
    /// Print ready code that reads the lake's table
    #[command(after_help = examples(&[
        ("The whole table with DuckDB", "defender-lake snippet duckdb pipelines/info_gathering.toml"),
        ("Exactly one snapshot with Spark",
         "defender-lake snippet spark pipelines/info_gathering.toml --snapshot 20220726T100100Z-47d41a0c"),
        ("One date with Polars", "defender-lake snippet polars pipelines/info_gathering.toml --date 2022-07-26"),
    ]))]
    Snippet(SnippetArguments),
    /// Make an earlier snapshot of a day current again while its files are kept
    #[command(after_help = examples(&[
        ("Back to the snapshot of the morning",
         "defender-lake rollback pipelines/info_gathering.toml --to 20220726T060100Z-47d41a0c"),
    ]))]
    Rollback(RollbackArguments),
    /// Find files that nothing holds any more; delete them with --apply
    ///
    /// Finds what runs left that died, files that no snapshot lists, replaced snapshots that were kept long enough, days past
    /// lake.keep, and run reports of more than 90 days.
    #[command(after_help = examples(&[
        ("What would be deleted", "defender-lake vacuum pipelines/info_gathering.toml"),
        ("Delete it", "defender-lake vacuum pipelines/info_gathering.toml --apply"),
    ]))]
    Vacuum(VacuumArguments),
    /// Look at quarantined records, and replay them once they can be read
    #[command(subcommand, after_help = examples(&[
        ("What is quarantined, and why", "defender-lake quarantine list pipelines/info_gathering.toml"),
        ("The records themselves", "defender-lake quarantine show pipelines/info_gathering.toml --reason missing_key"),
        ("Add those that a corrected schema can read to their snapshots",
         "defender-lake quarantine replay pipelines/info_gathering.toml --set schema=corrected.toml"),
    ]))]
    Quarantine(QuarantineCommand),
    /// Describe datasets: columns, wire paths, meaning
    #[command(subcommand, after_help = examples(&[
        ("The datasets that there are", "defender-lake schema list"),
        ("One dataset's columns", "defender-lake schema show info_gathering"),
    ]))]
    Schema(SchemaCommand),
    #[cfg(feature = "simulator")]
    /// Stand in for the export API on loopback, or write a snapshot's blobs to a folder
    #[command(after_help = examples(&[
        ("Serve 10,000 devices until Ctrl-C", "defender-lake simulate --devices 10000 --port 8080"),
        ("The same devices a day later", "defender-lake simulate --devices 10000 --port 8080 --day 1"),
        ("Write blobs with something of every oddity", "defender-lake simulate --write exports --oddities"),
    ]))]
    Simulate(SimulateArguments),
    #[cfg(feature = "simulator")]
    /// Run the real pipeline against a simulated API into a local lake, and show what came of it
    #[command(after_help = examples(&[
        ("A lake in ./demo-lake", "defender-lake demo"),
        ("A larger one elsewhere", "defender-lake demo --devices 200000 --lake /tmp/lake"),
    ]))]
    Demo(DemoArguments),
    /// Print a shell's completion script
    #[command(after_help = examples(&[
        ("For bash", "source <(defender-lake completions bash)"),
        ("For zsh", "defender-lake completions zsh > ~/.zfunc/_defender-lake"),
    ]))]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Whether its result is to be JSON, and so what it fails with.
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Run(arguments) => arguments.json,
            Self::Plan(arguments) => arguments.json,
            Self::Verify(arguments) => arguments.json,
            Self::Snapshots(arguments) => arguments.json,
            Self::Vacuum(arguments) => arguments.json,
            Self::Schema(SchemaCommand::Diff(arguments)) => arguments.json,
            Self::Schema(SchemaCommand::Check(arguments)) => arguments.json,
            Self::Quarantine(
                QuarantineCommand::List(arguments) | QuarantineCommand::Replay(arguments),
            ) => arguments.json,
            _ => false,
        }
    }
}

fn examples(examples: &[(&str, &str)]) -> String {
    let lines = examples
        .iter()
        .map(|(what, command)| format!("\n  {what}:\n    {command}"));
    format!("Examples:{}", lines.collect::<String>())
}

/// Which pipeline.
#[derive(Debug, Args)]
pub(crate) struct PipelineArguments {
    /// The pipeline file
    pub(crate) pipeline: PathBuf,
    /// Give a key of the pipeline file another value; may be repeated
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// Of the datasets of the pipeline file, only this one; may be repeated
    #[arg(long, value_name = "DATASET")]
    pub(crate) only: Vec<String>,
}

/// `run`
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArguments,
    /// Print the run report as JSON, alone on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// Print every setting and where its value came from, and end; secrets are withheld
    #[arg(long, conflicts_with = "json")]
    pub(crate) show_config: bool,
    /// Publish a snapshot that is older than the lake's, in place of its own date
    #[arg(long)]
    pub(crate) backfill: bool,
    #[command(flatten)]
    pub(crate) allowed: AllowedArguments,
    #[command(flatten)]
    pub(crate) known: KnownArguments,
}

/// What a run may do this time.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is allowed this time (short for --set …)")]
pub(crate) struct AllowedArguments {
    /// Publish a snapshot that is much smaller than the last one [gate.min_rows_ratio=0]
    #[arg(long)]
    pub(crate) accept_shrink: bool,
    /// Publish a snapshot without records; an empty listing also needs --org-id [gate.allow_empty=true]
    #[arg(long)]
    pub(crate) allow_empty: bool,
    /// What to do when the service replaces the snapshot under way [source.on_new_snapshot]
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) on_new_snapshot: Option<OnNewSnapshot>,
    /// The longest wait for the rate budget, such as 30m [source.max_wait]
    #[arg(long, value_name = "TIME")]
    pub(crate) max_wait: Option<humantime::Duration>,
}

/// What to do when the service replaces the snapshot under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnNewSnapshot {
    /// Start again with the new one.
    Restart,
    /// End with an error.
    Stop,
}

impl AllowedArguments {
    /// As overrides of the pipeline file.
    pub(crate) fn overrides(&self) -> impl Iterator<Item = String> {
        let on_new_snapshot = self.on_new_snapshot.map(|what| match what {
            OnNewSnapshot::Restart => "source.on_new_snapshot=restart".to_owned(),
            OnNewSnapshot::Stop => "source.on_new_snapshot=stop".to_owned(),
        });
        [
            self.accept_shrink
                .then(|| "gate.min_rows_ratio=0".to_owned()),
            self.allow_empty.then(|| "gate.allow_empty=true".to_owned()),
            on_new_snapshot,
            self.max_wait.map(|wait| format!("source.max_wait={wait}")),
        ]
        .into_iter()
        .flatten()
    }
}

/// What blob paths do not carry.
#[derive(Debug, Args)]
#[command(next_help_heading = "What blob paths do not carry (short for --set source.…)")]
pub(crate) struct KnownArguments {
    /// The Defender organisation
    #[arg(long, value_name = "GUID")]
    pub(crate) org_id: Option<OrgId>,
    /// The snapshot's generated time, such as 2022-07-26T10:01:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) generated_time: Option<DateTime<Utc>>,
    /// The device group
    #[arg(long, value_name = "NUMBER")]
    pub(crate) rbac_group_id: Option<i64>,
    /// Which snapshot to take, where the files hold several
    #[arg(long, value_name = "ID")]
    pub(crate) snapshot: Option<SnapshotId>,
}

impl KnownArguments {
    /// As overrides of the pipeline file.
    pub(crate) fn overrides(&self) -> impl Iterator<Item = String> {
        let time = self.generated_time.map(|time| time.to_rfc3339());
        [
            ("org_id", self.org_id.as_ref().map(ToString::to_string)),
            ("generated_time", time),
            ("rbac_group_id", self.rbac_group_id.map(|id| id.to_string())),
            ("snapshot", self.snapshot.as_ref().map(ToString::to_string)),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some(format!("source.{key}={}", value?)))
    }
}

/// `plan`
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArguments,
    /// Print the plan as JSON, alone on standard output
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) known: KnownArguments,
}

/// `verify`
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArguments,
    /// The snapshot [default: the latest of each organisation]
    #[arg(long, value_name = "ID")]
    pub(crate) snapshot: Option<SnapshotId>,
    /// All current snapshots
    #[arg(long, conflicts_with = "snapshot")]
    pub(crate) all: bool,
    /// Print the result as JSON, alone on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// `snapshots`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct SnapshotsArguments {
    #[command(subcommand)]
    pub(crate) command: Option<SnapshotsCommand>,
    /// The pipeline file
    #[arg(required = true)]
    pub(crate) pipeline: Option<PathBuf>,
    /// Give a key of the pipeline file another value; may be repeated
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// Of the datasets of the pipeline file, only this one; may be repeated
    #[arg(long, value_name = "DATASET")]
    pub(crate) only: Vec<String>,
    /// Print the list as JSON, alone on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// What can be done with a snapshot.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotsCommand {
    /// Take a current snapshot out of the table
    ///
    /// In a log entry of its own. Its files are kept for lake.retire_after, and `rollback` brings it back while they are.
    #[command(after_help = examples(&[
        ("One of a wrong time, which keeps all others out",
         "defender-lake snapshots drop pipelines/info_gathering.toml 20990101T100100Z-47d41a0c"),
    ]))]
    Drop(DropArguments),
}

/// `snapshots drop`
#[derive(Debug, Args)]
pub(crate) struct DropArguments {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArguments,
    /// The snapshot
    #[arg(value_name = "ID")]
    pub(crate) snapshot: SnapshotId,
}

/// `snippet`
#[derive(Debug, Args)]
pub(crate) struct SnippetArguments {
    /// What is to read the table
    #[arg(value_enum)]
    pub(crate) reader: SnippetReader,
    #[command(flatten)]
    pub(crate) pipeline: PipelineArguments,
    /// Exactly this snapshot [default: the whole table]
    #[arg(long, value_name = "ID", conflicts_with = "date")]
    pub(crate) snapshot: Option<SnapshotId>,
    /// This date of all organisations
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Option<NaiveDate>,
}

/// What is to read the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SnippetReader {
    /// SQL for DuckDB.
    #[value(name = "duckdb")]
    DuckDb,
    /// Python for Spark with Delta Lake, as in Databricks and Fabric.
    Spark,
    /// Python for Spark without Delta Lake.
    SparkFiles,
    /// Python for Polars.
    Polars,
    /// Python for the deltalake package.
    Delta,
}

/// `rollback`
#[derive(Debug, Args)]
pub(crate) struct RollbackArguments {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArguments,
    /// The snapshot to go back to
    #[arg(long, value_name = "ID")]
    pub(crate) to: SnapshotId,
}

/// `vacuum`
#[derive(Debug, Args)]
pub(crate) struct VacuumArguments {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArguments,
    /// Delete what is found
    #[arg(long)]
    pub(crate) apply: bool,
    /// Keep replaced snapshots only as long as lake.retire_after says now, even if they were promised for longer
    #[arg(long)]
    pub(crate) shorten: bool,
    /// Print what is found as JSON, alone on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// `quarantine`
#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List the snapshots that have quarantined records, with their number by reason
    List(QuarantineArguments),
    /// Print quarantined records, one JSON object a line
    Show {
        #[command(flatten)]
        quarantine: QuarantineSelection,
        /// Records with this reason only, such as missing_key
        #[arg(long, value_name = "CODE")]
        reason: Option<String>,
        /// Print no more than this number
        #[arg(long, value_name = "NUMBER")]
        limit: Option<usize>,
    },
    /// Decode records again, and add those that pass now to their published snapshots
    ///
    /// Adds each exactly once: replaying again adds nothing. Records too long to be kept whole stay, since only their
    /// beginning is kept.
    Replay(QuarantineArguments),
}

/// Which quarantine.
#[derive(Debug, Args)]
pub(crate) struct QuarantineSelection {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArguments,
    /// Of this snapshot only
    #[arg(long, value_name = "ID")]
    pub(crate) snapshot: Option<SnapshotId>,
}

/// Which quarantine, and how to tell of it.
#[derive(Debug, Args)]
pub(crate) struct QuarantineArguments {
    #[command(flatten)]
    pub(crate) quarantine: QuarantineSelection,
    /// Print the result as JSON, alone on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// `schema`
#[derive(Debug, Subcommand)]
pub(crate) enum SchemaCommand {
    /// List the datasets that the program carries
    List,
    /// Describe a dataset's columns
    #[command(after_help = examples(&[
        ("As a table", "defender-lake schema show info_gathering"),
        ("As Markdown", "defender-lake schema show info_gathering --format markdown"),
        ("A row as JSON Schema", "defender-lake schema show info_gathering --format json-schema"),
        ("A schema file of your own", "defender-lake schema show ./my_schema.toml"),
    ]))]
    Show {
        /// Name of a dataset, or path of a schema file (.toml)
        name: String,
        /// How to print it
        #[arg(long, value_enum, default_value_t = SchemaFormat::Table)]
        format: SchemaFormat,
    },
    /// Propose a schema file for records that have none
    ///
    /// Its comments show a few values of each key: look at them before you give it away.
    #[command(after_help = examples(&[
        ("For blobs of an export that has no schema",
         "defender-lake schema infer 'exports/**/*.json.gz' --name network_shares > shares.toml"),
    ]))]
    Infer(InferArguments),
    /// Compare a schema with records: what it lacks, what does not fit, what never comes
    ///
    /// Ends with 1 where they differ.
    #[command(after_help = examples(&[
        ("What the service sends beyond the schema", "defender-lake schema diff info_gathering 'exports/**/*.json.gz'"),
    ]))]
    Diff(DiffArguments),
    /// Add a column for a wire path that was rescued to a schema file
    #[command(after_help = examples(&[
        ("In place", "defender-lake schema promote shares.toml Details.Owner 'exports/**/*.json.gz' --write"),
    ]))]
    Promote(PromoteArguments),
    /// Compare schemas with the service's $metadata
    ///
    /// Ends with 1 where the service has a property that a schema lacks, or another type.
    #[command(after_help = examples(&[
        ("All datasets that the program carries", "defender-lake schema check metadata.xml"),
    ]))]
    Check(CheckArguments),
}

/// `schema infer`
#[derive(Debug, Args)]
pub(crate) struct InferArguments {
    /// Files of records, as patterns
    #[arg(required = true)]
    pub(crate) files: Vec<String>,
    /// Name of the dataset
    #[arg(long)]
    pub(crate) name: String,
    /// Path of the export call
    #[arg(long, default_value = "/api/machines/")]
    pub(crate) endpoint: String,
    /// Segment of the blob paths that names the export [default: the name]
    #[arg(long)]
    pub(crate) export_name: Option<String>,
    /// Application permission that the call needs
    #[arg(long, default_value = "Vulnerability.Read.All")]
    pub(crate) permission: String,
    #[command(flatten)]
    pub(crate) sample: SampleArguments,
}

/// How much of files is looked at.
#[derive(Debug, Args)]
pub(crate) struct SampleArguments {
    /// The most records to look at, as many of each file
    #[arg(long, default_value_t = 100_000)]
    pub(crate) records: u64,
}

/// `schema diff`
#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    /// Name of a dataset, or path of a schema file (.toml)
    pub(crate) schema: String,
    /// Files of records, as patterns
    #[arg(required = true)]
    pub(crate) files: Vec<String>,
    #[command(flatten)]
    pub(crate) sample: SampleArguments,
    /// Print the differences as JSON, alone on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// `schema promote`
#[derive(Debug, Args)]
pub(crate) struct PromoteArguments {
    /// The schema file
    pub(crate) schema: PathBuf,
    /// The wire path, as _rescued_data and `schema diff` name it
    pub(crate) path: String,
    /// Files of records that have it, as patterns
    #[arg(required = true)]
    pub(crate) files: Vec<String>,
    #[command(flatten)]
    pub(crate) sample: SampleArguments,
    /// Write the schema file, in place of printing it
    #[arg(long)]
    pub(crate) write: bool,
}

/// `schema check`
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// The $metadata document, as the service gave it
    pub(crate) metadata: PathBuf,
    /// Name of a dataset, or path of a schema file (.toml) [default: all that the program carries]
    #[arg(long)]
    pub(crate) schema: Option<String>,
    /// Name of the type to compare with [default: the one that is most alike]
    #[arg(long, value_name = "NAME", requires = "schema")]
    pub(crate) of_type: Option<String>,
    /// Print the differences as JSON, alone on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// How to print a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaFormat {
    /// Aligned columns.
    Table,
    /// A Markdown document.
    Markdown,
    /// The JSON Schema of one row.
    JsonSchema,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_sound_and_every_command_has_examples() {
        let mut command = Arguments::command();
        command.build();
        command.clone().debug_assert();
        for name in [
            "run",
            "plan",
            "verify",
            "quarantine",
            "schema",
            "simulate",
            "demo",
            "completions",
        ] {
            let command = command.find_subcommand(name).unwrap();
            let help = command.get_after_help().unwrap().to_string();
            assert!(
                help.contains("Examples:") && help.contains("defender-lake"),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_allowed_this_time_stands_for_settings() {
        let line = "defender-lake run p.toml --accept-shrink --allow-empty --max-wait 1h30m --on-new-snapshot stop";
        let Command::Run(run) = parse(line).unwrap().command else {
            panic!("not run");
        };
        let text = include_str!("../../../pipelines/info_gathering.toml");
        let overrides: Vec<String> = run.allowed.overrides().collect();
        let settings = pipeline::settings::Settings::parse(
            text,
            std::path::Path::new("p.toml"),
            &overrides,
            |_| Some("x".to_owned()),
        )
        .unwrap();
        assert_eq!(settings.gate.min_rows_ratio, 0.0);
        assert!(settings.gate.allow_empty);
        let pipeline::settings::SourceKind::Api(api) = settings.source.from else {
            panic!("files");
        };
        assert_eq!(api.max_wait.as_secs(), 5400);
        assert_eq!(api.on_new_snapshot, pipeline::settings::OnNewSnapshot::Stop);
    }

    #[test]
    fn every_example_parses() {
        let mut command = Arguments::command();
        command.build();
        let mut helps = vec![command.get_after_help().unwrap().to_string()];
        let mut commands: Vec<_> = command.get_subcommands().collect();
        while let Some(command) = commands.pop() {
            helps.extend(command.get_after_help().map(ToString::to_string));
            commands.extend(command.get_subcommands());
        }
        let mut seen = 0;
        for help in helps {
            for line in help
                .lines()
                .filter_map(|line| line.strip_prefix("    defender-lake "))
            {
                let line = line.split(" > ").next().unwrap_or(line).replace('\'', "");
                parse(&format!("defender-lake {line}"))
                    .unwrap_or_else(|error| panic!("{line}: {error}"));
                seen += 1;
            }
        }
        assert!(seen > 15, "{seen} examples");
    }

    #[test]
    fn shorthands_are_overrides_of_the_source() {
        let line = "defender-lake run p.toml --set a.b=c --org-id 47D41A0C-188d-46d3-bbea-a93dbc0bfcaa \
                    --generated-time 2022-07-26T10:01:00Z --rbac-group-id 7 --snapshot 20220726T100100Z-47d41a0c";
        let Command::Run(run) = parse(line).unwrap().command else {
            panic!("not run");
        };
        assert_eq!(run.pipeline.set, ["a.b=c"]);
        let overrides: Vec<String> = run.known.overrides().collect();
        assert_eq!(
            overrides,
            [
                "source.org_id=47d41a0c-188d-46d3-bbea-a93dbc0bfcaa",
                "source.generated_time=2022-07-26T10:01:00+00:00",
                "source.rbac_group_id=7",
                "source.snapshot=20220726T100100Z-47d41a0c",
            ]
        );
    }

    #[test]
    fn wrong_use_ends_with_2() {
        for line in [
            "defender-lake",
            "defender-lake run",
            "defender-lake run p.toml --json --show-config",
            "defender-lake run p.toml --org-id ../x",
            "defender-lake run p.toml --sett a=b",
            "defender-lake schema show",
            "defender-lake schema list --log xml",
            "defender-lake schema list -v --quiet",
            "defender-lake simulate --write a --port 1",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
        assert_eq!(
            parse("defender-lake run --help").unwrap_err().exit_code(),
            0
        );
        assert_eq!(parse("defender-lake --version").unwrap_err().exit_code(), 0);
    }

    #[test]
    fn logging_options_stand_before_or_behind_the_command() {
        for line in [
            "defender-lake --log json -vv schema list",
            "defender-lake schema list -v --log json -v",
        ] {
            let terminal = parse(line).unwrap().terminal;
            assert_eq!(
                (terminal.log, terminal.verbose),
                (LogFormat::Json, 2),
                "{line}"
            );
        }
    }
}
