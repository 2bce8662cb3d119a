//! Carries a schedule out, and checks the rules at each step and at the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rolectl_aws::clock::{Clock, now};
use rolectl_core::names::RoleKey;
use rolectl_crds::OWNER_TAG;
use serde_json::json;
use tokio::time::Instant;

use crate::aws::fault::Weather;
use crate::aws::iam::{Role, Write};
use crate::aws::world::World;
use crate::cluster::account_id;
use crate::replica::{Replica, Secret};
use crate::rules::is_settled;
use crate::schedule::{Act, Deed, Schedule};
use crate::spec::{MANAGED, PRINCIPALS, UNKNOWN_PRINCIPAL, Wanted, inline_document, policy_arn, trust};

/// After the last fault everything is right within this time.
const SETTLES: Duration = Duration::from_mins(30);
/// For so long nothing is written afterwards.
const REST: Duration = Duration::from_mins(6);

/// What a run has shown.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The rule that was broken, if one was.
    pub violation: Option<String>,
    /// Number of calls.
    pub calls: u64,
    /// Number of calls that changed something.
    pub writes: u64,
    /// From the last event until everything was right.
    pub settled: Duration,
    /// What happened, if it was asked for.
    pub trace: Vec<String>,
    /// Number of events that were carried out.
    pub events: u64,
}

/// How a run is watched.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Notes what happens.
    pub traces: bool,
    /// Faults of single calls, by the number of the call.
    pub script: BTreeMap<u64, crate::aws::fault::Fault>,
}

/// Carries a schedule out.
pub fn run(schedule: &Schedule, watch: &Watch) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let runtime = runtime.expect("a runtime can be made");
    let outcome = runtime.block_on(Simulation::run(schedule, watch));
    runtime.shutdown_background();
    outcome
}

struct Simulation {
    world: Arc<World>,
    secret: Arc<Mutex<Secret>>,
    clock: Clock,
    replicas: Vec<Arc<Replica>>,
    frozen: BTreeMap<usize, Instant>,
    started: usize,
    seed: u64,
}

impl Simulation {
    async fn run(schedule: &Schedule, watch: &Watch) -> Outcome {
        let world = World::new(schedule.seed, watch.traces);
        world.with(|aws| {
            aws.script.clone_from(&watch.script);
            for iam in aws.accounts.values_mut() {
                iam.unknown_principals.insert(UNKNOWN_PRINCIPAL.to_owned());
            }
        });
        let clock = Clock::Runtime {
            began: now(),
            start: "2026-01-01T00:00:00Z".parse().expect("the time is valid"),
        };
        let secret = Secret {
            version: 0,
            key: None,
            expires: clock.now(),
            replace: false,
        };
        let mut simulation = Self {
            world,
            secret: Arc::new(Mutex::new(secret)),
            clock,
            replicas: vec![],
            frozen: BTreeMap::new(),
            started: 0,
            seed: schedule.seed,
        };
        for _ in 0..schedule.replicas {
            simulation.start_replica();
        }
        let began = Instant::now();
        for event in &schedule.events {
            simulation.until(began + event.at).await;
            if simulation.is_broken() {
                break;
            }
            simulation.act(event.act);
        }
        simulation.until(Instant::now() + Duration::from_secs(20)).await;
        let settled = simulation.settle().await;
        let repeated = simulation.world.with(|aws| aws.repeated);
        if schedule.is_calm && repeated > 0 {
            simulation.world.broken(format!(
                "{repeated} changes were made although they changed nothing"
            ));
        }
        let aws = &simulation.world;
        let outcome = aws.with(|aws| Outcome {
            violation: aws.violation.clone(),
            calls: aws.calls,
            writes: aws.writes,
            settled,
            trace: aws.trace.take().unwrap_or_default(),
            events: schedule.events.len() as u64,
        });
        simulation.replicas.iter().for_each(|replica| replica.kill());
        outcome
    }

    fn is_broken(&self) -> bool {
        self.world.with(|aws| aws.violation.is_some())
    }

    fn start_replica(&mut self) {
        let id = self.started;
        self.started += 1;
        let seed = self.seed.wrapping_mul(31).wrapping_add(id as u64);
        self.replicas
            .push(Replica::start(id, &self.world, &self.secret, self.clock, seed));
    }

    /// Lets time pass. Killed replicas are replaced and frozen ones go on.
    async fn until(&mut self, end: Instant) {
        loop {
            let killed = self.world.with(|aws| std::mem::take(&mut aws.killed));
            for id in killed {
                self.kill(id);
            }
            let now = Instant::now();
            let thawing: Vec<usize> = self
                .frozen
                .iter()
                .filter(|(_, at)| **at <= now)
                .map(|(id, _)| *id)
                .collect();
            for id in thawing {
                self.thaw(id);
            }
            if now >= end || self.is_broken() {
                return;
            }
            let next = self.frozen.values().copied().chain([end]).min().unwrap_or(end);
            tokio::select! {
                biased;
                () = self.world.changed.notified() => {}
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    fn kill(&mut self, id: usize) {
        let Some(place) = self.replicas.iter().position(|replica| replica.id == id) else {
            return;
        };
        self.world.note(|| format!("replica {id} is killed"));
        self.replicas.remove(place).kill();
        self.frozen.remove(&id);
        self.start_replica();
    }

    fn thaw(&mut self, id: usize) {
        self.frozen.remove(&id);
        if let Some(replica) = self.replicas.iter().find(|replica| replica.id == id) {
            self.world.note(|| format!("replica {id} goes on"));
            replica.freeze(false);
        }
    }

    fn act(&mut self, act: Act) {
        self.world.note(|| format!("== {act:?}"));
        let cluster = &self.world.cluster;
        match act {
            Act::Apply(n, spec) => {
                let (key, name) = object(n);
                cluster.with(|objects| objects.apply(&key, name, spec));
            }
            Act::Delete(n) => cluster.with(|objects| objects.delete(&object(n).0)),
            Act::Outsider(n, account, deed) => {
                let (account, name) = (account_id(account.into()), object(n).1);
                let writes = deeds(&self.world, &account, name, deed);
                self.world.outsider(&account, &writes);
            }
            Act::Lock => self.store(None, 0, false),
            Act::Unlock { replace, minutes } => self.unlock(replace, minutes),
            Act::Revoke => {
                let key = self.secret.lock().key.clone();
                self.world.with(|aws| aws.revoked.extend(key));
            }
            Act::Suspend(n, suspend) => {
                cluster.with(|objects| {
                    objects.change_account(n.into(), |account| account.spec.suspend = suspend)
                });
            }
            Act::Admit(n, all) => {
                let allowed = if all {
                    json!({"from": "All"})
                } else {
                    json!({"from": "Names", "names": ["team-b"]})
                };
                let allowed = serde_json::from_value(allowed).expect("the object is valid");
                cluster.with(|objects| {
                    objects.change_account(n.into(), |account| account.spec.allowed_namespaces = allowed);
                });
            }
            Act::Kill(n) => {
                if let Some(id) = self.replicas.get(usize::from(n)).map(|replica| replica.id) {
                    self.kill(id);
                }
            }
            Act::Freeze(n, seconds) => {
                if let Some(replica) = self.replicas.get(usize::from(n)) {
                    replica.freeze(true);
                    self.frozen
                        .insert(replica.id, Instant::now() + Duration::from_secs(seconds.into()));
                }
            }
            Act::ApiDown(seconds) => {
                let until = Instant::now() + Duration::from_secs(seconds.into());
                cluster.with(|objects| objects.down_until = Some(until));
            }
            Act::Weather(weather) => self.world.with(|aws| aws.weather = weather),
            Act::Sweep(n) => self
                .replicas
                .iter()
                .for_each(|replica| replica.want_sweep(&format!("a{n}"))),
            Act::MakePrincipal => self.world.with(|aws| {
                aws.accounts
                    .values_mut()
                    .for_each(|iam| iam.unknown_principals.clear());
            }),
        }
    }

    fn store(&self, key: Option<String>, minutes: u16, replace: bool) {
        let mut secret = self.secret.lock();
        let lasts = Duration::from_secs(60 * u64::from(minutes));
        let expires = self
            .clock
            .now()
            .saturating_add(lasts)
            .unwrap_or(jiff::Timestamp::MAX);
        *secret = Secret {
            version: secret.version + 1,
            key,
            expires,
            replace,
        };
    }

    fn unlock(&self, replace: bool, minutes: u16) {
        let lasts = Duration::from_secs(60 * u64::from(minutes));
        let key = self.world.with(|aws| aws.issue(None, "111111111111", lasts));
        self.store(Some(key), minutes, replace);
    }

    /// Ends all faults, and waits until everything is right.
    async fn settle(&mut self) -> Duration {
        let frozen: Vec<usize> = self.frozen.keys().copied().collect();
        for id in frozen {
            self.thaw(id);
        }
        self.world.note(|| "== no more faults".to_owned());
        self.world.with(|aws| {
            let latency = Duration::from_millis(30);
            aws.weather = Weather {
                latency,
                ..Weather::default()
            };
        });
        self.world.cluster.with(|objects| objects.down_until = None);
        self.unlock(true, 720);
        let began = Instant::now();
        let mut settled = Duration::ZERO;
        loop {
            self.until(Instant::now() + Duration::from_secs(5)).await;
            let passed = began.elapsed();
            if self.is_broken() {
                return passed;
            }
            let state = self.is_settled();
            self.world.note(|| format!("settled: {state:?}"));
            match state {
                Ok(()) if settled == Duration::ZERO => settled = passed,
                Ok(()) if passed > settled + Duration::from_secs(15) => break,
                Ok(()) => {}
                Err(why) if passed > SETTLES => {
                    self.world
                        .broken(format!("not right after {} min: {why}", passed.as_secs() / 60));
                    return passed;
                }
                Err(_) => settled = Duration::ZERO,
            }
        }
        let writes = self.world.with(|aws| aws.writes);
        self.until(Instant::now() + REST).await;
        let after = self.world.with(|aws| aws.writes);
        // A role that waits for a principal is tried again and again.
        let waits = self
            .world
            .cluster
            .with(|objects| objects.roles.values().any(|o| Wanted::of(&o.role).is_waiting));
        if after > writes && !waits {
            self.world.broken(format!("{} changes at rest", after - writes));
        }
        if let Err(why) = self.is_settled() {
            self.world.broken(format!("not right any more at rest: {why}"));
        }
        settled
    }

    fn is_settled(&self) -> Result<(), String> {
        let leader = self
            .replicas
            .iter()
            .find(|replica| replica.leads())
            .ok_or("nobody has the Lease")?;
        is_settled(&self.world, |account, key| leader.report(account, key))
    }
}

/// Key and name in AWS of an object by its number.
fn object(n: u8) -> (RoleKey, &'static str) {
    match n {
        0 => (RoleKey::new("team-a", "r0"), "r0"),
        1 => (RoleKey::new("team-a", "r1"), "r1"),
        2 => (RoleKey::new("team-b", "r2"), "r2"),
        _ => (RoleKey::new("team-b", "twin"), "r0"),
    }
}

/// The requests of an outsider. There are none where the deed does not fit.
fn deeds(world: &World, account: &str, name: &str, deed: Deed) -> Vec<Write> {
    let own = name.to_owned();
    let there = world.role(account, name);
    let foreign = || {
        Write::CreateRole(Box::new(Role {
            name: own.clone(),
            path: "/".to_owned(),
            trust: trust(&[PRINCIPALS[0]]).to_string(),
            max_session_duration: 3600,
            ..Role::default()
        }))
    };
    let Some(role) = there else {
        return match deed {
            Deed::Create => vec![foreign()],
            Deed::CreateProfile => vec![Write::CreateProfile(own, BTreeMap::new())],
            _ => vec![],
        };
    };
    let removal = || {
        let profiles = world.with(|aws| aws.iam(account).now().profiles_of(name));
        let mut all: Vec<Write> = profiles
            .into_iter()
            .map(|profile| Write::RemoveFromProfile(profile, own.clone()))
            .collect();
        all.extend(
            role.managed
                .iter()
                .map(|arn| Write::Detach(own.clone(), arn.clone())),
        );
        all.extend(
            role.inline
                .keys()
                .map(|policy| Write::DeleteInline(own.clone(), policy.clone())),
        );
        all.push(Write::DeleteRole(own.clone()));
        all
    };
    match deed {
        Deed::Attach(n) => vec![Write::Attach(own, policy_arn(MANAGED[usize::from(n)]))],
        Deed::Detach => role
            .managed
            .iter()
            .map(|arn| Write::Detach(own.clone(), arn.clone()))
            .collect(),
        Deed::Allow => {
            vec![Write::PutInline(
                own,
                "extra".to_owned(),
                inline_document("Allow", "iam:*").to_string(),
            )]
        }
        Deed::Quarantine => {
            vec![Write::PutInline(
                own,
                "quarantine".to_owned(),
                inline_document("Deny", "*").to_string(),
            )]
        }
        Deed::Bound => vec![Write::PutBoundary(own, policy_arn("ViewOnlyAccess"))],
        Deed::Trust(n) => vec![Write::UpdateTrust(
            own,
            trust(&[PRINCIPALS[usize::from(n)]]).to_string(),
        )],
        Deed::Untag => vec![Write::Untag(own, [OWNER_TAG.to_owned()].into())],
        Deed::Claim => {
            let tag = (OWNER_TAG.to_owned(), "other/team/role".to_owned());
            vec![Write::Tag(own, [tag].into())]
        }
        Deed::Delete => removal(),
        Deed::Replace => removal().into_iter().chain([foreign()]).collect(),
        Deed::Unlink => {
            let profiles = world.with(|aws| aws.iam(account).now().profiles_of(name));
            profiles
                .into_iter()
                .map(|profile| Write::RemoveFromProfile(profile, own.clone()))
                .collect()
        }
        Deed::Create | Deed::CreateProfile => vec![],
    }
}

/// Leaves out every event without which the same rule is broken.
pub fn shrink(schedule: &Schedule) -> Schedule {
    let fails = |schedule: &Schedule| run(schedule, &Watch::default()).violation.is_some();
    let mut smallest = schedule.clone();
    let mut place = smallest.events.len();
    while place > 0 {
        place -= 1;
        let mut smaller = smallest.clone();
        smaller.events.remove(place);
        if fails(&smaller) {
            smallest = smaller;
        }
    }
    smallest
}
