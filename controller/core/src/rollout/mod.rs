//! The rollout of a change over the accounts of a role: in waves, a few accounts at once, and not further after failures.
//!
//! The order of the waves is that of the owners of the accounts. The author of a role orders accounts of the same wave ([`Wave`]).
//!
//! Only a new generation of a spec is staged. An account that has the generation is [`State::Done`] and stays so: its drift is corrected
//! at once. The decision is computed each time from what is seen of the accounts, so a restart continues where the rollout was. What is
//! only known from a status can delay or un-stage the role of whoever forged it, and nothing else.
//!
//! The model is the rollout of [open-cluster-management](https://github.com/open-cluster-management-io/sdk-go).
//!
//! The imports between the modules:
//!
//! ```text
//! memory -> seen, waves
//! shards -> seen, step, waves
//! seen -> waves
//! step -> waves
//! waves
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rolectl_crds::{Rollout, ShardWave};

mod memory;
mod seen;
mod shards;
mod step;
mod waves;

pub use memory::{Memory, Sight};
pub use seen::{Progress, Retry, Seen, State, is_failure, is_unavailable};
pub use shards::{Elsewhere, report_of};
pub use step::{Step, Why};
pub use waves::{Command, Completed, Wave, narrows_at_once, needs_turn, wave_error, wave_of};

/// Everything that the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Rolling<'a> {
    /// The spec.
    pub spec: &'a Rollout,
    /// The request of a person.
    pub command: Command,
    /// The accounts of this replica.
    pub accounts: &'a [Progress],
    /// The accounts of the others.
    pub elsewhere: &'a [Elsewhere],
    /// What the last decision about this generation returned.
    pub completed: &'a Completed,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What each account of this replica may do.
    pub steps: BTreeMap<String, Step>,
    /// The state of the rollout.
    pub phase: Phase,
    /// When each wave was complete.
    pub completed: Completed,
    /// When to decide again, if nothing happens before.
    pub again: Option<Instant>,
}

/// The state of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Accounts are being changed, or wait for their turn.
    Running,
    /// No account is left that could be changed.
    Done,
    /// The change begins in no further account, because of this.
    Stopped(String),
}

/// Decides which accounts may be changed. The same input in any order returns the same decision.
pub fn rollout(rolling: &Rolling<'_>, now: Instant) -> Decision {
    let mut accounts: Vec<&Progress> = rolling.accounts.iter().collect();
    accounts.sort_by_key(|account| account.key());
    let view = View { rolling, accounts };
    let waves = view.waves();
    let completed: Completed = waves
        .iter()
        .filter(|wave| view.open(**wave) == 0)
        .map(|wave| (*wave, rolling.completed.get(wave).copied().unwrap_or(now)))
        .collect();
    let current = waves.iter().copied().find(|wave| view.open(*wave) > 0);
    let soaking = view.soaking(current, &completed, now);
    // The last wave whose accounts may have begun.
    let reached = match (current, soaking) {
        (Some(current), Some(_)) => completed
            .range(..current)
            .next_back()
            .map_or(Wave::default(), |(wave, _)| *wave),
        (Some(current), None) => current,
        (None, _) => Wave::LAST,
    };
    let phase = match current {
        Some(_) => view.phase(reached),
        None => Phase::Done,
    };
    let may_begin = !view.others_go_first(current);
    let is_beginning = phase == Phase::Running && soaking.is_none();
    let may_retry = !is_beginning || !view.others_wait(current);
    let mut room = view.room();
    let mut take_place = |is_allowed: bool, otherwise: Why| match room.checked_sub(1).filter(|_| is_allowed) {
        Some(left) => {
            room = left;
            Step::Go
        }
        None => Step::Wait(otherwise),
    };
    let mut ends: Vec<Instant> = vec![];
    let mut steps = BTreeMap::new();
    for account in &view.accounts {
        let step = match (&account.state, &phase) {
            (State::Done | State::Working, _) => Step::Go,
            (State::Unavailable, _) => Step::Wait(Why::Unavailable),
            (_, Phase::Stopped(_)) if rolling.command == Command::Abort => Step::Wait(Why::Stopped),
            // It refuses the change already, and its wave has not begun.
            (State::Failed { has_begun: false, .. }, _)
                if let Some((wave, end)) = view.soaking(Some(account.wave), &completed, now)
                    && account.wave <= reached =>
            {
                ends.push(end);
                Step::Wait(Why::Soak(wave, end))
            }
            // It has been reached.
            (State::Failed { has_begun, retry, .. }, _) if *has_begun || account.wave <= reached => {
                match retry {
                    _ if rolling.spec.max_concurrent.is_none() => Step::Go,
                    Retry::UnderWay => Step::Go,
                    Retry::At(at) if *at > now => {
                        ends.push(*at);
                        Step::Wait(Why::Retry)
                    }
                    Retry::At(_) | Retry::Due => take_place(may_retry, Why::Retry),
                }
            }
            (_, Phase::Stopped(_)) => Step::Wait(Why::Stopped),
            _ => match (current, soaking) {
                (Some(current), _) if account.wave > current => Step::Wait(Why::Wave(current)),
                (_, Some((wave, end))) => Step::Wait(Why::Soak(wave, end)),
                _ => take_place(may_begin, Why::Turn),
            },
        };
        steps.insert(account.name.clone(), step);
    }
    let soaked = soaking.map(|(_, end)| end).filter(|_| phase == Phase::Running);
    Decision {
        steps,
        again: soaked.into_iter().chain(ends).min(),
        phase,
        completed,
    }
}

/// The accounts of a rollout, in their order.
struct View<'a> {
    rolling: &'a Rolling<'a>,
    accounts: Vec<&'a Progress>,
}

impl View<'_> {
    /// The waves that have accounts.
    fn waves(&self) -> BTreeSet<Wave> {
        let ours = self.accounts.iter().map(|account| account.wave);
        let others = self.rolling.elsewhere.iter().flat_map(|other| other.waves.keys());
        ours.chain(others.copied()).collect()
    }

    /// The accounts of other replicas in a wave, by this number of it.
    fn others(&self, wave: Wave, number: impl Fn(&ShardWave) -> u32) -> u32 {
        let others = self.rolling.elsewhere.iter();
        let counts = others.filter_map(|other| other.waves.get(&wave)).map(number);
        counts.fold(0, u32::saturating_add)
    }

    /// The accounts of a wave whose change is not complete.
    fn open(&self, wave: Wave) -> usize {
        let ours = self.accounts.iter().filter(|account| account.wave == wave);
        let ours = ours.filter(|account| account.state.is_open()).count();
        let others = self.others(wave, |counts| counts.waiting.saturating_add(counts.working));
        ours.saturating_add(others as usize)
    }

    /// The last wave before the current one whose soak time is not over, and its end.
    fn soaking(&self, current: Option<Wave>, completed: &Completed, now: Instant) -> Option<(Wave, Instant)> {
        let soak = Duration::from(self.rolling.spec.soak?);
        let before = completed.range(..current?);
        let ends = before
            .filter(|(wave, _)| self.was_changed(**wave))
            .filter_map(|(wave, at)| Some((*wave, at.checked_add(soak)?)));
        ends.filter(|(_, end)| *end > now).max_by_key(|(_, end)| *end)
    }

    /// Returns true if the wave has an account that was changed. One of unavailable accounts has nothing to observe.
    fn was_changed(&self, wave: Wave) -> bool {
        let is_changed = |account: &&&Progress| {
            matches!(account.state, State::Done | State::Failed { .. }) && account.wave == wave
        };
        self.accounts.iter().any(|account| is_changed(&account)) || !self.rolling.elsewhere.is_empty()
    }

    /// The state of a rollout that is not complete. Failures count in the waves up to `reached`, and where the change has begun.
    fn phase(&self, reached: Wave) -> Phase {
        let failed: Vec<String> = self
            .accounts
            .iter()
            .filter_map(|account| match &account.state {
                State::Failed {
                    has_begun, message, ..
                } if *has_begun || account.wave <= reached => Some(account.failure(message)),
                _ => None,
            })
            .collect();
        let waves = self.waves();
        let others = waves
            .range(..=reached)
            .map(|wave| self.others(*wave, |counts| counts.failed));
        let begun = self.rolling.elsewhere.iter().map(|other| other.failed);
        let others = others.chain(begun).fold(0, u32::saturating_add);
        let failures = u32::try_from(failed.len())
            .unwrap_or(u32::MAX)
            .saturating_add(others);
        let excused = match self.rolling.command {
            Command::Abort => {
                return Phase::Stopped(
                    "the rollout was aborted: change the spec to begin another one".to_owned(),
                );
            }
            Command::Resume(None) => u32::MAX,
            Command::Resume(Some(failures)) => failures,
            Command::None => 0,
        };
        if failures <= self.rolling.spec.max_failures.saturating_add(excused) {
            return Phase::Running;
        }
        let elsewhere = self
            .rolling
            .elsewhere
            .iter()
            .filter_map(|other| other.failure.clone());
        let first = failed.into_iter().chain(elsewhere).next().unwrap_or_default();
        let plural = if failures == 1 { "" } else { "s" };
        Phase::Stopped(format!(
            "the rollout stopped after {failures} failure{plural}; first in {first}"
        ))
    }

    /// Returns true if replicas that go first have accounts in the wave. Replicas take turns, so that no two of them use the same room.
    fn others_go_first(&self, current: Option<Wave>) -> bool {
        let is_limited = self.rolling.spec.max_concurrent.is_some();
        let Some(current) = current.filter(|_| is_limited) else {
            return false;
        };
        let mut first = self.rolling.elsewhere.iter().filter(|other| other.goes_first);
        first.any(|other| {
            let counts = other.waves.get(&current);
            counts.is_some_and(|it| it.waiting > 0 || it.working > 0)
        })
    }

    /// Returns true if the change can begin in accounts of other replicas. What has failed is not tried again until it has begun there.
    fn others_wait(&self, current: Option<Wave>) -> bool {
        current.is_some_and(|current| self.others(current, |counts| counts.waiting) > 0)
    }

    /// The number of accounts in which the change may begin, or be tried again.
    fn room(&self) -> usize {
        let Some(most) = self.rolling.spec.max_concurrent else {
            return usize::MAX;
        };
        let ours = self
            .accounts
            .iter()
            .filter(|account| account.state.is_under_way());
        let under_way = |counts: &ShardWave| counts.working.saturating_add(counts.retrying);
        let waves = self.waves();
        let others = waves.iter().map(|wave| self.others(*wave, under_way) as usize);
        let under_way = others.fold(ours.count(), usize::saturating_add);
        (most as usize).saturating_sub(under_way)
    }
}

#[cfg(test)]
mod tests;
