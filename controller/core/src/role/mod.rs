//! One role in one account: its desired state, its observed state, and the changes between the two.
//!
//! The imports between the modules:
//!
//! ```text
//! admission -> change, desired, guardrails, observed, ownership, plan, refusal
//! narrowing -> access, change, observed, order
//! plan -> change, desired, instance_profiles, kept, managed_policy, observed, order, ownership, profile_tag, quotas, refusal, removal, tags
//! guardrails -> access, ceiling, desired, kept, managed_policy, observed, tags
//! order -> access, change, managed_policy, observed, quotas
//! ceiling -> access, desired, kept, observed
//! instance_profiles -> change, desired, observed, profile_tag
//! quotas -> desired, kept, observed, refusal, tags
//! removal -> access, change, managed_policy, observed
//! removed -> change, observed
//! change -> desired, observed, tags
//! kept -> access, desired, managed_policy, observed
//! ownership -> desired, observed, refusal
//! desired -> managed_policy, observed, profile_tag, spec_error
//! access -> managed_policy, observed
//! import -> observed, tags
//! profile_tag -> observed
//! spec_error -> tags
//! managed_policy
//! observed
//! permit
//! refusal
//! tags
//! ```

pub mod access;
pub mod admission;
pub mod ceiling;
pub mod change;
pub mod desired;
pub mod guardrails;
pub mod import;
pub mod instance_profiles;
pub mod kept;
pub mod managed_policy;
pub mod narrowing;
pub mod observed;
pub mod order;
pub mod ownership;
pub mod permit;
pub mod plan;
pub mod profile_tag;
pub mod quotas;
pub mod refusal;
pub mod removal;
pub mod removed;
pub mod spec_error;
pub mod tags;

pub use change::{Change, DocumentDiff};
pub use desired::{AccountContext, DesiredRole, named_policies};
pub use observed::{ObservedDocument, ObservedRole, PackedRole};
pub use ownership::PlanContext;
pub use plan::{Plan, plan, plan_removal};
pub use refusal::Refusal;
