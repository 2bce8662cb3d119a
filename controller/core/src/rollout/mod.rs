//! The rollout of a change over the accounts of a role: in waves, a few accounts at once, and not further after failures.
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
//! waves
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use rolectl_crds::{Reason, Rollout, ShardRollout, ShardWave};

use crate::bounded::{MESSAGE, clip};

mod waves;

pub use waves::{Command, narrows_at_once, needs_turn, wave_error, wave_of};

/// How far an account is with a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The generation was applied there, now or earlier.
    Done,
    /// The change has begun.
    Working,
    /// The change was refused or failed. It counts once the account has begun, or its wave is reached: an account of a later wave may
    /// refuse it already.
    Failed {
        /// The account was told to begin.
        has_begun: bool,
        /// What happened.
        message: String,
    },
    /// Nothing can be done in the account now, and that does not come from the change. The account does not delay the others.
    Unavailable,
    /// The change has not begun.
    Waiting,
}

/// What is seen of an account.
#[derive(Clone, Debug, Default)]
pub struct Seen<'a> {
    /// The generation was applied in full at some time.
    pub is_applied: bool,
    /// The account was told to begin.
    pub has_begun: bool,
    /// The account as a whole cannot be used.
    pub is_unavailable: bool,
    /// The state that was reported for this generation, with its message.
    pub reported: Option<(Reason, &'a str)>,
}

impl State {
    /// Returns how far the account is.
    pub fn of(seen: &Seen<'_>) -> Self {
        if seen.is_applied {
            return Self::Done;
        }
        let (reason, message) = seen.reported.unzip();
        if seen.is_unavailable || reason.is_some_and(is_no_fault_of_the_change) {
            return Self::Unavailable;
        }
        match reason {
            Some(reason) if reason.is_stalled() && reason != Reason::RolloutStopped => {
                let message = message.filter(|message| !message.is_empty());
                Self::Failed {
                    has_begun: seen.has_begun,
                    message: clip(message.unwrap_or(reason.as_str()), MESSAGE).into_owned(),
                }
            }
            _ if seen.has_begun => Self::Working,
            _ => Self::Waiting,
        }
    }

    const fn is_open(&self) -> bool {
        matches!(self, Self::Working | Self::Waiting)
    }
}

/// Returns true for a state of a role that comes from its account or its session, whatever the spec is.
const fn is_no_fault_of_the_change(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::SessionLocked
            | Reason::Suspended
            | Reason::AccountMismatch
            | Reason::AccountNotFound
            | Reason::NamespaceNotAllowed
    )
}

/// Returns true for a state of a whole account in which no role of it can be changed.
pub const fn is_unavailable(account: Reason) -> bool {
    is_no_fault_of_the_change(account)
        || matches!(
            account,
            Reason::AccessDenied | Reason::Throttled | Reason::AwsUnavailable
        )
}

/// An account of the role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Name of the `AwsAccount`.
    pub name: String,
    /// Its wave ([`wave_of`]).
    pub wave: u32,
    /// Its place within the wave, before the name: `spec.wave`.
    pub place: u32,
    /// How far it is.
    pub state: State,
}

/// The accounts that another replica looks after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its accounts come first where the number of accounts at once is limited.
    pub goes_first: bool,
    /// Numbers of accounts by wave.
    pub waves: BTreeMap<u32, ShardWave>,
    /// Its first failure.
    pub failure: Option<String>,
}

impl Elsewhere {
    /// Returns the accounts of a shard, by its report. `targets` are the waves of its accounts: one that has not reported this generation
    /// has begun in none of them.
    pub fn of(
        goes_first: bool,
        reported: Option<&ShardRollout>,
        generation: Option<i64>,
        targets: &BTreeMap<u32, u32>,
    ) -> Self {
        let Some(reported) = reported.filter(|reported| reported.generation == generation) else {
            let unknown = targets.iter().map(|(wave, accounts)| {
                let counts = ShardWave {
                    wave: *wave,
                    waiting: *accounts,
                    ..ShardWave::default()
                };
                (*wave, counts)
            });
            return Self {
                goes_first,
                waves: unknown.collect(),
                failure: None,
            };
        };
        Self {
            goes_first,
            waves: reported.waves.iter().map(|wave| (wave.wave, *wave)).collect(),
            failure: reported.failure.clone(),
        }
    }
}

/// Returns what a shard reports of its accounts for the others.
pub fn report_of(accounts: &[Progress], generation: Option<i64>) -> ShardRollout {
    let mut waves: BTreeMap<u32, ShardWave> = BTreeMap::new();
    let mut first: Option<(&Progress, &String)> = None;
    for account in accounts {
        let count = || ShardWave {
            wave: account.wave,
            ..ShardWave::default()
        };
        match &account.state {
            State::Done | State::Unavailable => {}
            State::Working => waves.entry(account.wave).or_insert_with(count).working += 1,
            State::Waiting => waves.entry(account.wave).or_insert_with(count).waiting += 1,
            State::Failed { message, .. } => {
                waves.entry(account.wave).or_insert_with(count).failed += 1;
                if first.is_none_or(|(before, _)| key(account) < key(before)) {
                    first = Some((account, message));
                }
            }
        }
    }
    ShardRollout {
        generation,
        waves: waves.into_values().collect(),
        failure: first.map(|(account, message)| failure_in(account, message)),
    }
}

/// When each wave was complete, as far as this process has seen it.
pub type Completed = BTreeMap<u32, Instant>;

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

/// What an account may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The generation is applied.
    Go,
    /// It is not applied yet.
    Wait(Why),
}

/// Why an account waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// An earlier wave is not complete.
    Wave(u32),
    /// An earlier wave was completed moments ago.
    Soak(u32),
    /// As many accounts as may be are being changed.
    Turn,
    /// The rollout has stopped.
    Stopped,
    /// The account cannot be used.
    Unavailable,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wave(wave) => write!(f, "waits for wave {wave}"),
            Self::Soak(wave) => write!(f, "waits for the end of spec.rollout.soak after wave {wave}"),
            Self::Turn => f.write_str("waits for other accounts, as spec.rollout.maxConcurrent limits"),
            Self::Stopped => f.write_str("not changed, because the rollout has stopped"),
            Self::Unavailable => f.write_str("waits until the account can be used"),
        }
    }
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

type Key<'a> = (u32, u32, &'a str);

fn key(account: &Progress) -> Key<'_> {
    (account.wave, account.place, &account.name)
}

fn failure_in(account: &Progress, message: &str) -> String {
    clip(&format!("{}: {message}", account.name), MESSAGE).into_owned()
}

/// Decides which accounts may be changed. The same input in any order returns the same decision.
pub fn rollout(rolling: &Rolling<'_>, now: Instant) -> Decision {
    let mut accounts: Vec<&Progress> = rolling.accounts.iter().collect();
    accounts.sort_by_key(|account| key(account));
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
            .map_or(0, |(wave, _)| *wave),
        (Some(current), None) => current,
        (None, _) => u32::MAX,
    };
    let phase = match current {
        Some(_) => view.phase(reached),
        None => Phase::Done,
    };
    let mut slots = view.slots(current);
    let mut steps = BTreeMap::new();
    for account in &view.accounts {
        let step = match (&account.state, &phase) {
            (State::Done | State::Working, _) => Step::Go,
            (State::Unavailable, _) => Step::Wait(Why::Unavailable),
            (_, Phase::Stopped(_)) if rolling.command == Command::Abort => Step::Wait(Why::Stopped),
            // It has been reached, and tries again by itself.
            (State::Failed { has_begun, .. }, _) if *has_begun || account.wave <= reached => Step::Go,
            (_, Phase::Stopped(_)) => Step::Wait(Why::Stopped),
            _ => match (current, soaking) {
                (Some(current), _) if account.wave > current => Step::Wait(Why::Wave(current)),
                (_, Some((wave, _))) => Step::Wait(Why::Soak(wave)),
                _ => match slots.checked_sub(1) {
                    Some(left) => {
                        slots = left;
                        Step::Go
                    }
                    None => Step::Wait(Why::Turn),
                },
            },
        };
        steps.insert(account.name.clone(), step);
    }
    Decision {
        steps,
        again: soaking.map(|(_, end)| end).filter(|_| phase == Phase::Running),
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
    fn waves(&self) -> BTreeSet<u32> {
        let ours = self.accounts.iter().map(|account| account.wave);
        let others = self.rolling.elsewhere.iter().flat_map(|other| other.waves.keys());
        ours.chain(others.copied()).collect()
    }

    /// The accounts of other replicas in a wave, by this number of it.
    fn others(&self, wave: u32, number: impl Fn(&ShardWave) -> u32) -> u32 {
        let others = self.rolling.elsewhere.iter();
        let counts = others.filter_map(|other| other.waves.get(&wave)).map(number);
        counts.fold(0, u32::saturating_add)
    }

    /// The accounts of a wave whose change is not complete.
    fn open(&self, wave: u32) -> usize {
        let ours = self.accounts.iter().filter(|account| account.wave == wave);
        let ours = ours.filter(|account| account.state.is_open()).count();
        let others = self.others(wave, |counts| counts.waiting.saturating_add(counts.working));
        ours.saturating_add(others as usize)
    }

    /// The last wave before the current one whose soak time is not over, and its end.
    fn soaking(&self, current: Option<u32>, completed: &Completed, now: Instant) -> Option<(u32, Instant)> {
        let soak = Duration::from(self.rolling.spec.soak?);
        let before = completed.range(..current?);
        let ends = before
            .filter(|(wave, _)| self.was_changed(**wave))
            .filter_map(|(wave, at)| Some((*wave, at.checked_add(soak)?)));
        ends.filter(|(_, end)| *end > now).max_by_key(|(_, end)| *end)
    }

    /// Returns true if the wave has an account that was changed. One of unavailable accounts has nothing to observe.
    fn was_changed(&self, wave: u32) -> bool {
        let is_changed = |account: &&&Progress| {
            matches!(account.state, State::Done | State::Failed { .. }) && account.wave == wave
        };
        self.accounts.iter().any(|account| is_changed(&account)) || !self.rolling.elsewhere.is_empty()
    }

    /// The state of a rollout that is not complete. Failures count in the waves up to `reached`, and where the change has begun.
    fn phase(&self, reached: u32) -> Phase {
        let failed: Vec<String> = self
            .accounts
            .iter()
            .filter_map(|account| match &account.state {
                State::Failed { has_begun, message } if *has_begun || account.wave <= reached => {
                    Some(failure_in(account, message))
                }
                _ => None,
            })
            .collect();
        let waves = self.waves();
        let others = waves
            .range(..=reached)
            .map(|wave| self.others(*wave, |counts| counts.failed));
        let others = others.fold(0, u32::saturating_add);
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

    /// The number of accounts in which the change may begin.
    fn slots(&self, current: Option<u32>) -> usize {
        let (Some(most), Some(current)) = (self.rolling.spec.max_concurrent, current) else {
            return usize::MAX;
        };
        // Replicas take turns, so that no two of them use the same room.
        let mut first = self.rolling.elsewhere.iter().filter(|other| other.goes_first);
        if first.any(|other| {
            other
                .waves
                .get(&current)
                .is_some_and(|it| it.waiting > 0 || it.working > 0)
        }) {
            return 0;
        }
        let ours = self
            .accounts
            .iter()
            .filter(|account| account.state == State::Working)
            .count();
        let waves = self.waves();
        let others = waves
            .iter()
            .map(|wave| self.others(*wave, |counts| counts.working) as usize);
        let working = others.fold(ours, usize::saturating_add);
        (most as usize).saturating_sub(working)
    }
}

#[cfg(test)]
mod tests;
