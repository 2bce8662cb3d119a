//! AWS: sessions, accounts, sweeps, and carrying out plans. It knows nothing of a Kubernetes client.
//!
//! ```text
//! actor -> account (credentials, bucket, snapshot) -> session, lease_term
//!   |         |
//!   |         '-> bucket, api (traits) <- sdk (the AWS SDK)
//!   |-> sweep -> account, api                 reads the roles of an account
//!   '-> propose (pure) -> carry_out -> apply  writes them, call by call
//!                                        '-> audit  logs each write
//! ```
//!
//! Each account has an actor, which owns everything about it ([`actor`]).
//! Sessions come from a Secret ([`session`]) and are of a user or role that may unlock ([`principal`]). Each account is assumed on one
//! of them ([`account`]), is read by sweeps only
//! ([`sweep`], kept in [`rolectl_core::snapshot`]) and written by carrying out plans ([`apply`]). Every call waits for its turn
//! in the account's token bucket ([`bucket`]) and is made only while this process may call there at all ([`lease_term`]). Every
//! failure is classed in [`error`]. The calls themselves are a trait ([`api`]), made with the AWS SDK in [`sdk`].

pub mod account;
pub mod actor;
pub mod api;
pub mod apply;
pub mod approvals;
mod audit;
pub mod bucket;
pub mod clock;
pub mod error;
pub mod lease_term;
pub mod network;
pub mod operations;
pub mod principal;
pub mod process;
pub mod sdk;
pub mod session;
pub mod spans;
pub mod sweep;
