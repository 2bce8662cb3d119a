//! Deterministic simulation of the engine: the real account actors on paused time, against simulated AWS and Kubernetes.
//!
//! ```text
//! main, tests -> matrix, shrink, parallel -> run -> schedule, out_of_band
//!                                             '-> replica (the real actors) -> world
//! world -> aws         (client -> service -> iam)
//!       -> kubernetes  (view -> cluster -> objects)
//!       -> invariants  (see every call, every change and every report)
//!       -> session, ledger, journal
//! ```
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
