//! The open sessions of a fleet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use rolectl_aws::account::AccountError;
use rolectl_aws::api::Aws;
use rolectl_aws::error::Class;
use rolectl_aws::session::{OpenSession, SessionSecret, Sessions};
use rolectl_core::arn::arn_partition;
use rolectl_crds::AwsAccount;

use super::Fleet;
use crate::failure::Failure;
use crate::session_cache::{Cache, Key};
use crate::stdio::eprintln;

/// The open sessions of a fleet, by the name of the `MfaSession`.
#[derive(Default)]
pub(super) struct FleetSessions {
    open: BTreeMap<String, Arc<OpenSession>>,
    /// Keys of the sessions that come from the cache of this machine.
    cached: BTreeMap<String, Key>,
}

impl FleetSessions {
    /// Opens a session under the name of its `MfaSession`.
    pub(super) fn open(
        &mut self,
        aws: &dyn Aws,
        name: &str,
        region: Option<&str>,
        session_secret: SessionSecret,
    ) -> Result<(), Failure> {
        let principal = session_secret.principal_arn.clone();
        let sts = aws.sts(session_secret.credentials(), arn_partition(&principal), region)?;
        let open = Sessions::default().open(name, session_secret, principal, sts, Timestamp::now());
        self.open.insert(name.to_owned(), open);
        Ok(())
    }

    /// Records that a session comes from the cache.
    pub(super) fn mark_cached(&mut self, name: String, key: Key) {
        self.cached.insert(name, key);
    }

    /// Returns the session of the `MfaSession` of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<OpenSession>> {
        self.open.get(name)
    }

    /// Returns the key of a cached session of this subject.
    pub(super) fn cached_key(&self, subject: &str) -> Option<&Key> {
        self.cached.values().find(|key| key.subject == subject)
    }

    /// Deletes each cached session that every account on it refuses, as after a revocation. Otherwise the commands would use it
    /// until it expires. `answers` has the accounts that were read, with true for a refused session.
    pub(super) fn delete_if_refused(&self, answers: &[(&AwsAccount, bool)]) {
        let keys: BTreeSet<&Key> = self.cached.values().collect();
        for key in keys {
            let uses_it = |account: &AwsAccount| self.cached.get(&account.spec.session_ref) == Some(key);
            let mut of_key = answers.iter().filter(|(account, _)| uses_it(account)).peekable();
            if of_key.peek().is_some() && of_key.all(|(_, refused)| *refused) {
                if let Some(cache) = Cache::of_user() {
                    cache.delete(key);
                }
                eprintln!(
                    "The session that was kept here is refused everywhere and now forgotten: run it again with a new code."
                );
            }
        }
    }
}

impl Fleet {
    /// Returns the session of an account.
    pub fn session(&self, account: &AwsAccount) -> Option<&Arc<OpenSession>> {
        self.sessions.get(&account.spec.session_ref)
    }
}

/// Returns true if AWS refuses the session itself: the session has expired, or a policy that denies all older sessions
/// [revokes it](https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html). A role that is missing, or
/// does not trust the session, is no such refusal.
pub(super) fn is_refused(error: &AccountError) -> bool {
    match error {
        AccountError::SessionRefused(_) => true,
        AccountError::Aws(failure) => match failure.class {
            Class::Expired => true,
            Class::AccessDenied => failure
                .message
                .contains("explicit deny in an identity-based policy"),
            _ => false,
        },
        _ => false,
    }
}
