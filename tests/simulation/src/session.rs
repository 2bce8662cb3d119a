//! What `rolectl unlock` stores, and how a replica follows it.

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use rolectl_aws::api::Sts;
use rolectl_aws::session::{SessionSecret, Sessions};

use crate::kubernetes::objects::{SESSION, operator_arn};
use crate::ledger::Ledger;

/// The Secret of the session.
#[derive(Clone, Debug, Default)]
pub struct StoredSession {
    /// Rises with every change.
    pub version: u64,
    /// The access key id. `None`: there is no Secret.
    pub key: Option<String>,
    /// When the session ends.
    pub expires: Timestamp,
    /// Cancels the calls in flight on the session that this one replaces, as `rolectl unlock --replace` does.
    pub replace: bool,
}

/// The Secret, which operators write and replicas read.
#[derive(Debug, Default)]
pub struct SessionStore(Mutex<StoredSession>);

impl SessionStore {
    /// Stores a session that ends at this time, or removes it.
    pub fn store(&self, key: Option<String>, expires: Timestamp, replace: bool) {
        let mut stored = self.0.lock();
        *stored = StoredSession {
            version: stored.version + 1,
            key,
            expires,
            replace,
        };
    }

    /// The Secret now.
    pub fn read(&self) -> StoredSession {
        self.0.lock().clone()
    }
}

/// The sessions of a replica, brought up to date with the Secret.
#[derive(Debug, Default)]
pub struct FollowedSession {
    /// The sessions, which the actors read.
    pub sessions: Arc<Sessions>,
    followed: Mutex<Followed>,
}

#[derive(Debug, Default)]
struct Followed {
    version: u64,
    fingerprint: [u8; 32],
    /// Access key ids of the sessions that were opened since the last lock or replacement.
    opened: Vec<String>,
}

impl Followed {
    fn lock_opened(&mut self, replica: usize, ledger: &Ledger) {
        for session in self.opened.drain(..) {
            ledger.lock_session(replica, &session);
        }
    }
}

impl FollowedSession {
    /// Opens the stored session, or locks it. Returns true if the actors are to look at it.
    pub fn follow(
        &self,
        store: &SessionStore,
        now: Timestamp,
        (replica, ledger): (usize, &Ledger),
        sts: impl Fn(&SessionSecret) -> Arc<dyn Sts>,
    ) -> bool {
        let stored = store.read();
        let mut followed = self.followed.lock();
        let lock = |followed: &mut Followed, why: &str| {
            followed.lock_opened(replica, ledger);
            self.sessions.lock(SESSION, why.to_owned());
            true
        };
        if followed.version != stored.version {
            followed.version = stored.version;
            let Some(key) = stored.key else {
                return lock(&mut followed, "locked");
            };
            let secret = SessionSecret {
                access_key_id: key.clone().into(),
                secret_access_key: "secret".to_owned().into(),
                session_token: "token".to_owned().into(),
                expires_at: stored.expires,
                principal_arn: operator_arn(),
                replace: stored.replace,
                approvals: None,
            };
            if stored.replace {
                followed.lock_opened(replica, ledger);
            }
            followed.fingerprint = secret.fingerprint();
            followed.opened.push(key);
            let (sts, principal) = (sts(&secret), secret.principal_arn.clone());
            self.sessions.open(SESSION, secret, principal, sts, now);
            return true;
        }
        let Some(open) = self.sessions.current(SESSION) else {
            return false;
        };
        if open.expires_at <= now {
            return lock(&mut followed, "the session has ended");
        }
        match self.sessions.rejection(SESSION, followed.fingerprint) {
            Some(why) => lock(&mut followed, &why),
            None => false,
        }
    }
}
