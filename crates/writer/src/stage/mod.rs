//! Files that are in the store and not yet part of a table, the leases of the runs that write them, and what dead runs leave.

pub(crate) mod key_hashes;
pub(crate) mod leftovers;
pub(crate) mod part_buffer;
pub(crate) mod run_lease;
pub(crate) mod staged_file;
pub(crate) mod upload;
