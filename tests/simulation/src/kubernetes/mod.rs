//! Kubernetes: the current objects, the earlier ones that a late cache still shows, and the Lease.
//!
//! ```text
//! view (one replica's cache; the engine's Directory) -> cluster (the API server, with its past) -> objects
//! ```

pub mod cluster;
pub mod objects;
pub mod view;
