//! Kubernetes: the objects of every API version that a cache may still show, and the Lease.
//!
//! ```text
//! view (one replica's cache; the engine's Directory) -> cluster (the API server, with its past) -> objects
//! ```

pub mod cluster;
pub mod objects;
pub mod view;
