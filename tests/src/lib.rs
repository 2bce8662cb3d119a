//! The harness: a real etcd and kube-apiserver, an AWS double, and the real binaries, for tests and the demo.
//!
//! [`tools`] finds or builds what is needed, [`process`] ends what was started, [`control_plane`] and
//! [`double`] run the two worlds, and [`scenario`] puts an operator, accounts and a controller into them.
//! [`judges`] tells what Argo CD and Flux make of our objects.

// A harness talks to people while it builds, and reads what cargo and the shell set.
#![allow(clippy::disallowed_methods)]

pub mod control_plane;
pub mod corporate;
pub mod double;
pub mod judges;
pub mod kstatus;
pub mod process;
pub mod scenario;
pub mod slow_api;
pub mod tools;
pub mod wait;
