//! Whether a role allows more than before.
//!
//! ```text
//! hold -> compare, digest, verdict
//! compare -> managed, verdict
//! digest -> verdict
//! managed
//! verdict
//! ```
//!
//! [`widening`] compares two states of one role. It is sound and not complete: where it says that a role is as before or narrower, no
//! request is allowed after that was not allowed before. What cannot be shown counts as wider, with the reason.
//!
//! A role has these parts:
//!
//! | part | wider if |
//! |---|---|
//! | existence | the role is created |
//! | trust policy | it is not included in the one before ([`inclusion_of`]) |
//! | inline and managed policies, all together | they are not included in those before, or do not have each of their Denies: the policy of a resource may allow the role what its own policies do not |
//! | permissions boundary | it is removed, or replaced by one that is not included in it |
//! | maximum session duration | it is longer |
//! | instance profiles | one is added |
//! | tags that `AwsAccount.spec.authorityTags` names | one changes in any way, since policies may compare it either way |
//!
//! The documents of managed policies are read where an account asks for approvals ([`ManagedPolicies`]), and are then compared like inline
//! policies. Where one is not known, to attach it counts as wider, except for those that only deny. To detach it counts as wider if it may
//! deny: AWS managed policies with a Deny are listed, and a customer managed policy always may.

mod compare;
mod digest;
pub mod hold;
mod managed;
mod verdict;

pub use compare::{Place, place_of, verdict, verdicts, widening};
pub use digest::{goal_digest, state_digest};
pub use managed::ManagedPolicies;
pub use verdict::{Atom, MAX_ATOMS, Part, Verdict, VerdictKind, Widening};

#[cfg(test)]
mod tests;
