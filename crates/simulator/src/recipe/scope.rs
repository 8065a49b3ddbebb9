//! What a template or value of a recipe can name while it is resolved: the fields of one item and of one case.

use std::cell::Cell;

use toml::{Table, Value};

/// One item with one running number, and one case.
pub(super) struct Scope<'a> {
    /// The item's own fields.
    pub(super) item: &'a Table,
    /// Fields of items that do not have them.
    pub(super) every_item: &'a Table,
    pub(super) cases: &'a [Table],
    pub(super) case: usize,
    /// Whether a field of the case was asked for: then the value differs from case to case.
    pub(super) case_used: Cell<bool>,
    /// Names that some item or case has. A name beyond them is a mistake.
    pub(super) known: &'a [String],
    /// The item's running number.
    pub(super) number: u32,
    /// Which element a field has that lists several: the running number, from another start for each item.
    pub(super) turn: usize,
}

impl<'a> Scope<'a> {
    /// A field's value; none where this item lacks it.
    pub(super) fn field(&self, name: &str) -> Result<Option<&'a Value>, String> {
        if !self.known.iter().any(|known| known == name) {
            return Err(format!("no item and no case has a field `{name}`"));
        }
        let of_item = self.item.get(name).or_else(|| self.every_item.get(name));
        let value = of_item.or_else(|| {
            let case = self.cases.get(self.case)?;
            self.case_used.set(true);
            case.get(name)
        });
        Ok(match value {
            Some(Value::Array(several)) => several.get(self.turn % several.len().max(1)),
            value => value,
        })
    }
}
