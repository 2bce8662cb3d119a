//! Whether a role allows more than before.
//!
//! ```text
//! hold -> compare, digest
//! digest -> compare
//! compare
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
//! | inline and managed policies, all together | they are not included in those before |
//! | permissions boundary | it is removed or replaced |
//! | maximum session duration | it is longer |
//! | instance profiles | one is added |
//! | tags that `AwsAccount.spec.authorityTags` names | one changes in any way, since policies may compare it either way |
//!
//! The documents of managed policies are not known. To attach one counts as wider, except for those that only deny. To detach one counts
//! as wider if it may deny: AWS managed policies with a Deny are listed, and a customer managed policy always may.

mod compare;
mod digest;
pub mod hold;

pub use compare::{
    Atom, MAX_ATOMS, Part, Place, Verdict, VerdictKind, Widening, place_of, verdict, verdicts, widening,
};
pub use digest::{goal_digest, state_digest};

#[cfg(test)]
mod tests;
