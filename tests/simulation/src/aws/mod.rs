//! AWS: IAM of every account and STS, behind the engine's own traits, with faults.
//!
//! ```text
//! client -> world (whose credentials, which fault) -> iam (the account's state)
//!              '-> rules (may this call be made? was this change right?)
//! ```
//!
//! A request is carried out by a task of its own. It takes effect even if the process that sent it is killed meanwhile.

pub mod client;
pub mod fault;
pub mod iam;
pub mod world;
