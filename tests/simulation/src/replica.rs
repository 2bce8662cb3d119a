//! One process of the controller: an actor for each account, the session that it follows, and its term of the Lease.
//!
//! What the controller does with Kubernetes is done here in its shortest form ([`Replica::reconcile`]): assign roles to actors, and
//! remove a deleted object once every account that its status mentions has none of its roles.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use rolectl_aws::account::AccountEnvironment;
use rolectl_aws::actor::directory::Reporter;
use rolectl_aws::actor::report::{Assignment, Finding, Goal, RoleReport, Turn};
use rolectl_aws::actor::{ActorContext, ActorHandle, Actors};
use rolectl_aws::api::Aws as _;
use rolectl_aws::clock::{Clock, Jitter};
use rolectl_aws::lease_term::{EXPIRY, LeaseTerm, TERM};
use rolectl_core::names::RoleKey;
use rolectl_crds::Reason;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::aws::client::SimulatedAws;
use crate::gate::Gate;
use crate::invariants::converged::Reported;
use crate::kubernetes::objects::{CLUSTER, Object};
use crate::kubernetes::view::View;
use crate::session::FollowedSession;
use crate::world::World;

/// How often a replica renews the Lease, or tries to take it.
const RENEW: Duration = Duration::from_secs(2);
/// How often a replica reconciles without a reason.
const RECONCILE: Duration = Duration::from_secs(5);
/// What arrives within this time is reconciled together.
const GATHER: Duration = Duration::from_millis(20);

/// What an actor was asked last, and with which revision.
type Sent = (Goal, String, u64);
/// An account by its name, and an object.
type Place = (String, RoleKey);

/// A process.
pub struct Replica {
    /// Its number.
    pub id: usize,
    world: World,
    clock: Clock,
    jitter: Jitter,
    session: FollowedSession,
    lease_term: LeaseTerm,
    view: Arc<View>,
    in_flight: Arc<Semaphore>,
    actors: Actors,
    reports: Mutex<BTreeMap<Place, RoleReport>>,
    sent: Mutex<BTreeMap<Place, Sent>>,
    revisions: Mutex<u64>,
    /// What the last pass was based on.
    reconciled: Mutex<Option<(u64, u64, Option<u64>)>>,
    reported: Mutex<u64>,
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

/// Where the actors report to. The last report about each role is kept.
struct Reports(Weak<Replica>);

impl Reporter for Reports {
    fn role(&self, account: &str, key: &RoleKey, report: RoleReport) {
        let Some(replica) = self.0.upgrade() else { return };
        let world = &replica.world;
        if state_of(&report) == Some(Reason::InSync) {
            let object = replica
                .view
                .objects()
                .roles
                .get(key)
                .map(|object| object.role.clone());
            let checked = object.map_or(Ok(()), |object| {
                world
                    .invariants
                    .check_in_sync(&world.service, account, &object, report.generation)
            });
            world.journal.check(checked);
        }
        world.journal.note(|| {
            let (id, done) = (replica.id, &report.done);
            format!(
                "replica {id} reports {key} in {account}: {} {done:?}",
                text_of(&report)
            )
        });
        let place = (account.to_owned(), key.clone());
        replica.reports.lock().insert(place, report);
        replica.report_arrived();
    }

    fn account(&self, _: &str) {
        if let Some(replica) = self.0.upgrade() {
            replica.report_arrived();
        }
    }

    fn session_refused(&self, _: &str) {
        if let Some(replica) = self.0.upgrade() {
            replica.wake.notify_one();
        }
    }
}

fn state_of(report: &RoleReport) -> Option<Reason> {
    match &report.finding {
        Finding::State(state) => Some(state.state),
        Finding::Gone | Finding::Waits(_) => None,
    }
}

fn text_of(report: &RoleReport) -> String {
    match &report.finding {
        Finding::State(state) => format!("{:?} {:?}", state.state, state.message),
        other => format!("{other:?}"),
    }
}

impl Replica {
    /// Starts a process whose cache is behind by `cache_lag`.
    pub fn start(id: usize, world: &World, clock: Clock, seed: u64, cache_lag: Duration) -> Arc<Self> {
        world.cluster.connect(id, cache_lag);
        let replica = Arc::new(Self {
            id,
            world: world.clone(),
            clock,
            jitter: Jitter::seeded(seed),
            session: FollowedSession::default(),
            lease_term: LeaseTerm::none(),
            view: Arc::new(View::new(world.cluster.clone(), id)),
            in_flight: Arc::new(Semaphore::new(64)),
            actors: Actors::default(),
            reports: Mutex::default(),
            sent: Mutex::default(),
            revisions: Mutex::default(),
            reconciled: Mutex::default(),
            reported: Mutex::default(),
            gate: Arc::default(),
            wake: Notify::new(),
            tasks: Mutex::default(),
        });
        let weak = Arc::downgrade(&replica);
        replica.spawn(async move {
            while let Some(replica) = weak.upgrade() {
                replica.renew();
                drop(replica);
                tokio::time::sleep(RENEW).await;
            }
        });
        let weak = Arc::downgrade(&replica);
        replica.spawn(async move {
            while let Some(replica) = weak.upgrade() {
                replica.reconcile();
                drop(tokio::time::timeout(RECONCILE, replica.wake.notified()).await);
                drop(replica);
                tokio::time::sleep(GATHER).await;
            }
        });
        let (weak, mut changes) = (Arc::downgrade(&replica), world.cluster.watch());
        replica.spawn(async move {
            while changes.changed().await.is_ok() {
                let Some(replica) = weak.upgrade() else { return };
                let arrives = weak.clone();
                replica.spawn(async move {
                    tokio::time::sleep(cache_lag).await;
                    arrives.upgrade().inspect(|replica| replica.wake.notify_one());
                });
            }
        });
        replica
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task = tokio::spawn(self.gate.guard(task));
        self.tasks.lock().push(task);
    }

    /// Ends the process at once. Requests that were sent take effect.
    pub fn crash(&self) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        self.gate.clear();
    }

    /// Stops all tasks.
    pub fn freeze(&self) {
        self.gate.close();
    }

    /// Lets all tasks continue.
    pub fn thaw(&self) {
        self.gate.open();
    }

    /// Asks for a sweep of an account.
    pub fn want_sweep(&self, account: &str) {
        if let Some(actor) = self.actors.get(account) {
            actor.want_sweep();
        }
    }

    /// Returns true while the process may call AWS.
    pub fn leads(&self) -> bool {
        self.lease_term.lasts() && !self.gate.is_closed()
    }

    /// The last report about a role.
    pub fn report(&self, account: &str, key: &RoleKey) -> Option<Reported> {
        let objects = self.world.cluster.now();
        let generation = objects.roles.get(key)?.role.metadata.generation;
        let reports = self.reports.lock();
        let report = reports.get(&(account.to_owned(), key.clone()))?;
        Some(Reported {
            state: state_of(report).filter(|_| report.generation == generation),
            text: format!("{} (generation {:?})", text_of(report), report.generation),
        })
    }

    fn report_arrived(&self) {
        *self.reported.lock() += 1;
        self.wake.notify_one();
    }

    fn wake_actors(&self) {
        self.actors.all().iter().for_each(|actor| actor.wake());
    }

    fn renew(&self) {
        if !self.world.cluster.is_up() {
            return;
        }
        let (now, had) = (Instant::now(), self.lease_term.lasts());
        let holds = self.world.cluster.renew_lease(self.id, EXPIRY);
        if holds {
            self.lease_term.extend(now + TERM);
            if !had {
                self.wake_actors();
                self.wake.notify_one();
            }
        }
    }

    fn follow_session(&self) {
        let sts = |secret: &rolectl_aws::session::SessionSecret| {
            let sts = self.aws().sts(secret.credentials(), "aws", None);
            sts.expect("the partition exists")
        };
        let to = (self.id, &*self.world.ledger);
        if self
            .session
            .follow(&self.world.session, self.clock.now(), to, sts)
        {
            self.wake_actors();
        }
    }

    fn aws(&self) -> Arc<SimulatedAws> {
        Arc::new(SimulatedAws {
            service: self.world.service.clone(),
            replica: self.id,
            clock: self.clock,
        })
    }

    /// Brings the actors up to date with the objects.
    fn reconcile(self: &Arc<Self>) {
        self.follow_session();
        if !self.lease_term.lasts() {
            self.stop_actors();
            return;
        }
        if !self.world.cluster.is_up() {
            return;
        }
        let objects = self.view.objects();
        let now = (objects.version, *self.reported.lock(), self.lease_term.term());
        if self.reconciled.lock().replace(now) == Some(now) {
            return;
        }
        self.start_actors();
        for (key, object) in &objects.roles {
            self.assign(key, object);
        }
        let sent = self.sent.lock();
        let unknown = sent.keys().filter(|(_, key)| !objects.roles.contains_key(key));
        let unknown: Vec<Place> = unknown.cloned().collect();
        drop(sent);
        for (account, key) in unknown {
            self.release(&account, &key);
        }
    }

    fn release(&self, account: &str, key: &RoleKey) {
        if let Some(actor) = self.actors.get(account) {
            actor.release(key.clone());
        }
        let place = (account.to_owned(), key.clone());
        self.sent.lock().remove(&place);
        self.reports.lock().remove(&place);
    }

    /// The accounts are another replica's now, or nobody's.
    fn stop_actors(&self) {
        for actor in self.actors.all() {
            self.actors.stop(&actor.name);
        }
        self.sent.lock().clear();
        self.reports.lock().clear();
        self.reconciled.lock().take();
    }

    fn start_actors(self: &Arc<Self>) {
        for (name, object) in self.view.objects().accounts.clone() {
            if let Some(actor) = self.actors.get(&name) {
                // The watch brings every change of the object.
                if actor.account().spec != object.spec {
                    actor.wake();
                }
                continue;
            }
            let environment = AccountEnvironment {
                aws: self.aws(),
                shutdown: CancellationToken::new(),
                lease_term: self.lease_term.clone(),
                in_flight: self.in_flight.clone(),
                observer: Arc::new(()),
                clock: self.clock,
                jitter: self.jitter.clone(),
                namespace: "rolectl-system".to_owned(),
                owner_prefix: format!("{CLUSTER}/"),
            };
            let context = ActorContext {
                directory: self.view.clone(),
                reporter: Arc::new(Reports(Arc::downgrade(self))),
                sessions: self.session.sessions.clone(),
                principal_patience: Duration::from_mins(5),
            };
            let (_, actor) = self.actors.start(object, environment, context);
            self.spawn(actor);
        }
    }

    /// Asks the actors for what the object wants, and removes a deleted object that has no role left.
    fn assign(&self, key: &RoleKey, object: &Object) {
        if object.wanted.is_suspended {
            for actor in self.actors.all() {
                self.release(&actor.name, key);
            }
            return;
        }
        let (objects, owner) = (self.view.objects(), object.owner());
        let mut is_left = false;
        for actor in self.actors.all() {
            let name = &actor.name;
            let is_removed = objects.is_removed(object, name);
            let has_role = actor.account().snapshot.lock().has_role_of(&owner);
            let goal = if !is_removed {
                Goal::Keep
            } else if self.is_mentioned(key, name) || has_role {
                Goal::Remove
            } else {
                continue;
            };
            self.mention(key, name, true);
            let revision = self.ask(
                key,
                (name, &actor),
                goal,
                &stamp(&objects.wanting(object.role_name())),
            );
            if goal == Goal::Keep {
                continue;
            }
            let place = (name.clone(), key.clone());
            let is_gone = self
                .reports
                .lock()
                .get(&place)
                .is_some_and(|report| report.revision == revision && report.finding == Finding::Gone);
            if !is_gone || has_role {
                is_left = true;
            } else if !object.is_deleted() {
                self.release(name, key);
                self.mention(key, name, false);
            }
        }
        if object.is_deleted() && !is_left {
            let uid = object.role.metadata.uid.as_deref();
            self.world.cluster.change(|objects| objects.finalize(key, uid));
            for actor in self.actors.all() {
                actor.account().snapshot.lock().end_claims(&owner);
                self.release(&actor.name, key);
            }
        }
    }

    /// The status is written and read without delay: what a process wrote itself it knows.
    fn is_mentioned(&self, key: &RoleKey, account: &str) -> bool {
        let objects = self.world.cluster.now();
        let object = objects.roles.get(key);
        object.is_some_and(|object| object.mentioned.contains(account))
    }

    fn mention(&self, key: &RoleKey, account: &str, is_mentioned: bool) {
        if self.is_mentioned(key, account) == is_mentioned {
            return;
        }
        self.world.cluster.change(|objects| {
            let Some(object) = objects.roles.get_mut(key) else {
                return;
            };
            if is_mentioned {
                object.mentioned.insert(account.to_owned());
            } else {
                object.mentioned.remove(account);
            }
        });
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
        let assignment = Assignment {
            goal,
            revision,
            is_given_up: false,
            turn: Turn::Free,
        };
        actor.assign(key.clone(), assignment);
        revision
    }
}

/// What actors are asked depends on the object and on all that want its name.
fn stamp(namesakes: &[&Object]) -> String {
    let one = |object: &&Object| {
        let metadata = &object.role.metadata;
        format!("{:?} {:?}", metadata.uid, metadata.generation)
    };
    namesakes.iter().map(one).collect::<Vec<_>>().join(",")
}
