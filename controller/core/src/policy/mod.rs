//! Policy documents: parsed, and brought to one canonical form in which equal means "IAM acts the same".
//!
//! Follows the [IAM JSON policy grammar](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html).
//! White space, key order, the order of statements and list entries, a single value against a list of
//! one, repeated entries, and the case where IAM ignores it all vanish; `"*"` and `{"AWS": "*"}` stay apart,
//! because they differ. What a document may hold where it stands is the business of [`lint`].

pub mod cache;
mod canonical;
pub mod condition;
mod diff;
mod document;
mod limits;
pub mod lint;
mod oidc;
mod parse;
mod principal;
mod problem;
mod statement;
mod trust;

pub use diff::{DiffLine, Sign};
pub use document::{Caseless, Document, Effect, PolicyDocument, Principals, Scope, Statement};
pub use limits::{MAX_BYTES, MAX_DEPTH, check_size};
pub use problem::{PolicyError, Problem};
pub use trust::TrustedPrincipal;

#[cfg(test)]
mod tests;
