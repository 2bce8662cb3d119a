//! Gauges: what the caches and actors show when the metrics are read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use rolectl_crds::AccountStatus;

use rolectl_aws::actor::ActorHandle;
use rolectl_core::conditions::ready_reason;
use rolectl_core::names::{RoleKey, full_name};

use super::context::Context;
use super::role::reports::Tally;
use crate::metrics::{Metrics, OfAccount, OfKind, OfReason, OfSession, StateInAccount};

impl Context {
    /// Sets all gauges. Of what several replicas see, each shows its part, so that sums are right.
    pub fn look_up(&self, metrics: &Metrics) {
        let view = self.shards.held_now();
        let mut by_reason = HashMap::new();
        let Tally {
            mut by_state,
            restricted,
        } = self.reports.tally();
        for role in self.stores.roles.state() {
            let Some(status) = &role.status else { continue };
            // Of several controllers that have a role in common, the first account's counts it.
            let counts = |entry: &AccountStatus| self.serves_session_of(&entry.name);
            if view.holds(&full_name(&role)) && status.accounts.first().is_none_or(counts) {
                let reason = ready_reason(&status.conditions).unwrap_or_default().to_owned();
                *by_reason.entry(reason).or_insert(0_i64) += 1;
            }
            // What no actor of this process has reported: an account that does not exist, or nothing since the start.
            let key = RoleKey::of(&role);
            let ours = |entry: &&AccountStatus| {
                view.holds(&entry.name) && counts(entry) && !self.reports.has_reported(&key, &entry.name)
            };
            for entry in status.accounts.iter().filter(ours) {
                let at = (Arc::from(entry.name.as_str()), entry.state.as_str());
                *by_state.entry(at).or_insert(0_i64) += 1;
            }
        }
        let unreadable = [
            ("IamRole", &self.stores.unreadable.roles),
            ("AwsAccount", &self.stores.unreadable.accounts),
            ("MfaSession", &self.stores.unreadable.sessions),
        ];
        for (kind, objects) in unreadable {
            let ours = objects
                .all()
                .iter()
                .filter(|object| view.holds(&object.full_name()))
                .count();
            let ours = i64::try_from(ours).unwrap_or(i64::MAX);
            metrics.unreadable.get_or_create(&OfKind { kind }).set(ours);
        }
        metrics.roles.clear();
        for (reason, count) in by_reason {
            metrics.roles.get_or_create(&OfReason { reason }).set(count);
        }
        metrics.restricted.clear();
        for (account, count) in restricted {
            let account = account.to_string();
            metrics
                .restricted
                .get_or_create(&OfAccount { account })
                .set(count);
        }
        metrics.role_accounts.clear();
        for ((account, state), count) in by_state {
            let account = account.to_string();
            let labels = StateInAccount { account, state };
            metrics.role_accounts.get_or_create(&labels).set(count);
        }
        let all = self.stores.accounts.state();
        let served = all.iter().filter(|a| self.serves_session(&a.spec.session_ref));
        metrics
            .accounts
            .set(i64::try_from(served.count()).unwrap_or(i64::MAX));
        // One whose object is missing reports nothing.
        let mut actors = self.actors.all();
        actors.retain(|actor| self.stores.accounts.get(&ObjectRef::new(&actor.name)).is_some());
        metrics.retain_accounts(&actors.iter().map(|actor| actor.name.as_str()).collect());
        metrics.rate.clear();
        metrics.bucket_level.clear();
        metrics.sweep_age.clear();
        metrics.sweep_overdue.clear();
        metrics.orphaned.clear();
        metrics.violating.clear();
        metrics.sweep_seconds.clear();
        metrics
            .accounts_held
            .set(i64::try_from(actors.len()).unwrap_or(i64::MAX));
        for actor in &actors {
            let account = OfAccount {
                account: actor.name.clone(),
            };
            let (rate, level) = actor.account().bucket_level();
            metrics.rate.get_or_create(&account).set(rate);
            metrics.bucket_level.get_or_create(&account).set(level);
            metrics
                .sweep_overdue
                .get_or_create(&account)
                .set(self.overdue(actor));
            let counts = self.notes.counts(&actor.name);
            let gauge = |family: &Family<OfAccount, Gauge>, count: u32| {
                family.get_or_create(&account).set(count.into());
            };
            gauge(&metrics.orphaned, counts.orphaned);
            gauge(&metrics.violating, counts.violating);
            if let Some(sweep) = actor.report().sweep {
                metrics
                    .sweep_age
                    .get_or_create(&account)
                    .set(sweep.at.elapsed().as_secs_f64());
                metrics
                    .sweep_seconds
                    .get_or_create(&account)
                    .set(sweep.took.as_secs_f64());
            }
        }
        metrics.session_left.clear();
        let now = Timestamp::now();
        for session in self.stores.sessions.state() {
            let session = session.name_any();
            if !self.serves_session(&session) || !view.holds(&session) {
                continue;
            }
            let open = self.sessions.current(&session);
            let left = open.map_or(0.0, |open| {
                open.expires_at.duration_since(now).as_secs_f64().max(0.0)
            });
            metrics
                .session_left
                .get_or_create(&OfSession { session })
                .set(left);
        }
        self.waiting.prune(&self.stores.roles);
        self.waiting.prune(&self.stores.accounts);
        self.waiting.prune(&self.stores.sessions);
        for (kind, waiting) in self.waiting.counts() {
            metrics.queue.get_or_create(&OfKind { kind }).set(waiting);
        }
    }

    /// For how many seconds a sweep of the account should have gone through and has not, whatever was tried meanwhile.
    fn overdue(&self, actor: &ActorHandle) -> f64 {
        let account = actor.account();
        let Some(open) = self.sessions.current(&account.spec.session_ref) else {
            return 0.0;
        };
        if account.spec.suspend {
            return 0.0;
        }
        // Before the unlock nothing could be done.
        let open_for = Timestamp::now().duration_since(open.opened_at).as_secs_f64();
        let late = actor.report().sweep.map_or(f64::INFINITY, |sweep| {
            sweep.at.elapsed().as_secs_f64() - Duration::from(account.spec.drift_interval).as_secs_f64()
        });
        late.min(open_for).max(0.0)
    }
}
