//! Policy documents in a canonical form: two documents are equal if IAM evaluates them in the same way.
//!
//! The parser follows the [IAM JSON policy grammar](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html).
//! The canonical form has no white space, no order of keys, statements and list entries, no difference between a single value
//! and a list of one, no repeated entries, and no difference in case where IAM ignores it. `"*"` and `{"AWS": "*"}` stay
//! different, because IAM distinguishes them. The module [`lint`] checks what a trust policy and a permissions policy may contain.
//!
//! The imports between the modules:
//!
//! ```text
//! cache -> document, lint
//! lint -> condition, document, oidc, parse, principal, problem, statement
//! diff -> document, statement
//! parse -> document, limits, problem, statement
//! canonical -> document
//! inclusion -> document
//! limits -> problem
//! principal -> document
//! statement -> condition, document, problem
//! trust -> condition, document, oidc
//! condition
//! document
//! oidc
//! problem
//! ```

pub mod cache;
mod canonical;
pub mod condition;
mod diff;
mod document;
pub mod inclusion;
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
pub use statement::ELEMENTS;
pub use trust::TrustedPrincipal;

#[cfg(test)]
mod tests;
