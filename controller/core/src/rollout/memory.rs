//! What a replica remembers of the rollout of one generation: in which accounts it was applied, has begun, or has failed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rolectl_crds::Reason;

use super::seen::{Retry, Seen, State, is_failure};
use super::waves::Completed;
use crate::bounded::{MESSAGE, clip};

/// The memory of a rollout. A restart begins with an empty one and with what the status has.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    applied: BTreeSet<String>,
    /// The accounts in which the change was started: those that have their turn, and those that failed since.
    begun: BTreeSet<String>,
    /// The accounts that have their turn by the last decision.
    have_turn: BTreeSet<String>,
    failing: BTreeMap<String, Failing>,
    completed: Completed,
}

/// A change that failed in an account.
#[derive(Clone, Debug)]
struct Failing {
    reason: Reason,
    message: String,
    attempts: u32,
    /// When it is tried again. `None`: as soon as the account has its turn.
    next: Option<Instant>,
    /// The last decision did not give the account its turn.
    waits: bool,
    /// The account refuses the change also without trying it. Once it no longer does, its cause is gone.
    is_refused: bool,
}

/// What the actor of an account says at this moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sight<'a> {
    /// The generation was applied in full.
    pub is_applied: bool,
    /// The account as a whole cannot be used.
    pub is_unavailable: bool,
    /// The actor has answered the last decision.
    pub is_answered: bool,
    /// The state that was reported for this generation, with its message.
    pub reported: Option<(Reason, &'a str)>,
}

impl Memory {
    /// Takes in what an account says, and returns how far it is. `pause` is the time before a change that has failed so often is tried
    /// again.
    pub fn see(
        &mut self,
        account: &str,
        sight: Sight<'_>,
        now: Instant,
        pause: impl Fn(u32) -> Duration,
    ) -> State {
        if sight.is_applied {
            self.applied.insert(account.to_owned());
            self.failing.remove(account);
        }
        let state = State::of(&Seen {
            is_applied: self.applied.contains(account),
            has_begun: self.begun.contains(account),
            is_unavailable: sight.is_unavailable,
            reported: sight.reported,
            retry: Retry::Due,
        });
        let is_no_failure =
            matches!(state, State::Done | State::Unavailable) || !self.begun.contains(account);
        if is_no_failure {
            return state;
        }
        if let Some((reason, message)) = sight.reported.filter(|(reason, _)| is_failure(*reason)) {
            return self.failed(account, (reason, message), sight.is_answered, now, pause);
        }
        self.failed_before(account, &sight).unwrap_or(state)
    }

    /// The account reports a failure.
    fn failed(
        &mut self,
        account: &str,
        (reason, message): (Reason, &str),
        is_answered: bool,
        now: Instant,
        pause: impl Fn(u32) -> Duration,
    ) -> State {
        let message = if message.is_empty() {
            reason.as_str()
        } else {
            message
        };
        let message = clip(message, MESSAGE).into_owned();
        let has_turn = self.have_turn.contains(account);
        let failing = self.failing.entry(account.to_owned()).or_insert_with(|| Failing {
            reason,
            message: message.clone(),
            attempts: 0,
            next: None,
            waits: false,
            is_refused: false,
        });
        (failing.reason, failing.message) = (reason, message);
        if has_turn && is_answered {
            // One attempt is counted once.
            self.have_turn.remove(account);
            failing.attempts = failing.attempts.saturating_add(1);
            failing.next = now.checked_add(pause(failing.attempts));
            failing.is_refused = false;
        } else if failing.waits && is_answered {
            failing.is_refused = true;
        }
        let is_under_way = has_turn && !is_answered;
        failing.state(is_under_way)
    }

    /// The account has failed before, and reports no failure now: it is trying again, or waits to do so.
    fn failed_before(&mut self, account: &str, sight: &Sight<'_>) -> Option<State> {
        let failing = self.failing.get_mut(account)?;
        let has_turn = self.have_turn.contains(account);
        let reason = sight.reported.map(|(reason, _)| reason);
        let is_passing = reason.is_none_or(Reason::is_reconciling);
        if has_turn && sight.is_answered && !is_passing {
            // It is not in sync, and nothing fails any more, such as a change that waits for an approval.
            self.failing.remove(account);
            return None;
        }
        if failing.waits && sight.is_answered && failing.is_refused {
            failing.is_refused = false;
            failing.next = None;
        }
        Some(failing.state(has_turn))
    }

    /// Takes in a decision: these accounts have their turn, and waves were complete at these times.
    pub fn decided(&mut self, have_turn: BTreeSet<String>, completed: Completed) {
        self.begun = self.failing.keys().chain(&have_turn).cloned().collect();
        for (account, failing) in &mut self.failing {
            failing.waits = !have_turn.contains(account);
        }
        self.have_turn = have_turn;
        self.completed = completed;
    }

    /// Tries the change again as soon as the account has its turn: somebody asks for it.
    pub fn retry_now(&mut self, account: &str) {
        if let Some(failing) = self.failing.get_mut(account) {
            failing.next = None;
        }
    }

    /// When each wave was complete.
    pub const fn completed(&self) -> &Completed {
        &self.completed
    }

    /// Returns the failure of an account that waits to try again.
    pub fn failure(&self, account: &str) -> Option<(Reason, &str)> {
        let failing = self.failing.get(account)?;
        Some((failing.reason, &failing.message))
    }
}

impl Failing {
    fn state(&self, is_under_way: bool) -> State {
        let retry = match self.next {
            _ if is_under_way => Retry::UnderWay,
            Some(at) => Retry::At(at),
            None => Retry::Due,
        };
        State::Failed {
            has_begun: true,
            message: self.message.clone(),
            retry,
        }
    }
}
