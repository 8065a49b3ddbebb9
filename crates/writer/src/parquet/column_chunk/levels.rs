//! Definition and repetition levels of a page: which rows have a value, and where lists and maps begin.

use arrow::array::BooleanBufferBuilder;
use arrow::buffer::NullBuffer;

use super::bit_packing;

/// Levels of the open page.
#[derive(Debug)]
pub(super) enum Levels {
    /// Every row has a value.
    Required { rows: usize },
    /// One bit a row: whether it has a value.
    Optional {
        valid: BooleanBufferBuilder,
        nulls: usize,
    },
    /// Rows of several items.
    Nested {
        /// What an item with a value has.
        highest: u8,
        definition: LevelRuns,
        /// Whether it is a further item of the same row.
        repetition: BooleanBufferBuilder,
    },
}

impl Levels {
    pub(super) fn new(max_definition: i16, max_repetition: i16) -> Self {
        match (max_definition, max_repetition) {
            (0, 0) => Self::Required { rows: 0 },
            (1, 0) => Self::Optional {
                valid: BooleanBufferBuilder::new(0),
                nulls: 0,
            },
            _ => Self::Nested {
                highest: max_definition as u8,
                definition: LevelRuns::default(),
                repetition: BooleanBufferBuilder::new(0),
            },
        }
    }

    /// Adds `rows` rows of no lists.
    pub(super) fn add_rows(&mut self, rows: usize, row_nulls: Option<&NullBuffer>) {
        match self {
            Self::Required { rows: known } => *known += rows,
            Self::Optional { valid, nulls } => match row_nulls {
                Some(row_nulls) => {
                    valid.append_buffer(row_nulls.inner());
                    *nulls += row_nulls.null_count();
                }
                None => valid.append_n(rows, true),
            },
            Self::Nested { .. } => {}
        }
    }

    /// Adds a row that has no items, because it is null or because it is empty.
    pub(super) fn add_without_items(&mut self, is_null: bool) {
        if let Self::Nested {
            definition,
            repetition,
            ..
        } = self
        {
            definition.add(u8::from(!is_null), 1);
            repetition.append(false);
        }
    }

    /// Adds the next row's items, at least one; `item_nulls` are those from `first` on.
    pub(super) fn add_items(
        &mut self,
        items: usize,
        first: usize,
        item_nulls: Option<&NullBuffer>,
    ) {
        if let Self::Nested {
            highest,
            definition,
            repetition,
        } = self
        {
            match item_nulls {
                Some(nulls) => {
                    for item in first..first + items {
                        definition.add(*highest - u8::from(nulls.is_null(item)), 1);
                    }
                }
                None => definition.add(*highest, items),
            }
            repetition.append(false);
            repetition.append_n(items - 1, true);
        }
    }

    /// Levels so far: rows, nulls, and items of lists.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Required { rows } => *rows,
            Self::Optional { valid, .. } => valid.len(),
            Self::Nested { repetition, .. } => repetition.len(),
        }
    }

    /// Nulls so far, of a column that is not nested.
    pub(super) fn nulls(&self) -> usize {
        match self {
            Self::Optional { nulls, .. } => *nulls,
            _ => 0,
        }
    }

    /// Appends the levels as a data page begins with them, and forgets them.
    pub(super) fn finish_page(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Required { rows } => *rows = 0,
            Self::Optional { valid, nulls } => {
                with_length(out, |out| {
                    if *nulls == 0 {
                        bit_packing::repeated(1, valid.len(), 1, out);
                    } else {
                        bit_packing::hybrid_bits(valid.as_slice(), valid.len(), out);
                    }
                });
                valid.truncate(0);
                *nulls = 0;
            }
            Self::Nested {
                highest,
                definition,
                repetition,
            } => {
                with_length(out, |out| {
                    bit_packing::hybrid_bits(repetition.as_slice(), repetition.len(), out);
                });
                let width = bit_packing::width_of(usize::from(*highest) + 1);
                with_length(out, |out| {
                    bit_packing::hybrid_runs(&definition.0, width, out);
                });
                definition.0.clear();
                repetition.truncate(0);
            }
        }
    }
}

/// Levels, each with how often it comes. They mostly repeat: of maps whose values are all there, a page of 16,384 rows has half a
/// million of the same.
#[derive(Debug, Default)]
pub(super) struct LevelRuns(Vec<(u8, usize)>);

impl LevelRuns {
    #[inline]
    fn add(&mut self, level: u8, count: usize) {
        match self.0.last_mut() {
            Some((last, known)) if *last == level => *known += count,
            _ => self.0.push((level, count)),
        }
    }
}

/// Appends what `write` appends, with its length before it.
fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = (out.len() - length_at - 4) as u32;
    out[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
}
