//! Who of several replicas looks after which account.
//!
//! The accounts are divided into a fixed number of shards by a hash of their names. Each shard is a
//! [Lease](https://kubernetes.io/docs/concepts/architecture/leases/) that one replica holds; each replica has a Lease of
//! its own, too, by which the others count it. A replica claims as many free shards as fall to it, and gives back what
//! it has too much of. With one shard this is the election of a leader.
//!
//! That no account is ever written by two rests on three things: a Lease changes only with the version that was read
//! (the API server refuses the second of two), a holder calls AWS only for [`HOLD`] after its last renewal began and
//! waits for no answer longer than [`ANSWER_TIMEOUT`], and nobody takes a Lease before it stood still for [`EXPIRY`]
//! by the taker's own clock. Clocks of two machines are never compared.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use rolectl_aws::lease_term::{ANSWER_TIMEOUT, LeaseTerm};
use rolectl_kube::LEASE_LABEL;

/// How often the Leases are looked at.
const TICK: Duration = Duration::from_secs(2);
/// How old a renewal may get.
const RENEW: Duration = Duration::from_secs(3);
/// How long after a renewal began its holder may begin calls.
const HOLD: Duration = Duration::from_secs(9);
/// How long a Lease must have stood still to be taken.
const EXPIRY: Duration = Duration::from_secs(18);
const _: () = assert!(HOLD.as_secs() + ANSWER_TIMEOUT.as_secs() < EXPIRY.as_secs());
/// How long the API server may take for one answer.
const API_PATIENCE: Duration = Duration::from_secs(4);
/// Replicas that are gone this long leave no Lease behind.
const FORGET: Duration = Duration::from_mins(5);

/// Label of our Leases: how many shards there are.
const COUNT: &str = "iam.rolectl.dev/shards";

/// This replica's part of the accounts.
#[derive(Debug)]
pub struct Shards {
    /// The lease term of each shard. Empty: this process is alone.
    tenures: Vec<LeaseTerm>,
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
            tenures: (0..count).map(|_| LeaseTerm::none()).collect(),
            prefix: prefix.to_owned(),
            me,
            alone: LeaseTerm::forever(),
        }
    }

    /// Whether there may be others beside us.
    pub const fn are_shared(&self) -> bool {
        !self.tenures.is_empty()
    }

    /// The lease term for the account, session or role of this name.
    pub fn lease_term(&self, name: &str) -> &LeaseTerm {
        self.tenures
            .get(shard_of(name, self.tenures.len()))
            .unwrap_or(&self.alone)
    }

    /// Whether the account, session or role of this name is ours to look after.
    pub fn hold(&self, name: &str) -> bool {
        self.lease_term(name).lasts()
    }

    /// What is ours at this moment, for a piece of work to go by from its beginning to its end.
    pub fn view(&self) -> View {
        View(self.held())
    }

    /// The term of each shard that is ours.
    fn held(&self) -> Vec<Option<u64>> {
        self.tenures.iter().map(LeaseTerm::term).collect()
    }

    fn shard_lease(&self, shard: usize) -> String {
        format!("{}-shard-{shard}-of-{}", self.prefix, self.tenures.len())
    }

    fn replica_lease(&self) -> String {
        format!("{}-replica-{}", self.prefix, self.me)
    }

    /// Claims, renews and gives back until `stop`, then gives all back. From `shutdown` on nothing more is claimed.
    /// `changed` hears when our part has changed, also when it was lost and gained again.
    pub async fn run(
        self: Arc<Self>,
        client: Client,
        namespace: String,
        shutdown: CancellationToken,
        stop: CancellationToken,
        changed: impl Fn() + Send,
    ) {
        let api: Api<Lease> = Api::namespaced(client, &namespace);
        let mut known = Known::new(Instant::now());
        let mut before = self.held();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = tick.tick() => {}
            }
            if let Err(error) = self.look(&api, &mut known, shutdown.is_cancelled()).await {
                tracing::warn!(%error, "Leases cannot be read or written, and what is held runs out: check the API server and the Role rolectl-leases");
            }
            let now = self.held();
            if now != before {
                let mine: Vec<usize> = (0..now.len())
                    .filter(|n| now.get(*n).is_some_and(Option::is_some))
                    .collect();
                tracing::info!(shards = ?mine, of = now.len(), replica = self.me, "shards held");
                before = now;
                changed();
            }
        }
        self.leave(&api).await;
    }

    async fn look(&self, api: &Api<Lease>, known: &mut Known, ending: bool) -> Result<(), String> {
        // First of all, since it is what runs out. By the versions that are known: where they are old, the list tells.
        self.renew(api, known).await;
        self.announce(api, known).await?;
        let all = ListParams::default().labels(LEASE_LABEL);
        let mut leases = in_time(api.list(&all)).await?.items;
        let ours = [
            format!("{}-shard-", self.prefix),
            format!("{}-replica-", self.prefix),
        ];
        leases.retain(|lease| ours.iter().any(|prefix| lease.name_any().starts_with(prefix)));
        known.see(leases, Instant::now());
        self.end_what_is_lost(known);
        let count = self.tenures.len();
        let at_odds = known.at_odds(count, Instant::now());
        if at_odds && !known.was_at_odds {
            tracing::warn!(
                "another replica runs with another number of shards: nothing is claimed until it is gone"
            );
        }
        known.was_at_odds = at_odds;
        let moves = self.moves(known);
        for shard in moves.give_back {
            if let Some(lease_term) = self.tenures.get(shard) {
                lease_term.end();
                known.leaving.insert(shard, Instant::now());
            }
        }
        self.give_back(api, known).await;
        if !at_odds && !ending {
            let claims = moves
                .claim
                .iter()
                .map(|n| self.claim(api, known.get(&self.shard_lease(*n)), *n));
            let claimed = join_all(claims).await;
            known.wrote(claimed);
        }
        self.sweep_up(api, known).await;
        Ok(())
    }

    /// Taken by another, or deleted by hand.
    fn end_what_is_lost(&self, known: &Known) {
        for (n, lease_term) in self.tenures.iter().enumerate() {
            let lease = known.get(&self.shard_lease(n));
            if lease.and_then(holder) != Some(&self.me) {
                lease_term.end();
            }
        }
    }

    fn moves(&self, known: &Known) -> Moves {
        let now = Instant::now();
        let replicas = known.replicas(self.tenures.len(), now);
        let alone = replicas == [self.me.clone()];
        let held: Vec<bool> = self.tenures.iter().map(LeaseTerm::lasts).collect();
        let free = (0..held.len()).map(|n| {
            let name = self.shard_lease(n);
            // By the API server ours, and by our own clock run out: an answer was lost, or we stood still.
            let lapsed =
                known.get(&name).and_then(holder) == Some(&self.me) && !known.leaving.contains_key(&n);
            lapsed || known.is_free(&name, alone, now)
        });
        moves(&held, &free.collect::<Vec<_>>(), &replicas, &self.me)
    }

    /// Says that we are here, before the others are counted.
    async fn announce(&self, api: &Api<Lease>, known: &mut Known) -> Result<(), String> {
        if known.announced.is_some_and(|at| at.elapsed() < RENEW) {
            return Ok(());
        }
        let (name, began) = (self.replica_lease(), Instant::now());
        // Nobody else writes it, and it protects nothing, so the version read last does not matter.
        match in_time(api.get_opt(&name)).await? {
            Some(lease) => in_time(api.replace(&name, &PostParams::default(), &self.taken(lease))).await?,
            None => {
                in_time(api.create(&PostParams::default(), &self.taken(self.blank(&name, "replica")))).await?
            }
        };
        known.announced = Some(began);
        Ok(())
    }

    /// Renews what lasts and has not been renewed for a while.
    async fn renew(&self, api: &Api<Lease>, known: &mut Known) {
        let due =
            |lease_term: &LeaseTerm| lease_term.lasts() && lease_term.left() < HOLD.saturating_sub(RENEW);
        let due = self
            .tenures
            .iter()
            .enumerate()
            .filter(|(_, lease_term)| due(lease_term));
        let renewals =
            due.filter_map(|(n, _)| Some(self.write(api, known.get(&self.shard_lease(n))?.clone(), n)));
        let renewed = join_all(renewals).await;
        known.wrote(renewed);
    }

    async fn claim(&self, api: &Api<Lease>, lease: Option<&Lease>, shard: usize) -> Option<Lease> {
        let name = self.shard_lease(shard);
        let lease = lease.cloned().unwrap_or_else(|| self.blank(&name, "shard"));
        self.write(api, lease, shard).await
    }

    /// Makes the Lease ours for a while longer, unless somebody else was faster. Returns it as it is then.
    async fn write(&self, api: &Api<Lease>, lease: Lease, shard: usize) -> Option<Lease> {
        let lease_term = self.tenures.get(shard)?;
        let began = Instant::now();
        let (name, lease) = (lease.name_any(), self.taken(lease));
        let params = PostParams::default();
        let written = if lease.metadata.resource_version.is_some() {
            in_time(api.replace(&name, &params, &lease)).await
        } else {
            in_time(api.create(&params, &lease)).await
        };
        match written {
            Ok(lease) => {
                lease_term.extend(began + HOLD);
                Some(lease)
            }
            // Whoever has it now, the next list tells.
            Err(error) => {
                tracing::debug!(lease = name, error, "Lease not taken");
                None
            }
        }
    }

    /// Gives back what was to be given back, once the calls under way have come to their end.
    async fn give_back(&self, api: &Api<Lease>, known: &mut Known) {
        let due = known
            .leaving
            .iter()
            .filter(|(_, since)| since.elapsed() > ANSWER_TIMEOUT);
        let due: Vec<usize> = due.map(|(shard, _)| *shard).collect();
        join_all(due.iter().map(|shard| self.release(api, *shard))).await;
        known.leaving.retain(|shard, _| !due.contains(shard));
    }

    async fn release(&self, api: &Api<Lease>, shard: usize) {
        let name = self.shard_lease(shard);
        // By its newest version: it may have been renewed since.
        let Ok(Some(mut lease)) = in_time(api.get_opt(&name)).await else {
            return;
        };
        if holder(&lease) != Some(&self.me) {
            return;
        }
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.renew_time = None;
        }
        if let Err(error) = in_time(api.replace(&name, &PostParams::default(), &lease)).await {
            tracing::debug!(lease = name, error, "Lease not given back; it runs out");
        }
    }

    /// Gives all back at once: the calls under way have come to their end.
    async fn leave(&self, api: &Api<Lease>) {
        self.tenures.iter().for_each(LeaseTerm::end);
        join_all((0..self.tenures.len()).map(|shard| self.release(api, shard))).await;
        let gone = in_time(api.delete(&self.replica_lease(), &DeleteParams::default())).await;
        if let Err(error) = gone {
            tracing::debug!(error, "own Lease not deleted; it runs out");
        }
    }

    /// Takes away what replicas left behind that were killed.
    async fn sweep_up(&self, api: &Api<Lease>, known: &Known) {
        for name in known.left_behind(Instant::now()) {
            if let Err(error) = in_time(api.delete(&name, &DeleteParams::default())).await {
                tracing::debug!(lease = name, error, "Lease of a lost replica not deleted");
            }
        }
    }

    fn blank(&self, name: &str, kind: &str) -> Lease {
        let labels = [
            ("app.kubernetes.io/managed-by", "rolectl"),
            (LEASE_LABEL, kind),
            (COUNT, &self.tenures.len().to_string()),
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

/// What was ours at one moment, and in which term.
#[derive(Clone, Debug)]
pub struct View(Vec<Option<u64>>);

impl View {
    /// Whether the account, session or role of this name was ours.
    pub fn holds(&self, name: &str) -> bool {
        self.0.is_empty() || self.term(name).is_some()
    }

    /// Whether it has been ours since then without a break.
    pub fn holds_since(&self, then: &Self, name: &str) -> bool {
        self.holds(name) && self.term(name) == then.term(name)
    }

    fn term(&self, name: &str) -> Option<u64> {
        self.0.get(shard_of(name, self.0.len())).copied().flatten()
    }

    /// Whether anything was.
    pub fn holds_any(&self) -> bool {
        self.0.is_empty() || self.0.iter().any(Option::is_some)
    }
}

/// Which shard a name falls into. The same in every process and version.
pub fn shard_of(name: &str, count: usize) -> usize {
    let digest = Sha256::digest(name.as_bytes());
    let number = digest
        .iter()
        .take(8)
        .fold(0_u64, |n, byte| (n << 8) | u64::from(*byte));
    let count = u64::try_from(count).unwrap_or(1).max(1);
    usize::try_from(number % count).unwrap_or_default()
}

fn holder(lease: &Lease) -> Option<&String> {
    let holder = lease.spec.as_ref()?.holder_identity.as_ref();
    holder.filter(|name| !name.is_empty())
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

/// The Leases as they were seen, and since when each has stood still.
#[derive(Debug)]
struct Known {
    /// Since when we look.
    began: Instant,
    leases: BTreeMap<String, (Lease, Instant)>,
    /// Leases that were there once, and since when they are not.
    gone: HashMap<String, Instant>,
    announced: Option<Instant>,
    /// Another number of shards is in use.
    was_at_odds: bool,
    /// Shards that are to be given back, and since when no call of ours begins there.
    leaving: HashMap<usize, Instant>,
}

impl Known {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            leases: BTreeMap::new(),
            gone: HashMap::new(),
            announced: None,
            was_at_odds: false,
            leaving: HashMap::new(),
        }
    }

    /// Takes in a whole list.
    fn see(&mut self, leases: Vec<Lease>, now: Instant) {
        let mut before = std::mem::take(&mut self.leases);
        for lease in leases {
            let name = lease.name_any();
            let since = before
                .remove(&name)
                .filter(|(old, _)| old.metadata.resource_version == lease.metadata.resource_version)
                .map_or(now, |(_, since)| since);
            self.gone.remove(&name);
            self.leases.insert(name, (lease, since));
        }
        for name in before.into_keys() {
            self.gone.insert(name, now);
        }
        self.gone.retain(|_, since| now.duration_since(*since) < FORGET);
    }

    /// Takes in what we have just written ourselves.
    fn wrote(&mut self, leases: Vec<Option<Lease>>) {
        for lease in leases.into_iter().flatten() {
            self.leases.insert(lease.name_any(), (lease, Instant::now()));
        }
    }

    fn get(&self, name: &str) -> Option<&Lease> {
        self.leases.get(name).map(|(lease, _)| lease)
    }

    /// Whether nobody can hold the Lease any more. `alone`: no other replica lives.
    fn is_free(&self, name: &str, alone: bool, now: Instant) -> bool {
        if let Some((lease, since)) = self.leases.get(name) {
            return holder(lease).is_none() || now.duration_since(*since) > EXPIRY;
        }
        // A Lease that somebody deleted has a holder who may not know it yet.
        match self.gone.get(name) {
            Some(since) => now.duration_since(*since) > EXPIRY,
            None => alone || now.duration_since(self.began) > EXPIRY,
        }
    }

    fn alive(&self, now: Instant) -> impl Iterator<Item = &Lease> {
        let alive = move |(lease, since): &&(Lease, Instant)| {
            holder(lease).is_some() && now.duration_since(*since) <= EXPIRY
        };
        self.leases.values().filter(alive).map(|(lease, _)| lease)
    }

    /// The replicas that live and divide the accounts as we do, in one order for all.
    fn replicas(&self, count: usize, now: Instant) -> Vec<String> {
        let count = count.to_string();
        let alike = |lease: &&Lease| {
            label(lease, LEASE_LABEL) == Some("replica") && label(lease, COUNT) == Some(count.as_str())
        };
        let replicas = self.alive(now).filter(alike);
        let mut names: Vec<String> = replicas.filter_map(|lease| holder(lease).cloned()).collect();
        names.sort();
        names
    }

    /// Whether anybody lives who divides the accounts otherwise.
    fn at_odds(&self, count: usize, now: Instant) -> bool {
        let count = count.to_string();
        self.alive(now)
            .any(|lease| label(lease, COUNT) != Some(count.as_str()))
    }

    fn left_behind(&self, now: Instant) -> Vec<String> {
        let old = self.leases.iter().filter(|(_, (lease, since))| {
            label(lease, LEASE_LABEL) == Some("replica") && now.duration_since(*since) > FORGET
        });
        old.map(|(name, _)| name.clone()).collect()
    }
}

fn label<'a>(lease: &'a Lease, key: &str) -> Option<&'a str> {
    lease.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// What a replica does to come to its part.
#[derive(Debug, Default, PartialEq, Eq)]
struct Moves {
    claim: Vec<usize>,
    give_back: Vec<usize>,
}

/// Its part is the number of shards by the number of replicas; what does not divide falls to the first ones, in the
/// order of their names.
fn moves(held: &[bool], free: &[bool], replicas: &[String], me: &str) -> Moves {
    let count = replicas.len().max(1);
    let place = replicas.iter().position(|r| r == me).unwrap_or(count - 1);
    let part = held.len() / count + usize::from(place < held.len() % count);
    let mine: Vec<usize> = (0..held.len()).filter(|n| held.get(*n) == Some(&true)).collect();
    if mine.len() > part {
        return Moves {
            give_back: mine.into_iter().skip(part).collect(),
            ..Moves::default()
        };
    }
    // Each begins elsewhere, so that they do not all want the same one.
    let start = place * held.len() / count;
    let order = (0..held.len()).map(|n| (n + start) % held.len());
    let open = order.filter(|n| free.get(*n) == Some(&true) && held.get(*n) == Some(&false));
    Moves {
        claim: open.take(part - mine.len()).collect(),
        ..Moves::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|n| format!("replica-{n}")).collect()
    }

    #[test]
    fn a_name_falls_into_the_same_shard_in_every_process() {
        assert_eq!(shard_of("dev", 8), 7);
        assert_eq!(shard_of("prod", 8), 6);
        assert_eq!(shard_of("anything", 0), 0);
    }

    #[test]
    fn a_lease_is_free_without_a_holder_or_when_it_has_stood_still_for_long() {
        let shards = Shards::new(1, "r", "me".into());
        let mut lease = shards.taken(shards.blank("r-shard-0-of-1", "shard"));
        lease.metadata.resource_version = Some("1".into());
        let start = Instant::now();
        let mut known = Known::new(start);
        let later = start + EXPIRY + TICK;
        let is_free = |known: &Known, at| known.is_free("r-shard-0-of-1", false, at);
        assert!(
            known.is_free("r-shard-0-of-1", true, start),
            "nobody has made it, and nobody else lives"
        );
        assert!(!is_free(&known, start), "it may have been deleted before we came");
        known.see(vec![lease.clone()], start);
        known.see(vec![lease.clone()], start + EXPIRY);
        assert!(!is_free(&known, start + EXPIRY));
        assert!(is_free(&known, later));
        lease.metadata.resource_version = Some("2".into());
        known.see(vec![lease.clone()], later);
        assert!(!is_free(&known, later), "it was renewed");
        known.see(vec![], later + TICK);
        assert!(
            !is_free(&known, later + EXPIRY),
            "it was deleted, and its holder may not know"
        );
        assert!(is_free(&known, later + TICK + EXPIRY + TICK));
        lease.spec = None;
        known.see(vec![lease], later);
        assert!(is_free(&known, later));
    }

    #[test]
    fn who_counts_the_shards_otherwise_is_found() {
        let (ours, theirs) = (Shards::new(8, "r", "a".into()), Shards::new(4, "r", "b".into()));
        let now = Instant::now();
        let mut known = Known::new(now);
        known.see(vec![ours.taken(ours.blank("r-replica-a", "replica"))], now);
        assert!(!known.at_odds(8, now));
        known.see(vec![theirs.taken(theirs.blank("r-replica-b", "replica"))], now);
        assert!(known.at_odds(8, now));
        assert!(!known.at_odds(8, now + EXPIRY + TICK), "gone");
    }

    proptest! {
        /// Replicas that come and go, each looking in its turn: in the end all is held, by one each, in fair parts.
        #[test]
        fn all_shards_come_to_be_held_in_fair_parts(count in 1_usize..20, first in 1_usize..6, then in 1_usize..6) {
            let mut owner: Vec<Option<usize>> = vec![None; count];
            for living in [first, then] {
                for o in &mut owner {
                    *o = o.filter(|r| *r < living);
                }
                for round in 0..4 * living {
                    let me = round % living;
                    let held: Vec<bool> = owner.iter().map(|o| *o == Some(me)).collect();
                    let free: Vec<bool> = owner.iter().map(Option::is_none).collect();
                    let moves = moves(&held, &free, &names(living), &format!("replica-{me}"));
                    for n in moves.give_back { owner[n] = None; }
                    for n in moves.claim {
                        prop_assert!(owner[n].is_none());
                        owner[n] = Some(me);
                    }
                }
                prop_assert!(owner.iter().all(Option::is_some));
                let parts: Vec<usize> = (0..living).map(|r| owner.iter().filter(|o| **o == Some(r)).count()).collect();
                prop_assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1, "{parts:?}");
            }
        }
    }
}
