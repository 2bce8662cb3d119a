//! The input and the result of a merge.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::role::observed::{ObservedRole, PackedRole};

/// How long after a write a read of IAM may still show the state before the write.
pub const GRACE: Duration = Duration::from_secs(10);

/// The beginning of a sweep. It tells a merge which writes the sweep may have missed.
#[derive(Clone, Copy, Debug)]
pub struct SweepStart {
    pub(super) writes: u64,
    pub(super) at: Instant,
}

/// The roles that a sweep found. Names are in lower case.
#[derive(Debug, Default)]
pub struct Swept {
    /// Roles that an `IamRole` names or that carry an owner tag of this cluster, by name.
    pub roles: Vec<(String, Arc<PackedRole>)>,
    /// Names of all other roles.
    pub others: Vec<String>,
    /// Names that only one of AWS's two lists had, because the role was made or deleted between the two calls.
    pub unsettled: Vec<String>,
}

impl Swept {
    /// Adds a role by its name in lower case. If the role equals `known`, the two share one allocation.
    pub fn add(&mut self, key: String, role: &ObservedRole, known: Option<Arc<PackedRole>>) {
        let unchanged = known.filter(|known| known.fingerprint == role.fingerprint());
        let packed = unchanged.unwrap_or_else(|| Arc::new(PackedRole::new(role)));
        self.roles.push((key, packed));
    }
}

/// The result of a merge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merge {
    /// Number of roles that carry an owner tag of this cluster.
    pub managed: u32,
    /// Number of all other roles.
    pub unmanaged: u32,
    /// When the next sweep is due, if this one could not decide about a recent write.
    pub look_again: Option<Duration>,
}

impl Merge {
    /// Requests another sweep. The longest of all requests applies, and at least 1 second, so that sweeps do not follow each
    /// other without a pause.
    pub(super) fn sweep_again(&mut self, after: Duration) {
        let after = after.max(Duration::from_secs(1));
        self.look_again = Some(self.look_again.map_or(after, |other| other.max(after)));
    }
}
