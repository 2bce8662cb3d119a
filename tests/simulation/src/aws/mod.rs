//! AWS: IAM of every account and STS, behind the engine's own traits, with faults.
//!
//! ```text
//! client (the engine's traits) -> service (credentials, faults, late answers) -> iam (the state of an account)
//!                                    '-> Observer (sees every call and every change)
//! ```

pub mod client;
pub mod fault;
pub mod iam;
pub mod service;
