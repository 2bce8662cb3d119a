//! One actor for each account. It is the only one that reads or writes that account, and it knows nothing of Kubernetes.
//!
//! ```text
//! Inbox (roles to look after, sweeps) -> Actor -> Visit: propose (pure) -> apply
//! Directory (the objects as they are) ---^  |
//!                                           '-> Reporter: RoleReport, AccountReport
//! ```
//!
//! An actor is a task with a mailbox ([`inbox`]). It owns the credentials, the rate and the snapshot of its account
//! ([`crate::account`]), the state of the account ([`account_state`]) and the state of each role in it ([`role_state`]). A visit
//! ([`visit`]) looks at one role: [`propose`] decides what is to be done, and the plan is carried out. A slow account delays nobody
//! but itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, OptionFuture};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use rolectl_core::names::{RoleKey, name_in_aws};
use rolectl_core::removals::{Target, waits_by_status};
use rolectl_crds::{AwsAccount, Ensure, IamRole, Reason};
use tokio::time::Instant;

use crate::account::{Account, AccountEnvironment};
use crate::clock::now;

pub mod account_state;
mod actors;
pub mod carry_out;
pub mod directory;
pub mod gate;
mod handle;
pub mod inbox;
pub mod inputs;
pub mod pause;
pub mod propose;
pub mod report;
pub mod role_state;
mod sweeping;
mod turn;
mod visit;
mod visit_log;

use account_state::Sweeps;
pub use actors::Actors;
pub use handle::{ActorContext, ActorHandle};
use inputs::Inputs;
use propose::SessionView;
use report::{Goal, RoleReport};
use role_state::{RoleState, Slot};
use sweeping::Swept;
use visit::{Visit, Visited, is_out_of_patience};
use visit_log::log_visit;

/// How many roles of an account are worked on at a time. Each takes some ten kilobytes meanwhile.
const VISITS_AT_ONCE: usize = 32;
/// A sweep that is due within this time is waited for: no other is asked for.
const SOON: Duration = Duration::from_secs(10);
/// How often a session that was not looked at yet is asked for.
const PENDING: Duration = Duration::from_secs(2);

/// How urgent a visit is. What somebody has just changed goes before what a sweep has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Changed,
    Found,
}

struct Actor {
    handle: Arc<ActorHandle>,
    object: Arc<AwsAccount>,
    live: Arc<Account>,
    environment: AccountEnvironment,
    context: ActorContext,
    sweeps: Sweeps,
    roles: BTreeMap<RoleKey, Slot>,
    /// The object of the account is missing.
    is_absent: bool,
    /// Roles to visit, the most urgent first.
    queue: BTreeSet<(Urgency, u64, RoleKey)>,
    /// When roles are visited again, if nothing happens before.
    timers: BTreeSet<(Instant, RoleKey)>,
    places: u64,
    seen: Option<Inputs>,
    sweep_number: u64,
}

/// A visit that has ended.
struct Ended {
    key: RoleKey,
    /// The name of the role in AWS.
    name: String,
    revision: u64,
    generation: Option<i64>,
    /// The account that it wrote in.
    live: Arc<Account>,
    visited: Visited,
}

/// A visit under way.
type Visiting = BoxFuture<'static, Ended>;

impl Actor {
    fn new(
        handle: Arc<ActorHandle>,
        object: Arc<AwsAccount>,
        live: Arc<Account>,
        environment: AccountEnvironment,
        context: ActorContext,
    ) -> Self {
        Self {
            handle,
            object,
            live,
            environment,
            context,
            sweeps: Sweeps::default(),
            roles: BTreeMap::new(),
            is_absent: false,
            queue: BTreeSet::new(),
            timers: BTreeSet::new(),
            places: 0,
            seen: None,
            sweep_number: 0,
        }
    }

    /// Copies the recent writes of the previous actor of the account.
    fn inherit(&self, earlier: &ActorHandle) {
        self.live.inherit(&earlier.account());
    }

    async fn run(mut self) {
        let mut visits: FuturesUnordered<Visiting> = FuturesUnordered::new();
        let mut sweep: OptionFuture<BoxFuture<'static, Swept>> = None.into();
        let mut is_sweeping = false;
        let handle = self.handle.clone();
        while !handle.stop.is_cancelled() {
            let session = self.refresh();
            self.take_messages();
            self.queue_what_is_due(Instant::now());
            self.begin_visits(&mut visits, &session);
            if !is_sweeping && let Some(next) = self.begin_sweep(&session) {
                sweep = Some(next).into();
                is_sweeping = true;
            }
            let next = self.next(&session, is_sweeping);
            // In this order, so that a simulation runs the same again. Messages are taken in every pass, whatever ends the wait.
            tokio::select! {
                biased;
                () = handle.stop.cancelled() => break,
                Some(swept) = &mut sweep, if is_sweeping => {
                    is_sweeping = false;
                    sweep = None.into();
                    self.swept(swept);
                }
                Some(ended) = visits.next() => {
                    self.inherit_write(&ended);
                    self.visited(&ended.key, ended.revision, ended.generation, ended.visited);
                }
                () = handle.inbox.changed() => {}
                () = sleep_until(next) => {}
            }
        }
        // What was begun comes to its next safe point, and is reported.
        while let Some(ended) = visits.next().await {
            self.inherit_write(&ended);
            let report = ended.visited.report(ended.revision, ended.generation);
            self.report(&ended.key, report);
        }
    }

    /// Follows the objects: the account, its session, and what its roles depend on.
    fn refresh(&mut self) -> SessionView {
        let found = self.context.directory.account(&self.handle.name);
        // Without its object nobody knows whether the account may still be called. Whoever misses the object ends the actor.
        self.is_absent = found.is_none();
        if let Some(object) = found {
            self.object = object;
        }
        let directory = &*self.context.directory;
        let session = SessionView::of(&self.object, &self.context.sessions, directory, self.live.now());
        self.follow_account();
        if self.object.spec.suspend {
            self.park(Reason::Suspended, "suspended: no call is made in this account");
            return session;
        }
        match &session {
            SessionView::Open(open) => self.sweeps.open(open.number),
            SessionView::Waits => {}
            SessionView::Missing(session) => {
                let message =
                    format!("MfaSession {session} does not exist: create it, or correct spec.sessionRef");
                self.park(Reason::SessionLocked, &message);
            }
            SessionView::Locked(why) => self.park(Reason::SessionLocked, why),
        }
        session
    }

    /// A changed spec is another account; a changed label or session may change what its roles are to be.
    fn follow_account(&mut self) {
        let is_lost = self.live.is_out_of_date() && self.environment.lease_term.lasts();
        if self.live.spec != self.object.spec || is_lost {
            let before = self.live.clone();
            let live = Account::new(
                &self.handle.name,
                self.object.spec.clone(),
                self.environment.clone(),
            );
            live.inherit(&before);
            live.limit_roles(before.role_limit());
            let removals = before.removals.lock().clone();
            if live.is_same_in_aws(&before) {
                *live.removals.lock() = removals;
            }
            *self.handle.account.write() = live.clone();
            self.live = live;
            // A new account knows no role yet: it is swept before anything is decided.
            self.sweeps.reset();
        }
        let session = self.context.directory.session(&self.object.spec.session_ref);
        let now = Inputs::of(&self.object, session.as_deref());
        let before = self.seen.replace(now);
        if before.is_some() && before != self.seen {
            self.recheck_all(Slot::reset);
        }
    }

    /// Nothing may be called. What was known is out of date, and the roles must report so.
    fn park(&mut self, reason: Reason, message: &str) {
        let is_new = self.sweeps.park();
        let changed = {
            let mut report = self.handle.report.lock();
            let changed = (report.reason, report.message.as_str()) != (reason, message);
            report.reason = reason;
            message.clone_into(&mut report.message);
            report.session = None;
            report.failures = 0;
            report.is_failing = false;
            changed
        };
        if is_new {
            self.live.snapshot.lock().invalidate_all();
        }
        if is_new || changed {
            self.recheck_all(Slot::reset);
            self.context.reporter.account(&self.handle.name);
        }
    }

    fn recheck_all(&mut self, recheck: impl Fn(&mut Slot) -> bool) {
        let keys: Vec<RoleKey> = self.roles.keys().cloned().collect();
        for key in keys {
            self.with_slot(&key, Urgency::Found, &recheck);
        }
    }

    /// Changes the state of a role, and queues it for a visit if `change` says so.
    fn with_slot(&mut self, key: &RoleKey, urgency: Urgency, change: impl FnOnce(&mut Slot) -> bool) {
        let Some(slot) = self.roles.get_mut(key) else {
            return;
        };
        let before = slot.due;
        let is_queued = change(slot);
        let now = slot.due;
        if before != now {
            before.map(|due| self.timers.remove(&(due, key.clone())));
            self.timers.extend(now.map(|due| (due, key.clone())));
        }
        if is_queued {
            self.enqueue(key.clone(), urgency);
        }
    }

    /// Returns true if the account is this process's to call.
    fn may_act(&self) -> bool {
        self.live.is_held() && !self.is_absent
    }

    fn enqueue(&mut self, key: RoleKey, urgency: Urgency) {
        self.places += 1;
        self.queue.insert((urgency, self.places, key));
    }

    fn take_messages(&mut self) {
        let messages = self.handle.inbox.take();
        for (key, assignment) in messages.roles {
            let Some(assignment) = assignment else {
                self.live.removals.lock().forget(&key);
                self.release(&key);
                continue;
            };
            self.follow_removals(&key, assignment.goal);
            if self.roles.contains_key(&key) {
                self.with_slot(&key, Urgency::Changed, |slot| slot.assign(assignment));
            } else {
                self.roles.insert(key.clone(), Slot::new(assignment));
                self.enqueue(key, Urgency::Changed);
            }
        }
        if messages.wants_sweep {
            self.sweeps.want();
        }
        if messages.is_sweep_requested {
            self.sweeps.request(Instant::now());
        }
    }

    /// Registers all removals of one batch of messages before the first of them begins, so that their whole number is known then.
    fn follow_removals(&self, key: &RoleKey, goal: Goal) {
        let is_removed = |role: &Arc<IamRole>| goal == Goal::Remove || role.spec.ensure == Ensure::Absent;
        match self.context.directory.role(key).filter(is_removed) {
            Some(role) => {
                let target = Target {
                    name: name_in_aws(&role).to_owned(),
                    owner: self.context.directory.owner_of(&role),
                };
                let mut removals = self.live.removals.lock();
                removals.want(key.clone(), target);
                if waits_by_status(&role, &self.handle.name) {
                    removals.hold(key);
                }
            }
            None => self.live.removals.lock().forget(key),
        }
    }

    /// Nothing is done to the role any more. A visit that is under way comes to its end first.
    fn release(&mut self, key: &RoleKey) {
        let Some(slot) = self.roles.get_mut(key) else {
            return;
        };
        if matches!(slot.state, RoleState::Working { .. }) {
            slot.is_released = true;
            return;
        }
        let due = slot.due;
        self.roles.remove(key);
        due.map(|due| self.timers.remove(&(due, key.clone())));
    }

    fn queue_what_is_due(&mut self, now: Instant) {
        while let Some((due, key)) = self.timers.first().cloned() {
            if due > now {
                return;
            }
            self.timers.pop_first();
            self.with_slot(&key, Urgency::Found, Slot::recheck);
        }
    }

    fn begin_visits(&mut self, visits: &mut FuturesUnordered<Visiting>, session: &SessionView) {
        while visits.len() < VISITS_AT_ONCE
            && self.may_act()
            && let Some((_, _, key)) = self.queue.pop_first()
        {
            let Some(slot) = self
                .roles
                .get_mut(&key)
                .filter(|slot| slot.state == RoleState::Pending)
            else {
                continue;
            };
            // Without its object nothing is known of the role; whoever misses the object releases it.
            let Some(role) = self.context.directory.role(&key) else {
                slot.state = RoleState::Waits;
                continue;
            };
            let (assignment, generation) = (slot.assignment, role.metadata.generation);
            let (paused, unknown_principal) = slot.begin(generation, Instant::now());
            let visit = Visit {
                key: key.clone(),
                assignment,
                role,
                account: self.object.clone(),
                live: self.live.clone(),
                session: session.clone(),
                failure: self.sweeps.failure().cloned(),
                paused,
                is_out_of_patience: is_out_of_patience(unknown_principal, self.context.principal_patience),
                directory: self.context.directory.clone(),
            };
            let (revision, live) = (assignment.revision, self.live.clone());
            let name = name_in_aws(&visit.role).to_owned();
            let ended = async move {
                Ended {
                    key,
                    name,
                    revision,
                    generation,
                    live,
                    visited: visit.run().await,
                }
            };
            visits.push(ended.boxed());
        }
    }

    /// A visit that began before the account's spec changed, or in an earlier lease term, has recorded its writes in the snapshot of that
    /// time.
    fn inherit_write(&mut self, ended: &Ended) {
        if Arc::ptr_eq(&ended.live, &self.live) || !ended.live.is_same_in_aws(&self.live) {
            return;
        }
        let earlier = ended.live.snapshot.lock();
        if self
            .live
            .snapshot
            .lock()
            .inherit_write(&ended.name, &earlier, now())
        {
            self.sweeps.want();
        }
    }

    fn visited(&mut self, key: &RoleKey, revision: u64, generation: Option<i64>, mut visited: Visited) {
        if let Some((session, why)) = visited.refused_session.take() {
            let name = &self.object.spec.session_ref;
            self.context.sessions.reject(name, &session, &why);
            self.context.reporter.session_refused(name);
        }
        if visited.wants_sweep && !self.sweeps.comes_within(Instant::now(), SOON) {
            self.sweeps.want();
        }
        if visited.requests_sweep {
            self.sweeps.request(Instant::now());
        }
        if !visited.done.is_empty() {
            self.recheck_namesakes(key);
        }
        if let Some(slot) = self.roles.get_mut(key) {
            log_visit(key, &self.handle.name, &visited, &mut slot.logged_failure);
        }
        let outcome = visited.outcome.clone();
        self.report(key, visited.report(revision, generation));
        if self.roles.get(key).is_some_and(|slot| slot.is_released) {
            self.roles.remove(key);
            self.live.removals.lock().forget(key);
            return;
        }
        let (now, spread) = (Instant::now(), self.environment.jitter.draw());
        self.with_slot(key, Urgency::Found, |slot| slot.end(outcome, now, spread));
    }

    /// The role in AWS has changed: another object that wants its name may get it now, or no longer.
    fn recheck_namesakes(&mut self, key: &RoleKey) {
        let directory = self.context.directory.clone();
        let Some(role) = directory.role(key) else {
            return;
        };
        for other in directory.namesakes(name_in_aws(&role)) {
            let other = RoleKey::of(&other);
            if other != *key {
                self.with_slot(&other, Urgency::Found, Slot::recheck);
            }
        }
    }

    fn report(&self, key: &RoleKey, report: RoleReport) {
        self.context.reporter.role(&self.handle.name, key, report);
    }

    /// When the actor looks again by itself.
    fn next(&self, session: &SessionView, is_sweeping: bool) -> Option<Instant> {
        // Whoever gets the account back wakes the actor.
        if !self.may_act() {
            return None;
        }
        let now = Instant::now();
        let sweep = match session {
            SessionView::Open(_) if !is_sweeping => self.sweeps.next(now),
            SessionView::Waits => Some(now + PENDING),
            _ => None,
        };
        let timer = self.timers.first().map(|(due, _)| *due);
        sweep.into_iter().chain(timer).min()
    }
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}
