//! `IamRole`: assigns the role to the actors of its accounts, and writes what they report into its status.
//!
//! ```text
//! assign (which accounts, with which goal) -> rolling (in which of them now) -> actors
//! reports -> entries -> status -> write; events
//! finalize: the deletion of the object        leftover: an object that went without its finalizer
//! ```

use std::collections::{HashMap, HashSet};
use std::hash::{Hash as _, Hasher as _};
use std::mem;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use litemap::LiteMap;
use rolectl_crds::{AccountStatus, AwsAccount, FINALIZER, IamRole, RECONCILE_ANNOTATION, Reason};
use tokio::time::Instant;

use rolectl_aws::actor::report::Goal;
use rolectl_core::names::{RoleKey, full_name, name_in_aws};
use rolectl_core::rollout::wave_error;
use rolectl_core::selection::{may_admit, selector_error, targets};

use super::shards::HeldShards;
use super::{Error, Shared, pauses};

mod assign;
mod entries;
mod finalize;
mod leftover;
pub mod reports;
pub mod rolling;
mod write;

use assign::Assignments;
pub use leftover::{gone, went_without_finalizer};
use rolling::Rolled;

/// How soon a role is looked at again whose newest status is not in the cache yet.
const CACHE_LAG: Duration = Duration::from_millis(100);
/// How often a role in accounts that do not exist is looked at again. A new account wakes it.
const STALLED_RETRY: Duration = Duration::from_mins(5);

/// Assigns the role to its accounts, and reports what they say.
pub async fn reconcile(role: Arc<IamRole>, context: Shared) -> Result<Action, Error> {
    if !context.ready().await {
        return Ok(Action::await_change());
    }
    let pass = Pass::new(&role, &context);
    if !pass.part.holds_any() {
        pass.release_all();
        return Ok(Action::await_change());
    }
    context.reports.begin(&pass.key, role.metadata.uid.as_deref());
    if role.metadata.deletion_timestamp.is_some() {
        return pass.finalize().await;
    }
    if role.spec.suspend {
        pass.release_all();
        return pass
            .report_whole(Reason::Suspended, "suspended: nothing is read or written")
            .await;
    }
    if let Some(problem) = selector_error(&role) {
        pass.release_all();
        let message =
            format!("spec.accounts.selector: {problem}. Until then the role stays as it is everywhere");
        return pass.report_whole(Reason::InvalidSpec, &message).await;
    }
    if let Some(problem) = wave_error(&role) {
        pass.release_all();
        let message = format!("{problem}. Until then the role stays as it is everywhere");
        return pass.report_whole(Reason::InvalidSpec, &message).await;
    }
    pass.find_not_allowed();
    pass.look_again_if_asked();
    let assignments = pass.assignments();
    let has_entry = pass.entries.keys().any(|account| pass.holds(account));
    if assignments.is_empty() && !has_entry && !pass.leads() {
        // Nothing of it is in our part of the accounts.
        pass.release_all();
        return Ok(Action::await_change());
    }
    pass.decide(&assignments);
    pass.send(&assignments.goals);
    pass.set_missing_finalizer().await?;
    // Before the wait, which counts each status.
    if context.awaits_own_status(&role) {
        return Ok(Action::requeue(CACHE_LAG));
    }
    if let Some(wait) = context.reports.wait(&pass.key, Instant::now()) {
        return Ok(pass.requeue(wait));
    }
    pass.report(&assignments).await?;
    Ok(pass.next(assignments.stays_unknown))
}

/// Gives back the room that lists were read with: of small ones that is more than they hold, and all roles are kept.
pub fn shrink(role: &mut IamRole) {
    role.finalizers_mut().shrink_to_fit();
    role.spec.accounts.names.shrink_to_fit();
    role.spec.managed_policies.shrink_to_fit();
    shrink_map(&mut role.spec.inline_policies);
    shrink_map(&mut role.spec.tags);
    if let Some(status) = &mut role.status {
        status.conditions.shrink_to_fit();
        status.accounts.shrink_to_fit();
    }
}

fn shrink_map<V>(map: &mut LiteMap<String, V>) {
    let mut pairs = mem::take(map).into_tuple_vec();
    pairs.shrink_to_fit();
    // They come out of a map, sorted.
    *map = LiteMap::from_sorted_store_unchecked(pairs);
}

/// A hash of what each shard reports. A change of it wakes the leader. Never `None`: kube lets every event pass then.
#[allow(clippy::unnecessary_wraps, reason = "kube asks for an Option")]
pub fn parts(role: &IamRole) -> Option<u64> {
    let shards = role.status.iter().flat_map(|status| &status.shards);
    let mut hasher = std::hash::DefaultHasher::new();
    for part in shards {
        serde_json::to_string(part).unwrap_or_default().hash(&mut hasher);
    }
    Some(hasher.finish())
}

/// One pass over one role.
struct Pass<'a> {
    role: &'a IamRole,
    context: &'a Shared,
    key: RoleKey,
    namespace: &'a str,
    /// The shards that are ours, from the beginning to the end of this pass.
    part: HeldShards,
    /// The accounts of other controllers' sessions, as they were at its beginning.
    foreign: HashSet<String>,
    /// All accounts that the spec selects.
    targets: Vec<Arc<AwsAccount>>,
    owner: String,
    /// The entries of the object's status and of its parts, by account.
    entries: HashMap<&'a str, &'a AccountStatus>,
    /// Accounts that only the selector names and that do not allow the namespace: its tenants learn how many there are.
    not_allowed: OnceLock<HashSet<String>>,
    /// What was decided about a role that reaches its accounts in an order.
    rolled: OnceLock<Rolled>,
}

impl<'a> Pass<'a> {
    fn new(role: &'a IamRole, context: &'a Shared) -> Self {
        let namespace = role.metadata.namespace.as_deref().unwrap_or_default();
        let name = role.name_any();
        let entries = role.status.iter().flat_map(|status| &status.accounts);
        let parts = role.status.iter().flat_map(|status| &status.shards);
        // What a replica has written itself is newer than what the leader has made of it.
        let entries = entries.chain(parts.flat_map(|part| &part.accounts));
        Self {
            key: RoleKey::of(role),
            owner: context.owner(namespace, &name),
            part: context.shards.held_now(),
            foreign: context.foreign_accounts(),
            targets: context
                .stores
                .accounts
                .state_filter(|account| targets(role, account)),
            not_allowed: OnceLock::new(),
            rolled: OnceLock::new(),
            entries: entries.map(|entry| (entry.name.as_str(), entry)).collect(),
            namespace,
            role,
            context,
        }
    }

    /// `kubectl annotate ... iam.rolectl.dev/reconcile=<anything>` asks for a sweep of the role's accounts.
    fn look_again_if_asked(&self) {
        let value = self
            .role
            .annotations()
            .get(RECONCILE_ANNOTATION)
            .map(String::as_str);
        if !self.context.newly_forced(&self.key, value) {
            return;
        }
        // An account that does not allow the namespace is not read for its sake.
        let refused = self.not_allowed.get();
        for account in self.resolve().0 {
            let name = account.name_any();
            let allowed = may_admit(&account, self.namespace) && !refused.is_some_and(|r| r.contains(&name));
            if allowed && !account.spec.suspend {
                // Also a change that was given up on is tried again.
                self.context.reports.nudge_account(&self.key, &name);
                self.context.request_sweep(&name);
            }
        }
    }

    /// Returns true if the account of this name is in our part of the accounts in this pass.
    fn holds(&self, account: &str) -> bool {
        self.part.holds(account) && !self.foreign.contains(account)
    }

    /// Returns true if this replica writes the conditions and removes the finalizer. Of controllers for different sessions it is the
    /// one of the first account.
    fn leads(&self) -> bool {
        if !self.part.holds(&full_name(self.role)) {
            return false;
        }
        if self.context.serves_all_sessions() {
            return true;
        }
        let targets = self.targets.iter().map(|account| account.name_any());
        let entries = self.entries.keys().map(|name| (*name).to_owned());
        let first = targets.chain(entries).min();
        first.is_none_or(|account| self.context.serves_session_of(&account))
    }

    fn role_name(&self) -> &str {
        name_in_aws(self.role)
    }

    fn prior(&self, account: &str) -> Option<&'a AccountStatus> {
        self.entries.get(account).copied()
    }

    fn has_finalizer(&self) -> bool {
        self.role.finalizers().iter().any(|f| f == FINALIZER)
    }

    /// Sends the actors what is to become of the role in their accounts, and releases it from all others.
    fn send(&self, goals: &[(Arc<AwsAccount>, Goal)]) {
        let mut asked = HashSet::new();
        for (account, goal) in goals {
            let name = account.name_any();
            let actor = self.context.actors.get(&name);
            let request = reports::Request {
                instance: actor.as_ref().map_or(0, |actor| actor.instance),
                generation: self.role.metadata.generation,
                is_deleting: self.role.metadata.deletion_timestamp.is_some(),
                goal: *goal,
                turn: self.turn_of(&name),
            };
            let is_given_up = self.prior(&name).is_some_and(|prior| {
                prior.observed_generation == self.role.metadata.generation
                    && prior.state == Reason::InvalidSpec
            });
            let actor = actor.as_deref();
            self.context
                .reports
                .assign(&self.key, &name, request, is_given_up, actor);
            asked.insert(name);
        }
        self.release(self.context.reports.end_requests(&self.key, &asked));
    }

    fn release_all(&self) {
        let dropped = self.context.reports.end_requests(&self.key, &HashSet::new());
        self.release(dropped);
    }

    fn release(&self, accounts: Vec<Arc<str>>) {
        for account in accounts {
            if let Some(actor) = self.context.actors.get(&account) {
                actor.release(self.key.clone());
            }
        }
    }

    /// A role that is in an account is protected by a finalizer. Somebody may have taken it off.
    async fn set_missing_finalizer(&self) -> Result<(), Error> {
        let uid = self.role.metadata.uid.as_deref();
        if self.has_finalizer() || self.context.reports.has_finalizer(&self.key, uid) {
            return Ok(());
        }
        if self.context.reports.has_role(&self.key) {
            self.context.protect_role(self.role).await?;
        }
        Ok(())
    }

    /// When to look again by ourselves. The actors try again what has failed, and wake the role.
    fn next(&self, stays_unknown: bool) -> Action {
        if let Some(wait) = self.context.reports.next_interim(&self.key, Instant::now()) {
            return self.requeue(wait);
        }
        if stays_unknown {
            return self.requeue(pauses::spread(STALLED_RETRY));
        }
        match self.decides_again() {
            Some(_) => self.requeue(Duration::MAX),
            None => Action::await_change(),
        }
    }

    /// Looks again after this time, or earlier if the rollout can continue then.
    fn requeue(&self, wait: Duration) -> Action {
        let again = self.decides_again();
        let again = again.map(|at| at.saturating_duration_since(Instant::now()) + CACHE_LAG);
        Action::requeue(again.map_or(wait, |again| again.min(wait)))
    }

    async fn report(&self, assignments: &Assignments) -> Result<(), Error> {
        let answers = self.context.reports.answers(&self.key);
        let entries = self.entries_of(assignments, &answers);
        self.publish(entries, &answers).await
    }
}
