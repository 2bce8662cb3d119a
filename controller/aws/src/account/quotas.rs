//! Quotas of an account, and room for the roles that are about to be made.

use std::sync::Arc;
use std::time::Duration;

use rolectl_core::role::{ObservedRole, Plan};
use rolectl_core::snapshot::Full;
use rolectl_crds::{OWNER_TAG, Quotas};
use tokio::time::Instant;

use super::Account;

/// Quotas change a few times a year, and a raised one is asked for when it matters.
const QUOTAS_LAST: Duration = Duration::from_hours(6);

/// Quotas this fresh are not asked for again, however many roles they stand in the way of.
const QUOTAS_FRESH: Duration = Duration::from_mins(4);

/// The quotas as they were read.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownQuotas {
    quotas: Quotas,
    read: Instant,
    /// One of them stood in the way.
    doubtful: bool,
}

impl Account {
    /// Its quotas, once they were read.
    pub fn quotas(&self) -> Option<Quotas> {
        self.quotas.lock().map(|known| known.quotas)
    }

    /// Returns true if the quotas are to be read with the next sweep.
    pub fn wants_quotas(&self) -> bool {
        self.quotas
            .lock()
            .is_none_or(|known| known.doubtful || known.read.elapsed() > QUOTAS_LAST)
    }

    /// Records the quotas that were read.
    pub fn set_quotas(&self, quotas: Quotas) {
        *self.quotas.lock() = Some(KnownQuotas {
            quotas,
            read: Instant::now(),
            doubtful: false,
        });
    }

    /// Records that a quota was exceeded: it is read again with the next sweep, since somebody may have had it raised, or made
    /// room. Whether it was read so long ago that a sweep is worth asking for.
    pub fn reread_quotas(&self) -> bool {
        self.quotas.lock().as_mut().is_some_and(|known| {
            known.doubtful = true;
            known.read.elapsed() > QUOTAS_FRESH
        })
    }

    /// Keeps room for a role that a plan makes or takes over, so that many at once do not pass a limit together.
    pub fn make_room(
        self: &Arc<Self>,
        role: &str,
        plan: &Plan,
        observed: Option<&ObservedRole>,
        is_ours: bool,
    ) -> Result<Option<Reservation>, Full> {
        // One that carries our cluster's tag has its place already.
        let prefix = &self.environment.owner_prefix;
        let counted = |o: &ObservedRole| o.tags.get(OWNER_TAG).is_some_and(|tag| tag.starts_with(prefix));
        let adopts = observed.is_some_and(|o| !is_ours && !counted(o));
        if plan.creates() || adopts {
            self.reserve(role, adopts).map(Some)
        } else {
            Ok(None)
        }
    }

    /// A role that is `adopted` is counted by AWS already.
    fn reserve(self: &Arc<Self>, role: &str, adopted: bool) -> Result<Reservation, Full> {
        let own = self.spec.guardrails.as_ref().and_then(|g| g.max_roles);
        let managed = own.into_iter().chain(*self.role_limit.lock()).min();
        let total = self.quotas().map(|q| q.roles).filter(|n| *n > 0 && !adopted);
        self.snapshot.lock().reserve(role, managed, total)?;
        Ok(Reservation {
            account: self.clone(),
            role: role.to_owned(),
        })
    }
}

/// Room for one role, given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    account: Arc<Account>,
    role: String,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.account.snapshot.lock().release(&self.role);
    }
}

#[cfg(test)]
mod tests {
    use rolectl_crds::Reason;

    use super::super::fixtures::environment;
    use super::*;

    #[tokio::test]
    async fn of_all_objects_that_describe_an_account_the_strictest_limit_of_roles_counts() {
        let spec = serde_json::json!({"accountId": "222222222222", "guardrails": {"maxRoles": 2}});
        let account = Account::new("dev", serde_json::from_value(spec).unwrap(), environment());
        for (others, most) in [(None, 2), (Some(1), 1), (Some(9), 2), (Some(0), 0)] {
            account.limit_roles(others);
            let names = ["a", "b", "c"];
            let made: Vec<_> = names
                .iter()
                .map_while(|name| account.reserve(name, false).ok())
                .collect();
            assert_eq!(made.len(), most, "{others:?}");
            let full = account.reserve("d", false).unwrap_err();
            assert_eq!(full.reason(), Reason::GuardrailViolated, "{others:?}");
        }
    }
}
