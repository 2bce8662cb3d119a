//! The states of a role in an account. Transitions are methods that take the time; nothing here makes a call.
//!
//! | state | is left by |
//! |---|---|
//! | `Pending` | its turn: `Working` |
//! | `Working` | the end of the visit: any of the following; `Pending`, if something has changed since it began |
//! | `InSync`, `Differs` (also a role that waits for its turn) | an assignment, a change of the account, a sweep that shows another fingerprint: `Pending` |
//! | `Refused` | what ends `InSync`; a sweep, unless only a change of the spec can end the refusal; a pause of about five minutes |
//! | `Waits` | a sweep, a change of the account; a growing pause |
//! | `Failed` | its own growing pause, which no other role and no other account lengthens |
//! | `Gone` | an assignment |

use std::time::Duration;

use rolectl_core::snapshot::Lookup;
use rolectl_crds::Reason;
use tokio::time::Instant;

use super::pause::backoff;
use super::report::Assignment;

/// How often a role that only a user can correct is visited: what is wrong may be corrected outside Kubernetes.
const STALLED_RETRY: Duration = Duration::from_mins(5);
/// How soon a change that AWS refused is tried again, at first and at most.
const REFUSED: (Duration, Duration) = (Duration::from_secs(5), STALLED_RETRY);
/// How soon a change that failed is tried again, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// How a visit left the role: while neither changes there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Generation of the `IamRole`.
    pub generation: Option<i64>,
    /// Fingerprint of the role in AWS, `None` where there is none.
    pub fingerprint: Option<u64>,
}

/// The state of a role in an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleState {
    /// It is to be visited.
    Pending,
    /// A visit is under way. `again`: something has changed since it began.
    Working {
        /// Another visit follows.
        again: bool,
    },
    /// It is as its spec declares it.
    InSync(Left),
    /// It differs and is left so: because of `drift: Report`, or because its account waits for its turn.
    Differs(Left),
    /// Nothing may be done. `None`: every sweep visits it again.
    Refused(Option<Left>),
    /// Nothing can be said before a sweep, the session or the labels of the namespace.
    Waits,
    /// AWS refused a change, or a call failed.
    Failed,
    /// Nothing of this owner is in the account.
    Gone,
}

/// How a visit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The role is as its spec declares it.
    InSync(Left),
    /// It differs and is left so.
    Differs(Left),
    /// Nothing may be done.
    Refused {
        /// The reason.
        reason: Reason,
        /// Set where only a change of the spec or of the role can end the refusal.
        left: Option<Left>,
    },
    /// Nothing can be said yet.
    Waits,
    /// A change failed, and is tried again after a pause.
    Failed(Failure),
    /// The pause after a failure is not over.
    Paused,
    /// What the visit was based on has changed, or the process may not call any more.
    Interrupted,
    /// Nothing of this owner is left.
    Gone,
}

/// A change that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Generation of the `IamRole` that was tried.
    pub generation: Option<i64>,
    /// The reason.
    pub reason: Reason,
    /// The message that the status shows until the next try.
    pub message: String,
    /// AWS does not know a principal of the trust policy.
    pub is_unknown_principal: bool,
    /// How the failed plan left the role, where only a user can correct the cause.
    pub left: Option<Left>,
}

/// The failures of one role in one account in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Generation of the `IamRole` that was tried.
    pub generation: Option<i64>,
    attempts: u32,
    /// When the changes are tried again.
    pub next: Instant,
    /// Since when AWS does not know a principal of the trust policy.
    pub unknown_principal: Option<Instant>,
    /// The reason and the message of the last failure.
    pub why: (Reason, String),
}

/// A role that an actor looks after.
#[derive(Debug)]
pub struct Slot {
    /// What is to become of it.
    pub assignment: Assignment,
    /// The state.
    pub state: RoleState,
    failing: Option<Box<Failing>>,
    /// Visits in a row after which something was still to be waited for.
    unfinished: u32,
    /// When it is visited again, if nothing happens before.
    pub due: Option<Instant>,
    /// The actor no longer looks after it, and a visit is still under way: one role has one visit at a time.
    pub is_released: bool,
    /// The failure that was logged last, so that it is logged once.
    pub logged_failure: Option<Box<str>>,
}

impl Slot {
    /// A role that was just assigned.
    pub const fn new(assignment: Assignment) -> Self {
        Self {
            assignment,
            state: RoleState::Pending,
            failing: None,
            unfinished: 0,
            due: None,
            is_released: false,
            logged_failure: None,
        }
    }

    /// Another assignment replaces the present one, and with it everything that was tried for it. Returns true if the role is to be
    /// queued for a visit.
    pub fn assign(&mut self, assignment: Assignment) -> bool {
        self.assignment = assignment;
        self.is_released = false;
        self.failing = None;
        self.unfinished = 0;
        self.recheck()
    }

    /// Something that a visit depends on has changed. Returns true if the role is to be queued for a visit.
    pub fn recheck(&mut self) -> bool {
        self.due = None;
        match &mut self.state {
            RoleState::Working { again } => {
                *again = true;
                false
            }
            RoleState::Pending => false,
            state => {
                *state = RoleState::Pending;
                true
            }
        }
    }

    /// The account or its session has changed: pauses after failures are over. Returns true if the role is to be queued.
    pub fn reset(&mut self) -> bool {
        self.failing = None;
        self.unfinished = 0;
        self.recheck()
    }

    /// A visit begins. Returns why the changes are not to be made yet, if a failed one is to be waited for, and since when a principal is
    /// unknown.
    pub fn begin(
        &mut self,
        generation: Option<i64>,
        now: Instant,
    ) -> (Option<(Reason, String)>, Option<Instant>) {
        self.state = RoleState::Working { again: false };
        self.due = None;
        // What failed for another generation says nothing about this one.
        self.failing.take_if(|failing| failing.generation != generation);
        let failing = self.failing.as_deref();
        let paused = failing.filter(|failing| failing.next > now);
        (
            paused.map(|failing| failing.why.clone()),
            failing.and_then(|failing| failing.unknown_principal),
        )
    }

    /// A visit has ended. Returns true if another one is to be queued at once. `spread` is between -1 and 1.
    pub fn end(&mut self, outcome: Outcome, now: Instant, spread: f64) -> bool {
        let again = matches!(self.state, RoleState::Working { again: true });
        let stalled = STALLED_RETRY.mul_f64(0.1_f64.mul_add(spread, 1.0));
        let is_paused = matches!(outcome, Outcome::Paused);
        let mut pause = None;
        let mut is_unfinished = false;
        self.state = match outcome {
            Outcome::InSync(left) => {
                self.failing = None;
                RoleState::InSync(left)
            }
            Outcome::Differs(left) => RoleState::Differs(left),
            Outcome::Gone => {
                self.failing = None;
                RoleState::Gone
            }
            Outcome::Refused { reason, left } => {
                is_unfinished = reason.is_reconciling();
                pause = reason.is_stalled().then_some(stalled);
                RoleState::Refused(left)
            }
            Outcome::Waits | Outcome::Interrupted => {
                is_unfinished = true;
                RoleState::Waits
            }
            Outcome::Failed(failure) => {
                let left = failure.left.filter(|_| failure.reason.is_stalled());
                self.fail(failure, now, spread);
                match left {
                    Some(left) => RoleState::Refused(Some(left)),
                    None => RoleState::Failed,
                }
            }
            Outcome::Paused => RoleState::Failed,
        };
        self.unfinished = if is_unfinished {
            self.unfinished.saturating_add(1)
        } else {
            0
        };
        if is_unfinished {
            pause = Some(backoff(self.unfinished, BACKOFF, spread));
        }
        // A time that has passed was this visit's own, unless this visit came before it and waited.
        let retry = self.failing.as_ref().map(|failing| failing.next);
        let retry = retry.filter(|next| *next > now || is_paused);
        // Not before it is due, or the visit would find that it must wait.
        let retry = retry.map(|next| next.max(now) + Duration::from_millis(10));
        self.due = pause.map(|pause| now + pause).into_iter().chain(retry).min();
        if again {
            self.state = RoleState::Pending;
            self.due = None;
        }
        again
    }

    fn fail(&mut self, failure: Failure, now: Instant, spread: f64) {
        let Failure {
            generation,
            reason,
            message,
            is_unknown_principal,
            left: _,
        } = failure;
        let bounds = if reason.is_stalled() { REFUSED } else { BACKOFF };
        let before = self
            .failing
            .take()
            .filter(|failing| failing.generation == generation);
        let attempts = before
            .as_ref()
            .map_or(0, |failing| failing.attempts)
            .saturating_add(1);
        let unknown = before.and_then(|failing| failing.unknown_principal);
        let unknown = unknown.or(Some(now)).filter(|_| is_unknown_principal);
        self.failing = Some(Box::new(Failing {
            generation,
            attempts,
            next: now + backoff(attempts, bounds, spread),
            unknown_principal: unknown,
            why: (reason, message),
        }));
    }

    /// A sweep has shown the role as `found`. Returns true if it is to be queued for a visit, and true if somebody else has changed it
    /// since the last visit.
    pub fn swept(&mut self, generation: Option<i64>, found: &Lookup) -> (bool, bool) {
        let fingerprint = match found {
            Lookup::Unknown => return (false, false),
            Lookup::Absent => None,
            Lookup::Present(role, _) => Some(role.fingerprint),
        };
        let left = match self.state {
            RoleState::InSync(left) | RoleState::Differs(left) | RoleState::Refused(Some(left)) => Some(left),
            // The object is deleted, or will be, and nothing of its role was there.
            RoleState::Gone if fingerprint.is_none() => return (false, false),
            _ => None,
        };
        let now = Left {
            generation,
            fingerprint,
        };
        let has_drifted = left.is_some_and(|left| left.generation == generation && left != now);
        let is_queued = left != Some(now) && self.recheck();
        (is_queued, has_drifted)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rolectl_core::role::{ObservedRole, PackedRole};

    use super::super::report::{Goal, Turn};
    use super::*;

    const FIRST: Assignment = Assignment {
        goal: Goal::Keep,
        revision: 1,
        is_given_up: false,
        turn: Turn::Free,
    };

    fn left(fingerprint: Option<u64>) -> Left {
        Left {
            generation: Some(1),
            fingerprint,
        }
    }

    fn failure(reason: Reason, is_unknown_principal: bool) -> Outcome {
        Outcome::Failed(Failure {
            generation: Some(1),
            reason,
            message: "failed".to_owned(),
            is_unknown_principal,
            left: None,
        })
    }

    fn present(description: &str) -> (Lookup, u64) {
        let role = ObservedRole {
            name: "app".into(),
            arn: "arn:aws:iam::222222222222:role/app".into(),
            role_id: "AROA1".into(),
            path: "/".into(),
            description: description.into(),
            max_session_duration: 3600,
            trust: rolectl_core::role::observed::ObservedDocument::Unreadable(String::new()),
            managed_policies: std::collections::BTreeSet::new(),
            inline_policies: std::collections::BTreeMap::new(),
            permissions_boundary: None,
            tags: std::collections::BTreeMap::new(),
            instance_profiles: std::collections::BTreeSet::new(),
        };
        let packed = Arc::new(PackedRole::new(&role));
        let fingerprint = packed.fingerprint;
        (Lookup::Present(packed, std::time::Instant::now()), fingerprint)
    }

    #[test]
    fn a_visit_leaves_the_state_that_it_found() {
        let now = Instant::now();
        let here = left(Some(7));
        for (outcome, state, is_due) in [
            (Outcome::InSync(here), RoleState::InSync(here), false),
            (Outcome::Differs(here), RoleState::Differs(here), false),
            (Outcome::Gone, RoleState::Gone, false),
            (Outcome::Waits, RoleState::Waits, true),
            (Outcome::Interrupted, RoleState::Waits, true),
            (failure(Reason::Throttled, false), RoleState::Failed, true),
            (
                Outcome::Refused {
                    reason: Reason::OwnedByOther,
                    left: Some(here),
                },
                RoleState::Refused(Some(here)),
                true,
            ),
            (
                Outcome::Refused {
                    reason: Reason::SessionLocked,
                    left: None,
                },
                RoleState::Refused(None),
                false,
            ),
        ] {
            let mut slot = Slot::new(FIRST);
            slot.begin(Some(1), now);
            assert!(!slot.end(outcome.clone(), now, 0.0), "{outcome:?}");
            assert_eq!(slot.state, state, "{outcome:?}");
            assert_eq!(slot.due.is_some(), is_due, "{outcome:?}");
            let mut other = Slot::new(FIRST);
            other.begin(Some(1), now);
            assert!(!other.recheck(), "a visit is under way");
            assert!(
                other.end(outcome.clone(), now, 0.0),
                "another follows {outcome:?}"
            );
            assert_eq!((other.state, other.due), (RoleState::Pending, None));
        }
    }

    #[test]
    fn a_role_that_is_not_worked_on_is_queued_once() {
        let mut slot = Slot::new(FIRST);
        assert!(!slot.recheck(), "a new role is queued by whoever adds it");
        let now = Instant::now();
        slot.begin(Some(1), now);
        slot.end(Outcome::InSync(left(None)), now, 0.0);
        assert!(slot.recheck());
        assert!(!slot.recheck());
    }

    #[test]
    fn failures_lengthen_their_own_pause_and_an_assignment_ends_it() {
        let mut now = Instant::now();
        let mut slot = Slot::new(FIRST);
        for seconds in [1, 2, 4, 8] {
            let (paused, _) = slot.begin(Some(1), now);
            assert_eq!(paused, None);
            slot.end(failure(Reason::Throttled, false), now, 0.0);
            let (paused, _) = slot.begin(Some(1), now);
            assert_eq!(paused, Some((Reason::Throttled, "failed".to_owned())));
            slot.end(Outcome::Paused, now, 0.0);
            now += Duration::from_secs(seconds);
            let due = slot.due.unwrap();
            assert!(due >= now && due < now + Duration::from_millis(11), "{seconds}");
            now = due;
        }
        slot.begin(Some(1), now);
        slot.end(failure(Reason::Throttled, false), now, 0.0);
        assert_eq!(slot.begin(Some(2), now).0, None, "another generation");
        slot.end(failure(Reason::Throttled, false), now, 0.0);
        slot.assign(FIRST);
        assert_eq!(slot.begin(Some(1), now).0, None, "another assignment");
    }

    #[test]
    fn a_failure_whose_retry_came_to_another_end_is_not_retried_at_once() {
        let refused = Outcome::Refused {
            reason: Reason::AlreadyExists,
            left: Some(left(None)),
        };
        for (outcome, pause) in [
            (Outcome::Waits, Some(1)),
            (Outcome::Interrupted, Some(1)),
            (refused, Some(300)),
            (Outcome::Differs(left(None)), None),
        ] {
            let start = Instant::now();
            let mut slot = Slot::new(FIRST);
            slot.begin(Some(1), start);
            slot.end(failure(Reason::Throttled, false), start, 0.0);
            let retried = slot.due.unwrap();
            slot.begin(Some(1), retried);
            slot.end(outcome.clone(), retried, 0.0);
            let due = slot.due.map(|due| due.duration_since(retried).as_secs());
            assert_eq!(due, pause, "{outcome:?}");
        }
    }

    #[test]
    fn an_unknown_principal_is_counted_from_the_first_failure_of_its_kind() {
        let start = Instant::now();
        let mut slot = Slot::new(FIRST);
        assert_eq!(slot.begin(Some(1), start).1, None);
        slot.end(failure(Reason::AwaitingPrincipal, true), start, 0.0);
        let later = start + Duration::from_secs(30);
        assert_eq!(slot.begin(Some(1), later).1, Some(start));
        slot.end(failure(Reason::AwaitingPrincipal, true), later, 0.0);
        assert_eq!(
            slot.begin(Some(1), later).1,
            Some(start),
            "the first failure counts"
        );
        slot.end(failure(Reason::Throttled, false), later, 0.0);
        assert_eq!(slot.begin(Some(1), later).1, None, "another failure in between");
    }

    #[test]
    fn a_sweep_visits_what_is_not_as_it_was_left() {
        let (there, fingerprint) = present("one");
        let (changed, _) = present("two");
        for (state, found, generation, queued, drifted) in [
            (
                RoleState::InSync(left(Some(fingerprint))),
                &there,
                1,
                false,
                false,
            ),
            (
                RoleState::InSync(left(Some(fingerprint))),
                &changed,
                1,
                true,
                true,
            ),
            (
                RoleState::InSync(left(Some(fingerprint))),
                &Lookup::Absent,
                1,
                true,
                true,
            ),
            (
                RoleState::InSync(left(Some(fingerprint))),
                &Lookup::Unknown,
                1,
                false,
                false,
            ),
            (RoleState::InSync(left(Some(fingerprint))), &there, 2, true, false),
            (
                RoleState::Differs(left(Some(fingerprint))),
                &there,
                1,
                false,
                false,
            ),
            (
                RoleState::Refused(Some(left(Some(fingerprint)))),
                &there,
                1,
                false,
                false,
            ),
            (RoleState::Refused(None), &there, 1, true, false),
            (RoleState::Waits, &there, 1, true, false),
            (RoleState::Gone, &Lookup::Absent, 1, false, false),
            (RoleState::Gone, &there, 1, true, false),
            (RoleState::Pending, &there, 1, false, false),
        ] {
            let mut slot = Slot::new(FIRST);
            slot.state = state;
            assert_eq!(
                slot.swept(Some(generation), found),
                (queued, drifted),
                "{state:?} {found:?} {generation}"
            );
        }
    }
}
