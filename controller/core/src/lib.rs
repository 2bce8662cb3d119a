//! What rolectl decides: pure functions of objects, of what AWS has, and of the time that is passed in.
//!
//! ```text
//! selection    names            variables
//!     |          |                  |
//!     v          v                  v
//! Assignment -> role::desired <- policy (parse, canonical, lint, cache)
//!                    |
//!                    v            snapshot (the last sweep)
//!               role::admission <- role::observed
//!                    |
//!                    v
//!               role::plan -> role::order -> role::change
//!                    |
//!                    v
//!                 status -> conditions
//! ```
//!
//! No Kubernetes client, no AWS SDK, no runtime and no clock: a test reads the dependency tree. So `rolectl plan` and the
//! controller cannot differ, and every rule has a unit test.

pub mod arn;
pub mod bounded;
pub mod causes;
pub mod conditions;
pub mod forget;
pub mod glob;
pub mod names;
pub mod policy;
pub mod role;
pub mod selection;
pub mod snapshot;
mod spelling;
pub mod status;
pub mod variables;

#[cfg(test)]
pub(crate) mod fixtures;
