//! The acts that change what a table holds: publish, append, roll back; and the recovery of those that crashed.

pub(crate) mod append;
pub(crate) mod decide;
pub(crate) mod followers;
pub(crate) mod invariants;
pub(crate) mod publish;
pub(crate) mod recover;
pub(crate) mod request;
pub(crate) mod retire;
pub(crate) mod roll_forward;
pub(crate) mod rollback;
pub(crate) mod staged;
pub(crate) mod standing;
pub(crate) mod traces;
pub(crate) mod uploads;
