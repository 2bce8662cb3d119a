//! Deterministic simulation of the engine: the real account actors on paused time, against simulated AWS and Kubernetes.
//!
//! ```text
//! schedule (from a seed) -> run -> replica (real actors) -> aws (client -> world -> iam)
//!                            |         |                      |
//!                            |         '-> cluster (objects)  '-> rules: every call and every change
//!                            '-> rules: at rest
//! ```
//!
//! Everything that is not in the schedule is drawn from its seed, and one thread runs it all: the same seed gives the same run.

pub mod aws;
pub mod cluster;
pub mod matrix;
pub mod replica;
pub mod rules;
pub mod run;
pub mod schedule;
pub mod spec;
