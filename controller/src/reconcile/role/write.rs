//! Writes the status of a role, together with other replicas where there are any.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};
use rolectl_crds::{AccountStatus, IamRole, IamRoleStatus, Reason};

use rolectl_core::conditions::ready_reason;
use rolectl_core::selection::nothing_selected;
use rolectl_core::status::{Facts, bounded, status, without_accounts};

use super::super::api_writes::{Others, Patched};
use super::super::context::distinct;
use super::super::{Error, bounded_call, events, pauses};
use super::Pass;

/// How often a status is made again because another replica wrote first.
const ATTEMPTS: u32 = 8;
/// How long to let the others go first then, at first and at most.
const GIVE_WAY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

impl Pass<'_> {
    /// Writes the status with these entries of our accounts. Returns what has been done since the last status.
    pub(super) async fn write_entries(
        &self,
        entries: &[AccountStatus],
    ) -> Result<Vec<(String, String)>, Error> {
        self.write(|latest| self.compose(latest, entries)).await?;
        Ok(self.context.reports.take_done(&self.key))
    }

    /// Whether the entry would tell the namespace's tenants of an account that is none of their business. While an object is
    /// being deleted, replicas learn from entries how far each is.
    fn is_hidden(&self, entry: &AccountStatus) -> bool {
        let has_had_it = entry.role_id.is_some() || entry.last_applied_generation.is_some();
        let shared_end = self.role.metadata.deletion_timestamp.is_some() && self.context.shares_roles();
        let refused = self.not_allowed.get().is_some_and(|r| r.contains(&entry.name));
        refused && !has_had_it && !shared_end
    }

    /// Reports what concerns no account in particular. One of several replicas does.
    pub(super) async fn report_whole(&self, reason: Reason, message: &str) -> Result<Action, Error> {
        if self.leads() {
            let generation = self.role.metadata.generation;
            self.write(|latest| {
                let prior = latest.status.as_ref();
                without_accounts(prior, generation, reason, message, Timestamp::now())
            })
            .await?;
        }
        Ok(Action::await_change())
    }

    /// The status with our accounts as given, and those of other replicas as the object has them.
    fn compose(&self, latest: &IamRole, ours: &[AccountStatus]) -> IamRoleStatus {
        let now = self.context.shards.view();
        // What was ours when we began and is not any more is told by who has it now.
        let still_ours = |name: &str| {
            let held = self.holds(name) && now.holds_since(&self.part, name);
            held && self.context.serves_session_of(name)
        };
        let mut accounts: Vec<AccountStatus> = ours.iter().filter(|e| still_ours(&e.name)).cloned().collect();
        let targets = self.targets();
        let entries = latest.status.iter().flat_map(|status| &status.accounts);
        accounts.extend(entries.filter(|entry| !still_ours(&entry.name)).cloned());
        // Who looks after the others may not have begun.
        let told: HashSet<String> = accounts.iter().map(|entry| entry.name.clone()).collect();
        let named = targets.iter().map(|account| account.name_any());
        let silent = named.chain(self.role.spec.accounts.names.iter().cloned());
        let lives = latest.metadata.deletion_timestamp.is_none();
        let silent = distinct(silent.filter(|name| lives && !told.contains(name) && !still_ours(name)));
        accounts.extend(silent.into_iter().map(|name| AccountStatus {
            message: Some("waiting for the controller that looks after it".to_owned()),
            ..AccountStatus::new(name, Reason::Progressing)
        }));
        accounts.retain(|entry| !self.is_hidden(entry));
        let shown: HashSet<&str> = accounts.iter().map(|entry| entry.name.as_str()).collect();
        let refused = self.not_allowed.get().into_iter().flatten();
        let not_allowed = refused.filter(|name| !shown.contains(name.as_str())).count();
        let no_accounts = if accounts.is_empty() && not_allowed == 0 {
            nothing_selected(self.role, &self.context.stores.accounts.state())
        } else {
            String::new()
        };
        let facts = Facts {
            accounts,
            not_allowed: u32::try_from(not_allowed).unwrap_or(u32::MAX),
            no_accounts: &no_accounts,
        };
        status(
            latest.status.as_ref(),
            self.role.metadata.generation,
            facts,
            Timestamp::now(),
        )
    }

    /// Writes the status that `make` makes of the object, and of the object as it is now where others have written.
    async fn write(&self, make: impl Fn(&IamRole) -> IamRoleStatus) -> Result<(), Error> {
        let api: Api<IamRole> = self.context.api_of(self.role);
        let others = if self.context.shares_roles() {
            Others::Write
        } else {
            Others::Keep
        };
        let mut latest = self
            .latest
            .lock()
            .take()
            .map_or(Cow::Borrowed(self.role), Cow::Owned);
        for attempt in 1..=ATTEMPTS {
            let prior = latest.status.as_ref().map(IamRoleStatus::collapse);
            let prior = prior.as_ref();
            let mut status = bounded(&make(&latest));
            let patched = self
                .context
                .patch_status(&api, &*latest, prior, &status, others)
                .await?;
            match patched {
                Patched::Unchanged => {
                    if let Cow::Owned(latest) = latest {
                        *self.latest.lock() = Some(latest);
                    }
                    return Ok(());
                }
                Patched::Written(version) => {
                    let before = prior.and_then(|p| ready_reason(&p.conditions));
                    events::publish_stalled(self.context, self.role, before, &status.conditions);
                    if others == Others::Write {
                        let mut latest = latest.into_owned();
                        latest.metadata.resource_version = version;
                        status.expand();
                        latest.status = Some(status);
                        *self.latest.lock() = Some(latest);
                    }
                    return Ok(());
                }
                Patched::Stale if attempt < ATTEMPTS => {
                    tokio::time::sleep(pauses::backoff(attempt, GIVE_WAY)).await;
                }
                Patched::Stale => {}
            }
            let now = bounded_call(api.get_opt(&self.name)).await;
            match now.map_err(Error::kube("could not read the role"))? {
                Some(mut now) if now.metadata.uid == self.role.metadata.uid => {
                    if let Some(status) = &mut now.status {
                        status.expand();
                    }
                    latest = Cow::Owned(now);
                }
                // Deleted meanwhile: there is nothing to say any more.
                _ => return Ok(()),
            }
        }
        // The next try begins with what the others wrote.
        if let Cow::Owned(latest) = latest {
            *self.latest.lock() = Some(latest);
        }
        Err(Error::Contended)
    }
}
