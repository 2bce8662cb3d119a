//! Reads accounts and plans their roles.

use std::sync::Arc;

use futures::StreamExt as _;
use kube::ResourceExt as _;

use rolectl_aws::account::Account;
use rolectl_aws::actor::report::Goal;
use rolectl_core::role::ObservedRole;
use rolectl_crds::AwsAccount;

use super::Fleet;
use super::progress::Progress;
use super::sessions::is_refused;
use crate::failure::Failure;
use crate::once::{Intent, Proposal};
use crate::output::counted;

/// Maximum number of accounts that are read at the same time.
const ACCOUNTS_AT_ONCE: usize = 16;

/// The progress names the rate of accounts with a lower limit, in requests per second. It is the default of `requestsPerSecond`.
const SLOW: u32 = 10;

/// An account that was read, with the proposed changes of its roles.
pub struct Seen {
    pub account: AwsAccount,
    pub live: Option<Arc<Account>>,
    /// Why the account could not be read.
    pub failure: Option<String>,
    /// True if it could not be read because AWS refuses the session.
    refused: bool,
    pub proposals: Vec<Proposal>,
}

impl Fleet {
    /// Reads all roles of one account.
    pub async fn all_roles(&self, account: &AwsAccount) -> Result<Vec<ObservedRole>, Failure> {
        let failed = |why: String| {
            Failure::new(
                format!(
                    "account {} ({}): {why}",
                    account.name_any(),
                    account.spec.account_id
                ),
                "check that the role which is assumed there exists, trusts you under MFA and may read IAM",
            )
        };
        let session = self
            .session(account)
            .ok_or_else(|| failed("no session".to_owned()))?;
        let looked = self
            .inventory
            .look(account, session, self.environment.clone(), true)
            .await;
        self.sessions
            .delete_if_refused(&[(account, looked.as_ref().is_err_and(is_refused))]);
        let live = looked.map_err(|e| failed(e.to_string()))?;
        let packed = live.snapshot.lock().roles();
        let mut roles: Vec<ObservedRole> = packed.iter().filter_map(|role| role.unpack()).collect();
        roles.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(roles)
    }

    /// Reads every targeted account and plans its roles. Returns the accounts by name.
    pub async fn look(&self, goal: Goal) -> Vec<Seen> {
        self.look_for(Intent::Make(goal)).await
    }

    /// Reads every account in which changes may wait, and plans its roles. Returns the accounts by name.
    pub async fn look_at_waiting(&self) -> Vec<Seen> {
        self.look_for(Intent::Decide).await
    }

    async fn look_for(&self, intent: Intent) -> Vec<Seen> {
        let accounts = self.targeted(intent);
        let progress = Progress::new("reading accounts", accounts.len());
        let reads: Vec<_> = accounts
            .into_iter()
            .map(|account| self.read(intent, account, &progress))
            .collect();
        let mut seen: Vec<Seen> = futures::stream::iter(reads)
            .buffer_unordered(ACCOUNTS_AT_ONCE)
            .collect()
            .await;
        progress.end();
        let answers: Vec<_> = seen.iter().map(|seen| (&seen.account, seen.refused)).collect();
        self.sessions.delete_if_refused(&answers);
        seen.sort_by_key(|seen| seen.account.name_any());
        seen
    }

    /// Reads one account and plans its roles.
    async fn read(&self, intent: Intent, account: AwsAccount, progress: &Progress) -> Seen {
        let Some(session) = self.session(&account) else {
            return Seen {
                account,
                live: None,
                failure: Some("no session".to_owned()),
                refused: false,
                proposals: vec![],
            };
        };
        let rate = account.spec.requests_per_second;
        let is_slow = rate < SLOW;
        progress.begin(
            &account.name_any(),
            is_slow.then(|| format!("at most {} per second", counted(rate as usize, "request"))),
        );
        let looked = self
            .inventory
            .look(&account, session, self.environment.clone(), false)
            .await;
        progress.step(&account.name_any());
        match looked {
            Ok(live) => {
                let mut proposals = self.inventory.propose(intent, &account, session, &live);
                proposals.retain(|p| self.scope.contains(&p.role));
                Seen {
                    account,
                    live: Some(live),
                    failure: None,
                    refused: false,
                    proposals,
                }
            }
            Err(error) => Seen {
                account,
                live: None,
                failure: Some(error.to_string()),
                refused: is_refused(&error),
                proposals: vec![],
            },
        }
    }
}
