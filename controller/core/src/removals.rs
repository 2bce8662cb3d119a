//! The limit on removals of roles in an account: a mistake in Git, a selector that matches no account, or a namespace that is deleted removes
//! some roles, and then waits for a person.
//!
//! While any removal waits, every removal in the account waits, until each one that waits is approved or no longer wanted. So time alone lets
//! nothing through. What is remembered ends with the process: after a restart, the roles that are still to be removed are counted again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rolectl_crds::{IamRole, MaxRemovals, Reason};

use crate::names::RoleKey;

/// In an account with more managed roles than this, at most half of them are removed within a window.
const FEW: usize = 5;

/// How many roles may be removed from an account, and in which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The number of roles.
    pub count: usize,
    /// The time.
    pub window: Duration,
}

impl Limits {
    /// Returns the limits of an account, which are the defaults where its guardrails have none.
    pub fn of(guardrail: Option<&MaxRemovals>) -> Self {
        let default = MaxRemovals::default();
        let guardrail = guardrail.unwrap_or(&default);
        Self {
            count: usize::try_from(guardrail.count).unwrap_or(usize::MAX),
            window: Duration::from(guardrail.window),
        }
    }
}

/// Why a removal waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The number of roles that are to be removed.
    pub wanted: usize,
    /// The number of roles that were removed within the window.
    pub done: usize,
    /// The largest number that may be removed.
    pub limit: usize,
    /// The window.
    pub window: Duration,
}

impl fmt::Display for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            wanted,
            done,
            limit,
            window,
        } = self;
        let window = short(*window);
        write!(f, "the removal waits for an approval: ")?;
        // The count ends shortly above the limit.
        if *wanted > *limit {
            write!(f, "more than {limit} of the account's roles are to be removed")?;
        } else if done + wanted > *limit {
            write!(
                f,
                "the account lost {done} of its roles in the last {window}, and is to lose {wanted} more"
            )?;
        } else {
            write!(
                f,
                "it was denied or waited before, or other removals in the account wait"
            )?;
        }
        write!(
            f,
            "; the limit is {limit} in {window} (guardrails.maxRemovals; at most half of the account's roles)"
        )
    }
}

/// Writes a duration as `10m`, `1h30m` or `45s`.
fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [
        (seconds / 3600, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let mut text = String::new();
    for (count, unit) in parts.into_iter().filter(|(count, _)| *count > 0) {
        text.push_str(&count.to_string());
        text.push_str(unit);
    }
    text
}

/// Returns true if the status of the object shows that its removal waits in the account, or in accounts that are not listed.
pub fn waits_by_status(role: &IamRole, account: &str) -> bool {
    let Some(status) = &role.status else { return false };
    let is_parked = |state| state == Reason::RemovalsParked;
    match status.accounts.iter().find(|entry| entry.name == account) {
        Some(entry) => is_parked(entry.state),
        None => status.more_accounts.iter().any(|group| is_parked(group.state)),
    }
}

/// The role that an object manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name in AWS.
    pub name: String,
    /// Its owner tag.
    pub owner: String,
}

/// What is known of the removals in an account.
#[derive(Clone, Debug, Default)]
pub struct Removals {
    /// Roles that are to be removed.
    wanted: BTreeMap<RoleKey, Target>,
    /// Roles of which the removal has begun without an approval, and when.
    begun: BTreeMap<RoleKey, Timestamp>,
    /// Roles of which the removal waits. While there are any, all others wait, too.
    parked: BTreeSet<RoleKey>,
    /// The limit on the number of roles when the first of these was parked.
    parked_at: usize,
    /// Roles of which the removal waits for itself: an operator denied it, or it was parked before a restart.
    held: BTreeSet<RoleKey>,
}

impl Removals {
    /// The role is to be removed.
    pub fn want(&mut self, key: RoleKey, target: Target) {
        self.wanted.insert(key, target);
    }

    /// The role is not to be removed any more, or is removed. What was removed counts until the end of the window.
    pub fn forget(&mut self, key: &RoleKey) {
        self.wanted.remove(key);
        self.parked.remove(key);
        self.held.remove(key);
    }

    /// An operator denied the removal, or the status of the object shows that it waited before a restart. It waits until it is approved, and
    /// delays no other one: whoever can write the status of an object delays that object only.
    pub fn hold(&mut self, key: &RoleKey) {
        if !self.parked.contains(key) && !self.begun.contains_key(key) {
            self.held.insert(key.clone());
        }
    }

    /// An operator denied the removal. It waits, and delays no other one.
    pub fn deny(&mut self, key: &RoleKey) {
        self.parked.remove(key);
        self.wanted.remove(key);
        self.held.insert(key.clone());
    }

    /// Returns true if the removal of any role waits.
    pub fn is_any_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Begins the removal of a role, which [`Self::want`] has named, if the limits allow it. `managed` is the number of roles that the account
    /// has now, and `counts` tells whether the removal of one of these deletes a role.
    ///
    /// # Errors
    /// When the removal waits.
    pub fn begin(
        &mut self,
        key: &RoleKey,
        limits: Limits,
        managed: usize,
        counts: impl Fn(&RoleKey, &Target) -> bool,
        now: Timestamp,
    ) -> Result<(), Parked> {
        let window = SignedDuration::try_from(limits.window).unwrap_or(SignedDuration::MAX);
        // A clock that was set back ends no window early.
        self.begun.retain(|_, at| now.duration_since(*at) < window);
        // A removal that was interrupted is finished.
        if self.begun.contains_key(key) {
            return Ok(());
        }
        let done = self.begun.keys().filter(|key| !self.wanted.contains_key(key));
        let had = managed + done.count();
        let half = if had > FEW { had / 2 } else { usize::MAX };
        let limit = limits.count.min(half);
        let begun = &self.begun;
        let waiting = self
            .wanted
            .iter()
            .filter(|(other, target)| *other == key || (!begun.contains_key(other) && counts(other, target)));
        // What is above the limit needs no exact count.
        let wanted = waiting.take(limit.saturating_add(1)).count();
        // The owner of the account allows more than when they were parked.
        if limits.count > self.parked_at {
            self.parked.clear();
        }
        let is_held = self.held.contains(key);
        if is_held || self.is_any_parked() || self.begun.len() + wanted > limit {
            if !is_held {
                if !self.is_any_parked() {
                    self.parked_at = limits.count;
                }
                self.parked.insert(key.clone());
            }
            return Err(Parked {
                wanted,
                done: self.begun.len(),
                limit,
                window: limits.window,
            });
        }
        self.begun.insert(key.clone(), now);
        Ok(())
    }

    /// An operator approved the removal of the role. It does not count.
    pub fn approve(&mut self, key: &RoleKey) {
        self.parked.remove(key);
        self.held.remove(key);
    }

    /// Copies what was removed recently from what another actor of the same account knew. The assignments tell the new actor what is to be removed now.
    pub fn inherit(&mut self, before: &Self) {
        self.begun
            .extend(before.begun.iter().map(|(key, at)| (key.clone(), *at)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(n: usize) -> RoleKey {
        RoleKey::new("ns", &n.to_string())
    }

    fn target(n: usize) -> Target {
        Target {
            name: n.to_string(),
            owner: format!("c/ns/{n}"),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    const LIMITS: Limits = Limits {
        count: 20,
        window: Duration::from_mins(10),
    };

    /// Asks for the removal of roles, one after the other, and returns how many begin.
    fn begun(removals: &mut Removals, keys: std::ops::Range<usize>, managed: usize, now: Timestamp) -> usize {
        let began = |n: &usize| {
            removals
                .begin(&key(*n), LIMITS, managed, |_, _| true, now)
                .is_ok()
        };
        keys.filter(began).count()
    }

    fn wanting(keys: std::ops::Range<usize>) -> Removals {
        let mut removals = Removals::default();
        keys.for_each(|n| removals.want(key(n), target(n)));
        removals
    }

    #[test]
    fn if_more_roles_are_to_be_removed_than_the_limit_none_is_removed() {
        for (wanted, managed, expected) in [
            (1, 1, 1),
            (5, 5, 5),
            (3, 6, 3),
            (4, 6, 0),
            (20, 100, 20),
            (21, 100, 0),
            (15, 20, 0),
        ] {
            let mut removals = wanting(0..wanted);
            assert_eq!(
                begun(&mut removals, 0..wanted, managed, at(0)),
                expected,
                "{wanted} of {managed}"
            );
        }
    }

    #[test]
    fn removals_that_delete_no_role_are_not_counted() {
        let mut removals = wanting(0..100);
        let counts = |_: &RoleKey, target: &Target| target.name == "7";
        assert_eq!(removals.begin(&key(7), LIMITS, 50, counts, at(0)), Ok(()));
    }

    #[test]
    fn a_trickle_counts_within_the_window_and_once_a_removal_waits_time_alone_lets_none_through() {
        let mut removals = Removals::default();
        let mut ask = |n: usize, seconds: i64| {
            removals.want(key(n), target(n));
            let began = removals.begin(&key(n), LIMITS, 1000 - n, |_, _| true, at(seconds));
            if began.is_ok() {
                removals.forget(&key(n));
            }
            began.is_ok()
        };
        // One a minute is no more than 10 in the window.
        assert!((0..100).all(|n| ask(n, 60 * i64::try_from(n).unwrap())));
        let start = 100_000;
        assert!((100..120).all(|n| ask(n, start)));
        assert!(!ask(120, start + 1));
        assert!(!ask(120, start + 100_000) && !ask(121, start + 100_000));
        removals.approve(&key(120));
        assert!(removals.is_any_parked());
        removals.forget(&key(121));
        assert!(!removals.is_any_parked());
        removals.want(key(122), target(122));
        let began = removals.begin(&key(122), LIMITS, 500, |_, _| true, at(start + 200_000));
        assert_eq!(began, Ok(()));
    }

    #[test]
    fn a_removal_that_is_held_waits_and_delays_no_other() {
        let mut removals = wanting(0..3);
        removals.hold(&key(0));
        removals.deny(&key(1));
        assert_eq!(begun(&mut removals, 0..3, 100, at(0)), 1);
        assert_eq!(begun(&mut removals, 0..2, 100, at(100_000)), 0);
        removals.approve(&key(0));
        removals.forget(&key(1));
        assert_eq!(begun(&mut removals, 0..2, 100, at(100_000)), 2);
    }

    #[test]
    fn a_higher_limit_of_the_owner_ends_the_wait() {
        let mut removals = wanting(0..30);
        assert_eq!(begun(&mut removals, 0..30, 100, at(0)), 0);
        let more = Limits { count: 40, ..LIMITS };
        assert_eq!(removals.begin(&key(0), more, 100, |_, _| true, at(0)), Ok(()));
    }

    #[test]
    fn a_removal_that_was_interrupted_is_finished() {
        let mut removals = wanting(0..1);
        assert_eq!(begun(&mut removals, 0..1, 100, at(0)), 1);
        (1..50).for_each(|n| removals.want(key(n), target(n)));
        assert_eq!(begun(&mut removals, 0..1, 100, at(1)), 1);
        assert_eq!(begun(&mut removals, 1..50, 100, at(1)), 0);
    }

    #[test]
    fn a_count_of_zero_makes_every_removal_wait() {
        let none = Limits { count: 0, ..LIMITS };
        let parked = wanting(0..1)
            .begin(&key(0), none, 3, |_, _| true, at(0))
            .unwrap_err();
        assert_eq!(
            parked.to_string(),
            "the removal waits for an approval: more than 0 of the account's roles are to be removed; the limit is 0 in 10m (guardrails.maxRemovals; at most half of the account's roles)"
        );
    }

    proptest! {
        #[test]
        fn no_more_roles_than_the_limit_are_removed_within_a_window_without_an_approval(
            count in 0_usize..8,
            managed in 0_usize..30,
            steps in prop::collection::vec((0_usize..30, 0_i64..200, any::<bool>()), 1..80),
        ) {
            let limits = Limits { count, window: Duration::from_mins(10) };
            let mut removals = Removals::default();
            let (mut left, mut removed): (BTreeSet<usize>, Vec<(i64, usize)>) = ((0..managed).collect(), vec![]);
            let mut now = 0;
            for (n, wait, gives_up) in steps {
                now += wait;
                if !left.contains(&n) {
                    continue;
                }
                removals.want(key(n), target(n));
                let before = left.len();
                let counts = |_: &RoleKey, target: &Target| left.contains(&target.name.parse().unwrap());
                if removals.begin(&key(n), limits, before, counts, at(now)).is_ok() {
                    left.remove(&n);
                    removed.push((now, before));
                    removals.forget(&key(n));
                } else if gives_up {
                    removals.forget(&key(n));
                }
            }
            for (at, before) in &removed {
                let of_window: Vec<_> = removed.iter().filter(|(other, _)| (*at..at + 600).contains(other)).collect();
                prop_assert!(of_window.len() <= count);
                prop_assert!(*before <= FEW || of_window.len() <= before / 2, "{removed:?}");
            }
        }
    }
}
