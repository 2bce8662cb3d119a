//! Simulates replicas that acquire, renew and release the Leases of shards, on paused time. The API server fails, replicas freeze and
//! crash, and Leases are deleted, all drawn from a seed.

use std::collections::BTreeMap;
use std::time::Duration;

use ::simulation::gate::Gate;
use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;
use kube::core::Status;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;

use super::*;

/// The API server's Leases.
struct Server {
    leases: Mutex<BTreeMap<String, Lease>>,
    versions: Mutex<u64>,
    /// When each Lease was created.
    created: Mutex<BTreeMap<String, Instant>>,
    rng: Mutex<StdRng>,
    /// One request in so many fails. 0: none.
    fails_one_in: Mutex<u32>,
    down_until: Mutex<Option<Instant>>,
}

fn error(code: u16, reason: &str) -> kube::Error {
    kube::Error::Api(Box::new(Status::failure(reason, reason).with_code(code)))
}

impl Server {
    fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            leases: Mutex::default(),
            versions: Mutex::default(),
            created: Mutex::default(),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            fails_one_in: Mutex::new(0),
            down_until: Mutex::default(),
        })
    }

    fn draw(&self, most: u32) -> u32 {
        self.rng.lock().random_range(0..most.max(1))
    }

    /// Carries a request out, late or with a lost answer.
    async fn serve<T>(
        &self,
        request: impl FnOnce(&mut BTreeMap<String, Lease>) -> kube::Result<T> + Send,
    ) -> kube::Result<T> {
        let fails_one_in = *self.fails_one_in.lock();
        let fails = fails_one_in > 0 && self.draw(fails_one_in) == 0;
        let longest = if fails_one_in > 0 { 3000 } else { 20 };
        tokio::time::sleep(Duration::from_millis(self.draw(longest).into())).await;
        if self.down_until.lock().is_some_and(|until| Instant::now() < until) {
            return Err(error(503, "ServiceUnavailable"));
        }
        if fails && self.draw(2) == 0 {
            return Err(error(500, "InternalError"));
        }
        let answer = request(&mut self.leases.lock());
        tokio::time::sleep(Duration::from_millis(self.draw(longest).into())).await;
        if fails {
            return Err(error(504, "Timeout"));
        }
        answer
    }

    fn store(&self, leases: &mut BTreeMap<String, Lease>, lease: &Lease) -> Lease {
        let mut version = self.versions.lock();
        *version += 1;
        let mut lease = lease.clone();
        lease.metadata.resource_version = Some(version.to_string());
        leases.insert(lease.name_any(), lease.clone());
        lease
    }
}

#[async_trait]
impl LeaseApi for Server {
    async fn list(&self) -> kube::Result<Vec<Lease>> {
        self.serve(|leases| Ok(leases.values().cloned().collect())).await
    }

    async fn get(&self, name: &str) -> kube::Result<Option<Lease>> {
        self.serve(|leases| Ok(leases.get(name).cloned())).await
    }

    async fn create(&self, lease: &Lease) -> kube::Result<Lease> {
        self.serve(|leases| {
            if leases.contains_key(&lease.name_any()) {
                return Err(error(409, "AlreadyExists"));
            }
            self.created.lock().insert(lease.name_any(), Instant::now());
            Ok(self.store(leases, lease))
        })
        .await
    }

    async fn replace(&self, lease: &Lease) -> kube::Result<Lease> {
        self.serve(|leases| {
            let there = leases
                .get(&lease.name_any())
                .ok_or_else(|| error(404, "NotFound"))?;
            if there.metadata.resource_version != lease.metadata.resource_version {
                return Err(error(409, "Conflict"));
            }
            Ok(self.store(leases, lease))
        })
        .await
    }

    async fn delete(&self, name: &str) -> kube::Result<()> {
        self.serve(|leases| {
            leases
                .remove(name)
                .map(drop)
                .ok_or_else(|| error(404, "NotFound"))
        })
        .await
    }
}

/// A replica.
struct Replica {
    shards: Arc<Shards>,
    gate: Arc<Gate>,
    frozen_until: Option<Instant>,
    task: tokio::task::JoinHandle<()>,
}

impl Replica {
    fn start(server: &Arc<Server>, count: u16, name: String) -> Self {
        let shards = Arc::new(Shards::new(count, "rolectl", name));
        let gate = Arc::<Gate>::default();
        let (shutdown, stop) = (CancellationToken::new(), CancellationToken::new());
        let run = shards.clone().run(server.clone(), shutdown, stop, || {});
        let task = tokio::spawn(gate.guard(run));
        Self {
            shards,
            gate,
            frozen_until: None,
            task,
        }
    }

    fn holds(&self, shard: usize) -> bool {
        self.shards.terms.get(shard).is_some_and(LeaseTerm::lasts)
    }
}

/// Time between two checks. It is shorter than the pause between two holders of a shard.
const STEP: Duration = Duration::from_millis(100);
/// Within this time after the last failure every shard has a holder, and the replicas have equal parts, give or take one.
const CONVERGES: Duration = Duration::from_mins(2);

struct Run {
    server: Arc<Server>,
    rng: StdRng,
    count: u16,
    replicas: Vec<Replica>,
    started: u32,
    /// When each shard was last held, and by which replica.
    held: Vec<Option<(String, Instant)>>,
}

impl Run {
    fn start_replica(&mut self) {
        let name = format!("replica-{}", self.started);
        self.started += 1;
        self.replicas.push(Replica::start(&self.server, self.count, name));
    }

    /// Checks that a shard has one holder, and that a new holder begins only after every call of the last one has timed out.
    fn check(&mut self) {
        let now = Instant::now();
        for (shard, held) in self.held.iter_mut().enumerate() {
            let holders = self.replicas.iter().filter(|replica| replica.holds(shard));
            let holders: Vec<&String> = holders.map(|replica| &replica.shards.me).collect();
            assert!(holders.len() <= 1, "shard {shard} has the holders {holders:?}");
            let Some(holder) = holders.first() else { continue };
            if let Some((before, at)) = held.as_ref().filter(|(before, _)| before != *holder) {
                let pause = now - *at;
                assert!(
                    pause + STEP >= ANSWER_TIMEOUT,
                    "{holder} holds shard {shard} {pause:?} after {before}"
                );
            }
            *held = Some(((*holder).clone(), now));
        }
    }

    fn fail_somehow(&mut self) {
        let which = self.rng.random_range(0..self.replicas.len());
        let seconds = Duration::from_secs(self.rng.random_range(1..40));
        match self.rng.random_range(0..7) {
            0 => {
                self.replicas.remove(which).task.abort();
                self.start_replica();
            }
            1 | 2 => {
                let replica = &mut self.replicas[which];
                replica.gate.close();
                replica.frozen_until = Some(Instant::now() + seconds);
            }
            3 => *self.server.down_until.lock() = Some(Instant::now() + seconds),
            4 => *self.server.fails_one_in.lock() = [0, 2, 5][self.rng.random_range(0..3)],
            5 => self.delete_a_lease(),
            _ if self.replicas.len() < 4 => self.start_replica(),
            _ => {}
        }
    }

    /// Somebody deletes a Lease that every replica has seen. One that no other replica has seen yet has no protection.
    fn delete_a_lease(&mut self) {
        let is_well = *self.server.fails_one_in.lock() == 0
            && self
                .server
                .down_until
                .lock()
                .is_none_or(|until| until < Instant::now());
        let is_seen = |created: &Instant| created.elapsed() > 3 * TICK;
        let created = self.server.created.lock();
        let seen = created.iter().filter(|(_, created)| is_seen(created));
        let seen: Vec<String> = seen.map(|(name, _)| name.clone()).collect();
        drop(created);
        if is_well && !seen.is_empty() && self.replicas.iter().all(|it| it.frozen_until.is_none()) {
            let name = &seen[self.rng.random_range(0..seen.len())];
            self.server.leases.lock().remove(name);
        }
    }

    async fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            tokio::time::sleep(STEP).await;
            for replica in &mut self.replicas {
                if replica
                    .frozen_until
                    .take_if(|until| *until <= Instant::now())
                    .is_some()
                {
                    replica.gate.open();
                }
            }
            self.check();
        }
    }

    fn end_failures(&mut self) {
        *self.server.fails_one_in.lock() = 0;
        *self.server.down_until.lock() = None;
        for replica in &mut self.replicas {
            replica.frozen_until = None;
            replica.gate.open();
        }
    }

    fn check_divided(&self) {
        let parts = self.replicas.iter().map(|replica| {
            let shards = 0..usize::from(self.count);
            shards.filter(|shard| replica.holds(*shard)).count()
        });
        let parts: Vec<usize> = parts.collect();
        assert_eq!(parts.iter().sum::<usize>(), usize::from(self.count), "{parts:?}");
        let (most, least) = (parts.iter().max(), parts.iter().min());
        assert!(
            most.zip(least).is_some_and(|(most, least)| most - least <= 1),
            "{parts:?}"
        );
    }
}

async fn run(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (count, replicas) = (rng.random_range(1..6), rng.random_range(1..4));
    let mut run = Run {
        server: Server::new(seed),
        rng,
        count,
        replicas: vec![],
        started: 0,
        held: vec![None; count.into()],
    };
    for _ in 0..replicas {
        run.start_replica();
    }
    for _ in 0..run.rng.random_range(5..20) {
        let time = Duration::from_millis(run.rng.random_range(100..20_000));
        run.pass(time).await;
        run.fail_somehow();
    }
    run.end_failures();
    run.pass(CONVERGES).await;
    run.check_divided();
    for replica in run.replicas {
        replica.task.abort();
    }
}

#[test]
fn no_shard_ever_has_two_holders_and_after_every_failure_each_shard_has_one() {
    for seed in 0..300 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(run(seed))));
        assert!(ran.is_ok(), "seed {seed}");
    }
}
