//! A simulation of rollouts: accounts that fail, wait for approvals, lock, come and leave; specs that change; replicas that restart.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "clippy does not recognize the helpers of an integration test as test code"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use rolectl_core::rollout::{
    Command, Decision, Elsewhere, Memory, Phase, Progress, Rolling, Sight, Step, Wave, report_of, rollout,
};
use rolectl_crds::{Reason, Rollout, ShardRollout};

const ROUND: Duration = Duration::from_mins(1);
/// The round after which nothing goes wrong any more.
const QUIET: u32 = 40;
const END: u32 = 600;

#[derive(Clone, Debug)]
struct Account {
    /// `spec.wave`, and the wave of the role.
    wave: (u32, u32),
    session: usize,
    /// Rounds that an attempt takes.
    takes: u32,
    /// Rounds that it waits for an approval afterwards.
    held: u32,
    /// Attempts before this round fail.
    fails_until: u32,
    /// It refuses the change without trying it.
    refuses: bool,
    arrives: u32,
    leaves: u32,
}

#[derive(Clone, Debug)]
struct Case {
    accounts: Vec<Account>,
    most: Option<u32>,
    tolerated: u32,
    soak: u32,
    replicas: usize,
    /// Session, first round and number of rounds.
    locks: Vec<(usize, u32, u32)>,
    restarts: BTreeSet<(u32, usize)>,
    generations: BTreeSet<u32>,
}

fn accounts() -> impl Strategy<Value = Account> {
    let fails = prop_oneof![6 => Just(0), 1 => 1..QUIET, 1 => Just(u32::MAX)];
    let held = prop_oneof![4 => Just(0), 1 => 1..8_u32];
    let arrives = prop_oneof![4 => Just(0), 1 => 0..QUIET];
    let leaves = prop_oneof![6 => Just(u32::MAX), 1 => 0..QUIET];
    (
        (0..3_u32, 0..3_u32),
        0..2_usize,
        1..5_u32,
        held,
        fails,
        any::<bool>(),
        arrives,
        leaves,
    )
        .prop_map(
            |(wave, session, takes, held, fails_until, refuses, arrives, leaves)| Account {
                wave,
                session,
                takes,
                held,
                fails_until,
                refuses,
                arrives,
                leaves,
            },
        )
}

fn cases() -> impl Strategy<Value = Case> {
    (
        proptest::collection::vec(accounts(), 1..10),
        proptest::option::of(1..4_u32),
        0..3_u32,
        0..4_u32,
        1..3_usize,
        proptest::collection::vec((0..2_usize, 0..30_u32, 1..10_u32), 0..3),
        proptest::collection::btree_set((0..QUIET, 0..2_usize), 0..4),
        proptest::collection::btree_set(1..QUIET, 0..3),
    )
        .prop_map(
            |(accounts, most, tolerated, soak, replicas, locks, restarts, generations)| Case {
                accounts,
                most,
                tolerated,
                soak,
                replicas,
                locks,
                restarts,
                generations,
            },
        )
}

/// An account as its actor has it.
#[derive(Clone, Debug, Default)]
struct Actor {
    has_turn: bool,
    is_answered: bool,
    /// Since when the change is being made.
    trying: Option<u32>,
    reported: Option<Reason>,
    applied: Option<u32>,
    /// The last attempt failed.
    has_failed: bool,
    has_ever_failed: bool,
    /// When the last attempt ended.
    ended: u32,
}

struct World<'a> {
    case: &'a Case,
    spec: Rollout,
    start: Instant,
    generation: i64,
    actors: Vec<Actor>,
    memories: Vec<Memory>,
    shards: Vec<ShardRollout>,
    phases: Vec<Phase>,
}

fn name(index: usize) -> String {
    format!("{index:02}")
}

impl<'a> World<'a> {
    fn new(case: &'a Case) -> Self {
        let soak = (case.soak > 0).then(|| (ROUND * case.soak).into());
        let spec = Rollout {
            max_concurrent: case.most,
            max_failures: case.tolerated,
            soak,
            ..Rollout::default()
        };
        Self {
            case,
            spec,
            start: Instant::now(),
            generation: 1,
            actors: vec![Actor::default(); case.accounts.len()],
            memories: vec![Memory::default(); case.replicas],
            shards: vec![ShardRollout::default(); case.replicas],
            phases: vec![Phase::Done; case.replicas],
        }
    }

    fn is_here(&self, index: usize, round: u32) -> bool {
        let account = &self.case.accounts[index];
        (account.arrives..account.leaves).contains(&round)
    }

    fn is_locked(&self, index: usize, round: u32) -> bool {
        // A replica knows of another one only that one of its sessions was locked.
        let session = if self.case.replicas > 1 {
            0
        } else {
            self.case.accounts[index].session
        };
        let mut locks = self.case.locks.iter();
        locks.any(|(of, from, rounds)| *of == session && (*from..from + rounds).contains(&round))
    }

    fn wave(&self, index: usize) -> Wave {
        let (account, role) = self.case.accounts[index].wave;
        Wave { account, role }
    }

    fn of_replica(&self, replica: usize, round: u32) -> Vec<usize> {
        let all = 0..self.case.accounts.len();
        all.filter(|index| index % self.case.replicas == replica && self.is_here(*index, round))
            .collect()
    }

    fn faults(&mut self, round: u32) {
        if self.case.generations.contains(&round) {
            self.generation += 1;
            self.actors.fill(Actor::default());
            self.memories.fill(Memory::default());
        }
        for index in 0..self.actors.len() {
            if !self.is_here(index, round) {
                self.actors[index] = Actor::default();
            }
        }
        for replica in 0..self.case.replicas {
            if !self.case.restarts.contains(&(round, replica)) {
                continue;
            }
            self.memories[replica] = Memory::default();
            for index in self.of_replica(replica, round) {
                let actor = &mut self.actors[index];
                // The status has what is done and what has failed.
                let reported = actor.has_failed.then_some(Reason::InvalidSpec);
                *actor = Actor {
                    applied: actor.applied,
                    has_failed: actor.has_failed,
                    has_ever_failed: actor.has_ever_failed,
                    reported,
                    ..Actor::default()
                };
            }
        }
    }

    /// What the actors do in a round.
    fn act(&mut self, round: u32) {
        for index in 0..self.actors.len() {
            if !self.is_here(index, round) {
                continue;
            }
            let is_locked = self.is_locked(index, round);
            let retries_itself = self.case.most.is_none();
            let (account, actor) = (&self.case.accounts[index], &mut self.actors[index]);
            let fails = round < account.fails_until;
            if is_locked {
                actor.trying = None;
                (actor.reported, actor.is_answered) = (Some(Reason::SessionLocked), true);
            } else if actor.applied.is_some() {
                (actor.reported, actor.is_answered) = (Some(Reason::InSync), true);
            } else if !actor.has_turn {
                actor.trying = None;
                let reason = if fails && account.refuses {
                    Reason::InvalidSpec
                } else {
                    Reason::RollingOut
                };
                (actor.reported, actor.is_answered) = (Some(reason), true);
                actor.has_ever_failed |= reason == Reason::InvalidSpec;
            } else if let Some(since) = actor.trying {
                if round < since + account.takes {
                    continue;
                }
                let reason = if fails {
                    (actor.has_failed, actor.has_ever_failed) = (true, true);
                    actor.trying = None;
                    actor.ended = round;
                    Reason::InvalidSpec
                } else if round < since + account.takes + account.held {
                    Reason::AwaitingApproval
                } else {
                    actor.has_failed = false;
                    actor.trying = None;
                    actor.applied = Some(round);
                    Reason::InSync
                };
                (actor.reported, actor.is_answered) = (Some(reason), true);
            } else if !actor.is_answered || (retries_itself && round >= actor.ended + 3) {
                actor.trying = Some(round);
            }
        }
    }

    fn elsewhere(&self, replica: usize, round: u32) -> Vec<Elsewhere> {
        let others = (0..self.case.replicas).filter(|other| *other != replica);
        others
            .map(|other| {
                let of_other = self.of_replica(other, round);
                let mut targets: BTreeMap<Wave, u32> = BTreeMap::new();
                for index in &of_other {
                    *targets.entry(self.wave(*index)).or_default() += 1;
                }
                let report = &self.shards[other];
                let is_over = report.locked && !of_other.iter().any(|index| self.is_locked(*index, round));
                let report = Some(report).filter(|_| !is_over);
                Elsewhere::of(other < replica, report, Some(self.generation), &targets)
            })
            .collect()
    }

    /// A replica decides about its accounts.
    fn decide(&mut self, replica: usize, round: u32) -> Result<(), TestCaseError> {
        let now = self.start + ROUND * round;
        let here = self.of_replica(replica, round);
        let mut progress = vec![];
        for index in &here {
            let actor = &self.actors[*index];
            let is_locked = self.is_locked(*index, round);
            // A session that is open again is known before its accounts say so.
            let reported = actor
                .reported
                .filter(|reason| is_locked || *reason != Reason::SessionLocked);
            let sight = Sight {
                is_applied: actor.applied.is_some(),
                is_unavailable: is_locked,
                is_answered: actor.is_answered,
                reported: reported.map(|reason| (reason, "no such policy")),
            };
            let pause = |attempts: u32| ROUND * 2_u32.pow(attempts.min(4));
            progress.push(Progress {
                name: name(*index),
                wave: self.wave(*index),
                state: self.memories[replica].see(&name(*index), sight, now, pause),
            });
        }
        let completed = self.memories[replica].completed().clone();
        let elsewhere = self.elsewhere(replica, round);
        let rolling = Rolling {
            spec: &self.spec,
            command: Command::None,
            accounts: &progress,
            elsewhere: &elsewhere,
            completed: &completed,
        };
        let decision = rollout(&rolling, now);
        let reversed: Vec<Progress> = progress.iter().rev().cloned().collect();
        let again = rollout(
            &Rolling {
                accounts: &reversed,
                ..rolling
            },
            now,
        );
        prop_assert_eq!(&decision, &again, "the order of the input does not matter");
        self.check_phase(&here, &decision)?;
        for index in &here {
            let has_turn = decision.steps[&name(*index)] == Step::Go;
            let actor = &self.actors[*index];
            let begins = has_turn && !actor.has_turn && actor.applied.is_none();
            if begins && !actor.has_failed {
                self.check_begin(*index, round, &decision)?;
            }
            let actor = &mut self.actors[*index];
            // What was refused counts as failed until an attempt succeeds.
            actor.has_failed |= begins && actor.reported == Some(Reason::InvalidSpec);
            if has_turn != actor.has_turn {
                (actor.has_turn, actor.is_answered) = (has_turn, false);
            }
        }
        let going = decision.steps.iter().filter(|(_, step)| **step == Step::Go);
        let going = going.map(|(name, _)| name.clone()).collect();
        self.memories[replica].decided(going, decision.completed.clone());
        let is_locked = here.iter().any(|index| self.is_locked(*index, round));
        self.shards[replica] = report_of(&progress, &decision.steps, Some(self.generation), is_locked);
        self.phases[replica] = decision.phase;
        Ok(())
    }

    fn check_phase(&self, here: &[usize], decision: &Decision) -> Result<(), TestCaseError> {
        if self.case.replicas > 1 {
            return Ok(());
        }
        let actors = || here.iter().map(|index| &self.actors[*index]);
        let failed_now = actors().filter(|actor| {
            actor.applied.is_none() && (actor.has_failed || actor.reported == Some(Reason::InvalidSpec))
        });
        let failed_here = failed_now.count();
        let tolerated = self.case.tolerated as usize;
        if matches!(decision.phase, Phase::Stopped(_)) {
            prop_assert!(failed_here > tolerated, "stopped after {} failures", failed_here);
        }
        // After a restart, failures in waves that are not reached do not count.
        let counted = actors().filter(|actor| actor.has_turn && actor.reported == Some(Reason::InvalidSpec));
        if decision.phase == Phase::Running {
            let counted = counted.filter(|actor| actor.is_answered).count();
            prop_assert!(counted <= tolerated, "runs after {} failures", counted);
        }
        Ok(())
    }

    /// The change begins in an account that has not failed.
    fn check_begin(&self, index: usize, round: u32, decision: &Decision) -> Result<(), TestCaseError> {
        // One that refuses the change before it has begun counts as failed, and tries again.
        let refuses = self.actors[index].reported == Some(Reason::InvalidSpec);
        prop_assert!(
            refuses || !matches!(decision.phase, Phase::Stopped(_)),
            "{} begins although the rollout has stopped",
            index
        );
        for other in 0..self.case.accounts.len() {
            let (before, wave) = (self.case.accounts[other].wave, self.case.accounts[index].wave);
            if before >= wave || !self.is_here(other, round) || self.is_locked(other, round) {
                continue;
            }
            // Another replica reports what changes in this round after the decision.
            let (arrives, corrected) = (
                self.case.accounts[other].arrives,
                self.case.accounts[other].fails_until,
            );
            let is_reported = other % self.case.replicas == index % self.case.replicas
                || (arrives < round && corrected != round);
            if !is_reported {
                continue;
            }
            let actor = &self.actors[other];
            let refuses = actor.reported == Some(Reason::InvalidSpec);
            prop_assert!(
                actor.applied.is_some() || actor.has_failed || refuses,
                "{} of wave {:?} begins before {} of wave {:?} in round {}",
                index,
                wave,
                other,
                before,
                round
            );
            // A wave whose accounts have failed is complete, too.
            if let Some(at) = actor.applied.filter(|_| !actor.has_ever_failed) {
                prop_assert!(
                    round - at >= self.case.soak,
                    "{} begins too soon after {}",
                    index,
                    other
                );
            }
        }
        Ok(())
    }

    fn check_limit(&self, round: u32) -> Result<(), TestCaseError> {
        let Some(most) = self.case.most else { return Ok(()) };
        let under_way = |index: &usize| {
            let actor = &self.actors[*index];
            let is_ended = actor.is_answered && actor.trying.is_none();
            self.is_here(*index, round)
                && !self.is_locked(*index, round)
                && actor.applied.is_none()
                && (actor.trying.is_some() || (actor.has_turn && !is_ended))
        };
        let count = (0..self.actors.len()).filter(under_way).count();
        prop_assert!(count <= most as usize, "{} under way in round {}", count, round);
        Ok(())
    }

    fn check_end(&self) -> Result<(), TestCaseError> {
        let here = || (0..self.actors.len()).filter(|index| self.is_here(*index, END));
        let broken = here()
            .filter(|index| self.case.accounts[*index].fails_until == u32::MAX)
            .count();
        let done = here()
            .filter(|index| self.actors[*index].applied.is_some())
            .count();
        if broken <= self.case.tolerated as usize {
            prop_assert_eq!(
                done + broken,
                here().count(),
                "all are done, but for those that cannot be"
            );
            prop_assert!(self.phases.iter().all(|phase| *phase == Phase::Done));
        } else {
            prop_assert!(
                self.phases.iter().all(|phase| *phase != Phase::Running),
                "{:?}",
                self.phases
            );
        }
        Ok(())
    }
}

fn run(case: &Case) -> Result<(), TestCaseError> {
    let mut world = World::new(case);
    for round in 0..END {
        world.faults(round);
        world.act(round);
        for replica in 0..case.replicas {
            world.decide(replica, round)?;
        }
        world.check_limit(round)?;
    }
    world.check_end()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rollout_keeps_its_order_and_its_limits_and_ends(case in cases()) {
        run(&case)?;
    }
}
