//! Writes the status of a role. Where several replicas have accounts of it, each writes a part, and the leader computes the whole.

use std::collections::HashSet;

use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};
use rolectl_crds::{AccountStatus, IamRole, IamRoleStatus, Reason, ShardStatus};
use serde_json::json;

use rolectl_core::conditions::ready_reason;
use rolectl_core::selection::nothing_selected;
use rolectl_core::status::{Facts, bounded, part_of_shard, status, without_accounts};

use super::super::context::distinct;
use super::super::shards::shard_of;
use super::super::{Error, events};
use super::Pass;

impl Pass<'_> {
    /// Writes the status with these entries of our accounts. `is_removed`: nothing of the role is left in them. Returns what has been
    /// done since the last status.
    pub(super) async fn write_entries(
        &self,
        entries: &[AccountStatus],
        is_removed: bool,
    ) -> Result<Vec<(String, String)>, Error> {
        let shown = entries.iter().filter(|entry| !self.is_hidden(entry));
        let shown: Vec<AccountStatus> = shown.cloned().collect();
        self.write_parts(&shown, is_removed).await?;
        if self.leads() {
            self.write(self.compose(shown)).await?;
        }
        Ok(self.context.reports.take_done(&self.key))
    }

    /// Returns true if the entry would show the tenants of the namespace an account that does not allow it.
    fn is_hidden(&self, entry: &AccountStatus) -> bool {
        let has_had_it = entry.role_id.is_some() || entry.last_applied_generation.is_some();
        let refused = self.not_allowed.get().is_some_and(|r| r.contains(&entry.name));
        refused && !has_had_it
    }

    /// Reports what concerns no account in particular.
    pub(super) async fn report_whole(&self, reason: Reason, message: &str) -> Result<Action, Error> {
        if self.leads() {
            let prior = self.prior_status();
            let generation = self.role.metadata.generation;
            let status = without_accounts(prior.as_ref(), generation, reason, message, Timestamp::now());
            self.write(status).await?;
        }
        Ok(Action::await_change())
    }

    /// The status as the leader has written it, without the parts of shards.
    fn prior_status(&self) -> Option<IamRoleStatus> {
        let mut prior = self.role.status.clone()?;
        prior.shards.clear();
        Some(prior)
    }

    /// The parts in the status.
    fn parts(&self) -> impl Iterator<Item = &ShardStatus> {
        self.role.status.iter().flat_map(|status| &status.shards)
    }

    pub(super) fn number_of(&self, account: &str) -> usize {
        shard_of(account, self.context.shards.count())
    }

    /// The names of the parts of the shards that this replica holds, by number.
    fn own_parts(&self) -> Vec<(usize, String)> {
        let numbers = self.part.numbers().into_iter();
        numbers
            .map(|number| (number, self.context.shards.part_name(number)))
            .collect()
    }

    /// Returns true if a part is of our own group of replicas, and of another number of shards.
    fn is_of_another_number(&self, part: &str) -> bool {
        let shards = &self.context.shards;
        shards.is_own_part(part) && !(0..shards.count()).any(|number| shards.part_name(number) == part)
    }

    /// The parts that other replicas and controllers write. Parts of an earlier division of the accounts do not count.
    fn parts_of_others(&self) -> Vec<&ShardStatus> {
        if !self.context.is_divided() {
            return vec![];
        }
        let ours = self.own_parts();
        let is_taken_over = |part: &ShardStatus| {
            !part.accounts.is_empty()
                && part.more_accounts.is_empty()
                && part.accounts.iter().all(|entry| self.holds(&entry.name))
        };
        let others = self.parts().filter(|part| {
            !self.is_of_another_number(&part.name)
                && !is_taken_over(part)
                && !ours.iter().any(|(_, name)| *name == part.name)
        });
        others.collect()
    }

    /// Returns true if one of the parts of others covers an account that is not ours.
    fn is_covered(&self, account: &str, others: &[&ShardStatus]) -> bool {
        let shards = &self.context.shards;
        if self.context.serves_session_of(account) {
            let name = shards.part_name(self.number_of(account));
            others.iter().any(|part| part.name == name)
        } else {
            others.iter().any(|part| !shards.is_own_part(&part.name))
        }
    }

    /// Writes the part of each shard that this replica holds, for the leader. The leader itself needs none: it has its own reports, and
    /// another leader is there only after this replica has lost a shard, and has looked at all roles again. In a rollout the other
    /// replicas wait for its accounts, too.
    async fn write_parts(&self, entries: &[AccountStatus], is_removed: bool) -> Result<(), Error> {
        let shards = &self.context.shards;
        let (ours, leads) = (self.own_parts(), self.leads());
        let mut written = HashSet::new();
        for (number, name) in &ours {
            let rollout = self.rollout_of_shard(*number);
            if self.context.is_divided() && (!leads || rollout.is_some()) {
                let of_shard = entries
                    .iter()
                    .filter(|entry| self.number_of(&entry.name) == *number);
                let of_shard: Vec<AccountStatus> = of_shard.cloned().collect();
                let generation = self.role.metadata.generation;
                let mut part = part_of_shard(name, generation, &of_shard, shards.count());
                part.removed = is_removed;
                part.rollout = rollout;
                let is_known = self.parts().any(|there| there.name == *name);
                if !of_shard.is_empty() || (is_removed && (is_known || self.has_accounts_in(*number))) {
                    self.write_part(name, Some(&part)).await?;
                    written.insert(name);
                }
            }
        }
        // Shards that have no account of the role any more, and parts of an earlier division of the accounts.
        let stale = self.parts().map(|part| &part.name).filter(|name| {
            let is_old = !self.context.is_divided() || self.is_of_another_number(name);
            let is_ours = ours.iter().any(|(_, own)| own == *name);
            (is_ours && !written.contains(name)) || (leads && is_old)
        });
        let stale: Vec<String> = stale.cloned().collect();
        for name in stale {
            self.write_part(&name, None).await?;
        }
        Ok(())
    }

    /// Returns true if the spec selects an account of this shard.
    fn has_accounts_in(&self, shard: usize) -> bool {
        let mut names = self.targets.iter().map(|account| account.name_any());
        names.any(|name| self.holds(&name) && self.number_of(&name) == shard)
    }

    /// Writes or removes one part, under a field manager of its own.
    async fn write_part(&self, name: &str, part: Option<&ShardStatus>) -> Result<(), Error> {
        let api: Api<IamRole> = self.context.api_of(self.role);
        let there = self.parts().find(|part| part.name == name);
        let body = |part: Option<&ShardStatus>| json!({"shards": part.into_iter().collect::<Vec<_>>()});
        let (before, after) = (body(there), body(part));
        self.context
            .patch_status(&api, self.role, Some(&before), &after, name)
            .await
            .map(drop)
    }

    /// The whole status, of our accounts as given and of the others as their parts have them.
    fn compose(&self, ours: Vec<AccountStatus>) -> IamRoleStatus {
        let mut accounts = ours;
        let mut groups = vec![];
        let others = self.parts_of_others();
        for part in &others {
            let shown = part.accounts.iter();
            let shown = shown.filter(|entry| !self.holds(&entry.name) && !self.is_hidden(entry));
            accounts.extend(shown.cloned());
            groups.extend(part.more_accounts.iter().cloned());
        }
        // Whoever looks after the others may not have begun.
        let listed: HashSet<String> = accounts.iter().map(|entry| entry.name.clone()).collect();
        let names = self.targets.iter().map(|account| account.name_any());
        let names = names.chain(self.role.spec.accounts.names.iter().cloned());
        let lives = self.role.metadata.deletion_timestamp.is_none();
        let silent = names.filter(|name| {
            lives && !self.holds(name) && !listed.contains(name) && !self.is_covered(name, &others)
        });
        let silent = distinct(silent).into_iter().map(|name| AccountStatus {
            message: Some("waiting for the controller that looks after it".to_owned()),
            ..AccountStatus::new(name, Reason::Progressing)
        });
        accounts.extend(silent.filter(|entry| !self.is_hidden(entry)));
        let shown: HashSet<&str> = accounts.iter().map(|entry| entry.name.as_str()).collect();
        let refused = self.not_allowed.get().into_iter().flatten();
        let not_allowed = refused.filter(|name| !shown.contains(name.as_str())).count();
        let no_accounts = if accounts.is_empty() && groups.is_empty() && not_allowed == 0 {
            nothing_selected(self.role, &self.context.stores.accounts.state())
        } else {
            String::new()
        };
        let facts = Facts {
            accounts,
            groups,
            not_allowed: u32::try_from(not_allowed).unwrap_or(u32::MAX),
            no_accounts: &no_accounts,
            stopped: self.stopped(),
        };
        let prior = self.role.status.as_ref();
        status(prior, self.role.metadata.generation, facts, Timestamp::now())
    }

    /// Writes what the leader writes.
    async fn write(&self, status: IamRoleStatus) -> Result<(), Error> {
        let api: Api<IamRole> = self.context.api_of(self.role);
        let (prior, status) = (self.prior_status(), bounded(&status));
        let is_written = self
            .context
            .patch_status(&api, self.role, prior.as_ref(), &status, "")
            .await?;
        if is_written {
            let before = prior.as_ref().and_then(|prior| ready_reason(&prior.conditions));
            events::publish_stalled(self.context, self.role, before, &status.conditions);
        }
        Ok(())
    }

    /// Returns true if another replica or controller has not yet reported that the role is removed in its accounts.
    pub(super) fn others_remove(&self) -> bool {
        let is_done =
            |part: &ShardStatus| part.removed && part.observed_generation == self.role.metadata.generation;
        let others = self.parts_of_others();
        let mut foreign = self.targets.iter().map(|account| account.name_any());
        // Also one that has reported nothing yet may be making the role.
        others.iter().any(|part| !is_done(part))
            || foreign.any(|name| !self.holds(&name) && !self.is_covered(&name, &others))
    }
}
