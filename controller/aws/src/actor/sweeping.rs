//! The sweeps of an account: when one begins, what it reads, and what its result or its failure means.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rolectl_core::names::{RoleKey, name_in_aws};
use rolectl_core::snapshot::Merge;
use rolectl_crds::{ApprovalsFor, Quotas, Reason};
use tokio::time::Instant;

use super::account_state::AccountState;
use super::directory::{Directory, policies_of};
use super::propose::SessionView;
use super::report::{AccountReport, SweepReport};
use super::{Actor, Slot, Urgency};
use crate::account::{Account, AccountError, Reader};
use crate::api::Iam;
use crate::error::Class;
use crate::session::OpenSession;
use crate::sweep::{quotas, sweep};

/// A sweep that has ended.
pub(super) struct Swept {
    pub(super) live: Arc<Account>,
    pub(super) session: Arc<OpenSession>,
    pub(super) result: Result<Merge, AccountError>,
    pub(super) took: Duration,
}

/// Reads the account's quotas when they are due, and all its roles into its snapshot. With `policies`, which its `IamRole`s name, the
/// documents of these and of all that are attached are read, too.
pub(super) async fn sweep_once(
    live: Arc<Account>,
    session: Arc<OpenSession>,
    directory: Arc<dyn Directory>,
    policies: Option<BTreeSet<String>>,
) -> Swept {
    let began = Instant::now();
    let result = read(&live, &session, &*directory, policies, began).await;
    let result = match result {
        // Where an account is used directly, a refused call may be a refused session.
        Err(error) if live.spec.assume_role.is_none() => {
            Err(live.judge(&session, error, Instant::now()).await)
        }
        result => result,
    };
    Swept {
        live,
        session,
        result,
        took: began.elapsed(),
    }
}

async fn read(
    live: &Arc<Account>,
    session: &OpenSession,
    directory: &dyn Directory,
    policies: Option<BTreeSet<String>>,
    began: Instant,
) -> Result<Merge, AccountError> {
    let start = live.snapshot.lock().begin_sweep(began.into_std());
    let iam = live.iam(session, None).await?;
    let reader = Reader::new(live, session);
    let counted = read_quotas(&reader, &*iam).await;
    let swept = sweep(&reader, &*iam, |name| directory.is_wanted(name), policies).await?;
    let mut snapshot = live.snapshot.lock();
    let merge = snapshot.merge(start, swept);
    if let Some(counted) = counted {
        snapshot.calibrate(counted);
    }
    drop(snapshot);
    Ok(merge)
}

/// Reads the quotas when they are due. Returns how many roles AWS counts. Roles are made without known quotas, too, and AWS
/// refuses what exceeds one.
async fn read_quotas(live: &Reader<'_>, iam: &dyn Iam) -> Option<u32> {
    if !live.wants_quotas() {
        return None;
    }
    match quotas(live, iam).await {
        Ok((quotas, counted)) => {
            live.set_quotas(quotas);
            Some(counted)
        }
        Err(error) => {
            tracing::warn!(account = live.name, %error, "quotas not read");
            if error.class == Class::AccessDenied {
                // Asking at every sweep would not help.
                live.set_quotas(Quotas::default());
            }
            None
        }
    }
}

impl Actor {
    /// Begins a sweep if one is due.
    pub(super) fn begin_sweep(&mut self, session: &SessionView) -> Option<BoxFuture<'static, Swept>> {
        let SessionView::Open(open) = session else {
            return None;
        };
        if !self.may_act() {
            return None;
        }
        let now = Instant::now();
        self.sweeps.next(now).filter(|next| *next <= now)?;
        self.sweeps.begin();
        let (live, open, directory) = (self.live.clone(), open.clone(), self.context.directory.clone());
        let policies = self.policies_to_read();
        Some(sweep_once(live, open, directory, policies).boxed())
    }

    /// Returns the managed policies that the roles of the account name, if it asks for approvals: their documents are part of the verdicts.
    fn policies_to_read(&self) -> Option<BTreeSet<String>> {
        if self.object.spec.approvals_for() == ApprovalsFor::None {
            return None;
        }
        let directory = &*self.context.directory;
        let roles: Vec<_> = self.roles.keys().filter_map(|key| directory.role(key)).collect();
        Some(policies_of(
            directory,
            &self.object,
            roles.iter().map(|role| &**role),
        ))
    }

    /// Takes in the result of a sweep, and visits the roles that it shows as changed.
    pub(super) fn swept(&mut self, swept: Swept) {
        let Swept {
            live,
            session,
            result,
            took,
        } = swept;
        // Another spec or another owner: that sweep is no longer about this account.
        if !Arc::ptr_eq(&live, &self.live) || !live.is_held() {
            return;
        }
        // It ended after the session did, and time passes unwatched.
        if self.sweeps.state == AccountState::Parked {
            live.snapshot.lock().invalidate_all();
            return;
        }
        let merge = match result {
            Ok(merge) => merge,
            Err(error) => return self.sweep_failed(&session, &error),
        };
        let interval: Duration = self.object.spec.drift_interval.into();
        let next = merge
            .look_again
            .unwrap_or_else(|| interval.mul_f64(0.075_f64.mul_add(self.environment.jitter.draw(), 0.925)))
            .min(interval);
        let now = Instant::now();
        let is_recovered = self.sweeps.swept(session.number, now + next);
        let drifted = self.visit_what_changed(is_recovered);
        self.sweep_number += 1;
        {
            let mut report = self.handle.report.lock();
            *report = AccountReport {
                reason: Reason::InSync,
                message: "swept".to_owned(),
                sweep: Some(SweepReport {
                    number: self.sweep_number,
                    ended: live.now(),
                    at: now,
                    took,
                    drifted,
                }),
                failures: 0,
                session: Some(session.number),
                is_failing: false,
            };
        }
        let (managed, unmanaged) = live.snapshot.lock().counts();
        tracing::info!(
            account = %self.handle.name,
            managed,
            unmanaged,
            drifted,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "swept"
        );
        self.context.reporter.account(&self.handle.name);
    }

    /// Queues the roles that are not as they were left. Returns how many roles somebody else has changed.
    fn visit_what_changed(&mut self, all: bool) -> u32 {
        let mut drifted = 0;
        let keys: Vec<RoleKey> = self.roles.keys().cloned().collect();
        for key in keys {
            let Some(role) = self.context.directory.role(&key) else {
                continue;
            };
            let found = self.live.snapshot.lock().lookup(name_in_aws(&role));
            let generation = role.metadata.generation;
            self.with_slot(&key, Urgency::Found, |slot| {
                let (is_queued, has_drifted) = slot.swept(generation, &found);
                drifted += u32::from(has_drifted);
                is_queued || (all && slot.recheck())
            });
        }
        drifted
    }

    pub(super) fn sweep_failed(&mut self, session: &Arc<OpenSession>, error: &AccountError) {
        if self.environment.shutdown.is_cancelled() || matches!(error, AccountError::NotHeld) {
            return;
        }
        match error {
            AccountError::Aws(failure) if failure.class == Class::Expired => self.live.drop_credentials(),
            AccountError::SessionRefused(_) => {
                let name = &self.object.spec.session_ref;
                self.context.sessions.reject(name, session, &error.to_string());
                self.context.reporter.session_refused(name);
                return;
            }
            _ => {}
        }
        // Refused credentials of an assumed role are fetched again; that alone is no reason to report a locked session.
        let reason = match error.reason() {
            Reason::SessionLocked => Reason::AwsUnavailable,
            // A call that reads cannot fail because of the spec of a role.
            Reason::InvalidSpec => Reason::AccessDenied,
            other => other,
        };
        let id = &self.object.spec.account_id;
        let message = match reason {
            Reason::AccessDenied => format!(
                "account {id}: {error}. Check that the role {} exists, trusts the session's user under MFA, and may read IAM",
                self.object.spec.assumed_role_arn(),
            ),
            _ => format!("account {id}: {error}"),
        };
        let account = &self.handle.name;
        let is_known = {
            let report = self.handle.report.lock();
            (report.reason, report.message.as_str()) == (reason, message.as_str())
        };
        if is_known {
            tracing::debug!(%account, %reason, message, "sweep failed, as before");
        } else {
            tracing::warn!(%account, %reason, message, "sweep failed");
        }
        // A passing failure takes nothing from what an earlier sweep has shown.
        let concerns_roles = !reason.is_reconciling() || !self.live.snapshot.lock().is_complete();
        let why = concerns_roles.then(|| (reason, message.clone()));
        let is_new = self.sweeps.failed(
            session.number,
            why,
            Instant::now(),
            self.environment.jitter.draw(),
        );
        {
            let mut report = self.handle.report.lock();
            report.reason = reason;
            report.message = message;
            report.failures = self.sweeps.failures();
            report.is_failing = self.sweeps.failure().is_some();
        }
        self.context.reporter.account(&self.handle.name);
        if is_new {
            self.recheck_all(Slot::recheck);
        }
    }
}
