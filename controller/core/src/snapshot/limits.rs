//! The limits on the number of roles in an account.

use std::collections::HashSet;

use rolectl_crds::Reason;

/// The account has no room for another role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// `guardrails.maxRoles` of the `AwsAccount` is reached.
    #[error(
        "the account lets rolectl manage at most {} (guardrails.maxRoles) and has {count}: delete some, or have its owner raise the limit",
        roles(*limit)
    )]
    Guardrail {
        /// The largest number of managed roles.
        limit: u32,
        /// The number of managed roles, reservations included.
        count: u32,
    },
    /// The `RolesQuota` that AWS sets is reached.
    #[error(
        "RolesQuota of the account is {} and it has {count}: delete some, or have the quota raised",
        roles(*limit)
    )]
    Quota {
        /// The largest number of roles.
        limit: u32,
        /// The number of roles, reservations included.
        count: u32,
    },
}

fn roles(count: u32) -> String {
    format!("{count} {}", if count == 1 { "role" } else { "roles" })
}

impl Full {
    /// Returns the reason for the status of the role.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Guardrail { .. } => Reason::GuardrailViolated,
            Self::Quota { .. } => Reason::QuotaExceeded,
        }
    }
}

/// A number of roles and the limit on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub count: u32,
    pub limit: Option<u32>,
}

/// Roles that are about to be made, by name in lower case. They count against the limits until they are made or fail.
#[derive(Debug, Default)]
pub(super) struct Reservations(HashSet<String>);

impl Reservations {
    /// Reserves room for one role. A second reservation of the same name takes no more room.
    pub(super) fn reserve(&mut self, key: String, managed: Usage, total: Usage) -> Result<(), Full> {
        if self.0.contains(&key) {
            return Ok(());
        }
        let reserved = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let exceeded = |usage: Usage| {
            let count = usage.count.saturating_add(reserved);
            let limit = usage.limit.filter(|limit| count >= *limit)?;
            Some((limit, count))
        };
        if let Some((limit, count)) = exceeded(managed) {
            return Err(Full::Guardrail { limit, count });
        }
        if let Some((limit, count)) = exceeded(total) {
            return Err(Full::Quota { limit, count });
        }
        self.0.insert(key);
        Ok(())
    }

    /// Ends the reservation of this name.
    pub(super) fn release(&mut self, key: &str) {
        self.0.remove(key);
    }
}
