//! Ready code that reads a lake's table: the whole of it, one date, or exactly one snapshot.
//!
//! | reader | whole table and date | snapshot |
//! |---|---|---|
//! | DuckDB, Spark without Delta Lake | the files that the manifests list, looked up when the code runs | the files of its manifest |
//! | Polars | the Delta log; without one, the files that the manifests list now | the files of its manifest |
//! | Spark, deltalake | the Delta log | the Delta log at a version that has exactly the files of its manifest, or an error |
//!
//! Databricks and Fabric refuse to read the files of a folder that has a Delta log. A table without one has code for Spark without
//! Delta Lake, and none for deltalake.
//!
//! Names in the code are always the same ones, and every value from the lake or the settings is a literal of its language.
//! Secrets are never printed: code takes them from the environment variables that it names.

use std::fmt::Write;

use chrono::NaiveDate;
use dataset::SnapshotId;
use secrecy::ExposeSecret;
use writer::{CurrentSnapshot, Lake, Latest, Manifest, TableFormat, layout};

use crate::error::PipelineError;
use crate::lake::literal::{python as quoted, sql};
use crate::resources::Resources;
use crate::settings::Settings;

/// What is to read the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// SQL for DuckDB.
    DuckDb,
    /// Python for Spark with Delta Lake.
    Spark,
    /// Python for Spark without it.
    SparkFiles,
    /// Python for Polars.
    Polars,
    /// Python for the `deltalake` package.
    Delta,
}

/// What is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The table as it is when the code runs.
    Table,
    /// One date, as it is when the code runs.
    Date(NaiveDate),
    /// One snapshot, also after another took its place, while its files are kept.
    Snapshot(SnapshotId),
}

/// The storage account, an option that the environment may give as well.
const ACCOUNT_NAME: &str = "account_name";
/// Options that are no secrets, by their names without `aws_` or `azure_`.
const PRINTED: &[&str] = &[
    ACCOUNT_NAME,
    "allow_http",
    "endpoint",
    "region",
    "use_emulator",
    "virtual_hosted_style_request",
];
/// Options that are secrets, and the environment variables that code takes them from.
const FROM_ENVIRONMENT: &[(&str, &str)] = &[
    ("access_key_id", "AWS_ACCESS_KEY_ID"),
    ("secret_access_key", "AWS_SECRET_ACCESS_KEY"),
    ("session_token", "AWS_SESSION_TOKEN"),
    ("account_key", "AZURE_STORAGE_ACCOUNT_KEY"),
    ("sas_token", "AZURE_STORAGE_SAS_TOKEN"),
    ("client_id", "AZURE_CLIENT_ID"),
    ("client_secret", "AZURE_CLIENT_SECRET"),
    ("tenant_id", "AZURE_TENANT_ID"),
];

/// Code for `reader` that reads `selection` from the pipeline's lake.
///
/// # Errors
/// [`PipelineError::NotPublished`] for a snapshot that the lake does not hold, [`PipelineError::NothingPublished`] for an
/// empty lake, [`PipelineError::NothingToRead`] where there is no row, [`PipelineError::NoDeltaLog`] for the `deltalake` package
/// and a table without a log, [`PipelineError::NotInDeltaLog`] where the log is read and no longer has the snapshot.
pub async fn snippet(
    resources: &Resources,
    settings: &Settings,
    reader: Reader,
    selection: &Selection,
) -> Result<String, PipelineError> {
    let lake = resources.existing_lake(settings).await?;
    let dataset = &settings.dataset.name;
    if reader == Reader::Delta && settings.lake.format == TableFormat::Parquet {
        let dataset = dataset.clone();
        return Err(PipelineError::NoDeltaLog { dataset });
    }
    let reader = match reader {
        Reader::Spark if settings.lake.format == TableFormat::Parquet => Reader::SparkFiles,
        reader => reader,
    };
    let latest = Latest::read(&lake, dataset).await?;
    let chosen = chosen(dataset, &latest, selection)?;
    let place = Place::of(settings, &lake);
    let has_log = settings.lake.format == TableFormat::Delta;
    let filter = filter(selection, &chosen);
    if let Selection::Snapshot(snapshot) = selection {
        let manifests = manifests(&lake, &chosen).await?;
        let files = files(dataset, &manifests)?;
        return Ok(match reader {
            Reader::DuckDb => duckdb(dataset, &place, selection, &chosen),
            Reader::SparkFiles => spark_files(dataset, &place, selection, &chosen),
            Reader::Polars => polars_files(&place, &files),
            Reader::Spark | Reader::Delta => {
                let version = match manifests.first() {
                    Some(manifest) => writer::log_version(&lake, manifest).await?,
                    None => None,
                };
                let version = version.ok_or_else(|| PipelineError::NotInDeltaLog {
                    dataset: dataset.clone(),
                    snapshot: snapshot.clone(),
                })?;
                let code = match reader {
                    Reader::Spark => spark_delta,
                    _ => deltalake,
                };
                code(dataset, &place, Some(version), &filter)
            }
        });
    }
    Ok(match reader {
        Reader::DuckDb => duckdb(dataset, &place, selection, &chosen),
        Reader::Spark => spark_delta(dataset, &place, None, &filter),
        Reader::SparkFiles => spark_files(dataset, &place, selection, &chosen),
        Reader::Polars if !has_log => {
            let manifests = manifests(&lake, &chosen).await?;
            polars_files(&place, &files(dataset, &manifests)?)
        }
        Reader::Polars => polars_delta(dataset, &place, selection),
        Reader::Delta => deltalake(dataset, &place, None, &filter),
    })
}

async fn manifests(
    lake: &Lake,
    chosen: &[CurrentSnapshot],
) -> Result<Vec<Manifest>, PipelineError> {
    let mut manifests = Vec::new();
    for kept in chosen {
        let manifest = Manifest::read_at(lake, &kept.manifest).await?;
        manifests.push(manifest.ok_or_else(|| PipelineError::FilesGone {
            snapshot: kept.snapshot.clone(),
            missing: vec![kept.manifest.clone()],
        })?);
    }
    Ok(manifests)
}

/// Readers cannot read a list of no files.
fn files<'a>(dataset: &str, manifests: &'a [Manifest]) -> Result<Vec<&'a str>, PipelineError> {
    let files = manifests.iter().flat_map(|manifest| &manifest.files);
    let files: Vec<&str> = files.map(|file| file.path.as_str()).collect();
    if files.is_empty() {
        let dataset = dataset.to_owned();
        return Err(PipelineError::NothingToRead { dataset });
    }
    Ok(files)
}

fn chosen(
    dataset: &str,
    latest: &Latest,
    selection: &Selection,
) -> Result<Vec<CurrentSnapshot>, PipelineError> {
    let retired = latest.retired.iter().map(|retired| &retired.was);
    let chosen: Vec<CurrentSnapshot> = match selection {
        Selection::Table => latest.snapshots.clone(),
        Selection::Date(date) => latest
            .snapshots
            .iter()
            .filter(|current| current.generated_date == *date)
            .cloned()
            .collect(),
        Selection::Snapshot(id) => latest
            .snapshots
            .iter()
            .chain(retired)
            .filter(|kept| kept.snapshot == *id)
            .cloned()
            .collect(),
    };
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    let dataset = dataset.to_owned();
    Err(match selection {
        Selection::Snapshot(snapshot) => PipelineError::NotPublished {
            dataset,
            snapshot: snapshot.clone(),
        },
        Selection::Date(date) => PipelineError::NoSuchDate {
            dataset,
            date: *date,
        },
        Selection::Table => PipelineError::NothingPublished { dataset },
    })
}

/// Where the lake is, as readers name it.
struct Place {
    kind: Kind,
    /// A path or an address, without a slash at its end.
    root: String,
    /// Names and values, as Python expressions.
    options: Vec<(String, String)>,
    printed: Vec<(String, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Disk,
    S3,
    Azure,
}

impl Place {
    fn of(settings: &Settings, lake: &Lake) -> Self {
        let root = lake.to_string();
        let kind = match root.split_once("://") {
            Some(("s3" | "s3a", _)) => Kind::S3,
            Some(_) => Kind::Azure,
            None => Kind::Disk,
        };
        let (mut options, mut printed) = (Vec::new(), Vec::new());
        for (name, value) in &settings.lake.options {
            let short = name
                .strip_prefix("aws_")
                .or_else(|| name.strip_prefix("azure_storage_"))
                .or_else(|| name.strip_prefix("azure_"))
                .unwrap_or(name);
            let value = value.expose_secret();
            // A query or a user in an endpoint would be a secret.
            if PRINTED.contains(&short) && !value.contains(['?', '@']) {
                options.push((name.clone(), quoted(value)));
                printed.push((short.to_owned(), value.to_owned()));
            } else if let Some((_, variable)) =
                FROM_ENVIRONMENT.iter().find(|(secret, _)| *secret == short)
            {
                options.push((name.clone(), format!("os.environ[{}]", quoted(variable))));
            }
        }
        let is_named = printed.iter().any(|(name, _)| name == ACCOUNT_NAME);
        if let Some(account) = lake.azure_account().filter(|_| !is_named) {
            printed.push((ACCOUNT_NAME.to_owned(), account.to_owned()));
        }
        Self {
            kind,
            root,
            options,
            printed,
        }
    }

    fn printed(&self, name: &str) -> Option<&str> {
        let found = self.printed.iter().find(|(printed, _)| printed == name);
        found.map(|(_, value)| value.as_str())
    }

    /// `storage_options = {…}` for Polars and deltalake, and the argument that passes it.
    fn storage_options(&self) -> (String, &'static str) {
        if self.options.is_empty() {
            return (String::new(), "");
        }
        let mut code = "storage_options = {\n".to_owned();
        for (name, value) in &self.options {
            let _ = writeln!(code, "    {}: {value},", quoted(name));
        }
        code.push_str("}\n");
        (code, ", storage_options=storage_options")
    }

    fn imports(&self) -> &'static str {
        let environment = self
            .options
            .iter()
            .any(|(_, value)| value.starts_with("os."));
        if environment { "import os\n\n" } else { "" }
    }
}

/// A path of which DuckDB takes each character as itself.
fn duckdb_path(path: &str) -> String {
    let mut escaped = String::new();
    for character in path.chars() {
        match character {
            '*' | '?' | '[' => {
                let _ = write!(escaped, "[{character}]");
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

/// A path of which Spark takes each character as itself. Where it infers a schema it does not: code for it names the columns.
fn spark_path(path: &str) -> String {
    let mut escaped = String::new();
    for character in path.chars() {
        if "{}[]*?\\".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// Conditions on the table's columns: name and value.
fn filter(selection: &Selection, chosen: &[CurrentSnapshot]) -> Vec<(&'static str, String)> {
    let mut conditions = Vec::new();
    if let (Selection::Date(_) | Selection::Snapshot(_), [first, ..]) = (selection, chosen) {
        conditions.push((dataset::GENERATED_DATE, first.generated_date.to_string()));
    }
    if let (Selection::Snapshot(_), [only]) = (selection, chosen) {
        conditions.push((dataset::ORG_ID, only.org_id.to_string()));
    }
    conditions
}

fn duckdb(
    dataset: &str,
    place: &Place,
    selection: &Selection,
    chosen: &[CurrentSnapshot],
) -> String {
    let mut code = match place.kind {
        Kind::Disk => String::new(),
        Kind::S3 => {
            let mut secret = "INSTALL httpfs; LOAD httpfs; INSTALL aws; LOAD aws;\n\
                 CREATE OR REPLACE SECRET lake (TYPE s3, PROVIDER credential_chain"
                .to_owned();
            if let Some(region) = place.printed("region") {
                let _ = write!(secret, ", REGION {}", sql(region));
            }
            if let Some((scheme, host)) = place
                .printed("endpoint")
                .and_then(|url| url.split_once("://"))
            {
                let host = host.trim_end_matches('/');
                let _ = write!(secret, ", ENDPOINT {}, URL_STYLE 'path'", sql(host));
                let _ = write!(secret, ", USE_SSL {}", scheme == "https");
            }
            secret + ");\n"
        }
        Kind::Azure => {
            let mut secret = "INSTALL azure; LOAD azure;\n\
                 CREATE OR REPLACE SECRET lake (TYPE azure, PROVIDER credential_chain"
                .to_owned();
            if let Some(account) = place.printed(ACCOUNT_NAME) {
                let _ = write!(secret, ", ACCOUNT_NAME {}", sql(account));
            }
            secret + ");\n"
        }
    };
    let root = duckdb_path(&place.root);
    let below = |path: &str| sql(&format!("{root}/{path}"));
    if let (Selection::Snapshot(_), [only]) = (selection, chosen) {
        let manifest = below(&only.manifest);
        let _ = writeln!(code, "SET VARIABLE manifests = [{manifest}];");
    } else {
        let condition = match selection {
            Selection::Date(date) => format!(" WHERE current.generated_date = '{date}'"),
            _ => String::new(),
        };
        let latest = below(&layout::latest(dataset));
        let _ = writeln!(
            code,
            "SET VARIABLE documents = (\n    SELECT list(path)\n    \
             FROM (SELECT unnest([{latest}, {root} || (content ->> '$.older.document')]) AS path FROM read_text({latest}))\n    \
             WHERE path IS NOT NULL\n);\n\
             SET VARIABLE manifests = (\n    SELECT list({root} || current.manifest)\n    \
             FROM (SELECT unnest(snapshots) AS current FROM read_json(getvariable('documents'), columns = {{\n        \
             snapshots: 'STRUCT(manifest VARCHAR, generated_date DATE)[]'}})){condition}\n);",
            root = sql(&format!("{root}/")),
        );
    }
    let _ = writeln!(
        code,
        // `read_json` would take twice the size of the largest manifest that it allows, for each of them.
        "SET VARIABLE files = (\n    SELECT list({} || path)\n    \
         FROM (SELECT unnest(content ->> '$.files[*].path') AS path FROM read_text(getvariable('manifests')))\n);",
        sql(&format!("{root}/")),
    );
    code + "SELECT * FROM read_parquet(getvariable('files'), hive_partitioning = true, union_by_name = true);\n"
}

/// Code that makes a session for the lake, and the lake's root as Hadoop names it.
fn spark_session(place: &Place) -> (String, String) {
    let mut settings = String::new();
    let root = match place.kind {
        Kind::Disk => place.root.clone(),
        Kind::S3 => {
            let endpoint = place.printed("endpoint");
            if let Some(endpoint) = endpoint {
                let _ = write!(
                    settings,
                    ".config(\"spark.hadoop.fs.s3a.endpoint\", {})\n    \
                     .config(\"spark.hadoop.fs.s3a.path.style.access\", \"true\")\n    ",
                    quoted(endpoint)
                );
            }
            let (_, path) = place.root.split_once("://").unwrap_or_default();
            format!("s3a://{path}")
        }
        Kind::Azure => azure_for_hadoop(place),
    };
    let session = format!(
        "spark = (\n    SparkSession.builder\n    {settings}.config(\"spark.sql.session.timeZone\", \"UTC\")\n    .getOrCreate()\n)\n"
    );
    (session, root)
}

fn spark_delta(
    dataset: &str,
    place: &Place,
    version: Option<u64>,
    filter: &[(&'static str, String)],
) -> String {
    let (session, root) = spark_session(place);
    let version = version.map_or(String::new(), |version| {
        format!(".option(\"versionAsOf\", {version})")
    });
    let mut code = format!(
        "from pyspark.sql import SparkSession\n\n\
         # Needs Delta Lake, which Databricks and Fabric have. For Spark without it: defender-lake snippet spark-files\n\
         {session}\ntable = spark.read.format(\"delta\"){version}.load({})\n",
        quoted(&format!("{root}/{}", layout::table(dataset))),
    );
    for (column, value) in filter {
        let condition = quoted(&format!("{column} = {}", sql(value)));
        let _ = writeln!(code, "table = table.where({condition})");
    }
    code + "table.show()\n"
}

fn spark_files(
    dataset: &str,
    place: &Place,
    selection: &Selection,
    chosen: &[CurrentSnapshot],
) -> String {
    let (session, root) = spark_session(place);
    let path = |path: &str| quoted(&format!("/{path}"));
    let manifests = match (selection, chosen) {
        (Selection::Snapshot(_), [only]) => {
            format!("manifests = [root + {}]\n", path(&only.manifest))
        }
        _ => {
            let condition = match selection {
                Selection::Date(date) => {
                    let condition = quoted(&format!("generated_date = '{date}'"));
                    format!(".where({condition})")
                }
                _ => String::new(),
            };
            format!(
                "schema = \"snapshots array<struct<manifest: string, generated_date: string>>, older struct<document: string>\"\n\
                 latest = root + {}\n\
                 older = spark.read.schema(schema).json(latest, multiLine=True).selectExpr(\"older.document\")\n\
                 documents = [latest] + [root + \"/\" + row.document for row in older.collect() if row.document]\n\
                 current = spark.read.schema(schema).json(documents, multiLine=True)\n\
                 current = current.selectExpr(\"inline(snapshots)\"){condition}\n\
                 manifests = [root + \"/\" + row.manifest for row in current.collect()]\n",
                path(&layout::latest(dataset))
            )
        }
    };
    format!(
        "from pyspark.sql import SparkSession\n\n\
         {session}\nroot = {}\n{manifests}\
         listed = spark.read.schema(\"files array<struct<path: string>>\").json(manifests, multiLine=True)\n\
         listed = listed.selectExpr(\"inline(files)\")\n\
         files = [root + \"/\" + row.path for row in listed.select(\"path\").collect()]\n\
         table = (\n    spark.read.option(\"basePath\", {}).option(\"mergeSchema\", True).parquet(*files)\n)\n\
         table.show()\n",
        quoted(&spark_path(&root)),
        quoted(&format!("{root}/{}", layout::table(dataset))),
    )
}

/// `az://container/path` as Hadoop names it; `abfss://…` is as it wants it.
fn azure_for_hadoop(place: &Place) -> String {
    match (place.root.split_once("://"), place.printed(ACCOUNT_NAME)) {
        (Some(("az" | "azure", path)), Some(account)) => {
            let (container, path) = path.split_once('/').unwrap_or((path, ""));
            format!("abfss://{container}@{account}.dfs.core.windows.net/{path}")
        }
        _ => place.root.clone(),
    }
}

fn polars_delta(dataset: &str, place: &Place, selection: &Selection) -> String {
    let (options, argument) = place.storage_options();
    let mut code = format!(
        "{}import polars as pl\n\n{options}table = pl.scan_delta({}{argument})\n",
        place.imports(),
        quoted(&format!("{}/{}", place.root, layout::table(dataset))),
    );
    if let Selection::Date(date) = selection {
        let _ = writeln!(
            code,
            "table = table.filter(pl.col({}) == pl.lit({}).str.to_date())",
            quoted(dataset::GENERATED_DATE),
            quoted(&date.to_string())
        );
    }
    code.push_str("print(table.collect())\n");
    code
}

fn polars_files(place: &Place, files: &[&str]) -> String {
    let (options, argument) = place.storage_options();
    let mut code = format!(
        "{}import polars as pl\n\n{options}files = [\n",
        place.imports()
    );
    for file in files {
        let _ = writeln!(code, "    {},", quoted(&format!("{}/{file}", place.root)));
    }
    let _ = write!(
        code,
        "]\ntable = pl.scan_parquet(\n    files, hive_partitioning=True, try_parse_hive_dates=True, \
         glob=False, missing_columns=\"insert\", extra_columns=\"ignore\"{argument}\n)\nprint(table.collect())\n"
    );
    code
}

fn deltalake(
    dataset: &str,
    place: &Place,
    version: Option<u64>,
    filter: &[(&'static str, String)],
) -> String {
    let (options, argument) = place.storage_options();
    let version = version.map_or(String::new(), |version| format!(", version={version}"));
    let table = quoted(&format!("{}/{}", place.root, layout::table(dataset)));
    let mut code = format!(
        "{}from deltalake import DeltaTable, QueryBuilder\n\n{options}table = DeltaTable({table}{version}{argument})\n",
        place.imports()
    );
    let conditions: Vec<String> = filter
        .iter()
        .map(|(column, value)| format!("{column} = {}", sql(value)))
        .collect();
    let condition = match conditions.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", conditions.join(" AND ")),
    };
    let query = quoted(&format!("SELECT * FROM lake{condition}"));
    let _ = write!(
        code,
        "rows = QueryBuilder().register(\"lake\", table).execute({query}).read_all()\nprint(rows)\n",
    );
    code
}
