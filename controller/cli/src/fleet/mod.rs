//! Collects the objects that a command works on, opens the sessions of their accounts and reads the accounts.
//!
//! `plan`, `apply`, `destroy`, `import`, `diff` and `describe --diff` share this module, and `exec` takes its sessions from it.
//! [`FleetFlags`] collects a [`Fleet`]; the fleet
//! reads accounts; an [`Overview`] shows what was read.

mod collect;
mod credentials;
mod flags;
mod from_cluster;
mod from_files;
mod interrupt;
mod obtain;
mod overview;
mod progress;
mod read;
mod scope;
mod sessions;
mod stored_session;
mod warnings;

use std::collections::BTreeSet;

use kube::ResourceExt as _;

use rolectl_aws::account::AccountEnvironment;
use rolectl_crds::AwsAccount;

pub use self::collect::Purpose;
pub use self::credentials::{CredentialFlags, Issued};
pub use self::flags::FleetFlags;
pub use self::overview::{FailOn, Overview, details};
pub use self::read::Seen;
use self::scope::Scope;
use self::sessions::FleetSessions;
use crate::failure::Failure;
use crate::once::{self, Inventory};
pub use crate::paint::Paint;

/// The objects that a command works on, with the sessions of their accounts.
pub struct Fleet {
    pub inventory: Inventory,
    sessions: FleetSessions,
    environment: AccountEnvironment,
    scope: Scope,
    /// Accounts that the command leaves out, with the reason.
    left_out: Vec<(AwsAccount, String)>,
    /// Names of all `AwsAccount`s of the files and the cluster, with those that the command leaves out.
    described: BTreeSet<String>,
}

/// Returns the failure for the first account that could not be read.
pub fn unread(seen: &[Seen]) -> Option<Failure> {
    seen.iter().find_map(|seen| {
        let why = seen.failure.as_ref()?;
        Some(Failure::new(
            format!("account {} could not be read: {why}", seen.account.name_any()),
            "`rolectl status` shows its state",
        ))
    })
}

impl Fleet {
    /// Returns the accounts in which the roles in scope are looked at.
    fn targeted(&self, intent: once::Intent) -> Vec<AwsAccount> {
        let targeted = self.inventory.targeted(intent, |role| self.scope.contains(role));
        targeted.into_iter().cloned().collect()
    }

    /// Restricts the fleet to the accounts of these names. Fails if there is no such account.
    fn restrict_to(&mut self, names: &[String]) -> Result<(), Failure> {
        for name in names {
            if !self.inventory.accounts.iter().any(|a| a.name_any() == *name) {
                return Err(Failure::new(
                    format!("there is no AwsAccount {name}"),
                    "correct --account; `kubectl get awsaccounts` shows those of the cluster",
                )
                .usage());
            }
        }
        self.inventory
            .accounts
            .retain(|account| names.contains(&account.name_any()));
        Ok(())
    }

    /// Moves the accounts for which `reason` returns a text out of the inventory.
    fn leave_out(&mut self, reason: impl Fn(&AwsAccount) -> Option<String>) {
        for account in std::mem::take(&mut self.inventory.accounts) {
            match reason(&account) {
                Some(reason) => self.left_out.push((account, reason)),
                None => self.inventory.accounts.push(account),
            }
        }
    }
}
