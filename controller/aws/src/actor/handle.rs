//! The outside of an actor: its start, its mailbox, and what it has found.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rolectl_core::names::RoleKey;
use rolectl_crds::{AwsAccount, Reason};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Actor;
use super::directory::{Directory, Reporter};
use super::inbox::Inbox;
use super::report::{AccountReport, Assignment};
use crate::account::{Account, AccountEnvironment};
use crate::session::Sessions;

/// What all actors of a process share.
#[derive(Clone)]
pub struct ActorContext {
    /// The objects.
    pub directory: Arc<dyn Directory>,
    /// Who is reported to.
    pub reporter: Arc<dyn Reporter>,
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// How long a principal that AWS does not know may be one that was just made.
    pub principal_patience: Duration,
}

/// The other end of an actor: its mailbox, and what it has found.
pub struct ActorHandle {
    /// Name of the `AwsAccount`.
    pub name: String,
    /// A number that no other actor of this process has. An earlier actor of the same account looked after other roles.
    pub instance: u64,
    /// The mailbox.
    pub inbox: Inbox,
    pub(super) account: RwLock<Arc<Account>>,
    pub(super) report: Mutex<AccountReport>,
    pub(super) stop: CancellationToken,
    /// Cancelled once the actor has ended.
    ended: CancellationToken,
    ended_at: OnceLock<Instant>,
}

/// How long after its end an actor leaves something to the next one: longer than reads can trail writes
/// ([`rolectl_core::snapshot`]).
const REMEMBERED: Duration = Duration::from_mins(2);

/// Marks the actor as ended when it is dropped, however it ended.
struct Ends(Arc<ActorHandle>);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.ended_at.set(Instant::now());
        self.0.ended.cancel();
    }
}

impl ActorHandle {
    /// The account in AWS, with its snapshot.
    pub fn account(&self) -> Arc<Account> {
        self.account.read().clone()
    }

    /// What the actor reported last about the account.
    pub fn report(&self) -> AccountReport {
        self.report.lock().clone()
    }

    /// The actor looks after this role from now on.
    pub fn assign(&self, key: RoleKey, assignment: Assignment) {
        self.inbox.send(|messages| {
            messages.roles.insert(key, Some(assignment));
        });
    }

    /// The actor no longer looks after this role. Nothing is done to it.
    pub fn release(&self, key: RoleKey) {
        self.inbox.send(|messages| {
            messages.roles.insert(key, None);
        });
    }

    /// The account's object or its session may have changed.
    pub fn wake(&self) {
        self.inbox.send(|_| {});
    }

    /// Asks for a sweep soon.
    pub fn want_sweep(&self) {
        self.inbox.send(|messages| messages.wants_sweep = true);
    }

    /// Asks for a sweep on behalf of a user.
    pub fn request_sweep(&self) {
        self.inbox.send(|messages| messages.is_sweep_requested = true);
    }

    /// Returns true while the actor may make calls, or has written so recently that reads may not show it.
    pub(super) fn may_leave_something(&self) -> bool {
        let ended = self.ended_at.get();
        ended.is_none_or(|ended| ended.elapsed() < REMEMBERED)
    }

    /// Ends the actor. No new call begins; calls under way come to their end.
    pub fn stop(&self) {
        self.stop.cancel();
        self.account().retire();
    }
}

/// Starts the actor of an account. `environment` is what the account has from this process, `earlier` the actors that looked
/// after the account before.
pub(super) fn start(
    object: Arc<AwsAccount>,
    environment: AccountEnvironment,
    context: ActorContext,
    earlier: Vec<Arc<ActorHandle>>,
) -> (Arc<ActorHandle>, impl Future<Output = ()> + Send + use<>) {
    static INSTANCES: AtomicU64 = AtomicU64::new(1);
    let name = object.metadata.name.clone().unwrap_or_default();
    let live = Account::new(&name, object.spec.clone(), environment.clone());
    let stop = environment.shutdown.child_token();
    let handle = Arc::new(ActorHandle {
        name,
        instance: INSTANCES.fetch_add(1, Ordering::Relaxed),
        inbox: Inbox::default(),
        account: RwLock::new(live.clone()),
        report: Mutex::new(AccountReport {
            reason: Reason::Progressing,
            message: "reading the account's roles".to_owned(),
            sweep: None,
            failures: 0,
            session: None,
            is_failing: false,
        }),
        stop,
        ended: CancellationToken::new(),
        ended_at: OnceLock::new(),
    });
    let ends = Ends(handle.clone());
    let actor = Actor::new(handle.clone(), object, live, environment, context);
    let run = async move {
        let _ends = ends;
        for earlier in earlier {
            // Its calls may be under way. This waits even if the new actor is stopped already: the next one inherits the earlier writes
            // through it.
            earlier.ended.cancelled().await;
            actor.inherit(&earlier);
        }
        actor.run().await;
    };
    (handle, run)
}
