//! Deterministic simulation of the engine: the real account actors on paused time, against simulated AWS and Kubernetes.
//!
//! ```text
//! main, tests -> matrix, shrink -> run -> schedule, replica (the real actors)
//!             '-> parallel
//! schedule    -> out_of_band, kubernetes
//! replica     -> gate, world
//! world       -> invariants, session
//! invariants  -> ledger, kubernetes      session -> ledger, kubernetes
//! out_of_band -> aws, spec               ledger  -> aws -> journal
//! kubernetes  -> wanted -> spec          (view -> cluster -> objects)
//! ```
//!
//! An arrow is an import. A module that is reached through another arrow has no second one.
//!
//! Everything that is not in the schedule is drawn from its seed, and one thread runs it all: the same seed gives the same run.

pub mod aws;
pub mod gate;
pub mod invariants;
pub mod journal;
pub mod kubernetes;
pub mod ledger;
pub mod matrix;
pub mod out_of_band;
pub mod parallel;
pub mod replica;
pub mod run;
pub mod schedule;
pub mod session;
pub mod shrink;
pub mod spec;
pub mod wanted;
pub mod world;
