//! Warns of accounts that a command does not read.

use kube::ResourceExt as _;

use rolectl_core::names::full_name;

use super::Fleet;
use crate::hints::unmatched;
use crate::stdio::eprintln;

impl Fleet {
    /// Warns of names without an `AwsAccount`, of selectors that match no account, and of accounts that the command leaves out.
    pub fn tell_left_out(&self) {
        let unknown = self.inventory.unknown_accounts(|role| self.scope.contains(role));
        for (name, roles) in unknown
            .into_iter()
            .filter(|(name, _)| !self.described.contains(*name))
        {
            eprintln!(
                "warning: there is no AwsAccount {name}, which {} names",
                roles.join(", ")
            );
        }
        // A selector can match one of the accounts that the command leaves out.
        let is_complete = self.inventory.accounts.len() == self.described.len();
        let roles = self
            .inventory
            .roles
            .iter()
            .filter(|role| self.scope.contains(role));
        for role in roles.filter(|_| is_complete) {
            if let Some(warning) = unmatched(role, &self.inventory.accounts) {
                eprintln!(
                    "warning: IamRole {}: spec.accounts.selector {warning}",
                    full_name(role)
                );
            }
        }
        for (account, why) in &self.left_out {
            eprintln!(
                "left out: account {} ({}): {why}",
                account.name_any(),
                account.spec.account_id
            );
        }
    }
}
