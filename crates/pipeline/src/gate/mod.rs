//! What a snapshot must fulfil before it becomes the lake's state: every blob read to its end, counts that add up, limits.
//!
//! Looks at the plan and at counts, and changes nothing.

pub(crate) mod checks;
pub(crate) mod lost_columns;
