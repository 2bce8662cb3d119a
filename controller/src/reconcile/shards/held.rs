//! The shards that a replica holds, and which name belongs to which.

use sha2::{Digest as _, Sha256};

/// The shards that this replica holds at one moment.
#[derive(Clone, Debug)]
pub struct HeldShards(Vec<bool>);

impl HeldShards {
    /// `held` has an entry for each shard. Empty: there are no Leases, and everything is held.
    pub const fn new(held: Vec<bool>) -> Self {
        Self(held)
    }

    /// Returns true if the shard of the account, session or role of this name is held.
    pub fn holds(&self, name: &str) -> bool {
        let shard = self.0.get(shard_of(name, self.0.len()));
        self.0.is_empty() || shard.copied().unwrap_or_default()
    }

    /// Returns true if any shard is held.
    pub fn holds_any(&self) -> bool {
        self.0.is_empty() || self.0.contains(&true)
    }

    /// The numbers of the shards that are held. Without Leases there is one.
    pub fn numbers(&self) -> Vec<usize> {
        if self.0.is_empty() {
            return vec![0];
        }
        let held = self.0.iter().enumerate();
        held.filter(|(_, is_held)| **is_held)
            .map(|(number, _)| number)
            .collect()
    }
}

/// Which shard a name falls into. The same in every process and version.
pub fn shard_of(name: &str, count: usize) -> usize {
    let digest = Sha256::digest(name.as_bytes());
    let number = digest
        .iter()
        .take(8)
        .fold(0_u64, |n, byte| (n << 8) | u64::from(*byte));
    let count = u64::try_from(count).unwrap_or(1).max(1);
    usize::try_from(number % count).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_falls_into_the_same_shard_in_every_process() {
        assert_eq!(shard_of("dev", 8), 7);
        assert_eq!(shard_of("prod", 8), 6);
        assert_eq!(shard_of("anything", 0), 0);
    }
}
