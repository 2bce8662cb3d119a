//! Obtains the sessions that the accounts of a fleet need: from the cluster, from the cache, or from AWS with a code.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::{Client, ResourceExt as _};

use rolectl_aws::session::SessionSecret;
use rolectl_core::arn::arn_account;
use rolectl_crds::{AwsAccount, MfaSession, MfaSessionSpec};

use super::stored_session::stored;
use super::{Fleet, FleetFlags};
use crate::cluster;
use crate::failure::Failure;
use crate::kept_session::{self, subject};
use crate::mfa::Caller;
use crate::once::Inventory;
use crate::session_cache::Key;
use crate::stdio::eprintln;
use crate::times::moment;

impl FleetFlags {
    /// Opens the sessions of these accounts, or with `--assume-role` the session of the role.
    pub(super) async fn open_sessions(
        &self,
        mut fleet: Fleet,
        client: Option<&Client>,
        flags: &cluster::Flags,
        accounts: Vec<AwsAccount>,
    ) -> Result<Fleet, Failure> {
        if let Some(arn) = &self.assume_role {
            Box::pin(self.open_role_session(&mut fleet, arn)).await?;
        } else {
            let namespace = &flags.controller_namespace;
            Box::pin(self.open_each(&mut fleet, client, namespace, &accounts)).await?;
        }
        Ok(fleet)
    }

    /// Opens a session for every `MfaSession` that one of the accounts refers to.
    async fn open_each(
        &self,
        fleet: &mut Fleet,
        client: Option<&Client>,
        namespace: &str,
        accounts: &[AwsAccount],
    ) -> Result<(), Failure> {
        let needed = needed(&fleet.inventory, accounts)?;
        let mut caller = None;
        // A code is valid once, and its session is good for every MfaSession of the same account or role.
        let mut obtained: BTreeMap<String, SessionSecret> = BTreeMap::new();
        let subjects: BTreeSet<&str> = needed.iter().map(subject).collect();
        // Where several sessions are needed, a code is for one that is not cached: no number of codes would be enough otherwise.
        let skip_cache = self.demands_new_session() && subjects.len() < 2;
        for session in &needed {
            let name = session.name_any();
            let stored = match client {
                Some(client) => stored(client, namespace, session, &*fleet.environment.aws).await,
                None => None,
            };
            let session_secret = match stored {
                Some(stored) if !self.demands_new_session() => stored,
                stored => {
                    if caller.is_none() {
                        caller = Some(Caller::find(&self.mfa, Some(session)).await?);
                    }
                    let Some(caller) = &caller else { continue };
                    let subject = subject(session);
                    match (caller.check_access(session), stored, obtained.get(subject)) {
                        (Ok(()), _, Some(obtained)) => {
                            if let Some(key) = fleet.sessions.cached_key(subject).cloned() {
                                fleet.sessions.mark_cached(name.clone(), key);
                            }
                            obtained.clone()
                        }
                        (Ok(()), _, None) => {
                            let session_secret = self.obtain(fleet, caller, session, skip_cache).await?;
                            obtained.insert(subject.to_owned(), session_secret.clone());
                            session_secret
                        }
                        // The user may not open this session, but another user has.
                        (Err(_), Some(stored), _) => stored,
                        (Err(failure), None, _) => return Err(failure),
                    }
                }
            };
            let aws = &*fleet.environment.aws;
            let region = session.spec.region.as_deref();
            fleet.sessions.open(aws, &name, region, session_secret)?;
        }
        Ok(())
    }

    /// Returns the cached session, or else requests one with a code and caches it.
    async fn obtain(
        &self,
        fleet: &mut Fleet,
        caller: &Caller,
        session: &MfaSession,
        skip_cache: bool,
    ) -> Result<SessionSecret, Failure> {
        let (session_secret, cached) = self.kept_or_new(caller, session, skip_cache).await?;
        if let Some(key) = cached {
            fleet.sessions.mark_cached(session.name_any(), key);
        }
        Ok(session_secret)
    }

    /// Returns the cached session with its key, or else requests one with a code and caches it.
    pub(super) async fn kept_or_new(
        &self,
        caller: &Caller,
        session: &MfaSession,
        skip_cache: bool,
    ) -> Result<(SessionSecret, Option<Key>), Failure> {
        let key = Key {
            principal: caller.principal.clone(),
            subject: subject(session).to_owned(),
        };
        if !skip_cache && let Some(cached) = kept_session::read(&key, session) {
            return Ok((cached, Some(key)));
        }
        if !self.mfa.has_code() {
            let why = if skip_cache {
                "--duration asks for a new session".to_owned()
            } else {
                format!("no session of {} for {} is kept here", key.principal, key.subject)
            };
            eprintln!("An MFA code is needed: {why}.");
        }
        let session_secret = caller.request_session(session, self.duration).await?;
        eprintln!(
            "Session as {} until {}",
            key.principal,
            moment(session_secret.expires_at, Timestamp::now())
        );
        kept_session::keep(&key, &session_secret);
        Ok((session_secret, None))
    }

    /// Returns true if the flags ask for a new session, with a code or a duration.
    pub(super) const fn demands_new_session(&self) -> bool {
        self.mfa.has_code() || self.duration.is_some()
    }

    /// Opens the session of one role, and leaves out all other accounts.
    async fn open_role_session(&self, fleet: &mut Fleet, arn: &str) -> Result<(), Failure> {
        let role = MfaSessionSpec {
            role_arn: Some(arn.to_owned()),
            ..MfaSessionSpec::of_account(arn_account(arn))
        };
        let caller = Caller::find(&self.mfa, Some(&MfaSession::new(arn, role))).await?;
        let id = arn_account(arn).to_owned();
        let of_account = |account: &&AwsAccount| account.spec.account_id == id;
        let declared = fleet.inventory.accounts.iter().find(of_account);
        let declared = declared.and_then(|account| fleet.inventory.session_of(account));
        // `$(session.accountId)` stays the operators' account and does not become the role's own account.
        let operators = declared.map_or(arn_account(&caller.principal), |session| &session.spec.account_id);
        let spec = MfaSessionSpec {
            role_arn: Some(arn.to_owned()),
            ..MfaSessionSpec::of_account(operators)
        };
        let session = MfaSession::new(arn, spec);
        let skip_cache = self.demands_new_session();
        let session_secret = self.obtain(fleet, &caller, &session, skip_cache).await?;
        fleet.inventory.sessions.push(session);
        fleet.leave_out(|account| {
            (account.spec.account_id != id)
                .then(|| format!("--assume-role gives a session in account {id} only"))
        });
        for account in &mut fleet.inventory.accounts {
            account.spec.assume_role = None;
            arn.clone_into(&mut account.spec.session_ref);
        }
        fleet
            .sessions
            .open(&*fleet.environment.aws, arn, None, session_secret)
    }
}

/// Returns the `MfaSession`s that the accounts refer to, each once. Fails if one is missing.
fn needed(inventory: &Inventory, accounts: &[AwsAccount]) -> Result<Vec<MfaSession>, Failure> {
    let mut needed: Vec<MfaSession> = vec![];
    for account in accounts {
        let Some(session) = inventory.session_of(account) else {
            return Err(Failure::new(
                format!(
                    "there is no MfaSession {}, which AwsAccount {} refers to",
                    account.spec.session_ref,
                    account.name_any()
                ),
                "put it into the files, or correct spec.sessionRef",
            ));
        };
        if !needed.iter().any(|n| n.name_any() == session.name_any()) {
            needed.push(session.clone());
        }
    }
    Ok(needed)
}
