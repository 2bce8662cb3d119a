//! Carries a schedule out. The invariants are checked at each step, and at the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rolectl_aws::clock::{Clock, now};
use rolectl_core::names::RoleKey;
use rolectl_core::snapshot::GRACE;
use rolectl_crds::{Approvals, ApprovalsFor};
use serde_json::json;
use tokio::time::Instant;

use crate::aws::fault::{Fault, FaultProfile, LATEST_EFFECT};
use crate::aws::service::Aws;
use crate::invariants::converged::{End, Reported};
use crate::journal::Violation;
use crate::kubernetes::objects::MAIN_ACCOUNT;
use crate::replica::Replica;
use crate::schedule::{Act, Event, Schedule};
use crate::world::World;

/// After the last fault everything is as declared within this time.
const CONVERGES: Duration = Duration::from_mins(30);
/// A run has converged when everything stays as declared for this time.
const STAYS: Duration = Duration::from_secs(15);
/// After convergence nothing may be written for this time; the accounts are only swept.
const QUIET: Duration = Duration::from_mins(6);
/// Calls of both accounts within [`QUIET`]: a sweep each every five minutes, with a few pages, and the sweeps after a late write.
const QUIET_CALLS: u64 = 60;

/// What a run has shown.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The invariant that was broken, if one was.
    pub violation: Option<Violation>,
    /// Number of calls.
    pub calls: u64,
    /// Number of writes that AWS accepted, including those that changed nothing.
    pub writes: u64,
    /// Time from the end of all faults until everything is as declared.
    pub converged: Duration,
    /// What happened, if it was asked for.
    pub trace: Vec<String>,
}

/// Options of a run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Records what happens.
    pub traces: bool,
    /// Faults of single calls, by the number of the call.
    pub script: BTreeMap<u64, Fault>,
}

/// Carries a schedule out.
///
/// # Panics
/// If the operating system allows no runtime.
pub fn run(schedule: &Schedule, options: &RunOptions) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let runtime = runtime.expect("a runtime can be made");
    let outcome = runtime.block_on(async { Simulation::new(schedule, options).run().await });
    runtime.shutdown_background();
    outcome
}

/// The invariant that a schedule breaks.
pub fn violation(schedule: &Schedule) -> Option<Violation> {
    run(schedule, &RunOptions::default()).violation
}

struct Simulation<'a> {
    schedule: &'a Schedule,
    world: World,
    clock: Clock,
    replicas: Vec<Arc<Replica>>,
    frozen: BTreeMap<usize, Instant>,
    started: usize,
}

impl<'a> Simulation<'a> {
    fn new(schedule: &'a Schedule, options: &RunOptions) -> Self {
        let Schedule {
            seed,
            accounts,
            limits,
            ..
        } = schedule;
        let world = World::new(*seed, *accounts, *limits, options.traces);
        world.service.with(|aws| aws.script.clone_from(&options.script));
        Self {
            schedule,
            world,
            clock: Clock::Runtime {
                began: now(),
                start: "2026-01-01T00:00:00Z".parse().expect("the time is valid"),
            },
            replicas: vec![],
            frozen: BTreeMap::new(),
            started: 0,
        }
    }

    async fn run(mut self) -> Outcome {
        for _ in 0..self.schedule.cache_lags.len() {
            self.start_replica();
        }
        self.act_all(&self.schedule.events).await;
        // What was sent without an answer takes effect meanwhile.
        self.until(Instant::now() + LATEST_EFFECT + GRACE).await;
        self.end_faults();
        let converged = self.converge().await;
        if !self.is_broken() {
            self.world.ledger.converged();
            self.act_all(&self.schedule.afterwards).await;
            self.converge().await;
        }
        if !self.is_broken() {
            self.stay_quiet().await;
        }
        let count = |aws: &mut Aws| (aws.calls, aws.writes, aws.no_op_writes);
        let (calls, writes, no_ops) = self.world.service.with(count);
        if self.schedule.is_calm && no_ops > 0 {
            self.violate("without faults no change is made twice", format!("{no_ops} are"));
        }
        self.replicas.iter().for_each(|replica| replica.crash());
        Outcome {
            violation: self.world.journal.violation(),
            calls,
            writes,
            converged,
            trace: self.world.journal.take_trace(),
        }
    }

    fn is_broken(&self) -> bool {
        self.world.journal.violation().is_some()
    }

    fn violate(&self, invariant: &'static str, message: String) {
        self.world.journal.record(Violation { invariant, message });
    }

    fn start_replica(&mut self) {
        let id = self.started;
        self.started += 1;
        let lags = &self.schedule.cache_lags;
        let lag = lags.get(id % lags.len().max(1)).copied().unwrap_or_default();
        let seed = self.schedule.seed.wrapping_mul(31).wrapping_add(id as u64);
        self.replicas
            .push(Replica::start(id, &self.world, self.clock, seed, lag));
    }

    async fn act_all(&mut self, events: &[Event]) {
        let began = Instant::now();
        for event in events {
            self.until(began + event.at).await;
            if self.is_broken() {
                return;
            }
            self.act(event.act);
        }
    }

    /// Lets time pass. Replicas that crashed are replaced, and frozen ones thaw.
    async fn until(&mut self, end: Instant) {
        loop {
            let crashed = self.world.service.with(|aws| std::mem::take(&mut aws.crashed));
            for id in crashed {
                self.crash(id);
            }
            let now = Instant::now();
            let thawing = self.frozen.iter().filter(|(_, at)| **at <= now);
            let thawing: Vec<usize> = thawing.map(|(id, _)| *id).collect();
            for id in thawing {
                self.thaw(id);
            }
            if now >= end || self.is_broken() {
                return;
            }
            let next = self.frozen.values().copied().chain([end]).min().unwrap_or(end);
            tokio::select! {
                biased;
                () = self.world.journal.changed.notified() => {}
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    fn crash(&mut self, id: usize) {
        let Some(place) = self.replicas.iter().position(|replica| replica.id == id) else {
            return;
        };
        self.world.journal.note(|| format!("replica {id} crashes"));
        self.replicas.remove(place).crash();
        self.frozen.remove(&id);
        self.start_replica();
    }

    fn thaw(&mut self, id: usize) {
        self.frozen.remove(&id);
        if let Some(replica) = self.replicas.iter().find(|replica| replica.id == id) {
            self.world.journal.note(|| format!("replica {id} thaws"));
            replica.thaw();
        }
    }

    fn act(&mut self, act: Act) {
        self.world.journal.note(|| format!("== {act:?}"));
        let World { service, cluster, .. } = &self.world;
        match act {
            Act::Apply { object, spec } => {
                let (key, name) = key_and_name(object);
                cluster.change(|objects| objects.apply(&key, name, spec));
            }
            Act::Delete { object } => cluster.change(|objects| objects.delete(&key_and_name(object).0)),
            Act::ChangeOutside {
                object,
                account,
                change,
            } => {
                let (account, name) = (self.world.account_id(account), key_and_name(object).1);
                let requests = change.requests(&service.state(&account), name);
                service.change_outside(&account, &requests);
            }
            Act::Lock => self.world.session.store(None, self.clock.now(), false),
            Act::Unlock { replace, minutes } => self.unlock(replace, minutes),
            Act::Revoke => {
                let key = self.world.session.read().key;
                service.with(|aws| aws.revoked.extend(key));
            }
            Act::AskForApprovals { account, asks } => cluster.change(|objects| {
                objects.change_account(&format!("a{account}"), |it| {
                    let needed_for = ApprovalsFor::Widening;
                    it.spec.approvals = asks.then_some(Approvals { needed_for });
                });
            }),
            Act::Suspend { account, suspend } => cluster.change(|objects| {
                objects.change_account(&format!("a{account}"), |account| account.spec.suspend = suspend);
            }),
            Act::Admit { account, all } => {
                let allowed = if all {
                    json!({"from": "All"})
                } else {
                    json!({"from": "Names", "names": ["team-b"]})
                };
                let allowed = serde_json::from_value(allowed).expect("the object is valid");
                cluster.change(|objects| {
                    objects.change_account(&format!("a{account}"), |account| {
                        account.spec.allowed_namespaces = allowed;
                    });
                });
            }
            Act::Crash { replica } => {
                if let Some(id) = self.replicas.get(usize::from(replica)).map(|replica| replica.id) {
                    self.crash(id);
                }
            }
            Act::Freeze { replica, seconds } => {
                if let Some(replica) = self.replicas.get(usize::from(replica)) {
                    replica.freeze();
                    let until = Instant::now() + Duration::from_secs(seconds.into());
                    self.frozen.insert(replica.id, until);
                }
            }
            Act::ApiOutage { seconds } => cluster.go_down(Duration::from_secs(seconds.into())),
            Act::Faults(profile) => service.with(|aws| aws.profile = profile),
            Act::Sweep { account } => {
                let name = format!("a{account}");
                self.replicas.iter().for_each(|replica| replica.want_sweep(&name));
            }
            Act::MakePrincipal => service.with(|aws| aws.make_principals()),
        }
    }

    fn unlock(&self, replace: bool, lasts: u16) {
        let lasts = Duration::from_mins(lasts.into());
        let key = self.world.service.with(|aws| aws.issue(MAIN_ACCOUNT, lasts));
        let expires = self.clock.now().saturating_add(lasts);
        self.world
            .session
            .store(Some(key), expires.unwrap_or(jiff::Timestamp::MAX), replace);
    }

    fn end_faults(&mut self) {
        let frozen: Vec<usize> = self.frozen.keys().copied().collect();
        for id in frozen {
            self.thaw(id);
        }
        self.world.journal.note(|| "== no more faults".to_owned());
        self.world.service.with(|aws| {
            aws.profile = FaultProfile::without_faults();
        });
        self.world.cluster.come_up();
        self.unlock(true, 720);
    }

    /// Waits until everything is as declared. Returns how long that took.
    async fn converge(&mut self) -> Duration {
        let began = Instant::now();
        let mut converged = None;
        loop {
            self.until(Instant::now() + Duration::from_secs(5)).await;
            let passed = began.elapsed();
            if self.is_broken() {
                return passed;
            }
            let checked = self.check_end();
            self.world.journal.note(|| format!("converged: {checked:?}"));
            match checked {
                Ok(()) => {
                    let since = *converged.get_or_insert(passed);
                    if passed >= since + STAYS {
                        return since;
                    }
                }
                Err(why) if passed > CONVERGES => {
                    let minutes = passed.as_secs() / 60;
                    self.violate(
                        "everything is as declared at the end",
                        format!("after {minutes} min: {why}"),
                    );
                    return passed;
                }
                Err(_) => converged = None,
            }
        }
    }

    /// Nothing is left to do.
    async fn stay_quiet(&mut self) {
        let count = |world: &World| world.service.with(|aws| (aws.writes, aws.calls));
        let (writes, calls) = count(&self.world);
        self.until(Instant::now() + QUIET).await;
        let (writes_after, calls_after) = count(&self.world);
        if !self.with_end(|end| end.is_refused_by_aws()) {
            let (writes, calls) = (writes_after - writes, calls_after - calls);
            if writes > 0 || calls > QUIET_CALLS {
                self.violate(
                    "nothing is written once everything is as declared",
                    format!("{writes} changes, {calls} calls"),
                );
            }
        }
        if let Err(why) = self.check_end() {
            self.violate("everything stays as declared", why);
        }
    }

    fn with_end<T>(&self, check: impl FnOnce(End<'_>) -> T) -> T {
        let leader = self.replicas.iter().find(|replica| replica.leads());
        let report = |account: &str, key: &RoleKey| -> Option<Reported> { leader?.report(account, key) };
        check(End {
            objects: &self.world.cluster.now(),
            service: &self.world.service,
            ledger: &self.world.ledger,
            report: &report,
        })
    }

    fn check_end(&self) -> Result<(), String> {
        let leader = self.replicas.iter().find(|replica| replica.leads());
        let leader = leader.ok_or("no replica has the Lease")?;
        let cluster = &self.world.cluster;
        if cluster.seen_by(leader.id).version != cluster.now().version {
            return Err("the cache of the leader is behind".to_owned());
        }
        self.with_end(|end| end.check())
    }
}

/// Key and name in AWS of an object by its number. The names of objects 0 and 3 differ in case, which IAM does not see.
fn key_and_name(object: u8) -> (RoleKey, &'static str) {
    match object {
        0 => (RoleKey::new("team-a", "r0"), "r0"),
        1 => (RoleKey::new("team-a", "r1"), "r1"),
        2 => (RoleKey::new("team-b", "r2"), "r2"),
        _ => (RoleKey::new("team-b", "twin"), "R0"),
    }
}
