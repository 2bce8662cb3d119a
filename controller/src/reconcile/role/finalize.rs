//! The deletion of an object: its role is removed from every account, then the finalizer from the object.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::{Api, ResourceExt as _};
use rolectl_crds::{
    AccountStatus, AwsAccount, DeletionPolicy, DriftPolicy, FORGET_ANNOTATION, IamRole, Reason,
};
use tokio::time::Instant;

use rolectl_aws::actor::report::Goal;
use rolectl_core::forget::forgets;

use super::super::{Error, events, pauses};
use super::Pass;
use super::entries::Answers;

/// How soon to look again if accounts have been read that may have the role.
const UNREAD_RETRY: Duration = Duration::from_secs(2);

/// The accounts of a role that is being deleted.
struct Removal {
    /// Nothing is left to do there.
    done: Vec<Arc<AwsAccount>>,
    /// The role is still to be removed there.
    open: Vec<Arc<AwsAccount>>,
}

impl Pass<'_> {
    /// Removes the role in every account, then the finalizer from the object.
    ///
    /// `Removed` in a status is a report to people and to other replicas. What is removed in our accounts is what the actors of
    /// this process have found to be so.
    pub(super) async fn finalize(&self) -> Result<Action, Error> {
        if !self.has_finalizer() {
            self.release_all();
            return Ok(Action::await_change());
        }
        if self.role.spec.suspend {
            self.release_all();
            let message = "deletion waits: suspended. Set spec.suspend: false to resume";
            return self.report_whole(Reason::Suspended, message).await;
        }
        self.find_not_allowed();
        self.look_again_if_asked();
        let removal = self.removal();
        if let Some(wait) = self.context.reports.wait(&self.key, Instant::now()) {
            return Ok(Action::requeue(wait));
        }
        let (answers, lost) = (self.context.reports.answers(&self.key), self.lost());
        let is_lost = !lost.is_empty();
        let mut left = self.left(&removal, &answers);
        left.extend(lost);
        if left.is_empty() {
            return self.all_removed(&removal).await;
        }
        let mut entries: Vec<AccountStatus> = left.into_iter().map(deleting).collect();
        entries.extend(removal.done.iter().map(|account| self.done_with(account)));
        self.publish(entries, &answers).await?;
        Ok(self.next(is_lost))
    }

    /// Asks the actors to remove the role.
    fn removal(&self) -> Removal {
        let mut accounts = self.resolve().0;
        accounts.extend(self.leaving(&accounts));
        let mut removal = Removal {
            done: vec![],
            open: vec![],
        };
        let mut goals = HashMap::new();
        let mut asked = vec![];
        for account in accounts {
            let target = (!forgets(&account, self.role)).then(|| self.to_remove_from(&account));
            match target.flatten() {
                None => removal.done.push(account),
                Some(target) => {
                    let name = target.name_any();
                    goals.insert(name.clone(), (target, Goal::Remove));
                    asked.push((account, name));
                }
            }
        }
        self.send(&goals.into_values().collect::<Vec<_>>());
        for (account, target) in asked {
            let is_gone = self.context.reports.is_gone(&self.key, &target)
                && !self.context.has_role_of(&target, &self.owner);
            let place = if is_gone {
                &mut removal.done
            } else {
                &mut removal.open
            };
            place.push(account);
        }
        removal
    }

    /// The entries of the accounts in which the role still is, or may be.
    fn left(&self, removal: &Removal, answers: &Answers) -> Vec<AccountStatus> {
        let open = removal.open.iter();
        open.map(|account| {
            self.answered(account, Goal::Remove, answers)
                .unwrap_or_else(|| self.unchanged(account, "under way"))
        })
        .collect()
    }

    /// The accounts without object that the deletion waits for.
    fn lost(&self) -> Vec<AccountStatus> {
        let retains = self.role.spec.deletion_policy == Some(DeletionPolicy::Retain);
        if retains || self.role.spec.drift == DriftPolicy::Report {
            return vec![];
        }
        self.without_object(&[])
    }

    /// Nothing of the role is left in our accounts: removes the finalizer, unless somebody else is still to be waited for.
    async fn all_removed(&self, removal: &Removal) -> Result<Action, Error> {
        let done = self.context.reports.take_done(&self.key);
        self.publish_done(&done, "Removed");
        if self.role.spec.drift != DriftPolicy::Report {
            let mentioned = removal.done.iter().map(|account| account.name_any()).collect();
            let unread = self.unread(&mentioned);
            if unread > 0 {
                return self.await_sweeps(unread).await;
            }
        }
        if self.context.is_divided() {
            let entries = removal.done.iter().map(|account| self.done_with(account));
            let entries: Vec<AccountStatus> = entries.collect();
            self.write_entries(&entries, true).await?;
            // The leader removes the finalizer, after the last of the others.
            if !self.leads() || self.others_remove() {
                return Ok(Action::await_change());
            }
        }
        let api: Api<IamRole> = self.context.api_of(self.role);
        // First: whoever is killed in between must not leave a role without an event.
        self.publish_forgotten();
        self.context.set_finalizer(&api, self.role, false).await?;
        self.release_all();
        Ok(Action::await_change())
    }

    /// Publishes the accounts that the deletion has not waited for: the role may still be there.
    fn publish_forgotten(&self) {
        let accounts = &self.context.stores.accounts;
        for account in accounts.state_filter(|account| forgets(account, self.role)) {
            let (name, id, role_name) = (account.name_any(), &account.spec.account_id, self.role_name());
            let note = format!(
                "{name}: not waited for, as the annotation {FORGET_ANNOTATION} of the AwsAccount says. Role {role_name} may still be in AWS account {id}, with the owner tag {}",
                self.owner
            );
            tracing::warn!(role = %self.key, account = name, note, "forgotten");
            events::publish(
                self.context,
                self.role,
                EventType::Warning,
                "Forgotten",
                "Remove",
                &note,
            );
        }
    }

    /// How many of our accounts, beside those that the object mentions, can be read and were not read by this process yet.
    /// A process that was killed may have made the role there without a word in the status.
    fn unread(&self, mentioned: &HashSet<String>) -> usize {
        let others = self.context.stores.accounts.state_filter(|account| {
            let name = account.metadata.name.as_deref().unwrap_or_default();
            self.holds(name)
                && !mentioned.contains(name)
                && !forgets(account, self.role)
                && self.context.can_be_read(account)
        });
        let unread = others.iter().filter(|account| {
            let name = account.name_any();
            let may_have_role_of = self.context.may_have_role(&name, self.role_name(), &self.owner);
            if may_have_role_of.is_none() {
                self.context.want_first_sweep(&name);
            }
            // A role of ours that a sweep has just found is in the next pass.
            may_have_role_of != Some(false)
        });
        unread.count()
    }

    /// The deletion waits until more accounts are read.
    async fn await_sweeps(&self, unread: usize) -> Result<Action, Error> {
        let accounts = if unread == 1 { "account" } else { "accounts" };
        let message = format!("deletion waits: looking for the role in {unread} other {accounts}");
        self.report_whole(Reason::Progressing, &message).await?;
        Ok(Action::requeue(pauses::spread(UNREAD_RETRY)))
    }

    /// What is said of an account that the deletion does not wait for any more.
    fn done_with(&self, account: &AwsAccount) -> AccountStatus {
        if !forgets(account, self.role) {
            return self.removed(account);
        }
        // The other replicas wait for this state. What was seen of the role stays in the entry: nobody has removed it.
        let message = "not waited for: the account's owner had it forgotten, and the role may still be there";
        self.entry(account, Reason::Removed, Some(message.to_owned()))
    }

    fn removed(&self, account: &AwsAccount) -> AccountStatus {
        AccountStatus {
            arn: None,
            role_id: None,
            instance_profiles: vec![],
            last_applied_generation: None,
            ..self.entry(account, Reason::Removed, None)
        }
    }
}

/// While the object is being deleted, what waits says what it waits for.
fn deleting(mut status: AccountStatus) -> AccountStatus {
    let message = status.message.take().unwrap_or_else(|| status.state.to_string());
    status.message = Some(format!("deletion waits: {message}"));
    if status.state == Reason::InSync {
        status.state = Reason::Progressing;
    }
    status
}
