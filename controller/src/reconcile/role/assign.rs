//! Which accounts a role is assigned to, with which goal. It reads caches only.

use std::collections::HashSet;
use std::sync::Arc;

use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use rolectl_crds::{AccountStatus, AwsAccount, DriftPolicy, Reason};

use rolectl_aws::actor::directory::{Admits, Directory as _};
use rolectl_aws::actor::report::Goal;
use rolectl_core::selection::targets;

use super::super::context::{distinct, is_same_account};
use super::Pass;

/// What is to become of the role in our part of the accounts.
#[derive(Default)]
pub(super) struct Assignments {
    /// For the actors.
    pub(super) goals: Vec<(Arc<AwsAccount>, Goal)>,
    /// What is said of accounts that no actor is asked about.
    pub(super) said: Vec<AccountStatus>,
    /// An account that the spec names does not exist.
    pub(super) stays_unknown: bool,
}

impl Assignments {
    pub(super) const fn is_empty(&self) -> bool {
        self.goals.is_empty() && self.said.is_empty() && !self.stays_unknown
    }
}

impl Pass<'_> {
    pub(super) fn assignments(&self) -> Assignments {
        let (wanted, unknown) = self.resolve();
        let leaving = self.leaving(&wanted);
        let mut all = Assignments {
            said: self.without_object(&unknown),
            stays_unknown: !unknown.is_empty(),
            ..Assignments::default()
        };
        all.said
            .extend(unknown.into_iter().map(|name| self.unknown_account(name)));
        for account in wanted {
            match self.context.acting_for(&account.name_any()) {
                Some(other) if !account.spec.suspend => {
                    all.said.extend(self.yields(&account, &other));
                }
                _ => all.goals.push((account, Goal::Keep)),
            }
        }
        for account in leaving {
            if let Some(account) = self.to_remove_from(&account) {
                all.goals.push((account, Goal::Remove));
            }
        }
        all
    }

    /// Finds the accounts that only the selector names and that do not allow the namespace.
    pub(super) fn find_not_allowed(&self) {
        self.not_allowed.get_or_init(|| {
            let named: HashSet<&String> = self.role.spec.accounts.names.iter().collect();
            let refused = self
                .targets
                .iter()
                .filter(|account| self.context.admits(account, self.namespace) == Admits::No);
            let refused = refused.map(|account| account.name_any());
            refused.filter(|name| !named.contains(name)).collect()
        });
    }

    /// The accounts that the spec selects, and the names that no account has, as far as they are in our part.
    pub(super) fn resolve(&self) -> (Vec<Arc<AwsAccount>>, Vec<String>) {
        let names: HashSet<&str> = self
            .targets
            .iter()
            .filter_map(|a| a.metadata.name.as_deref())
            .collect();
        let wanted = self.role.spec.accounts.names.iter();
        let unknown = wanted.filter(|name| !names.contains(name.as_str()) && self.holds(name));
        let unknown = distinct(unknown.cloned());
        let ours = self.targets.iter();
        let ours = ours.filter(|account| self.holds(&account.name_any()));
        (ours.cloned().collect(), unknown)
    }

    /// Accounts that the spec does not select any more, but that have the role, or may have it: by the status, by what a sweep
    /// has shown, and by what an actor was asked.
    pub(super) fn leaving(&self, wanted: &[Arc<AwsAccount>]) -> Vec<Arc<AwsAccount>> {
        let wanted: HashSet<&str> = wanted.iter().filter_map(|w| w.metadata.name.as_deref()).collect();
        // An AWS account whose object was renamed is mentioned by its id.
        let objects = &self.context.stores.accounts;
        let renamed = self.entries.values();
        let renamed = renamed.filter(|entry| objects.get(&ObjectRef::new(&entry.name)).is_none());
        let renamed: HashSet<&str> = renamed.filter_map(|entry| entry.account_id.as_deref()).collect();
        let asked = self.context.reports.kept_in(&self.key);
        objects.state_filter(|account| {
            let name = account.metadata.name.as_deref().unwrap_or_default();
            self.holds(name)
                && !wanted.contains(name)
                && (self.prior(name).is_some()
                    || asked.contains(name)
                    || renamed.contains(account.spec.account_id.as_str())
                    || self.context.has_role_of(name, &self.owner))
        })
    }

    /// The account through which the role is removed from `account`. `None`: nothing is removed.
    pub(super) fn to_remove_from(&self, account: &Arc<AwsAccount>) -> Option<Arc<AwsAccount>> {
        let name = account.name_any();
        let lives = self.role.metadata.deletion_timestamp.is_none();
        let same = |target: &Arc<AwsAccount>| is_same_account(target, account);
        if lives && self.targets.iter().any(same) {
            // The spec still wants the role in this AWS account, by another object that describes it.
            return None;
        }
        if let Some(other) = self.context.acting_for(&name) {
            return self.removed_through(&other);
        }
        if self.role.spec.drift == DriftPolicy::Report {
            if self.context.has_role_of(&name, &self.owner) {
                self.publish_left(&name);
            }
            return None;
        }
        // The role was found again after it was gone.
        if self.context.has_role_of(&name, &self.owner) && self.context.reports.says_gone(&self.key, &name) {
            self.context.reports.nudge_account(&self.key, &name);
        }
        Some(account.clone())
    }

    /// The object that acts for the AWS account, unless that is in this pass anyway.
    fn removed_through(&self, acting: &str) -> Option<Arc<AwsAccount>> {
        let account = self.context.stores.accounts.get(&ObjectRef::new(acting))?;
        let included = targets(self.role, &account)
            || self.prior(acting).is_some()
            || self.context.has_role_of(acting, &self.owner);
        // Of two objects that each take the other for the acting one, one has not heard of a change yet.
        if included || !self.holds(acting) || self.context.acting_for(acting).is_some() {
            return None;
        }
        self.to_remove_from(&account)
    }

    /// What to say of an account whose AWS account another object describes, which is the one that acts.
    fn yields(&self, account: &AwsAccount, other: &str) -> Option<AccountStatus> {
        if self.targets.iter().any(|target| target.name_any() == other) {
            return None;
        }
        let message = format!(
            "AwsAccount {other} describes AWS account {}, too, and is the one that is used: name it in spec.accounts instead, or have AwsAccount {other} deleted",
            account.spec.account_id
        );
        Some(self.entry(account, Reason::Duplicate, Some(message)))
    }

    /// Accounts without object in which the role is: it must not be forgotten that it is there.
    pub(super) fn without_object(&self, but: &[String]) -> Vec<AccountStatus> {
        let entries = self.role.status.iter().flat_map(|s| &s.accounts);
        entries
            .filter(|a| a.role_id.is_some() || a.last_applied_generation.is_some())
            .filter(|a| self.holds(&a.name))
            .filter(|a| !but.contains(&a.name) && self.context.stores.accounts.get(&ObjectRef::new(&a.name)).is_none())
            // The role is looked for there by the object that describes the AWS account now.
            .filter(|a| !self.is_described(a))
            .map(|a| {
                let message = format!(
                    "AwsAccount {} was deleted, and the role still exists there: apply it again, or set deletionPolicy: Retain",
                    a.name
                );
                self.account_not_found(a.clone(), message)
            })
            .collect()
    }

    fn unknown_account(&self, name: String) -> AccountStatus {
        let message = match self.context.stores.unreadable.accounts.get(&name) {
            Some(account) => format!(
                "AwsAccount {name} cannot be read: {}. Until its owner corrects it the role stays there as it is",
                account.problem
            ),
            None => format!("there is no AwsAccount {name}: create it, or correct spec.accounts.names"),
        };
        let prior = self.prior(&name).cloned();
        let prior = prior.unwrap_or_else(|| AccountStatus::new(name, Reason::AccountNotFound));
        self.account_not_found(prior, message)
    }

    /// An account without object. What the status has of the role there is kept.
    fn account_not_found(&self, prior: AccountStatus, message: String) -> AccountStatus {
        AccountStatus {
            observed_generation: self.role.metadata.generation,
            state: Reason::AccountNotFound,
            message: Some(message),
            changes: vec![],
            approval: None,
            ..prior
        }
    }

    /// Returns true if an object describes the AWS account of an entry, whatever its name.
    fn is_described(&self, entry: &AccountStatus) -> bool {
        let accounts = self.context.stores.accounts.state();
        let id = entry.account_id.as_ref();
        accounts
            .iter()
            .any(|account| Some(&account.spec.account_id) == id)
    }
}
