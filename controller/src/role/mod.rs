//! What a role should be, what it is, and what to do about the difference.
//!
//! Everything here is a pure function of its arguments: no Kubernetes client, no AWS client, no
//! runtime and no clock, so that `rolectl plan` and the controller cannot differ.

pub mod access;
pub mod bounded;
pub mod change;
pub mod decide;
pub mod desired;
pub mod document_cache;
pub mod guardrails;
pub mod import;
pub mod managed_policy;
pub mod observed;
pub mod order;
pub mod plan;
pub mod policy_document;
pub mod removed;
pub mod selection;
pub mod status;
pub mod variables;

#[cfg(test)]
pub(crate) mod fixtures;

pub use change::Change;
pub use desired::{AccountContext, DesiredRole};
pub use document_cache::DocumentCache;
pub use observed::{ObservedRole, PackedRole};
pub use plan::{Known, Plan, Refusal, plan, plan_removal};
pub use policy_document::{Document, PolicyDocument};
pub use selection::targets;
