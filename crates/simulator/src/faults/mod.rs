//! What the service does wrong, and when: a script of faults, and faults drawn by a seed. Data only; `server` acts on it.
//!
//! Uses the dice and the crate's error, and nothing of what is generated or served.

mod kind;
mod random;
mod script;
mod target;
mod wire;

pub use kind::{FaultKind, Md5Header, TimeFrame};
pub use random::RandomFaults;
pub use script::{Fault, FaultScript, When};
pub(crate) use target::Subject;
pub use target::Target;
pub(crate) use wire::Wire;
