//! A table's Delta log: what it says, and one more entry. Decides nothing: a lost race is an outcome.

pub(crate) mod kernel;
pub(crate) mod log;
pub(crate) mod schema;
