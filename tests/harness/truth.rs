//! What the table must hold: the blobs decoded here, record by record, by flate2 and serde_json, with none of the program's
//! decoder. The rules are those documented at `dataset::ColumnType` and in the README's section on rescued data.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use dataset::{
    BlobPath, Column, ColumnType, Dataset, GENERATED_DATE, GENERATED_TIME, ORG_ID, RESCUED_DATA,
};
use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value, json};

use super::blobs::Blobs;

/// A row: column name to value, nulls left out. Values are as readers answer (see `readers/answer.py`), JSON texts parsed.
pub(crate) type Row = BTreeMap<String, Value>;

/// What must come out of blobs of one dataset.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) dataset: Dataset,
    /// In order of device id, date and group.
    pub(crate) rows: Vec<Row>,
    /// In order of blob and line.
    pub(crate) quarantined: Vec<Quarantined>,
    /// Records in which a wire path is rescued, by path and kind (`unnamed`, `misfit`, `blank`).
    pub(crate) drift: BTreeMap<(String, &'static str), u64>,
    /// By blob path.
    pub(crate) blobs: BTreeMap<String, Counts>,
}

/// A record that must be quarantined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quarantined {
    pub(crate) blob: String,
    pub(crate) line: u64,
    pub(crate) offset: u64,
    pub(crate) reason: &'static str,
    pub(crate) raw: Vec<u8>,
}

/// Counts of one blob, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) records_read: u64,
    pub(crate) rows_written: u64,
    pub(crate) records_quarantined: u64,
    pub(crate) rows_rescued: u64,
}

/// Wire keys down to what becomes of the value.
enum Node {
    Column(String, ColumnType),
    Partition,
    Step(BTreeMap<String, Node>),
}

impl Truth {
    pub(crate) fn of(blobs: &Blobs) -> Self {
        Self::of_dataset(blobs, "info_gathering")
    }

    /// Of those blobs that are the dataset's.
    pub(crate) fn of_dataset(blobs: &Blobs, dataset: &str) -> Self {
        let dataset = Dataset::built_in(dataset).unwrap();
        let tree = wire_tree(&dataset);
        let mut truth = Self {
            dataset,
            rows: Vec::new(),
            quarantined: Vec::new(),
            drift: BTreeMap::new(),
            blobs: BTreeMap::new(),
        };
        for blob in blobs.all() {
            let path = BlobPath::parse(&blob.path).unwrap();
            let export = path.export_name();
            if export.is_some_and(|export| export != truth.dataset.export_name) {
                continue;
            }
            let mut text = Vec::new();
            MultiGzDecoder::new(blob.bytes.as_slice())
                .read_to_end(&mut text)
                .unwrap();
            truth.add_blob(&path, &text, &tree);
        }
        truth.rows.sort_by_key(|row| {
            let text = |column: &str| row[column].as_str().unwrap().to_owned();
            (
                text("device_id"),
                text(GENERATED_DATE),
                row["rbac_group_id"].as_i64(),
            )
        });
        truth
    }

    /// Counts of all blobs.
    pub(crate) fn counts(&self) -> Counts {
        self.blobs
            .values()
            .fold(Counts::default(), |sum, blob| Counts {
                records_read: sum.records_read + blob.records_read,
                rows_written: sum.rows_written + blob.rows_written,
                records_quarantined: sum.records_quarantined + blob.records_quarantined,
                rows_rescued: sum.rows_rescued + blob.rows_rescued,
            })
    }

    /// Each column's type as readers answer it, partition columns among them.
    pub(crate) fn columns(&self) -> BTreeMap<String, &'static str> {
        let wire_columns = self.dataset.columns.iter().map(|column| {
            let read_as = match &column.column_type {
                ColumnType::Json => "string",
                other => other.name(),
            };
            (column.name.clone(), read_as)
        });
        let added = [
            (GENERATED_TIME, "timestamp"),
            (ORG_ID, "string"),
            (RESCUED_DATA, "string"),
            (GENERATED_DATE, "date"),
            ("rbac_group_id", "int64"),
        ];
        wire_columns
            .chain(added.map(|(name, read_as)| (name.to_owned(), read_as)))
            .collect()
    }

    /// Columns that hold JSON as text.
    pub(crate) fn json_columns(&self) -> Vec<String> {
        let json = self
            .dataset
            .columns
            .iter()
            .filter(|column| column.column_type == ColumnType::Json);
        json.map(|column| column.name.clone())
            .chain([RESCUED_DATA.to_owned()])
            .collect()
    }

    fn add_blob(&mut self, path: &BlobPath, text: &[u8], tree: &BTreeMap<String, Node>) {
        let mut counts = Counts::default();
        let mut offset = if text.starts_with(b"\xef\xbb\xbf") {
            3
        } else {
            0
        };
        for (index, line) in text[offset..].split(|byte| *byte == b'\n').enumerate() {
            if !line.trim_ascii().is_empty() {
                counts.records_read += 1;
                match decode(line, path, tree, &self.dataset) {
                    Ok(record) => {
                        counts.rows_written += 1;
                        counts.rows_rescued += u64::from(!record.rescued.is_empty());
                        self.add_row(record, path);
                    }
                    Err(reason) => {
                        counts.records_quarantined += 1;
                        self.quarantined.push(Quarantined {
                            blob: path.as_str().to_owned(),
                            line: index as u64 + 1,
                            offset: offset as u64,
                            reason,
                            raw: line.to_vec(),
                        });
                    }
                }
            }
            offset += line.len() + 1;
        }
        self.blobs.insert(path.as_str().to_owned(), counts);
    }

    fn add_row(&mut self, record: Record, path: &BlobPath) {
        let generated_time = path.generated_time().unwrap();
        let mut row = record.values;
        row.insert(
            GENERATED_TIME.to_owned(),
            generated_time.timestamp_micros().into(),
        );
        row.insert(ORG_ID.to_owned(), path.org_id().unwrap().as_str().into());
        row.insert(
            GENERATED_DATE.to_owned(),
            generated_time.date_naive().to_string().into(),
        );
        for (wire_path, (_, kind)) in &record.rescued {
            *self.drift.entry((wire_path.clone(), kind)).or_default() += 1;
        }
        for wire_path in record.blank {
            *self.drift.entry((wire_path, "blank")).or_default() += 1;
        }
        if !record.rescued.is_empty() {
            let rescued: Map<String, Value> = record
                .rescued
                .into_iter()
                .map(|(path, (value, _))| (path, value))
                .collect();
            row.insert(RESCUED_DATA.to_owned(), rescued.into());
        }
        self.rows.push(row);
    }
}

fn wire_tree(dataset: &Dataset) -> BTreeMap<String, Node> {
    let mut tree = BTreeMap::new();
    for column in &dataset.columns {
        for path in column.wire.iter() {
            let node = Node::Column(column.name.clone(), column.column_type.clone());
            insert(&mut tree, path.keys(), node);
        }
    }
    for path in dataset.partition.wire.iter() {
        insert(&mut tree, path.keys(), Node::Partition);
    }
    tree
}

fn insert(tree: &mut BTreeMap<String, Node>, keys: &[String], node: Node) {
    let [first, rest @ ..] = keys else {
        panic!("a wire path without keys")
    };
    if rest.is_empty() {
        tree.insert(first.clone(), node);
    } else {
        match tree
            .entry(first.clone())
            .or_insert_with(|| Node::Step(BTreeMap::new()))
        {
            Node::Step(below) => insert(below, rest, node),
            _ => panic!("a wire path leads through a column"),
        }
    }
}

/// One record's values and what is rescued of it.
#[derive(Default)]
struct Record {
    values: Row,
    /// Wire path to value and kind of drift.
    rescued: BTreeMap<String, (Value, &'static str)>,
    /// Wire paths of texts that stand for null.
    blank: BTreeSet<String>,
    group: Option<i64>,
}

fn decode(
    line: &[u8],
    path: &BlobPath,
    tree: &BTreeMap<String, Node>,
    dataset: &Dataset,
) -> Result<Record, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "invalid_utf8")?;
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let too_deep = error.to_string().starts_with("recursion limit exceeded");
        if too_deep {
            "nested_too_deeply"
        } else {
            "invalid_json"
        }
    })?;
    let Value::Object(object) = value else {
        return Err("not_an_object");
    };

    let mut record = Record::default();
    record.take_object(&object, tree, "", path.rbac_group_id());
    for column in dataset.columns.iter().filter(|column| !column.nullable) {
        let value = record.values.get(&column.name);
        match dataset.unique_key.contains(&column.name) {
            true if value.and_then(Value::as_str).is_none_or(str::is_empty) => {
                return Err("missing_key");
            }
            false if value.is_none() => return Err("missing_value"),
            _ => {}
        }
    }
    let group = path
        .rbac_group_id()
        .or(record.group)
        .ok_or("missing_partition")?;
    record
        .values
        .insert("rbac_group_id".to_owned(), group.into());
    Ok(record)
}

impl Record {
    fn take_object(
        &mut self,
        object: &Map<String, Value>,
        nodes: &BTreeMap<String, Node>,
        parent: &str,
        path_group: Option<i64>,
    ) {
        for (key, value) in object {
            let escaped = key.replace('\\', "\\\\").replace('.', "\\.");
            let path = if parent.is_empty() {
                escaped
            } else {
                format!("{parent}.{escaped}")
            };
            let in_any_case = || {
                let mut known = nodes.iter();
                let found = known.find(|(known, _)| known.eq_ignore_ascii_case(key));
                found.map(|(_, node)| node)
            };
            match nodes.get(key).or_else(in_any_case) {
                None if value.is_null() => {}
                None => self.rescue(path, value, "unnamed"),
                Some(Node::Step(below)) => self.take_step(value, below, path, path_group),
                Some(Node::Partition) => self.take_group(value, path, path_group),
                Some(Node::Column(name, column_type)) => match fit(value, column_type) {
                    Some(Value::Null) => {}
                    Some(fitting) => {
                        self.values.insert(name.clone(), fitting);
                    }
                    None if is_blank(value, column_type) => {
                        self.blank.insert(path);
                    }
                    None => self.rescue(path, value, "misfit"),
                },
            }
        }
    }

    fn take_step(
        &mut self,
        value: &Value,
        below: &BTreeMap<String, Node>,
        path: String,
        path_group: Option<i64>,
    ) {
        let inner = match value {
            Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
            other => other.clone(),
        };
        match inner {
            Value::Null => {}
            Value::Object(object) => self.take_object(&object, below, &path, path_group),
            _ => self.rescue(path, value, "misfit"),
        }
    }

    fn take_group(&mut self, value: &Value, path: String, path_group: Option<i64>) {
        match (fit(value, &ColumnType::Int64), path_group) {
            (Some(Value::Null), _) => {}
            (Some(group), None) => self.group = group.as_i64(),
            (Some(group), Some(of_path)) if group == json!(of_path) => {}
            (None, _) if is_blank(value, &ColumnType::Int64) => {
                self.blank.insert(path);
            }
            _ => self.rescue(path, value, "misfit"),
        }
    }

    fn rescue(&mut self, path: String, value: &Value, kind: &'static str) {
        self.rescued.insert(path, (value.clone(), kind));
    }
}

/// Whether a value that does not fit its type stands for null.
fn is_blank(value: &Value, column_type: &ColumnType) -> bool {
    let Some(text) = value.as_str() else {
        return false;
    };
    match column_type {
        _ if text.is_empty() => true,
        ColumnType::Bool => text.eq_ignore_ascii_case("unknown"),
        ColumnType::Timestamp | ColumnType::Date => text.starts_with("0001-01-01"),
        _ => false,
    }
}

/// The value as the column's type; `None` if it does not fit.
fn fit(value: &Value, column_type: &ColumnType) -> Option<Value> {
    if value.is_null() {
        return Some(Value::Null);
    }
    let text = value.as_str();
    match column_type {
        ColumnType::String => text.map(Value::from),
        ColumnType::Bool => match (value, text.map(str::to_ascii_lowercase).as_deref()) {
            (Value::Bool(_), _) => Some(value.clone()),
            (_, Some("true")) => Some(true.into()),
            (_, Some("false")) => Some(false.into()),
            _ => None,
        },
        ColumnType::Int64 => value
            .as_i64()
            .or_else(|| text?.parse().ok())
            .map(Value::from),
        ColumnType::Float64 => value
            .as_f64()
            .or_else(|| text?.parse().ok())
            .map(Value::from),
        ColumnType::Timestamp => Some(timestamp(text?)?.timestamp_micros().into()),
        ColumnType::Date => {
            let date = text?.parse::<NaiveDate>().ok().or_else(|| {
                let time = timestamp(text?)?.naive_utc();
                (time.time() == NaiveTime::MIN).then_some(time.date())
            })?;
            Some(date.to_string().into())
        }
        ColumnType::StringList => {
            let list = container(value, text, Value::is_array)?;
            list.as_array()?.iter().all(is_text_or_null).then_some(list)
        }
        ColumnType::StringMap => {
            let map = container(value, text, Value::is_object)?;
            map.as_object()?
                .values()
                .all(is_text_or_null)
                .then_some(map)
        }
        ColumnType::Json => {
            let inner = container(value, text, |inner| inner.is_array() || inner.is_object());
            Some(inner.unwrap_or_else(|| value.clone()))
        }
        ColumnType::StructList(fields) => {
            let list = container(value, text, Value::is_array)?;
            let items = list.as_array()?.iter();
            let items = items.map(|item| structure(item, fields));
            Some(items.collect::<Option<Vec<Value>>>()?.into())
        }
    }
}

/// An object as a struct: all of its keys are fields here.
fn structure(item: &Value, fields: &[Column]) -> Option<Value> {
    if item.is_null() {
        return Some(Value::Null);
    }
    let mut structure = Map::new();
    for field in fields {
        structure.insert(field.name.clone(), Value::Null);
    }
    for (key, value) in item.as_object()? {
        let of_key = |field: &&Column| {
            let mut paths = field.wire.iter();
            paths.any(|path| path.to_string().eq_ignore_ascii_case(key))
        };
        let field = fields.iter().find(of_key)?;
        structure.insert(field.name.clone(), fit(value, &field.column_type)?);
    }
    Some(structure.into())
}

/// The value, or the value that its text holds, if it is of the wanted kind.
fn container(value: &Value, text: Option<&str>, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
    let inner = match text {
        Some(text) => serde_json::from_str(text).ok()?,
        None => value.clone(),
    };
    wanted(&inner).then_some(inner)
}

fn is_text_or_null(value: &Value) -> bool {
    value.is_string() || value.is_null()
}

/// `2020-11-03T10:13:34.8476880Z`, with `T` or a space, fraction and zone as they like; six fractional digits are kept.
fn timestamp(text: &str) -> Option<DateTime<Utc>> {
    let (date, rest) = text.split_at_checked(10)?;
    let date: NaiveDate = date.parse().ok()?;
    let rest = match rest {
        // A date alone is midnight.
        "" => "T00:00:00",
        rest => rest,
    };
    let rest = rest.strip_prefix(['T', ' '])?;
    let of_one_digit = rest.get(1..2) == Some(":");
    let (time, rest) = rest.split_at_checked(if of_one_digit { 7 } else { 8 })?;
    let time = NaiveTime::parse_from_str(time, "%H:%M:%S").ok()?;
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at(zone_at);
    let micros: i64 = match fraction.strip_prefix('.') {
        None if fraction.is_empty() => 0,
        Some(digits)
            if (1..=9).contains(&digits.len())
                && digits.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            format!("{digits:0<6}")[..6].parse().ok()?
        }
        _ => return None,
    };
    let offset = match zone {
        "" | "Z" => FixedOffset::east_opt(0)?,
        zone => zone.parse().ok()?,
    };
    let local = NaiveDateTime::new(date, time) + chrono::TimeDelta::microseconds(micros);
    let utc = local.and_local_timezone(offset).single()?.to_utc();
    (1900..=9999).contains(&utc.year()).then_some(utc)
}
