//! One role in one account: what it should be, what it is, and the changes between the two.

pub mod access;
pub mod admission;
pub mod change;
pub mod desired;
pub mod guardrails;
pub mod import;
pub mod instance_profiles;
pub mod kept;
pub mod managed_policy;
pub mod observed;
pub mod order;
pub mod ownership;
pub mod plan;
pub mod profile_tag;
pub mod quotas;
pub mod refusal;
pub mod removal;
pub mod removed;
pub mod spec_error;
pub mod tags;

pub use change::Change;
pub use desired::{AccountContext, DesiredRole};
pub use observed::{ObservedRole, PackedRole};
pub use ownership::Known;
pub use plan::{Plan, plan, plan_removal};
pub use refusal::Refusal;
