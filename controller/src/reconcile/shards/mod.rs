//! Who of several replicas looks after which account.
//!
//! The accounts are divided into a fixed number of shards by a hash of their names. Each shard is a
//! [Lease](https://kubernetes.io/docs/concepts/architecture/leases/) that one replica holds; each replica has a Lease of
//! its own, too, by which the others count it. A replica claims as many free shards as fall to it, and gives back what
//! it has too much of. With one shard this is the election of a leader.
//!
//! That no account is ever written by two rests on three things: a Lease changes only with the version that was read
//! (the API server refuses the second of two), a holder calls AWS only for [`TERM`] after its last renewal began and
//! waits for no answer longer than [`ANSWER_TIMEOUT`], and nobody takes a Lease before it stood still for [`EXPIRY`]
//! by the taker's own clock. Clocks of two machines are never compared.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use rolectl_aws::lease_term::{ANSWER_TIMEOUT, EXPIRY, LeaseTerm, TERM};
use rolectl_kube::LEASE_LABEL;

mod held;
mod moves;
mod observed;

pub use held::{HeldShards, shard_of};
use moves::{Moves, moves};
use observed::{ObservedLeases, holder};

/// How often the Leases are looked at.
const TICK: Duration = Duration::from_secs(2);
/// How old a renewal may get.
const RENEW: Duration = Duration::from_secs(3);
/// How long the API server may take for one answer.
const API_PATIENCE: Duration = Duration::from_secs(4);
/// Replicas that are gone this long leave no Lease behind.
const FORGET: Duration = Duration::from_mins(5);

/// Label of our Leases: how many shards there are.
const COUNT: &str = "iam.rolectl.dev/shards";

/// The Leases of the controller's namespace.
#[async_trait]
pub trait LeaseApi: Send + Sync {
    /// All Leases of rolectl.
    async fn list(&self) -> kube::Result<Vec<Lease>>;
    /// One Lease, if it exists.
    async fn get(&self, name: &str) -> kube::Result<Option<Lease>>;
    /// Creates a Lease, unless one of its name exists.
    async fn create(&self, lease: &Lease) -> kube::Result<Lease>;
    /// Replaces a Lease, if it still has the resource version of `lease`.
    async fn replace(&self, lease: &Lease) -> kube::Result<Lease>;
    /// Deletes a Lease.
    async fn delete(&self, name: &str) -> kube::Result<()>;
}

#[async_trait]
impl LeaseApi for Api<Lease> {
    async fn list(&self) -> kube::Result<Vec<Lease>> {
        let all = ListParams::default().labels(LEASE_LABEL);
        Ok(Self::list(self, &all).await?.items)
    }

    async fn get(&self, name: &str) -> kube::Result<Option<Lease>> {
        self.get_opt(name).await
    }

    async fn create(&self, lease: &Lease) -> kube::Result<Lease> {
        Self::create(self, &PostParams::default(), lease).await
    }

    async fn replace(&self, lease: &Lease) -> kube::Result<Lease> {
        Self::replace(self, &lease.name_any(), &PostParams::default(), lease).await
    }

    async fn delete(&self, name: &str) -> kube::Result<()> {
        Self::delete(self, name, &DeleteParams::default()).await.map(drop)
    }
}

/// This replica's part of the accounts.
#[derive(Debug)]
pub struct Shards {
    /// The lease term of each shard. Empty: this process is alone.
    terms: Vec<LeaseTerm>,
    /// What all Leases' names begin with.
    prefix: String,
    /// This replica.
    me: String,
    alone: LeaseTerm,
}

impl Shards {
    /// `count` shards, of which this replica, called `me`, claims its part. 0: everything is ours, no Lease is used.
    pub fn new(count: u16, prefix: &str, me: String) -> Self {
        Self {
            terms: (0..count).map(|_| LeaseTerm::none()).collect(),
            prefix: prefix.to_owned(),
            me,
            alone: LeaseTerm::forever(),
        }
    }

    /// Returns true if there may be other replicas.
    pub const fn are_shared(&self) -> bool {
        !self.terms.is_empty()
    }

    /// The lease term for the account, session or role of this name.
    pub fn lease_term(&self, name: &str) -> &LeaseTerm {
        self.terms
            .get(shard_of(name, self.terms.len()))
            .unwrap_or(&self.alone)
    }

    /// Returns true if this replica holds the shard of the account, session or role of this name.
    pub fn hold(&self, name: &str) -> bool {
        self.lease_term(name).lasts()
    }

    /// The shards that this replica holds now, for a piece of work to use from its beginning to its end.
    pub fn held_now(&self) -> HeldShards {
        HeldShards::new(self.terms.iter().map(LeaseTerm::lasts).collect())
    }

    /// The number of shards, at least 1.
    pub fn count(&self) -> usize {
        self.terms.len().max(1)
    }

    /// The name of a shard in a status. Controllers for other sessions have other names.
    pub fn part_name(&self, shard: usize) -> String {
        format!("{}-{shard}-of-{}", self.prefix, self.count())
    }

    /// Returns true if a part of this name is, or was, one of our own group of replicas, with any number of shards.
    pub fn is_own_part(&self, part: &str) -> bool {
        let rest = part
            .strip_prefix(&self.prefix)
            .and_then(|rest| rest.strip_prefix('-'));
        rest.is_some_and(|rest| rest.split("-of-").all(|number| number.parse::<u16>().is_ok()))
    }

    /// The term of each shard that is ours.
    fn held(&self) -> Vec<Option<u64>> {
        self.terms.iter().map(LeaseTerm::term).collect()
    }

    fn shard_lease(&self, shard: usize) -> String {
        format!("{}-shard-{shard}-of-{}", self.prefix, self.terms.len())
    }

    fn replica_lease(&self) -> String {
        format!("{}-replica-{}", self.prefix, self.me)
    }

    /// Claims, renews and gives back until `stop`, then gives all back. From `shutdown` on nothing more is claimed.
    /// `changed` hears when our part has changed, also when it was lost and gained again.
    pub async fn run(
        self: Arc<Self>,
        api: Arc<dyn LeaseApi>,
        shutdown: CancellationToken,
        stop: CancellationToken,
        changed: impl Fn() + Send,
    ) {
        let mut observed = ObservedLeases::new(Instant::now());
        let mut before = self.held();
        let mut last_error = None;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = tick.tick() => {}
            }
            let done = self.tick(&*api, &mut observed, shutdown.is_cancelled()).await;
            let error = done.err();
            if let Some(error) = error.as_ref().filter(|error| last_error.as_ref() != Some(*error)) {
                tracing::warn!(
                    error,
                    "Leases cannot be read or written, and the leadership of accounts expires: check the API server and the Role rolectl-leases"
                );
            }
            last_error = error;
            let now = self.held();
            if now != before {
                let mine: Vec<String> = (0..now.len())
                    .filter(|n| now.get(*n).is_some_and(Option::is_some))
                    .map(|n| n.to_string())
                    .collect();
                let shards = mine.join(",");
                tracing::info!(%shards, of = now.len(), replica = %self.me, "this replica serves its shards");
                before = now;
                changed();
            }
        }
        self.leave(&*api).await;
    }

    async fn tick(
        &self,
        api: &dyn LeaseApi,
        observed: &mut ObservedLeases,
        ending: bool,
    ) -> Result<(), String> {
        // First, since terms run out. It uses the versions that were observed; the list that follows shows which are stale.
        self.renew(api, observed).await;
        self.announce(api, observed).await?;
        let mut leases = in_time(api.list()).await?;
        let ours = [
            format!("{}-shard-", self.prefix),
            format!("{}-replica-", self.prefix),
        ];
        leases.retain(|lease| ours.iter().any(|prefix| lease.name_any().starts_with(prefix)));
        observed.see(leases, Instant::now());
        self.end_lost_terms(observed);
        let count = self.terms.len();
        let has_other_count = observed.has_other_count(count, Instant::now());
        if has_other_count && !observed.had_other_count {
            tracing::warn!(
                "another replica runs with another number of shards: nothing is claimed until it is gone"
            );
        }
        observed.had_other_count = has_other_count;
        let moves = self.moves(observed);
        for shard in moves.give_back {
            if let Some(lease_term) = self.terms.get(shard) {
                lease_term.end();
                observed.releasing.insert(shard, Instant::now());
            }
        }
        self.give_back(api, observed).await;
        if !has_other_count && !ending {
            let claims = moves
                .claim
                .iter()
                .map(|n| self.claim(api, observed.get(&self.shard_lease(*n)), *n));
            let claimed = join_all(claims).await;
            observed.wrote(claimed);
        }
        self.delete_old_leases(api, observed).await;
        Ok(())
    }

    /// Ends the terms of Leases that another replica has taken, or that were deleted.
    fn end_lost_terms(&self, observed: &ObservedLeases) {
        for (n, lease_term) in self.terms.iter().enumerate() {
            let lease = observed.get(&self.shard_lease(n));
            if lease.and_then(holder) != Some(&self.me) {
                lease_term.end();
            }
        }
    }

    fn moves(&self, observed: &ObservedLeases) -> Moves {
        let now = Instant::now();
        let replicas = observed.replicas(self.terms.len(), now);
        let alone = replicas == [self.me.clone()];
        let held: Vec<bool> = self.terms.iter().map(LeaseTerm::lasts).collect();
        let free = (0..held.len()).map(|n| {
            let name = self.shard_lease(n);
            // By the API server ours, and by our own clock run out: an answer was lost, or we stood still.
            let lapsed = observed.get(&name).and_then(holder) == Some(&self.me)
                && !observed.releasing.contains_key(&n);
            lapsed || observed.is_free(&name, alone, now)
        });
        moves(&held, &free.collect::<Vec<_>>(), &replicas, &self.me)
    }

    /// Says that we are here, before the others are counted.
    async fn announce(&self, api: &dyn LeaseApi, observed: &mut ObservedLeases) -> Result<(), String> {
        if observed.announced.is_some_and(|at| at.elapsed() < RENEW) {
            return Ok(());
        }
        let (name, began) = (self.replica_lease(), Instant::now());
        // Nobody else writes it, and it protects nothing, so the version read last does not matter.
        match in_time(api.get(&name)).await? {
            Some(lease) => in_time(api.replace(&self.taken(lease))).await?,
            None => in_time(api.create(&self.taken(self.blank(&name, "replica")))).await?,
        };
        observed.announced = Some(began);
        Ok(())
    }

    /// Renews what lasts and has not been renewed for a while.
    async fn renew(&self, api: &dyn LeaseApi, observed: &mut ObservedLeases) {
        let due =
            |lease_term: &LeaseTerm| lease_term.lasts() && lease_term.left() < TERM.saturating_sub(RENEW);
        let due = self
            .terms
            .iter()
            .enumerate()
            .filter(|(_, lease_term)| due(lease_term));
        let renewals =
            due.filter_map(|(n, _)| Some(self.write(api, observed.get(&self.shard_lease(n))?.clone(), n)));
        let renewed = join_all(renewals).await;
        observed.wrote(renewed);
    }

    async fn claim(&self, api: &dyn LeaseApi, lease: Option<&Lease>, shard: usize) -> Option<Lease> {
        let name = self.shard_lease(shard);
        let lease = lease.cloned().unwrap_or_else(|| self.blank(&name, "shard"));
        self.write(api, lease, shard).await
    }

    /// Makes the Lease ours for a while longer, unless somebody else was faster. Returns it as it is then.
    async fn write(&self, api: &dyn LeaseApi, lease: Lease, shard: usize) -> Option<Lease> {
        let lease_term = self.terms.get(shard)?;
        let began = Instant::now();
        let (name, lease) = (lease.name_any(), self.taken(lease));
        let written = if lease.metadata.resource_version.is_some() {
            in_time(api.replace(&lease)).await
        } else {
            in_time(api.create(&lease)).await
        };
        match written {
            Ok(lease) => {
                lease_term.extend(began + TERM);
                Some(lease)
            }
            // The next list shows who has it now.
            Err(error) => {
                tracing::debug!(lease = name, error, "Lease not taken");
                None
            }
        }
    }

    /// Gives back what was to be given back, once the calls under way have come to their end.
    async fn give_back(&self, api: &dyn LeaseApi, observed: &mut ObservedLeases) {
        let due = observed
            .releasing
            .iter()
            .filter(|(_, since)| since.elapsed() > ANSWER_TIMEOUT);
        let due: Vec<usize> = due.map(|(shard, _)| *shard).collect();
        join_all(due.iter().map(|shard| self.release(api, *shard))).await;
        observed.releasing.retain(|shard, _| !due.contains(shard));
    }

    async fn release(&self, api: &dyn LeaseApi, shard: usize) {
        let name = self.shard_lease(shard);
        // By its newest version: it may have been renewed since.
        let Ok(Some(mut lease)) = in_time(api.get(&name)).await else {
            return;
        };
        if holder(&lease) != Some(&self.me) {
            return;
        }
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.renew_time = None;
        }
        if let Err(error) = in_time(api.replace(&lease)).await {
            tracing::debug!(lease = name, error, "Lease not given back; it runs out");
        }
    }

    /// Gives all back at once: the calls under way have come to their end.
    async fn leave(&self, api: &dyn LeaseApi) {
        self.terms.iter().for_each(LeaseTerm::end);
        join_all((0..self.terms.len()).map(|shard| self.release(api, shard))).await;
        let gone = in_time(api.delete(&self.replica_lease())).await;
        if let Err(error) = gone {
            tracing::debug!(error, "own Lease not deleted; it runs out");
        }
    }

    /// Takes away what replicas left behind that were killed.
    async fn delete_old_leases(&self, api: &dyn LeaseApi, observed: &ObservedLeases) {
        for name in observed.old_replicas(Instant::now()) {
            if let Err(error) = in_time(api.delete(&name)).await {
                tracing::debug!(lease = name, error, "Lease of a lost replica not deleted");
            }
        }
    }

    fn blank(&self, name: &str, kind: &str) -> Lease {
        let labels = [
            ("app.kubernetes.io/managed-by", "rolectl"),
            (LEASE_LABEL, kind),
            (COUNT, &self.terms.len().to_string()),
        ];
        let mut lease = Lease::default();
        lease.metadata.name = Some(name.to_owned());
        lease.metadata.labels = Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        lease
    }

    /// The Lease, held by us from now on.
    fn taken(&self, mut lease: Lease) -> Lease {
        let now = MicroTime(Timestamp::now());
        let before = lease.spec.take().unwrap_or_default();
        let same = before.holder_identity.as_ref() == Some(&self.me);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: i32::try_from(EXPIRY.as_secs()).ok(),
            acquire_time: before.acquire_time.filter(|_| same).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(!same)),
            ..before
        });
        lease
    }
}

async fn in_time<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(API_PATIENCE, call).await {
        Ok(Err(kube::Error::Api(error))) => Err(error.message),
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!(
            "no answer from the API server within {} s",
            API_PATIENCE.as_secs()
        )),
    }
}

#[cfg(test)]
mod simulation;
