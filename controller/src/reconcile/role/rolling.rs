//! The rollout of a role over its accounts: what is seen of each, and what each may do now. The decision itself is pure.
//!
//! Each replica decides about the accounts of its own shards. What the shards of others have done is in their parts of the status.

use std::collections::{BTreeMap, HashSet};

use kube::ResourceExt as _;
use rolectl_crds::{AccountStatus, AwsAccount, DriftPolicy, Reason, Rollout, ShardRollout};
use tokio::time::Instant;

use rolectl_aws::actor::report::{Finding, Goal, Turn};
use rolectl_core::rollout::{
    Command, Completed, Decision, Elsewhere, Phase, Progress, Rolling, Seen, State, Step, Why,
    is_unavailable, report_of, rollout, wave_of,
};

use super::Pass;
use super::assign::Assignments;
use super::entries::Answers;

/// After how many failed sweeps in a row an account that AWS does not serve no longer delays the others.
const PATIENCE: u32 = 1;

/// What this process remembers of the rollout of one generation.
#[derive(Clone, Debug, Default)]
pub struct RolloutMemory {
    /// The generation.
    pub generation: Option<i64>,
    /// The accounts in which it was applied at some time.
    pub applied: HashSet<String>,
    /// The accounts that were told to begin.
    pub begun: HashSet<String>,
    /// When each wave was complete.
    pub completed: Completed,
    /// Accounts wait for others.
    pub is_running: bool,
}

/// What was decided in a pass.
pub(super) struct Rolled {
    decision: Decision,
    accounts: Vec<Progress>,
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
        let mut accounts = vec![];
        for (account, _) in kept {
            let progress = self.progress(account, &answers, &memory);
            if progress.state == State::Done {
                memory.applied.insert(progress.name.clone());
            }
            accounts.push(progress);
        }
        let default = Rollout::default();
        let rolling = Rolling {
            spec: self.role.spec.rollout.as_deref().unwrap_or(&default),
            command: Command::of(self.role),
            accounts: &accounts,
            elsewhere: &self.elsewhere(),
            completed: &memory.completed,
        };
        let decision = rollout(&rolling, Instant::now().into_std());
        let going = decision.steps.iter().filter(|(_, step)| **step == Step::Go);
        memory.begun = going.map(|(name, _)| name.clone()).collect();
        memory.completed.clone_from(&decision.completed);
        memory.is_running = decision.phase != Phase::Done;
        reports.set_rollout(&self.key, Some(memory));
        // A pass decides once.
        let _ = self.rolled.set(Rolled { decision, accounts });
    }

    fn progress(&self, account: &AwsAccount, answers: &Answers, memory: &RolloutMemory) -> Progress {
        let name = account.name_any();
        let generation = self.role.metadata.generation;
        let report = answers
            .get(name.as_str())
            .and_then(|answer| answer.report.as_ref());
        let found = match report.filter(|report| report.generation == generation) {
            Some(report) => match &report.finding {
                Finding::State(state) => Some((state.state, state.message.as_deref().unwrap_or_default())),
                Finding::Waits(_) | Finding::Gone => None,
            },
            // After a restart the status has what was seen last. It can only delay the others.
            None => self
                .prior(&name)
                .filter(|prior| prior.observed_generation == generation)
                .map(|prior| (prior.state, prior.message.as_deref().unwrap_or_default())),
        };
        let is_in_sync = report.is_some_and(|report| {
            report.generation == generation
                && matches!(&report.finding, Finding::State(state) if state.in_sync.is_some())
        });
        let was_in_sync = self
            .prior(&name)
            .is_some_and(|prior| generation.is_some() && prior.last_applied_generation == generation);
        let state = State::of(&Seen {
            is_applied: is_in_sync || was_in_sync || memory.applied.contains(&name),
            has_begun: memory.begun.contains(&name),
            is_unavailable: account.spec.suspend || self.cannot_be_used(&name),
            reported: found,
        });
        Progress {
            wave: wave_of(self.role, account),
            place: account.spec.wave,
            name,
            state,
        }
    }

    /// Returns true if the account as a whole cannot be used, by its actor.
    fn cannot_be_used(&self, account: &str) -> bool {
        let report = self.context.actors.get(account).map(|actor| actor.report());
        report.is_some_and(|report| {
            is_unavailable(report.reason) && (!report.reason.is_reconciling() || report.failures > PATIENCE)
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
        let mut targets: BTreeMap<usize, BTreeMap<u32, u32>> = BTreeMap::new();
        for account in &self.targets {
            let name = account.name_any();
            let number = self.number_of(&name);
            if !self.holds(&name) && !own.contains(&number) && self.context.serves_session_of(&name) {
                let waves = targets.entry(number).or_default();
                *waves.entry(wave_of(self.role, account)).or_default() += 1;
            }
        }
        let parts = || self.role.status.iter().flat_map(|status| &status.shards);
        let of = |(number, waves): (&usize, &BTreeMap<u32, u32>)| {
            let name = shards.part_name(*number);
            let part = parts().find(|part| part.name == name);
            let reported = part.and_then(|part| part.rollout.as_ref());
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
        let accounts = self.rolled.get()?.accounts.iter();
        let of_shard = accounts.filter(|account| self.number_of(&account.name) == number);
        let of_shard: Vec<Progress> = of_shard.cloned().collect();
        Some(report_of(&of_shard, self.role.metadata.generation))
    }

    /// The entry of an account with what it waits for. The account's actor knows nothing of the others.
    pub(super) fn in_turn(&self, mut entry: AccountStatus) -> AccountStatus {
        let waits = matches!(entry.state, Reason::RollingOut | Reason::RolloutStopped);
        if !waits {
            return entry;
        }
        let steps = self.rolled.get().map(|rolled| &rolled.decision.steps);
        let (state, message) = match steps.and_then(|steps| steps.get(&entry.name)) {
            Some(Step::Wait(why @ Why::Stopped)) => (Reason::RolloutStopped, why.to_string()),
            Some(Step::Wait(why)) => (Reason::RollingOut, why.to_string()),
            Some(Step::Go) | None => (Reason::Progressing, "under way".to_owned()),
        };
        entry.state = state;
        entry.message = Some(message);
        entry
    }
}
