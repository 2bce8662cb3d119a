//! The rollout of a role over its accounts: what is seen of each, and what each may do now. The decision itself is pure.
//!
//! Each replica decides about the accounts of its own shards. What the shards of others have done is in their parts of the status.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use rolectl_crds::{AccountStatus, AwsAccount, DriftPolicy, Reason, Rollout, ShardRollout};
use tokio::time::Instant;

use rolectl_aws::actor::report::{Finding, Goal, Turn};
use rolectl_core::rollout::{
    Command, Decision, Elsewhere, Memory, Phase, Progress, Rolling, Sight, Step, Wave, Why, is_unavailable,
    report_of, rollout, wave_of,
};

use super::super::pauses;
use super::Pass;
use super::assign::Assignments;
use super::entries::Answers;

/// After how many failed sweeps in a row an account that AWS does not serve no longer delays the others.
const PATIENCE: u32 = 1;
/// How soon a change that failed is tried again, at first and at most, where the number of accounts at once is limited.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(5));

/// What this process remembers of the rollout of one generation.
#[derive(Clone, Debug, Default)]
pub struct RolloutMemory {
    /// The generation.
    pub generation: Option<i64>,
    /// What is remembered of its accounts.
    pub accounts: Memory,
    /// When the time after a wave ends, by both clocks: the status must show the same time in each pass.
    pub soak_ends: Option<(std::time::Instant, Timestamp)>,
    /// Accounts wait for others.
    pub is_running: bool,
}

/// What was decided in a pass.
pub(super) struct Rolled {
    decision: Decision,
    accounts: Vec<Progress>,
    memory: RolloutMemory,
}

impl Pass<'_> {
    /// Returns true if a change of the role reaches its accounts in an order.
    fn is_staged(&self) -> bool {
        let spec = &self.role.spec;
        let has_waves = || self.targets.iter().any(|account| account.spec.wave > 0);
        spec.drift == DriftPolicy::Correct && (spec.rollout.is_some() || has_waves())
    }

    /// Decides which of our accounts may apply the present generation.
    pub(super) fn decide(&self, assignments: &Assignments) {
        let reports = &self.context.reports;
        if !self.is_staged() {
            reports.set_rollout(&self.key, None);
            return;
        }
        let generation = self.role.metadata.generation;
        let mut memory = reports.rollout(&self.key, generation);
        let answers = reports.answers(&self.key);
        let kept = assignments.goals.iter().filter(|(_, goal)| *goal == Goal::Keep);
        let now = Instant::now().into_std();
        let mut accounts = vec![];
        for (account, _) in kept {
            let name = account.name_any();
            let sight = self.sight(account, &name, &answers);
            let pause = |attempts| pauses::backoff(attempts, RETRY);
            let state = memory.accounts.see(&name, sight, now, pause);
            accounts.push(Progress {
                wave: wave_of(self.role, account),
                name,
                state,
            });
        }
        let default = Rollout::default();
        let rolling = Rolling {
            spec: self.role.spec.rollout.as_deref().unwrap_or(&default),
            command: Command::of(self.role),
            accounts: &accounts,
            elsewhere: &self.elsewhere(),
            completed: memory.accounts.completed(),
        };
        let decision = rollout(&rolling, now);
        let going = decision.steps.iter().filter(|(_, step)| **step == Step::Go);
        let going = going.map(|(name, _)| name.clone()).collect();
        memory.accounts.decided(going, decision.completed.clone());
        memory.is_running = decision.phase != Phase::Done;
        let ends = decision.steps.values().find_map(|step| match step {
            Step::Wait(Why::Soak(_, end)) => Some(*end),
            _ => None,
        });
        memory.set_soak_end(ends, now);
        reports.set_rollout(&self.key, Some(memory.clone()));
        // A pass decides once.
        let _ = self.rolled.set(Rolled {
            decision,
            accounts,
            memory,
        });
    }

    /// Returns what is known of the account from its actor, or from the status after a restart.
    fn sight<'s>(&'s self, account: &AwsAccount, name: &str, answers: &'s Answers) -> Sight<'s> {
        let generation = self.role.metadata.generation;
        let answer = answers.get(name);
        let report = answer.and_then(|answer| answer.report.as_ref());
        let found = match report.filter(|report| report.generation == generation) {
            Some(report) => match &report.finding {
                Finding::State(state) => Some((state.state, state.message.as_deref().unwrap_or_default())),
                Finding::Waits(_) | Finding::Gone => None,
            },
            // After a restart the status has what was seen last. It can only delay the others.
            None => self
                .prior(name)
                .filter(|prior| prior.observed_generation == generation)
                .map(|prior| (prior.state, prior.message.as_deref().unwrap_or_default())),
        };
        let is_in_sync = report.is_some_and(|report| {
            report.generation == generation
                && matches!(&report.finding, Finding::State(state) if state.in_sync.is_some())
        });
        let was_in_sync = self
            .prior(name)
            .is_some_and(|prior| generation.is_some() && prior.last_applied_generation == generation);
        Sight {
            is_applied: is_in_sync || was_in_sync,
            is_unavailable: account.spec.suspend || self.cannot_be_used(account, name),
            is_answered: answer.is_some_and(|answer| answer.is_answered),
            reported: found.filter(|(reason, _)| !self.is_over(account, *reason)),
        }
    }

    /// Returns true if what an account reports has ended, and the account has not said so yet. When a session is opened, the accounts of a
    /// later wave must not overtake those of an earlier one that answer after them.
    fn is_over(&self, account: &AwsAccount, reason: Reason) -> bool {
        match reason {
            Reason::SessionLocked => self.has_session(account),
            Reason::Suspended => !account.spec.suspend,
            _ => false,
        }
    }

    fn has_session(&self, account: &AwsAccount) -> bool {
        let open = self.context.sessions.current(&account.spec.session_ref);
        open.is_some_and(|open| open.expires_at > Timestamp::now())
    }

    /// Returns true if the account as a whole cannot be used, by its actor.
    fn cannot_be_used(&self, account: &AwsAccount, name: &str) -> bool {
        let report = self.context.actors.get(name).map(|actor| actor.report());
        report.is_some_and(|report| {
            is_unavailable(report.reason)
                && (!report.reason.is_reconciling() || report.failures > PATIENCE)
                && !self.is_over(account, report.reason)
        })
    }

    /// The accounts of the other shards. Those of controllers for other sessions have rollouts of their own.
    fn elsewhere(&self) -> Vec<Elsewhere> {
        let shards = &self.context.shards;
        if shards.count() < 2 {
            return vec![];
        }
        let own = self.part.numbers();
        let first = own.iter().min().copied().unwrap_or(usize::MAX);
        let mut targets: BTreeMap<usize, BTreeMap<Wave, u32>> = BTreeMap::new();
        let mut locked = HashSet::new();
        for account in &self.targets {
            let name = account.name_any();
            let number = self.number_of(&name);
            if !self.holds(&name) && !own.contains(&number) && self.context.serves_session_of(&name) {
                let waves = targets.entry(number).or_default();
                *waves.entry(wave_of(self.role, account)).or_default() += 1;
                if !self.has_session(account) {
                    locked.insert(number);
                }
            }
        }
        let parts = || self.role.status.iter().flat_map(|status| &status.shards);
        let of = |(number, waves): (&usize, &BTreeMap<Wave, u32>)| {
            let name = shards.part_name(*number);
            let part = parts().find(|part| part.name == name);
            // Its holder has not reported since the sessions of its accounts were opened.
            let is_over = |reported: &&ShardRollout| reported.locked && !locked.contains(number);
            let reported = part.and_then(|part| part.rollout.as_ref());
            let reported = reported.filter(|reported| !is_over(reported));
            Elsewhere::of(*number < first, reported, self.role.metadata.generation, waves)
        };
        targets.iter().map(of).collect()
    }

    /// The turn of an account, for its actor.
    pub(super) fn turn_of(&self, account: &str) -> Turn {
        let Some(rolled) = self.rolled.get() else {
            return Turn::Free;
        };
        match rolled.decision.steps.get(account) {
            Some(Step::Go) => Turn::Of(self.role.metadata.generation),
            Some(Step::Wait(_)) => Turn::Waits,
            None => Turn::Free,
        }
    }

    /// Why the rollout has stopped, if it has.
    pub(super) fn stopped(&self) -> Option<&str> {
        match &self.rolled.get()?.decision.phase {
            Phase::Stopped(why) => Some(why),
            Phase::Running | Phase::Done => None,
        }
    }

    /// When to decide again by ourselves.
    pub(super) fn decides_again(&self) -> Option<Instant> {
        self.rolled.get()?.decision.again.map(Instant::from_std)
    }

    /// What the shard reports of the rollout for the others. `None`: the role is not staged.
    pub(super) fn rollout_of_shard(&self, number: usize) -> Option<ShardRollout> {
        let rolled = self.rolled.get()?;
        let accounts = rolled.accounts.iter();
        let of_shard = accounts.filter(|account| self.number_of(&account.name) == number);
        let of_shard: Vec<Progress> = of_shard.cloned().collect();
        let mut targets = self.targets.iter();
        let is_locked = targets.any(|account| {
            let name = account.name_any();
            self.number_of(&name) == number && self.holds(&name) && !self.has_session(account)
        });
        Some(report_of(
            &of_shard,
            &rolled.decision.steps,
            self.role.metadata.generation,
            is_locked,
        ))
    }

    /// The entry of an account with what it waits for. The account's actor knows nothing of the others.
    pub(super) fn in_turn(&self, mut entry: AccountStatus) -> AccountStatus {
        let waits = matches!(entry.state, Reason::RollingOut | Reason::RolloutStopped);
        if !waits {
            return entry;
        }
        let rolled = self.rolled.get();
        let step = rolled.and_then(|rolled| rolled.decision.steps.get(&entry.name));
        let failure = rolled.and_then(|rolled| rolled.memory.accounts.failure(&entry.name));
        let (state, message) = match (step, failure) {
            (Some(Step::Wait(why @ Why::Stopped)), _) => (Reason::RolloutStopped, why.to_string()),
            // It has failed, and waits until it may try again.
            (Some(Step::Go | Step::Wait(Why::Retry)), Some((reason, message))) => {
                (reason, message.to_owned())
            }
            (Some(Step::Wait(why)), _) => {
                let ends = rolled.and_then(|rolled| rolled.memory.soak_ends);
                let until = ends.filter(|_| matches!(why, Why::Soak(..)));
                let until = until.map(|(_, at)| format!(", until {at}")).unwrap_or_default();
                (Reason::RollingOut, format!("{why}{until}"))
            }
            (Some(Step::Go) | None, _) => (Reason::Progressing, "under way".to_owned()),
        };
        entry.state = state;
        entry.message = Some(message);
        entry
    }
}

impl RolloutMemory {
    /// Computes the time of the end of a wait once.
    fn set_soak_end(&mut self, end: Option<std::time::Instant>, now: std::time::Instant) {
        let kept = self.soak_ends.filter(|(at, _)| Some(*at) == end);
        self.soak_ends = kept.or_else(|| {
            let end = end?;
            let wait = SignedDuration::try_from(end.saturating_duration_since(now)).ok()?;
            let at = Timestamp::now().checked_add(wait).ok()?;
            Some((end, at.round(jiff::Unit::Second).ok()?))
        });
    }
}
