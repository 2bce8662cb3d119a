//! The order in which accounts resume after an unlock.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;
use rolectl_crds::{AwsAccount, IamRole};
use tokio::time::Instant;

use super::Shared;
use super::context::entry_in;
use rolectl_core::selection::targets;

/// Between two accounts that nobody waits for.
const STEP: Duration = Duration::from_millis(20);
/// By when the last of them has begun, however many there are.
const LONGEST: Duration = Duration::from_secs(5);

/// An account that is to resume.
#[derive(Clone, Debug)]
struct Paused {
    name: String,
    /// Somebody changed a role of it meanwhile.
    pending: bool,
    last_sweep: Option<Timestamp>,
}

/// Wakes the accounts of a session: at once those whose roles somebody changed meanwhile, the others one by one, what
/// was looked at longest ago first.
pub fn resume(session: &str, context: &Shared) {
    let accounts = context
        .stores
        .accounts
        .state_filter(|account| account.spec.session_ref == session && context.serves(account));
    let changed = context.stores.roles.state_filter(is_changed);
    let waiting: HashSet<&str> = accounts
        .iter()
        .filter(|account| changed.iter().any(|role| awaits(role, account)))
        .filter_map(|account| account.metadata.name.as_deref())
        .collect();
    let paused = accounts.iter().map(|account| paused(account, &waiting)).collect();
    let order = order(paused, || rand::random_range(0.0..1.0));
    let (context, start) = (context.clone(), Instant::now());
    tokio::spawn(async move {
        for (name, delay) in order {
            tokio::time::sleep_until(start + delay).await;
            context.wake_account(&name);
        }
    });
}

fn paused(account: &Arc<AwsAccount>, waiting: &HashSet<&str>) -> Paused {
    let name = account.name_any();
    let last_sweep = account.status.as_ref().and_then(|s| s.last_sweep_time.as_ref());
    Paused {
        pending: waiting.contains(name.as_str()),
        last_sweep: last_sweep.map(|time| time.0),
        name,
    }
}

/// Returns true if the role is not yet as its spec declares it in all accounts of its status.
fn is_changed(role: &IamRole) -> bool {
    let generation = role.metadata.generation;
    let status = role.status.as_ref();
    role.metadata.deletion_timestamp.is_some()
        || status.and_then(|s| s.observed_generation) != generation
        || status.is_some_and(|s| s.accounts.iter().any(|a| a.last_applied_generation != generation))
}

fn awaits(role: &IamRole, account: &AwsAccount) -> bool {
    let entry = entry_in(role, account.metadata.name.as_deref().unwrap_or_default());
    let deleted = role.metadata.deletion_timestamp.is_some();
    let applied = entry.and_then(|entry| entry.last_applied_generation);
    (targets(role, account) || entry.is_some()) && (deleted || applied != role.metadata.generation)
}

/// The accounts in their order, and when each begins.
fn order(mut paused: Vec<Paused>, mut jitter: impl FnMut() -> f64) -> Vec<(String, Duration)> {
    paused.sort_by_key(|account| (!account.pending, account.last_sweep));
    let quiet = u32::try_from(paused.iter().filter(|a| !a.pending).count()).unwrap_or(u32::MAX);
    let step = STEP.min(LONGEST / quiet.max(1));
    let mut begun = 0;
    let mut delay = |account: &Paused| {
        if account.pending {
            return Duration::ZERO;
        }
        begun += 1;
        step * (begun - 1) + step.mul_f64(jitter())
    };
    paused
        .into_iter()
        .map(|account| (account.name.clone(), delay(&account)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_with_changes_go_first_then_the_ones_not_seen_for_longest_within_seconds() {
        let account = |name: &str, pending, swept: Option<i64>| Paused {
            name: name.to_owned(),
            pending,
            last_sweep: swept.map(|second| Timestamp::from_second(second).unwrap()),
        };
        let all = vec![
            account("fresh", false, Some(30)),
            account("changed", true, Some(20)),
            account("old", false, Some(10)),
            account("new", false, None),
        ];
        let order_of = |jitter: f64| order(all.clone(), || jitter);
        let names: Vec<String> = order_of(0.5).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["changed", "new", "old", "fresh"]);
        let delays: Vec<u128> = order_of(0.5)
            .into_iter()
            .map(|(_, delay)| delay.as_millis())
            .collect();
        assert_eq!(delays, [0, 10, 30, 50]);
        let many = (0..2000)
            .map(|n| account(&n.to_string(), false, Some(n)))
            .collect();
        let last = order(many, || 1.0).pop().unwrap();
        assert_eq!(last.0, "1999");
        assert!(last.1 <= LONGEST);
    }
}
