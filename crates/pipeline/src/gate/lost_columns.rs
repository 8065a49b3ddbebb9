//! Columns that lost their values: null in most rows of a snapshot, and not so in the last one. The service renamed a key, or gave it
//! another type. Looks at counts only.

use std::collections::BTreeMap;

use dataset::{Column, Dataset};

use crate::refusal::LostColumn;
use crate::report::{DriftKind, DriftReport};

/// Rows without a value of each column.
pub(crate) fn by_column(dataset: &Dataset, nulls: &[u64]) -> BTreeMap<String, u64> {
    let columns = dataset.columns.iter().zip(nulls);
    columns
        .map(|(column, nulls)| (column.name.clone(), *nulls))
        .collect()
}

/// The rows of a snapshot, and how many of them have no value in a column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nulls<'a> {
    pub(crate) rows: u64,
    pub(crate) of: &'a BTreeMap<String, u64>,
}

impl Nulls<'_> {
    fn are_most(self, column: &str) -> Option<bool> {
        let nulls = self.of.get(column)?;
        Some(nulls * 2 > self.rows)
    }

    fn percent(self, column: &str) -> Option<u64> {
        let nulls = self.of.get(column)?;
        (nulls * 100).checked_div(self.rows)
    }
}

/// The columns that are null in most rows `now` and were not `before`. Without a snapshot before, those of which most values do not
/// fit.
pub(crate) fn lost_columns(
    dataset: &Dataset,
    now: Nulls<'_>,
    before: Option<Nulls<'_>>,
    drift: &[DriftReport],
) -> Vec<LostColumn> {
    let columns = dataset.columns.iter().filter(|column| {
        let name = &column.name;
        now.are_most(name) == Some(true)
            && match before {
                Some(before) => before.are_most(name) == Some(false),
                None => misfits(column, drift) * 2 > now.rows,
            }
    });
    let lost = columns.map(|column| LostColumn {
        column: column.name.clone(),
        wire: wire_paths(column).join(" or "),
        nulls: now.of.get(&column.name).copied().unwrap_or_default(),
        rows: now.rows,
        nulls_before: before.and_then(|before| before.percent(&column.name)),
        misfits: misfits(column, drift),
        beside: beside(column, now.rows, drift),
    });
    lost.collect()
}

fn wire_paths(column: &Column) -> Vec<String> {
    column.wire.iter().map(ToString::to_string).collect()
}

fn misfits(column: &Column, drift: &[DriftReport]) -> u64 {
    let paths = wire_paths(column);
    let of_column = drift
        .iter()
        .filter(|drift| drift.kind == DriftKind::Misfit && paths.contains(&drift.wire_path));
    of_column.map(|drift| drift.records).sum()
}

/// The commonest unnamed key in the object of the column's key, if most rows have it.
fn beside(column: &Column, rows: u64, drift: &[DriftReport]) -> Option<String> {
    let object = |path: &str| path.rsplit_once('.').map(|(object, _)| object.to_owned());
    let paths = wire_paths(column);
    let unnamed = drift.iter().filter(|drift| {
        drift.kind == DriftKind::Unnamed
            && drift.records * 2 > rows
            && paths
                .iter()
                .any(|path| object(path) == object(&drift.wire_path))
    });
    let commonest = unnamed.max_by_key(|drift| drift.records);
    commonest.map(|drift| drift.wire_path.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset() -> Dataset {
        let text = "name = 'd'\nmeaning = ''\nendpoint = '/x'\nexport_name = 'X'\npermission = ''\nunique_key = ['id']\n\
            [partition]\ncolumn = 'g'\nwire = 'G'\nmeaning = ''\n\
            [[column]]\nname = 'id'\nwire = 'Id'\ntype = 'string'\nnullable = false\nmeaning = ''\n\
            [[column]]\nname = 'mode'\nwire = ['Info.Mode', 'Info.mode_']\ntype = 'int64'\nmeaning = ''\n\
            [[column]]\nname = 'other'\nwire = 'Other'\ntype = 'string'\nmeaning = ''\n";
        Dataset::parse(text, "d.toml").unwrap()
    }

    fn drift(wire_path: &str, kind: DriftKind, records: u64) -> DriftReport {
        DriftReport {
            wire_path: wire_path.to_owned(),
            kind,
            records,
        }
    }

    fn lost(before: Option<[u64; 3]>, now: [u64; 3], drift: &[DriftReport]) -> Vec<String> {
        let dataset = dataset();
        let (now, before) = (
            by_column(&dataset, &now),
            before.map(|before| by_column(&dataset, &before)),
        );
        let of = |of| Nulls { rows: 100, of };
        let lost = lost_columns(&dataset, of(&now), before.as_ref().map(of), drift);
        lost.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_column_that_was_not_null_before_is_told_with_its_cause() {
        let renamed = drift("Info.Modus", DriftKind::Unnamed, 98);
        let misfit = drift("Info.Mode", DriftKind::Misfit, 97);
        let elsewhere = drift("Modus", DriftKind::Unnamed, 98);
        assert_eq!(
            lost(
                Some([0, 50, 90]),
                [0, 98, 95],
                &[renamed, elsewhere.clone()]
            ),
            [
                "mode is null in 98 of 100 rows, in 50% of those of the last snapshot; Info.Mode or Info.mode_ is missing or null \
                 there, and the unknown key Info.Modus came"
            ]
        );
        assert_eq!(
            lost(Some([0, 0, 0]), [0, 98, 50], &[misfit.clone(), elsewhere]),
            [
                "mode is null in 98 of 100 rows, in 0% of those of the last snapshot; 97 values of Info.Mode or Info.mode_ do not fit \
                 its type"
            ]
        );
        assert_eq!(
            lost(
                Some([0, 51, 51]),
                [0, 100, 100],
                std::slice::from_ref(&misfit)
            ),
            [""; 0]
        );
        assert_eq!(lost(None, [0, 98, 98], &[misfit]).len(), 1);
    }
}
