//! What the controller and the operator's tool both need of the Kubernetes API: a client, and no runtime.
//!
//! ```text
//! API server -> objects (each parsed alone) -> rolectl-controller: caches
//!                                           -> rolectl: `status`, `get`, `plan` and others
//! ```

pub mod objects;

/// Label of the controller's Leases: `shard` or `replica`.
pub const LEASE_LABEL: &str = "iam.rolectl.dev/lease";
