//! One process of the controller: an actor for each account, the session that it has taken up, and its term of the Lease.
//!
//! What the controller does with Kubernetes is done here in its shortest form ([`Replica::pass`]): assign roles to actors, and
//! remove a deleted object once every account that its status mentions has none of its roles.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use rolectl_aws::account::AccountEnvironment;
use rolectl_aws::actor::directory::Reporter;
use rolectl_aws::actor::report::{Assignment, Finding, Goal, RoleReport};
use rolectl_aws::actor::{ActorContext, ActorHandle, start};
use rolectl_aws::api::Aws as _;
use rolectl_aws::clock::{Clock, Jitter};
use rolectl_aws::lease_term::LeaseTerm;
use rolectl_aws::session::{SessionSecret, Sessions};
use rolectl_core::names::{RoleKey, name_in_aws};
use rolectl_crds::Reason;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::aws::client::SimulatedAws;
use crate::aws::world::World;
use crate::cluster::{Cluster, LEASE, Lease, Object, SESSION, TERM, selected};
use crate::rules::is_true;

/// What `rolectl unlock` stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Grows with every change.
    pub version: u64,
    /// The access key id. `None`: there is no Secret.
    pub key: Option<String>,
    /// When the session ends.
    pub expires: jiff::Timestamp,
    /// Work under way on the session before ends.
    pub replace: bool,
}

/// The Secret that was read last.
#[derive(Debug, Default)]
struct TakenUp {
    version: u64,
    fingerprint: [u8; 32],
}

/// What an actor was asked last, and with which revision.
type Sent = (Goal, String, u64);

/// A process.
pub struct Replica {
    /// Its number.
    pub id: usize,
    world: Arc<World>,
    clock: Clock,
    jitter: Jitter,
    sessions: Arc<Sessions>,
    lease_term: LeaseTerm,
    shutdown: CancellationToken,
    in_flight: Arc<Semaphore>,
    actors: Mutex<BTreeMap<String, Arc<ActorHandle>>>,
    reports: Mutex<BTreeMap<(String, RoleKey), RoleReport>>,
    sent: Mutex<BTreeMap<(String, RoleKey), Sent>>,
    revisions: Mutex<u64>,
    taken_up: Mutex<TakenUp>,
    /// What the last pass was based on.
    passed: Mutex<Option<(u64, u64, Option<u64>)>>,
    reported: Mutex<u64>,
    secret: Arc<Mutex<Secret>>,
    gate: Arc<Gate>,
    wake: Notify,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Holds back all tasks of a process that is frozen.
#[derive(Debug, Default)]
struct Gate {
    is_closed: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

struct Gated<F> {
    gate: Arc<Gate>,
    inner: Pin<Box<F>>,
}

impl<F: Future> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.gate.is_closed.load(Ordering::Relaxed) {
            self.gate.wakers.lock().push(context.waker().clone());
            return Poll::Pending;
        }
        self.inner.as_mut().poll(context)
    }
}

/// What actors report is kept until the next report.
struct Reports(Weak<Replica>);

impl Reporter for Reports {
    fn role(&self, account: &str, key: &RoleKey, report: RoleReport) {
        if let Some(replica) = self.0.upgrade() {
            let found = match &report.finding {
                Finding::State(state) => format!("{:?}", state.state),
                other => format!("{other:?}"),
            };
            let (id, done) = (replica.id, report.done.clone());
            if matches!(&report.finding, Finding::State(state) if state.state == Reason::InSync)
                && let Err(lie) = is_true(&replica.world, account, key, report.generation)
            {
                replica
                    .world
                    .broken(format!("{key} in {account} is reported InSync, but {lie}"));
            }
            replica
                .world
                .note(|| format!("replica {id} reports {key} in {account}: {found} {done:?}"));
            replica
                .reports
                .lock()
                .insert((account.to_owned(), key.clone()), report);
            *replica.reported.lock() += 1;
            replica.wake.notify_one();
        }
    }

    fn account(&self, _: &str) {
        if let Some(replica) = self.0.upgrade() {
            *replica.reported.lock() += 1;
            replica.wake.notify_one();
        }
    }

    fn session_refused(&self, _: &str) {
        if let Some(replica) = self.0.upgrade() {
            replica.wake.notify_one();
        }
    }
}

impl Replica {
    /// Starts a process.
    pub fn start(
        id: usize,
        world: &Arc<World>,
        secret: &Arc<Mutex<Secret>>,
        clock: Clock,
        seed: u64,
    ) -> Arc<Self> {
        let replica = Arc::new(Self {
            id,
            world: world.clone(),
            clock,
            jitter: Jitter::seeded(seed),
            sessions: Arc::default(),
            lease_term: LeaseTerm::none(),
            shutdown: CancellationToken::new(),
            in_flight: Arc::new(Semaphore::new(64)),
            actors: Mutex::default(),
            reports: Mutex::default(),
            sent: Mutex::default(),
            revisions: Mutex::default(),
            taken_up: Mutex::default(),
            passed: Mutex::default(),
            reported: Mutex::default(),
            secret: secret.clone(),
            gate: Arc::default(),
            wake: Notify::new(),
            tasks: Mutex::default(),
        });
        let weak = Arc::downgrade(&replica);
        replica.spawn(async move {
            while let Some(replica) = weak.upgrade() {
                replica.renew();
                drop(replica);
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        });
        let weak = Arc::downgrade(&replica);
        replica.spawn(async move {
            while let Some(replica) = weak.upgrade() {
                replica.pass();
                drop(tokio::time::timeout(Duration::from_secs(5), replica.wake.notified()).await);
                drop(replica);
                // What arrives together is looked at together.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        replica
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let gated = Gated {
            gate: self.gate.clone(),
            inner: Box::pin(future),
        };
        self.tasks.lock().push(tokio::spawn(gated));
    }

    /// Ends the process at once. Requests that were sent take effect.
    pub fn kill(&self) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        self.gate.wakers.lock().clear();
    }

    /// Stops all tasks, or lets them go on.
    pub fn freeze(&self, is_frozen: bool) {
        self.gate.is_closed.store(is_frozen, Ordering::Relaxed);
        if !is_frozen {
            for waker in self.gate.wakers.lock().drain(..) {
                waker.wake();
            }
        }
    }

    /// Asks for a sweep of an account.
    pub fn want_sweep(&self, account: &str) {
        if let Some(actor) = self.actors.lock().get(account) {
            actor.want_sweep();
        }
    }

    /// Returns true while the process may call AWS.
    pub fn leads(&self) -> bool {
        self.lease_term.lasts() && !self.gate.is_closed.load(Ordering::Relaxed)
    }

    /// State and message of the last report about a role, if it is about its newest spec.
    pub fn report(&self, account: &str, key: &RoleKey) -> Option<(String, String)> {
        let object = self
            .world
            .cluster
            .with(|objects| objects.roles.get(key).cloned())?;
        let reports = self.reports.lock();
        let report = reports.get(&(account.to_owned(), key.clone()))?;
        match &report.finding {
            Finding::State(state) if report.generation == object.role.metadata.generation => Some((
                format!("{:?}", state.state),
                state.message.clone().unwrap_or_default(),
            )),
            other => Some((
                format!("{other:?}"),
                format!("generation {:?}", report.generation),
            )),
        }
    }

    fn renew(&self) {
        if !self.world.cluster.is_up() {
            return;
        }
        let now = Instant::now();
        let (id, had) = (self.id, self.lease_term.lasts());
        let holds = self.world.cluster.with(|objects| {
            let is_free = objects
                .lease
                .is_none_or(|lease| lease.holder == id || lease.renewed + LEASE < now);
            if is_free {
                objects.lease = Some(Lease {
                    holder: id,
                    renewed: now,
                });
            }
            is_free
        });
        if holds {
            self.lease_term.extend(now + TERM);
            if !had {
                self.actors.lock().values().for_each(|actor| actor.wake());
                self.wake.notify_one();
            }
        }
    }

    /// Follows the Secret: takes a session up, or closes it.
    fn follow_secret(&self) {
        let secret = self.secret.lock().clone();
        let name = SESSION;
        let now = self.clock.now();
        let mut taken_up = self.taken_up.lock();
        let current = self.sessions.current(name);
        let lock = |why: &str| {
            if let Some(open) = &current {
                let credentials = open.session_secret.credentials();
                let session = (self.id, credentials.access_key_id().to_owned());
                self.world.with(|aws| aws.locked.insert(session));
            }
            self.sessions.lock(name, why.to_owned());
            self.actors.lock().values().for_each(|actor| actor.wake());
        };
        if taken_up.version != secret.version {
            taken_up.version = secret.version;
            let Some(key) = &secret.key else {
                return lock("locked");
            };
            let held = SessionSecret {
                access_key_id: key.clone().into(),
                secret_access_key: "secret".to_owned().into(),
                session_token: "token".to_owned().into(),
                expires_at: secret.expires,
                principal_arn: "arn:aws:iam::111111111111:user/op".to_owned(),
                replace: secret.replace,
            };
            taken_up.fingerprint = held.fingerprint();
            let aws = self.aws();
            let sts = aws
                .sts(held.credentials(), "aws", None)
                .expect("the partition is known");
            let principal = held.principal_arn.clone();
            self.sessions.open(name, held, principal, sts, now);
            self.actors.lock().values().for_each(|actor| actor.wake());
            return;
        }
        if let Some(open) = &current {
            if open.expires_at <= now {
                lock("the session has ended");
            } else if let Some(why) = self.sessions.rejection(name, taken_up.fingerprint) {
                lock(&why);
            }
        }
    }

    fn aws(&self) -> Arc<SimulatedAws> {
        Arc::new(SimulatedAws {
            world: self.world.clone(),
            replica: self.id,
            clock: self.clock,
        })
    }

    /// Brings the actors up to date with the objects.
    fn pass(self: &Arc<Self>) {
        self.follow_secret();
        if !self.lease_term.lasts() || !self.world.cluster.is_up() {
            return;
        }
        let now = (
            self.world.cluster.with(|objects| objects.version),
            *self.reported.lock(),
            self.lease_term.term(),
        );
        if self.passed.lock().replace(now) == Some(now) {
            return;
        }
        self.start_actors();
        let cluster = self.world.cluster.clone();
        let objects = cluster.with(|objects| objects.roles.clone());
        for (key, object) in &objects {
            self.assign(key, object);
        }
        let gone: Vec<(String, RoleKey)> = self
            .sent
            .lock()
            .keys()
            .filter(|(_, key)| !objects.contains_key(key))
            .cloned()
            .collect();
        for (account, key) in gone {
            self.release(&account, &key);
        }
    }

    fn release(&self, account: &str, key: &RoleKey) {
        if let Some(actor) = self.actors.lock().get(account) {
            actor.release(key.clone());
        }
        let place = (account.to_owned(), key.clone());
        self.sent.lock().remove(&place);
        self.reports.lock().remove(&place);
    }

    fn start_actors(self: &Arc<Self>) {
        let accounts = self.world.cluster.with(|objects| objects.accounts.clone());
        for (name, object) in accounts {
            if let Some(actor) = self.actors.lock().get(&name) {
                // The watch brings every change of the object.
                if actor.account().spec != object.spec {
                    actor.wake();
                }
                continue;
            }
            let environment = AccountEnvironment {
                aws: self.aws(),
                shutdown: self.shutdown.clone(),
                lease_term: self.lease_term.clone(),
                in_flight: self.in_flight.clone(),
                observer: Arc::new(()),
                clock: self.clock,
                jitter: self.jitter.clone(),
                namespace: "rolectl-system".to_owned(),
                owner_prefix: "c/".to_owned(),
            };
            let context = ActorContext {
                directory: self.world.cluster.clone(),
                reporter: Arc::new(Reports(Arc::downgrade(self))),
                sessions: self.sessions.clone(),
                principal_patience: Duration::from_mins(5),
            };
            let (handle, actor) = start(object, environment, context);
            self.actors.lock().insert(name, handle);
            self.spawn(actor);
        }
    }

    /// Asks the actors for what the object wants. What they are asked depends on the object and on its namesakes.
    fn assign(&self, key: &RoleKey, object: &Object) {
        let cluster = &self.world.cluster;
        let owner = Cluster::owner(&object.role);
        let is_deleted = object.role.metadata.deletion_timestamp.is_some();
        let wanted = cluster.with(|objects| selected(objects, &object.role));
        let namesakes = cluster.wanting(name_in_aws(&object.role));
        let stamp: Vec<String> = namesakes
            .iter()
            .map(|o| format!("{:?} {:?}", o.role.metadata.uid, o.role.metadata.generation))
            .collect();
        let stamp = stamp.join(",");
        let mut is_left = false;
        let actors = self.actors.lock().clone();
        for (name, actor) in &actors {
            let is_wanted = !is_deleted && wanted.contains(name);
            let has_role = actor.account().snapshot.lock().holds(&owner);
            let goal = if is_wanted {
                Goal::Keep
            } else if object.mentioned.contains(name) || has_role {
                Goal::Remove
            } else {
                continue;
            };
            cluster.with(|objects| {
                if let Some(object) = objects.roles.get_mut(key) {
                    object.mentioned.insert(name.clone());
                }
            });
            let revision = self.ask(key, (name, actor), goal, &stamp);
            if goal == Goal::Keep {
                continue;
            }
            let is_gone = self
                .reports
                .lock()
                .get(&(name.clone(), key.clone()))
                .is_some_and(|report| report.revision == revision && report.finding == Finding::Gone);
            if !is_gone || has_role {
                is_left = true;
            } else if !is_deleted {
                self.release(name, key);
                cluster.with(|objects| {
                    if let Some(object) = objects.roles.get_mut(key) {
                        object.mentioned.remove(name);
                    }
                });
            }
        }
        if is_deleted && !is_left {
            cluster.with(|objects| {
                objects.version += 1;
                objects.roles.remove(key)
            });
            for (name, actor) in &actors {
                actor.account().snapshot.lock().end_claims(&owner);
                self.release(name, key);
            }
        }
    }

    /// Asks an actor once. Returns the revision of the question.
    fn ask(&self, key: &RoleKey, (name, actor): (&str, &ActorHandle), goal: Goal, stamp: &str) -> u64 {
        let place = (name.to_owned(), key.clone());
        let mut sent = self.sent.lock();
        if let Some((before, was, revision)) = sent.get(&place)
            && (*before, was.as_str()) == (goal, stamp)
        {
            return *revision;
        }
        let mut revisions = self.revisions.lock();
        *revisions += 1;
        let revision = *revisions;
        sent.insert(place, (goal, stamp.to_owned(), revision));
        actor.assign(
            key.clone(),
            Assignment {
                goal,
                revision,
                is_given_up: false,
            },
        );
        revision
    }
}
